/* The page for people: its files, unchanged. The page gets what it shows from the API itself. */
#include "hv/lib.h"
#include "mgmt/api_call.h"
#include "mgmt/page_files.h"

/* Does the client already have the file of this build? If-None-Match is "*", or a list of entity
 * tags, and W/ before one does not matter (RFC 9110, section 13.1.2). */
static bool is_known(const struct http_request *r, const char *tag)
{
    const char *s = r->if_none_match;
    size_t n = strlen(tag);

    if (strcmp(s, "*") == 0)
        return true;
    while (*s) {
        size_t length = 0;

        while (*s == ' ' || *s == '\t' || *s == ',')
            s++;
        if (s[0] == 'W' && s[1] == '/')
            s += 2;
        if (*s++ != '"')
            return false;
        while (s[length] && s[length] != '"')
            length++;
        if (s[length] && length == n && memcmp(s, tag, n) == 0)
            return true;
        s += length + (s[length] == '"');
    }
    return false;
}

static void send_file(struct call *c, const struct page_file *f)
{
    const char *id = c->v->host->build_id;

    c->out->type = f->type;
    c->out->file = f->begin;
    c->out->file_len = (size_t)(f->end - f->begin);
    c->out->etag = id;
    c->out->encoding = f->encoding;
    if (is_known(c->r, id))
        c->out->status = 304;
}

void get_page(struct call *c, char *const *arg)
{
    (void)arg;
    send_file(c, page_file_find(""));
}

/* The description of the whole API. */
void get_openapi(struct call *c, char *const *arg)
{
    (void)arg;
    send_file(c, page_file_find("openapi.json"));
}

void get_page_file(struct call *c, char *const *arg)
{
    const struct page_file *f = page_file_find(arg[0]);

    if (f)
        send_file(c, f);
    else
        call_fail(c, 404, "there is no such resource");
}

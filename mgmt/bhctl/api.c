/* Requests to the appliance, and how their failures are reported. */
#include "mgmt/bhctl/bhctl.h"
#include "mgmt/bhctl/contexts.h"
#include "mgmt/bhctl/format.h"

#include "version.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CONNECT_SECONDS 20L /* a handshake costs the appliance 25 million instructions */
#define SILENCE_SECONDS 60L /* gives up after this time without progress */
#define TOKEN_MAX       120u
#define GET_TRIES       5u

/* ---- the token ---- */

static int take_token(struct api *a, const char *token, const char *from)
{
    char header[TOKEN_MAX + 32];
    struct curl_slist *list;
    size_t n = strlen(token);

    if (n == 0 || n > TOKEN_MAX)
        return complain(EXIT_USAGE, "%s: a token has 1 to %u characters", from, TOKEN_MAX);
    for (size_t i = 0; i < n; i++)
        if (token[i] <= ' ' || token[i] > '~')
            return complain(EXIT_USAGE,
                            "%s: a token has no blanks and no other than ASCII "
                            "characters",
                            from);
    (void)snprintf(header, sizeof(header), "Authorization: Bearer %s", token);
    list = curl_slist_append(a->headers, header);
    if (!list)
        return complain(EXIT_USAGE, "out of memory");
    a->headers = list;
    return EXIT_OK;
}

static int read_token(struct api *a, const char *path)
{
    char line[TOKEN_MAX + 3] = "";
    FILE *f = fopen(path, "r");

    if (!f)
        return complain(EXIT_USAGE, "--token-file: %s: %s", path, strerror(errno));
    if (!fgets(line, sizeof(line), f))
        line[0] = 0;
    (void)fclose(f);
    line[strcspn(line, "\r\n")] = 0;
    return take_token(a, line, path);
}

static int find_token(struct api *a)
{
    const char *known = getenv("BULKHEAD_TOKEN");
    const char *file = text_of(a->context, "token_file"), *kept = text_of(a->context, "token");

    if (options_have(a->options, OPTION_TOKEN) && options_have(a->options, OPTION_TOKEN_FILE))
        return complain(EXIT_USAGE, "--token and --token-file exclude each other");
    if (options_have(a->options, OPTION_TOKEN))
        return take_token(a, a->options->value[OPTION_TOKEN], "--token");
    if (options_have(a->options, OPTION_TOKEN_FILE))
        return read_token(a, a->options->value[OPTION_TOKEN_FILE]);
    if (a->context && *kept)
        return take_token(a, kept, "the context's token");
    if (a->context && *file)
        return contexts_check_private(file) == EXIT_OK ? read_token(a, file) : EXIT_USAGE;
    if (a->context) /* the variable's is for another appliance */
        return EXIT_OK;
    return known && *known ? take_token(a, known, "BULKHEAD_TOKEN") : EXIT_OK;
}

/* ---- set-up ---- */

/* --host names a context or, like --url, an address. Without both, and without the variable, the
 * current context counts. *address: made from --host, or "". */
static int find_context(struct api *a, char address[URL_MAX])
{
    const char *host = a->options->value[OPTION_HOST], *known = getenv("BULKHEAD_URL");
    bool bare;
    json_t *all;

    address[0] = 0;
    if (host && options_have(a->options, OPTION_URL))
        return complain(EXIT_USAGE, "--host and --url exclude each other");
    if (!host && (options_have(a->options, OPTION_URL) || (known && *known)))
        return EXIT_OK;
    all = contexts_load();
    if (!all)
        return EXIT_USAGE;
    a->context = json_incref(contexts_find(all, host ? host : text_of(all, "current")));
    json_decref(all);
    if (!host || a->context)
        return EXIT_OK;
    bare = *host != '[' && strchr(host, ':') != strrchr(host, ':'); /* of IPv6 */
    (void)snprintf(address, URL_MAX, "%s%s%s%s", strstr(host, "://") ? "" : "https://",
                   bare && !strstr(host, "://") ? "[" : "", host,
                   bare && !strstr(host, "://") ? "]" : "");
    return EXIT_OK;
}

static int find_url(struct api *a)
{
    const char *known = getenv("BULKHEAD_URL"), *from = "BULKHEAD_URL", *wrong;
    char address[URL_MAX];
    int rc = find_context(a, address);

    if (rc != EXIT_OK)
        return rc;
    if (options_have(a->options, OPTION_URL)) {
        known = a->options->value[OPTION_URL];
        from = "--url";
    } else if (*address) {
        known = address;
        from = "--host";
    } else if (a->context) {
        known = text_of(a->context, "url");
        from = "the context's url";
    }
    if (!known || (!*known && from[0] == 'B'))
        known = "https://127.0.0.1:8443";
    wrong = url_base(known, a->base);
    return wrong ? complain(EXIT_USAGE, "%s: \"%s\": %s", from, known, wrong) : EXIT_OK;
}

int api_open(struct api *a, const struct options *o)
{
    int rc;

    *a = (struct api){.options = o};
    rc = find_url(a);
    if (rc == EXIT_OK)
        rc = find_token(a);
    if (rc != EXIT_OK)
        return rc;
    if (curl_global_init(CURL_GLOBAL_DEFAULT) || !(a->curl = curl_easy_init()))
        return complain(EXIT_USAGE, "libcurl could not be started");
    return trust_find(a);
}

void api_close(struct api *a)
{
    if (a->curl)
        curl_easy_cleanup(a->curl);
    curl_slist_free_all(a->headers);
    json_decref(a->context);
    curl_global_cleanup();
}

/* ---- answers ---- */

void reply_clear(struct reply *r)
{
    free(r->body);
    *r = (struct reply){.body = NULL};
}

size_t reply_take(char *bytes, size_t one, size_t n, void *ctx)
{
    struct reply *r = ctx;
    char *larger;

    if (one * n > (REPLY_MAX_MIB << 20) - r->length)
        return 0;
    larger = realloc(r->body, r->length + one * n + 1);
    if (!larger)
        return 0;
    r->body = larger;
    memcpy(r->body + r->length, bytes, one * n);
    r->length += one * n;
    r->body[r->length] = 0;
    return one * n;
}

/* The value if the line is the field `name` (in lower case), else NULL. */
static const char *field_value(const char *line, size_t length, const char *name)
{
    size_t n = strlen(name);

    if (length <= n || line[n] != ':')
        return NULL;
    for (size_t i = 0; i < n; i++)
        if ((line[i] >= 'A' && line[i] <= 'Z' ? line[i] | 0x20 : line[i]) != name[i])
            return NULL;
    return line + n + 1;
}

static size_t take_header(char *bytes, size_t one, size_t n, void *ctx)
{
    struct reply *r = ctx;
    char line[URL_MAX + 32];
    const char *value;

    (void)snprintf(line, sizeof(line), "%.*s", (int)(one * n), bytes);
    line[strcspn(line, "\r\n")] = 0;
    if ((value = field_value(line, strlen(line), "bulkhead-next")) != NULL) {
        r->has_next = true;
        r->next = strtoull(value, NULL, 10);
    } else if ((value = field_value(line, strlen(line), "retry-after")) != NULL) {
        r->retry_after = (unsigned)strtoul(value, NULL, 10);
    } else if ((value = field_value(line, strlen(line), "location")) != NULL) {
        (void)snprintf(r->location, sizeof(r->location), "%s", value + strspn(value, " "));
    }
    return one * n;
}

/* libcurl calls it every second. */
static int is_stopped(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
    (void)ctx;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return term_stopped();
}

int api_prepare(struct api *a, CURL *c, const char *path, struct reply *r)
{
    char url[URL_MAX + PATH_MAX_BYTES];

    curl_easy_reset(c);
    a->error[0] = 0;
    a->pin_failed = false;
    (void)snprintf(url, sizeof(url), "%s%s", a->base, path);
    (void)curl_easy_setopt(c, CURLOPT_URL, url);
    (void)curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
    (void)curl_easy_setopt(c, CURLOPT_PROXY, ""); /* the token is for the appliance alone */
    (void)curl_easy_setopt(c, CURLOPT_USERAGENT, "bhctl/" BULKHEAD_VERSION);
    (void)curl_easy_setopt(c, CURLOPT_ERRORBUFFER, a->error);
    (void)curl_easy_setopt(c, CURLOPT_HTTPHEADER, a->headers);
    (void)curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT, CONNECT_SECONDS);
    (void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_LIMIT, 1L);
    (void)curl_easy_setopt(c, CURLOPT_LOW_SPEED_TIME, SILENCE_SECONDS);
    (void)curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, a->limit_ms);
    (void)curl_easy_setopt(c, CURLOPT_TCP_KEEPALIVE, 1L);
    (void)curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, reply_take);
    (void)curl_easy_setopt(c, CURLOPT_WRITEDATA, r);
    (void)curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, take_header);
    (void)curl_easy_setopt(c, CURLOPT_HEADERDATA, r);
    (void)curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    (void)curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, is_stopped);
    return trust_set(a, c);
}

/* ---- requests ---- */

/* A cut connection may mean that the management guest died: it is back in less than a second.
 * Asking again is harmless; changing something again might not be. */
static bool is_cut(const struct api *a, CURLcode rc)
{
    switch (rc) {
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
        return true;
    case CURLE_SSL_CONNECT_ERROR: /* during the handshake */
        return !a->pin_failed;
    default:
        return false;
    }
}

static CURLcode perform(struct api *a, bool again, struct reply *r)
{
    const struct timespec pause = {.tv_nsec = 300 * 1000 * 1000};
    CURLcode rc = curl_easy_perform(a->curl);

    for (unsigned i = 0; i < GET_TRIES && again && is_cut(a, rc) && !term_stopped(); i++) {
        (void)nanosleep(&pause, NULL);
        r->length = 0;
        r->body[0] = 0;
        rc = curl_easy_perform(a->curl);
    }
    return rc;
}

int api_try(struct api *a, const char *method, const char *path, const char *body, size_t length,
            struct reply *r, CURLcode *rc)
{
    bool get = strcmp(method, "GET") == 0;

    *r = (struct reply){.body = calloc(1, 1)};
    if (!r->body)
        return complain(EXIT_USAGE, "out of memory");
    if (api_prepare(a, a->curl, path, r) != EXIT_OK)
        return EXIT_USAGE;
    if (!get)
        (void)curl_easy_setopt(a->curl, CURLOPT_CUSTOMREQUEST, method);
    if (body) {
        (void)curl_easy_setopt(a->curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)length);
        (void)curl_easy_setopt(a->curl, CURLOPT_POSTFIELDS, body);
    }
    *rc = perform(a, get, r);
    (void)curl_easy_getinfo(a->curl, CURLINFO_RESPONSE_CODE, &r->status);
    return EXIT_OK;
}

int api_send(struct api *a, const char *method, const char *path, const char *body, size_t length,
             struct reply *r)
{
    CURLcode transfer = CURLE_OK;
    int rc = api_try(a, method, path, body, length, r, &transfer);

    return rc == EXIT_OK ? api_transfer(a, transfer) : rc;
}

int api_call(struct api *a, const char *method, const char *path, const char *body, size_t length,
             struct reply *r)
{
    int rc = api_send(a, method, path, body, length, r);

    return rc == EXIT_OK ? api_reply(a, r) : rc;
}

int api_reply(const struct api *a, const struct reply *r)
{
    int rc = api_judge(a, r);

    /* A program may want to read a refusal too. */
    if (rc != EXIT_OK && r->status >= 400 && options_have(a->options, OPTION_JSON) &&
        reply_print(r) == EXIT_USAGE)
        return EXIT_USAGE;
    return rc;
}

void reply_clean(struct reply *r)
{
    for (size_t i = 0; i < r->length; i++)
        if (!r->body[i])
            r->body[i] = '?';
    format_clean(r->body, "\n\t");
}

int reply_print(const struct reply *r)
{
    (void)fwrite(r->body, 1, r->length, stdout);
    if (r->length && r->body[r->length - 1] != '\n')
        (void)putchar('\n');
    return say_end();
}

json_t *api_json(const struct reply *r)
{
    json_error_t e;
    json_t *all = json_loadb(r->body, r->length, 0, &e);

    if (!all)
        (void)complain(EXIT_UNREACHABLE,
                       "the answer is not JSON (%s): is that a Bulkhead appliance?", e.text);
    return all;
}

json_t *api_get(struct api *a, const char *path, int *status)
{
    struct reply r;
    json_t *all = NULL;

    *status = api_call(a, "GET", path, NULL, 0, &r);
    if (*status == EXIT_OK && !(all = api_json(&r)))
        *status = EXIT_UNREACHABLE;
    if (all && options_have(a->options, OPTION_JSON))
        *status = reply_print(&r);
    reply_clear(&r);
    return all;
}

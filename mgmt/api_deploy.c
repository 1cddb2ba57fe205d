/* Creates and deletes guests: POST /v1/guests, DELETE /v1/guests/{name}. */
#include "hv/fmt.h"
#include "mgmt/config/json.h"
#include "hv/lib.h"
#include "mgmt/actors.h"
#include "mgmt/api_call.h"
#include "mgmt/deploy.h"

#define TOKENS_MAX 512u

static struct abi_create request; /* large: one request at a time */

struct complaint {
    bool made;
    struct config_error error;
};

static void report(void *ctx, const struct config_error *e)
{
    struct complaint *k = ctx;

    if (!k->made)
        k->error = *e;
    k->made = true;
}

static bool parse(struct call *c)
{
    static jsmntok_t tokens[TOKENS_MAX];
    struct complaint k = {.made = false};
    char text[256];

    memset(&request, 0, sizeof(request));
    if (config_parse_guest((const char *)c->r->body, c->r->body_len, tokens, sizeof(tokens),
                           &request.config, report, &k) == 0) {
        config_join(c->v->config, &request.config);
        return true;
    }
    (void)fmt(text, sizeof(text), "%u:%u: %s%s%s", k.error.line, k.error.column, k.error.field,
              k.error.field[0] ? ": " : "", k.error.text);
    call_fail_at(c, 400, k.error.pointer, text);
    return false;
}

/* True: the image is compressed, and this call waits for it or has been answered. */
static bool unpacks(struct call *c, const struct load_blob *image)
{
    const char *name = request.config.image;
    int slot = deploy_find_upload(c->v->images, name);
    struct unpack *u = c->v->unpack;
    char why[160];
    unsigned status;

    if (slot < 0 || !u || request.config.kind == KIND_FLAT ||
        !unpack_is_packed(image->data, image->size))
        return false;
    if (c->timed_out) {
        call_fail(c, 503, "the image is still being unpacked: try again");
        return true;
    }
    if (c->waited && u->state == UNPACK_FAILED && strcmp(u->name, name) == 0) {
        u->state = UNPACK_IDLE;
        call_fail_at(c, 400, "/image", u->why);
        return true;
    }
    if (u->state != UNPACK_BUSY) {
        status = unpack_begin(c->v, (unsigned)slot, request.config.memory, why, sizeof(why));
        if (status) {
            call_fail_at(c, status, "/image", why);
            return true;
        }
    }
    c->out->wait = API_WAIT_UNPACKED;
    return true;
}

static void refuse(struct call *c, const struct deploy_refusal *f)
{
    if (f->pointer[0])
        call_fail_at(c, f->status, f->pointer, f->text);
    else
        call_fail(c, f->status, f->text);
}

void post_guests(struct call *c, char *const *arg)
{
    struct deploy_refusal f = {0};
    struct load_request files;
    char name[ABI_NAME_MAX];
    char *args[1] = {name};
    int number;

    (void)arg;
    if (!parse(c))
        return;
    (void)str_copy(c->what, sizeof(c->what), request.config.name);
    if (!deploy_find_files(c->v, &request.config, &files, &f)) {
        refuse(c, &f);
        return;
    }
    if (unpacks(c, &files.image))
        return;
    actors_poll(c->v);
    number = deploy_guest(c->v, &request, &files, &f);
    if (number < 0) {
        refuse(c, &f);
        return;
    }
    actors_asked(c->v, (unsigned)number, ACTOR_CREATE, &c->who, c->r->from);
    (void)str_copy(name, sizeof(name), request.config.name);
    get_guest(c, args);
    c->out->status = 201;
    (void)fmt(c->out->location, sizeof(c->out->location), "/v1/guests/%s", name);
}

void delete_guest(struct call *c, char *const *arg)
{
    struct json_out *j;
    struct abi_guest g;
    int number;

    if (c->timed_out) {
        j = call_begin(c);
        c->out->status = 202;
        json_object(j, NULL);
        json_str(j, "guest", arg[0]);
        json_str(j, "status", "its memory is still being scrubbed");
        json_end(j);
        return;
    }
    if (c->waited) {
        call_no_content(c);
        return;
    }
    number = call_guest(c, arg[0], &g);
    if (number < 0)
        return;
    actors_poll(c->v);
    if (c->v->remove((unsigned)number)) {
        call_fail(c, 409, "the management guest cannot be deleted: nothing could undo that");
        return;
    }
    actors_asked(c->v, (unsigned)number, ACTOR_DELETE, &c->who, c->r->from);
    c->out->wait = API_WAIT_GONE;
    c->out->wait_for.guest = (unsigned)number;
    if (!api_ready(c->v, c->out))
        return;
    c->out->wait = API_WAIT_NONE;
    call_no_content(c);
}

/* New guests, and old ones that go: POST /v1/guests, DELETE /v1/guests/{name}. */
#include "hv/fmt.h"
#include "hv/json.h"
#include "hv/lib.h"
#include "hv/load/load.h"
#include "mgmt/api_call.h"
#include "mgmt/upload.h"

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
                           &request.config, report, &k) == 0)
        return true;
    (void)fmt(text, sizeof(text), "%u:%u: %s%s%s", k.error.line, k.error.column, k.error.field,
              k.error.field[0] ? ": " : "", k.error.text);
    call_fail_at(c, 400, k.error.pointer, text);
    return false;
}

static const struct abi_boot_module *find_boot_module(const struct abi_images *p, const char *name)
{
    for (unsigned i = 0; i < p->module_count; i++)
        if (strcmp(p->modules[i].name, name) == 0)
            return &p->modules[i];
    return NULL;
}

/* One image of the new guest; `pointer` is where its name stands. Of a boot module only the size is
 * known here. */
static bool find_blob(struct call *c, const char *name, const char *pointer, struct load_blob *blob)
{
    int slot = upload_find(c->v->images, name);
    const struct abi_boot_module *module = find_boot_module(c->v->images, name);
    char text[160];

    if (slot >= 0) {
        blob->data = c->v->image_bytes((unsigned)slot);
        blob->size = c->v->images->images[slot].size;
        return true;
    }
    if (module) {
        blob->size = module->size;
        return true;
    }
    (void)fmt(text, sizeof(text), "there is no image \"%s\"; GET /v1/images lists them", name);
    call_fail_at(c, 400, pointer, text);
    return false;
}

/* True: the image is compressed, and this call waits for it or has been answered. */
static bool unpacks(struct call *c, const struct load_blob *image)
{
    const char *name = request.config.image;
    int slot = upload_find(c->v->images, name);
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

/* An uploaded image is planned here, where a mistake of the loaders hurts nobody else; one of the
 * ISO the root reads itself. Into modules nobody looks, so they may be either. */
static bool plan(struct call *c)
{
    const struct guest_config *g = &request.config;
    struct load_request r = {
        .module_count = g->module_count,
        .flat = g->kind == KIND_FLAT,
        .tsc_hz = c->v->host->tsc_hz,
        .memory = g->memory,
    };
    struct load_error e;

    if (!find_blob(c, g->image, "/image", &r.image) || unpacks(c, &r.image))
        return false;
    r.image.args = g->cmdline;
    for (unsigned i = 0; i < g->module_count; i++) {
        char pointer[32];

        (void)fmt(pointer, sizeof(pointer), "/modules/%u/file", i);
        if (!find_blob(c, g->modules[i].file, pointer, &r.modules[i]))
            return false;
        r.modules[i].args = g->modules[i].args;
    }
    if (!r.image.data)
        return true;
    if (load_guest(&r, &request.plan, &e)) {
        call_fail_at(c, 400, "/image", e.text);
        return false;
    }
    request.planned = 1;
    return true;
}

static bool is_kept(const struct call *c, const char *name)
{
    const struct abi_boot_module *k = find_boot_module(c->v->images, name);

    return k && (k->flags & ABI_BOOT_MODULE_KEPT);
}

/* What the root does not give: another guest's file, or an address. */
static const char *what_is_kept(const struct call *c)
{
    const struct guest_config *g = &request.config;

    if (is_kept(c, g->image))
        return "/image";
    for (unsigned i = 0; i < g->module_count; i++)
        if (is_kept(c, g->modules[i].file))
            return "/modules";
    return "/net/addresses";
}

static void refuse(struct call *c, int64_t rc)
{
    switch (rc) {
    case -E_EXIST:
        call_fail_at(c, 409, "/name", request.why);
        break;
    case -E_NOMEM:
        call_fail_at(c, 409, "/memory", request.why);
        break;
    case -E_BUSY:
        call_fail_at(c, 409, "/guaranteed_us", request.why);
        break;
    case -E_FORMAT:
    case -E_NOTSUP:
        call_fail_at(c, 400, "/image", request.why);
        break;
    case -E_PERM:
        call_fail_at(c, 409, what_is_kept(c), request.why);
        break;
    case -E_NOENT:
        call_fail_at(c, 409, "/core", request.why);
        break;
    default:
        call_fail(c, 409, request.why);
        break;
    }
}

void post_guests(struct call *c, char *const *arg)
{
    char name[ABI_NAME_MAX];
    char *args[1] = {name};
    int64_t number;

    (void)arg;
    if (!parse(c) || !plan(c))
        return;
    (void)str_copy(c->what, sizeof(c->what), request.config.name);
    number = c->v->create(&request);
    if (number < 0) {
        refuse(c, number);
        return;
    }
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
    if (c->v->remove((unsigned)number)) {
        call_fail(c, 409, "the management guest cannot be deleted: nobody could undo it");
        return;
    }
    c->out->wait = API_WAIT_GONE;
    c->out->wait_for.guest = (unsigned)number;
    if (!api_ready(c->v, c->out))
        return;
    c->out->wait = API_WAIT_NONE;
    call_no_content(c);
}

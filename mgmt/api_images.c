/* Images: what guests are made of. */
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/offer.h"
#include "mgmt/api_call.h"
#include "mgmt/deploy.h"
#include "mgmt/upload.h"

static void put_users(const struct call *c, struct json_out *j, uint64_t users)
{
    json_array(j, "used_by");
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++)
        if (users >> i & 1)
            json_str(j, NULL, c->v->guest(i)->config.name);
    json_end(j);
}

static void put_uploaded(const struct call *c, struct json_out *j, const struct abi_image *k)
{
    char hex[2 * sizeof(k->sha256) + 1];

    for (size_t i = 0; i < sizeof(k->sha256); i++)
        (void)fmt(hex + 2 * i, 3, "%02x", k->sha256[i]);
    json_object(j, NULL);
    json_str(j, "name", k->name);
    json_u64(j, "size", k->size);
    if (k->packed)
        json_u64(j, "packed_size", k->packed);
    else
        json_null(j, "packed_size");
    json_str(j, "sha256", hex);
    json_str(j, "source", "upload");
    put_users(c, j, k->users);
    json_end(j);
}

static void put_module(const struct call *c, struct json_out *j, const struct abi_boot_module *k)
{
    json_object(j, NULL);
    json_str(j, "name", k->name);
    json_u64(j, "size", k->size);
    json_null(j, "packed_size");
    json_null(j, "sha256");
    json_str(j, "source", "iso");
    put_users(c, j, k->users);
    json_end(j);
}

void get_images(struct call *c, char *const *arg)
{
    const struct abi_images *p = c->v->images;
    struct json_out *j = call_begin(c);

    (void)arg;
    json_object(j, NULL);
    json_array(j, "images");
    for (unsigned i = 0; i < p->module_count; i++)
        if (offer_of(c->v->config, c->v->config_whole, p->modules[i].name) == OFFER_ALL)
            put_module(c, j, &p->modules[i]);
    for (unsigned i = 0; i < ABI_IMAGES; i++)
        if (p->images[i].state == ABI_IMAGE_READY)
            put_uploaded(c, j, &p->images[i]);
    json_end(j);
    json_end(j);
}

static int find_image(struct call *c, const char *name)
{
    int n = deploy_find_upload(c->v->images, name);

    if (n < 0)
        call_fail(c, 404, "there is no uploaded image of this name; GET /v1/images lists them");
    return n;
}

void get_image(struct call *c, char *const *arg)
{
    int n = find_image(c, arg[0]);

    if (n >= 0)
        put_uploaded(c, call_begin(c), &c->v->images->images[n]);
}

void put_image(struct call *c, char *const *arg)
{
    struct upload *u = c->r->sink_ctx;
    bool replaces = deploy_find_upload(c->v->images, arg[0]) >= 0;
    char why[160];
    unsigned status;

    if (!c->r->streaming) {
        call_fail(c, 400, "the image is the request's body");
        return;
    }
    status = upload_finish(u, why, sizeof(why));
    if (status) {
        call_fail(c, status, why);
        return;
    }
    get_image(c, arg);
    c->out->status = replaces ? 200 : 201;
    if (!replaces)
        (void)fmt(c->out->location, sizeof(c->out->location), "/v1/images/%s", u->name);
}

void delete_image(struct call *c, char *const *arg)
{
    int n = find_image(c, arg[0]);
    char users[128];

    if (n < 0)
        return;
    if (unpack_uses(c->v->unpack, arg[0])) {
        call_fail(c, 409, "the image is being unpacked");
        return;
    }
    if (c->v->image_drop((unsigned)n) == 0) {
        call_no_content(c);
        return;
    }
    upload_users(c->v, c->v->images->images[n].users, users, sizeof(users));
    call_failf(c, 409, "the image is in use: %s", users);
}

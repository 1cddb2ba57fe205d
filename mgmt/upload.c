#include "mgmt/upload.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/deploy.h"
#include "mgmt/digest.h"
#include "mgmt/route.h"

#define IMAGES_PATH "/v1/images/"

bool upload_name_is_good(const char *name)
{
    size_t i = 0;

    for (; name[i]; i++) {
        char c = name[i];
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');

        if (!letter && (i == 0 || (c != '.' && c != '_' && c != '-')))
            return false;
    }
    return i > 0 && i < UPLOAD_NAME_MAX;
}

void upload_users(const struct api_view *v, uint64_t users, char *buf, size_t size)
{
    size_t n = 0;

    buf[0] = 0;
    for (unsigned i = 0; i < ABI_GUESTS_MAX && n < size; i++)
        if (users >> i & 1)
            n += fmt(buf + n, size - n, "%s%s", n ? ", " : "", v->guest(i)->config.name);
}

/* The image name in the target, or NULL with a refusal. */
static const char *name_in(struct http_request *r, unsigned *status)
{
    const char *name = r->target + sizeof(IMAGES_PATH) - 1;

    *status = 0;
    if (r->cross_origin) {
        *status = 403;
        (void)str_copy(r->why, sizeof(r->why),
                       "sent by a page of another site (Origin is not Host)");
    } else if (!upload_name_is_good(name)) {
        *status = 400;
        (void)str_copy(r->why, sizeof(r->why),
                       "an image's name has 1 to 63 of A-Z, a-z, 0-9, '.', '_' and '-', and begins "
                       "with a letter or a digit");
    }
    return *status ? NULL : name;
}

unsigned upload_refuse_memory(const struct api_view *v, const char *name, uint64_t asked,
                              int64_t rc, char *why, size_t size)
{
    const struct abi_memory *m = &v->host->memory;

    switch (rc) {
    case -E_EXIST:
        (void)fmt(why, size, "an image of the ISO has the name \"%s\"", name);
        return 409;
    case -E_NOSPC:
        (void)fmt(why, size, "%u images are there: delete one first", ABI_IMAGES);
        return 409;
    case -E_NOMEM:
        (void)fmt(why, size,
                  "not enough memory: %lu KiB asked, largest free piece %lu KiB of %lu KiB free",
                  asked >> 10, m->largest_free >> 10, m->free >> 10);
        return 409;
    default:
        (void)fmt(why, size, "the hypervisor refuses the image (error %ld)", (long)-rc);
        return 500;
    }
}

static unsigned check_old(const struct upload *u, char *why, size_t size)
{
    int old = deploy_find_upload(u->view->images, u->name);
    char users[64];

    if (old >= 0 && unpack_uses(u->view->unpack, u->name)) {
        (void)fmt(why, size, "the image \"%s\" is being unpacked", u->name);
        return 409;
    }
    if (old < 0 || !u->view->images->images[old].users)
        return 0;
    upload_users(u->view, u->view->images->images[old].users, users, sizeof(users));
    (void)fmt(why, size, "the image \"%s\" is in use: %s", u->name, users);
    return 409;
}

static unsigned begin(void *ctx, struct http_request *r, uint64_t length)
{
    struct upload *u = ctx;
    struct abi_image_request request = {.size = length};
    struct route_guard guard;
    const char *name;
    unsigned status;
    int64_t slot;
    int digest;

    upload_abort(u);
    if (strncmp(r->target, IMAGES_PATH, sizeof(IMAGES_PATH) - 1) != 0)
        return HTTP_NOT_MINE;
    if (!route_admit(u->view, r, ROLE_ADMIN, &guard)) {
        (void)str_copy(r->why, sizeof(r->why), guard.why);
        r->retry_s = guard.retry_s;
        return guard.status;
    }
    u->who = guard.who;
    name = name_in(r, &status);
    if (status == 403)
        route_note_refusal(u->view, r, &u->who, status);
    if (!name)
        return status;
    if (length == UINT64_MAX)
        return 411;
    digest = r->digest_cut ? -E_NOSPC : digest_sha256(r->repr_digest, u->digest);
    if (digest < 0) {
        (void)str_copy(r->why, sizeof(r->why),
                       digest == -E_NOSPC
                           ? "Repr-Digest: must not be longer than 511 bytes"
                           : "Repr-Digest: must be a dictionary, such as sha-256=:BASE64: with 32 "
                             "bytes, once");
        return 400;
    }
    if (length == 0 || length > ABI_IMAGE_SIZE_MAX) {
        (void)fmt(r->why, sizeof(r->why), "an image has 1 byte to %lu MiB",
                  (uint64_t)ABI_IMAGE_SIZE_MAX >> 20);
        return length ? 413 : 400;
    }
    u->has_digest = digest;
    u->size = length;
    u->done = u->writable = 0;
    (void)str_copy(u->name, sizeof(u->name), name);
    status = check_old(u, r->why, sizeof(r->why));
    if (status)
        return status;
    (void)str_copy(request.name, sizeof(request.name), name);
    slot = u->view->image_begin(&request);
    if (slot < 0)
        return upload_refuse_memory(u->view, u->name, u->size, slot, r->why, sizeof(r->why));
    u->slot = (unsigned)slot;
    u->bytes = u->view->image_bytes(u->slot);
    u->active = true;
    mbedtls_sha256_init(&u->sha);
    (void)mbedtls_sha256_starts(&u->sha, 0);
    return 0;
}

/* The root clears memory before it can be written, a part at a time. */
static bool extend(struct upload *u, uint64_t size)
{
    while (u->writable < size) {
        int64_t n = u->view->image_extend(u->slot);

        if (n < 0)
            return false;
        u->writable = (uint64_t)n;
    }
    return true;
}

static unsigned data(void *ctx, struct http_request *r, const uint8_t *bytes, size_t n)
{
    struct upload *u = ctx;

    if (!u->active || n > u->size - u->done)
        return 400;
    if (!extend(u, u->done + n)) {
        (void)str_copy(r->why, sizeof(r->why), "the hypervisor gives no memory for the image");
        return 500;
    }
    memcpy(u->bytes + u->done, bytes, n);
    (void)mbedtls_sha256_update(&u->sha, bytes, n);
    u->done += n;
    return 0;
}

const struct http_sink upload_sink = {.begin = begin, .data = data};

unsigned upload_finish(struct upload *u, char *why, size_t size)
{
    uint8_t sha256[32];
    int64_t rc;

    if (!u->active || u->done != u->size) {
        upload_abort(u);
        (void)str_copy(why, size, "the image is not complete");
        return 400;
    }
    (void)mbedtls_sha256_finish(&u->sha, sha256);
    if (u->has_digest && memcmp(sha256, u->digest, sizeof(sha256)) != 0) {
        upload_abort(u);
        (void)str_copy(why, size, "the bytes that arrived are not those of Repr-Digest");
        return 400;
    }
    rc = check_old(u, why, size) ? -E_BUSY : u->view->image_commit(u->slot, sha256);
    if (rc < 0) {
        upload_abort(u);
        return 409;
    }
    u->active = false;
    return 0;
}

void upload_abort(struct upload *u)
{
    if (u->active)
        (void)u->view->image_drop(u->slot);
    u->active = false;
}

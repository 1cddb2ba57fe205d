#include "mgmt/upload.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/deploy.h"
#include "mgmt/digest.h"
#include "mgmt/route.h"

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

/* Is the target that of an image? */
static bool is_image(const struct target *t)
{
    return t->segment_count == 3 && strcmp(t->segments[0], "v1") == 0 &&
           strcmp(t->segments[1], "images") == 0;
}

/* 0, or the status of a refusal. */
static unsigned check_target(struct http_request *r, const struct target *t)
{
    const char *stranger = target_stranger(t, "format"), *format = target_value(t, "format");

    if (r->cross_origin) {
        (void)str_copy(r->why, sizeof(r->why),
                       "sent by a page of another site (Origin is not Host)");
        return 403;
    }
    if (!upload_name_is_good(t->segments[2]))
        (void)str_copy(r->why, sizeof(r->why),
                       "an image's name has 1 to 63 of A-Z, a-z, 0-9, '.', '_' and '-', and begins "
                       "with a letter or a digit");
    else if (stranger)
        (void)fmt(r->why, sizeof(r->why), "%s: this resource has no such parameter", stranger);
    else if (format && strcmp(format, "json") != 0 && strcmp(format, "text") != 0)
        (void)str_copy(r->why, sizeof(r->why), "format: must be json or text");
    else
        return 0;
    return 400;
}

unsigned upload_refuse_memory(const struct api_view *v, const char *name, uint64_t asked,
                              int64_t rc, char *why, size_t size)
{
    switch (rc) {
    case -E_EXIST:
        (void)fmt(why, size, "an image of the ISO has the name \"%s\"", name);
        return 409;
    case -E_NOSPC:
        (void)fmt(why, size, "%u images are there: delete one first", ABI_IMAGES);
        return 409;
    case -E_NOMEM:
        deploy_say_no_memory(&v->host->memory, asked, why, size);
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
    if (old >= 0 && u->must_be_new) {
        (void)fmt(why, size, "the image \"%s\" exists (If-None-Match)", u->name);
        return 412;
    }
    if (old < 0 || !u->view->images->images[old].users)
        return 0;
    upload_users(u->view, u->view->images->images[old].users, users, sizeof(users));
    (void)fmt(why, size, "the image \"%s\" is in use: %s", u->name, users);
    return 409;
}

/* Takes what the head says about the image. 0, or the status of a refusal. */
static unsigned take_head(struct upload *u, struct http_request *r, const char *name,
                          uint64_t length)
{
    int digest = r->digest_cut ? -E_NOSPC : digest_sha256(r->repr_digest, u->digest);

    if (length == UINT64_MAX)
        return 411;
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
    /* Images have no entity tags: a list of them matches nothing. */
    u->must_be_new = strcmp(r->if_none_match, "*") == 0;
    u->size = length;
    u->done = u->writable = 0;
    (void)str_copy(u->name, sizeof(u->name), name);
    return check_old(u, r->why, sizeof(r->why));
}

/* Gets memory for the image. 0, or the status of a refusal. */
static unsigned open_slot(struct upload *u, struct http_request *r)
{
    struct abi_image_request request = {.size = u->size};
    int64_t slot;

    (void)str_copy(request.name, sizeof(request.name), u->name);
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

static unsigned begin(void *ctx, struct http_request *r, uint64_t length)
{
    struct upload *u = ctx;
    struct route_guard guard;
    struct target target;
    unsigned status;

    upload_abort(u);
    if (target_parse(&target, r->target) || !is_image(&target))
        return HTTP_NOT_MINE;
    if (!route_admit(u->view, r, ROLE_ADMIN, &guard)) {
        (void)str_copy(r->why, sizeof(r->why), guard.why);
        r->retry_s = guard.retry_s;
        return guard.status;
    }
    u->who = guard.who;
    status = check_target(r, &target);
    if (status == 403)
        route_note_refusal(u->view, r, &u->who, status);
    if (!status)
        status = take_head(u, r, target.segments[2], length);
    return status ? status : open_slot(u, r);
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
    unsigned status;

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
    status = check_old(u, why, size);
    if (!status && u->view->image_commit(u->slot, sha256) < 0) {
        (void)str_copy(why, size, "the hypervisor refuses the image");
        status = 409;
    }
    if (status) {
        upload_abort(u);
        return status;
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

#include "mgmt/unpack.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/api.h"
#include "mgmt/upload.h"

#ifndef Z_SOLO
#define Z_SOLO /* without a C library */
#endif
#include <zlib.h>

#define STEP         (16u << 10) /* bytes of the result: a few milliseconds in an emulator */
#define TRAILER_SIZE 8u          /* CRC-32 and size, RFC 1952 2.3.1 */
#define HEADER_SIZE  18u         /* the least size of a file, trailer included */
#define GZIP_ALONE   (16 + MAX_WBITS)

/* inflate()'s own memory: its state and a window of 32 KiB. */
static struct {
    uint8_t bytes[48u << 10] __attribute__((aligned(16)));
    size_t used;
} arena;
static z_stream stream;

static voidpf take(voidpf ctx, uInt count, uInt size)
{
    size_t n = align_up((uint64_t)count * size, 16);
    voidpf at = arena.bytes + arena.used;

    (void)ctx;
    if (n > sizeof(arena.bytes) - arena.used)
        return Z_NULL;
    arena.used += n;
    return at;
}

/* Does nothing: all memory is free when the next unpacking begins. */
static void give_back(voidpf ctx, voidpf at)
{
    (void)ctx;
    (void)at;
}

bool unpack_is_packed(const uint8_t *data, uint64_t size)
{
    return size >= HEADER_SIZE && data[0] == 0x1f && data[1] == 0x8b;
}

bool unpack_uses(const struct unpack *u, const char *name)
{
    return u && u->state == UNPACK_BUSY && strcmp(u->name, name) == 0;
}

static void fail(const struct api_view *v, const char *why)
{
    struct unpack *u = v->unpack;

    (void)v->image_drop(u->to);
    (void)fmt(u->why, sizeof(u->why), "the image is compressed by gzip, and %s", why);
    u->state = UNPACK_FAILED;
}

/* Modulo 2^32: a larger size is detected at the end. */
static uint32_t size_in_trailer(const uint8_t *data, uint64_t size)
{
    uint32_t n;

    memcpy(&n, data + size - 4, sizeof(n));
    return n;
}

unsigned unpack_begin(const struct api_view *v, unsigned slot, uint64_t most, char *why,
                      size_t size)
{
    const struct abi_image *k = &v->images->images[slot];
    const uint8_t *data = v->image_bytes(slot);
    struct abi_image_request r = {.size = size_in_trailer(data, k->size), .packed = k->size};
    struct unpack *u = v->unpack;
    int64_t to;

    if (r.size == 0 || r.size > min_u64(most, ABI_IMAGE_SIZE_MAX)) {
        (void)fmt(why, size,
                  "the image is compressed by gzip, and has %lu bytes unpacked, if the file is "
                  "whole; %lu are the most",
                  r.size, min_u64(most, ABI_IMAGE_SIZE_MAX));
        return 400;
    }
    (void)str_copy(r.name, sizeof(r.name), k->name);
    to = v->image_begin(&r);
    if (to < 0)
        return upload_refuse_memory(v, r.name, r.size, to, why, size);
    *u = (struct unpack){.state = UNPACK_BUSY, .from = slot, .to = (unsigned)to};
    (void)str_copy(u->name, sizeof(u->name), k->name);
    arena.used = 0;
    stream = (z_stream){
        .zalloc = take,
        .zfree = give_back,
        .next_in = (z_const Bytef *)data,
        .avail_in = (uInt)k->size,
    };
    if (inflateInit2(&stream, GZIP_ALONE) != Z_OK)
        fail(v, "not enough memory to unpack it");
    return 0;
}

/* The root clears memory before it can be written, a part at a time. */
static int64_t writable(const struct api_view *v, uint64_t end)
{
    int64_t n;

    do
        n = v->image_extend(v->unpack->to);
    while (n >= 0 && (uint64_t)n < end);
    return n;
}

static void finish(const struct api_view *v)
{
    struct unpack *u = v->unpack;
    uint8_t sha256[32]; /* the root reads it from our memory, not from its own pages */

    memcpy(sha256, v->images->images[u->from].sha256, sizeof(sha256));
    if (u->done != v->images->images[u->to].size)
        fail(v, "its size is not the one that its end says");
    else if (v->image_commit(u->to, sha256))
        fail(v, "a guest uses it compressed; unpack it and upload it under another name");
    else
        u->state = UNPACK_IDLE;
}

bool unpack_poll(const struct api_view *v)
{
    struct unpack *u = v->unpack;
    uint64_t room;
    int rc;

    if (!u || u->state != UNPACK_BUSY)
        return false;
    room = min_u64(STEP, v->images->images[u->to].size - u->done);
    if (room && writable(v, u->done + room) < 0) {
        fail(v, "the hypervisor gives no memory to unpack it");
        return false;
    }
    stream.next_out = v->image_bytes(u->to) + u->done;
    stream.avail_out = (uInt)room;
    rc = inflate(&stream, Z_NO_FLUSH);
    u->done += room - stream.avail_out;
    if (rc == Z_STREAM_END)
        finish(v);
    else if (rc == Z_BUF_ERROR && stream.avail_in > 0)
        fail(v, "its size is not the one that its end says");
    else if (rc != Z_OK)
        fail(v, rc == Z_BUF_ERROR ? "ends early" : "its data are broken");
    return u->state == UNPACK_BUSY;
}

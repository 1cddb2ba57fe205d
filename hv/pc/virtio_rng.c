#include "hv/pc/virtio_rng.h"

#include "hv/config.h"
#include "hv/lib.h"
#include "hv/pc/virtio_plug.h"

#define CLASS_OTHER   0xff0000u
#define TYPE_RNG      4u
#define LEGACY_DEVICE 0x1005u
#define PIECES        8u /* descriptors in a call */

static struct virtio_rng *rng_of(struct virtio *v)
{
    return (struct virtio_rng *)v; /* its first member */
}
_Static_assert(offsetof(struct virtio_rng, virtio) == 0, "rng_of() and the rows of platform.c");

/* Opens the next piece that has room. 1, 0: there is none in this call, or -E_FORMAT. */
static int open_piece(struct virtio_rng *d)
{
    int rc = 1;

    for (unsigned i = 0; rc == 1 && i < PIECES; i++) {
        rc = virtqueue_piece(&d->virtio.queues[0], d->virtio.mem, &d->chain, &d->piece);
        d->piece_at = 0;
        if (rc != 1)
            d->piece.length = 0;
        else if (d->piece.writable && d->piece.length)
            return 1;
        d->piece_at = d->piece.length;
    }
    return rc < 0 ? rc : 0;
}

static void finish(struct virtio_rng *d)
{
    d->open = false;
    virtqueue_done(&d->virtio.queues[0], d->virtio.mem, d->chain.head, d->written);
    virtio_used(&d->virtio, 0);
}

/* The next bytes of the open piece. */
static void fill(struct virtio_rng *d, uint64_t now)
{
    uint64_t n = min_u64(d->piece.length - d->piece_at, VIRTIO_RNG_WORK);
    uint8_t bytes[VIRTIO_RNG_WORK];

    d->next = now + d->virtio.pci.bus->clock->tsc_hz / 1000000 * VIRTIO_RNG_PAUSE_US;
    if (d->draw(bytes, n) == 0 &&
        gmem_write(d->virtio.mem, gpa(d->piece.address.v + d->piece_at), bytes, n) == 0) {
        d->piece_at += n;
        d->written += (uint32_t)n;
    }
    memzero_explicit(bytes, sizeof(bytes));
}

static int go_on(struct virtio_rng *d, uint64_t now)
{
    int rc = 1;

    if (!d->open) {
        rc = virtqueue_next(&d->virtio.queues[0], d->virtio.mem, &d->chain);
        d->open = rc == 1;
        d->written = 0;
        d->piece.length = 0;
        d->piece_at = 0;
    }
    if (rc == 1 && d->piece_at == d->piece.length)
        rc = open_piece(d);
    if (rc == 1)
        fill(d, now);
    /* The end of its last piece, or of a buffer without any. */
    if (rc >= 0 && d->open && !d->chain.more && d->piece_at == d->piece.length)
        finish(d);
    return rc;
}

static void work(struct virtio *v)
{
    struct virtio_rng *d = rng_of(v);
    uint64_t now = v->pci.bus->clock->now;

    if (now >= d->next && go_on(d, now) < 0)
        virtio_fail(v);
    v->pci.due = virtio_is_running(v) && (d->open || virtqueue_waits(&v->queues[0], v->mem))
                     ? max_u64(d->next, 1)
                     : NEVER;
}

static void forget(struct virtio *v)
{
    rng_of(v)->open = false;
}

static const struct virtio_model model = {.type = TYPE_RNG,
                                          .legacy_device = LEGACY_DEVICE,
                                          .class = CLASS_OTHER,
                                          .queues = 1,
                                          .reset = forget,
                                          .work = work};

void virtio_rng_init(struct virtio_rng *d, const struct gmem *mem,
                     int (*draw)(uint8_t *to, size_t size))
{
    memset(d, 0, sizeof(*d));
    d->draw = draw;
    virtio_init(&d->virtio, &model, mem, 0, NULL, 0);
}

static void plug(void *dev, const struct device_env *env)
{
    struct virtio_rng *d = dev;

    d->next = 0;
    if ((env->devices & DEV_RNG) && d->draw)
        virtio_plug(&d->virtio, env, VIRTIO_RNG_SLOT);
}

const struct device virtio_rng_device = {.bit = DEV_RNG, .plug = plug};

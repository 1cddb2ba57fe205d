#include "hv/pc/virtio_rng.h"

#include "hv/config.h"
#include "hv/lib.h"
#include "hv/pc/virtio_plug.h"

#define CLASS_OTHER   0xff0000u
#define TYPE_RNG      4u
#define LEGACY_DEVICE 0x1005u

static struct virtio_rng *rng_of(struct virtio *v)
{
    return (struct virtio_rng *)v; /* its first member */
}
_Static_assert(offsetof(struct virtio_rng, virtio) == 0, "rng_of() and the rows of platform.c");

/* The next bytes of the open piece. */
static void fill(struct virtio_rng *d, uint64_t now)
{
    unsigned n = (unsigned)min_u64(d->buffer.piece.length - d->buffer.at, VIRTIO_RNG_WORK);
    uint8_t bytes[VIRTIO_RNG_WORK];

    d->next = now + d->virtio.pci.bus->clock->tsc_hz / 1000000 * VIRTIO_RNG_PAUSE_US;
    if (d->draw(bytes, n) == 0)
        (void)virtio_buffer_copy(&d->virtio, &d->buffer, bytes, n);
    memzero_explicit(bytes, sizeof(bytes));
}

static int go_on(struct virtio_rng *d, uint64_t now)
{
    int place = virtio_buffer_find(&d->virtio, 0, &d->buffer, true);

    if (place == IN_PIECE) {
        fill(d, now);
        place = virtio_buffer_find(&d->virtio, 0, &d->buffer, true);
    }
    if (place == AT_END)
        virtio_buffer_finish(&d->virtio, 0, &d->buffer);
    return place;
}

static void work(struct virtio *v)
{
    struct virtio_rng *d = rng_of(v);
    uint64_t now = v->pci.bus->clock->now;

    if (now >= d->next && go_on(d, now) < 0)
        virtio_fail(v);
    v->pci.due = virtio_is_running(v) && (d->buffer.open || virtqueue_waits(&v->queues[0], v->mem))
                     ? max_u64(d->next, 1)
                     : NEVER;
}

static void forget(struct virtio *v)
{
    rng_of(v)->buffer.open = false;
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

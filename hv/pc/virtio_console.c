#include "hv/pc/virtio_console.h"

#include "hv/config.h"
#include "hv/lib.h"
#include "hv/pc/virtio_plug.h"

#define CLASS_OTHER   0x078000u
#define TYPE_CONSOLE  3u
#define LEGACY_DEVICE 0x1003u
#define FEATURES      (VIRTIO_CONSOLE_F_MULTIPORT | VIRTIO_CONSOLE_F_EMERG_WRITE)
#define PORTS         1u

static struct virtio_console *console_of(struct virtio *v)
{
    return (struct virtio_console *)v; /* its first member */
}
_Static_assert(offsetof(struct virtio_console, virtio) == 0, "console_of() and platform.c's rows");
_Static_assert(VIRTIO_CONSOLE_QUEUES <= VIRTIO_QUEUES_MAX, "they exist");

/* ---- buffers ---- */

static bool goes_in(unsigned queue)
{
    return queue == VIRTIO_CONSOLE_IN || queue == VIRTIO_CONSOLE_CONTROL_IN;
}

static int find(struct virtio_console *d, unsigned queue)
{
    return virtio_buffer_find(&d->virtio, queue, &d->buffers[queue], goes_in(queue));
}

static unsigned copy(struct virtio_console *d, unsigned queue, void *bytes, unsigned most)
{
    return virtio_buffer_copy(&d->virtio, &d->buffers[queue], bytes, most);
}

static void finish(struct virtio_console *d, unsigned queue)
{
    virtio_buffer_finish(&d->virtio, queue, &d->buffers[queue]);
}

/* ---- the port ---- */

static int print(struct virtio_console *d)
{
    uint8_t bytes[VIRTIO_CONSOLE_WORK];
    int place = find(d, VIRTIO_CONSOLE_OUT);
    unsigned n = place == IN_PIECE ? copy(d, VIRTIO_CONSOLE_OUT, bytes, sizeof(bytes)) : 0;

    for (unsigned i = 0; i < n; i++)
        d->host->console(d->host->ctx, bytes[i]);
    if (place == AT_END)
        finish(d, VIRTIO_CONSOLE_OUT);
    return place;
}

static unsigned typed(const struct virtio_console *d)
{
    return d->typed_head - d->typed_tail;
}

/* A buffer goes back with what there is, as soon as it has some of it. */
static int give_typed(struct virtio_console *d)
{
    int place = find(d, VIRTIO_CONSOLE_IN);

    if (place == IN_PIECE) {
        unsigned first = d->typed_tail % VIRTIO_CONSOLE_TYPED;
        unsigned most = (unsigned)min_u64(typed(d), VIRTIO_CONSOLE_TYPED - first);

        d->typed_tail += copy(d, VIRTIO_CONSOLE_IN, d->typed + first, most);
    }
    if (place == AT_END || (place == IN_PIECE && !typed(d)))
        finish(d, VIRTIO_CONSOLE_IN);
    return place;
}

/* ---- messages about ports: "Multiport Device Operation" ---- */

static void tell(struct virtio_console *d, enum virtio_console_event event)
{
    d->pending |= 1u << event;
}

static void take_message(struct virtio_console *d)
{
    struct virtio_console_message m;

    memcpy(&m, d->message, sizeof(m));
    if (m.event == VIRTIO_CONSOLE_DEVICE_READY) {
        d->pending = 0;
        if (m.value)
            tell(d, VIRTIO_CONSOLE_DEVICE_ADD);
    } else if (m.port == 0 && m.event == VIRTIO_CONSOLE_PORT_READY && m.value) {
        tell(d, VIRTIO_CONSOLE_CONSOLE_PORT);
        tell(d, VIRTIO_CONSOLE_PORT_OPEN);
    } else if (m.port == 0 && m.event == VIRTIO_CONSOLE_PORT_OPEN) {
        d->open = m.value;
    }
}

/* What is longer than a message is one nevertheless, and what is shorter is none. */
static int take_control(struct virtio_console *d)
{
    struct virtio_buffer *b = &d->buffers[VIRTIO_CONSOLE_CONTROL_OUT];
    int place = find(d, VIRTIO_CONSOLE_CONTROL_OUT);

    if (place == IN_PIECE) {
        unsigned left = (unsigned)sizeof(d->message) - b->done;

        (void)copy(d, VIRTIO_CONSOLE_CONTROL_OUT, d->message + b->done, left);
        if (b->done < sizeof(d->message))
            return place;
        take_message(d);
    }
    if (place != NOWHERE)
        finish(d, VIRTIO_CONSOLE_CONTROL_OUT);
    return place;
}

/* The first that is pending; it is lost in a buffer without room for it. */
static int give_control(struct virtio_console *d)
{
    struct virtio_buffer *b = &d->buffers[VIRTIO_CONSOLE_CONTROL_IN];
    unsigned event = (unsigned)__builtin_ctz(d->pending);
    int place = find(d, VIRTIO_CONSOLE_CONTROL_IN);
    struct virtio_console_message m = {.event = (uint16_t)event,
                                       .value = event == VIRTIO_CONSOLE_CONSOLE_PORT ||
                                                event == VIRTIO_CONSOLE_PORT_OPEN};

    if (place == IN_PIECE) {
        (void)copy(d, VIRTIO_CONSOLE_CONTROL_IN, (uint8_t *)&m + b->done,
                   (unsigned)sizeof(m) - b->done);
        if (b->done < sizeof(m))
            return place;
    }
    if (place != NOWHERE) {
        d->pending &= ~(1u << event);
        finish(d, VIRTIO_CONSOLE_CONTROL_IN);
    }
    return place;
}

/* ---- work ---- */

static bool has_buffer(struct virtio_console *d, unsigned queue)
{
    return d->buffers[queue].open || virtqueue_waits(&d->virtio.queues[queue], d->virtio.mem);
}

static bool has_work(struct virtio_console *d, unsigned queue)
{
    switch (queue) {
    case VIRTIO_CONSOLE_IN:
        return typed(d) && has_buffer(d, queue);
    case VIRTIO_CONSOLE_OUT:
        return has_buffer(d, queue);
    case VIRTIO_CONSOLE_CONTROL_IN:
        return d->pending && has_buffer(d, queue);
    default:
        return virtio_has(&d->virtio, VIRTIO_CONSOLE_F_MULTIPORT) && has_buffer(d, queue);
    }
}

static bool has_any_work(struct virtio_console *d)
{
    for (unsigned i = 0; i < VIRTIO_CONSOLE_QUEUES; i++)
        if (has_work(d, i))
            return true;
    return false;
}

static void work(struct virtio *v)
{
    static int (*const go[VIRTIO_CONSOLE_QUEUES])(struct virtio_console * d) = {
        [VIRTIO_CONSOLE_IN] = give_typed,
        [VIRTIO_CONSOLE_OUT] = print,
        [VIRTIO_CONSOLE_CONTROL_IN] = give_control,
        [VIRTIO_CONSOLE_CONTROL_OUT] = take_control,
    };
    struct virtio_console *d = console_of(v);

    for (unsigned i = 0; i < VIRTIO_CONSOLE_QUEUES; i++) {
        d->turn = (d->turn + 1) % VIRTIO_CONSOLE_QUEUES;
        if (!has_work(d, d->turn))
            continue;
        if (go[d->turn](d) < 0)
            virtio_fail(v);
        break;
    }
    v->pci.due = virtio_is_running(v) && has_any_work(d) ? 0 : NEVER;
}

static void forget(struct virtio *v)
{
    struct virtio_console *d = console_of(v);

    d->open = false;
    d->pending = 0;
    for (unsigned i = 0; i < VIRTIO_CONSOLE_QUEUES; i++)
        d->buffers[i].open = false;
}

/* "Emergency write": at any time, also without a driver. */
static void write_config(struct virtio *v, unsigned offset, uint32_t value)
{
    struct virtio_console *d = console_of(v);

    if (offset == offsetof(struct virtio_console_config, emergency))
        d->host->console(d->host->ctx, (uint8_t)value);
}

bool virtio_console_is_open(const struct virtio_console *d)
{
    const struct virtio *v = &d->virtio;

    return d->exists && virtio_is_running(v) &&
           (d->open || !virtio_has(v, VIRTIO_CONSOLE_F_MULTIPORT));
}

bool virtio_console_type(struct virtio_console *d, uint8_t byte)
{
    if (typed(d) == VIRTIO_CONSOLE_TYPED)
        return false;
    d->typed[d->typed_head++ % VIRTIO_CONSOLE_TYPED] = byte;
    pci_work_now(&d->virtio.pci);
    return true;
}

static const struct virtio_model model = {.type = TYPE_CONSOLE,
                                          .legacy_device = LEGACY_DEVICE,
                                          .class = CLASS_OTHER,
                                          .queues = VIRTIO_CONSOLE_QUEUES,
                                          .reset = forget,
                                          .work = work,
                                          .write_config = write_config};

void virtio_console_init(struct virtio_console *d, const struct gmem *mem)
{
    memset(d, 0, sizeof(*d));
    d->config = (struct virtio_console_config){.ports = PORTS};
    virtio_init(&d->virtio, &model, mem, FEATURES, &d->config, sizeof(d->config));
}

static void plug(void *dev, const struct device_env *env)
{
    struct virtio_console *d = dev;

    d->exists = env->devices & DEV_CONSOLE;
    d->host = env->host;
    d->typed_head = d->typed_tail = 0;
    if (d->exists)
        virtio_plug(&d->virtio, env, VIRTIO_CONSOLE_SLOT);
}

const struct device virtio_console_device = {.bit = DEV_CONSOLE, .plug = plug};

#include "net/switch.h"

#include "hv/lib.h"

#define FLOOD 0xffu

void switch_init(struct vswitch *s)
{
    memset(s, 0, sizeof(*s));
}

int switch_attach(struct vswitch *s, switch_deliver *deliver, void *ctx)
{
    int port = -E_NOSPC;

    spin_lock(&s->lock);
    for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++) {
        if (s->ports[i].deliver)
            continue;
        s->ports[i] = (struct switch_port){.deliver = deliver, .ctx = ctx};
        port = (int)i;
        break;
    }
    spin_unlock(&s->lock);
    return port;
}

void switch_detach(struct vswitch *s, unsigned port)
{
    if (port >= SWITCH_PORTS_MAX)
        return;
    spin_lock(&s->lock);
    s->ports[port] = (struct switch_port){0};
    for (unsigned i = 0; i < SWITCH_MACS_MAX; i++)
        if (s->macs[i].port == port)
            s->macs[i].used = false;
    spin_unlock(&s->lock);
}

static bool is_group(const uint8_t *mac)
{
    return mac[0] & 1;
}

static int find(const struct vswitch *s, const uint8_t *mac)
{
    for (unsigned i = 0; i < SWITCH_MACS_MAX; i++)
        if (s->macs[i].used && memcmp(s->macs[i].mac, mac, 6) == 0)
            return (int)i;
    return -1;
}

/* A free entry, or the one that was not seen for longest. */
static unsigned victim(const struct vswitch *s)
{
    unsigned oldest = 0;

    for (unsigned i = 0; i < SWITCH_MACS_MAX; i++) {
        if (!s->macs[i].used)
            return i;
        if (s->macs[i].tsc < s->macs[oldest].tsc)
            oldest = i;
    }
    return oldest;
}

static void learn(struct vswitch *s, unsigned port, const uint8_t *mac, uint64_t now)
{
    int at = find(s, mac);
    unsigned i = at >= 0 ? (unsigned)at : victim(s);

    memcpy(s->macs[i].mac, mac, 6);
    s->macs[i].port = (uint8_t)port;
    s->macs[i].used = true;
    s->macs[i].tsc = now;
}

/* Counts the frame and decides where it goes: a port, FLOOD, or the port it came from (nowhere). */
static unsigned route(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len,
                      uint64_t now)
{
    const uint8_t *destination = frame, *source = frame + 6;
    int at;

    s->ports[port].in_frames++;
    s->ports[port].in_bytes += len;
    if (!is_group(source))
        learn(s, port, source, now);
    if (is_group(destination))
        return FLOOD;
    at = find(s, destination);
    return at < 0 ? FLOOD : s->macs[at].port;
}

static void deliver(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len)
{
    struct switch_port *p = &s->ports[port];

    if (!p->deliver)
        return;
    __atomic_fetch_add(&p->out_frames, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&p->out_bytes, len, __ATOMIC_RELAXED);
    p->deliver(p->ctx, frame, len);
}

void switch_input(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len, uint64_t now)
{
    unsigned to;

    if (port >= SWITCH_PORTS_MAX)
        return;
    spin_lock(&s->lock);
    if (len < SWITCH_FRAME_MIN || len > SWITCH_FRAME_MAX || !s->ports[port].deliver) {
        s->ports[port].dropped++;
        spin_unlock(&s->lock);
        return;
    }
    to = route(s, port, frame, len, now);
    spin_unlock(&s->lock);
    if (to == FLOOD) {
        for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
            if (i != port)
                deliver(s, i, frame, len);
    } else if (to != port) {
        deliver(s, to, frame, len);
    }
}

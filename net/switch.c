#include "net/switch.h"

#include "hv/lib.h"

/* Where a frame goes, taken down under the lock and used without it. */
struct targets {
    unsigned count;
    struct {
        switch_deliver *deliver;
        void *ctx;
        struct switch_port *port;
    } to[SWITCH_PORTS_MAX];
};

void switch_init(struct vswitch *s, uint64_t max_age)
{
    memset(s, 0, sizeof(*s));
    s->max_age = max_age;
}

int switch_attach(struct vswitch *s, switch_deliver *deliver, void *ctx)
{
    int port = -E_NOSPC;

    spin_lock(&s->lock);
    for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++) {
        /* Also not where one that was detached still waits for its last delivery. */
        if (s->ports[i].deliver || __atomic_load_n(&s->ports[i].delivering, __ATOMIC_ACQUIRE))
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
    s->ports[port].deliver = NULL;
    s->ports[port].fixed = false;
    for (unsigned i = 0; i < SWITCH_MACS_MAX; i++)
        if (s->macs[i].port == port)
            s->macs[i].used = false;
    spin_unlock(&s->lock);
    while (__atomic_load_n(&s->ports[port].delivering, __ATOMIC_ACQUIRE))
        __builtin_ia32_pause();
}

static bool same(const uint8_t *a, const uint8_t *b)
{
    return memcmp(a, b, SWITCH_MAC_SIZE) == 0;
}

static bool is_group(const uint8_t *mac)
{
    return mac[0] & 1;
}

/* IEEE 802.1D "Reserved addresses": between a bridge and its neighbour, never forwarded. */
static bool is_link_local(const uint8_t *mac)
{
    static const uint8_t prefix[] = {0x01, 0x80, 0xc2, 0x00, 0x00};

    return memcmp(mac, prefix, sizeof(prefix)) == 0 && mac[sizeof(prefix)] < 0x10;
}

/* The port whose fixed address this is, or -1. */
static int find_fixed(const struct vswitch *s, const uint8_t *mac)
{
    for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
        if (s->ports[i].fixed && same(s->ports[i].mac, mac))
            return (int)i;
    return -1;
}

static struct switch_mac *find_learned(struct vswitch *s, const uint8_t *mac)
{
    for (unsigned i = 0; i < SWITCH_MACS_MAX; i++)
        if (s->macs[i].used && same(s->macs[i].mac, mac))
            return &s->macs[i];
    return NULL;
}

int switch_set_address(struct vswitch *s, unsigned port, const uint8_t mac[SWITCH_MAC_SIZE])
{
    struct switch_mac *learned;
    int owner, rc = 0;

    if (port >= SWITCH_PORTS_MAX)
        return -E_RANGE;
    if (is_group(mac))
        return -E_INVAL;
    spin_lock(&s->lock);
    owner = find_fixed(s, mac);
    if (!s->ports[port].deliver) {
        rc = -E_RANGE;
    } else if (owner >= 0 && owner != (int)port) {
        rc = -E_EXIST;
    } else {
        memcpy(s->ports[port].mac, mac, SWITCH_MAC_SIZE);
        s->ports[port].fixed = true;
        learned = find_learned(s, mac);
        if (learned)
            learned->used = false;
    }
    spin_unlock(&s->lock);
    return rc;
}

/* A free entry, or the one that was not seen for longest. */
static struct switch_mac *victim(struct vswitch *s)
{
    struct switch_mac *oldest = &s->macs[0];

    for (unsigned i = 0; i < SWITCH_MACS_MAX; i++) {
        if (!s->macs[i].used)
            return &s->macs[i];
        if (s->macs[i].tsc < oldest->tsc)
            oldest = &s->macs[i];
    }
    return oldest;
}

static void learn(struct vswitch *s, unsigned port, const uint8_t *mac, uint64_t now)
{
    struct switch_mac *m = find_learned(s, mac);

    if (!m)
        m = victim(s);
    memcpy(m->mac, mac, SWITCH_MAC_SIZE);
    m->port = (uint8_t)port;
    m->used = true;
    m->tsc = now;
}

/* The port behind which an address is, or -1. */
static int locate(struct vswitch *s, const uint8_t *mac, uint64_t now)
{
    int port = find_fixed(s, mac);
    struct switch_mac *m;

    if (port >= 0)
        return port;
    m = find_learned(s, mac);
    if (!m)
        return -1;
    /* Another core's `now` may be a little behind. */
    if (now > m->tsc && now - m->tsc > s->max_age) {
        m->used = false;
        return -1;
    }
    return m->port;
}

/* May a frame from this source enter at this port? */
static bool admits(const struct vswitch *s, unsigned port, const uint8_t *source)
{
    const struct switch_port *p = &s->ports[port];

    if (p->fixed)
        return same(p->mac, source);
    return !is_group(source) && find_fixed(s, source) < 0;
}

static void add_target(struct vswitch *s, unsigned port, size_t len, struct targets *t)
{
    struct switch_port *p = &s->ports[port];

    if (!p->deliver)
        return;
    p->out_frames++;
    p->out_bytes += len;
    t->to[t->count].deliver = p->deliver;
    t->to[t->count].ctx = p->ctx;
    t->to[t->count].port = p;
    __atomic_fetch_add(&p->delivering, 1, __ATOMIC_RELAXED); /* the lock orders it */
    t->count++;
}

static void route(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len, uint64_t now,
                  struct targets *t)
{
    const uint8_t *destination = frame, *source = frame + SWITCH_MAC_SIZE;
    struct switch_port *p = &s->ports[port];
    int to;

    if (!p->deliver || len < SWITCH_FRAME_MIN || len > SWITCH_FRAME_MAX ||
        !admits(s, port, source) || is_link_local(destination)) {
        p->dropped++;
        return;
    }
    p->in_frames++;
    p->in_bytes += len;
    if (!p->fixed)
        learn(s, port, source, now);
    to = is_group(destination) ? -1 : locate(s, destination, now);
    if (to >= 0) {
        if ((unsigned)to != port) /* else it is on the segment that the frame came from */
            add_target(s, (unsigned)to, len, t);
        return;
    }
    for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
        if (i != port)
            add_target(s, i, len, t);
}

void switch_input(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len, uint64_t now)
{
    struct targets t;

    if (port >= SWITCH_PORTS_MAX)
        return;
    t.count = 0;
    spin_lock(&s->lock);
    route(s, port, frame, len, now, &t);
    spin_unlock(&s->lock);
    for (unsigned i = 0; i < t.count; i++) {
        t.to[i].deliver(t.to[i].ctx, frame, len);
        __atomic_fetch_sub(&t.to[i].port->delivering, 1, __ATOMIC_RELEASE);
    }
}

#include "net/switch.h"

#include "hv/lib.h"

_Static_assert(SWITCH_PORTS_MAX <= 32, "ports are bits");

/* What each frame needs is compiled into each caller: ALWAYS_INLINE. Most frames are finished. */
#define RARE __attribute__((noinline))

void switch_init(struct vswitch *s, uint64_t tsc_hz, bool guests_reach_management)
{
    memset(s, 0, sizeof(*s));
    s->tsc_hz = tsc_hz;
    s->guests_reach_management = guests_reach_management;
    filter_init(&s->filter, tsc_hz);
}

void switch_guard(struct vswitch *s, const struct facts_address *a)
{
    filter_guard(&s->filter, a);
}

bool switch_is_guarded(struct vswitch *s, const struct facts_address *a)
{
    bool guarded;

    spin_lock(&s->lock);
    guarded = filter_is_guarded(&s->filter, a);
    spin_unlock(&s->lock);
    return guarded;
}

static unsigned bin_of(uint64_t address)
{
    return hash_u64(address, SWITCH_BIN_BITS);
}

/* The port that has this address, or -1. */
static int find(const struct vswitch *s, uint64_t address)
{
    for (uint32_t left = s->found[bin_of(address)]; left; left &= left - 1)
        if (s->ports[__builtin_ctz(left)].address == address)
            return __builtin_ctz(left);
    return -1;
}

/* ---- who reaches whom ---- */

static bool reaches(const struct vswitch *s, const struct switch_port *a,
                    const struct switch_port *b)
{
    const struct switch_port *guest = a->role == FILTER_GUEST ? a : b;
    const struct switch_port *other = guest == a ? b : a;

    if (guest->role != FILTER_GUEST) /* management and an uplink, or two of these */
        return (a->role ^ b->role) & FILTER_MANAGEMENT &&
               (a->role | b->role) & FILTER_UPLINK_MANAGEMENT;
    switch (other->role) {
    case FILTER_GUEST:
        return strcmp(a->network, b->network) == 0;
    case FILTER_MANAGEMENT:
        return guest->uplink && s->guests_reach_management;
    default:
        return guest->uplink && other->role & FILTER_UPLINK_GUESTS;
    }
}

/* Two guests on the same wire must have different addresses, even if they do not see each other. */
static bool is_beside(const struct switch_port *a, const struct switch_port *b)
{
    if (a->role != FILTER_GUEST || b->role != FILTER_GUEST)
        return false;
    return strcmp(a->network, b->network) == 0 || (a->uplink && b->uplink);
}

/* After a port came or went. Reachability is mutual. */
static void connect(struct vswitch *s, unsigned port)
{
    struct switch_port *p = &s->ports[port];

    s->uplinks = 0;
    memset(s->found, 0, sizeof(s->found));
    for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++) {
        if (!s->ports[i].used)
            continue;
        if (s->ports[i].role & FILTER_UPLINK)
            s->uplinks |= 1u << i;
        else
            s->found[bin_of(s->ports[i].address)] |= 1u << i;
    }
    p->reached = p->beside = 0;
    for (unsigned n = 0; n < SWITCH_PORTS_MAX; n++) {
        struct switch_port *q = &s->ports[n];
        uint32_t reached, beside;

        if (n == port || !q->used)
            continue;
        reached = p->used && reaches(s, p, q);
        beside = p->used && is_beside(p, q);
        p->reached |= reached << n;
        p->beside |= beside << n;
        q->reached = (q->reached & ~(1u << port)) | reached << port;
        q->beside = (q->beside & ~(1u << port)) | beside << port;
        filter_connect(&s->filter, n, q->reached, q->beside);
    }
    filter_connect(&s->filter, port, p->reached, p->beside);
}

/* ---- ports ---- */

static uint64_t address_at(const uint8_t *mac)
{
    uint32_t low;
    uint16_t high;

    memcpy(&low, mac, sizeof(low));
    memcpy(&high, mac + sizeof(low), sizeof(high));
    return (uint64_t)high << 32 | low;
}

static bool is_group(const uint8_t *mac)
{
    return mac[0] & 1;
}

static int free_port(const struct vswitch *s)
{
    /* Skips ports that were detached and still wait for their last delivery. */
    for (unsigned i = 0; i < SWITCH_PORTS_MAX; i++)
        if (!s->ports[i].used && !__atomic_load_n(&s->ports[i].delivering, __ATOMIC_ACQUIRE))
            return (int)i;
    return -E_NOSPC;
}

static uint32_t rate_of(enum filter_role role, const struct net_config *c)
{
    switch (role) {
    case FILTER_GUEST:
        return c->broadcasts_per_second;
    case FILTER_MANAGEMENT:
        return SWITCH_MANAGEMENT;
    default:
        return SWITCH_OUTSIDE;
    }
}

static void set_up(struct vswitch *s, unsigned port, enum filter_role role, const uint8_t *mac,
                   const struct net_config *c)
{
    static const uint8_t none[SWITCH_MAC_SIZE];
    struct switch_port *p = &s->ports[port];

    p->role = role;
    p->address = role & FILTER_UPLINK ? 0 : address_at(mac);
    if (role == FILTER_GUEST) {
        p->uplink = c->uplink;
        (void)str_copy(p->network, sizeof(p->network), c->network);
    }
    p->groups = bucket_make(s->tsc_hz, rate_of(role, c), SWITCH_BURST);
    filter_attach(&s->filter, port, role, role & FILTER_UPLINK ? none : mac, c);
    connect(s, port);
}

/* Has another port the address, or is another the uplink of the same ports? */
static bool exists(const struct vswitch *s, enum filter_role role, const uint8_t *mac)
{
    if (!(role & FILTER_UPLINK))
        return find(s, address_at(mac)) >= 0;
    for (uint32_t left = s->uplinks; left; left &= left - 1)
        if (s->ports[__builtin_ctz(left)].role & role)
            return true;
    return false;
}

int switch_attach(struct vswitch *s, enum filter_role role, const uint8_t mac[SWITCH_MAC_SIZE],
                  const struct net_config *config, net_deliver *deliver, void *ctx)
{
    int port;

    if (!(role & FILTER_UPLINK) && (is_group(mac) || address_at(mac) == 0))
        return -E_INVAL;
    spin_lock(&s->lock);
    port = exists(s, role, mac) ? -E_EXIST : free_port(s);
    if (port >= 0) {
        s->ports[port] =
            (struct switch_port){.used = true, .life = ++s->lives, .deliver = deliver, .ctx = ctx};
        set_up(s, (unsigned)port, role, mac, config);
    }
    spin_unlock(&s->lock);
    return port;
}

void switch_detach(struct vswitch *s, unsigned port)
{
    if (port >= SWITCH_PORTS_MAX)
        return;
    spin_lock(&s->lock);
    s->ports[port].used = false;
    filter_detach(&s->filter, port);
    connect(s, port);
    spin_unlock(&s->lock);
    while (__atomic_load_n(&s->ports[port].delivering, __ATOMIC_ACQUIRE))
        __builtin_ia32_pause();
}

/* ---- frames ---- */

/* IEEE 802.1D "Reserved addresses": between a bridge and its neighbour, never forwarded. A guest
 * could use them to silence the machine's own link (PAUSE). */
static bool is_reserved(const uint8_t *mac)
{
    static const uint8_t prefix[] = {0x01, 0x80, 0xc2, 0x00, 0x00};

    return memcmp(mac, prefix, sizeof(prefix)) == 0 && mac[sizeof(prefix)] < 0x10;
}

/* May a frame from this source enter at this port? */
static bool admits(const struct vswitch *s, const struct switch_port *p, const uint8_t *source)
{
    uint64_t address = address_at(source);

    if (p->address)
        return p->address == address;
    return !is_group(source) && address != 0 && find(s, address) < 0;
}

/* A frame is on its way to the port. Under the lock, which orders it. */
static void hold(struct switch_port *p)
{
    __atomic_fetch_add(&p->delivering, 1, __ATOMIC_RELAXED);
}

/* The ports that a unicast frame goes to: one or none. No port reaches more than one uplink. */
static uint32_t locate(const struct vswitch *s, const struct switch_port *p,
                       const uint8_t *destination)
{
    int to = find(s, address_at(destination));

    return p->reached & (to < 0 ? s->uplinks : 1u << to);
}

static ALWAYS_INLINE enum net_drop judge(struct vswitch *s, unsigned port, const uint8_t *frame,
                                         const struct facts *k, uint64_t now)
{
    struct switch_port *p = &s->ports[port];

    if (is_group(frame) && is_reserved(frame))
        return NET_DROP_RESERVED;
    if (is_group(frame) && !bucket_take(&p->groups, now))
        return NET_DROP_RATE;
    return p->role == FILTER_GUEST ? filter_judge(&s->filter, port, k, now) : NET_PASSED;
}

/* The ports in *to are held. */
static ALWAYS_INLINE enum net_drop route(struct vswitch *s, unsigned port, const uint8_t *frame,
                                         const struct facts *k, uint64_t now, uint32_t *to)
{
    struct switch_port *p = &s->ports[port];
    enum net_drop why;

    if (!admits(s, p, frame + SWITCH_MAC_SIZE))
        return NET_DROP_SOURCE;
    why = judge(s, port, frame, k, now);
    if (why)
        return why;
    /* Nothing can be learned from these, and nothing matters that is out of the guests' reach. */
    if (k->kind != FACTS_IP && k->kind != FACTS_OTHER &&
        (p->role != FILTER_UPLINK_MANAGEMENT || s->guests_reach_management))
        filter_learn(&s->filter, port, k, now);
    *to = is_group(frame) ? p->reached : locate(s, p, frame);
    if (!*to && !is_group(frame))
        return NET_DROP_DESTINATION;
    for (uint32_t left = *to; left; left &= left - 1)
        hold(&s->ports[__builtin_ctz(left)]);
    return NET_PASSED;
}

static ALWAYS_INLINE void deliver(struct vswitch *s, uint32_t to, const uint8_t *frame, size_t len,
                                  const struct net_offload *o)
{
    for (; to; to &= to - 1) {
        struct switch_port *p = &s->ports[__builtin_ctz(to)];

        p->deliver(p->ctx, frame, len, p->offloads ? o : NULL);
        switch_let_go(p);
    }
}

/* Finds, and holds, the ports that a frame of SWITCH_FRAME_MIN to `most` bytes goes to. */
static ALWAYS_INLINE enum net_drop find_targets(struct vswitch *s, unsigned port,
                                                const uint8_t *frame, size_t len, size_t most,
                                                uint64_t now, uint32_t *to)
{
    enum net_drop why = NET_DROP_MALFORMED;
    struct facts k;

    if (port >= SWITCH_PORTS_MAX)
        return NET_DROP_SOURCE;
    if (len < SWITCH_FRAME_MIN || len > most)
        return NET_DROP_MALFORMED;
    facts_take(frame, len, &k);
    spin_lock(&s->lock);
    if (s->ports[port].used)
        why = route(s, port, frame, &k, now, to);
    spin_unlock(&s->lock);
    return why;
}

static ALWAYS_INLINE enum net_drop input(struct vswitch *s, unsigned port, const uint8_t *frame,
                                         size_t len, const struct net_offload *o, uint64_t now)
{
    uint32_t to;
    enum net_drop why = find_targets(s, port, frame, len, SWITCH_FRAME_MAX, now, &to);

    if (!why)
        deliver(s, to, frame, len, o);
    return why;
}

enum net_drop switch_input(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len,
                           uint64_t now)
{
    return input(s, port, frame, len, NULL, now);
}

/* ---- unfinished frames ---- */

RARE enum net_drop switch_input_partial(struct vswitch *s, unsigned port, const uint8_t *frame,
                                        size_t len, const struct net_offload *o, uint64_t now)
{
    return input(s, port, frame, len, o, now);
}

void switch_set_offloads(struct vswitch *s, unsigned port, const struct net_offloads *o)
{
    spin_lock(&s->lock);
    s->ports[port].offloads = o;
    spin_unlock(&s->lock);
}

uint32_t switch_takes(struct vswitch *s, unsigned port, const uint8_t *frame)
{
    uint32_t takes = 0, to;

    if (port >= SWITCH_PORTS_MAX || is_group(frame))
        return 0;
    spin_lock(&s->lock);
    to = locate(s, &s->ports[port], frame);
    if (to) {
        const struct switch_port *p = &s->ports[__builtin_ctz(to)];

        takes = p->offloads ? p->offloads->takes(p->ctx) : 0;
    }
    spin_unlock(&s->lock);
    return takes;
}

RARE enum net_drop switch_aim(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len,
                              uint64_t now, unsigned *to, uint32_t *life)
{
    uint32_t found;
    enum net_drop why;

    if (is_group(frame))
        return NET_DROP_MALFORMED;
    why = find_targets(s, port, frame, len, NET_SEGMENT_MAX, now, &found);
    if (!why) {
        *to = (unsigned)__builtin_ctz(found);
        *life = s->ports[*to].life;
        switch_let_go(&s->ports[*to]);
    }
    return why;
}

struct switch_port *switch_hold(struct vswitch *s, unsigned port, uint32_t life)
{
    struct switch_port *p = &s->ports[port];
    bool there;

    spin_lock(&s->lock);
    there = p->used && p->life == life;
    if (there)
        hold(p);
    spin_unlock(&s->lock);
    return there ? p : NULL;
}

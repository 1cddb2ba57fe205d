#include "net/filter.h"

#include "hv/lib.h"
#include "net/filter_learn.h"

#define LINK_LOCAL    0xfe80000000000000ull
#define WAIT_SHIFT    1u /* RFC 6620, section 4.2.2, TENT_LT: half a second */
#define EUI64_MIDDLE  0xfffe000000ull
#define EUI64_FLIPPED (1ull << 57) /* RFC 4291, appendix A: the universal/local bit */

void filter_init(struct filter *f, uint64_t tsc_hz)
{
    memset(f, 0, sizeof(*f));
    f->tsc_hz = tsc_hz;
}

static uint64_t identifier_of(const uint8_t mac[6])
{
    uint64_t high = (uint64_t)mac[0] << 16 | (uint64_t)mac[1] << 8 | mac[2];
    uint64_t low = (uint64_t)mac[3] << 16 | (uint64_t)mac[4] << 8 | mac[5];

    return (high << 40 | EUI64_MIDDLE | low) ^ EUI64_FLIPPED;
}

/* ---- guarded addresses ---- */

bool filter_is_guarded(const struct filter *f, const struct facts_address *a)
{
    for (unsigned i = 0; i < FILTER_GUARDED; i++)
        if (facts_same(&f->guarded[i], a))
            return true;
    for (unsigned i = 0; a->high && i < FILTER_PORTS; i++)
        if (f->ports[i].management && f->ports[i].identifier == a->low)
            return true;
    return false;
}

/* Takes the address away from a guest that has it. */
static void take_away(struct filter_port *p, const struct facts_address *a)
{
    static const struct facts_address none;

    if (facts_same(&p->lease, a))
        p->lease = none;
    for (unsigned i = 0; i < FILTER_CLAIMS; i++)
        if (facts_same(&p->claims[i].address, a))
            p->claims[i].address = none;
    for (unsigned i = 0; i < p->address_count; i++)
        if (facts_same(&p->addresses[i], a))
            p->addresses[i] = none;
}

void filter_learn_guarded(struct filter *f, const struct facts_address *a)
{
    if (!facts_is_host(a) || filter_is_guarded(f, a))
        return;
    f->guarded[f->guarded_next++] = *a;
    if (f->guarded_next == FILTER_GUARDED)
        f->guarded_next = f->guarded_fixed;
    for (unsigned i = 0; i < FILTER_PORTS; i++)
        if (f->ports[i].uplink)
            take_away(&f->ports[i], a);
}

void filter_guard(struct filter *f, const struct facts_address *a)
{
    filter_learn_guarded(f, a);
    f->guarded_fixed = f->guarded_next;
}

/* ---- ports ---- */

static void take_configured(struct filter *f, struct filter_port *p, const struct net_config *c)
{
    p->allow = c->allow;
    p->uplink = c->uplink;
    p->configured = c->address_count > 0;
    for (unsigned i = 0; i < c->address_count && i < NET_ADDRESSES_MAX; i++) {
        struct facts_address a = facts_ipv6(c->addresses[i].bytes);

        if (!(p->uplink && filter_is_guarded(f, &a)))
            p->addresses[p->address_count++] = a;
    }
}

void filter_attach(struct filter *f, unsigned port, enum filter_role role, const uint8_t mac[6],
                   const struct net_config *config)
{
    struct filter_port *p = &f->ports[port];

    memset(p, 0, sizeof(*p));
    memcpy(p->mac, mac, sizeof(p->mac));
    p->identifier = identifier_of(mac);
    p->management = role == FILTER_MANAGEMENT;
    if (role == FILTER_GUEST)
        take_configured(f, p, config);
    p->outside = role & FILTER_UPLINK;
    if (p->outside)
        p->allow = NET_ALLOW_ROUTER | NET_ALLOW_DHCP_SERVER;
}

void filter_detach(struct filter *f, unsigned port)
{
    memset(&f->ports[port], 0, sizeof(f->ports[port]));
}

void filter_connect(struct filter *f, unsigned port, uint32_t reached, uint32_t beside)
{
    f->ports[port].reached = reached;
    f->ports[port].beside = beside;
}

/* ---- a guest's own addresses ---- */

static bool is_configured(const struct filter_port *p, const struct facts_address *a)
{
    for (unsigned i = 0; i < p->address_count; i++)
        if (facts_same(&p->addresses[i], a))
            return true;
    return false;
}

static struct filter_claim *find_claim(struct filter_port *p, const struct facts_address *a)
{
    for (unsigned i = 0; i < p->claim_count; i++)
        if (facts_same(&p->claims[i].address, a))
            return &p->claims[i];
    return NULL;
}

static bool is_advertised(const struct filter *f, uint32_t reached, uint64_t high, uint64_t now)
{
    for (uint32_t left = reached; left; left &= left - 1) {
        const struct filter_port *p = &f->ports[__builtin_ctz(left)];

        for (unsigned i = 0; (p->allow & NET_ALLOW_ROUTER) && i < FILTER_PREFIXES; i++)
            if (p->prefixes[i].high == high && now < p->prefixes[i].end)
                return true;
    }
    return false;
}

/* Is it in a network whose addresses the guest may take? */
static bool is_open(const struct filter *f, const struct filter_port *p, uint64_t high,
                    uint64_t now)
{
    return high == LINK_LOCAL || (!p->configured && is_advertised(f, p->reached, high, now));
}

static bool is_own(struct filter *f, struct filter_port *p, const struct facts_address *a,
                   uint64_t now)
{
    const struct filter_claim *c;

    if (facts_same(&p->lease, a) && now < p->lease_end)
        return true;
    if (is_configured(p, a))
        return true;
    if (p->allow & NET_ALLOW_ANY_ADDRESS)
        return facts_is_host(a) && !(p->uplink && filter_is_guarded(f, a));
    if (a->high == 0)
        return false;
    c = find_claim(p, a);
    if (c)
        return now >= c->from;
    return a->low == p->identifier && is_open(f, p, a->high, now);
}

/* ---- taking an IPv6 address ---- */

static bool has(struct filter_port *p, const struct facts_address *a)
{
    return p->identifier == a->low || is_configured(p, a) || find_claim(p, a);
}

static bool is_others(struct filter *f, uint32_t beside, const struct facts_address *a,
                      uint64_t now)
{
    for (uint32_t left = beside; left; left &= left - 1)
        if (has(&f->ports[__builtin_ctz(left)], a))
            return true;
    for (unsigned i = 0; i < FILTER_RECENT; i++)
        if (facts_same(&f->recent[i].address, a) && now < f->recent[i].from)
            return true;
    return false;
}

static void enter_claim(struct filter *f, struct filter_port *p, const struct facts_address *a,
                        uint64_t now)
{
    struct filter_claim *c = find_claim(p, a);

    if (c) {
        c->asked = now; /* it already has the address, or asks again */
        return;
    }
    c = &p->claims[0];
    for (unsigned i = 1; i < FILTER_CLAIMS; i++)
        if (c->address.high && (!p->claims[i].address.high || p->claims[i].asked < c->asked))
            c = &p->claims[i];
    if (c >= p->claims + p->claim_count)
        p->claim_count = (unsigned)(c - p->claims) + 1;
    *c = (struct filter_claim){*a, now + (f->tsc_hz >> WAIT_SHIFT), now};
    f->undecided = max_u64(f->undecided, c->from);
}

static enum net_drop judge_claim(struct filter *f, struct filter_port *p,
                                 const struct facts_address *a, uint64_t now)
{
    if (is_own(f, p, a, now))
        return NET_PASSED;
    if (!is_open(f, p, a->high, now) || (p->uplink && filter_is_guarded(f, a)) ||
        is_others(f, p->beside, a, now))
        return NET_DROP_ND;
    enter_claim(f, p, a, now);
    return NET_PASSED;
}

/* ---- */

enum net_drop filter_judge(struct filter *f, unsigned port, const struct facts *k, uint64_t now)
{
    struct filter_port *p = &f->ports[port];
    bool own;

    if (k->tagged && !(p->allow & NET_ALLOW_VLAN_TAGS))
        return NET_DROP_TAG;
    if (k->bad)
        return k->bad;
    if (k->kind == FACTS_IP)
        return is_own(f, p, &k->source, now) ? NET_PASSED : NET_DROP_ADDRESS;
    if (k->kind == FACTS_OTHER || k->kind == FACTS_UNSPECIFIED)
        return NET_PASSED;
    if (k->kind == FACTS_ND_CLAIM)
        return judge_claim(f, p, &k->target, now);
    if (k->kind == FACTS_ARP_PROBE)
        return is_own(f, p, &k->target, now) ? NET_PASSED : NET_DROP_ARP;
    own = is_own(f, p, &k->source, now);
    switch (k->kind) {
    case FACTS_ARP:
        return own ? NET_PASSED : NET_DROP_ARP;
    case FACTS_ND_SOLICIT:
        return own ? NET_PASSED : NET_DROP_ND;
    case FACTS_ND_ADVERTISE:
        return own && is_own(f, p, &k->target, now) ? NET_PASSED : NET_DROP_ND;
    case FACTS_ROUTER:
        return own && (p->allow & NET_ALLOW_ROUTER) ? NET_PASSED : NET_DROP_ROUTER;
    case FACTS_DHCP_SERVER:
    case FACTS_DHCP6_SERVER:
        return own && (p->allow & NET_ALLOW_DHCP_SERVER) ? NET_PASSED : NET_DROP_DHCP;
    case FACTS_DHCP_CLIENT:
        /* Also with an expired lease: a guest that was stopped asks for it again. */
        return own || k->source.low == 0 || facts_same(&k->source, &p->lease) ? NET_PASSED
                                                                              : NET_DROP_ADDRESS;
    default:
        return NET_DROP_ADDRESS;
    }
}

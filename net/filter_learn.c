/* Learns from DHCP servers, routers and neighbours. */
#include "net/filter_learn.h"

#include "hv/lib.h"

#define BOOTP_REPLY    2u
#define BOOTP_YIADDR   16u
#define BOOTP_CHADDR   28u
#define BOOTP_COOKIE   236u
#define BOOTP_OPTIONS  240u
#define COOKIE         0x63825363u /* RFC 2132, section 2 */
#define OPTION_PAD     0u
#define OPTION_ROUTER  3u
#define OPTION_DNS     6u
#define OPTION_LEASE   51u
#define OPTION_TYPE    53u
#define OPTION_SERVER  54u
#define OPTION_END     255u
#define OPTIONS_MAX    64u
#define SERVERS_MAX    4u /* of each kind in one answer */
#define DHCP_DECLINE   4u
#define DHCP_ACK       5u
#define DHCP_NAK       6u
#define DHCP_RELEASE   7u
#define LEASE_FOREVER  UINT32_MAX
#define GRACE_SHIFT    4u /* a sixteenth, because the server's clock is not ours */
#define RA_OPTIONS     16u
#define ND_PREFIX      3u
#define ND_RDNSS       25u
#define ND_OPTIONS_MAX 32u
#define PREFIX_BITS    64u
#define LINK_LOCAL     0xfe80000000000000ull
#define RECENT_SECONDS 2u

static uint64_t later(const struct filter *f, uint64_t now, uint64_t seconds)
{
    uint64_t ticks;

    if (seconds == LEASE_FOREVER || __builtin_mul_overflow(seconds, f->tsc_hz, &ticks) ||
        __builtin_add_overflow(ticks, now, &ticks))
        return NEVER;
    return ticks;
}

/* ---- DHCP: RFC 2131, RFC 2132 ---- */

struct dhcp {
    uint8_t type;
    uint32_t lease; /* seconds */
    unsigned server_count;
    struct facts_address servers[3 * SERVERS_MAX]; /* routers, name servers, the server itself */
};

static void take_servers(struct dhcp *d, const uint8_t *at, size_t size)
{
    unsigned end = d->server_count + SERVERS_MAX;

    if (end > ARRAY_LEN(d->servers))
        return;
    for (size_t i = 0; i + 4 <= size && d->server_count < end; i += 4)
        d->servers[d->server_count++] = facts_ipv4(at + i);
}

static void take_option(struct dhcp *d, uint8_t code, const uint8_t *at, size_t size)
{
    switch (code) {
    case OPTION_TYPE:
        if (size == 1)
            d->type = at[0];
        break;
    case OPTION_LEASE:
        if (size == 4)
            d->lease = facts_be32(at);
        break;
    case OPTION_ROUTER:
    case OPTION_DNS:
    case OPTION_SERVER:
        take_servers(d, at, size);
        break;
    default:
        break;
    }
}

/* False: it is not a DHCP message. */
static bool take_dhcp(const struct facts *k, struct dhcp *d)
{
    const uint8_t *m = k->message;
    size_t at = BOOTP_OPTIONS;

    d->type = 0;
    d->lease = 0;
    d->server_count = 0;
    if (!m || k->message_len < BOOTP_OPTIONS || facts_be32(m + BOOTP_COOKIE) != COOKIE)
        return false;
    for (unsigned n = 0; n < OPTIONS_MAX && at < k->message_len && m[at] != OPTION_END; n++) {
        size_t left = k->message_len - at, size;

        if (m[at] == OPTION_PAD) {
            at++;
            continue;
        }
        if (left < 2 || left - 2 < m[at + 1])
            break;
        size = m[at + 1];
        take_option(d, m[at], m + at + 2, size);
        at += 2 + size;
    }
    return d->type != 0;
}

static struct filter_port *find_client(struct filter *f, uint32_t reached, const uint8_t *mac)
{
    for (uint32_t left = reached; left; left &= left - 1) {
        struct filter_port *p = &f->ports[__builtin_ctz(left)];

        if (!p->outside && memcmp(p->mac, mac, sizeof(p->mac)) == 0)
            return p;
    }
    return NULL;
}

/* May a guest be given this address? */
static bool is_free(const struct filter *f, const struct filter_port *p,
                    const struct facts_address *a)
{
    if (p->uplink && filter_is_guarded(f, a))
        return false;
    for (uint32_t left = p->beside; left; left &= left - 1) {
        const struct filter_port *other = &f->ports[__builtin_ctz(left)];

        for (unsigned n = 0; n < other->address_count; n++)
            if (facts_same(&other->addresses[n], a))
                return false;
    }
    return true;
}

static void give_lease(struct filter *f, struct filter_port *p, const struct facts_address *a,
                       const struct dhcp *d, uint64_t now)
{

    if (!facts_is_host(a) || p->configured || !is_free(f, p, a))
        return;
    /* The server now gives it to this guest. */
    for (uint32_t left = p->beside; left; left &= left - 1) {
        struct filter_port *other = &f->ports[__builtin_ctz(left)];

        if (facts_same(&other->lease, a))
            other->lease_end = 0;
    }
    p->lease = *a;
    p->lease_end = later(
        f, now,
        d->lease == LEASE_FOREVER ? LEASE_FOREVER : (uint64_t)d->lease + (d->lease >> GRACE_SHIFT));
}

/* Guards addresses that no guest may have, management's among them. */
static void guard_servers(struct filter *f, const struct dhcp *d, const struct filter_port *client,
                          const struct facts_address *given)
{
    for (unsigned i = 0; i < d->server_count; i++)
        filter_learn_guarded(f, &d->servers[i]);
    if (client->management)
        filter_learn_guarded(f, given);
}

static void learn_answer(struct filter *f, const struct filter_port *server, const struct facts *k,
                         uint64_t now)
{
    struct filter_port *client;
    struct facts_address given;
    struct dhcp d;

    if (!take_dhcp(k, &d) || k->message[0] != BOOTP_REPLY)
        return;
    client = find_client(f, server->reached, k->message + BOOTP_CHADDR);
    if (!client)
        return;
    given = facts_ipv4(k->message + BOOTP_YIADDR);
    if (d.type == DHCP_NAK)
        client->lease_end = 0;
    if (d.type == DHCP_ACK && server->outside)
        guard_servers(f, &d, client, &given);
    if (d.type == DHCP_ACK && !client->management)
        give_lease(f, client, &given, &d, now);
}

static void learn_request(struct filter_port *p, const struct facts *k)
{
    struct dhcp d;

    if (take_dhcp(k, &d) && (d.type == DHCP_RELEASE || d.type == DHCP_DECLINE))
        p->lease_end = 0;
}

/* ---- routers: RFC 4861, section 4.2; RFC 8106 ---- */

static void enter_prefix(struct filter *f, struct filter_port *p, uint64_t high, uint32_t seconds,
                         uint64_t now)
{
    struct filter_prefix *best = &p->prefixes[0];

    for (unsigned i = 0; i < FILTER_PREFIXES; i++) {
        struct filter_prefix *x = &p->prefixes[i];

        if (x->high == high) {
            best = x;
            break;
        }
        if (x->end < best->end)
            best = x;
    }
    *best = (struct filter_prefix){high, seconds ? later(f, now, seconds) : 0};
}

static void learn_prefix(struct filter *f, struct filter_port *p, const uint8_t *option,
                         uint64_t now)
{
    struct facts_address a = facts_ipv6(option + 16);

    if (option[2] == PREFIX_BITS && a.high && facts_is_host(&a) && a.high != LINK_LOCAL)
        enter_prefix(f, p, a.high, facts_be32(option + 4), now);
}

static void learn_name_servers(struct filter *f, const uint8_t *option, size_t size)
{
    for (size_t at = 8; at + 16 <= size && at < 8 + 16 * SERVERS_MAX; at += 16) {
        struct facts_address a = facts_ipv6(option + at);

        filter_learn_guarded(f, &a);
    }
}

static void learn_router(struct filter *f, struct filter_port *p, const struct facts *k,
                         uint64_t now)
{
    const uint8_t *m = k->message;
    size_t at = RA_OPTIONS;

    if (!m)
        return;
    if (p->outside)
        filter_learn_guarded(f, &k->source);
    for (unsigned n = 0; n < ND_OPTIONS_MAX && at + 8 <= k->message_len; n++) {
        size_t size = m[at + 1] * 8u;

        if (size == 0 || size > k->message_len - at)
            return;
        if (m[at] == ND_PREFIX && size == 32)
            learn_prefix(f, p, m + at, now);
        else if (m[at] == ND_RDNSS && p->outside)
            learn_name_servers(f, m + at, size);
        at += size;
    }
}

/* ---- neighbours ---- */

/* A machine outside has it, or asks for it too: guests that have not got it yet will not get it.
 * Claims of guests need no check here: they pass only if no other port asks. */
static void learn_in_use(struct filter *f, uint32_t reached, const struct facts_address *a,
                         uint64_t now)
{
    if (now >= f->undecided)
        return;
    for (uint32_t left = reached; left; left &= left - 1) {
        struct filter_port *p = &f->ports[__builtin_ctz(left)];

        for (unsigned i = 0; i < FILTER_CLAIMS; i++)
            if (facts_same(&p->claims[i].address, a) && now < p->claims[i].from)
                p->claims[i].address = (struct facts_address){0, 0};
    }
}

static void learn_claim(struct filter *f, const struct facts_address *a, uint64_t now)
{
    f->recent[f->recent_next++] = (struct filter_claim){*a, later(f, now, RECENT_SECONDS), now};
    if (f->recent_next == FILTER_RECENT)
        f->recent_next = 0;
}

void filter_learn(struct filter *f, unsigned port, const struct facts *k, uint64_t now)
{
    struct filter_port *p = &f->ports[port];

    if (k->bad)
        return;
    switch (k->kind) {
    case FACTS_DHCP_SERVER:
        if (p->allow & NET_ALLOW_DHCP_SERVER)
            learn_answer(f, p, k, now);
        break;
    case FACTS_DHCP_CLIENT:
        learn_request(p, k);
        break;
    case FACTS_ROUTER:
        if (p->allow & NET_ALLOW_ROUTER)
            learn_router(f, p, k, now);
        break;
    case FACTS_ND_CLAIM:
        if (p->outside) {
            learn_in_use(f, p->reached, &k->target, now);
            learn_claim(f, &k->target, now);
        }
        break;
    case FACTS_ND_ADVERTISE:
        if (p->outside && k->group)
            learn_in_use(f, p->reached, &k->target, now);
        break;
    default:
        break;
    }
}

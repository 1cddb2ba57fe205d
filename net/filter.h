/*
 * Which guest owns which IP addresses, and so what each may claim. Pure: time and facts (facts.h)
 * come in as arguments. The switch guards it with its lock.
 *
 * A guest's addresses are those of its configuration. Without any, they are what the network gives
 * it: the IPv4 address in a DHCP server's answer to it, until that lease ends (as in RFC 7513), and
 * IPv6 addresses in the prefixes that routers advertise. Link-local addresses (fe80::/64) are
 * always allowed. The IPv6 address derived from a guest's Ethernet address (EUI-64) is its own. It
 * takes others by asking for them as RFC 4862 prescribes (duplicate address detection): the first
 * to ask gets the address if no answer comes for FILTER_WAIT (RFC 6620, first come, first served).
 * A guest never gets the address of management, of a gateway, or of a name server.
 *
 * Answers of DHCP servers and routers count only from ports that may give them.
 */
#pragma once

#include "hv/abi/net.h"
#include "net/facts.h"

#define FILTER_PORTS    18u
#define FILTER_CLAIMS   8u  /* per guest: a new one replaces the oldest */
#define FILTER_PREFIXES 4u  /* per router */
#define FILTER_GUARDED  16u /* configured ones, then learned ones; new ones replace old ones */
#define FILTER_RECENT   8u

struct filter_claim {
    struct facts_address address; /* zero: none */
    uint64_t from;                /* ticks: usable from then on, unless an answer comes */
    uint64_t asked;               /* when it was last asked for */
};

struct filter_prefix {
    uint64_t high; /* /64; 0: none */
    uint64_t end;  /* ticks */
};

struct filter_port {
    bool uplink;      /* a guest that reaches the machines outside */
    bool management;  /* the management guest */
    bool outside;     /* an uplink itself */
    uint32_t reached; /* bits of ports that its frames can reach */
    uint32_t beside;  /* bits of ports whose addresses must differ from its own */
    uint32_t allow;
    uint8_t mac[6];
    uint64_t identifier; /* of its EUI-64 addresses */
    unsigned address_count;
    bool configured; /* its addresses come from the configuration; otherwise from the network */
    struct facts_address addresses[NET_ADDRESSES_MAX];
    struct facts_address lease; /* zero: none */
    uint64_t lease_end;
    unsigned claim_count; /* places ever used */
    struct filter_claim claims[FILTER_CLAIMS];
    struct filter_prefix prefixes[FILTER_PREFIXES];
};

struct filter {
    uint64_t tsc_hz;
    unsigned guarded_fixed, guarded_next;
    struct facts_address guarded[FILTER_GUARDED];
    uint64_t undecided; /* until then a claim may still be answered */
    unsigned recent_next;
    struct filter_claim recent[FILTER_RECENT]; /* what machines outside ask for */
    struct filter_port ports[FILTER_PORTS];
};

/* The kinds of port. Those of uplinks are bits: for whom. */
enum filter_role {
    FILTER_GUEST = 0,
    FILTER_MANAGEMENT = 1u << 0,
    FILTER_UPLINK_MANAGEMENT = 1u << 1,
    FILTER_UPLINK_GUESTS = 1u << 2,
    FILTER_UPLINK = FILTER_UPLINK_MANAGEMENT | FILTER_UPLINK_GUESTS
};

void filter_init(struct filter *f, uint64_t tsc_hz);
/* From now on no guest with the uplink may have this address. Before any port is attached. */
void filter_guard(struct filter *f, const struct facts_address *a);
/* Is it guarded, by filter_guard() or because its owner was learned? */
bool filter_is_guarded(const struct filter *f, const struct facts_address *a);
/* `config` is needed for guests only. */
void filter_attach(struct filter *f, unsigned port, enum filter_role role, const uint8_t mac[6],
                   const struct net_config *config);
void filter_detach(struct filter *f, unsigned port);
/* Sets struct filter_port's `reached` and `beside`, after ports came or went. */
void filter_connect(struct filter *f, unsigned port, uint32_t reached, uint32_t beside);
/* May the guest at `port` send this? Notes the address that it asks for. */
enum net_drop filter_judge(struct filter *f, unsigned port, const struct facts *k, uint64_t now);
/* Learns from a frame that passed: leases, prefixes, routers, addresses in use. */
void filter_learn(struct filter *f, unsigned port, const struct facts *k, uint64_t now);

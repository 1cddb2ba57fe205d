/*
 * Which IP addresses are whose: what each guest may say of itself. Pure: time and facts (facts.h)
 * come in as arguments. The switch guards it with its lock.
 *
 * A guest's addresses are those of its configuration. Without any they are what the network gives
 * it: the IPv4 address that a DHCP server's answer to it says, until that lease ends (the way of
 * RFC 7513), and IPv6 addresses in the prefixes that routers advertise. Always there are addresses
 * of the link (fe80::/64). Of IPv6 addresses, the one that its Ethernet address makes (EUI-64) is
 * the guest's own; others it takes by asking for them as RFC 4862 prescribes (duplicate address
 * detection): who asks first, and to whom nobody answers for FILTER_WAIT, has it (RFC 6620, first
 * come, first served). Never are they the address of management, of a gateway, or of a name server.
 *
 * Answers of DHCP servers and routers count only from ports that may give them.
 */
#pragma once

#include "hv/abi/net.h"
#include "net/facts.h"

#define FILTER_PORTS    18u
#define FILTER_CLAIMS   8u  /* of a guest: a new one takes the place of the oldest */
#define FILTER_PREFIXES 4u  /* of a router */
#define FILTER_GUARDED  16u /* those of the configuration, then those learned; newer for older */
#define FILTER_RECENT   8u

struct filter_claim {
    struct facts_address address; /* zero: none */
    uint64_t from;                /* ticks: to be used from then on, unless somebody answers */
    uint64_t asked;               /* when it was last asked for */
};

struct filter_prefix {
    uint64_t high; /* /64; 0: none */
    uint64_t end;  /* ticks */
};

struct filter_port {
    bool uplink;      /* a guest that reaches the machines outside */
    bool management;  /* the management guest */
    bool outside;     /* the uplink itself */
    uint32_t reached; /* bits of ports: where its frames can go */
    uint32_t beside;  /* whose addresses must differ from its own */
    uint32_t allow;
    uint8_t mac[6];
    uint64_t identifier; /* of its EUI-64 addresses */
    unsigned address_count;
    bool configured; /* its addresses are; otherwise they are given */
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
    uint64_t undecided; /* until then some claim may still be answered */
    unsigned recent_next;
    struct filter_claim recent[FILTER_RECENT]; /* what machines outside ask for */
    struct filter_port ports[FILTER_PORTS];
};

/* What a port is. */
enum filter_role { FILTER_GUEST, FILTER_MANAGEMENT, FILTER_UPLINK };

void filter_init(struct filter *f, uint64_t tsc_hz);
/* No guest with the uplink may have this address, from now on. Before any port is attached. */
void filter_guard(struct filter *f, const struct facts_address *a);
/* Is it guarded, by that or because it was learned whose it is? */
bool filter_is_guarded(const struct filter *f, const struct facts_address *a);
/* `config` is needed for guests only. */
void filter_attach(struct filter *f, unsigned port, enum filter_role role, const uint8_t mac[6],
                   const struct net_config *config);
void filter_detach(struct filter *f, unsigned port);
/* After ports came or went: struct filter_port's `reached` and `beside`. */
void filter_connect(struct filter *f, unsigned port, uint32_t reached, uint32_t beside);
/* May the guest at `port` send this? Notes what it asks for. */
enum net_drop filter_judge(struct filter *f, unsigned port, const struct facts *k, uint64_t now);
/* Takes note of what a frame that passed tells about others: leases, prefixes, routers, addresses
 * in use. */
void filter_learn(struct filter *f, unsigned port, const struct facts *k, uint64_t now);

/*
 * The virtual switch. Pure (frames come in as bytes, go out through port callbacks).
 *
 * Behind each port but the uplink is one Ethernet address: frames with another source are dropped,
 * and nobody else can send from that address. So nothing has to be learned: whatever is not behind
 * another port is outside. Who reaches whom:
 *
 *   guest        the guests of its network; with `uplink` the machines outside, and if so
 *                configured, management
 *   management   the machines outside, and if so configured, the guests that have the uplink
 *   uplink       management, and the guests that have the uplink
 *
 * A frame for one address goes to the port that has it, if it can be reached. For an unknown
 * address it goes to the uplink, and from the uplink to nobody. What a guest says of itself is
 * checked: see filter.h. Broadcasts and multicasts of each port are rate-limited.
 *
 * Cores: every function may be called on any core, except that switch_init() comes first. A lock
 * guards the tables; it is never held while a frame is delivered, nor while one is taken apart.
 * switch_detach() waits for the deliveries to its port that are under way: never call it from one.
 */
#pragma once

#include "hv/abi/net.h"
#include "hv/spinlock.h"
#include "net/bucket.h"
#include "net/filter.h"

#define SWITCH_PORTS_MAX  FILTER_PORTS
#define SWITCH_FRAME_MIN  14u
#define SWITCH_FRAME_MAX  1518u
#define SWITCH_MAC_SIZE   6u
/* Broadcasts and multicasts: those of all machines outside, those of management; so many at once.
 */
#define SWITCH_OUTSIDE    2000u
#define SWITCH_MANAGEMENT 500u
#define SWITCH_BURST      128u

/* Takes a copy of the frame (it is the caller's again on return), or drops it and counts the drop.
 * Any core. */
typedef void switch_deliver(void *ctx, const uint8_t *frame, size_t len);

struct switch_port {
    uint32_t delivering;     /* frames on their way to it. Atomic */
    switch_deliver *deliver; /* NULL: port not in use */
    void *ctx;
    enum filter_role role;
    uint32_t reached, beside;   /* bits of ports */
    bool uplink;                /* of a guest */
    char network[NET_NAME_MAX]; /* of a guest */
    uint64_t address;           /* the Ethernet address behind it; 0: many */
    struct bucket groups;       /* broadcasts and multicasts */
    uint64_t in_frames, in_bytes, out_frames, out_bytes;
    uint64_t dropped[NET_DROPS]; /* came in and were refused. What a receiver has no room for, it
                                    counts itself */
};

struct vswitch {
    struct spinlock lock;
    uint64_t tsc_hz;
    bool guests_reach_management;
    int uplink;        /* its port, or -1 */
    unsigned port_end; /* no port from here on is in use */
    struct switch_port ports[SWITCH_PORTS_MAX];
    struct filter filter;
};

/* No ports. */
void switch_init(struct vswitch *s, uint64_t tsc_hz, bool guests_reach_management);
/* No guest with the uplink may have this IP address. Before any port is attached. */
void switch_guard(struct vswitch *s, const struct facts_address *a);
/* Is it one, or was it learned to be one? */
bool switch_is_guarded(struct vswitch *s, const struct facts_address *a);
/* The port's number. `mac` and `config` are not for the uplink, `config` is for guests only.
 * -E_NOSPC; -E_INVAL: a group address; -E_EXIST: another port has the address, or there is an
 * uplink already. */
int switch_attach(struct vswitch *s, enum filter_role role, const uint8_t mac[SWITCH_MAC_SIZE],
                  const struct net_config *config, switch_deliver *deliver, void *ctx) MUST_CHECK;
void switch_detach(struct vswitch *s, unsigned port);
/* A frame from `port`. `now` = TSC. What became of it: NET_PASSED, or why it was dropped and
 * counted. */
enum net_drop switch_input(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len,
                           uint64_t now);

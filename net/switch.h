/*
 * The virtual switch. Pure (frames come in as bytes, go out through port callbacks).
 *
 * Each port but an uplink has one Ethernet address: frames with another source are dropped, and no
 * other port can send from that address. So nothing has to be learned: an address that belongs to
 * no port is outside. Who reaches whom:
 *
 *   guest        the guests of its network; with `uplink` the machines outside, and if so
 *                configured, management
 *   management   the machines outside, and if so configured, the guests that have the uplink
 *   uplink       management, and the guests that have the uplink; one of two uplinks only its own
 *                of these, and never the other uplink
 *
 * A unicast frame goes to the port with its address, if it can be reached. Frames for unknown
 * addresses go to the sender's uplink; those from an uplink are dropped. What a guest claims is
 * checked: see filter.h. Broadcasts and multicasts of each port are rate-limited.
 *
 * Cores: every function may be called on any core, except that switch_init() comes first. A lock
 * guards the tables; it is never held while a frame is delivered, nor while one is taken apart.
 * switch_detach() waits for the deliveries to its port that are under way: never call it from one.
 */
#pragma once

#include "hv/abi/net.h"
#include "hv/offload.h"
#include "hv/spinlock.h"
#include "net/bucket.h"
#include "net/filter.h"

#define SWITCH_PORTS_MAX  FILTER_PORTS
#define SWITCH_FRAME_MIN  14u
#define SWITCH_FRAME_MAX  NET_FRAME_MAX
#define SWITCH_MAC_SIZE   6u
#define SWITCH_BIN_BITS   6u
#define SWITCH_BINS       (1u << SWITCH_BIN_BITS)
/* Broadcasts and multicasts per second: of all machines outside, of management; burst size. */
#define SWITCH_OUTSIDE    2000u
#define SWITCH_MANAGEMENT 500u
#define SWITCH_BURST      128u

struct switch_port {
    bool used;
    uint32_t life;       /* a number that no other port has had */
    uint32_t delivering; /* frames on their way to it: until then these three stay. Atomic */
    net_deliver *deliver;
    void *ctx;
    const struct net_offloads *offloads; /* NULL: it takes finished frames only */
    enum filter_role role;
    uint32_t reached, beside;   /* bits of ports */
    bool uplink;                /* for a guest */
    char network[NET_NAME_MAX]; /* for a guest */
    uint64_t address;           /* the port's Ethernet address; 0: many */
    struct bucket groups;       /* broadcasts and multicasts */
};

struct vswitch {
    struct spinlock lock;
    uint64_t tsc_hz;
    bool guests_reach_management;
    uint32_t uplinks;            /* bits of their ports */
    uint32_t found[SWITCH_BINS]; /* by a hash of addresses: bits of ports that have one */
    uint32_t lives;
    struct switch_port ports[SWITCH_PORTS_MAX];
    struct filter filter;
};

/* No ports. */
void switch_init(struct vswitch *s, uint64_t tsc_hz, bool guests_reach_management);
/* No guest with the uplink may have this IP address. Before any port is attached. */
void switch_guard(struct vswitch *s, const struct facts_address *a);
/* Is the address guarded, by switch_guard() or because it was learned? */
bool switch_is_guarded(struct vswitch *s, const struct facts_address *a);
/* Returns the port's number. `mac` and `config` are not for an uplink, `config` is for guests
 * only. -E_NOSPC; -E_INVAL: a group address; -E_EXIST: another port has the address, or there is
 * already an uplink for the same ports. */
int switch_attach(struct vswitch *s, enum filter_role role, const uint8_t mac[SWITCH_MAC_SIZE],
                  const struct net_config *config, net_deliver *deliver, void *ctx) MUST_CHECK;
void switch_detach(struct vswitch *s, unsigned port);
/* Takes a frame from `port`. `now` = TSC. Returns NET_PASSED, or why it was dropped. */
enum net_drop switch_input(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len,
                           uint64_t now);

/* ---- for unfinished frames: transfer.h ---- */

/* The port takes them from now on. Once. */
void switch_set_offloads(struct vswitch *s, unsigned port, const struct net_offloads *o);
/* What the port that the frame goes to takes; 0 for groups. */
uint32_t switch_takes(struct vswitch *s, unsigned port, const uint8_t *frame);
/* Like switch_input(), for a frame without its checksum: every receiver takes that. */
enum net_drop switch_input_partial(struct vswitch *s, unsigned port, const uint8_t *frame,
                                   size_t len, const struct net_offload *o, uint64_t now);
/* Like switch_input(), for a long segment, but delivers nothing: the port that it goes to. */
enum net_drop switch_aim(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len,
                         uint64_t now, unsigned *to, uint32_t *life);
/* A port for the time of one delivery, unless it has gone. NULL: it has. */
struct switch_port *switch_hold(struct vswitch *s, unsigned port, uint32_t life);
static inline void switch_let_go(struct switch_port *p)
{
    __atomic_fetch_sub(&p->delivering, 1, __ATOMIC_RELEASE);
}

/*
 * The virtual switch: an Ethernet bridge. Pure (frames come in as bytes, go out through port
 * callbacks).
 *
 * A guest's port has one fixed address (switch_set_address): frames with another source are
 * dropped, and nobody else can send from that address. So no guest can take frames that are meant
 * for another one or for a machine outside. On a port without a fixed address, the uplink, the
 * addresses are learned; they are forgotten when they were not seen for `max_age`, and the one not
 * seen for longest makes room for a new one when the table is full.
 *
 * Cores: every function may be called on any core, except that switch_init() comes first. A lock
 * guards the tables; it is never held while a frame is delivered. switch_detach() waits for the
 * deliveries to its port that are under way: never call it from one.
 */
#pragma once

#include "hv/spinlock.h"
#include "hv/types.h"

#define SWITCH_PORTS_MAX 18
#define SWITCH_FRAME_MIN 14u
#define SWITCH_FRAME_MAX 1518u
#define SWITCH_MACS_MAX  64
#define SWITCH_MAC_SIZE  6u

/* Takes a copy of the frame (it is the caller's again on return), or drops it and counts the drop.
 * Any core. */
typedef void switch_deliver(void *ctx, const uint8_t *frame, size_t len);

struct switch_port {
    uint32_t delivering;     /* frames on their way to it. Atomic */
    switch_deliver *deliver; /* NULL: port not in use */
    void *ctx;
    bool fixed; /* `mac` is the one address behind this port */
    uint8_t mac[SWITCH_MAC_SIZE];
    /* `dropped`: came in and were refused. What a receiver has no room for, it counts itself. */
    uint64_t in_frames, in_bytes, out_frames, out_bytes, dropped;
};

struct vswitch {
    struct spinlock lock;
    uint64_t max_age; /* ticks */
    struct switch_port ports[SWITCH_PORTS_MAX];
    struct switch_mac {
        uint8_t mac[SWITCH_MAC_SIZE];
        uint8_t port;
        bool used;
        uint64_t tsc; /* last seen */
    } macs[SWITCH_MACS_MAX];
};

/* No ports. `max_age`: ticks after which a learned address is forgotten; NEVER. */
void switch_init(struct vswitch *s, uint64_t max_age);
/* The port's number, or -E_NOSPC. */
int switch_attach(struct vswitch *s, switch_deliver *deliver, void *ctx) MUST_CHECK;
/* Fixes the address behind a port. -E_RANGE: no such port, -E_INVAL: a group address, -E_EXIST:
 * another port has it. */
int switch_set_address(struct vswitch *s, unsigned port,
                       const uint8_t mac[SWITCH_MAC_SIZE]) MUST_CHECK;
void switch_detach(struct vswitch *s, unsigned port);
/*
 * A frame from `port`: delivered to the port of its destination, or to all others when that is a
 * group or not known. Dropped and counted: a wrong length, a source that is a group or not allowed
 * on this port, and destinations that no bridge forwards (01-80-c2-00-00-0x: PAUSE, spanning tree:
 * with them a guest could silence the machine's own link). `now` = TSC.
 */
void switch_input(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len, uint64_t now);

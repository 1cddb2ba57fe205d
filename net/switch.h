/*
 * The virtual switch: an Ethernet bridge with learned addresses. Pure (frames come in as bytes, go
 * out through port callbacks). Cores: switch_input may be called on any core; a lock guards the
 * address table, never held while a frame is delivered.
 */
#pragma once

#include "hv/spinlock.h"
#include "hv/types.h"

#define SWITCH_PORTS_MAX 18
#define SWITCH_FRAME_MIN 14u
#define SWITCH_FRAME_MAX 1518u
#define SWITCH_MACS_MAX  64

/* Takes a copy of the frame (it is the caller's again on return), or drops it and counts the drop.
 * Any core. */
typedef void switch_deliver(void *ctx, const uint8_t *frame, size_t len);

struct switch_port {
    switch_deliver *deliver; /* NULL: port not in use */
    void *ctx;
    uint64_t in_frames, in_bytes, out_frames, out_bytes, dropped;
};

struct vswitch {
    struct spinlock lock;
    struct switch_port ports[SWITCH_PORTS_MAX];
    struct {
        uint8_t mac[6];
        uint8_t port;
        bool used;
        uint64_t tsc; /* last seen: the oldest is replaced when full */
    } macs[SWITCH_MACS_MAX];
};

void switch_init(struct vswitch *s);
/* The port's number, or -E_NOSPC. */
int switch_attach(struct vswitch *s, switch_deliver *deliver, void *ctx) MUST_CHECK;
void switch_detach(struct vswitch *s, unsigned port);
/* A frame from `port`: learned, then delivered to the port of its destination, or to all others.
 * Frames of a wrong length are dropped and counted. A guest port's source address is not trusted to
 * move another port's configured address (`now` = TSC, for ageing). */
void switch_input(struct vswitch *s, unsigned port, const uint8_t *frame, size_t len, uint64_t now);

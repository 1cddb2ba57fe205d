/*
 * Guests. A guest's number is its index in the control ABI (0..ABI_GUESTS_MAX-1). It has a
 * configuration, memory, a platform, a life, which goes on on one core, and vCPUs, each on a core
 * of its own choice.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/config.h"
#include "hv/gmem.h"
#include "hv/job.h"
#include "hv/load_plan.h"
#include "hv/pc/platform.h"
#include "hv/types.h"
#include "hv/vcpu.h"

/* What is left for a guest, and done by the core of its life. */
enum guest_request {
    /* By the management guest, in entity.asked, see core_ask(). Of several the lowest goes first.
     */
    GUEST_REQ_STOP = 1u << 0,   /* ABI_ACTION_STOP */
    GUEST_REQ_START = 1u << 1,  /* load and start anew */
    GUEST_REQ_PAUSE = 1u << 2,  /* ABI_ACTION_PAUSE */
    GUEST_REQ_RESUME = 1u << 3, /* ABI_ACTION_RESUME */
    GUEST_REQ_INPUT = 1u << 4,  /* bytes wait in the guest's input queue */
    GUEST_REQ_DELETE = 1u << 5, /* ABI_CALL_DELETE */
    /* By the root itself, in entity.requests, see core_request(). */
    GUEST_REQ_NET = 1u << 6,   /* frames wait for virtio-net */
    GUEST_REQ_EVENT = 1u << 7, /* management guest: raise ABI_EVENT_IRQ */
    GUEST_REQ_END = 1u << 8,   /* guest_end() was called */
    GUEST_REQ_VCPU = 1u << 9,  /* a vCPU is what was ordered */
};

#define GUEST_INPUT_SIZE 256u /* power of two */

/* What a life is at. Those with a star are its vCPUs': it waits for them, and has no time itself.
 */
enum guest_phase {
    GUEST_IDLE,      /* nothing: not started, failed, or ended */
    GUEST_HELD_BACK, /* it ended, and its time to start again has not come */
    GUEST_BUILDING,  /* it is new: tables, buffers, its port are being made */
    GUEST_CLEARING,  /* its memory is being zeroed */
    GUEST_PLANNING,  /* the management guest: its image is looked at, unless it has been */
    GUEST_COPYING,   /* its image is being copied */
    GUEST_STARTING,  /* its memory is as it shall be: its devices are put together */
    GUEST_MAKING,    /* * its vCPUs are being made */
    GUEST_LAUNCHING, /* all is there */
    GUEST_LIVE,      /* * its vCPUs run */
    GUEST_PAUSING,   /* * they are leaving their runs */
    GUEST_PAUSED,    /* * they are there and get no time */
    GUEST_LEAVING,   /* * it ends: they leave their runs for good, and their last state is taken */
    GUEST_ENDING,    /* they have: what follows */
    GUEST_SCRUBBING, /* it was deleted: what it had is being zeroed */
    GUEST_GONE,      /* that is done: its cores forget it */
};

/* That it shall end, and how it was said first. */
enum { END_NOT, END_BEING_SAID, END_SAID };

/* Everything that is done for a guest outside of its vCPUs: it is made, cleared, loaded, ended,
 * scrubbed by its core, in turns of its own. Owned by that core, but for what says "atomic". */
struct guest_life {
    struct entity entity;
    struct vcpu
        *partner; /* on the same core: has the life's place in the scheduler when it has not */
    enum guest_phase phase;
    unsigned step;          /* of a phase that has several: those that are done */
    uint64_t put_off;       /* since when a step waits for enough time; 0: none does */
    struct job job;         /* making it, its plan, scrubbing it; the management guest's call */
    uint64_t cleared;       /* GUEST_CLEARING: bytes done */
    unsigned copied_pieces; /* GUEST_COPYING: of the plan, done */
    uint64_t copied;        /* bytes of the next one */
    uint32_t order;         /* what its vCPUs are to become, see guest_ordered(). Atomic */
    uint64_t paused_at;     /* GUEST_PAUSED: since when */
    uint64_t shift;         /* ticks that its vCPUs' TSCs are to go back in this life: pauses */
    uint64_t heartbeat;     /* management guest: TSC of its last ABI_CALL_HEARTBEAT */
    bool by_request;        /* it ends, and its restart policy is not asked */
    uint32_t end;           /* END_*, atomic; what follows was written before it became END_SAID */
    enum abi_guest_state end_state;
    char end_why[ABI_TEXT_MAX];
};

/* Clearing and copying go in steps of this many bytes, so that a slice ends on time also while a
 * guest is being made ready. */
#define GUEST_STEP      (4u << 10)
#define GUEST_POOLS_MAX 10u

/* The bytes of an image. Not the guest's: what is there is only read. */
struct image_source {
    const uint8_t *data;
    uint64_t size;
};

struct guest {
    unsigned number;
    struct guest_config config;
    bool management;
    bool complete;   /* all that it needs was made: it can be started */
    struct gmem mem; /* RAM */
    /* Tables with which its large pages are split, one for each 2 MB of RAM; the backend's. NULL
     * and 0 where pages are not split. */
    void *split_tables;
    uint64_t split_size;
    /* Its image, then its modules; they stay while it is their user. */
    struct image_source sources[1 + LOAD_MODULES_MAX];
    bool planned; /* the plan is there, and checked: from the management guest, or its own */
    const char *unplanned; /* the management guest: why it cannot be made; NULL: not yet tried */
    struct load_plan plan;
    void *free_pages; /* guest_alloc_page's list */
    uint8_t *pools[GUEST_POOLS_MAX];
    unsigned pool_count;
    struct platform platform;
    struct guest_life life;
    struct vcpu vcpus[ABI_VCPUS_MAX];
    unsigned vcpu_count;
    void *backend;            /* EPT: struct vmx_guest */
    uint32_t translations;    /* how often mappings were taken away. Atomic */
    struct abi_guest *status; /* shared pages, root's view */
    uint8_t *bitmaps;         /* MSR, I/O A, I/O B: a page each */
    struct abi_ring *console;
    /* Typed bytes on their way to the UART: the management guest's core moves the head, the core of
     * its life the tail. Atomic */
    uint8_t input[GUEST_INPUT_SIZE];
    uint32_t input_head, input_tail;
    struct virtio_net_frame *rx_ring; /* with DEV_NET */
    int switch_port;                  /* -1: none */
    uint64_t quiet_until;             /* no kick for frames before; atomic */
};

/* What the vCPUs are to become: NONE, HELD, LIVE or GONE. The other bits of life.order number the
 * orders, so that none is taken for obeyed that is only like an earlier one. */
#define ORDER_PHASE 0xfu
static inline enum vcpu_phase guest_ordered(const struct guest *g)
{
    return (enum vcpu_phase)(__atomic_load_n(&g->life.order, __ATOMIC_ACQUIRE) & ORDER_PHASE);
}

#define FOR_EACH_VCPU(v, g) for (__auto_type v = (g)->vcpus; v < (g)->vcpus + (g)->vcpu_count; v++)

/* Says that the guest shall end: `state` is ABI_GUEST_STOPPED, ABI_GUEST_CRASHED or
 * ABI_GUEST_FAILED (before it ran), the text becomes its `why`. Its vCPUs do not enter again. The
 * first call of a life counts. Any core. */
void guest_end(struct guest *g, enum abi_guest_state state, const char *format, ...) PRINTF(3, 4);

/* Takes mappings away, whole pages as they were mapped, and returns when no core can use them any
 * more: until then it rests, see hv/job.h. Owning core of its life, in a job where a vCPU is
 * elsewhere. Errors as virt_ops.unmap(). */
int guest_unmap(struct guest *g, gpa_t gpa, uint64_t size) MUST_CHECK;
/* Every core that runs one of its vCPUs is to forget what it has cached of the guest's translations
 * before that vCPU is entered again: a kick, and a number that guest_is_flushed() goes by. Any
 * core. */
uint32_t guest_flush(struct guest *g);
bool guest_is_flushed(const struct guest *g, uint32_t translations);

/* By number, 0..ABI_GUESTS_MAX-1; NULL for numbers not in use. */
struct guest *guest_get(unsigned number);

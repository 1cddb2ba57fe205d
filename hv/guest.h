/*
 * Guests. A guest's number is its index in the control ABI (0..ABI_GUESTS_MAX-1). It has a
 * configuration, memory, a platform, a life, which one core runs, and vCPUs, each bound to a core.
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

/* Requests to a guest, served by the core of its life. */
enum guest_request {
    /* From the management guest, in entity.asked, see core_ask(). If several are set, the lowest
     * goes first. */
    GUEST_REQ_STOP = 1u << 0,   /* ABI_ACTION_STOP */
    GUEST_REQ_START = 1u << 1,  /* load and start again */
    GUEST_REQ_PAUSE = 1u << 2,  /* ABI_ACTION_PAUSE */
    GUEST_REQ_RESUME = 1u << 3, /* ABI_ACTION_RESUME */
    GUEST_REQ_INPUT = 1u << 4,  /* bytes wait in the guest's input queue */
    GUEST_REQ_DELETE = 1u << 5, /* ABI_CALL_DELETE */
    /* From the root itself, in entity.requests, see core_request(). */
    GUEST_REQ_NET = 1u << 6,   /* frames wait for virtio-net */
    GUEST_REQ_EVENT = 1u << 7, /* management guest: raise ABI_EVENT_IRQ */
    GUEST_REQ_END = 1u << 8,   /* guest_end() was called */
    GUEST_REQ_VCPU = 1u << 9,  /* a vCPU has obeyed an order */
    GUEST_REQ_RING = 1u << 10, /* peers have rung: see guest_shared.c */
};

#define GUEST_INPUT_SIZE 256u /* power of two */

/* The phases of a life. In those with a star the life waits for its vCPUs and gets no time itself.
 */
enum guest_phase {
    GUEST_IDLE,      /* nothing to do: not started, failed, or ended */
    GUEST_HELD_BACK, /* it ended, and is not yet due to start again */
    GUEST_BUILDING,  /* it is new: its tables, buffers and port are being made */
    GUEST_CLEARING,  /* its memory is being zeroed */
    GUEST_PLANNING,  /* the management guest: its image is examined, unless that was done before */
    GUEST_COPYING,   /* its image is being copied */
    GUEST_STARTING,  /* its memory is ready: its devices are put together */
    GUEST_MAKING,    /* * its vCPUs are being made */
    GUEST_LAUNCHING, /* everything is ready */
    GUEST_LIVE,      /* * its vCPUs run */
    GUEST_PAUSING,   /* * they are leaving their runs */
    GUEST_PAUSED,    /* * they exist and get no time */
    GUEST_LEAVING,   /* * it ends: they leave their runs for good, and their last state is saved */
    GUEST_ENDING,    /* they have left: the rest of the ending */
    GUEST_SCRUBBING, /* it was deleted: its memory is being zeroed */
    GUEST_GONE,      /* that is done: its cores forget it */
};

/* Whether an end has been requested; the first request sets its state and reason. */
enum { END_NOT, END_BEING_SAID, END_SAID };

/* Everything done for a guest outside its vCPUs: its core makes, clears, loads, ends and scrubs it,
 * in turns of its own. Owned by that core, except where "atomic" is noted. */
struct guest_life {
    struct entity entity;
    struct vcpu
        *partner; /* the vCPU on the same core, which shares the life's place in the scheduler */
    enum guest_phase phase; /* atomic */
    unsigned step;          /* steps done in the present phase */
    uint64_t put_off;       /* since when a step has waited for enough time; 0: none waits */
    struct job job; /* making the guest, its plan, scrubbing it; a call of the management guest */
    unsigned cleared_ranges; /* GUEST_CLEARING: ranges of memory that are done */
    uint64_t cleared;        /* bytes of the next one */
    unsigned copied_pieces;  /* GUEST_COPYING: pieces of the plan that are done */
    uint64_t copied;         /* bytes of the next piece */
    uint32_t order;          /* what its vCPUs must become, see guest_ordered(). Atomic */
    uint64_t paused_at;      /* GUEST_PAUSED: since when */
    uint64_t shift;          /* ticks to take from its vCPUs' TSCs in this life, for pauses */
    uint64_t heartbeat;      /* management guest: TSC of its last ABI_CALL_HEARTBEAT */
    bool by_request;         /* its end was requested: its restart policy does not apply */
    bool deleted;            /* so was its deletion: one event tells of it, the last */
    bool end_requested;      /* a request ended it, not the guest itself */
    uint32_t end;            /* END_*, atomic; what follows was written before it became END_SAID */
    enum abi_guest_state end_state;
    char end_why[ABI_TEXT_MAX];
};

/* Clearing and copying, of images too, go in steps of this many bytes, so that slices end on time
 * even while a guest is being prepared. */
#define GUEST_STEP      (4u << 10)
#define GUEST_POOLS_MAX 32u /* the tables of CONFIG_MEMORY_MOST in 2 MB pages need 17 */

/* The bytes of an image. They are not the guest's, and are only read. */
struct image_source {
    const uint8_t *data;
    uint64_t size;
};

struct guest {
    unsigned number;
    struct guest_config config;
    bool management;
    bool complete;   /* everything it needs was made: it can be started. Atomic */
    struct gmem mem; /* RAM */
    /* Tables for splitting its large pages, one for each 2 MB of RAM; the backend's. NULL and 0 if
     * pages are not split. */
    void *split_tables;
    uint64_t split_size;
    /* Its image, then its modules; they exist as long as the guest uses them. */
    struct image_source sources[1 + LOAD_MODULES_MAX];
    struct image_source disk_images[CONFIG_DISKS_MAX]; /* likewise */
    /* What it writes to its disks; then, from blocks_size on, a bit for each block that it has
     * written. NULL: read-only. */
    struct guest_disk {
        uint8_t *memory;
        uint64_t size, blocks_size;
    } disks[CONFIG_DISKS_MAX];
    struct shared_region *shared[CONFIG_GUEST_SHARED_MAX]; /* that it has joined; NULL: none */
    bool planned; /* the plan exists and is checked: from the management guest, or the management
                     guest's own */
    const char
        *unplanned; /* the management guest: why its plan cannot be made; NULL: not yet tried */
    struct load_plan plan;
    struct spinlock pages_lock; /* for these three: its vCPUs are made on several cores at once */
    void *free_pages;           /* guest_alloc_page's list */
    uint8_t *pools[GUEST_POOLS_MAX];
    unsigned pool_count;
    struct platform platform;
    struct guest_life life;
    struct vcpu vcpus[ABI_VCPUS_MAX];
    unsigned vcpu_count;
    void *backend;            /* struct vmx_guest or svm_guest */
    uint32_t translations;    /* how often mappings were taken away. Atomic */
    struct abi_guest *status; /* shared pages, root's view */
    unsigned stuck_vcpu;      /* whose status->stuck it is; under its lock */
    uint8_t *bitmaps;         /* see ABI_BITMAPS_GPA */
    struct abi_ring *console;
    /* Typed bytes on their way to the UART: the management guest's core advances the head, the core
     * of the life the tail. Atomic */
    uint8_t input[GUEST_INPUT_SIZE];
    uint32_t input_head, input_tail;
    struct virtio_net_frame *rx_ring; /* with DEV_NET */
    uint8_t *segments;                /* likewise, but management has none */
    struct net_transfer transfer;     /* of the frame that it sends */
    int switch_port;                  /* -1: none */
    uint64_t quiet_until;             /* no kick for frames or doorbells before this; atomic */
};

/* What the vCPUs must become: NONE, HELD, LIVE or GONE. The other bits of life.order number the
 * orders, so that an order does not look obeyed because an earlier one was the same. */
#define ORDER_PHASE 0xfu
static inline enum vcpu_phase guest_ordered(const struct guest *g)
{
    return (enum vcpu_phase)(__atomic_load_n(&g->life.order, __ATOMIC_ACQUIRE) & ORDER_PHASE);
}

/* On the core of its life; others read it, see has_share() in guest_deploy.c. */
static inline void guest_set_phase(struct guest *g, enum guest_phase phase)
{
    __atomic_store_n(&g->life.phase, phase, __ATOMIC_RELAXED);
}

#define FOR_EACH_VCPU(v, g) for (__auto_type v = (g)->vcpus; v < (g)->vcpus + (g)->vcpu_count; v++)

/* Requests the guest's end: `state` is ABI_GUEST_STOPPED, ABI_GUEST_CRASHED or ABI_GUEST_FAILED
 * (before it ran), the text becomes its `why`. Its vCPUs do not enter again. Only the first call in
 * a life counts, and returns true. Any core. */
bool guest_end(struct guest *g, enum abi_guest_state state, const char *format, ...) PRINTF(3, 4);

/* Takes mappings away, whole pages as they were mapped, and returns when no core can use them any
 * more: until then it rests, see hv/job.h. Core of its life; must be in a job if a vCPU is on
 * another core. Errors as virt_ops.unmap(). */
int guest_unmap(struct guest *g, gpa_t gpa, uint64_t size) MUST_CHECK;
/* Makes every core that runs one of the guest's vCPUs forget the guest's cached translations before
 * it enters that vCPU again. Kicks them, and returns a number for guest_is_flushed(). Any core that
 * keeps the guest from going meanwhile, as that of its life does. */
uint32_t guest_flush(struct guest *g);
bool guest_is_flushed(const struct guest *g, uint32_t translations);

/* By number, whatever it is; NULL if no guest has it. */
struct guest *guest_get(uint64_t number);

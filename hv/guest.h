/*
 * Guests and their vCPUs. A guest's number is its index in the control ABI (0..ABI_GUESTS_MAX-1).
 * Everything of a vCPU belongs to the core it is bound to, except `requests`, which any core may
 * set.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/config.h"
#include "hv/pc/platform.h"
#include "hv/gmem.h"
#include "hv/job.h"
#include "hv/load/load.h"
#include "hv/sched.h"
#include "hv/stuck.h"
#include "hv/types.h"

/* General registers, saved and restored by the backend's entry routine (offsets are generated from
 * this struct). */
struct vcpu_gprs {
    uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
};

/* Work that is left for a vCPU; taken between two entries. NET and EVENT are of its own making and
 * are left in vcpu.requests, see core_request(); the others are what management asks for, in
 * vcpu.asked, see core_ask(). Of several the lowest bit goes first. */
enum vcpu_request {
    VCPU_REQ_STOP = 1u << 0,     /* ABI_ACTION_STOP */
    VCPU_REQ_START = 1u << 1,    /* load and start anew */
    VCPU_REQ_PAUSE = 1u << 2,    /* ABI_ACTION_PAUSE */
    VCPU_REQ_RESUME = 1u << 3,   /* ABI_ACTION_RESUME */
    VCPU_REQ_NMI = 1u << 4,      /* ABI_ACTION_NMI */
    VCPU_REQ_SNAPSHOT = 1u << 5, /* publish a VMCS snapshot */
    VCPU_REQ_KEEP = 1u << 6,     /* publish a VMCS snapshot and keep it */
    VCPU_REQ_CONTROLS = 1u << 7, /* change control words: v->new_controls */
    VCPU_REQ_INPUT = 1u << 8,    /* bytes wait in the guest's input queue */
    VCPU_REQ_DELETE = 1u << 9,   /* ABI_CALL_DELETE */
    VCPU_REQ_NET = 1u << 10,     /* frames wait for virtio-net */
    VCPU_REQ_EVENT = 1u << 11,   /* management guest: raise ABI_EVENT_IRQ */
};

struct vcpu {
    struct vcpu_gprs regs;
    struct guest *guest;
    unsigned number;        /* in guest->vcpus */
    struct abi_vcpu *stats; /* shared pages, root's view */
    struct abi_exit *exits; /* the flight recorder: ABI_EXITS, aligned to twice their size */
    struct abi_exit *exit;  /* its newest entry */
    struct abi_snapshot *snapshots; /* ABI_SNAPSHOTS */
    uint64_t snapshot_sequence;     /* of the newest snapshot; written by the owning core, atomic */
    unsigned snapshots_kept;        /* ever, in the ring */
    /* A change under way; written by the management guest's core while its request bit is clear. */
    struct abi_controls new_controls;
    uint32_t controls_busy;    /* 1: from the request to its result. Atomic */
    struct platform *platform; /* &guest->platform */
    void *backend;             /* struct vmx_vcpu */
    uint32_t requests;         /* enum vcpu_request, atomic: looked at before each entry */
    uint32_t asked;            /* enum vcpu_request, atomic: waits until there is time for it */
    unsigned core;
    bool halted;        /* in HLT: waits for an interrupt */
    bool nmi;           /* one waits to be injected */
    bool nmi_blocked;   /* in HLT: it waits until the one before it has been handled */
    bool waits;         /* the CPU can wait in the guest's HLT: run() takes a halted vCPU */
    uint64_t woke_at;   /* when it last left HLT inside run() */
    uint64_t wake_late; /* of that, not counted yet: ticks after its timer was due; NEVER */
    bool stop;          /* set by vcpu_stop(): leave the run loop, never enter again */
    struct sched_entity sched;
    struct stuck stuck;
};

/* In HLT: the NMI that waits ends it. */
static inline bool vcpu_takes_nmi(const struct vcpu *v)
{
    return v->nmi && !v->nmi_blocked;
}

#define GUEST_INPUT_SIZE 256u /* power of two */

/* What the owning core does with the guest when its turn comes. */
enum guest_phase {
    GUEST_IDLE,      /* nothing: not started, failed, or ended */
    GUEST_HELD_BACK, /* it ended, and its time to start again has not come */
    GUEST_BUILDING,  /* it is new: tables, buffers, its port are being made */
    GUEST_CLEARING,  /* its memory is being zeroed */
    GUEST_PLANNING,  /* what goes where is found out */
    GUEST_COPYING,   /* its image is being copied */
    GUEST_STARTING,  /* its memory is as it shall be */
    GUEST_ENTERING,  /* its devices are there, its vCPU is not */
    GUEST_LAUNCHING, /* all is there */
    GUEST_LIVE,      /* its vCPU runs */
    GUEST_PAUSED,    /* its vCPU is there and gets no time */
    GUEST_ENDING,    /* its vCPU has stopped: its last state is taken down */
    GUEST_SCRUBBING, /* it was deleted: what it had is being zeroed */
    GUEST_GONE,      /* that is done */
};

/* Clearing and copying go in steps of this many bytes, so that a slice ends on time also while a
 * guest is being made ready. */
#define GUEST_STEP      (4u << 10)
#define GUEST_POOLS_MAX 4u

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
    enum guest_phase phase;
    unsigned step;    /* of a phase that has several: those that are done */
    bool by_request;  /* GUEST_ENDING: its restart policy is not asked */
    uint64_t put_off; /* since when a step waits for enough time; 0: none does */
    uint64_t cleared; /* GUEST_CLEARING: bytes done */
    struct job job;   /* making it, its plan, scrubbing it; the management guest's call */
    /* Its image, then its modules; they stay while it is their user. */
    struct image_source sources[1 + LOAD_MODULES_MAX];
    const char *missing; /* of config: the image that is not there; NULL: it has all sources */
    bool planned;        /* the plan is there: from the management guest, or made here */
    char unplanned[ABI_TEXT_MAX]; /* why it cannot be made; empty: it has not been tried */
    struct load_plan plan;        /* checked */
    unsigned copied_pieces;       /* GUEST_COPYING: of the plan, done */
    uint64_t copied;              /* bytes of the next one */
    void *free_pages;             /* guest_alloc_page's list */
    uint8_t *pools[GUEST_POOLS_MAX];
    unsigned pool_count;
    uint64_t paused_at; /* GUEST_PAUSED: since when */
    uint64_t heartbeat; /* management guest: TSC of its last ABI_CALL_HEARTBEAT */
    struct platform platform;
    unsigned core; /* where it is made, cleared, loaded and scrubbed, and its requests are taken */
    struct vcpu vcpus[ABI_VCPUS_MAX];
    unsigned vcpu_count;
    void *backend;            /* EPT and bitmaps: struct vmx_guest */
    struct abi_guest *status; /* shared pages, root's view */
    uint8_t *bitmaps;         /* MSR, I/O A, I/O B: a page each */
    struct abi_ring *console;
    /* Typed bytes on their way to the UART: the management guest's core moves the head, the owning
     * core the tail. Atomic */
    uint8_t input[GUEST_INPUT_SIZE];
    uint32_t input_head, input_tail;
    struct virtio_net_frame *rx_ring; /* with DEV_NET */
    int switch_port;                  /* -1: none */
    uint64_t quiet_until;             /* no kick for frames before; atomic */
};

/* Stops the vCPU's guest: `state` is ABI_GUEST_STOPPED or ABI_GUEST_CRASHED, the text becomes its
 * `why`. Owning core, inside the run loop. The first call counts. */
void vcpu_stop(struct vcpu *v, enum abi_guest_state state, const char *format, ...) PRINTF(3, 4);

/* VMCALL of a guest: RAX, RBX, RCX, RDX, RSI are read from v->regs; returns the new RAX (control
 * ABI), or CONTROL_LATER: it is not done yet, and the instruction is to be executed again. Owning
 * core.
 */
int64_t control_call(struct vcpu *v);
#define CONTROL_LATER INT64_MIN

/* One zeroed page of host memory owned by this guest's tables (MEM_EPT), below 4 GB if possible;
 * NULL when memory is out. */
void *guest_alloc_page(struct guest *g) MUST_CHECK;
/* Gives such a page back. */
void guest_free_page(struct guest *g, void *page);

/* Its vCPU has a VMCS that can be read and changed. Owning core. */
static inline bool guest_has_vcpu(const struct guest *g)
{
    return g->phase == GUEST_LIVE || g->phase == GUEST_PAUSED;
}

/* By number, 0..ABI_GUESTS_MAX-1; NULL for numbers not in use. */
struct guest *guest_get(unsigned number);

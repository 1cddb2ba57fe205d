/*
 * A vCPU, and the entity that a core schedules. A vCPU belongs to the core it is bound to, except
 * for what is marked "atomic".
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/lib.h"
#include "hv/pc/platform.h"
#include "hv/sched.h"
#include "hv/stuck.h"
#include "hv/types.h"

struct guest;

/* Requests to a vCPU, served by its core between two entries. */
enum vcpu_request {
    /* From the management guest, in entity.asked, see core_ask(). If several are set, the lowest
     * goes first. */
    VCPU_REQ_NMI = 1u << 0,      /* ABI_ACTION_NMI */
    VCPU_REQ_SNAPSHOT = 1u << 1, /* publish a snapshot */
    VCPU_REQ_KEEP = 1u << 2,     /* publish a snapshot and keep it */
    VCPU_REQ_CONTROLS = 1u << 3, /* change control words: v->new_controls */
    VCPU_REQ_END = 1u << 4,      /* its guest ends by request: continue that in any case */
    /* From the root itself, in entity.requests, see core_request(). */
    VCPU_REQ_OBEY = 1u << 5,   /* become what guest->life.order says */
    VCPU_REQ_FLUSH = 1u << 6,  /* forget the guest's cached translations */
    VCPU_REQ_GUEST = 1u << 7,  /* work is left for the guest whose life is on this core */
    VCPU_REQ_EVENT = 1u << 8,  /* an interrupt or a deadline may have come: look */
    VCPU_REQ_IPI = 1u << 9,    /* v->ipi */
    VCPU_REQ_UNTIL = 1u << 10, /* v->until has become earlier */
};

/*
 * What a core schedules: a vCPU, or the life of a guest (guest.h). A guest's life and the vCPU on
 * the same core take turns in one place in the scheduler, so that they share one time, budget and
 * guarantee.
 */
struct entity {
    struct sched_entity sched;
    struct guest *guest;
    struct vcpu *vcpu; /* NULL: it is the guest's life */
    unsigned core;
    uint32_t requests; /* enum vcpu_request or guest_request, atomic: examined before each entry */
    uint32_t asked;    /* the same, atomic: these wait until there is time */
};

/* General registers, saved and restored by the backend's entry routine (offsets are generated from
 * this struct). */
struct vcpu_gprs {
    uint64_t rax, rcx, rdx, rbx, rbp, rsi, rdi;
    uint64_t r8, r9, r10, r11, r12, r13, r14, r15;
};
_Static_assert(sizeof(struct vcpu_gprs) == 8 * ABI_REGISTERS, "a snapshot has them in this order");

/* Written by the owning core. Atomic: others read it. */
enum vcpu_phase {
    VCPU_NONE,   /* nothing exists yet, or any more */
    VCPU_MAKING, /* it is being made, in its own turns */
    VCPU_HELD,   /* it exists, and gets no time */
    VCPU_LIVE,   /* it runs, waits for its turn or for an event */
    VCPU_ENDING, /* its last state is being saved, in its own turns or by VCPU_REQ_END */
    VCPU_GONE,   /* its core has forgotten it: its guest is deleted */
};

struct vcpu {
    struct vcpu_gprs regs;
    struct entity entity;
    struct guest *guest;
    unsigned number;           /* in guest->vcpus */
    struct platform *platform; /* &guest->platform */
    void *backend;             /* struct vmx_vcpu or svm_vcpu */
    /* Shared pages, root's view. */
    struct abi_vcpu *stats;
    struct abi_exit *exits; /* the flight recorder: ABI_EXITS, aligned to twice their size */
    struct abi_exit *exit;  /* its newest entry */
    struct abi_snapshot *snapshots; /* ABI_SNAPSHOTS */
    uint64_t snapshot_sequence;     /* of the newest snapshot. Atomic */
    unsigned snapshots_kept;        /* in the ring, ever */
    /* A change under way; written by the management guest's core while its request bit is clear. */
    struct abi_controls new_controls;
    uint32_t controls_busy; /* 1: from the request to its result. Atomic */
    enum vcpu_phase phase;
    uint32_t obeyed;    /* the newest guest->life.order that it has carried out. Atomic */
    unsigned step;      /* VCPU_MAKING, VCPU_ENDING: steps done */
    uint64_t put_off;   /* since when a step has waited for enough time; 0: none waits */
    bool ran;           /* in this life: its last state is worth a snapshot. Atomic */
    uint64_t shift;     /* how much of guest->life.shift has been taken from its TSC */
    uint32_t flushed;   /* guest->translations as of its last flush. Atomic */
    bool halted;        /* in HLT: waits for an interrupt */
    bool deaf;          /* in HLT with interrupts off: waits for an NMI or INIT. Atomic */
    bool parked;        /* waits for SIPI and gets no time. Atomic */
    uint32_t ipi;       /* what vcpu_post() left: VCPU_IPI_*. Atomic */
    bool nmi;           /* an NMI waits to be injected */
    bool nmi_blocked;   /* in HLT: it waits until the previous one has been handled */
    uint32_t end_flags; /* the backend's: what makes the end of an instruction unusual */
    bool waits;         /* the CPU can wait in the guest's HLT: run() takes a halted vCPU */
    uint64_t woke_at;   /* when it last left HLT inside run() */
    uint64_t wake_late; /* for that, not counted yet: ticks after its timer was due; NEVER */
    uint64_t until;     /* absolute: its run ends; may become earlier in an exit */
    uint64_t closes;    /* absolute: its run is about to end, see RUN_CLOSE */
    bool spins;         /* its run has ended because it waits in a loop for another vCPU */
    bool stop;          /* leave the run loop, never enter again. Atomic */
    struct stuck stuck;
};

/* This many ticks before a run or a slice ends, nothing long begins any more: an access to a device
 * that must be decoded, a device's work, a job. What is put off costs no time: the core needs about
 * as long to choose the next entity, which would have to wait for it. */
#define RUN_CLOSE 400u
static inline uint64_t run_closes(uint64_t until)
{
    return until - min_u64(until, RUN_CLOSE);
}

#define VCPU_IPI_VECTOR 0xffu
#define VCPU_IPI_SIPI   (1u << 8)
#define VCPU_IPI_INIT   (1u << 9) /* comes before the others */
#define VCPU_IPI_NMI    (1u << 10)
#define VCPU_IPI_TAKING (1u << 11) /* its core is about to act on them */

/* In HLT: a waiting NMI ends it. */
static inline bool vcpu_takes_nmi(const struct vcpu *v)
{
    return v->nmi && !v->nmi_blocked;
}

/* It has state that can be read and changed. Owning core. */
static inline bool vcpu_is_there(const struct vcpu *v)
{
    return v->ran && (v->phase == VCPU_LIVE || v->phase == VCPU_HELD);
}

/* ---- vcpu_life.c. On the owning core, unless said otherwise ---- */

/* INIT, SIPI or NMI from a vCPU of the same guest. Any core. */
void vcpu_post(struct vcpu *v, enum platform_ipi kind, uint8_t vector);
/* VCPU_REQ_IPI: takes what was posted. Waits until it is live. */
void vcpu_take_ipis(struct vcpu *v);
/* An NMI comes. */
void vcpu_take_nmi(struct vcpu *v);
/* It enters HLT with interrupts off. False: no vCPU of the guest can go on any more. */
bool vcpu_halt_deaf(struct vcpu *v) MUST_CHECK;
/* An event has ended its HLT. */
static inline void vcpu_leave_halt(struct vcpu *v)
{
    v->halted = false;
    if (__builtin_expect(v->deaf, 0))
        __atomic_store_n(&v->deaf, false, __ATOMIC_RELAXED);
}

/* VCPU_REQ_OBEY: begins to carry out its guest's order, or does so at once. GUEST_REQ_VCPU tells
 * the life when it is done. */
void vcpu_obey(struct vcpu *v);
/* Does one short step of its making or ending. */
void vcpu_step(struct vcpu *v);
/* Does such steps until `until`, or until no time is left for another. */
void vcpu_advance(struct vcpu *v, uint64_t until);
/* Publishes a snapshot of the vCPU, which has been made, with the next sequence number, in page
 * `slot` of v->snapshots. */
void vcpu_snapshot(struct vcpu *v, unsigned slot, enum abi_cause cause);
/* VCPU_REQ_FLUSH. */
void vcpu_flush(struct vcpu *v);

/* The interfaces between the files of a core's run loop (core.c, core_mailbox.c, core_bind.c,
 * core_requests.c, core_chores.c). The core itself makes all of these calls. */
#pragma once

#include "hv/core.h"
#include "hv/pc/irqchip.h"

static inline uint64_t micros_to_ticks(uint64_t us)
{
    return us * (arch_tsc_hz() / 1000) / 1000;
}

/* The vCPU that the entity's time is accounted to. */
static inline struct vcpu *vcpu_of(const struct entity *e)
{
    return e->vcpu ? e->vcpu : e->guest->life.partner;
}

/* Until an order or a SIPI comes. */
static inline bool vcpu_has_no_work(const struct vcpu *v)
{
    return v->phase == VCPU_NONE || v->phase == VCPU_HELD || (v->phase == VCPU_LIVE && v->parked);
}

/* In HLT: something has come that ends it. */
static inline bool vcpu_wakes(const struct vcpu *v)
{
    return (irqchip_pending(v->platform, v->number) && !v->deaf) || vcpu_takes_nmi(v);
}

/* Longer work waits until no other entity needs the core, but at most this long: with short slices
 * that time may never come. */
#define PATIENCE_US      1000u
/* The same in a pass that already comes late from a slice, or soon will: most passes do not, and
 * both delays together would be too long. */
#define LATE_PATIENCE_US 20000u

/* Increments core_ready_count(). */
void core_count_ready(void);

/* core_bind.c */
/* Binds guests that were made while this core was running. */
void core_take_incoming(struct core *c);
/* Makes the core forget the entity. */
void core_unbind(struct core *c, struct entity *e);
/* Puts the life or its partner into the scheduler, whichever has work now, and makes it runnable or
 * not. Required after each change of the life's phase. */
void core_reschedule(struct core *c, struct guest *g);
void core_schedule(struct core *c, struct entity *e, uint64_t now);

/* core_requests.c */
bool core_has_time_for_asked(const struct core *c, uint64_t now);
/* Serves one of management's requests, in turn. True: there was one, and its time is to be charged.
 */
bool core_serve_asked(struct core *c);
/* Serves what was left for the guests and vCPUs of this core. */
void core_serve(struct core *c, uint64_t now);

/* core_chores.c */
void core_set_up_work(struct core *c);
/* Counts how late a slice has ended. */
void core_note_slice_end(struct core *c, uint64_t now);
/* Handles what other cores left here and what has come due. Most passes find neither. */
void core_attend(struct core *c, uint64_t back);
/* A slice has been chosen and begins now. True: a chore has waited too long, and is done in the
 * next pass, before the entity runs: not in one that may come late already. */
bool core_chore_goes_first(struct core *c, uint64_t now);
/* Charges for a request served in this pass: the whole way from a guest and back. */
void core_charge_request(struct core *c, uint64_t back, uint64_t now);

/* What the files of a core's run loop (core.c, core_mailbox.c, core_bind.c, core_requests.c,
 * core_chores.c) have of each other. All of it on the core itself. */
#pragma once

#include "hv/core.h"

static inline uint64_t micros_to_ticks(uint64_t us)
{
    return us * (arch_tsc_hz() / 1000) / 1000;
}

/* The vCPU that time is counted for. */
static inline struct vcpu *vcpu_of(const struct entity *e)
{
    return e->vcpu ? e->vcpu : e->guest->life.partner;
}

/* core_mailbox.c. As core_has_time(); the core is `wanted` by somebody else. What has waited for
 * long is done all the same. */
bool core_has_time_if(const struct core *c, bool wanted, uint64_t now, uint64_t *since);

/* One more for core_ready_count(). */
void core_count_ready(void);

/* core_bind.c */
/* Guests that were made while this core was running. */
void core_take_incoming(struct core *c);
/* The core forgets it. */
void core_unbind(struct core *c, struct entity *e);
void core_reschedule(struct core *c, struct guest *g);
void core_note_slice_end(struct core *c, uint64_t now);
void core_schedule(struct core *c, struct entity *e, uint64_t now);

/* core_requests.c */
bool core_has_time_for_asked(const struct core *c, uint64_t now);
/* One of the requests that management has left, in its turn. True: there was one, and its time is
 * to be charged. */
bool core_serve_asked(struct core *c);
/* What was left for the guests and vCPUs of this core. */
void core_serve(struct core *c, uint64_t now);

/* core_chores.c */
void core_set_up_work(struct core *c);
/* What others have left here, and what has come due. Most passes find none of it. */
void core_attend(struct core *c, uint64_t back);
/* Of a request that was served in this pass: charged is the whole way from a guest and back. */
void core_charge_request(struct core *c, uint64_t back, uint64_t now);

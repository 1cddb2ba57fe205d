/*
 * Scheduler policy of one core. Pure: time comes in, a decision (which entity, until when) goes
 * out. No locks, no division on the pick path.
 *
 * Weighted fair by virtual time: an entity that ran for t ticks advances its virtual time by t *
 * scale(weight). The runnable entity whose virtual time would be least after a slice goes first; it
 * keeps the core for one slice, or until a sleeper's event falls due (then the sleeper, whose
 * virtual time is behind, runs at once). Sleep gives virtual time back, at the rate at which an
 * entity that uses just its share keeps even, and down to one slice behind the others: so an entity
 * that uses less than its share goes before one that uses more, even if both have just slept; among
 * equals the greater weight goes first. A budget bounds run time per period; an entity that has
 * used it up waits for the next period.
 *
 * An entity with guaranteed time that has not had all of it in its period goes before all that have
 * no claim; among several, the one whose period ends first (earliest deadline first: each gets its
 * time unless the claims exceed the core). Sleeping does not make a claim urgent: if it could no
 * longer be met at its rate, a new period begins at the wake-up.
 *
 * If no other entity can run, the slice may be stretched. The caller ends it at its ordinary end,
 * or at once if that has passed, when another entity wakes.
 */
#pragma once

#include "hv/types.h"

#define SCHED_ENTITIES_MAX 128

struct sched_params {
    uint32_t weight;         /* 1..1000 */
    uint64_t slice;          /* ticks */
    uint64_t budget, period; /* ticks; budget 0: unbounded */
    uint64_t guaranteed;     /* ticks in each period; 0: none */
};

struct sched_entity {
    struct sched_params params;
    bool present, runnable;
    uint64_t wake;   /* while not runnable: the event that makes it runnable, absolute; NEVER */
    uint64_t vtime;  /* weighted ticks */
    uint64_t vscale; /* 32.32: virtual ticks per tick */
    uint64_t vslice; /* virtual ticks of the longest slice on this core */
    uint64_t vsleep; /* 32.32: virtual ticks that each tick of sleep gives back */
    uint64_t period_end, used; /* budget accounting */
    uint64_t ready_since;      /* for the wait time */
    uint64_t run_ticks, wait_ticks;
};

struct sched {
    struct sched_entity *entities[SCHED_ENTITIES_MAX];
    unsigned count;
    uint64_t min_vtime;
    uint64_t credit;  /* how far behind the others a sleeper comes back: the shortest slice */
    uint64_t stretch; /* ticks that a slice may take while no other entity can run; 0: its own */
    bool stretched;   /* the present slice is */
};

struct sched_decision {
    struct sched_entity *entity; /* NULL: idle */
    /* Idle: the sleeper that wakes first (it can then run at once, at next->wake), or NULL. */
    struct sched_entity *next;
    uint64_t until; /* absolute ticks: call again by then (NEVER when idle with nothing to wait
                       for); ignores `next` */
};

void sched_init(struct sched *s);
int sched_add(struct sched *s, struct sched_entity *e, const struct sched_params *p,
              uint64_t now) MUST_CHECK;
void sched_remove(struct sched *s, struct sched_entity *e);
/* `to` takes the place of `from`, with all that it has used and is owed. */
void sched_replace(struct sched *s, struct sched_entity *from, struct sched_entity *to);
/* Wakes sleepers whose event is due, replenishes budgets, decides. */
struct sched_decision sched_pick(struct sched *s, uint64_t now);
/* The picked entity's slice, which nothing ends early: until when it may last if no other entity
 * can run meanwhile. sched_ran() must follow. */
uint64_t sched_stretch(struct sched *s, const struct sched_entity *e, uint64_t now);
/* When idle and `next` runs from its wake-up on: until when it may run to keep everything fair. */
uint64_t sched_next_until(const struct sched_decision *d);
/* `from` waits for `to`, both of which are runnable and have the same parameters: `to` goes before
 * it, and nothing changes for others. */
void sched_give_turn(struct sched_entity *from, struct sched_entity *to);
/* The picked entity ran from `start` to `now`. */
void sched_ran(struct sched *s, struct sched_entity *e, uint64_t start, uint64_t now);
/* The entity sleeps until `wake` (NEVER: until sched_wake). */
void sched_block(struct sched_entity *e, uint64_t wake);
void sched_wake(struct sched *s, struct sched_entity *e, uint64_t now);
/* Charges time spent on the entity without running it to its share and budget. */
void sched_charge(struct sched_entity *e, uint64_t ticks);
/* The total time it was kept from running: others had the core, or its budget was used up. */
uint64_t sched_waited(const struct sched_entity *e, uint64_t now);
/* Its budget of the present period is used up (as of the last sched_pick()). */
bool sched_exhausted(const struct sched_entity *e);

/*
 * A core's run loop: takes what other cores left for its vCPUs, asks the scheduler, runs the vCPU
 * it names until the time it names, or halts.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/arch.h"
#include "hv/guest.h"
#include "hv/ration.h"
#include "hv/sched.h"
#include "hv/types.h"
#include "hv/virt.h"

struct core {
    unsigned id;
    bool vmx_root; /* virtualisation is on: guests can run here */
    uint32_t wake; /* work was left for this core: look, and do not halt. Any core sets it */
    struct sched sched;
    uint64_t look_at; /* absolute: look for work then even without a wake-up */
    uint64_t
        look_again; /* absolute: when a watchdog or heartbeat here may first expire, or earlier */
    uint64_t look_at_frames; /* absolute: guests here may have frames that came without a kick */
    struct ration ration;    /* limits the time for management's requests */
    uint32_t asked;          /* an entity here has a request in `asked`. Any core sets it */
    unsigned turn;           /* the entity whose `asked` is examined first */
    uint64_t put_off;        /* since when a chore has waited for enough time; 0: none waits */
    uint64_t due;            /* when the present slice should end; NEVER: no slice runs */
    uint64_t slice_end;      /* before that if it is stretched: when it ends once work comes */
    struct entity *ran;      /* the entity that runs in it */
    struct vcpu *inside;     /* in virt_ops.run() of this vCPU now. Atomic: see core_kick_vcpu() */
    uint64_t alone;          /* ticks at the start of a turn in which no chore interrupts it */
    uint64_t alone_until;    /* absolute: when that ends for the present turn; 0: it has ended */
    struct entity *entities[ABI_GUESTS_MAX * (1 + ABI_VCPUS_MAX)]; /* bound to this core */
    unsigned entity_count, vcpu_count;
    uint32_t incoming; /* bits: guest numbers to be bound here. Any core sets bits */
    struct chores {
        bool console; /* this core serves the console */
        uint64_t next_nic, next_console;
        unsigned turn;    /* the chore that goes first */
        unsigned waiting; /* bits of enum chore: to be considered in the next pass */
        bool first;       /* one of them is done in the next pass: it has waited too long */
        bool served;      /* a request was served in this pass */
    } chores;
    struct abi_core *stats; /* shared page */
};

/* Takes the memory for as many cores as there are. Boot core, once, before all else here. */
int core_make(void) MUST_CHECK;
struct core *core_get(unsigned id);

/* Binds a guest's life and vCPUs to their cores. Start-up, boot core. */
void core_bind(struct guest *g);

/* The same while the cores run: each core takes its own part in its next pass. Any core. */
void core_adopt(struct guest *g);

/* Makes a core look for work that was left for it. Any core, also from interrupt handlers. */
void core_wake(unsigned id);
/* An interrupt or an earlier deadline waits for the vCPU: its core looks. Does nothing if the
 * caller is in an exit of this vCPU, before whose next entry it looks anyway. Any core. */
void core_kick_vcpu(struct vcpu *v);
/* The same if the interrupt is in the descriptor of its local APIC: in a run, the CPU takes it
 * without an exit. Any core. */
void core_notify_vcpu(struct vcpu *v);
/* Leaves a request (enum vcpu_request, or guest_request for a guest's life) and wakes the core. Any
 * core. */
void core_request(struct entity *e, uint32_t request);
/* The same without an interrupt, when the core will look soon enough by itself. Any core. */
void core_leave(struct entity *e, uint32_t request);
/* The same for management's requests: the core serves them one at a time, as its ration of time
 * allows, and is not woken for those that must wait. None is lost. Any core. */
void core_ask(struct entity *e, uint32_t request);
/* True if work of `ticks` fits before another entity needs the core, or has been put off too long.
 * *since is 0 at first, then the time of the first delay. Owning core. */
bool core_has_time(const struct core *c, uint64_t ticks, uint64_t *since);
/* From then on nothing long begins in the present slice, see RUN_CLOSE. Owning core. */
static inline uint64_t core_close(const struct core *c)
{
    return run_closes(c->due);
}
/* The present slice lasts longer than it would if another entity could run. Owning core. */
static inline bool core_is_stretched(const struct core *c)
{
    return c->due > c->slice_end;
}
/* Sets that ration, in microseconds of each millisecond. Boot core, before core_run(). */
void core_ration_requests(uint32_t us);

/* The core is in VMX root operation, and none of its guests has run yet. Ours does nothing; a test
 * kernel can override it. */
void core_is_on(const struct core *c);
/* Sets up the calling core (capabilities, VMX root) and enters its run loop. */
_Noreturn void core_run(unsigned id);
/* The two halves of it, for tests: the second is one pass of the loop. */
void core_set_up(unsigned id);
void core_pass(struct core *c);

/* Makes core 0 reset the machine at that time (absolute ticks). False: a reset was already
 * requested, and its time stays. Any core. */
bool core_reboot(uint64_t at);

/* The number of cores that have finished their set-up (in VMX root or not). */
unsigned core_ready_count(void);

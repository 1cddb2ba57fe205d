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
    uint32_t wake; /* someone left work: look, and do not halt. Any core sets it */
    struct sched sched;
    uint64_t look_at;        /* absolute: look for work then, though nobody says so */
    uint64_t look_again;     /* absolute: the earliest end of a guest's patience here, or before */
    uint64_t look_at_frames; /* absolute: guests here may have frames that nobody kicked for */
    struct ration ration;    /* of its time, for what management asks */
    uint32_t asked;          /* somebody here has something in `asked`. Any core sets it */
    unsigned turn;           /* whose `asked` is looked at first */
    uint64_t put_off;        /* since when a chore waits for enough time; 0: none does */
    uint64_t due;            /* when the present slice should end; NEVER: nobody has one */
    struct entity *ran;      /* who has it */
    uint64_t alone;          /* ticks for which nobody's turn is interrupted for a chore */
    uint64_t alone_until;    /* absolute: of the present turn; 0: it is over */
    struct entity *entities[ABI_GUESTS_MAX * (1 + ABI_VCPUS_MAX)]; /* bound to this core */
    unsigned entity_count, vcpu_count;
    uint32_t incoming; /* numbers of guests that are to be bound. Any core sets bits */
    struct chores {
        bool console; /* this core has it */
        uint64_t next_nic, next_console;
        unsigned turn;    /* the chore that goes first */
        unsigned waiting; /* bits, of enum chore: to be looked at in the next pass */
        bool served;      /* a request, in this pass */
    } chores;
    struct abi_core *stats; /* shared page */
};

struct core *core_get(unsigned id);

/* Binds a guest's life and vCPUs to their cores. Start-up, boot core. */
void core_bind(struct guest *g);

/* The same while the cores run: each takes what is its when it comes by. Any core. */
void core_adopt(struct guest *g);

/* Makes a core look for work that was left for it. Any core, also from interrupt handlers. */
void core_wake(unsigned id);
/* Leaves a request (enum vcpu_request, or guest_request for a guest's life) and wakes the core. Any
 * core. */
void core_request(struct entity *e, uint32_t request);
/* The same for a core that comes by itself soon enough: it is not interrupted. Any core. */
void core_leave(struct entity *e, uint32_t request);
/* The same for what management asks: the core takes one such request after the other, as its ration
 * of time allows, and is not woken for those that have to wait. None is lost. Any core. */
void core_ask(struct entity *e, uint32_t request);
/* Is there time for something of `ticks` before the core is wanted by others? What is put off too
 * long (*since: 0, and then when it first was) is done all the same. Owning core. */
bool core_has_time(const struct core *c, uint64_t ticks, uint64_t *since);
/* How much of each millisecond that is. Boot core, before core_run(). */
void core_ration_requests(uint32_t us);

/* The core is in VMX root operation, and none of its guests has run yet. A test kernel has one of
 * its own, which takes the place of ours; that does nothing. */
void core_is_on(const struct core *c);
/* Sets up the calling core (capabilities, VMX root) and enters its run loop. */
_Noreturn void core_run(unsigned id);
/* The two halves of it, for tests: the second is one pass of the loop. */
void core_set_up(unsigned id);
void core_pass(struct core *c);

/* Resets the machine at that time (absolute ticks). False: that was asked for before, and stays so.
 * Core 0 does it. Any core. */
bool core_reboot(uint64_t at);

/* How many cores have finished their set-up (in VMX root or not). */
unsigned core_ready_count(void);

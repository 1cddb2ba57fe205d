/*
 * What a backend calls while it handles a VM exit. Owning core, interrupts off, bounded; v->exit is
 * the record of the exit. arch/x86/guest/vcpu.h has what is specific to x86.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/guest.h"
#include "hv/types.h"

/* What is to be done after an exit. */
enum exit_action {
    EXIT_RESUME = ABI_OUTCOME_RESUME, /* enter again at the same RIP */
    EXIT_SKIP = ABI_OUTCOME_SKIP,     /* the instruction is done: go past it */
    EXIT_DONE = ABI_OUTCOME_DONE,     /* the same, and look for events and deadlines */
    EXIT_HALT = ABI_OUTCOME_HALT,     /* the instruction is done: HLT, nothing to wake for */
    EXIT_KICK = ABI_OUTCOME_KICK,     /* let the scheduler decide again; the RIP stays */
    EXIT_STOP = ABI_OUTCOME_STOP,     /* v->stop is set */
    /* For an instruction whose length the CPU does not report: v->exit->instruction_length has been
     * set. Recorded without this. */
    EXIT_DECODED = 8,
    EXIT_SKIP_DECODED = EXIT_DECODED + EXIT_SKIP,
    EXIT_DONE_DECODED = EXIT_DECODED + EXIT_DONE,
};

/* A port access of 1, 2 or 4 bytes. */
uint32_t exit_port_in(struct vcpu *v, uint16_t port, unsigned size);
/* EXIT_DONE if the write has made an interrupt pending or a deadline earlier, else EXIT_SKIP;
 * EXIT_STOP when it has ended the guest. */
enum exit_action exit_port_out(struct vcpu *v, uint16_t port, unsigned size, uint32_t value);

/* An access of 1, 2, 4 or 8 bytes to memory-mapped registers at a guest-physical address outside
 * the guest's RAM. An address that nobody claims reads all ones and swallows writes; a guest with
 * strict_memory ends. False: the guest has been ended. A value that was read has no bits beyond
 * `size`. */
bool exit_mmio_read(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t *value) MUST_CHECK;
bool exit_mmio_write(struct vcpu *v, uint64_t gpa, unsigned size, uint64_t value) MUST_CHECK;

/* For a string instruction, which makes many accesses: the guest's ports, as of the time of the
 * exit. No other vCPU of the guest has them before exit_ports_done(), which follows the accesses.
 */
const struct io_bus *exit_ports(struct vcpu *v);
void exit_ports_done(struct vcpu *v);
/* Brings the devices and the next deadline up to date as of `now`. Also called before an entry when
 * that deadline has passed. */
void exit_timers(struct vcpu *v, uint64_t now);

/* After an exit for the core's sake, such as an interrupt: true if its run loop has something to
 * do. Otherwise it was about the vCPU alone (VCPU_REQ_EVENT), or came in vain. */
bool exit_core_is_wanted(const struct vcpu *v);

/* The hypercall instruction, at CPL 0; the call's number is in RAX, see hv/abi/control.h. EXIT_SKIP
 * with the result in RAX; EXIT_RESUME: not done yet, the guest executes it again; EXIT_STOP. */
enum exit_action exit_hypercall(struct vcpu *v);

/* Ends the vCPU's guest: `state` is ABI_GUEST_STOPPED or ABI_GUEST_CRASHED, the text becomes its
 * `why`, see guest_end(). v->stop is set. */
void vcpu_stop(struct vcpu *v, enum abi_guest_state state, const char *format, ...) PRINTF(3, 4);

/* One zeroed page of host memory owned by this guest's tables (MEM_FOR_GUEST), below 4 GB if
 * possible; NULL: no memory left. */
void *guest_alloc_page(struct guest *g) MUST_CHECK;

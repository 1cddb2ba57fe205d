/*
 * The vendor-independent part of an x86 vCPU: the state that no backend keeps, and what its exits
 * do. Uses vcpu_state.h. Owning core, inside an exit or before an entry.
 */
#pragma once

#include "arch/x86/guest/cpuid.h"
#include "arch/x86/guest/emulate.h"
#include "arch/x86/guest/kvm_clock.h"
#include "arch/x86/guest/lazy.h"
#include "arch/x86/guest/msr.h"
#include "arch/x86/guest/operand.h"
#include "arch/x86/guest/paging.h"
#include "arch/x86/guest/segment.h"
#include "hv/exit.h"
#include "hv/guest.h"
#include "hv/virt.h"

/* An event for the guest: VT-x's interruption information, SDM 3C "Event Injection"; AMD-V's
 * EVENTINJ has the same layout. */
#define EVENT_VECTOR          0xffu
#define EVENT_TYPE            0x700u
#define EVENT_EXTERNAL        (0u << 8)
#define EVENT_NMI             (2u << 8)
#define EVENT_EXCEPTION       (3u << 8)
#define EVENT_SOFT_INTERRUPT  (4u << 8)
#define EVENT_PRIVILEGED_SOFT (5u << 8) /* INT1; VT-x only */
#define EVENT_ERROR_CODE      (1u << 11)
#define EVENT_VALID           (1u << 31)

/* CR0 bits that the root keeps, and the only CR4 bits that it leaves to the guest: the others are
 * fixed, reach beyond the guest, or belong to features that CPUID hides; DE decides what the end of
 * an emulated IN or OUT looks for. */
#define X86_CR0_OWNED         (CR0_NE | CR0_NW | CR0_CD)
#define X86_CR4_GUESTS                                                                             \
    (CR4_VME | CR4_PVI | CR4_TSD | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE | CR4_OSFXSR |            \
     CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)

/* The instruction that x86_fetch() has decoded last. */
struct x86_decoded {
    uint64_t window[DECODE_WINDOW / 8]; /* its bytes and what follows them, as they were then */
    /* Where it was found, if it can be found again in few steps: its linear address and that of all
     * its bytes in the host's memory (NULL: it cannot). */
    uint64_t linear;
    const uint8_t *at;
    struct paging_trail trail;
    unsigned code_bytes;
    bool emulated;
    struct instruction in;
    struct emulation e; /* if it is emulated */
};

struct x86_vcpu {
    struct cpuid_policy cpuid;
    struct msr_policy msr;
    struct kvm_clock clock;
    uint64_t cr8; /* without a local APIC */
    /* An event whose delivery an exit interrupted: EVENT_*, 0: none; its error code, and the length
     * of the instruction that raised it. */
    uint32_t reinject, reinject_error, reinject_length;
    struct x86_decoded decoded;
};

void x86_reset(struct x86_vcpu *x, const struct cpuid_env *env);

/* run.c: struct virt_ops' run(). */
enum vcpu_yield x86_run(struct vcpu *v, uint64_t until);
/* For a backend whose timer ends the guest at the deadline: before it leaves the guest's run for
 * that. True: it was the local APIC's timer, and the guest can be entered again, unless a request
 * waits. */
bool x86_deadline_came(struct vcpu *v);

/* ---- exits.c ---- */

/* The instruction faults: injects the exception; for `return x86_raise...`. */
enum exit_action x86_raise_ud(struct vcpu *v);
enum exit_action x86_raise_gp(struct vcpu *v);
enum exit_action x86_raise_fault(struct vcpu *v, const struct guest_fault *f);
/* The same while `event` (EVENT_*; 0: none) was being delivered: #DF, or the guest's end. */
enum exit_action x86_raise_during(struct vcpu *v, uint32_t event, const struct guest_fault *f);
/* #DB as a trap, before the next instruction. */
enum exit_action x86_trap_db(struct vcpu *v, uint64_t conditions);
/* #DB as a fault, with bits to report in DR6: DR6_*. */
enum exit_action x86_raise_db(struct vcpu *v, uint64_t conditions);
/* Stops the guest: "<what> at RIP 0x...". */
enum exit_action x86_crash(struct vcpu *v, const char *what);
/* Stops a guest that accessed an address outside its memory; `what`: "read from". */
enum exit_action x86_outside(struct vcpu *v, const char *what, uint64_t address);

/* Emulate these instructions; operands are in v->regs or passed as arguments. Registers by the
 * number that instructions encode. */
enum exit_action x86_resume(struct vcpu *v); /* does nothing, the instruction runs again */
enum exit_action x86_skip(struct vcpu *v);   /* does nothing */
enum exit_action x86_spins(struct vcpu *v);  /* PAUSE in a loop, which goes on later */
enum exit_action x86_cpuid(struct vcpu *v);
enum exit_action x86_rdmsr(struct vcpu *v);
enum exit_action x86_wrmsr(struct vcpu *v);
enum exit_action x86_hlt(struct vcpu *v);
enum exit_action x86_hypercall(struct vcpu *v);
enum exit_action x86_rdtsc(struct vcpu *v);
enum exit_action x86_rdtscp(struct vcpu *v);
enum exit_action x86_xsetbv(struct vcpu *v);
enum exit_action x86_invlpg(struct vcpu *v);
/* Its descriptor is in memory. */
enum exit_action x86_invpcid(struct vcpu *v, unsigned type_register, enum segment_id segment,
                             uint64_t offset);
enum exit_action x86_mov_dr(struct vcpu *v, unsigned number, bool read, unsigned reg);
/* RDRAND or RDSEED of `size` bytes. */
enum exit_action x86_random(struct vcpu *v, bool seed, unsigned reg, unsigned size);

/* A general register by its number; RSP is the backend's. */
uint64_t x86_read_gpr(const struct vcpu *v, unsigned number);
void x86_write_gpr(struct vcpu *v, unsigned number, uint64_t value);
/* The same as an operand: outside of 64-bit mode registers have 32 bits. */
uint64_t x86_read_operand(const struct vcpu *v, unsigned number);

/* ---- apic.c ---- */

/* RDMSR and WRMSR of a local APIC's MSRs; a guest without one has IA32_APIC_BASE, which says so.
 * False: #GP. */
bool x86_apic_read(struct vcpu *v, uint32_t msr, uint64_t *value);
bool x86_apic_write(struct vcpu *v, uint32_t msr, uint64_t value, enum exit_action *action);
/* WRMSR of IA32_TSC_DEADLINE with a local APIC: apart, as most kernels do it in each tick. */
enum exit_action x86_write_tsc_deadline(struct vcpu *v, uint64_t value);
/* CR8, the local APIC's task priority. */
uint64_t x86_get_cr8(const struct vcpu *v);
enum exit_action x86_set_cr8(struct vcpu *v, uint64_t value);
/* The TSC that the guest reads, and with it the time of its TSC deadline. */
void x86_set_tsc(struct vcpu *v, uint64_t value);

/* ---- cr.c ---- */

/* MOV to and from a control register that the guest does not fully own. */
enum exit_action x86_write_cr(struct vcpu *v, unsigned cr, uint64_t value);
enum exit_action x86_read_cr(struct vcpu *v, unsigned cr, unsigned reg);
/* Loads CR3 outside of long mode. False: its entries with PAE are not acceptable, nothing changed.
 */
bool x86_load_cr3(struct vcpu *v, uint32_t value);

/* ---- io.c, mmio.c ---- */

/* The most elements of a string instruction that one exit does, even if no deadline is near:
 * requests and interrupts for the core are checked between exits. */
#define X86_STRING_STEP 64u

/* IN and OUT of 1, 2 or 4 bytes. */
enum exit_action x86_port_in(struct vcpu *v, uint16_t port, unsigned size);
enum exit_action x86_port_out(struct vcpu *v, uint16_t port, unsigned size);

/* INS or OUTS. */
struct string_access {
    uint16_t port;
    unsigned size; /* bytes an element: 1, 2 or 4 */
    bool in, rep;
    unsigned address_bytes;  /* 2, 4 or 8; 0: the CPU reports neither this nor the segment */
    enum segment_id segment; /* of OUTS */
    uint64_t linear;         /* if the CPU reports no more: of the first element */
};
/* Stops by `until`, to be continued later. Absolute ticks. */
enum exit_action x86_string_io(struct vcpu *v, const struct string_access *a, uint64_t until);

/* ---- fetch.c ---- */

/* Fetches and decodes the instruction at RIP into vcpu_x86(v)->decoded; v->exit has its length
 * then. The guest may change its bytes meanwhile: those in `decoded` count. EXIT_SKIP; otherwise
 * the exit's action: the fetch faults, or is outside of RAM. */
enum exit_action x86_fetch(struct vcpu *v, const struct operand_space *s);

/* ---- access.c ---- */

/* Load and store the bytes of an operand that was reached. EXIT_SKIP, or EXIT_STOP: they have ended
 * the guest. */
enum exit_action x86_load(struct vcpu *v, const struct operand *o, uint64_t *value);
enum exit_action x86_store(struct vcpu *v, const struct operand *o, uint64_t value);

/* ---- mmio.c ---- */

/* An access outside the guest's RAM, as the CPU reports it. */
struct memory_access {
    uint64_t gpa, linear; /* of one byte of it */
    bool linear_known;    /* `gpa` is the translation of `linear` */
    bool write;           /* a write, or a read-modify-write */
};
/* Emulates the instruction. One with REP stops by `until`, to be continued later. Absolute ticks.
 */
enum exit_action x86_mmio(struct vcpu *v, const struct memory_access *m, uint64_t until);

/* ---- events.c ---- */

/* RFLAGS.RF in the handler's stack image is the guest's RF: a fault of an instruction sets it, see
 * x86_raise_fault(). */
void x86_inject_exception(struct vcpu *v, uint8_t vector, bool has_error, uint32_t error);
/* Gives the guest its own exception, which the CPU delivered to the root. `conditions`: for #DB, as
 * in DR6. */
enum exit_action x86_reflect_exception(struct vcpu *v, uint32_t event, uint32_t error,
                                       uint64_t conditions);
/* After an exit that interrupted the delivery of `event`; does nothing without EVENT_VALID. */
void x86_note_vectoring(struct vcpu *v, uint32_t event, uint32_t error, uint32_t length);
/* If it is in HLT: whatever comes, it is not any more. */
void x86_leave_halt(struct vcpu *v);
/* Before entry: injects what is pending, or requests a window. */
void x86_prepare_events(struct vcpu *v, uint64_t now);
/* If the timer of its local APIC has expired, as in each tick of a kernel, and the CPU works on the
 * registers: what exit_timers() and x86_prepare_events() would do, in fewer steps. False: it is not
 * that simple, and nothing has changed. */
bool x86_timer_by_cpu(struct vcpu *v, uint64_t now);
/* After a skipped instruction that was in a shadow, had TF or RF set, or see vcpu_watch_ends(). */
void x86_end_of_instruction(struct vcpu *v);

/* ---- breakpoints.c ---- */

/* The instruction has accessed memory or a port (1 to 16 bytes, aligned or not): a breakpoint there
 * traps behind the instruction. */
void x86_watch_memory(struct vcpu *v, uint64_t linear, unsigned size, bool write);
void x86_watch_port(struct vcpu *v, uint16_t port, unsigned size);

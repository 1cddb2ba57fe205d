/* The backend's part of a guest and of a vCPU. Owned by the vCPU's core. */
#pragma once

#include "arch/x86/guest/cpuid.h"
#include "arch/x86/vmx/caps.h"
#include "arch/x86/vmx/ept.h"
#include "hv/guest.h"
#include "hv/virt.h"

struct vmx_guest {
    struct ept ept;
    uint8_t *msr_bitmap, *io_bitmap_a, *io_bitmap_b;
};

/* Registers that the guest reaches directly and that no VMCS field holds: switched only when
 * another vCPU runs on the core. */
struct vmx_lazy {
    uint8_t fxsave[512] __attribute__((aligned(16)));
    uint64_t msr[6];
    uint64_t dr[4], dr6;
};

struct vmx_vcpu {
    struct vmx_lazy lazy; /* first: FXSAVE wants it aligned */
    struct vcpu *vcpu;
    void *vmcs;
    uint64_t launched;
    uint32_t cpu1; /* primary controls as they are in the VMCS */
    uint32_t
        reinject; /* event whose delivery an exit interrupted: its information, valid bit set */
    uint32_t reinject_error, reinject_length;
    uint64_t snapshots;
    struct cpuid_policy cpuid;
};
_Static_assert(sizeof(struct vmx_vcpu) <= 4096, "allocated as one page");
_Static_assert(sizeof(struct vmx_guest) <= 4096, "allocated as one page");

enum exit_action {
    EXIT_RESUME, /* enter again at the same RIP */
    EXIT_SKIP,   /* the instruction is done: go past it */
    EXIT_HALT,   /* the instruction is done, and it was HLT with nothing to wake for */
    EXIT_STOP,   /* v->stop is set */
};

/* enter.asm. Enters the guest with these registers; `launched` chooses VMRESUME. 0 after a VM exit,
 * 1 when the instruction itself failed. */
int vmx_enter(struct vcpu_gprs *regs, uint64_t launched);
/* Where VM exits arrive: HOST_RIP. */
void vmx_exit_point(void);

/* What all cores have in common, checked at start-up. */
const struct vmx_caps *vmx_caps_common(void);

/* setup.c: writes every field of the current VMCS. */
int vmx_setup(struct vmx_vcpu *x, const struct load_result *start) MUST_CHECK;
/* exits.c: handles the exit of the current VMCS. */
enum exit_action vmx_handle_exit(struct vmx_vcpu *x, uint32_t reason);
/* events.c */
void vmx_inject_exception(uint8_t vector, bool has_error, uint32_t error);
/* Before entry: what is pending goes into the entry information, or a window is asked for. */
void vmx_prepare_events(struct vmx_vcpu *x);
/* After an exit that may have interrupted a delivery. */
void vmx_note_vectoring(struct vmx_vcpu *x);
void vmx_set_cpu1(struct vmx_vcpu *x, uint32_t set, uint32_t clear);
/* snapshot.c */
uint64_t vmx_snapshot(struct vcpu *v);
/* run.c */
enum vcpu_yield vmx_run(struct vcpu *v, uint64_t until);
/* Makes the vCPU's VMCS current and its lazy registers present on this core. */
void vmx_load(struct vmx_vcpu *x);
/* The core forgets the vCPU. */
void vmx_unload(struct vmx_vcpu *x);

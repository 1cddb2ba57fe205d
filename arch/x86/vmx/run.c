/* Enter, exit, dispatch: until the time is over or somebody else needs the core. */
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/vmx/names.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"

#define TIMER_MAX 0xffffffffull

static struct vmx_vcpu *current[ARCH_CORES_MAX];

/* The order of vmx_lazy.msr. The root uses none of these. */
static const uint32_t lazy_msrs[] = {
    MSR_IA32_STAR,  MSR_IA32_LSTAR,          MSR_IA32_CSTAR,
    MSR_IA32_FMASK, MSR_IA32_KERNEL_GS_BASE, MSR_IA32_TSC_AUX,
};
_Static_assert(ARRAY_LEN(lazy_msrs) == ARRAY_LEN(((struct vmx_lazy *)0)->msr), "one place each");

#define READ_DR(n, v)  __asm__ volatile("mov %%dr" #n ", %0" : "=r"(v))
#define WRITE_DR(n, v) __asm__ volatile("mov %0, %%dr" #n ::"r"(v))

static void save_lazy(struct vmx_lazy *l)
{
    __asm__ volatile("fxsave64 %0" : "=m"(l->fxsave));
    for (unsigned i = 0; i < ARRAY_LEN(lazy_msrs); i++)
        l->msr[i] = rdmsr(lazy_msrs[i]);
    READ_DR(0, l->dr[0]);
    READ_DR(1, l->dr[1]);
    READ_DR(2, l->dr[2]);
    READ_DR(3, l->dr[3]);
    READ_DR(6, l->dr6);
}

static void load_lazy(const struct vmx_lazy *l)
{
    __asm__ volatile("fxrstor64 %0" ::"m"(l->fxsave));
    for (unsigned i = 0; i < ARRAY_LEN(lazy_msrs); i++)
        wrmsr(lazy_msrs[i], l->msr[i]);
    WRITE_DR(0, l->dr[0]);
    WRITE_DR(1, l->dr[1]);
    WRITE_DR(2, l->dr[2]);
    WRITE_DR(3, l->dr[3]);
    WRITE_DR(6, l->dr6);
}

void vmx_load(struct vmx_vcpu *x)
{
    struct vmx_vcpu **slot = &current[x->vcpu->core];

    if (__builtin_expect(*slot == x, 1))
        return;
    if (*slot)
        save_lazy(&(*slot)->lazy);
    if (vmptrld((uintptr_t)x->vmcs))
        panic("VMPTRLD of the VMCS of guest %u failed", x->vcpu->guest->number);
    load_lazy(&x->lazy);
    *slot = x;
}

void vmx_unload(struct vmx_vcpu *x)
{
    struct vmx_vcpu **slot = &current[x->vcpu->core];

    if (*slot == x)
        *slot = NULL;
    if (vmclear((uintptr_t)x->vmcs))
        panic("VMCLEAR of the VMCS of guest %u failed", x->vcpu->guest->number);
    x->launched = 0;
}

/* The timer counts at a power of two below the TSC's rate; rounded up, so that it never fires
 * early. */
static inline void set_timer(uint64_t ticks, unsigned shift)
{
    uint64_t v = shift ? (ticks >> shift) + 1 : ticks;

    vmwrite(VMCS_VMX_PREEMPTION_TIMER_VALUE, min_u64(v, TIMER_MAX));
}

static void entry_failed(struct vmx_vcpu *x)
{
    uint32_t error = (uint32_t)vmread(VMCS_VM_INSTRUCTION_ERROR);

    vcpu_stop(x->vcpu, ABI_GUEST_CRASHED, "VM entry failed: %s (error %u)",
              vmx_instruction_error_name(error), error);
}

/* The instruction that exited is done. The only place where the guest's RIP moves. */
static inline void skip(uint64_t rip)
{
    uint64_t blocking = vmread(VMCS_GUEST_INTERRUPTIBILITY_STATE);

    vmwrite(VMCS_GUEST_RIP, rip + vmread(VMCS_VM_EXIT_INSTRUCTION_LENGTH));
    if (blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS))
        vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE,
                blocking & ~(uint64_t)(BLOCKING_BY_STI | BLOCKING_BY_MOV_SS));
}

static inline void record(struct vcpu *v, uint32_t reason, uint64_t now)
{
    struct abi_vcpu *s = v->stats;
    uint32_t basic = reason & VMX_EXIT_BASIC_MASK;

    s->exits[basic < ABI_EXIT_REASONS ? basic : ABI_EXIT_REASONS - 1]++;
    s->last_exit.tsc = now;
    s->last_exit.reason = reason;
    s->last_exit.rip = vmread(VMCS_GUEST_RIP);
}

/* One entry and the exit after it. */
static inline enum exit_action enter_once(struct vmx_vcpu *x)
{
    struct vcpu *v = x->vcpu;
    uint64_t now;
    uint32_t reason;

    if (__builtin_expect(vmx_enter(&v->regs, x->launched) != 0, 0)) {
        entry_failed(x);
        return EXIT_STOP;
    }
    x->launched = 1;
    v->stats->entries++;
    now = arch_tsc();
    v->platform->clock.now = now;
    reason = (uint32_t)vmread(VMCS_EXIT_REASON);
    record(v, reason, now);
    return vmx_handle_exit(x, reason);
}

enum vcpu_yield vmx_run(struct vcpu *v, uint64_t until)
{
    struct vmx_vcpu *x = v->backend;
    struct platform *p = v->platform;
    unsigned shift = vmx_timer_shift(vmx_caps_common());

    vmx_load(x);
    v->halted = false;
    for (;;) {
        uint64_t now = arch_tsc(), deadline;

        if (now >= until)
            return VCPU_YIELD_SLICE;
        if (__atomic_load_n(&v->requests, __ATOMIC_RELAXED))
            return VCPU_YIELD_KICK;
        if (now >= p->next_event) {
            p->clock.now = now;
            platform_timers(p);
        }
        /* Nearly always there is nothing to deliver and no window to close. */
        if (__builtin_expect(platform_irq_pending(p) || x->reinject ||
                                 (x->cpu1 & CPU1_INTERRUPT_WINDOW_EXITING),
                             0))
            vmx_prepare_events(x);
        deadline = min_u64(until, p->next_event);
        set_timer(deadline > now ? deadline - now : 0, shift);
        switch (enter_once(x)) {
        case EXIT_SKIP:
            skip(v->stats->last_exit.rip);
            break;
        case EXIT_HALT:
            skip(v->stats->last_exit.rip);
            v->halted = true;
            return VCPU_YIELD_HALT;
        case EXIT_STOP:
            return VCPU_YIELD_STOP;
        case EXIT_RESUME:
            if (v->stats->last_exit.reason == VMX_EXIT_EXTERNAL_INTERRUPT) {
                arch_irq_window();
                return VCPU_YIELD_KICK;
            }
            break;
        }
        if (__builtin_expect(v->stop, 0))
            return VCPU_YIELD_STOP;
    }
}

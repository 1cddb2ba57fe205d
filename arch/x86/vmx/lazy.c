/* Tracks which vCPU's registers a core holds: those that the VMCS does not switch. */
#include "arch/x86/cpu/leaks.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"
#include "hv/lib.h"

static struct vmx_vcpu *current[ARCH_CORES_MAX];

#define EXCHANGE_MSR(n, number)                                                                    \
    do {                                                                                           \
        held->msr[n] = rdmsr(number);                                                              \
        if (held->msr[n] != l->msr[n])                                                             \
            wrmsr(number, l->msr[n]);                                                              \
    } while (0)

static void exchange(struct vmx_lazy *held, const struct vmx_lazy *l)
{
    x86_lazy_exchange(&held->x86, &l->x86);
    EXCHANGE_MSR(0, MSR_IA32_STAR);
    EXCHANGE_MSR(1, MSR_IA32_LSTAR);
    EXCHANGE_MSR(2, MSR_IA32_CSTAR);
    EXCHANGE_MSR(3, MSR_IA32_FMASK);
    EXCHANGE_MSR(4, MSR_IA32_KERNEL_GS_BASE);
    held->dr6 = read_dr6();
    if (held->dr6 != l->dr6)
        write_dr6(l->dr6);
    held->cr2 = read_cr2();
    write_cr2(l->cr2);
}

void vmx_lazy_reset(struct vmx_lazy *l)
{
    *l = (struct vmx_lazy){.x86 = l->x86, .dr6 = DR6_RESET};
    x86_lazy_reset(&l->x86);
}

static void load_region(const struct vmx_vcpu *x)
{
    if (vmptrld((uintptr_t)x->vmcs))
        panic("VMPTRLD of the VMCS of guest %u failed", x->vcpu->guest->number);
}

void vmx_reload(unsigned core)
{
    if (current[core])
        load_region(current[core]);
}

void vmx_load(struct vmx_vcpu *x)
{
    struct vmx_vcpu **slot = &current[x->vcpu->entity.core];
    struct vmx_lazy nobody;

    if (__builtin_expect(*slot == x, 1))
        return;
    load_region(x);
    if (!*slot || (*slot)->vcpu->guest != x->vcpu->guest)
        leaks_change_guest();
    nobody.x86.area = NULL;
    exchange(*slot ? &(*slot)->lazy : &nobody, &x->lazy);
    *slot = x;
}

void vmx_unload(struct vmx_vcpu *x)
{
    struct vmx_vcpu **slot = &current[x->vcpu->entity.core];

    if (*slot == x)
        *slot = NULL;
    if (vmclear((uintptr_t)x->vmcs))
        panic("VMCLEAR of the VMCS of guest %u failed", x->vcpu->guest->number);
    x->launched = false;
    x->host_rsp = 0;
}

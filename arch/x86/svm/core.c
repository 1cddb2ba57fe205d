/*
 * What a core needs for SVM, and which vCPU's registers it holds. The VMCB switches most; the
 * others (FPU and vector registers, debug registers) stay in the core until another vCPU runs
 * there: the root does not use them.
 */
#include "arch/x86/cpu/apic.h"
#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/leaks.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/cpu/trap.h"
#include "arch/x86/guest/vcpu_state.h"
#include "arch/x86/svm/trial.h"
#include "arch/x86/svm/vmrun.h"
#include "hv/arch.h"
#include "hv/hostmem.h"
#include "hv/lib.h"
#include "hv/log.h"

static struct core {
    struct asid_pool asids;
    void *host; /* a page in the layout of a VMCB: what VMLOAD loads for the root */
    struct svm_vcpu *current;
} cores[ARCH_CORES_MAX];

/* Where interrupts do not end a guest NMIs do: all cores get one each millisecond. */
static void choose_ticks(void)
{
    if (svm_interrupts_end_guests())
        return;
    if (ioapic_nmi_ticks())
        log_warn("interrupts do not end a guest that has them off, and no NMI can be made to: it "
                 "may keep its core");
    else
        log_info("interrupts do not end a guest that has them off: an NMI does, each millisecond");
}

static void switch_on(void *core_page)
{
    wrmsr(MSR_IA32_EFER, rdmsr(MSR_IA32_EFER) | EFER_SVME);
    wrmsr(MSR_VM_HSAVE_PA, (uintptr_t)core_page);
}

int svm_core_probe(unsigned core)
{
    static uint8_t save_area[PAGE_SIZE] __attribute__((aligned(4096)));
    static bool tried;
    int rc = svm_caps_probe(core);

    if (rc || core != 0 || tried)
        return rc;
    tried = true;
    trap_set_handler(VECTOR_TIMER, apic_timer_came, NULL);
    switch_on(save_area);
    choose_ticks();
    return 0;
}

int svm_core_on(unsigned core, void *core_page)
{
    const struct abi_caps *k = &svm_caps_common()->abi;
    struct core *c = &cores[core];

    c->host = hostmem_alloc_zeroed(PAGE_SIZE, MEM_HOST);
    if (!c->host)
        return -E_NOMEM;
    asid_pool_init(&c->asids, (uint32_t)k->svm_asids, k->svm_features & CPUID_SVM_FLUSH_BY_ASID);
    switch_on(core_page);
    svm_vmsave(c->host);
    return 0;
}

void svm_take_asid(struct svm_vcpu *x)
{
    struct asid_pool *p = &cores[x->vcpu->entity.core].asids;

    if (asid_is_current(p, &x->asid))
        return;
    x->vmcb->control.tlb_control = asid_take(p, &x->asid);
    x->vmcb->control.guest_asid = x->asid.id;
}

void svm_wait(struct svm_vcpu *x)
{
    struct vcpu *v = x->vcpu;
    struct abi_exit *next = v->exit + 1 < v->exits + ABI_EXITS ? v->exit + 1 : v->exits;

    v->exit->entry_tsc = arch_tsc();
    arch_idle(x->deadline, &v->entity.requests);
    v->exit = next;
    /* One by one: it is on the way to the handler of a guest that waits for a timer. */
    next->tsc = arch_tsc();
    next->entry_tsc = 0;
    next->rip = x->vmcb->save.rip;
    next->qualification = next->detail = 0;
    next->reason = SVM_EXIT_INTR;
    next->outcome = EXIT_KICK;
    next->instruction_length = 0;
    v->stats->entries++;
    v->stats->exits[SVM_EXIT_INTR]++;
}

/* ---- lazy registers ---- */

void svm_load(struct svm_vcpu *x)
{
    struct core *c = &cores[x->vcpu->entity.core];
    struct x86_lazy nobody = {.area = NULL};

    if (__builtin_expect(c->current == x, 1))
        return;
    if (!c->current || c->current->vcpu->guest != x->vcpu->guest)
        leaks_change_guest();
    x->host = (uintptr_t)c->host;
    x86_lazy_exchange(c->current ? &c->current->lazy : &nobody, &x->lazy);
    /* VMRUN loads it from the VMCB, but for Bochs, which leaves the core's. */
    write_cr2(x->vmcb->save.cr2);
    x->changed = 1; /* another vCPU may have its ASID now */
    c->current = x;
}

void svm_unload(struct svm_vcpu *x)
{
    struct core *c = &cores[x->vcpu->entity.core];

    if (c->current == x)
        c->current = NULL;
}

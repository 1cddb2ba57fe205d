/* struct virt_ops for VT-x. */
#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/errata.h"
#include "arch/x86/cpu/leaks.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/start.h"
#include "arch/x86/guest/tree.h"
#include "arch/x86/virt.h"
#include "arch/x86/vmx/trial.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"
#include "hv/exit.h"
#include "hv/job.h"
#include "hv/lib.h"
#include "hv/log.h"

static bool nx_large; /* guests' large pages are split at the first fetch */
static bool posts;    /* the CPU takes posted interrupts */

static bool present(void)
{
    struct abi_caps c;

    vmx_caps_read(&c);
    return c.present;
}

static int core_on(unsigned core, void *page)
{
    const struct abi_caps *common = vmx_caps_common();
    uint32_t revision = (uint32_t)(common->basic & VMX_BASIC_REVISION_MASK);
    struct abi_caps c;
    uint64_t value, cr4;
    int rc;

    vmx_caps_read(&c);
    rc = vmx_feature_control(&c, &value);
    if (rc < 0 || (rc == 1 && msr_write_safe(MSR_IA32_FEATURE_CONTROL, value)))
        return -E_NOTSUP;
    write_cr0((read_cr0() | common->cr0_fixed0) & common->cr0_fixed1 & ~(CR0_EM | CR0_TS));
    /* OSFXSR, OSXSAVE: guests' FPU state is switched with FXSAVE or XSAVE. */
    cr4 = read_cr4() | common->cr4_fixed0 | CR4_VMXE | CR4_OSFXSR;
    if (x86_xcr0_allowed())
        cr4 |= CR4_OSXSAVE;
    write_cr4(cr4 & common->cr4_fixed1);
    memcpy(page, &revision, sizeof(revision));
    rc = vmx_on((uintptr_t)page);
    if (rc)
        return rc;
    if (core == 0) {
        vmx_prepare_snapshots();
        posts = vmx_posts();
        if (erratum_preemption_timer_is_off(cpuid(1, 0).eax))
            log_warn(
                "this CPU's VMX-preemption timer may count at a wrong rate (an Intel erratum): "
                "slices and timers of guests may end late");
    }
    if (common->ept_vpid & EPT_CAP_INVEPT_ALL)
        invept(INVEPT_ALL_CONTEXT, 0);
    if (common->ept_vpid & EPT_CAP_INVVPID_ALL)
        invvpid(INVVPID_ALL_CONTEXT, 0);
    return 0;
}

static void describe(struct abi_host *h)
{
    cpuid_brand(h->cpu_brand);
    h->cpu_signature = cpuid(1, 0).eax;
    h->cpu_faults = cpu_faults;
    h->state_kind = ABI_STATE_VMX;
    h->vmcs_revision = (uint32_t)(vmx_caps_common()->basic & VMX_BASIC_REVISION_MASK);
}

static bool set_nx_large(bool wanted)
{
    uint64_t caps = 0;
    uint32_t edx = cpuid(0, 0).eax >= 7 ? cpuid(7, 0).edx : 0;
    bool safe;

    if ((edx & CPUID_7_EDX_ARCH_CAPS) && msr_read_safe(MSR_IA32_ARCH_CAPABILITIES, &caps))
        caps = 0;
    safe = vmx_page_size_changes_are_safe(edx, caps);
    nx_large = wanted && !safe;
    if (!safe)
        log_info("IA32_ARCH_CAPABILITIES has no PSCHANGE_MC_NO: %s",
                 nx_large ? "large pages are split before a guest executes them"
                          : "nx_large is off, so a guest may cause machine checks");
    return nx_large;
}

static uint64_t split_size(uint64_t memory)
{
    return nx_large ? ept_split_size(memory) : 0;
}

static bool is_apic_page(const struct nested *t, const struct nested_mapping *m)
{
    const struct vmx_guest *b = (const struct vmx_guest *)t;

    return m->gpa == LAPIC_BASE && m->size == PAGE_SIZE && m->hpa == (uintptr_t)b->apic_page &&
           !(m->perm & NESTED_EXECUTE);
}

static int guest_init(struct guest *g)
{
    struct vmx_guest *b = guest_alloc_page(g);

    if (!b)
        return -E_NOMEM;
    if (ept_init(&b->ept, vmx_caps_common()->ept_vpid & EPT_CAP_PAGE_1G, x86_alloc_table, g))
        return -E_NOMEM;
    b->ept.tree.is_backends = is_apic_page;
    if (g->split_size)
        ept_reserve_splits(&b->ept, g->split_tables, g->config.memory);
    job_rest();
    g->backend = b;
    if (vmx_apicv_init_guest(g, posts))
        return -E_NOMEM;
    job_rest();
    msr_bitmap_make(vmx_msr_bitmap(g));
    job_rest();
    memset(vmx_io_bitmap(g, 0), 0xff, 2 * PAGE_SIZE);
    job_rest();
    return 0;
}

static void flush(struct vcpu *v)
{
    vmx_flush_ept(v->guest->backend);
}

static void prepare_split(struct guest *g, gpa_t gpa)
{
    struct vmx_guest *b = g->backend;

    ept_prepare_split(&b->ept, gpa);
}

static bool audit_split(const struct guest *g, gpa_t gpa)
{
    const struct vmx_guest *b = g->backend;

    return ept_split_is_good(&b->ept, gpa);
}

/* The guest keeps its pages from one start to the next. One per call. 0, -E_AGAIN (more steps), or
 * -E_NOMEM. */
static int make_backend(struct vcpu *v)
{
    struct vmx_vcpu *x = v->backend;

    if (!x) {
        v->backend = x = guest_alloc_page(v->guest);
        if (!x)
            return -E_NOMEM;
        x->vcpu = v;
        return -E_AGAIN;
    }
    if (!x->vmcs) {
        x->vmcs = guest_alloc_page(v->guest);
        return x->vmcs ? -E_AGAIN : -E_NOMEM;
    }
    if (!x->lazy.x86.area)
        x->lazy.x86.area = guest_alloc_page(v->guest);
    return x->lazy.x86.area ? 0 : -E_NOMEM;
}

static void reset_backend(struct vmx_vcpu *x)
{
    x->launched = false;
    x->host_rsp = 0;
    x->timer_shift = vmx_timer_shift(vmx_caps_common());
    vmx_lazy_reset(&x->lazy);
}

/* Discards what the region holds. */
static void clear_region(struct vmx_vcpu *x)
{
    uint32_t revision = (uint32_t)(vmx_caps_common()->basic & VMX_BASIC_REVISION_MASK);

    /* The CPU may still cache parts of it from the last life. */
    vmx_unload(x);
    memset(x->vmcs, 0, PAGE_SIZE);
    memcpy(x->vmcs, &revision, sizeof(revision));
    vmx_unload(x);
}

/* The parts of the vCPU, one per step: all together would take longer than slices may be late. */
enum make_step {
    MAKE_PAGES = 3,
    MAKE_BACKEND = MAKE_PAGES,
    MAKE_POLICIES,
    MAKE_REGION,
    MAKE_CONTROLS,
    MAKE_STATE,
    MADE
};

static int make_step(struct vmx_vcpu *x, const struct load_result *start, enum make_step step)
{
    const struct vmx_guest *b = x->vcpu->guest->backend;
    uint64_t may = vmx_caps_common()->cpu2;

    switch (step) {
    case MAKE_BACKEND:
        reset_backend(x);
        break;
    case MAKE_POLICIES:
        x86_reset_policies(x->vcpu, vmx_can_set(may, CPU2_ENABLE_INVPCID),
                           vmx_can_set(may, CPU2_ENABLE_RDTSCP));
        break;
    case MAKE_REGION:
        clear_region(x);
        break;
    case MAKE_CONTROLS:
        vmx_load(x);
        vmx_flush_ept(b);
        vmx_flush_tlb(x);
        return vmx_setup_controls(x);
    case MAKE_STATE:
        vmx_load(x);
        vmx_setup_state(x, start);
        break;
    default:
        break;
    }
    return 0;
}

static int vcpu_init(struct vcpu *v, const struct load_result *start, unsigned step)
{
    const struct vmx_guest *b = v->guest->backend;
    int rc;

    if (step < MAKE_PAGES) {
        rc = make_backend(v);
        /* A notification would wake it in HLT, and the root would not know. */
        v->waits = vmx_caps_common()->misc & VMX_MISC_ACTIVITY_HLT && !b->posts;
        return rc ? rc : -E_AGAIN;
    }
    rc = make_step(v->backend, start, (enum make_step)step);
    return rc == 0 && step + 1 < MADE ? -E_AGAIN : rc;
}

static void vcpu_free(struct vcpu *v)
{
    struct vmx_vcpu *x = v->backend;

    if (x->vmcs) /* otherwise it was only being made */
        vmx_unload(x);
}

static void shift_tsc(struct vcpu *v, uint64_t ticks)
{
    vmx_load(v->backend);
    vmwrite(VMCS_TSC_OFFSET, vmread(VMCS_TSC_OFFSET) - ticks);
}

static void where(struct vcpu *v, struct vcpu_place *out)
{
    vmx_load(v->backend);
    *out = (struct vcpu_place){
        .rip = vmread(VMCS_GUEST_RIP),
        .interrupts_off = !(vmread(VMCS_GUEST_RFLAGS) & RFLAGS_IF),
        .halted = vmread(VMCS_GUEST_ACTIVITY_STATE) == ACTIVITY_HLT,
    };
}

const struct virt_ops vmx_ops = {
    .root = "VMX root operation",
    .bitmaps_size = 3 * PAGE_SIZE,
    .present = present,
    .core_probe = vmx_caps_probe,
    .core_on = core_on,
    .describe = describe,
    .guest_init = guest_init,
    .guest_free = x86_guest_free,
    .map = x86_map,
    .unmap = x86_unmap,
    .flush = flush,
    .prepare = x86_prepare,
    .place = x86_place,
    .set_nx_large = set_nx_large,
    .split_size = split_size,
    .prepare_split = prepare_split,
    .audit_split = audit_split,
    .audit = x86_audit,
    .vcpu_init = vcpu_init,
    .vcpu_free = vcpu_free,
    .vcpu_reset = x86_vcpu_reset,
    .vcpu_start = x86_vcpu_start,
    .run = x86_run,
    .controls = vmx_change_controls,
    .where = where,
    .shift_tsc = shift_tsc,
    .probe_field = vmx_probe_field,
    .core_caps = vmx_caps_read,
    .read_state = vmx_read_state,
};

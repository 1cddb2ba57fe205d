/* struct virt_ops for AMD-V. */
#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/leaks.h"
#include "arch/x86/guest/start.h"
#include "arch/x86/guest/tree.h"
#include "arch/x86/guest/vcpu_state.h"
#include "arch/x86/svm/maps.h"
#include "arch/x86/virt.h"
#include "hv/arch.h"
#include "hv/exit.h"
#include "hv/job.h"
#include "hv/lib.h"

static bool present(void)
{
    struct svm_caps c;

    svm_caps_read(&c);
    return c.abi.present;
}

static void core_caps(struct abi_caps *out)
{
    struct svm_caps c;

    svm_caps_read(&c);
    *out = c.abi;
}

static void describe(struct abi_host *h)
{
    cpuid_brand(h->cpu_brand);
    h->cpu_signature = cpuid(1, 0).eax;
    h->cpu_faults = cpu_faults;
    h->state_kind = ABI_STATE_SVM;
}

/* AMD's CPUs do not have the fault that it is for. */
static bool set_nx_large(bool wanted)
{
    (void)wanted;
    return false;
}

static uint64_t split_size(uint64_t memory)
{
    (void)memory;
    return 0;
}

_Static_assert(MAPS_SIZE <= ABI_BITMAPS_SIZE, "the management guest sees all of them");

static int guest_init(struct guest *g)
{
    struct svm_guest *b = guest_alloc_page(g);

    if (!b || npt_init(&b->npt, svm_caps_common()->page_1g, x86_alloc_table, g))
        return -E_NOMEM;
    g->backend = b;
    job_rest();
    msrpm_make(g->bitmaps);
    job_rest();
    memset(g->bitmaps + MSRPM_SIZE, 0xff, IOPM_SIZE);
    job_rest();
    return 0;
}

/* The translations of a guest's vCPUs have ASIDs of their own. */
static void flush(struct vcpu *v)
{
    struct svm_vcpu *x = v->backend;

    if (x)
        svm_flush(x);
}

/* The guest keeps its pages from one start to the next. One per call. 0, -E_AGAIN (more steps), or
 * -E_NOMEM. */
static int make_backend(struct vcpu *v)
{
    struct svm_vcpu *x = v->backend;

    if (!x) {
        v->backend = x = guest_alloc_page(v->guest);
        if (!x)
            return -E_NOMEM;
        x->vcpu = v;
        return -E_AGAIN;
    }
    if (!x->vmcb) {
        x->vmcb = guest_alloc_page(v->guest);
        return x->vmcb ? -E_AGAIN : -E_NOMEM;
    }
    if (!x->lazy.area)
        x->lazy.area = guest_alloc_page(v->guest);
    return x->lazy.area ? 0 : -E_NOMEM;
}

static void reset_backend(struct svm_vcpu *x)
{
    x->nrips = svm_caps_common()->abi.svm_features & CPUID_SVM_NRIPS ? 1 : 0;
    x->handlers = x->nrips ? svm_exit_handlers : svm_decoding_handlers;
    svm_unload(x);
    x86_lazy_reset(&x->lazy);
    svm_flush(x);
}

/* The parts of the vCPU, one per step: all together would take longer than slices may be late. */
enum make_step {
    MAKE_PAGES = 3,
    MAKE_BACKEND = MAKE_PAGES,
    MAKE_POLICIES,
    MAKE_REGION,
    MAKE_STATE,
    MADE
};

static void make_step(struct svm_vcpu *x, const struct load_result *start, enum make_step step)
{
    switch (step) {
    case MAKE_BACKEND:
        reset_backend(x);
        break;
    case MAKE_POLICIES:
        x86_reset_policies(x->vcpu, true, true);
        break;
    case MAKE_REGION:
        memset(x->vmcb, 0, PAGE_SIZE);
        break;
    default:
        svm_load(x);
        svm_setup_controls(x);
        svm_setup_state(x, start);
        break;
    }
}

static int vcpu_init(struct vcpu *v, const struct load_result *start, unsigned step)
{
    int rc;

    if (step < MAKE_PAGES) {
        rc = make_backend(v);
        v->waits = true;
        return rc ? rc : -E_AGAIN;
    }
    make_step(v->backend, start, (enum make_step)step);
    return step + 1 < MADE ? -E_AGAIN : 0;
}

static void vcpu_free(struct vcpu *v)
{
    svm_unload(v->backend);
}

static void shift_tsc(struct vcpu *v, uint64_t ticks)
{
    svm_control(v)->tsc_offset -= ticks;
}

static void where(struct vcpu *v, struct vcpu_place *out)
{
    const struct vmcb_save *s = svm_save(v);

    *out = (struct vcpu_place){
        .rip = s->rip,
        .interrupts_off = !(s->rflags & RFLAGS_IF),
        .halted = svm_of(v)->halted,
    };
}

/* The VMCB's layout is the APM's: there is nothing to find. */
static int64_t probe_field(struct vcpu *v, uint64_t row)
{
    (void)v;
    (void)row;
    return -E_NOTSUP;
}

const struct virt_ops svm_ops = {
    .root = "SVM host mode",
    .bitmaps_size = MAPS_SIZE,
    .present = present,
    .core_probe = svm_core_probe,
    .core_on = svm_core_on,
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
    .audit = x86_audit,
    .vcpu_init = vcpu_init,
    .vcpu_free = vcpu_free,
    .vcpu_reset = x86_vcpu_reset,
    .vcpu_start = x86_vcpu_start,
    .run = x86_run,
    .controls = svm_change_controls,
    .where = where,
    .shift_tsc = shift_tsc,
    .probe_field = probe_field,
    .core_caps = core_caps,
    .read_state = svm_read_state,
};

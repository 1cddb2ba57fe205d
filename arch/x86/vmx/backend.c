/* struct virt_ops for VT-x. */
#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"
#include "hv/fmt.h"
#include "hv/lib.h"

#define MSR_BITMAP_READ_HIGH  1024u
#define MSR_BITMAP_WRITE_LOW  2048u
#define MSR_BITMAP_WRITE_HIGH 3072u
#define MSR_HIGH              0xc0000000u
#define FCW_RESET             0x037fu
#define MXCSR_RESET           0x1f80u
#define DR6_RESET             0xffff0ff0u

/* MSRs that the guest reads and writes itself: all of them are switched, in the VMCS or with the
 * lazy state. */
static const uint32_t own_msrs[] = {
    MSR_IA32_SYSENTER_CS, MSR_IA32_SYSENTER_ESP, MSR_IA32_SYSENTER_EIP, MSR_IA32_PAT,
    MSR_IA32_EFER,        MSR_IA32_STAR,         MSR_IA32_LSTAR,        MSR_IA32_CSTAR,
    MSR_IA32_FMASK,       MSR_IA32_FS_BASE,      MSR_IA32_GS_BASE,      MSR_IA32_KERNEL_GS_BASE,
    MSR_IA32_TSC_AUX,
};

static struct vmx_caps common;
static bool common_known;

const struct vmx_caps *vmx_caps_common(void)
{
    return &common;
}

static int core_probe(unsigned core, void (*report)(unsigned core, const char *text))
{
    struct vmx_caps c;
    int rc;

    vmx_caps_read(&c);
    rc = vmx_caps_check(&c, core, report);
    if (rc)
        return rc;
    if (core == 0 && !common_known) {
        common = c;
        common_known = true;
        return 0;
    }
    return vmx_caps_same(&common, &c, core, report) ? 0 : -E_NOTSUP;
}

static int core_on(unsigned core, void *page)
{
    uint32_t revision = (uint32_t)(common.basic & VMX_BASIC_REVISION_MASK);
    struct vmx_caps c;
    uint64_t value;
    int rc;

    (void)core;
    vmx_caps_read(&c);
    rc = vmx_feature_control(&c, &value);
    if (rc < 0 || (rc == 1 && msr_write_safe(MSR_IA32_FEATURE_CONTROL, value)))
        return -E_NOTSUP;
    write_cr0((read_cr0() | common.cr0_fixed0) & common.cr0_fixed1);
    /* OSFXSR: guests' FPU state is switched with FXSAVE. */
    write_cr4(((read_cr4() | common.cr4_fixed0 | CR4_VMXE | CR4_OSFXSR) & common.cr4_fixed1));
    memcpy(page, &revision, sizeof(revision));
    rc = vmx_on((uintptr_t)page);
    if (rc)
        return rc;
    if (common.ept_vpid & EPT_CAP_INVEPT_ALL)
        invept(INVEPT_ALL_CONTEXT, 0);
    if (common.ept_vpid & EPT_CAP_INVVPID_ALL)
        invvpid(INVVPID_ALL_CONTEXT, 0);
    return 0;
}

static void core_off(unsigned core)
{
    (void)core;
    vmx_off();
    write_cr4(read_cr4() & ~CR4_VMXE);
}

static void describe(struct abi_host *h)
{
    uint32_t brand[12];

    for (uint32_t i = 0; i < 3; i++) {
        struct cpuid_regs r = cpuid(0x80000002u + i, 0);

        memcpy(&brand[4 * i], &r, sizeof(r));
    }
    memcpy(h->cpu_brand, brand, sizeof(brand));
    h->cpu_brand[sizeof(brand)] = 0;
    h->cpu_signature = cpuid(1, 0).eax;
    h->vmcs_revision = (uint32_t)(common.basic & VMX_BASIC_REVISION_MASK);
}

static void *alloc_table(void *ctx)
{
    return guest_alloc_page(ctx);
}

static void allow_msr(uint8_t *bitmap, uint32_t msr)
{
    uint32_t high = msr >= MSR_HIGH ? MSR_BITMAP_READ_HIGH : 0, n = msr & 0x1fffu;
    uint8_t bit = (uint8_t)(1u << (n & 7));

    bitmap[high + n / 8] &= (uint8_t)~bit;
    bitmap[MSR_BITMAP_WRITE_LOW + high + n / 8] &= (uint8_t)~bit;
}

static int guest_init(struct guest *g)
{
    struct vmx_guest *b = guest_alloc_page(g);

    if (!b)
        return -E_NOMEM;
    b->msr_bitmap = guest_alloc_page(g);
    b->io_bitmap_a = guest_alloc_page(g);
    b->io_bitmap_b = guest_alloc_page(g);
    if (!b->msr_bitmap || !b->io_bitmap_a || !b->io_bitmap_b ||
        ept_init(&b->ept, common.ept_vpid & EPT_CAP_PAGE_1G, alloc_table, g))
        return -E_NOMEM;
    memset(b->msr_bitmap, 0xff, PAGE_SIZE);
    memset(b->io_bitmap_a, 0xff, PAGE_SIZE);
    memset(b->io_bitmap_b, 0xff, PAGE_SIZE);
    for (unsigned i = 0; i < ARRAY_LEN(own_msrs); i++)
        allow_msr(b->msr_bitmap, own_msrs[i]);
    g->backend = b;
    return 0;
}

static void guest_free(struct guest *g)
{
    g->backend = NULL;
}

static int map(struct guest *g, gpa_t gpa, hpa_t hpa, uint64_t size, enum map_perm perm)
{
    struct vmx_guest *b = g->backend;

    return ept_map(&b->ept, gpa, hpa, size, (unsigned)perm);
}

struct audit {
    const struct guest *guest;
    const struct mem_map *map;
    char *text;
    size_t size;
};

/* A page may lie in several ranges of the owner map: all of them count. */
static int audit_page(void *ctx, const struct ept_mapping *m)
{
    const struct audit *a = ctx;
    uint64_t at = m->hpa, end = m->hpa + m->size;

    while (at < end) {
        const struct mem_range *r = mem_find(a->map, hpa(at));
        bool own = r && r->kind == MEM_GUEST && r->guest == a->guest->number;
        bool shared = r && r->kind == MEM_SHARED && a->guest->management && m->perm == EPT_READ;

        if (!own && !shared) {
            (void)fmt(a->text, a->size, "0x%lx maps to host 0x%lx, which is not the guest's",
                      m->gpa, at);
            return -E_PERM;
        }
        at = r->base + r->size;
    }
    return 0;
}

static int audit(const struct guest *g, const struct mem_map *m, char *text, size_t text_size)
{
    struct audit a = {g, m, text, text_size};
    const struct vmx_guest *b = g->backend;

    return ept_walk(&b->ept, audit_page, &a);
}

static struct cpuid_regs host_cpuid(uint32_t leaf, uint32_t subleaf)
{
    return cpuid(leaf, subleaf);
}

static void reset_lazy(struct vmx_lazy *l)
{
    const uint16_t fcw = FCW_RESET;
    const uint32_t mxcsr = MXCSR_RESET;

    memset(l, 0, sizeof(*l));
    memcpy(l->fxsave, &fcw, sizeof(fcw));
    memcpy(l->fxsave + 24, &mxcsr, sizeof(mxcsr));
    l->dr6 = DR6_RESET;
}

static int vcpu_init(struct vcpu *v, const struct load_result *start)
{
    uint32_t revision = (uint32_t)(common.basic & VMX_BASIC_REVISION_MASK);
    struct vmx_guest *b = v->guest->backend;
    struct vmx_vcpu *x = v->backend;

    /* The pages stay with the guest from one start to the next. */
    if (!x) {
        x = guest_alloc_page(v->guest);
        if (!x)
            return -E_NOMEM;
        x->vmcs = guest_alloc_page(v->guest);
        if (!x->vmcs)
            return -E_NOMEM;
        v->backend = x;
    }
    x->vcpu = v;
    x->reinject = 0;
    reset_lazy(&x->lazy);
    cpuid_policy_make(&x->cpuid, host_cpuid, arch_tsc_hz());
    memset(x->vmcs, 0, PAGE_SIZE);
    memcpy(x->vmcs, &revision, sizeof(revision));
    x->launched = 0;
    if (vmclear((uintptr_t)x->vmcs))
        return -E_STATE;
    vmx_load(x);
    if (common.ept_vpid & EPT_CAP_INVEPT_SINGLE)
        invept(INVEPT_SINGLE_CONTEXT, ept_pointer(&b->ept));
    if (common.ept_vpid & EPT_CAP_INVVPID_SINGLE)
        invvpid(INVVPID_SINGLE_CONTEXT, (uint16_t)(v->guest->number + 1));
    return vmx_setup(x, start);
}

static void vcpu_free(struct vcpu *v)
{
    vmx_unload(v->backend);
}

static const struct virt_ops ops = {
    .name = "VT-x",
    .core_probe = core_probe,
    .core_on = core_on,
    .core_off = core_off,
    .describe = describe,
    .guest_init = guest_init,
    .guest_free = guest_free,
    .map = map,
    .audit = audit,
    .vcpu_init = vcpu_init,
    .vcpu_free = vcpu_free,
    .run = vmx_run,
    .snapshot = vmx_snapshot,
};

const struct virt_ops *virt_select(void (*report)(unsigned core, const char *text))
{
    struct vmx_caps c;

    vmx_caps_read(&c);
    if (!c.vmx) {
        (void)vmx_caps_check(&c, 0, report);
        return NULL;
    }
    return &ops;
}

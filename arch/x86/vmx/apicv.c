/*
 * A local APIC that the CPU itself works on: SDM 3C "APIC Virtualization and Virtual Interrupts".
 * Used if the CPU has all of it: TPR shadow, APIC-register virtualization, virtual-interrupt
 * delivery, x2APIC mode, APIC accesses. The registers are those of struct lapic, whose page is the
 * virtual-APIC page; RVI and SVI, and the vectors whose EOI exits, follow from IRR, ISR and TMR.
 */
#include "arch/x86/cpu/trap.h"
#include "arch/x86/guest/vcpu_state.h"
#include "hv/exit.h"
#include "hv/job.h"
#include "hv/lib.h"

#define CR8_EXITS               (CPU1_CR8_LOAD_EXITING | CPU1_CR8_STORE_EXITING)
#define CPU2_ALWAYS             (CPU2_APIC_REGISTER_VIRTUALIZATION | CPU2_VIRTUAL_INTERRUPT_DELIVERY)
#define CPU2_APICV              (CPU2_ALWAYS | CPU2_VIRTUALIZE_APIC_ACCESSES | CPU2_VIRTUALIZE_X2APIC_MODE)
#define EOI_BITMAPS             4u
#define X2APIC_REGISTER(offset) (MSR_IA32_X2APIC_BASE + (offset) / 16)

static bool cpu_has_it(void)
{
    const struct abi_caps *c = vmx_caps_common();

    return vmx_can_set(c->cpu1, CPU1_USE_TPR_SHADOW) && vmx_can_clear(c->cpu1, CR8_EXITS) &&
           vmx_can_set(c->cpu2, CPU2_APICV);
}

/* With exit profile `most` every access exits. With `least` HLT does not, and a virtual interrupt
 * would have to wake the vCPU in it: in Bochs it does not. */
int vmx_apicv_init_guest(struct guest *g, bool posts)
{
    static const uint16_t readable[] = {
        LAPIC_ID,        LAPIC_VERSION,     LAPIC_TPR,           LAPIC_PPR,
        LAPIC_LDR,       LAPIC_SVR,         LAPIC_ESR,           LAPIC_ICR,
        LAPIC_LVT_TIMER, LAPIC_LVT_THERMAL, LAPIC_LVT_PMC,       LAPIC_LVT_LINT0,
        LAPIC_LVT_LINT1, LAPIC_LVT_ERROR,   LAPIC_INITIAL_COUNT, LAPIC_DIVIDE};
    struct vmx_guest *b = g->backend;

    if (!(g->config.devices & DEV_APIC) || g->config.exit_profile != ABI_EXITS_DEFAULT ||
        !cpu_has_it())
        return 0;
    b->apic_page = guest_alloc_page(g);
    b->x2apic_bitmap = guest_alloc_page(g);
    if (!b->apic_page || !b->x2apic_bitmap)
        return -E_NOMEM;
    b->posts = posts && g->config.vcpus > 1;
    job_rest();
    msr_bitmap_make(b->x2apic_bitmap);
    job_rest();
    for (unsigned i = 0; i < ARRAY_LEN(readable); i++)
        msr_bitmap_allow(b->x2apic_bitmap, X2APIC_REGISTER(readable[i]), false);
    for (unsigned at = LAPIC_ISR; at < LAPIC_ESR; at += 16)
        msr_bitmap_allow(b->x2apic_bitmap, X2APIC_REGISTER(at), false);
    msr_bitmap_allow(b->x2apic_bitmap, X2APIC_REGISTER(LAPIC_TPR), true);
    msr_bitmap_allow(b->x2apic_bitmap, X2APIC_REGISTER(LAPIC_EOI), true);
    msr_bitmap_allow(b->x2apic_bitmap, X2APIC_REGISTER(LAPIC_SELF_IPI), true);
    return nested_map(&b->ept.tree, gpa(LAPIC_BASE), hpa((uintptr_t)b->apic_page), PAGE_SIZE,
                      NESTED_READ | NESTED_WRITE);
}

/* The secondary controls for the local APIC's state. While software has it disabled, every access
 * exits: the CPU would deliver interrupts all the same. */
static uint32_t mode_of(const struct lapic *l)
{
    uint32_t mode = lapic_takes(l) ? CPU2_ALWAYS : 0;

    if (lapic_is_mapped_at(l, LAPIC_BASE))
        return mode | CPU2_VIRTUALIZE_APIC_ACCESSES;
    return mode && lapic_is_x2apic(l) ? mode | CPU2_VIRTUALIZE_X2APIC_MODE : mode;
}

static void set_mode(struct vmx_vcpu *x, struct lapic *l, uint32_t mode)
{
    const struct vmx_guest *b = x->vcpu->guest->backend;
    uint64_t cpu2 = vmread(VMCS_SECONDARY_PROCESSOR_CONTROLS) & ~(uint64_t)CPU2_APICV;
    bool x2apic = mode & CPU2_VIRTUALIZE_X2APIC_MODE;

    x->apic_mode = mode;
    l->by_cpu = mode & CPU2_ALWAYS;
    if (b->posts) {
        uint64_t pin = vmread(VMCS_PIN_BASED_CONTROLS) & ~(uint64_t)PIN_POSTED_INTERRUPTS;

        vmwrite(VMCS_PIN_BASED_CONTROLS, pin | (l->by_cpu ? PIN_POSTED_INTERRUPTS : 0));
        __atomic_store_n(&l->posting, l->by_cpu, __ATOMIC_RELAXED);
    }
    x->cpu1 = (x->cpu1 & ~(CPU1_USE_TPR_SHADOW | CR8_EXITS)) |
              (l->by_cpu ? CPU1_USE_TPR_SHADOW : CR8_EXITS);
    vmwrite(VMCS_PRIMARY_PROCESSOR_CONTROLS, x->cpu1);
    vmwrite(VMCS_SECONDARY_PROCESSOR_CONTROLS, cpu2 | mode);
    vmwrite(VMCS_MSR_BITMAP,
            (uintptr_t)(x2apic ? b->x2apic_bitmap : vmx_msr_bitmap(x->vcpu->guest)));
    vmx_flush_tlb(x);
}

void vmx_apicv_init(struct vmx_vcpu *x)
{
    const struct vmx_guest *b = x->vcpu->guest->backend;
    struct lapic *l = irqchip_lapic(x->vcpu->platform, x->vcpu->number);
    uint64_t *wanted = x->vcpu->stats->wanted;

    if (!b->apic_page)
        return;
    vmwrite(VMCS_VIRTUAL_APIC_ADDRESS, (uintptr_t)l->regs);
    vmwrite(VMCS_APIC_ACCESS_ADDRESS, (uintptr_t)b->apic_page);
    vmwrite(VMCS_TPR_THRESHOLD, 0);
    vmwrite(VMCS_GUEST_INTERRUPT_STATUS, 0);
    wanted[ABI_CONTROL_CPU1] =
        (wanted[ABI_CONTROL_CPU1] & ~(uint64_t)CR8_EXITS) | CPU1_USE_TPR_SHADOW;
    wanted[ABI_CONTROL_CPU2] |= CPU2_ALWAYS | CPU2_VIRTUALIZE_APIC_ACCESSES;
    if (b->posts) {
        vmwrite(VMCS_POSTED_INTERRUPT_NOTIFICATION_VECTOR, VECTOR_NOTIFY);
        vmwrite(VMCS_POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, (uintptr_t)lapic_descriptor(l));
        vmwrite(VMCS_PRIMARY_VM_EXIT_CONTROLS,
                vmread(VMCS_PRIMARY_VM_EXIT_CONTROLS) | EXITC_ACK_INTERRUPT_ON_EXIT);
        wanted[ABI_CONTROL_PIN] |= PIN_POSTED_INTERRUPTS;
        wanted[ABI_CONTROL_EXIT] |= EXITC_ACK_INTERRUPT_ON_EXIT;
    }
    l->apicv = l->level_changed = true;
    set_mode(x, l, mode_of(l));
}

void vmx_apicv_sync(struct vmx_vcpu *x)
{
    struct lapic *l = irqchip_lapic(x->vcpu->platform, x->vcpu->number);
    int request = lapic_highest(l, LAPIC_IRR), service = lapic_highest(l, LAPIC_ISR);

    if (mode_of(l) != x->apic_mode)
        set_mode(x, l, mode_of(l));
    lapic_hand_over(l);
    if (!l->by_cpu)
        return;
    vmwrite(VMCS_GUEST_INTERRUPT_STATUS,
            (uint64_t)(request > 0 ? request : 0) | (uint64_t)(service > 0 ? service : 0) << 8);
    if (!l->level_changed)
        return;
    l->level_changed = false;
    for (unsigned i = 0; i < EOI_BITMAPS; i++)
        vmwrite(VMCS_EOI_EXIT_BITMAP_0 + 2 * i,
                lapic_reg(l, LAPIC_TMR + 32 * i) | (uint64_t)lapic_reg(l, LAPIC_TMR + 32 * i + 16)
                                                       << 32);
}

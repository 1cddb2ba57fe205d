/* Writes a whole VMCS: controls, host state, guest state. SDM 3C "Virtual Machine Control
 * Structures". */
#include "arch/x86/cpu/desc.h"
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/vcpu_state.h"
#include "arch/x86/vmx/exit_profile.h"
#include "arch/x86/guest/vcpu_state.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"

/* CR0 bits that the root keeps, and the only CR4 bits that it leaves to the guest: the others are
 * fixed, reach beyond the guest, or belong to features that CPUID hides; DE decides what the end of
 * an emulated IN or OUT looks for. */
#define CR0_OWNED (CR0_NE | CR0_NW | CR0_CD)
#define CR4_GUESTS                                                                                 \
    (CR4_VME | CR4_PVI | CR4_TSD | CR4_PSE | CR4_PAE | CR4_PGE | CR4_PCE | CR4_OSFXSR |            \
     CR4_OSXMMEXCPT | CR4_UMIP | CR4_FSGSBASE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)
#define EXCEPTIONS                                                                                 \
    ((1u << 1) | (1u << 17) | (1u << 18)) /* #DB, #AC: endless delivery loops; #MC: the host's */
#define REAL_LIMIT    0xffffu
/* A loop of PAUSEs no further apart than this exits after this long: ticks. SDM 3C "Controls for
 * PAUSE-Loop Exiting"; most locks are free again sooner. */
#define PLE_GAP       128u
#define PLE_WINDOW    4096u
/* Where INIT leaves CS and RIP. */
#define RESET_CS      0xf000u
#define RESET_CS_BASE 0xffff0000u
#define RESET_RIP     0xfff0u
#define FLAT_LIMIT    0xffffffffu

/* The bits that the hypervisor wants in each control word; a guest's exit profile changes some, and
 * the capability MSRs may force more. */
static const uint32_t wanted[ABI_CONTROLS] = {
    [ABI_CONTROL_PIN] =
        PIN_EXTERNAL_INTERRUPT_EXITING | PIN_NMI_EXITING | PIN_VIRTUAL_NMIS | PIN_PREEMPTION_TIMER,
    [ABI_CONTROL_CPU1] = CPU1_USE_TSC_OFFSETTING | CPU1_HLT_EXITING | CPU1_MWAIT_EXITING |
                         CPU1_MONITOR_EXITING | CPU1_RDPMC_EXITING | CPU1_CR8_LOAD_EXITING |
                         CPU1_CR8_STORE_EXITING | CPU1_USE_IO_BITMAPS | CPU1_USE_MSR_BITMAPS |
                         CPU1_ACTIVATE_SECONDARY_CONTROLS,
    [ABI_CONTROL_CPU2] = CPU2_ENABLE_EPT | CPU2_ENABLE_VPID | CPU2_UNRESTRICTED_GUEST |
                         CPU2_ENABLE_RDTSCP | CPU2_WBINVD_EXITING | CPU2_ENABLE_INVPCID |
                         CPU2_ENABLE_ENCLS_EXITING | CPU2_ENABLE_ENCLV_EXITING,
    [ABI_CONTROL_EXIT] = EXITC_HOST_ADDRESS_SPACE_SIZE | EXITC_SAVE_IA32_PAT | EXITC_LOAD_IA32_PAT |
                         EXITC_SAVE_IA32_EFER | EXITC_LOAD_IA32_EFER | EXITC_SAVE_DEBUG_CONTROLS,
    [ABI_CONTROL_ENTRY] = ENTRY_LOAD_IA32_PAT | ENTRY_LOAD_IA32_EFER | ENTRY_LOAD_DEBUG_CONTROLS,
};
/* The bits of it that are required. */
static const uint32_t required[ABI_CONTROLS] = {
    [ABI_CONTROL_PIN] = PIN_EXTERNAL_INTERRUPT_EXITING | PIN_NMI_EXITING | PIN_VIRTUAL_NMIS,
    [ABI_CONTROL_CPU1] = CPU1_HLT_EXITING | CPU1_CR8_LOAD_EXITING | CPU1_CR8_STORE_EXITING |
                         CPU1_ACTIVATE_SECONDARY_CONTROLS,
    [ABI_CONTROL_CPU2] = CPU2_ENABLE_EPT | CPU2_ENABLE_VPID | CPU2_UNRESTRICTED_GUEST,
    [ABI_CONTROL_EXIT] = EXITC_HOST_ADDRESS_SPACE_SIZE,
};
const uint16_t vmx_control_fields[ABI_CONTROLS] = {
    VMCS_PIN_BASED_CONTROLS,
    VMCS_PRIMARY_PROCESSOR_CONTROLS,
    VMCS_SECONDARY_PROCESSOR_CONTROLS,
    VMCS_PRIMARY_VM_EXIT_CONTROLS,
    VMCS_VM_ENTRY_CONTROLS,
};

/* Another vCPU of the guest waits while this one spins. */
static bool shares_core(const struct vcpu *v)
{
    FOR_EACH_VCPU (other, v->guest)
        if (other != v && other->entity.core == v->entity.core)
            return true;
    return false;
}

int vmx_setup_controls(struct vmx_vcpu *x)
{
    const struct vmx_caps *c = vmx_caps_common();
    const uint64_t caps[ABI_CONTROLS] = {c->pin, c->cpu1, c->cpu2, c->exit, c->entry};
    const struct vmx_guest *g = x->vcpu->guest->backend;
    const struct abi_controls p = exit_profile(x->vcpu->guest->config.exit_profile);
    uint32_t value[ABI_CONTROLS];
    uint32_t cpu2;

    for (unsigned i = 0; i < ABI_CONTROLS; i++) {
        uint32_t more = i == ABI_CONTROL_CPU2 && shares_core(x->vcpu) ? CPU2_PAUSE_LOOP_EXITING : 0;
        uint32_t want = ((wanted[i] | more) & ~p.mask[i]) | p.value[i];
        int rc = vmx_adjust(want, required[i] & (want | ~p.mask[i]), caps[i], &value[i]);

        if (rc)
            return rc;
        vmwrite(vmx_control_fields[i], value[i]);
        x->vcpu->stats->wanted[i] = want;
    }
    x->cpu1 = value[ABI_CONTROL_CPU1];
    vcpu_watch_ends(x->vcpu, false);
    cpu2 = value[ABI_CONTROL_CPU2];
    vmwrite(VMCS_EXCEPTION_BITMAP, EXCEPTIONS);
    vmwrite(VMCS_PAGE_FAULT_ERROR_CODE_MASK, 0);
    vmwrite(VMCS_PAGE_FAULT_ERROR_CODE_MATCH, 0);
    vmwrite(VMCS_CR3_TARGET_COUNT, 0);
    vmwrite(VMCS_VM_EXIT_MSR_STORE_COUNT, 0);
    vmwrite(VMCS_VM_EXIT_MSR_LOAD_COUNT, 0);
    vmwrite(VMCS_VM_ENTRY_MSR_LOAD_COUNT, 0);
    vmwrite(VMCS_VM_ENTRY_INTERRUPTION_INFO, 0);
    vmwrite(VMCS_IO_BITMAP_A, (uintptr_t)vmx_io_bitmap(x->vcpu->guest, 0));
    vmwrite(VMCS_IO_BITMAP_B, (uintptr_t)vmx_io_bitmap(x->vcpu->guest, 1));
    vmwrite(VMCS_MSR_BITMAP, (uintptr_t)vmx_msr_bitmap(x->vcpu->guest));
    vmwrite(VMCS_TSC_OFFSET, 0);
    vmwrite(VMCS_EPT_POINTER, ept_pointer(&g->ept));
    vmwrite(VMCS_VPID, vmx_vpid(x->vcpu));
    vmwrite(VMCS_CR0_GUEST_HOST_MASK, CR0_OWNED);
    vmwrite(VMCS_CR4_GUEST_HOST_MASK, ~CR4_GUESTS | c->cr4_fixed0);
    if (cpu2 & CPU2_PAUSE_LOOP_EXITING) {
        vmwrite(VMCS_PLE_GAP, PLE_GAP);
        vmwrite(VMCS_PLE_WINDOW, PLE_WINDOW);
    }
    if (cpu2 & CPU2_ENABLE_ENCLS_EXITING)
        vmwrite(VMCS_ENCLS_EXITING_BITMAP, UINT64_MAX);
    if (cpu2 & CPU2_ENABLE_ENCLV_EXITING)
        vmwrite(VMCS_ENCLV_EXITING_BITMAP, UINT64_MAX);
    vmx_apicv_init(x);
    return 0;
}

void vmx_write_host(void)
{
    struct cpu_desc d;

    cpu_desc_get(arch_core_self(), &d);
    vmwrite(VMCS_HOST_CR0, read_cr0());
    vmwrite(VMCS_HOST_CR3, read_cr3());
    vmwrite(VMCS_HOST_CR4, read_cr4());
    vmwrite(VMCS_HOST_CS_SELECTOR, d.cs);
    vmwrite(VMCS_HOST_SS_SELECTOR, d.ss);
    vmwrite(VMCS_HOST_DS_SELECTOR, d.ss);
    vmwrite(VMCS_HOST_ES_SELECTOR, d.ss);
    vmwrite(VMCS_HOST_FS_SELECTOR, 0);
    vmwrite(VMCS_HOST_GS_SELECTOR, 0);
    vmwrite(VMCS_HOST_TR_SELECTOR, d.tr);
    vmwrite(VMCS_HOST_FS_BASE, 0);
    vmwrite(VMCS_HOST_GS_BASE, d.gs_base);
    vmwrite(VMCS_HOST_TR_BASE, d.tss_base);
    vmwrite(VMCS_HOST_GDTR_BASE, d.gdt_base);
    vmwrite(VMCS_HOST_IDTR_BASE, d.idt_base);
    vmwrite(VMCS_HOST_IA32_SYSENTER_CS, 0);
    vmwrite(VMCS_HOST_IA32_SYSENTER_ESP, 0);
    vmwrite(VMCS_HOST_IA32_SYSENTER_EIP, 0);
    vmwrite(VMCS_HOST_IA32_PAT, rdmsr(MSR_IA32_PAT));
    vmwrite(VMCS_HOST_IA32_EFER, rdmsr(MSR_IA32_EFER));
    vmwrite(VMCS_HOST_RIP, (uintptr_t)vmx_exit_point);
}

static void write_segment(unsigned index, uint16_t selector, uint64_t base, uint32_t limit,
                          uint32_t rights)
{
    vmwrite(VMCS_GUEST_ES_SELECTOR + 2 * index, selector);
    vmwrite(VMCS_GUEST_ES_BASE + 2 * index, base);
    vmwrite(VMCS_GUEST_ES_LIMIT + 2 * index, limit);
    vmwrite(VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * index, rights);
}

enum { SEG_ES, SEG_CS, SEG_SS, SEG_DS, SEG_FS, SEG_GS, SEG_LDTR, SEG_TR };

static void write_segments(const struct load_result *s)
{
    bool real = s->mode == LOAD_REAL16;
    uint32_t limit = real ? REAL_LIMIT : FLAT_LIMIT;
    uint32_t size = real ? 0 : AR_DB | AR_G;

    for (unsigned i = SEG_ES; i <= SEG_GS; i++)
        write_segment(i, real ? 0 : s->ds, 0, limit, AR_DATA | AR_S | AR_P | size);
    write_segment(SEG_CS, real ? 0 : s->cs, 0, limit, AR_CODE | AR_S | AR_P | size);
    write_segment(SEG_LDTR, 0, 0, REAL_LIMIT, AR_LDT | AR_P);
    write_segment(SEG_TR, 0, 0, REAL_LIMIT, AR_TSS_BUSY | AR_P);
    vmwrite(VMCS_GUEST_GDTR_BASE, s->gdt_base);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, s->gdt_limit);
    vmwrite(VMCS_GUEST_IDTR_BASE, 0);
    vmwrite(VMCS_GUEST_IDTR_LIMIT, real ? 0x3ff : 0);
}

/* What INIT leaves alone. */
static void write_msrs(void)
{
    vmwrite(VMCS_GUEST_IA32_SYSENTER_CS, 0);
    vmwrite(VMCS_GUEST_IA32_SYSENTER_ESP, 0);
    vmwrite(VMCS_GUEST_IA32_SYSENTER_EIP, 0);
    vmwrite(VMCS_GUEST_IA32_DEBUGCTL, 0);
    vmwrite(VMCS_GUEST_IA32_PAT, PAT_RESET_VALUE);
}

static void write_guest(struct vmx_vcpu *x, const struct load_result *s)
{
    const struct vmx_caps *c = vmx_caps_common();
    bool real = s->mode == LOAD_REAL16;
    uint64_t cr0 = CR0_ET | (real ? 0 : CR0_PE);
    struct vcpu_gprs *r = &x->vcpu->regs;

    write_segments(s);
    /* Unrestricted guest exempts PE and PG from the bits that must be 1. CD and NW are only in the
     * shadow. */
    vmwrite(VMCS_GUEST_CR0, cr0 | (c->cr0_fixed0 & ~(CR0_PE | CR0_PG)));
    vmwrite(VMCS_CR0_READ_SHADOW, cr0);
    vmwrite(VMCS_GUEST_CR3, 0);
    /* Machine checks must exit and not shut the core down: CR4.MCE as in the root. */
    vmwrite(VMCS_GUEST_CR4, c->cr4_fixed0 | (read_cr4() & CR4_MCE));
    vmwrite(VMCS_CR4_READ_SHADOW, 0);
    vmwrite(VMCS_GUEST_DR7, DR7_RESET);
    vmwrite(VMCS_GUEST_RSP, s->rsp);
    vmwrite(VMCS_GUEST_RIP, s->rip);
    vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_FIXED);
    vmwrite(VMCS_GUEST_INTERRUPTIBILITY_STATE, 0);
    vmwrite(VMCS_GUEST_ACTIVITY_STATE, ACTIVITY_ACTIVE);
    vmwrite(VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS, 0);
    vmwrite(VMCS_GUEST_IA32_EFER, 0);
    vmwrite(VMCS_VMCS_LINK_POINTER, UINT64_MAX);
    *r = (struct vcpu_gprs){
        .rax = s->rax,
        .rbx = s->rbx,
        .rcx = s->rcx,
        .rdx = s->rdx,
        .rsi = s->rsi,
        .rdi = s->rdi,
        .rbp = s->rbp,
    };
}

/* SDM 3A "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT". FPU and vector
 * registers, XCR0, the TSC and all MSRs but EFER stay, and so do CR0.CD and NW. */
void vmx_reset_state(struct vmx_vcpu *x)
{
    static const struct load_result real = {.mode = LOAD_REAL16, .rip = RESET_RIP};
    uint64_t caches = vmread(VMCS_CR0_READ_SHADOW) & (CR0_CD | CR0_NW);
    struct vcpu *v = x->vcpu;

    vcpu_set_efer(v, 0);
    vcpu_set_windows(v, false, false);
    vmwrite(VMCS_VM_ENTRY_INTERRUPTION_INFO, 0);
    write_guest(x, &real);
    vcpu_show_cr0(v, CR0_ET | caches);
    write_segment(SEG_CS, RESET_CS, RESET_CS_BASE, REAL_LIMIT, AR_CODE | AR_S | AR_P);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, REAL_LIMIT);
    vmwrite(VMCS_GUEST_IDTR_LIMIT, REAL_LIMIT);
    for (unsigned n = 0; n < 4; n++)
        vcpu_set_dr(v, n, 0);
    vcpu_set_dr(v, 6, DR6_RESET);
    vcpu_set_cr2(v, 0);
    x86_init(v);
    vmx_flush_tlb(x);
}

void vmx_start_at(uint8_t vector)
{
    write_segment(SEG_CS, (uint16_t)(vector << 8), (uint64_t)vector << 12, REAL_LIMIT,
                  AR_CODE | AR_S | AR_P);
    vmwrite(VMCS_GUEST_RIP, 0);
}

void vmx_setup_state(struct vmx_vcpu *x, const struct load_result *start)
{
    vmx_write_host();
    write_msrs();
    if (x->vcpu->number == 0)
        write_guest(x, start);
    else
        vmx_reset_state(x);
}

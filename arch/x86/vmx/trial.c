/*
 * SDM 3C "Posted-Interrupt Processing". Bochs (2.8 to 3.0, and its sources of August 2026) has two
 * faults that no order of notifications can avoid: a notification that finds the descriptor empty
 * makes RVI 0xff; and once a posted interrupt waits in a guest that has interrupts off, the next
 * interrupt of the core is not taken, but the posted one is delivered, IF or not. So both are tried
 * here. The guest is a loop in the root's own address space, without an IDT.
 */
#include "arch/x86/vmx/trial.h"

#include "arch/x86/cpu/desc.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/cpu/trap.h"
#include "arch/x86/guest/vcpu_state.h"
#include "hv/hostmem.h"
#include "hv/lib.h"
#include "hv/log.h"

#define POSTED     0x30u
#define TRIES      10u
#define LOOPS      100000u /* long enough for an interrupt from the core to itself */
#define TSS_LIMIT  (sizeof(struct tss) - 1)
#define FLAT_LIMIT 0xffffffffu

/* The host's while the trial lasts. */
struct trial_pages {
    uint8_t vmcs[PAGE_SIZE];
    uint32_t apic[LAPIC_PAGE / 4];
    uint64_t unused[8]; /* so that the descriptor is not at the beginning of a page */
    struct lapic_descriptor descriptor;
};
static struct trial_pages *area;

/* False: the CPU cannot have these controls. */
static bool set_controls(void)
{
    const struct abi_caps *c = vmx_caps_common();
    const struct {
        uint32_t field, wanted;
        uint64_t caps;
    } words[] = {
        {VMCS_PIN_BASED_CONTROLS,
         PIN_EXTERNAL_INTERRUPT_EXITING | PIN_NMI_EXITING | PIN_POSTED_INTERRUPTS, c->pin},
        {VMCS_PRIMARY_PROCESSOR_CONTROLS, CPU1_USE_TPR_SHADOW | CPU1_ACTIVATE_SECONDARY_CONTROLS,
         c->cpu1},
        {VMCS_SECONDARY_PROCESSOR_CONTROLS, CPU2_VIRTUAL_INTERRUPT_DELIVERY, c->cpu2},
        {VMCS_PRIMARY_VM_EXIT_CONTROLS, EXITC_HOST_ADDRESS_SPACE_SIZE | EXITC_ACK_INTERRUPT_ON_EXIT,
         c->exit},
        {VMCS_VM_ENTRY_CONTROLS, ENTRY_IA32E_MODE_GUEST, c->entry},
    };
    uint32_t value;

    for (unsigned i = 0; i < ARRAY_LEN(words); i++) {
        if (vmx_adjust(words[i].wanted, words[i].wanted, words[i].caps, &value))
            return false;
        vmwrite(words[i].field, value);
    }
    return true;
}

static void set_state(void)
{
    static const uint32_t zero[] = {
        VMCS_EXCEPTION_BITMAP,
        VMCS_PAGE_FAULT_ERROR_CODE_MASK,
        VMCS_CR3_TARGET_COUNT,
        VMCS_PAGE_FAULT_ERROR_CODE_MATCH,
        VMCS_VM_EXIT_MSR_STORE_COUNT,
        VMCS_VM_EXIT_MSR_LOAD_COUNT,
        VMCS_VM_ENTRY_MSR_LOAD_COUNT,
        VMCS_VM_ENTRY_INTERRUPTION_INFO,
        VMCS_CR0_GUEST_HOST_MASK,
        VMCS_CR4_GUEST_HOST_MASK,
        VMCS_TPR_THRESHOLD,
        VMCS_EOI_EXIT_BITMAP_0,
        VMCS_EOI_EXIT_BITMAP_1,
        VMCS_EOI_EXIT_BITMAP_2,
        VMCS_EOI_EXIT_BITMAP_3,
        VMCS_GUEST_INTERRUPT_STATUS,
        VMCS_GUEST_IDTR_BASE,
        VMCS_GUEST_IDTR_LIMIT,
        VMCS_GUEST_RSP,
        VMCS_GUEST_INTERRUPTIBILITY_STATE,
        VMCS_GUEST_ACTIVITY_STATE,
        VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS,
        VMCS_GUEST_IA32_SYSENTER_CS,
        VMCS_GUEST_IA32_SYSENTER_ESP,
        VMCS_GUEST_IA32_SYSENTER_EIP,
        VMCS_GUEST_IA32_DEBUGCTL,
    };
    const struct segment data = {0, FLAT_LIMIT, AR_DATA | AR_S | AR_P | AR_DB | AR_G};
    const struct segment code = {0, FLAT_LIMIT, AR_CODE | AR_S | AR_P | AR_L | AR_G};
    const struct segment none = {0, 0, AR_UNUSABLE};
    struct cpu_desc d;

    cpu_desc_get(arch_core_self(), &d);
    vmx_write_host();
    for (unsigned i = 0; i < ARRAY_LEN(zero); i++)
        vmwrite(zero[i], 0);
    vmwrite(VMCS_VIRTUAL_APIC_ADDRESS, (uintptr_t)area->apic);
    vmwrite(VMCS_POSTED_INTERRUPT_NOTIFICATION_VECTOR, VECTOR_NOTIFY);
    vmwrite(VMCS_POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, (uintptr_t)&area->descriptor);
    for (unsigned i = SEGMENT_ES; i <= SEGMENT_DS; i++)
        vcpu_set_segment(NULL, (enum segment_id)i, d.ss, &data);
    for (unsigned i = SEGMENT_FS; i <= SEGMENT_LDTR; i++)
        vcpu_set_segment(NULL, (enum segment_id)i, 0, &none);
    vcpu_set_segment(NULL, SEGMENT_CS, d.cs, &code);
    vcpu_set_segment(NULL, SEGMENT_TR, d.tr,
                     &(struct segment){d.tss_base, TSS_LIMIT, AR_TSS_BUSY | AR_P});
    vmwrite(VMCS_GUEST_GDTR_BASE, d.gdt_base);
    vmwrite(VMCS_GUEST_GDTR_LIMIT, GDT_ENTRIES * 8 - 1);
    vmwrite(VMCS_GUEST_CR0, read_cr0());
    vmwrite(VMCS_GUEST_CR3, read_cr3());
    vmwrite(VMCS_GUEST_CR4, read_cr4());
    vmwrite(VMCS_GUEST_DR7, DR7_RESET);
    vmwrite(VMCS_GUEST_RFLAGS, RFLAGS_FIXED);
    vmwrite(VMCS_VMCS_LINK_POINTER, UINT64_MAX);
}

/* The guest counts, then exits by VMCALL. False: the entry has failed. */
static bool enter(bool again)
{
    uint32_t loops = LOOPS;
    bool entered = true;

    __asm__ volatile(
        "lea 2f(%%rip), %%rdx; vmwrite %%rdx, %[host_rip]\n\t"
        "lea 1f(%%rip), %%rdx; vmwrite %%rdx, %[guest_rip]\n\t"
        "vmwrite %%rsp, %[host_rsp]\n\t"
        "test %[again], %[again]; jnz 3f\n\t"
        "vmlaunch; jmp 4f\n\t"
        "3: vmresume\n\t"
        "4: movb $0, %[entered]; jmp 2f\n\t"
        "1: sti; cli\n\t"
        "5: dec %%ecx; jnz 5b; vmcall\n\t"
        "2:"
        : [entered] "+m"(entered), "+c"(loops)
        : [host_rip] "r"((uint64_t)VMCS_HOST_RIP), [guest_rip] "r"((uint64_t)VMCS_GUEST_RIP),
          [host_rsp] "r"((uint64_t)VMCS_HOST_RSP), [again] "r"(again)
        : "rdx", "cc", "memory");
    return entered;
}

/* What has ended it: an interrupt, whose vector this is, or one of these. */
enum { CALL = 256, FAULT };
static unsigned run(bool again)
{
    unsigned vector;

    if (!enter(again))
        return FAULT;
    if (vmread(VMCS_EXIT_REASON) != VMX_EXIT_EXTERNAL_INTERRUPT)
        return vmread(VMCS_EXIT_REASON) == VMX_EXIT_VMCALL ? CALL : FAULT;
    vector = vmread(VMCS_VM_EXIT_INTERRUPTION_INFO) & INTR_INFO_VECTOR_MASK;
    trap_interrupt(vector);
    return vector;
}

/* It ends like this, maybe after interrupts of devices. Then everything is taken from the
 * descriptor, and RVI is the posted vector. */
static bool ends_by(unsigned wanted, bool again)
{
    const struct lapic_descriptor *d = &area->descriptor;
    unsigned end = run(again);

    for (unsigned i = 0; i < TRIES && end != wanted && end < CALL; i++)
        end = run(true);
    return end == wanted && vmread(VMCS_GUEST_INTERRUPT_STATUS) == POSTED && d->control == 0 &&
           d->vectors[0] == 0 && area->apic[LAPIC_IRR / 4 + POSTED / 32 * 4] == 1u << POSTED % 32;
}

static bool try_it(void)
{
    if (!set_controls())
        return false;
    set_state();
    area->descriptor.vectors[0] = 1ull << POSTED;
    area->descriptor.control = LAPIC_ON;
    arch_notify(0);
    arch_kick(0);
    if (!ends_by(VECTOR_KICK, false))
        return false;
    area->descriptor.control = LAPIC_ON;
    arch_notify(0);
    return ends_by(CALL, true);
}

bool vmx_posts(void)
{
    const struct abi_caps *c = vmx_caps_common();
    uint32_t revision = (uint32_t)(c->basic & VMX_BASIC_REVISION_MASK);
    const size_t size = align_up(sizeof(*area), PAGE_SIZE);
    bool posts = false;

    if (!vmx_can_set(c->pin, PIN_POSTED_INTERRUPTS) ||
        !vmx_can_set(c->exit, EXITC_ACK_INTERRUPT_ON_EXIT))
        return false;
    area = hostmem_alloc_zeroed(size, MEM_HOST);
    if (!area)
        return false;
    memcpy(area->vmcs, &revision, sizeof(revision));
    if (!vmclear((uintptr_t)area->vmcs) && !vmptrld((uintptr_t)area->vmcs)) {
        posts = try_it();
        if (vmclear((uintptr_t)area->vmcs))
            panic("VMCLEAR of a trial's VMCS failed");
        arch_irq_window(); /* what the guest has left */
    }
    hostmem_free(area, size);
    log_info("posted interrupts: %s",
             posts ? "used between the vCPUs of a guest"
                   : "not used, because in a trial this CPU did not process them as the SDM says");
    return posts;
}

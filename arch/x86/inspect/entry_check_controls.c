/* SDM 3C "VM Entries", section "Checks on VMX Controls". */
#include "arch/x86/inspect/entry_check_impl.h"
#include "arch/x86/vmx/vmx.h"

#define PAGE_OFFSET             0xfffull
#define POSTED_DESCRIPTOR_ALIGN 0x3full
#define HLAT_RESERVED           0xfe7ull /* all but PWT and PCD */
#define VECTOR_RESERVED         0xff00ull
#define TPR_THRESHOLD_RESERVED  0xfffffff0ull
#define MSR_ENTRY_SIZE          16u

#define EPTP_MEMORY_TYPE_MASK   7ull
#define EPTP_MEMORY_TYPE_UC     0ull
#define EPTP_MEMORY_TYPE_WB     6ull
#define EPTP_WALK_LENGTH_MASK   (7ull << 3)
#define EPTP_WALK_4             (3ull << 3)
#define EPTP_WALK_5             (4ull << 3)
#define EPTP_ACCESSED_DIRTY     (1ull << 6)
#define EPTP_SHADOW_STACK       (1ull << 7)
#define EPTP_RESERVED           0xf00ull

static const struct entry_implication implications[] = {
    {ENTRY_RULE_VIRTUAL_NMIS, WORD_PIN, WORD_PIN, true, PIN_VIRTUAL_NMIS, PIN_NMI_EXITING},
    {ENTRY_RULE_NMI_WINDOW, WORD_CPU1, WORD_PIN, true, CPU1_NMI_WINDOW_EXITING, PIN_VIRTUAL_NMIS},
    {ENTRY_RULE_TPR_X2APIC, WORD_CPU2, WORD_CPU1, true, CPU2_VIRTUALIZE_X2APIC_MODE,
     CPU1_USE_TPR_SHADOW},
    {ENTRY_RULE_TPR_REGISTERS, WORD_CPU2, WORD_CPU1, true, CPU2_APIC_REGISTER_VIRTUALIZATION,
     CPU1_USE_TPR_SHADOW},
    {ENTRY_RULE_TPR_DELIVERY, WORD_CPU2, WORD_CPU1, true, CPU2_VIRTUAL_INTERRUPT_DELIVERY,
     CPU1_USE_TPR_SHADOW},
    {ENTRY_RULE_TPR_IPI, WORD_CPU3, WORD_CPU1, true, CPU3_IPI_VIRTUALIZATION, CPU1_USE_TPR_SHADOW},
    {ENTRY_RULE_X2APIC_ACCESSES, WORD_CPU2, WORD_CPU2, false, CPU2_VIRTUALIZE_X2APIC_MODE,
     CPU2_VIRTUALIZE_APIC_ACCESSES},
    {ENTRY_RULE_DELIVERY_EXITING, WORD_CPU2, WORD_PIN, true, CPU2_VIRTUAL_INTERRUPT_DELIVERY,
     PIN_EXTERNAL_INTERRUPT_EXITING},
    {ENTRY_RULE_POSTED_DELIVERY, WORD_PIN, WORD_CPU2, true, PIN_POSTED_INTERRUPTS,
     CPU2_VIRTUAL_INTERRUPT_DELIVERY},
    {ENTRY_RULE_POSTED_ACK, WORD_PIN, WORD_EXIT, true, PIN_POSTED_INTERRUPTS,
     EXITC_ACK_INTERRUPT_ON_EXIT},
    {ENTRY_RULE_UNRESTRICTED_EPT, WORD_CPU2, WORD_CPU2, true, CPU2_UNRESTRICTED_GUEST,
     CPU2_ENABLE_EPT},
    {ENTRY_RULE_MODE_EXECUTE_EPT, WORD_CPU2, WORD_CPU2, true, CPU2_MODE_BASED_EXECUTE_CONTROL,
     CPU2_ENABLE_EPT},
    {ENTRY_RULE_PML_EPT, WORD_CPU2, WORD_CPU2, true, CPU2_ENABLE_PML, CPU2_ENABLE_EPT},
    {ENTRY_RULE_SPP_EPT, WORD_CPU2, WORD_CPU2, true, CPU2_SUB_PAGE_WRITE_PERMISSIONS,
     CPU2_ENABLE_EPT},
    {ENTRY_RULE_EPTP_SWITCHING_EPT, WORD_VMFUNC, WORD_CPU2, true, VMFUNC_EPTP_SWITCHING,
     CPU2_ENABLE_EPT},
    {ENTRY_RULE_PT_EPT, WORD_CPU2, WORD_CPU2, true, CPU2_PT_USES_GUEST_PHYSICAL, CPU2_ENABLE_EPT},
    {ENTRY_RULE_PT_LOAD, WORD_CPU2, WORD_ENTRY, true, CPU2_PT_USES_GUEST_PHYSICAL,
     ENTRY_LOAD_IA32_RTIT_CTL},
    {ENTRY_RULE_PT_CLEAR, WORD_CPU2, WORD_EXIT, true, CPU2_PT_USES_GUEST_PHYSICAL,
     EXITC_CLEAR_IA32_RTIT_CTL},
    {ENTRY_RULE_HLAT_EPT, WORD_CPU3, WORD_CPU2, true, CPU3_ENABLE_HLAT, CPU2_ENABLE_EPT},
    {ENTRY_RULE_PAGING_WRITE_EPT, WORD_CPU3, WORD_CPU2, true, CPU3_EPT_PAGING_WRITE,
     CPU2_ENABLE_EPT},
    {ENTRY_RULE_VERIFICATION_EPT, WORD_CPU3, WORD_CPU2, true, CPU3_GUEST_PAGING_VERIFICATION,
     CPU2_ENABLE_EPT},
    {ENTRY_RULE_SAVE_TIMER, WORD_EXIT, WORD_PIN, true, EXITC_SAVE_PREEMPTION_TIMER,
     PIN_PREEMPTION_TIMER},
    {ENTRY_RULE_ENTRY_SMM_BOTH, WORD_ENTRY, WORD_ENTRY, false, ENTRY_TO_SMM,
     ENTRY_DEACTIVATE_DUAL_MONITOR},
};

#define ADDRESS(rule, row, word, gate, mask)                                                       \
    {                                                                                              \
        ENTRY_RULE_##rule, VMCS_ROW_##row, WORD_##word, KIND_ADDRESS, gate, mask                   \
    }
#define PAGE(rule, row, word, gate) ADDRESS(rule, row, word, gate, PAGE_OFFSET)

static const struct entry_row_check rows[] = {
    PAGE(IO_BITMAP, IO_BITMAP_A, CPU1, CPU1_USE_IO_BITMAPS),
    PAGE(IO_BITMAP, IO_BITMAP_B, CPU1, CPU1_USE_IO_BITMAPS),
    PAGE(MSR_BITMAP, MSR_BITMAP, CPU1, CPU1_USE_MSR_BITMAPS),
    PAGE(VIRTUAL_APIC, VIRTUAL_APIC_ADDRESS, CPU1, CPU1_USE_TPR_SHADOW),
    PAGE(APIC_ACCESS, APIC_ACCESS_ADDRESS, CPU2, CPU2_VIRTUALIZE_APIC_ACCESSES),
    {ENTRY_RULE_POSTED_VECTOR, VMCS_ROW_POSTED_INTERRUPT_NOTIFICATION_VECTOR, WORD_PIN, KIND_ZERO,
     PIN_POSTED_INTERRUPTS, VECTOR_RESERVED},
    ADDRESS(POSTED_ADDRESS, POSTED_INTERRUPT_DESCRIPTOR_ADDRESS, PIN, PIN_POSTED_INTERRUPTS,
            POSTED_DESCRIPTOR_ALIGN),
    {ENTRY_RULE_VPID, VMCS_ROW_VPID, WORD_CPU2, KIND_NONZERO, CPU2_ENABLE_VPID, 0},
    PAGE(PML_ADDRESS, PML_ADDRESS, CPU2, CPU2_ENABLE_PML),
    PAGE(SPP_ADDRESS, SUB_PAGE_PERMISSION_TABLE_POINTER, CPU2, CPU2_SUB_PAGE_WRITE_PERMISSIONS),
    PAGE(EPTP_LIST, EPTP_LIST_ADDRESS, VMFUNC, VMFUNC_EPTP_SWITCHING),
    PAGE(SHADOW_BITMAP, VMREAD_BITMAP_ADDRESS, CPU2, CPU2_VMCS_SHADOWING),
    PAGE(SHADOW_BITMAP, VMWRITE_BITMAP_ADDRESS, CPU2, CPU2_VMCS_SHADOWING),
    PAGE(VE_ADDRESS, VIRTUALIZATION_EXCEPTION_INFO_ADDRESS, CPU2, CPU2_EPT_VIOLATION_VE),
    {ENTRY_RULE_TSC_MULTIPLIER, VMCS_ROW_TSC_MULTIPLIER, WORD_CPU2, KIND_NONZERO,
     CPU2_USE_TSC_SCALING, 0},
    PAGE(PASID, LOW_PASID_DIRECTORY_ADDRESS, CPU2, CPU2_PASID_TRANSLATION),
    PAGE(PASID, HIGH_PASID_DIRECTORY_ADDRESS, CPU2, CPU2_PASID_TRANSLATION),
    ADDRESS(HLAT_ADDRESS, HLAT_POINTER, CPU3, CPU3_ENABLE_HLAT, HLAT_RESERVED),
    ADDRESS(PID_TABLE, PID_POINTER_TABLE_ADDRESS, CPU3, CPU3_IPI_VIRTUALIZATION, 7),
};

static void check_word(struct entry_ctx *c, enum entry_word word, unsigned row, uint64_t cap,
                       enum entry_rule_id ones, enum entry_rule_id zeros)
{
    entry_ones(c, (uint32_t)cap & ~c->word[word], ones, row);
    entry_zeros(c, (uint32_t)c->word[word] & ~(cap >> 32), zeros, row);
}

static void check_words(struct entry_ctx *c)
{
    const struct abi_caps *k = c->caps;

    check_word(c, WORD_PIN, VMCS_ROW_PIN_BASED_CONTROLS, k->pin, ENTRY_RULE_PIN_1,
               ENTRY_RULE_PIN_0);
    check_word(c, WORD_CPU1, VMCS_ROW_PRIMARY_PROCESSOR_CONTROLS, k->cpu1, ENTRY_RULE_CPU1_1,
               ENTRY_RULE_CPU1_0);
    if (entry_on(c, WORD_CPU1, CPU1_ACTIVATE_SECONDARY_CONTROLS))
        check_word(c, WORD_CPU2, VMCS_ROW_SECONDARY_PROCESSOR_CONTROLS, k->cpu2, ENTRY_RULE_CPU2_1,
                   ENTRY_RULE_CPU2_0);
    check_word(c, WORD_EXIT, VMCS_ROW_PRIMARY_VM_EXIT_CONTROLS, k->exit, ENTRY_RULE_EXIT_1,
               ENTRY_RULE_EXIT_0);
    check_word(c, WORD_ENTRY, VMCS_ROW_VM_ENTRY_CONTROLS, k->entry, ENTRY_RULE_ENTRY_1,
               ENTRY_RULE_ENTRY_0);
    /* These three words are 0 when they are not active; they have no bits that must be 1. */
    entry_zeros(c, c->word[WORD_CPU3] & ~k->cpu3, ENTRY_RULE_CPU3_0,
                VMCS_ROW_TERTIARY_PROCESSOR_CONTROLS);
    entry_zeros(c, c->word[WORD_EXIT2] & ~k->exit2, ENTRY_RULE_EXIT2_0,
                VMCS_ROW_SECONDARY_VM_EXIT_CONTROLS);
    entry_zeros(c, c->word[WORD_VMFUNC] & ~k->vmfunc, ENTRY_RULE_VMFUNC_RESERVED,
                VMCS_ROW_VM_FUNCTION_CONTROLS);
}

static void check_tpr(struct entry_ctx *c)
{
    uint64_t threshold = entry_get(c, VMCS_ROW_TPR_THRESHOLD);

    if (!entry_on(c, WORD_CPU1, CPU1_USE_TPR_SHADOW) ||
        entry_on(c, WORD_CPU2, CPU2_VIRTUAL_INTERRUPT_DELIVERY))
        return;
    entry_zeros(c, threshold & TPR_THRESHOLD_RESERVED, ENTRY_RULE_TPR_THRESHOLD,
                VMCS_ROW_TPR_THRESHOLD);
    if (c->cpu->vtpr_known && !entry_on(c, WORD_CPU2, CPU2_VIRTUALIZE_APIC_ACCESSES))
        entry_require(c, (threshold & 0xf) <= c->cpu->vtpr >> 4, ENTRY_RULE_TPR_VTPR,
                      VMCS_ROW_TPR_THRESHOLD);
}

/* SDM 3C "Extended-Page-Table Pointer (EPTP)". */
static void check_eptp(struct entry_ctx *c)
{
    static const unsigned row = VMCS_ROW_EPT_POINTER;
    uint64_t eptp = entry_get(c, row), cap = c->caps->ept_vpid;
    uint64_t type = eptp & EPTP_MEMORY_TYPE_MASK;
    uint64_t walk = eptp & EPTP_WALK_LENGTH_MASK;

    if (!entry_on(c, WORD_CPU2, CPU2_ENABLE_EPT))
        return;
    entry_require(c,
                  (type == EPTP_MEMORY_TYPE_UC && cap & EPT_CAP_MEMORY_TYPE_UC) ||
                      (type == EPTP_MEMORY_TYPE_WB && cap & EPT_CAP_MEMORY_TYPE_WB),
                  ENTRY_RULE_EPTP_TYPE, row);
    entry_require(c,
                  (walk == EPTP_WALK_4 && cap & EPT_CAP_WALK_4) ||
                      (walk == EPTP_WALK_5 && cap & EPT_CAP_WALK_5),
                  ENTRY_RULE_EPTP_WALK, row);
    if (!(cap & EPT_CAP_ACCESSED_DIRTY))
        entry_zeros(c, eptp & EPTP_ACCESSED_DIRTY, ENTRY_RULE_EPTP_AD, row);
    if (!(cap & EPT_CAP_SHADOW_STACK))
        entry_zeros(c, eptp & EPTP_SHADOW_STACK, ENTRY_RULE_EPTP_SSS, row);
    entry_zeros(c, eptp & (EPTP_RESERVED | entry_beyond(c->cpu->physical_bits)),
                ENTRY_RULE_EPTP_RESERVED, row);
}

static void check_pid_table(struct entry_ctx *c)
{
    uint64_t table = entry_get(c, VMCS_ROW_PID_POINTER_TABLE_ADDRESS);
    uint64_t last = table + 8 * entry_get(c, VMCS_ROW_LAST_PID_POINTER_INDEX);
    uint64_t beyond = entry_beyond(entry_address_bits(c));

    if (entry_on(c, WORD_CPU3, CPU3_IPI_VIRTUALIZATION) && !(table & beyond))
        entry_require(c, !(last & beyond), ENTRY_RULE_PID_TABLE_END,
                      VMCS_ROW_PID_POINTER_TABLE_ADDRESS);
}

static void check_msr_area(struct entry_ctx *c, unsigned count_row, unsigned row,
                           enum entry_rule_id address_rule, enum entry_rule_id end_rule)
{
    uint64_t count = entry_get(c, count_row), address = entry_get(c, row);
    uint64_t beyond = entry_beyond(entry_address_bits(c));

    if (!count)
        return;
    entry_zeros(c, address & (beyond | (MSR_ENTRY_SIZE - 1)), address_rule, row);
    if (!(address & beyond))
        entry_require(c, !((address + count * MSR_ENTRY_SIZE - 1) & beyond), end_rule, row);
}

void entry_check_controls(struct entry_ctx *c)
{
    uint64_t entry = c->word[WORD_ENTRY];

    check_words(c);
    entry_implications(c, implications, ARRAY_LEN(implications));
    entry_rows(c, rows, ARRAY_LEN(rows));
    entry_require(c, entry_get(c, VMCS_ROW_CR3_TARGET_COUNT) <= vmx_cr3_targets(c->caps),
                  ENTRY_RULE_CR3_TARGETS, VMCS_ROW_CR3_TARGET_COUNT);
    check_tpr(c);
    check_eptp(c);
    check_pid_table(c);
    if (c->cpu->tracing)
        entry_zeros(c, entry & ENTRY_LOAD_IA32_RTIT_CTL, ENTRY_RULE_PT_ENABLED,
                    VMCS_ROW_VM_ENTRY_CONTROLS);
    check_msr_area(c, VMCS_ROW_VM_EXIT_MSR_STORE_COUNT, VMCS_ROW_VM_EXIT_MSR_STORE_ADDRESS,
                   ENTRY_RULE_EXIT_STORE, ENTRY_RULE_EXIT_STORE_END);
    check_msr_area(c, VMCS_ROW_VM_EXIT_MSR_LOAD_COUNT, VMCS_ROW_VM_EXIT_MSR_LOAD_ADDRESS,
                   ENTRY_RULE_EXIT_LOAD, ENTRY_RULE_EXIT_LOAD_END);
    check_msr_area(c, VMCS_ROW_VM_ENTRY_MSR_LOAD_COUNT, VMCS_ROW_VM_ENTRY_MSR_LOAD_ADDRESS,
                   ENTRY_RULE_ENTRY_LOAD, ENTRY_RULE_ENTRY_LOAD_END);
    if (!c->cpu->smm) {
        entry_zeros(c, entry & ENTRY_TO_SMM, ENTRY_RULE_ENTRY_SMM, VMCS_ROW_VM_ENTRY_CONTROLS);
        entry_zeros(c, entry & ENTRY_DEACTIVATE_DUAL_MONITOR, ENTRY_RULE_ENTRY_DUAL_MONITOR,
                    VMCS_ROW_VM_ENTRY_CONTROLS);
    }
}

/* SDM 3C "VM Entries", section "VM-Entry Control Fields": the event to inject. */
#include "arch/x86/cpu/regs.h"
#include "arch/x86/inspect/entry_check_impl.h"
#include "arch/x86/vmx/vmx.h"

#define TYPE_RESERVED          (1u << 8)
#define VECTOR_NMI             2u
#define VECTOR_EXCEPTION_MAX   31u
#define VECTOR_SYSENTER        2u /* the last "other event" of FRED */
#define INSTRUCTION_LENGTH_MAX 15u
#define INFO_RESERVED          0x7ffff000u
#define ERROR_CODE_RESERVED    0xffff0000u
/* #DF, #TS, #NP, #SS, #GP, #PF, #AC */
#define EXCEPTIONS_WITH_ERROR  ((1u << 8) | (0x1fu << 10) | (1u << 17))
#define ROW                    VMCS_ROW_VM_ENTRY_INTERRUPTION_INFO

static bool has_fred(const struct entry_ctx *c)
{
    return vmx_can_set(c->caps->entry, ENTRY_LOAD_IA32_FRED);
}

static bool type_valid(const struct entry_ctx *c, uint32_t type)
{
    if (type == INTR_INFO_OTHER_EVENT)
        return vmx_can_set(c->caps->cpu1, CPU1_MONITOR_TRAP_FLAG) || has_fred(c);
    return type != TYPE_RESERVED;
}

static bool vector_valid(const struct entry_ctx *c, uint32_t type, uint32_t vector)
{
    switch (type) {
    case INTR_INFO_NMI:
        return vector == VECTOR_NMI;
    case INTR_INFO_HARD_EXCEPTION:
        return vector <= VECTOR_EXCEPTION_MAX;
    case INTR_INFO_OTHER_EVENT:
        return vector <= (has_fred(c) ? VECTOR_SYSENTER : 0);
    default:
        return true;
    }
}

/* True for events of an instruction, which has a length. */
static bool has_length(uint32_t type, uint32_t vector)
{
    switch (type) {
    case INTR_INFO_SOFT_INTERRUPT:
    case INTR_INFO_PRIVILEGED_SOFT:
    case INTR_INFO_SOFT_EXCEPTION:
        return true;
    case INTR_INFO_OTHER_EVENT:
        return vector != 0;
    default:
        return false;
    }
}

static void check_error_code(struct entry_ctx *c, uint32_t type, uint32_t vector)
{
    bool delivers = c->injection & INTR_INFO_ERROR_CODE;
    bool real = entry_on(c, WORD_CPU2, CPU2_UNRESTRICTED_GUEST) &&
                !(entry_get(c, VMCS_ROW_GUEST_CR0) & CR0_PE);
    bool may = type == INTR_INFO_HARD_EXCEPTION && !real;
    bool must = may && vector <= VECTOR_EXCEPTION_MAX && EXCEPTIONS_WITH_ERROR >> vector & 1;

    if (c->caps->basic & VMX_BASIC_ANY_ERROR_CODE)
        must = false;
    else
        may = must;
    if (delivers && !may)
        entry_zeros(c, INTR_INFO_ERROR_CODE, ENTRY_RULE_INJECT_NO_ERROR, ROW);
    if (!delivers && must)
        entry_ones(c, INTR_INFO_ERROR_CODE, ENTRY_RULE_INJECT_ERROR, ROW);
    if (delivers)
        entry_zeros(c, entry_get(c, VMCS_ROW_VM_ENTRY_EXCEPTION_ERROR_CODE) & ERROR_CODE_RESERVED,
                    ENTRY_RULE_INJECT_ERROR_RESERVED, VMCS_ROW_VM_ENTRY_EXCEPTION_ERROR_CODE);
}

void entry_check_injection(struct entry_ctx *c)
{
    uint32_t info = c->injection;
    uint32_t type = info & INTR_INFO_TYPE_MASK, vector = info & INTR_INFO_VECTOR_MASK;
    uint32_t reserved = INFO_RESERVED;
    uint64_t length = entry_get(c, VMCS_ROW_VM_ENTRY_INSTRUCTION_LENGTH);

    if (!info)
        return;
    if (c->caps->basic & VMX_BASIC_NESTED_EXCEPTION && type == INTR_INFO_HARD_EXCEPTION)
        reserved &= ~INTR_INFO_NESTED;
    entry_zeros(c, info & reserved, ENTRY_RULE_INJECT_RESERVED, ROW);
    entry_require(c, type_valid(c, type), ENTRY_RULE_INJECT_TYPE, ROW);
    entry_require(c, vector_valid(c, type, vector), ENTRY_RULE_INJECT_VECTOR, ROW);
    check_error_code(c, type, vector);
    if (has_length(type, vector))
        entry_require(c,
                      length <= INSTRUCTION_LENGTH_MAX &&
                          (length || c->caps->misc & VMX_MISC_INSTRUCTION_LENGTH_0),
                      ENTRY_RULE_INJECT_LENGTH, VMCS_ROW_VM_ENTRY_INSTRUCTION_LENGTH);
}

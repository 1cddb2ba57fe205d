#include "arch/x86/inspect/decode.h"

#include "arch/x86/inspect/decode_format.h"
#include "arch/x86/inspect/fields.h"
#include "arch/x86/inspect/names.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/fmt.h"
#include "hv/lib.h"

/* Exits and injected events: SDM 3C "Information for VM Exits Due to Vectored Events", "VM-Entry
 * Controls for Event Injection", "Basic VM-Exit Information". */

static const struct {
    const char *mnemonic, *name;
} exceptions[32] = {
    [0] = {"#DE", "#DE divide error"},
    [1] = {"#DB", "#DB debug exception"},
    [2] = {"NMI", "NMI interrupt"},
    [3] = {"#BP", "#BP breakpoint"},
    [4] = {"#OF", "#OF overflow"},
    [5] = {"#BR", "#BR BOUND range exceeded"},
    [6] = {"#UD", "#UD invalid opcode"},
    [7] = {"#NM", "#NM device not available"},
    [8] = {"#DF", "#DF double fault"},
    [9] = {"", "coprocessor segment overrun"},
    [10] = {"#TS", "#TS invalid TSS"},
    [11] = {"#NP", "#NP segment not present"},
    [12] = {"#SS", "#SS stack-segment fault"},
    [13] = {"#GP", "#GP general protection"},
    [14] = {"#PF", "#PF page fault"},
    [16] = {"#MF", "#MF x87 FPU floating-point error"},
    [17] = {"#AC", "#AC alignment check"},
    [18] = {"#MC", "#MC machine check"},
    [19] = {"#XM", "#XM SIMD floating-point exception"},
    [20] = {"#VE", "#VE virtualization exception"},
    [21] = {"#CP", "#CP control protection exception"},
};

const char *exception_name(unsigned vector)
{
    if (vector >= ARRAY_LEN(exceptions))
        return "";
    return exceptions[vector].name ? exceptions[vector].name : "reserved";
}

const char *exception_mnemonic(unsigned vector)
{
    if (vector >= ARRAY_LEN(exceptions) || !exceptions[vector].mnemonic)
        return "";
    return exceptions[vector].mnemonic;
}

/* ---- interruption information ---- */

enum { TYPE_OTHER_EVENT = 7 };

static const char *say_vector(const struct decode_say *s)
{
    static const char *const other[] = {"MTF VM exit", "SYSCALL", "SYSENTER"};
    uint64_t type = s->word & INTR_INFO_TYPE_MASK;

    if (type == TYPE_OTHER_EVENT << 8)
        return s->value < ARRAY_LEN(other) ? other[s->value] : "reserved";
    if (type == INTR_INFO_EXTERNAL || type == INTR_INFO_SOFT_INTERRUPT)
        return "";
    return exception_name((unsigned)s->value);
}

/* "Reserved" and "Not used" are NULL. */
static const char *const entry_types[8] = {
    "external interrupt",           NULL,
    "non-maskable interrupt (NMI)", "hardware exception",
    "software interrupt",           "privileged software exception",
    "software exception",           "other event",
};
static const char *const exit_types[7] = {
    "external interrupt", NULL, "non-maskable interrupt (NMI)",
    "hardware exception", NULL, "privileged software exception",
    "software exception",
};

#define INFO_VECTOR      BITS_SAY(7, 0, "VECTOR", "vector", say_vector, IF_SET(31))
#define INFO_TYPE(types) BITS_ONE_OF(10, 8, "TYPE", "interruption type", types, IF_SET(31))
#define INFO_NESTED                                                                                \
    BIT_IF(IF_SET(31), 13, "NESTED_EXCEPTION", "nested exception",                                 \
           "not nested in the delivery of another event",                                          \
           "nested in the delivery of another event")

static const struct decode_bit entry_info_bits[] = {
    INFO_VECTOR,
    INFO_TYPE(entry_types),
    BIT_IF(IF_SET(31), 11, "DELIVER_ERROR_CODE", "deliver error code", "no error code is pushed",
           "the VM-entry exception error code is pushed"),
    INFO_NESTED,
    BIT(31, "VALID", "valid", "no event is injected", "VM entry injects the event"),
};
static const struct decode_bit exit_info_bits[] = {
    INFO_VECTOR,
    INFO_TYPE(exit_types),
    BIT_IF(IF_SET(31), 11, "ERROR_CODE_VALID", "error code valid", "there is no error code",
           "the error code is in the VM-exit interruption error code"),
    BIT_IF(IF_SET(31), 12, "NMI_UNBLOCKING_DUE_TO_IRET", "NMI unblocking due to IRET",
           "NMI blocking is as the interruptibility state says",
           "an IRET that faulted had unblocked NMIs"),
    INFO_NESTED,
    BIT(31, "VALID", "valid", "no vectored event caused the exit",
        "a vectored event caused the exit"),
};
static const struct decode_bit idt_info_bits[] = {
    INFO_VECTOR,
    INFO_TYPE(entry_types),
    BIT_IF(IF_SET(31), 11, "ERROR_CODE_VALID", "error code valid", "there is no error code",
           "the error code is in the IDT-vectoring error code"),
    BIT_IF(IF_SET(31), 12, "UNDEFINED", "undefined", "undefined: 0", "undefined: 1"),
    INFO_NESTED,
    BIT(31, "VALID", "valid", "the exit was not during the delivery of an event",
        "the exit was during the delivery of the event, which has to be delivered again"),
};
static const struct decode_format entry_info = DECODE_FORMAT(entry_info_bits, .prose = true);
static const struct decode_format exit_info = DECODE_FORMAT(exit_info_bits, .prose = true);
static const struct decode_format idt_info = DECODE_FORMAT(idt_info_bits, .prose = true);

/* ---- error codes ---- */

static const struct decode_bit page_fault_bits[] = {
    BIT(0, "P", "present", "the page was not present", "protection violation"),
    BIT(1, "W_R", "W/R", "read", "write"),
    BIT(2, "U_S", "U/S", "supervisor-mode access", "user-mode access"),
    BIT(3, "RSVD", "RSVD", "no reserved bit was set",
        "a reserved bit was set in a paging-structure entry"),
    BIT(4, "I_D", "I/D", "no instruction fetch", "instruction fetch"),
    BIT(5, "PK", "protection key", "no protection-key violation", "protection-key violation"),
    BIT(6, "SS", "shadow stack", "no shadow-stack access", "shadow-stack access"),
    BIT(7, "HLAT", "HLAT", "ordinary paging", "HLAT paging"),
    BIT(15, "SGX", "SGX", "not related to SGX", "SGX access-control violation"),
};
static const struct decode_bit selector_error_bits[] = {
    BIT(0, "EXT", "external event", "not during the delivery of an external event",
        "during the delivery of an event external to the program"),
    BIT(1, "IDT", "gate in the IDT", "the index refers to a descriptor in the GDT or LDT",
        "the index refers to a gate descriptor in the IDT"),
    BIT_IF(IF_CLEAR(1), 2, "TI", "in the LDT", "the index is into the GDT",
           "the index is into the LDT"),
    BITS(15, 3, "INDEX", "segment selector index"),
};
static const struct decode_format page_fault = DECODE_FORMAT(page_fault_bits, .prose = false);
static const struct decode_format selector_error =
    DECODE_FORMAT(selector_error_bits, .prose = true);
static const struct decode_format pfec_mask =
    DECODE_FORMAT(page_fault_bits, .clear = "this bit of the error code does not matter",
                  .set = "this bit of the error code must be as in the match for bit 14 to decide");
static const struct decode_format pfec_match =
    DECODE_FORMAT(page_fault_bits, .clear = "matches 0, if it is in the mask",
                  .set = "matches 1, if it is in the mask");

enum { VECTOR_NM = 7, VECTOR_DB = 1, VECTOR_TS = 10, VECTOR_GP = 13, VECTOR_PF = 14 };

static const struct decode_format *error_code(uint32_t info)
{
    uint32_t vector = info & INTR_INFO_VECTOR_MASK;

    if (!(info & INTR_INFO_VALID) || !(info & INTR_INFO_ERROR_CODE) ||
        (info & INTR_INFO_TYPE_MASK) != INTR_INFO_HARD_EXCEPTION)
        return NULL;
    if (vector == VECTOR_PF)
        return &page_fault;
    return vector >= VECTOR_TS && vector <= VECTOR_GP ? &selector_error : NULL;
}

/* ---- exit reason, instruction error ---- */

static const char *say_reason(const struct decode_say *s)
{
    return vmx_exit_reason_name((uint32_t)s->value);
}

static const char *say_error(const struct decode_say *s)
{
    if (s->value == 0)
        return "no VM-instruction error";
    return vmx_instruction_error_name(s->value > UINT32_MAX ? UINT32_MAX : (uint32_t)s->value);
}

static const struct decode_bit reason_bits[] = {
    BITS_SAY(15, 0, "BASIC_EXIT_REASON", "basic exit reason", say_reason),
    BIT(25, "PREMATURELY_BUSY_SHADOW_STACK", "prematurely busy shadow stack",
        "no shadow stack was made busy too early",
        "the event that exits had made a shadow stack busy"),
    BIT(26, "BUS_LOCK", "bus lock", "no bus lock at the exit",
        "a bus lock was asserted just before the exit"),
    BIT(27, "ENCLAVE_MODE", "enclave mode", "not from enclave mode",
        "the exit was incident to enclave mode"),
    BIT(28, "PENDING_MTF", "pending MTF VM exit", "no MTF VM exit was pending",
        "an MTF VM exit was pending (SMM VM exits only)"),
    BIT(29, "FROM_VMX_ROOT", "VM exit from VMX root operation", "from VMX non-root operation",
        "from VMX root operation (SMM VM exits only)"),
    BIT(31, "ENTRY_FAILURE", "VM-entry failure", "true VM exit", "VM entry failed"),
};
static const struct decode_bit error_bits[] = {
    BITS_SAY(31, 0, "VM_INSTRUCTION_ERROR", "error", say_error),
};
static const struct decode_format reason = DECODE_FORMAT(reason_bits, .prose = true);
static const struct decode_format instruction_error = DECODE_FORMAT(error_bits, .prose = true);

/* ---- exception bitmap ---- */

#define EXCEPTION(n, NAME, TITLE) BIT(n, NAME, TITLE, "goes through the guest's IDT", "exits")

static const struct decode_bit exception_bits[] = {
    EXCEPTION(0, "DE", "#DE divide error"),
    EXCEPTION(1, "DB", "#DB debug exception"),
    EXCEPTION(2, "VECTOR_2", "NMI (not an exception: NMI exiting decides)"),
    EXCEPTION(3, "BP", "#BP breakpoint"),
    EXCEPTION(4, "OF", "#OF overflow"),
    EXCEPTION(5, "BR", "#BR BOUND range exceeded"),
    EXCEPTION(6, "UD", "#UD invalid opcode"),
    EXCEPTION(7, "NM", "#NM device not available"),
    EXCEPTION(8, "DF", "#DF double fault"),
    EXCEPTION(9, "VECTOR_9", "coprocessor segment overrun"),
    EXCEPTION(10, "TS", "#TS invalid TSS"),
    EXCEPTION(11, "NP", "#NP segment not present"),
    EXCEPTION(12, "SS", "#SS stack-segment fault"),
    EXCEPTION(13, "GP", "#GP general protection"),
    BIT(14, "PF", "#PF page fault",
        "exits when the error code does not match (PFEC_MASK, PFEC_MATCH)",
        "exits when the error code matches (PFEC_MASK, PFEC_MATCH)"),
    EXCEPTION(15, "VECTOR_15", "vector 15"),
    EXCEPTION(16, "MF", "#MF x87 FPU floating-point error"),
    EXCEPTION(17, "AC", "#AC alignment check"),
    EXCEPTION(18, "MC", "#MC machine check"),
    EXCEPTION(19, "XM", "#XM SIMD floating-point exception"),
    EXCEPTION(20, "VE", "#VE virtualization exception"),
    EXCEPTION(21, "CP", "#CP control protection exception"),
    EXCEPTION(22, "VECTOR_22", "vector 22"),
    EXCEPTION(23, "VECTOR_23", "vector 23"),
    EXCEPTION(24, "VECTOR_24", "vector 24"),
    EXCEPTION(25, "VECTOR_25", "vector 25"),
    EXCEPTION(26, "VECTOR_26", "vector 26"),
    EXCEPTION(27, "VECTOR_27", "vector 27"),
    EXCEPTION(28, "VECTOR_28", "vector 28"),
    EXCEPTION(29, "VECTOR_29", "vector 29"),
    EXCEPTION(30, "VECTOR_30", "vector 30"),
    EXCEPTION(31, "VECTOR_31", "vector 31"),
};
static const struct decode_format exception_bitmap = DECODE_FORMAT(exception_bits, .ones = 0);

const struct decode_format *decode_event(uint32_t encoding, const struct decode_context *c)
{
    switch (encoding) {
    case VMCS_VM_ENTRY_INTERRUPTION_INFO:
        return &entry_info;
    case VMCS_VM_EXIT_INTERRUPTION_INFO:
        return &exit_info;
    case VMCS_IDT_VECTORING_INFO:
        return &idt_info;
    case VMCS_VM_ENTRY_EXCEPTION_ERROR_CODE:
        return error_code(c->entry_interruption_info);
    case VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE:
        return error_code(c->exit_interruption_info);
    case VMCS_IDT_VECTORING_ERROR_CODE:
        return error_code(c->idt_vectoring_info);
    case VMCS_EXIT_REASON:
        return &reason;
    case VMCS_VM_INSTRUCTION_ERROR:
        return &instruction_error;
    case VMCS_EXCEPTION_BITMAP:
        return &exception_bitmap;
    case VMCS_PAGE_FAULT_ERROR_CODE_MASK:
        return &pfec_mask;
    case VMCS_PAGE_FAULT_ERROR_CODE_MATCH:
        return &pfec_match;
    default:
        return NULL;
    }
}

const char *vmx_abort_name(uint32_t indicator)
{
    static const char *const names[] = {
        "no VMX abort",
        "failure in saving guest MSRs",
        "host checking of the page-directory-pointer-table entries failed",
        "the current VMCS has been corrupted",
        "failure on loading host MSRs",
        "machine-check event during VM exit",
        "in IA-32e mode before the VM exit, and host address-space size is 0",
    };

    return indicator < ARRAY_LEN(names) ? names[indicator] : "undefined VMX abort";
}

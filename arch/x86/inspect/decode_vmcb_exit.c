#include "arch/x86/inspect/decode_vmcb_impl.h"

#include "arch/x86/inspect/fields.h"
#include "arch/x86/inspect/vmcb_fields.h"
#include "arch/x86/inspect/decode_vmexit.h"
#include "arch/x86/svm/svm.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/lib.h"

/* What an exit tells, and events that are injected. APM 2 "#VMEXIT", "Event Injection", "IOIO
 * Intercepts", "Nested versus Guest Page Faults, Fault Ordering", "Advanced Virtual Interrupt
 * Controller". */

static const char *say_code(const struct decode_say *s)
{
    return vmexit_name(s->value);
}

static const char *say_when(const struct decode_say *s)
{
    return s->value == 0            ? "a code of bits 31:0"
           : s->value == UINT32_MAX ? "VMRUN was refused: the whole code is -1 to -4"
                                    : "not a code of the APM";
}

static const struct decode_bit code_bits[] = {
    BITS_SAY(31, 0, "EXITCODE", "exit code", say_code),
    BITS_SAY(63, 32, "EXITCODE_HIGH", "upper half", say_when),
};
static const struct decode_format code = DECODE_FORMAT(code_bits, .prose = true);

/* ---- events ---- */

static const char *say_vector(const struct decode_say *s)
{
    uint64_t type = s->word >> 8 & 7;

    return type == 3 ? exception_name((unsigned)s->value) : "";
}

static const char *const types[8] = {
    [0] = "external or virtual interrupt",
    [2] = "NMI",
    [3] = "exception",
    [4] = "software interrupt",
};

#define EVENT(VALID_CLEAR, VALID_SET)                                                              \
    {                                                                                              \
        BITS_SAY(7, 0, "VECTOR", "vector", say_vector, IF_SET(31)),                                \
            BITS_ONE_OF(10, 8, "TYPE", "type", types, IF_SET(31)),                                 \
            BIT_IF(IF_SET(31), 11, "EV", "error code valid", "no error code is pushed",            \
                   "the error code is pushed"),                                                    \
            BIT(31, "V", "valid", VALID_CLEAR, VALID_SET),                                         \
            {                                                                                      \
                .high = 63,                                                                        \
                .low = 32,                                                                         \
                .name = "ERRORCODE",                                                               \
                .title = "error code",                                                             \
                IF_SET(11),                                                                        \
            },                                                                                     \
    }
static const struct decode_bit inject_bits[] =
    EVENT("no event is injected", "VMRUN injects the event");
static const struct decode_bit interrupted_bits[] = EVENT(
    "the exit was not during the delivery of an event (the other bits may be of an earlier one)",
    "the exit was during the delivery of the event, which has to be delivered again");
static const struct decode_format inject = DECODE_FORMAT(inject_bits, .prose = true);
static const struct decode_format interrupted = DECODE_FORMAT(interrupted_bits, .prose = true);

/* ---- EXITINFO1 and EXITINFO2, by exit code ---- */

static const struct decode_bit ioio_bits[] = {
    BIT_EITHER(0, "TYPE", "direction", "OUT", "IN"),
    BIT(2, "STR", "string", "IN or OUT", "INS or OUTS"),
    BIT(3, "REP", "REP", "without REP", "with REP"),
    BIT(4, "SZ8", "8 bits", "not 8 bits", "8 bits"),
    BIT(5, "SZ16", "16 bits", "not 16 bits", "16 bits"),
    BIT(6, "SZ32", "32 bits", "not 32 bits", "32 bits"),
    BIT(7, "A16", "16-bit address", "not 16 bits", "16-bit address"),
    BIT(8, "A32", "32-bit address", "not 32 bits", "32-bit address"),
    BIT(9, "A64", "64-bit address", "not 64 bits", "64-bit address"),
    BITS(12, 10, "SEG", "segment (with decode assists)"),
    BITS(31, 16, "PORT", "port"),
};
static const struct decode_bit msr_bits[] = {
    BIT_EITHER(0, "WRITE", "direction", "RDMSR", "WRMSR"),
};
static const struct decode_bit npf_bits[] = {
    BIT(0, "P", "present", "the nested page was not present", "protection violation"),
    BIT(1, "RW", "W/R", "read", "write"),
    BIT(2, "US", "U/S", "supervisor access (walks of nested tables are always user)",
        "user access: nested tables are always walked as user"),
    BIT(3, "RSV", "RSVD", "no reserved bit was set", "a reserved bit was set in a nested table"),
    BIT(4, "ID", "I/D", "no instruction fetch", "instruction fetch"),
    BIT(6, "SS", "shadow stack", "no shadow-stack access", "shadow-stack access"),
    BIT(31, "RMP", "RMP", "no RMP violation", "RMP violation"),
    BIT(32, "FINAL", "final address", "not of the guest's final physical address",
        "while the guest's final physical address was translated"),
    BIT(33, "WALK", "table walk", "not of a guest's page table",
        "while a page table of the guest was translated"),
    BIT(34, "ENC", "encrypted", "the effective C-bit is 0", "the effective C-bit is 1"),
    BIT(35, "SIZEM", "size mismatch", "no size mismatch",
        "page sizes of RMP and nested table differ"),
    BIT(36, "VMPL", "VMPL", "no VMPL violation", "VMPL permission violation"),
    BIT(37, "SSS", "supervisor shadow stack", "no violation", "supervisor shadow stack violation"),
};
static const struct decode_bit cr_bits[] = {
    BITS(3, 0, "GPR", "general-purpose register"),
    BIT(63, "MOV", "instruction", "LMSW, CLTS or SMSW (or no decode assists)", "MOV CR"),
};
static const struct decode_bit gpr_bits[] = {
    BITS(3, 0, "GPR", "general-purpose register (with decode assists)"),
};
static const struct decode_bit task_1_bits[] = {
    BITS(15, 0, "SELECTOR", "selector of the new TSS"),
};
static const struct decode_bit task_2_bits[] = {
    BITS(31, 0, "ERRORCODE", "error code"),
    BIT(36, "IRET", "IRET", "not by IRET", "by IRET"),
    BIT(38, "JMP", "far JMP", "not by a far JMP", "by a far JMP"),
    BIT(44, "EV", "error code valid", "no error code is pushed", "the error code is pushed"),
    BIT(48, "RF", "RF", "RFLAGS.RF was 0", "RFLAGS.RF was 1"),
};
static const char *const ipi_failures[] = {"invalid interrupt type", "IPI target not running",
                                           "invalid target in IPI", "invalid backing page pointer",
                                           "invalid IPI vector"};
static const struct decode_bit ipi_2_bits[] = {
    BITS(11, 0, "INDEX", "index into the APIC id table"),
    BITS_ONE_OF(63, 32, "ID", "cause", ipi_failures, .gate = 0),
};
static const struct decode_bit noaccel_1_bits[] = {
    BITS(11, 4, "APIC_OFFSET", "APIC register, in 16 bytes"),
    BIT_EITHER(32, "RW", "direction", "read", "write"),
};
static const struct decode_format ioio = DECODE_FORMAT(ioio_bits, .prose = true);
static const struct decode_format msr = DECODE_FORMAT(msr_bits, .prose = true);
static const struct decode_format npf = DECODE_FORMAT(npf_bits, .ones = 0);
static const struct decode_format cr_access = DECODE_FORMAT(cr_bits, .prose = true);
static const struct decode_format gpr = DECODE_FORMAT(gpr_bits, .prose = true);
static const struct decode_format task_1 = DECODE_FORMAT(task_1_bits, .prose = true);
static const struct decode_format task_2 = DECODE_FORMAT(task_2_bits, .prose = true);
static const struct decode_format ipi_2 = DECODE_FORMAT(ipi_2_bits, .prose = true);
static const struct decode_format noaccel_1 = DECODE_FORMAT(noaccel_1_bits, .prose = true);

static bool within(uint32_t value, uint32_t first, uint32_t count)
{
    return value >= first && value < first + count;
}

/* The error code of an exception, as the VMCS has it: error codes are the same on both. */
static const struct decode_format *exception_error(struct vmcb_context *c)
{
    c->decode.exit_interruption_info = INTR_INFO_VALID | INTR_INFO_ERROR_CODE |
                                       INTR_INFO_HARD_EXCEPTION | (c->exit_code - SVM_EXIT_EXCP0);
    return decode_event(VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE, &c->decode);
}

static const struct decode_format *info_1(struct vmcb_context *c)
{
    if (within(c->exit_code, SVM_EXIT_EXCP0, 32))
        return exception_error(c);
    if (within(c->exit_code, SVM_EXIT_READ_CR0, 32))
        return &cr_access;
    if (within(c->exit_code, SVM_EXIT_READ_DR0, 32))
        return &gpr;
    switch (c->exit_code) {
    case SVM_EXIT_IOIO:
        return &ioio;
    case SVM_EXIT_MSR:
        return &msr;
    case SVM_EXIT_NPF:
        return &npf;
    case SVM_EXIT_TASK_SWITCH:
        return &task_1;
    case SVM_EXIT_AVIC_NOACCEL:
        return &noaccel_1;
    default:
        return NULL;
    }
}

static const struct decode_format *info_2(const struct vmcb_context *c)
{
    switch (c->exit_code) {
    case SVM_EXIT_TASK_SWITCH:
        return &task_2;
    case SVM_EXIT_AVIC_INCOMPLETE_IPI:
        return &ipi_2;
    default:
        return NULL; /* an address, the next RIP, or nothing */
    }
}

const struct decode_format *decode_vmcb_exit(unsigned row, struct vmcb_context *c)
{
    switch (row) {
    case VMCB_ROW_EXITCODE:
        return &code;
    case VMCB_ROW_EXITINTINFO:
        return &interrupted;
    case VMCB_ROW_EVENTINJ:
        return &inject;
    case VMCB_ROW_EXITINFO1:
        return c->known ? info_1(c) : NULL;
    case VMCB_ROW_EXITINFO2:
        return c->known ? info_2(c) : NULL;
    default:
        return NULL;
    }
}

#include "arch/x86/inspect/decode.h"

#include "arch/x86/inspect/decode_bitmap.h"
#include "arch/x86/inspect/decode_format.h"
#include "arch/x86/inspect/fields.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/fmt.h"
#include "hv/lib.h"

/* SDM 3C "Exit Qualification", and "VM-Exit Information Fields" for what came later. */

const char *const decode_registers[16] = {
    "RAX", "RCX", "RDX", "RBX", "RSP", "RBP", "RSI", "RDI",
    "R8",  "R9",  "R10", "R11", "R12", "R13", "R14", "R15",
};

#define NMI_UNBLOCKING                                                                             \
    BIT(12, "NMI_UNBLOCKING_DUE_TO_IRET", "NMI unblocking due to IRET",                            \
        "NMI blocking is as the interruptibility state says",                                      \
        "an IRET that did not complete had unblocked NMIs")

static const struct decode_bit debug_bits[] = {
    BIT(0, "B0", "breakpoint 0", "its condition was not met", "its condition was met"),
    BIT(1, "B1", "breakpoint 1", "its condition was not met", "its condition was met"),
    BIT(2, "B2", "breakpoint 2", "its condition was not met", "its condition was met"),
    BIT(3, "B3", "breakpoint 3", "its condition was not met", "its condition was met"),
    BIT(11, "BLD", "bus lock detected", "no bus lock", "a bus lock caused it"),
    BIT(13, "BD", "debug register access detected", "no access to a debug register",
        "the next instruction accesses a debug register (DR7.GD)"),
    BIT(14, "BS", "single step", "no single step", "single step or BTF"),
    BIT(16, "RTM", "RTM", "outside of an RTM region", "inside of an RTM region"),
};
static const struct decode_bit linear_bits[] = {
    BITS(63, 0, "LINEAR_ADDRESS", "linear address"),
};
static const struct decode_bit displacement_bits[] = {
    BITS(63, 0, "DISPLACEMENT", "displacement"),
};
static const struct decode_bit vector_bits[] = {
    BITS(7, 0, "VECTOR", "vector"),
};

static const char *const switch_sources[] = {"CALL", "IRET", "JMP", "task gate in IDT"};
static const struct decode_bit task_switch_bits[] = {
    BITS(15, 0, "SELECTOR", "selector of the TSS to be loaded"),
    BITS_ONE_OF(31, 30, "SOURCE", "source of the task switch", switch_sources),
};

static const char *const cr_numbers[16] = {[0] = "CR0", [3] = "CR3", [4] = "CR4", [8] = "CR8"};
static const char *const cr_types[] = {"MOV to CR", "MOV from CR", "CLTS", "LMSW"};
static const struct decode_bit cr_bits[] = {
    BITS_ONE_OF(3, 0, "NUMBER", "number of control register", cr_numbers),
    BITS_ONE_OF(5, 4, "ACCESS_TYPE", "access type", cr_types),
    BIT(6, "LMSW_OPERAND", "LMSW memory operand", "register (or not LMSW)", "memory"),
    BITS_ONE_OF(11, 8, "REGISTER", "register", decode_registers, IF_CLEAR(5)),
    BITS(31, 16, "LMSW_SOURCE_DATA", "LMSW source data"),
};

static const char *const debug_registers[] = {"DR0", "DR1", "DR2", "DR3",
                                              "DR4", "DR5", "DR6", "DR7"};
static const struct decode_bit dr_bits[] = {
    BITS_ONE_OF(2, 0, "NUMBER", "number of debug register", debug_registers),
    BIT_EITHER(4, "DIRECTION", "direction of access", "MOV to DR", "MOV from DR"),
    BITS_ONE_OF(11, 8, "REGISTER", "register", decode_registers),
};

static const char *const io_sizes[8] = {[0] = "1-byte", [1] = "2-byte", [3] = "4-byte"};

static const char *say_port(const struct decode_say *s);

static const struct decode_bit io_bits[] = {
    BITS_ONE_OF(2, 0, "SIZE", "size of access", io_sizes),
    BIT_EITHER(3, "DIRECTION", "direction of access", "OUT", "IN"),
    BIT(4, "STRING", "string instruction", "not string", "string (INS, OUTS)"),
    BIT(5, "REP", "REP prefixed", "not REP", "REP"),
    BIT(6, "OPERAND_ENCODING", "immediate operand", "DX", "immediate"),
    BITS_SAY(31, 16, "PORT", "port", say_port),
};

static const char *const entry_failures[] = {
    "no more is known",
    NULL,
    "failure in loading the PDPTEs",
    "NMI injected while events are blocked by STI",
    "invalid VMCS link pointer",
};
static const struct decode_bit entry_failure_bits[] = {
    BITS_ONE_OF(63, 0, "FAILURE", "failure", entry_failures),
};
static const struct decode_bit msr_entry_bits[] = {
    BITS(63, 0, "MSR_ENTRY", "number of the entry in the VM-entry MSR-load area, from 1"),
};

static const struct decode_bit mwait_bits[] = {
    BIT(0, "ARMED", "monitoring hardware armed", "address-range monitoring was not armed",
        "address-range monitoring was armed"),
};

static const char *const apic_accesses[16] = {
    [0] = "linear access for a data read during instruction execution",
    [1] = "linear access for a data write during instruction execution",
    [2] = "linear access for an instruction fetch",
    [3] = "linear access (read or write) during event delivery",
    [4] = "linear access for monitoring",
    [10] = "guest-physical access during event delivery",
    [11] = "guest-physical access for monitoring or trace",
    [15] = "guest-physical access for an instruction fetch or during instruction execution",
};
static const struct decode_bit apic_access_bits[] = {
    BITS(11, 0, "OFFSET", "offset within the APIC page"),
    BITS_ONE_OF(15, 12, "ACCESS_TYPE", "access type", apic_accesses),
    BIT(16, "ASYNCHRONOUS", "asynchronous to instruction execution",
        "by the instruction or an event", "not by instruction execution or event delivery"),
};
static const struct decode_bit apic_write_bits[] = {
    BITS(11, 0, "OFFSET", "offset within the APIC page"),
};

static const struct decode_bit ept_violation_bits[] = {
    BIT(0, "READ", "data read", "the access was no data read", "the access was a data read"),
    BIT(1, "WRITE", "data write", "the access was no data write", "the access was a data write"),
    BIT(2, "FETCH", "instruction fetch", "the access was no instruction fetch",
        "the access was an instruction fetch"),
    BIT(3, "READABLE", "guest-physical address readable", "EPT did not allow reads",
        "EPT allowed reads"),
    BIT(4, "WRITABLE", "guest-physical address writable", "EPT did not allow writes",
        "EPT allowed writes"),
    BIT(5, "EXECUTABLE", "guest-physical address executable", "EPT did not allow execution",
        "EPT allowed execution (from supervisor-mode addresses)"),
    BIT(6, "USER_EXECUTABLE", "guest-physical address executable from user-mode addresses",
        "not allowed, or no mode-based execute control", "EPT allowed execution from user mode"),
    BIT(7, "LINEAR_ADDRESS_VALID", "guest linear-address field valid",
        "there is no guest linear address", "the guest linear address is valid"),
    BIT_IF(
        IF_SET(7), 8, "TRANSLATED", "access to the translation of a linear address",
        "access to a guest paging-structure entry, to walk it or to set its accessed or dirty flag",
        "access to the final translation of the linear address"),
    BIT_IF(IF_SET(8), 9, "USER", "user-mode linear address",
           "supervisor-mode linear address (or not reported)", "user-mode linear address"),
    BIT_IF(IF_SET(8), 10, "READ_WRITE_PAGE", "read/write page", "read-only page (or not reported)",
           "read/write page"),
    BIT_IF(IF_SET(8), 11, "EXECUTE_DISABLE_PAGE", "execute-disable page",
           "executable page (or not reported)", "execute-disable page"),
    NMI_UNBLOCKING,
    BIT(13, "SHADOW_STACK", "shadow-stack access", "no shadow-stack access", "shadow-stack access"),
    BIT(14, "SUPERVISOR_SHADOW_STACK", "supervisor shadow-stack page",
        "EPT did not mark a supervisor shadow-stack page",
        "EPT marked a supervisor shadow-stack page"),
    BIT(15, "GUEST_PAGING_VERIFICATION", "guest-paging verification",
        "not by guest-paging verification", "guest-paging verification failed"),
    BIT(16, "ASYNCHRONOUS", "asynchronous to instruction execution",
        "by the instruction or an event",
        "not by instruction execution or event delivery (Intel PT, for example)"),
};

static const struct decode_bit nmi_bits[] = {NMI_UNBLOCKING};
static const struct decode_bit spp_bits[] = {
    BIT_EITHER(11, "SPP_MISS", "SPP-related event", "SPP misconfiguration", "SPP miss"),
    NMI_UNBLOCKING,
};
static const struct decode_bit timeout_bits[] = {
    BIT(0, "CONTEXT_INVALID", "VM context invalid", "the guest can go on",
        "the guest's context is corrupted: it cannot go on"),
    NMI_UNBLOCKING,
};
static const struct decode_bit wbinvd_bits[] = {
    BIT_EITHER(0, "WBNOINVD", "instruction", "WBINVD", "WBNOINVD"),
};
static const struct decode_bit wrmsr_bits[] = {
    BIT_EITHER(0, "WRMSRNS", "instruction", "WRMSR", "WRMSRNS"),
};
static const struct decode_bit pending_bits[] = {
    BIT(0, "B0", "breakpoint 0", "its condition was not met", "its condition was met"),
    BIT(1, "B1", "breakpoint 1", "its condition was not met", "its condition was met"),
    BIT(2, "B2", "breakpoint 2", "its condition was not met", "its condition was met"),
    BIT(3, "B3", "breakpoint 3", "its condition was not met", "its condition was met"),
    BIT(11, "BLD", "bus lock detected", "no bus lock", "a bus lock is to be reported"),
    BIT(12, "ENABLED_BREAKPOINT", "enabled breakpoint", "no enabled breakpoint was met",
        "at least one data or I/O breakpoint enabled in DR7 was met"),
    BIT(14, "BS", "single step", "no single step is pending", "single step is pending"),
    BIT(16, "RTM", "RTM", "outside of an RTM region", "inside of an RTM region"),
};

static const struct decode_format debug = DECODE_FORMAT(debug_bits, .ones = 0);
static const struct decode_format linear = DECODE_FORMAT(linear_bits, .prose = true);
static const struct decode_format pending = DECODE_FORMAT(pending_bits, .ones = 0);
static const struct decode_format ept_violation = DECODE_FORMAT(ept_violation_bits, .ones = 0);

#define PROSE(name)                                                                                \
    static const struct decode_format name = DECODE_FORMAT(name##_bits, .prose = true)
PROSE(displacement);
PROSE(vector);
PROSE(task_switch);
PROSE(cr);
PROSE(dr);
PROSE(io);
PROSE(entry_failure);
PROSE(msr_entry);
PROSE(mwait);
PROSE(apic_access);
PROSE(apic_write);
PROSE(nmi);
PROSE(spp);
PROSE(timeout);
PROSE(wbinvd);
PROSE(wrmsr);

/* Reasons not listed have no exit qualification: it is 0. */
static const struct decode_format *const qualifications[] = {
    [VMX_EXIT_STARTUP_IPI] = &vector,
    [VMX_EXIT_IO_SMI] = &io,
    [VMX_EXIT_TASK_SWITCH] = &task_switch,
    [VMX_EXIT_INVLPG] = &linear,
    [VMX_EXIT_VMCLEAR] = &displacement,
    [VMX_EXIT_VMPTRLD] = &displacement,
    [VMX_EXIT_VMPTRST] = &displacement,
    [VMX_EXIT_VMREAD] = &displacement,
    [VMX_EXIT_VMWRITE] = &displacement,
    [VMX_EXIT_VMXON] = &displacement,
    [VMX_EXIT_CONTROL_REGISTER_ACCESS] = &cr,
    [VMX_EXIT_MOV_DR] = &dr,
    [VMX_EXIT_IO_INSTRUCTION] = &io,
    [VMX_EXIT_WRMSR] = &wrmsr,
    [VMX_EXIT_ENTRY_FAILURE_GUEST_STATE] = &entry_failure,
    [VMX_EXIT_ENTRY_FAILURE_MSR_LOADING] = &msr_entry,
    [VMX_EXIT_MWAIT] = &mwait,
    [VMX_EXIT_APIC_ACCESS] = &apic_access,
    [VMX_EXIT_VIRTUALIZED_EOI] = &vector,
    [VMX_EXIT_GDTR_OR_IDTR_ACCESS] = &displacement,
    [VMX_EXIT_LDTR_OR_TR_ACCESS] = &displacement,
    [VMX_EXIT_EPT_VIOLATION] = &ept_violation,
    [VMX_EXIT_INVEPT] = &displacement,
    [VMX_EXIT_INVVPID] = &displacement,
    [VMX_EXIT_WBINVD] = &wbinvd,
    [VMX_EXIT_APIC_WRITE] = &apic_write,
    [VMX_EXIT_INVPCID] = &displacement,
    [VMX_EXIT_PML_FULL] = &nmi,
    [VMX_EXIT_XSAVES] = &displacement,
    [VMX_EXIT_XRSTORS] = &displacement,
    [VMX_EXIT_SPP_EVENT] = &spp,
    [VMX_EXIT_INSTRUCTION_TIMEOUT] = &timeout,
};

enum { VECTOR_DB = 1, VECTOR_PF = 14 };

static const struct decode_format *exception_qualification(uint32_t info)
{
    if (!(info & INTR_INFO_VALID) || (info & INTR_INFO_TYPE_MASK) == INTR_INFO_NMI)
        return NULL;
    if ((info & INTR_INFO_VECTOR_MASK) == VECTOR_DB)
        return &debug;
    return (info & INTR_INFO_VECTOR_MASK) == VECTOR_PF ? &linear : NULL;
}

static const struct decode_format *qualification(const struct decode_context *c)
{
    uint32_t basic = c->exit_reason & VMX_EXIT_BASIC_MASK;

    if (basic == VMX_EXIT_EXCEPTION_OR_NMI)
        return exception_qualification(c->exit_interruption_info);
    return basic < ARRAY_LEN(qualifications) ? qualifications[basic] : NULL;
}

static const char *say_port(const struct decode_say *s)
{
    return io_port_name((uint16_t)s->value);
}

const struct decode_format *decode_exit(uint32_t encoding, const struct decode_context *c)
{
    switch (encoding) {
    case VMCS_EXIT_QUALIFICATION:
        return qualification(c);
    case VMCS_VM_EXIT_INSTRUCTION_INFO:
        return decode_instruction(c->exit_reason & VMX_EXIT_BASIC_MASK);
    case VMCS_GUEST_PENDING_DEBUG_EXCEPTIONS:
        return &pending;
    default:
        return decode_event(encoding, c);
    }
}

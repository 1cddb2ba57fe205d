#include "arch/x86/inspect/decode.h"

#include "arch/x86/inspect/decode_bitmap.h"
#include "arch/x86/inspect/decode_format.h"
#include "hv/fmt.h"
#include "hv/lib.h"

/* SDM 3D appendix A "VMX Capability Reporting Facility", 4 "IA32_FEATURE_CONTROL". */

#define CAN(n, NAME, TITLE) BIT(n, NAME, TITLE, "not supported", "supported")

static const struct decode_bit basic_bits[] = {
    BITS(30, 0, "REVISION", "VMCS revision identifier"),
    BITS(44, 32, "REGION_SIZE", "bytes of a VMXON or VMCS region"),
    BIT(48, "ADDRESS_WIDTH", "physical addresses limited to 32 bits",
        "addresses of VMX structures have the processor's physical-address width",
        "addresses of VMX structures have 32 bits"),
    BIT(49, "DUAL_MONITOR", "dual-monitor treatment of SMIs and SMM", "not supported", "supported"),
    BITS_ONE_OF(53, 50, "MEMORY_TYPE", "memory type for VMX structures", decode_memory_types),
    BIT(54, "INS_OUTS_INFO", "INS and OUTS information",
        "no instruction information for INS and OUTS", "instruction information for INS and OUTS"),
    BIT(55, "TRUE_CONTROLS", "TRUE capability MSRs", "default1 controls must be 1",
        "the TRUE capability MSRs say which default1 controls may be 0"),
    BIT(56, "ANY_ERROR_CODE", "hardware exceptions with or without error code",
        "an injected hardware exception has an error code as its vector says",
        "a hardware exception may be injected with or without an error code"),
    CAN(58, "NESTED_EXCEPTION", "nested-exception bit in event information"),
};

static const char *say_timer(const struct decode_say *s)
{
    (void)fmt(s->buf, s->size, "the VMX-preemption timer counts once in %lu ticks of the TSC",
              1ul << (s->value & 31));
    return s->buf;
}

static const char *say_msrs(const struct decode_say *s)
{
    (void)fmt(s->buf, s->size, "%lu MSRs", (unsigned long)(s->value + 1) * 512);
    return s->buf;
}

static const struct decode_bit misc_bits[] = {
    BITS_SAY(4, 0, "TIMER_SHIFT", "VMX-preemption timer rate", say_timer),
    BIT(5, "STORE_LMA", "VM exits store IA32_EFER.LMA into IA-32e mode guest", "not stored",
        "stored"),
    CAN(6, "ACTIVITY_HLT", "activity state HLT"),
    CAN(7, "ACTIVITY_SHUTDOWN", "activity state shutdown"),
    CAN(8, "ACTIVITY_WAIT_FOR_SIPI", "activity state wait-for-SIPI"),
    BIT(14, "PT_IN_VMX", "Intel PT in VMX operation", "not allowed", "allowed"),
    BIT(15, "SMBASE_IN_SMM", "RDMSR of IA32_SMBASE in SMM", "not possible", "possible"),
    BITS(24, 16, "CR3_TARGETS", "number of CR3-target values"),
    BITS_SAY(27, 25, "MSR_LIST", "recommended maximum of an MSR list", say_msrs),
    BIT(28, "SMM_MONITOR_CTL", "bit 2 of IA32_SMM_MONITOR_CTL", "must be 0",
        "may be 1: VMXOFF unblocks SMIs unless it is 1"),
    BIT(29, "VMWRITE_ANY", "VMWRITE to any supported field", "VM-exit information is read-only",
        "VMWRITE may write VM-exit information, too"),
    BIT(30, "LENGTH_0", "injection with instruction length 0", "length must be 1 to 15",
        "length may be 0 to 15"),
    BITS(63, 32, "MSEG_REVISION", "MSEG revision identifier"),
};

static const struct decode_bit ept_vpid_bits[] = {
    CAN(0, "EXECUTE_ONLY", "execute-only translations"),
    CAN(6, "WALK_4", "page-walk length 4"),
    CAN(7, "WALK_5", "page-walk length 5"),
    CAN(8, "TYPE_UC", "EPT paging structures in UC memory"),
    CAN(14, "TYPE_WB", "EPT paging structures in WB memory"),
    CAN(16, "PAGE_2M", "2-MByte pages"),
    CAN(17, "PAGE_1G", "1-GByte pages"),
    CAN(20, "INVEPT", "INVEPT"),
    CAN(21, "ACCESSED_DIRTY", "accessed and dirty flags for EPT"),
    CAN(22, "ADVANCED_INFO", "advanced VM-exit information for EPT violations"),
    CAN(23, "SUPERVISOR_SHADOW_STACK", "supervisor shadow-stack control"),
    CAN(25, "INVEPT_SINGLE_CONTEXT", "single-context INVEPT"),
    CAN(26, "INVEPT_ALL_CONTEXT", "all-context INVEPT"),
    CAN(32, "INVVPID", "INVVPID"),
    CAN(40, "INVVPID_INDIVIDUAL_ADDRESS", "individual-address INVVPID"),
    CAN(41, "INVVPID_SINGLE_CONTEXT", "single-context INVVPID"),
    CAN(42, "INVVPID_ALL_CONTEXT", "all-context INVVPID"),
    CAN(43, "INVVPID_RETAINING_GLOBALS", "single-context-retaining-globals INVVPID"),
    BITS(53, 48, "HLAT_PREFIX_SIZE", "largest HLAT prefix size"),
};

static const struct decode_bit feature_control_bits[] = {
    BIT(0, "LOCK", "lock", "VMXON causes #GP; the MSR can be written",
        "the MSR cannot be written until reset"),
    BIT(1, "VMX_INSIDE_SMX", "enable VMX inside SMX operation", "VMXON in SMX operation causes #GP",
        "VMXON is allowed in SMX operation"),
    BIT(2, "VMX_OUTSIDE_SMX", "enable VMX outside SMX operation",
        "VMXON outside of SMX operation causes #GP", "VMXON is allowed outside of SMX operation"),
    BITS(14, 8, "SENTER_LOCAL", "SENTER local function enables"),
    BIT(15, "SENTER_GLOBAL", "SENTER global enable", "off", "on"),
    BIT(17, "SGX_LAUNCH_CONTROL", "SGX launch control enable", "the launch key is fixed",
        "IA32_SGXLEPUBKEYHASHn can be written"),
    BIT(18, "SGX_GLOBAL", "SGX global enable", "ENCLS causes #GP", "ENCLS is allowed"),
    BIT(20, "LMCE", "local machine check on", "machine checks go to all processors",
        "machine checks may go to one processor"),
};

static const struct decode_bit vmcs_enum_bits[] = {
    BITS(9, 1, "HIGHEST_INDEX", "highest index of a VMCS encoding"),
};

#define PROSE(name)                                                                                \
    static const struct decode_format name = DECODE_FORMAT(name##_bits, .prose = true)
PROSE(basic);
PROSE(misc);
PROSE(feature_control);
PROSE(vmcs_enum);
static const struct decode_format ept_vpid = DECODE_FORMAT(ept_vpid_bits, .ones = 0);

static const struct {
    uint32_t msr;
    const struct decode_format *format; /* NULL: gives the allowed values of control bits */
} msrs[] = {
    {0x3a, &feature_control},
    {0x480, &basic},
    {0x481, NULL},
    {0x482, NULL},
    {0x483, NULL},
    {0x484, NULL},
    {0x485, &misc},
    {0x486, &decode_fixed_cr0[0]},
    {0x487, &decode_fixed_cr0[1]},
    {0x488, &decode_fixed_cr4[0]},
    {0x489, &decode_fixed_cr4[1]},
    {0x48a, &vmcs_enum},
    {0x48b, NULL},
    {0x48c, &ept_vpid},
    {0x48d, NULL},
    {0x48e, NULL},
    {0x48f, NULL},
    {0x490, NULL},
    {0x491, NULL},
    {0x492, NULL},
    {0x493, NULL},
};

static const struct decode_format *find(uint32_t msr)
{
    for (unsigned i = 0; i < ARRAY_LEN(msrs); i++)
        if (msrs[i].msr == msr)
            return msrs[i].format;
    return NULL;
}

const char *vmx_msr_name(uint32_t msr)
{
    for (unsigned i = 0; i < ARRAY_LEN(msrs); i++)
        if (msrs[i].msr == msr)
            return msr_name(msr);
    return NULL;
}

/* By "must be 1" and "may be 1" (bit 1). */
static const char *const freedoms[] = {"must be 0", "must be 1, but may not: contradiction",
                                       "may be 0 or 1", "must be 1"};

static unsigned decode_capability(uint32_t encoding, uint64_t value, decode_emit emit, void *arg)
{
    unsigned count;
    const struct decode_bit *bits = vmcs_control_bits(encoding, &count);

    for (unsigned i = 0; emit && i < count; i++) {
        struct control_provenance p = vmcs_control_provenance(encoding, &bits[i], 0, value, 0);
        unsigned freedom = (p.forced1 ? 1 : 0) | (p.forced0 ? 0 : 2);

        emit(arg, &(struct decode_part){
                      .high = bits[i].high,
                      .low = bits[i].low,
                      .value = freedom,
                      .name = bits[i].name,
                      .title = bits[i].title,
                      .meaning = freedoms[freedom],
                      .valid = true,
                  });
    }
    return count;
}

unsigned vmx_msr_decode(uint32_t msr, uint64_t value, decode_emit emit, void *arg)
{
    static const struct decode_context none;
    const struct decode_format *f = find(msr);
    uint32_t encoding = decode_controls_of_msr(msr);

    if (f)
        return decode_format(f, value, &none, emit, arg);
    return encoding == DECODE_NO_FIELD ? 0 : decode_capability(encoding, value, emit, arg);
}

size_t vmx_msr_decode_line(uint32_t msr, uint64_t value, char *text, size_t size)
{
    static const struct decode_context none;
    const struct decode_format *f = find(msr);
    uint32_t encoding = decode_controls_of_msr(msr);

    if (f)
        return decode_format_line(f, value, &none, text, size);
    if (size > 0)
        text[0] = 0;
    if (encoding == DECODE_NO_FIELD)
        return 0;
    /* The bits that may be 1, as a control word. */
    if (!vmcs_control_is_wide(encoding))
        value >>= 32;
    return vmcs_decode_line(encoding, value, NULL, text, size);
}

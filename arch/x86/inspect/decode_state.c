#include "arch/x86/inspect/decode_format.h"

#include "arch/x86/inspect/fields.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/fmt.h"
#include "hv/lib.h"

/* SDM 3C "Guest-State Area", "Host-State Area", and 3A "Segment Descriptors". */

/* ---- segments ---- */

static const char *const code_or_data_types[16] = {
    "data, read-only",
    "data, read-only, accessed",
    "data, read/write",
    "data, read/write, accessed",
    "data, read-only, expand-down",
    "data, read-only, expand-down, accessed",
    "data, read/write, expand-down",
    "data, read/write, expand-down, accessed",
    "code, execute-only",
    "code, execute-only, accessed",
    "code, execute/read",
    "code, execute/read, accessed",
    "code, execute-only, conforming",
    "code, execute-only, conforming, accessed",
    "code, execute/read, conforming",
    "code, execute/read, conforming, accessed",
};
/* If 32-bit and IA-32e mode differ, both. */
static const char *const system_types[16] = {
    [0] = "reserved",
    [1] = "16-bit TSS (available); reserved in IA-32e mode",
    [2] = "LDT",
    [3] = "16-bit TSS (busy); reserved in IA-32e mode",
    [4] = "16-bit call gate; reserved in IA-32e mode",
    [5] = "task gate; reserved in IA-32e mode",
    [6] = "16-bit interrupt gate; reserved in IA-32e mode",
    [7] = "16-bit trap gate; reserved in IA-32e mode",
    [8] = "reserved",
    [9] = "32-bit or 64-bit TSS (available)",
    [10] = "reserved",
    [11] = "32-bit or 64-bit TSS (busy)",
    [12] = "32-bit or 64-bit call gate",
    [13] = "reserved",
    [14] = "32-bit or 64-bit interrupt gate",
    [15] = "32-bit or 64-bit trap gate",
};

const char *decode_say_segment_type(const struct decode_say *s)
{
    return s->word & AR_S ? code_or_data_types[s->value & 15] : system_types[s->value & 15];
}

static const struct decode_bit access_rights_bits[] = {
    BITS_SAY(3, 0, "TYPE", "type", decode_say_segment_type),
    BIT(4, "S", "code or data", "system segment", "code or data segment"),
    BITS(6, 5, "DPL", "DPL"),
    BIT(7, "P", "present", "not present", "present"),
    BIT(12, "AVL", "AVL", "for system software: 0", "for system software: 1"),
    BIT(13, "L", "64-bit", "no 64-bit code segment", "64-bit code segment"),
    BIT(14, "D_B", "32-bit", "16-bit segment (or 64-bit)", "32-bit segment"),
    BIT(15, "G", "4-KByte granularity", "the limit counts bytes", "the limit counts 4-KByte pages"),
    BIT(16, "UNUSABLE", "unusable", "usable", "unusable: an access causes a fault"),
};
static const struct decode_format access_rights =
    DECODE_FORMAT(access_rights_bits, .prose = true, .dead = 0xf0ff, .dead_if = 16);

static const struct decode_bit selector_bits[] = {
    BITS(1, 0, "RPL", "RPL"),
    BIT(2, "TI", "LDT", "the index is into the GDT", "the index is into the LDT"),
    BITS(15, 3, "INDEX", "index"),
};

static const char *say_host_rpl(const struct decode_say *s)
{
    return s->value ? "not allowed: must be 0" : "";
}

static const struct decode_bit host_selector_bits[] = {
    BITS_SAY(1, 0, "RPL", "RPL", say_host_rpl),
    BIT(2, "TI", "LDT", "the index is into the GDT", "not allowed: must be 0"),
    BITS(15, 3, "INDEX", "index"),
};
static const struct decode_format selector = DECODE_FORMAT(selector_bits, .prose = true);
static const struct decode_format host_selector = DECODE_FORMAT(host_selector_bits, .prose = true);

/* ---- what is not in a register ---- */

static const char *const activities[] = {"active", "HLT", "shutdown", "wait-for-SIPI"};
static const struct decode_bit activity_bits[] = {
    BITS_ONE_OF(31, 0, "ACTIVITY_STATE", "activity state", activities),
};
static const struct decode_bit interruptibility_bits[] = {
    BIT(0, "BLOCKING_BY_STI", "blocking by STI", "no", "interrupts wait for one instruction"),
    BIT(1, "BLOCKING_BY_MOV_SS", "blocking by MOV SS", "no",
        "interrupts and debug exceptions wait for one instruction"),
    BIT(2, "BLOCKING_BY_SMI", "blocking by SMI", "SMIs are not blocked", "SMIs are blocked"),
    BIT(3, "BLOCKING_BY_NMI", "blocking by NMI", "NMIs are not blocked",
        "NMIs (virtual NMIs, if that control is 1) are blocked"),
    BIT(4, "ENCLAVE_INTERRUPTION", "enclave interruption", "not in enclave mode",
        "the exit was from enclave mode"),
};
static const struct decode_bit interrupt_status_bits[] = {
    BITS(7, 0, "RVI", "requesting virtual interrupt"),
    BITS(15, 8, "SVI", "servicing virtual interrupt"),
};
static const struct decode_format activity = DECODE_FORMAT(activity_bits, .prose = true);
static const struct decode_format interruptibility =
    DECODE_FORMAT(interruptibility_bits, .ones = 0);
static const struct decode_format interrupt_status =
    DECODE_FORMAT(interrupt_status_bits, .prose = true);

/* ---- numbers with a meaning ---- */

static const char *say_vpid(const struct decode_say *s)
{
    return s->value ? "tags the guest's cached translations"
                    : "the host's own: not allowed when VPIDs are enabled";
}

static const char *say_signed(const struct decode_say *s)
{
    if (s->value >> 63)
        (void)fmt(s->buf, s->size, "-%lu ticks: the guest's TSC is behind",
                  (unsigned long)(0 - s->value));
    else
        (void)fmt(s->buf, s->size, s->value ? "+%lu ticks: the guest's TSC is ahead" : "none",
                  (unsigned long)s->value);
    return s->buf;
}

/* 48 fraction bits: three digits are enough for a reader. */
static const char *say_multiplier(const struct decode_say *s)
{
    uint64_t fraction = s->value & ((1ull << 48) - 1);

    (void)fmt(s->buf, s->size, "times %lu.%03lu", (unsigned long)(s->value >> 48),
              (unsigned long)((fraction >> 8) * 1000 >> 40));
    return s->buf;
}

static const char *say_link(const struct decode_say *s)
{
    return s->value == UINT64_MAX ? "none" : "address of a shadow VMCS";
}

static const char *say_targets(const struct decode_say *s)
{
    if (s->value > 4)
        return "more than 4 CR3-target values: not allowed by processors so far";
    (void)fmt(s->buf, s->size, "%lu CR3-target values do not exit", (unsigned long)s->value);
    return s->buf;
}

static const char *say_msr_count(const struct decode_say *s)
{
    (void)fmt(s->buf, s->size,
              s->value > 512 ? "%lu MSRs: more than the 512 that every processor can do"
                             : "%lu MSRs",
              (unsigned long)s->value);
    return s->buf;
}

static const char *say_pml(const struct decode_say *s)
{
    if (s->value > 511)
        return "the page-modification log is full";
    (void)fmt(s->buf, s->size, "%lu entries of 512 are written", (unsigned long)(511 - s->value));
    return s->buf;
}

static const char *say_threshold(const struct decode_say *s)
{
    (void)fmt(s->buf, s->size,
              s->value ? "exit when bits 7:4 of the virtual TPR fall below %lu"
                       : "the virtual TPR never falls below 0: no such exit",
              (unsigned long)s->value);
    return s->buf;
}

#define SAY(name, h, NAME, TITLE, SAYS)                                                            \
    static const struct decode_bit name##_bits[] = {BITS_SAY(h, 0, NAME, TITLE, SAYS)};            \
    static const struct decode_format name = DECODE_FORMAT(name##_bits, .prose = true)

SAY(vpid, 15, "VPID", "VPID", say_vpid);
SAY(tsc_offset, 63, "TSC_OFFSET", "TSC offset", say_signed);
SAY(tsc_multiplier, 63, "TSC_MULTIPLIER", "TSC multiplier", say_multiplier);
SAY(link, 63, "VMCS_LINK_POINTER", "VMCS link pointer", say_link);
SAY(targets, 31, "CR3_TARGET_COUNT", "CR3-target count", say_targets);
SAY(msr_count, 31, "MSR_COUNT", "count", say_msr_count);
SAY(pml, 15, "PML_INDEX", "PML index", say_pml);
SAY(threshold, 3, "TPR_THRESHOLD", "TPR threshold", say_threshold);

static const struct decode_bit byte_vector_bits[] = {BITS(7, 0, "VECTOR", "vector")};
static const struct decode_format byte_vector = DECODE_FORMAT(byte_vector_bits, .prose = true);

/* ---- the format of each field ---- */

static const struct {
    uint16_t first, last; /* encodings */
    const struct decode_format *format;
} fields[] = {
    {VMCS_VPID, VMCS_VPID, &vpid},
    {VMCS_POSTED_INTERRUPT_NOTIFICATION_VECTOR, VMCS_POSTED_INTERRUPT_NOTIFICATION_VECTOR,
     &byte_vector},
    {VMCS_GUEST_ES_SELECTOR, VMCS_GUEST_TR_SELECTOR, &selector},
    {VMCS_GUEST_INTERRUPT_STATUS, VMCS_GUEST_INTERRUPT_STATUS, &interrupt_status},
    {VMCS_GUEST_PML_INDEX, VMCS_GUEST_PML_INDEX, &pml},
    {VMCS_GUEST_UINV, VMCS_GUEST_UINV, &byte_vector},
    {VMCS_HOST_ES_SELECTOR, VMCS_HOST_TR_SELECTOR, &host_selector},
    {VMCS_TSC_OFFSET, VMCS_TSC_OFFSET, &tsc_offset},
    {VMCS_TSC_MULTIPLIER, VMCS_TSC_MULTIPLIER, &tsc_multiplier},
    {VMCS_VMCS_LINK_POINTER, VMCS_VMCS_LINK_POINTER, &link},
    {VMCS_CR3_TARGET_COUNT, VMCS_CR3_TARGET_COUNT, &targets},
    {VMCS_VM_EXIT_MSR_STORE_COUNT, VMCS_VM_EXIT_MSR_LOAD_COUNT, &msr_count},
    {VMCS_VM_ENTRY_MSR_LOAD_COUNT, VMCS_VM_ENTRY_MSR_LOAD_COUNT, &msr_count},
    {VMCS_TPR_THRESHOLD, VMCS_TPR_THRESHOLD, &threshold},
    {VMCS_GUEST_ES_ACCESS_RIGHTS, VMCS_GUEST_TR_ACCESS_RIGHTS, &access_rights},
    {VMCS_GUEST_INTERRUPTIBILITY_STATE, VMCS_GUEST_INTERRUPTIBILITY_STATE, &interruptibility},
    {VMCS_GUEST_ACTIVITY_STATE, VMCS_GUEST_ACTIVITY_STATE, &activity},
    {VMCS_GUEST_IA32_SYSENTER_CS, VMCS_GUEST_IA32_SYSENTER_CS, &selector},
    {VMCS_HOST_IA32_SYSENTER_CS, VMCS_HOST_IA32_SYSENTER_CS, &selector},
};

const struct decode_format *decode_state(uint32_t encoding)
{
    for (unsigned i = 0; i < ARRAY_LEN(fields); i++)
        if (encoding >= fields[i].first && encoding <= fields[i].last && !(encoding & 1))
            return fields[i].format;
    return NULL;
}

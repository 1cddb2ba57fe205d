#include "arch/x86/inspect/decode_format.h"

#include "arch/x86/inspect/fields.h"
#include "hv/lib.h"

/* SDM 3A "Control Registers", "System Flags and Fields in the EFLAGS Register", "Debug Control
 * Register (DR7)". */

static const struct decode_bit cr0_bits[] = {
    BIT(0, "PE", "protection enable", "real-address mode", "protected mode"),
    BIT(1, "MP", "monitor coprocessor", "WAIT ignores TS", "WAIT causes #NM when TS is 1"),
    BIT(2, "EM", "emulation", "x87 instructions are executed", "x87 instructions cause #NM"),
    BIT(3, "TS", "task switched", "x87 and SSE instructions are executed",
        "x87 and SSE instructions cause #NM"),
    BIT(4, "ET", "extension type", "reserved: should be 1", "always 1"),
    BIT(5, "NE", "numeric error", "x87 errors are reported by FERR#", "x87 errors cause #MF"),
    BIT(16, "WP", "write protect", "supervisor mode may write to read-only pages",
        "supervisor mode may not write to read-only pages"),
    BIT(18, "AM", "alignment mask", "no alignment checks", "RFLAGS.AC asks for alignment checks"),
    BIT(29, "NW", "not write-through", "write-back caching", "invalid unless CD is 1"),
    BIT(30, "CD", "cache disable", "caching as the memory types say", "no new lines are cached"),
    BIT(31, "PG", "paging", "linear addresses are physical addresses",
        "linear addresses are translated"),
};

static const struct decode_bit cr4_bits[] = {
    BIT(0, "VME", "virtual-8086 mode extensions", "off", "virtual interrupts in virtual-8086 mode"),
    BIT(1, "PVI", "protected-mode virtual interrupts", "off",
        "virtual interrupts in protected mode"),
    BIT(2, "TSD", "time stamp disable", "RDTSC at any CPL", "RDTSC at CPL 0 only"),
    BIT(3, "DE", "debugging extensions", "DR4 and DR5 are DR6 and DR7", "DR4 and DR5 cause #UD"),
    BIT(4, "PSE", "page size extensions", "no 4-MByte pages with 32-bit paging",
        "4-MByte pages with 32-bit paging"),
    BIT(5, "PAE", "physical address extension", "32-bit paging", "PAE, 4-level or 5-level paging"),
    BIT(6, "MCE", "machine-check enable", "a machine check shuts the processor down",
        "a machine check causes #MC"),
    BIT(7, "PGE", "page global enable", "global pages are not kept", "global pages are kept"),
    BIT(8, "PCE", "performance-monitoring counter enable", "RDPMC at CPL 0 only",
        "RDPMC at any CPL"),
    BIT(9, "OSFXSR", "OS support for FXSAVE and FXRSTOR", "SSE instructions cause #UD",
        "SSE instructions are executed"),
    BIT(10, "OSXMMEXCPT", "OS support for unmasked SIMD floating-point exceptions",
        "unmasked SIMD exceptions cause #UD", "unmasked SIMD exceptions cause #XM"),
    BIT(11, "UMIP", "user-mode instruction prevention", "SGDT, SIDT, SLDT, SMSW, STR at any CPL",
        "SGDT, SIDT, SLDT, SMSW, STR cause #GP above CPL 0"),
    BIT(12, "LA57", "57-bit linear addresses", "4-level paging in IA-32e mode",
        "5-level paging in IA-32e mode"),
    BIT(13, "VMXE", "VMX enable", "VMX instructions cause #UD", "VMXON is allowed"),
    BIT(14, "SMXE", "SMX enable", "GETSEC causes #UD", "GETSEC is allowed"),
    BIT(16, "FSGSBASE", "FSGSBASE enable", "RDFSBASE and its relatives cause #UD",
        "RDFSBASE and its relatives are executed"),
    BIT(17, "PCIDE", "PCID enable", "CR3 has no PCID", "CR3 has a PCID in bits 11:0"),
    BIT(18, "OSXSAVE", "XSAVE and processor extended states enable", "XSAVE causes #UD",
        "XSAVE, XGETBV and XSETBV are executed"),
    BIT(19, "KL", "key locker enable", "key locker instructions cause #UD",
        "key locker instructions are executed"),
    BIT(20, "SMEP", "supervisor-mode execution prevention",
        "supervisor mode may execute user pages", "supervisor mode may not execute user pages"),
    BIT(21, "SMAP", "supervisor-mode access prevention", "supervisor mode may access user pages",
        "supervisor mode may access user pages only when RFLAGS.AC is 1"),
    BIT(22, "PKE", "protection keys for user-mode pages", "off", "PKRU limits accesses"),
    BIT(23, "CET", "control-flow enforcement technology", "off",
        "IA32_U_CET and IA32_S_CET are used"),
    BIT(24, "PKS", "protection keys for supervisor-mode pages", "off", "IA32_PKRS limits accesses"),
    BIT(25, "UINTR", "user interrupts enable", "off", "user interrupts are delivered"),
    BIT(27, "LASS", "linear-address-space separation", "off",
        "user and supervisor mode are kept to their halves of the address space"),
    BIT(28, "LAM_SUP", "supervisor linear-address masking", "off",
        "upper bits of supervisor pointers are ignored"),
    BIT(32, "FRED", "flexible return and event delivery", "events go through the IDT",
        "events go through the FRED entry points"),
};

#define MASK_CLEAR   "the guest owns the bit"
#define MASK_SET     "the host owns the bit: reads give the shadow, a write of another value exits"
#define SHADOW_CLEAR "the guest reads 0 where the host owns the bit"
#define SHADOW_SET   "the guest reads 1 where the host owns the bit"

static const struct decode_format cr0 = DECODE_FORMAT(cr0_bits, .ones = 0);
static const struct decode_format cr4 = DECODE_FORMAT(cr4_bits, .ones = 0);
static const struct decode_format cr0_mask =
    DECODE_FORMAT(cr0_bits, .clear = MASK_CLEAR, .set = MASK_SET);
static const struct decode_format cr4_mask =
    DECODE_FORMAT(cr4_bits, .clear = MASK_CLEAR, .set = MASK_SET);
static const struct decode_format cr0_shadow =
    DECODE_FORMAT(cr0_bits, .clear = SHADOW_CLEAR, .set = SHADOW_SET);
static const struct decode_format cr4_shadow =
    DECODE_FORMAT(cr4_bits, .clear = SHADOW_CLEAR, .set = SHADOW_SET);

#define FIXED(rows)                                                                                \
    {                                                                                              \
        DECODE_FORMAT(rows, .loose = true, .clear = "may be 0 in VMX operation",                   \
                      .set = "must be 1 in VMX operation"),                                        \
            DECODE_FORMAT(rows, .loose = true, .clear = "must be 0 in VMX operation",              \
                          .set = "may be 1 in VMX operation")                                      \
    }
const struct decode_format decode_fixed_cr0[2] = FIXED(cr0_bits);
const struct decode_format decode_fixed_cr4[2] = FIXED(cr4_bits);

/* ---- CR3 ---- */

static const struct decode_bit cr3_bits[] = {
    BIT(3, "PWT", "page-level write-through", "write-back", "write-through"),
    BIT(4, "PCD", "page-level cache disable", "cached", "not cached"),
    BITS(51, 12, "FRAME", "page frame of the paging structure"),
    BIT(61, "LAM_U57", "user linear-address masking, 57 bits", "off", "on"),
    BIT(62, "LAM_U48", "user linear-address masking, 48 bits", "off", "on"),
};
static const struct decode_bit cr3_pcid_bits[] = {
    BITS(11, 0, "PCID", "process-context identifier"),
    BITS(51, 12, "FRAME", "page frame of the paging structure"),
    BIT(61, "LAM_U57", "user linear-address masking, 57 bits", "off", "on"),
    BIT(62, "LAM_U48", "user linear-address masking, 48 bits", "off", "on"),
};
/* Bits 2:0 and 11:5 are ignored without PCID. */
static const struct decode_format cr3 = DECODE_FORMAT(cr3_bits, .prose = true, .loose = true);
static const struct decode_format cr3_pcid = DECODE_FORMAT(cr3_pcid_bits, .prose = true);

#define CR4_PCIDE (1ull << 17)

/* ---- RFLAGS, DR7 ---- */

static const struct decode_bit rflags_bits[] = {
    BIT(0, "CF", "carry flag", "no carry", "carry"),
    BIT(2, "PF", "parity flag", "odd parity", "even parity"),
    BIT(4, "AF", "auxiliary carry flag", "no carry out of bit 3", "carry out of bit 3"),
    BIT(6, "ZF", "zero flag", "not zero", "zero"),
    BIT(7, "SF", "sign flag", "positive", "negative"),
    BIT(8, "TF", "trap flag", "no single step", "single step"),
    BIT(9, "IF", "interrupt enable flag", "interrupts are masked", "interrupts are enabled"),
    BIT(10, "DF", "direction flag", "string instructions go up", "string instructions go down"),
    BIT(11, "OF", "overflow flag", "no overflow", "overflow"),
    BITS(13, 12, "IOPL", "I/O privilege level"),
    BIT(14, "NT", "nested task", "IRET returns from a procedure", "IRET returns to another task"),
    BIT(16, "RF", "resume flag", "instruction breakpoints are reported",
        "the next instruction breakpoint is not reported"),
    BIT(17, "VM", "virtual-8086 mode", "not virtual-8086 mode", "virtual-8086 mode"),
    BIT(18, "AC", "alignment check or access control",
        "no alignment checks; SMAP prevents accesses",
        "alignment checks at CPL 3; SMAP allows explicit accesses"),
    BIT(19, "VIF", "virtual interrupt flag", "virtual interrupts are masked",
        "virtual interrupts are enabled"),
    BIT(20, "VIP", "virtual interrupt pending", "no virtual interrupt is pending",
        "a virtual interrupt is pending"),
    BIT(21, "ID", "identification flag", "0 (a program that can change it has CPUID)",
        "1 (a program that can change it has CPUID)"),
};
static const struct decode_format rflags = DECODE_FORMAT(rflags_bits, .ones = 1u << 1);

static const char *const conditions[] = {"instruction execution", "data writes",
                                         "I/O reads or writes (CR4.DE)", "data reads or writes"};
static const char *const lengths[] = {"1 byte", "2 bytes", "8 bytes", "4 bytes"};

#define ENABLE(n, NAME, TITLE) BIT(n, NAME, TITLE, "not enabled", "enabled")
#define BREAKPOINT(n)                                                                              \
    BITS_ONE_OF(17 + (n)*4, 16 + (n)*4, "R_W" #n, "break on", conditions, .gate = 0),              \
        BITS_ONE_OF(19 + (n)*4, 18 + (n)*4, "LEN" #n, "length", lengths, .gate = 0)

static const struct decode_bit dr7_bits[] = {
    ENABLE(0, "L0", "breakpoint 0, local"),
    ENABLE(1, "G0", "breakpoint 0, global"),
    ENABLE(2, "L1", "breakpoint 1, local"),
    ENABLE(3, "G1", "breakpoint 1, global"),
    ENABLE(4, "L2", "breakpoint 2, local"),
    ENABLE(5, "G2", "breakpoint 2, global"),
    ENABLE(6, "L3", "breakpoint 3, local"),
    ENABLE(7, "G3", "breakpoint 3, global"),
    ENABLE(8, "LE", "exact breakpoints, local"),
    ENABLE(9, "GE", "exact breakpoints, global"),
    BIT(11, "RTM", "RTM debugging", "#DB aborts nothing more than usual",
        "#DB inside of an RTM region is advanced debugging, with IA32_DEBUGCTL.RTM"),
    BIT(13, "GD", "general detect enable", "MOV DR is executed", "MOV DR causes #DB"),
    BREAKPOINT(0),
    BREAKPOINT(1),
    BREAKPOINT(2),
    BREAKPOINT(3),
};
static const struct decode_format dr7 = DECODE_FORMAT(dr7_bits, .ones = 1u << 10);

const struct decode_format *decode_cr(uint32_t encoding, const struct decode_context *c)
{
    switch (encoding) {
    case VMCS_GUEST_CR0:
    case VMCS_HOST_CR0:
        return &cr0;
    case VMCS_CR0_GUEST_HOST_MASK:
        return &cr0_mask;
    case VMCS_CR0_READ_SHADOW:
        return &cr0_shadow;
    case VMCS_GUEST_CR4:
    case VMCS_HOST_CR4:
        return &cr4;
    case VMCS_CR4_GUEST_HOST_MASK:
        return &cr4_mask;
    case VMCS_CR4_READ_SHADOW:
        return &cr4_shadow;
    case VMCS_GUEST_CR3:
    case VMCS_CR3_TARGET_VALUE_0:
    case VMCS_CR3_TARGET_VALUE_1:
    case VMCS_CR3_TARGET_VALUE_2:
    case VMCS_CR3_TARGET_VALUE_3:
        return c->guest_cr4 & CR4_PCIDE ? &cr3_pcid : &cr3;
    case VMCS_HOST_CR3:
        return c->host_cr4 & CR4_PCIDE ? &cr3_pcid : &cr3;
    case VMCS_GUEST_RFLAGS:
        return &rflags;
    case VMCS_GUEST_DR7:
        return &dr7;
    default:
        return NULL;
    }
}

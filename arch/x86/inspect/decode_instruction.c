#include "arch/x86/inspect/decode_format.h"

#include "arch/x86/vmx/vmx.h"
#include "hv/lib.h"

/* SDM 3C "Information for VM Exits Due to Instruction Execution": VM-exit instruction information.
 */

static const char *const scalings[] = {"no scaling", "scale by 2", "scale by 4", "scale by 8"};
static const char *const address_sizes[8] = {"16-bit", "32-bit", "64-bit"};
static const char *const operand_sizes[4] = {"16-bit", "32-bit", "64-bit"};
static const char *const segments[8] = {"ES", "CS", "SS", "DS", "FS", "GS"};
static const char *const gdtr_instructions[] = {"SGDT", "SIDT", "LGDT", "LIDT"};
static const char *const ldtr_instructions[] = {"SLDT", "STR", "LLDT", "LTR"};

#define REGISTER(h, l, NAME, TITLE, ...)                                                           \
    BITS_ONE_OF(h, l, NAME, TITLE, decode_registers, __VA_ARGS__)
#define ADDRESS_SIZE(...)                                                                          \
    BITS_ONE_OF(9, 7, "ADDRESS_SIZE", "address size", address_sizes, __VA_ARGS__)
#define SEGMENT(...) BITS_ONE_OF(17, 15, "SEGMENT", "segment register", segments, __VA_ARGS__)
#define SCALING      BITS_ONE_OF(1, 0, "SCALING", "scaling", scalings, IF_CLEAR(22))
#define INDEX_AND_BASE                                                                             \
    REGISTER(21, 18, "INDEX_REGISTER", "index register", IF_CLEAR(22)),                            \
        BIT(22, "INDEX_INVALID", "no index register", "there is an index register",                \
            "there is no index register"),                                                         \
        REGISTER(26, 23, "BASE_REGISTER", "base register", IF_CLEAR(27)),                          \
        BIT(27, "BASE_INVALID", "no base register", "there is a base register",                    \
            "there is no base register")
#define MEM_REG                                                                                    \
    BIT(10, "MEM_REG", "register operand", "memory operand",                                       \
        "register operand: what describes a memory operand is undefined")

static const struct decode_bit string_io_bits[] = {
    ADDRESS_SIZE(.gate = 0),
    SEGMENT(.gate = 0),
};
/* INVEPT, INVPCID, INVVPID. */
static const struct decode_bit invalidate_bits[] = {
    SCALING,
    ADDRESS_SIZE(.gate = 0),
    SEGMENT(.gate = 0),
    INDEX_AND_BASE,
    REGISTER(31, 28, "REG2", "register operand", .gate = 0),
};
/* LIDT, LGDT, SIDT, SGDT. */
static const struct decode_bit gdtr_bits[] = {
    SCALING,
    ADDRESS_SIZE(.gate = 0),
    BIT(11, "OPERAND_SIZE", "32-bit operand", "16-bit (undefined in 64-bit mode)",
        "32-bit (undefined in 64-bit mode)"),
    SEGMENT(.gate = 0),
    INDEX_AND_BASE,
    BITS_ONE_OF(29, 28, "INSTRUCTION", "instruction", gdtr_instructions),
};
/* LLDT, LTR, SLDT, STR. */
static const struct decode_bit ldtr_bits[] = {
    SCALING,
    REGISTER(6, 3, "REG1", "register", IF_SET(10)),
    ADDRESS_SIZE(.gate = 0),
    MEM_REG,
    SEGMENT(.gate = 0),
    INDEX_AND_BASE,
    BITS_ONE_OF(29, 28, "INSTRUCTION", "instruction", ldtr_instructions),
};
/* RDRAND, RDSEED, TPAUSE, UMWAIT. */
static const struct decode_bit random_bits[] = {
    REGISTER(6, 3, "OPERAND_REGISTER", "operand register", .gate = 0),
    BITS_ONE_OF(12, 11, "OPERAND_SIZE", "operand size", operand_sizes),
};
/* VMCLEAR, VMPTRLD, VMPTRST, VMXON, XRSTORS, XSAVES. */
static const struct decode_bit memory_bits[] = {
    SCALING,
    ADDRESS_SIZE(.gate = 0),
    SEGMENT(.gate = 0),
    INDEX_AND_BASE,
};
/* VMREAD, VMWRITE. */
static const struct decode_bit vmread_bits[] = {
    SCALING,
    REGISTER(6, 3, "REG1", "register", IF_SET(10)),
    ADDRESS_SIZE(.gate = 0),
    MEM_REG,
    SEGMENT(.gate = 0),
    INDEX_AND_BASE,
    REGISTER(31, 28, "REG2", "register with the field's encoding", .gate = 0),
};
static const struct decode_bit loadiwkey_bits[] = {
    BITS(6, 3, "REG1", "first XMM register"),
    BITS(31, 28, "REG2", "second XMM register"),
};

/* The bits that describe a memory operand, for instructions that may have a register instead. */
#define MEMORY_OPERAND 0x0fff8383u
#define REGISTER_FORM  10

#define FORMAT(name, ...)                                                                          \
    static const struct decode_format name =                                                       \
        DECODE_FORMAT(name##_bits, .prose = true, .loose = true, __VA_ARGS__)
FORMAT(string_io, .dead = 0);
FORMAT(invalidate, .dead = 0);
FORMAT(gdtr, .dead = 0);
FORMAT(ldtr, .dead = MEMORY_OPERAND, .dead_if = REGISTER_FORM);
FORMAT(random, .dead = 0);
FORMAT(memory, .dead = 0);
FORMAT(vmread, .dead = MEMORY_OPERAND, .dead_if = REGISTER_FORM);
FORMAT(loadiwkey, .dead = 0);

static const struct decode_format *const instructions[] = {
    [VMX_EXIT_VMCLEAR] = &memory,
    [VMX_EXIT_VMPTRLD] = &memory,
    [VMX_EXIT_VMPTRST] = &memory,
    [VMX_EXIT_VMREAD] = &vmread,
    [VMX_EXIT_VMWRITE] = &vmread,
    [VMX_EXIT_VMXON] = &memory,
    [VMX_EXIT_IO_INSTRUCTION] = &string_io,
    [VMX_EXIT_GDTR_OR_IDTR_ACCESS] = &gdtr,
    [VMX_EXIT_LDTR_OR_TR_ACCESS] = &ldtr,
    [VMX_EXIT_INVEPT] = &invalidate,
    [VMX_EXIT_INVVPID] = &invalidate,
    [VMX_EXIT_RDRAND] = &random,
    [VMX_EXIT_INVPCID] = &invalidate,
    [VMX_EXIT_RDSEED] = &random,
    [VMX_EXIT_XSAVES] = &memory,
    [VMX_EXIT_XRSTORS] = &memory,
    [VMX_EXIT_UMWAIT] = &random,
    [VMX_EXIT_TPAUSE] = &random,
    [VMX_EXIT_LOADIWKEY] = &loadiwkey,
};

const struct decode_format *decode_instruction(uint32_t basic_exit_reason)
{
    if (basic_exit_reason >= ARRAY_LEN(instructions))
        return NULL;
    return instructions[basic_exit_reason];
}

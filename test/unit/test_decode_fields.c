/* SOURCES: arch/x86/inspect/decode.c arch/x86/inspect/decode_controls.c
 * arch/x86/inspect/decode_cr.c arch/x86/inspect/decode_event.c arch/x86/inspect/decode_exit.c
 * arch/x86/inspect/decode_guest_msr.c arch/x86/inspect/decode_instruction.c
 * arch/x86/inspect/decode_memory.c arch/x86/inspect/decode_msr.c arch/x86/inspect/decode_state.c
 * arch/x86/inspect/decode_bitmap.c arch/x86/inspect/decode_fields.c arch/x86/inspect/fields.c
 * arch/x86/inspect/vmcb_fields.c arch/x86/inspect/names.c hv/fmt.c hv/lib.c */
/* Fields other than the control words, and the bitmaps. Expected texts are typed from the SDM. */
#include "arch/x86/inspect/decode.h"

#include "arch/x86/inspect/decode_bitmap.h"
#include "arch/x86/inspect/decode_fields.h"
#include "arch/x86/inspect/names.h"
#include "arch/x86/vmx/vmx.h"
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct decode_context context;

static const char *line(uint32_t encoding, uint64_t value)
{
    static char text[8192];
    size_t n = vmcs_decode_line(encoding, value, &context, text, sizeof(text));

    assert_true(n < sizeof(text));
    return text;
}

static const char *qualification(uint32_t reason, uint64_t value)
{
    context.exit_reason = reason;
    return line(0x6400, value);
}

static const char *instruction(uint32_t reason, uint32_t value)
{
    context.exit_reason = reason;
    return line(0x440e, value);
}

static int reset(void **state)
{
    (void)state;
    memset(&context, 0, sizeof(context));
    return 0;
}

struct pieces {
    uint64_t word, covered;
    unsigned count;
    int last;
};

static void piece(void *arg, const struct decode_part *p)
{
    struct pieces *s = arg;
    unsigned width = p->high - p->low + 1u;
    uint64_t mask = (width == 64 ? UINT64_MAX : (1ull << width) - 1) << p->low;

    assert_true(p->low <= p->high && p->high < 64);
    assert_true((int)p->low > s->last);
    s->last = p->high;
    assert_true(p->value == (s->word & mask) >> p->low);
    assert_true(p->name && p->name[0] && p->title && p->title[0] && p->meaning);
    if (p->high == p->low || !p->valid)
        assert_true(p->meaning[0]);
    s->covered |= mask;
    s->count++;
}

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
    return *seed >> 32 | *seed << 32;
}

/* For each field, each exit reason and many values: pieces are in order, do not overlap and hold
 * their own bits; every 1 bit is reported, unless the SDM calls it ignored or undefined. */
static void pieces_are_the_value(void **state)
{
    uint64_t seed = 1;

    (void)state;
    for (unsigned row = 0; row < VMCS_ROWS; row++) {
        uint32_t encoding = vmcs_field(row)->encoding;
        bool by_reason = encoding == 0x6400 || encoding == 0x440e;
        bool cr3 =
            encoding == 0x6802 || encoding == 0x6c02 || (encoding >= 0x6008 && encoding <= 0x600e);

        for (uint32_t reason = 0; reason < (by_reason ? 90u : 1u); reason++) {
            unsigned first = 0;

            context.exit_reason = reason;
            for (unsigned i = 0; i < 70; i++) {
                struct pieces s = {.last = -1};
                unsigned n;

                s.word = i == 0 ? 0 : i == 1 ? UINT64_MAX : i < 66 ? 1ull << (i - 2) : next(&seed);
                n = vmcs_decode(encoding, s.word, &context, piece, &s);
                assert_int_equal(n, s.count);
                assert_int_equal(n == 0, vmcs_decode(encoding, 0, &context, NULL, NULL) == 0);
                assert_int_equal(n == 0,
                                 vmcs_decode_line(encoding, s.word, &context, NULL, 0) == 0);
                if (i == 0)
                    first = n;
                assert_true(n >= first);
                if (n > 0 && encoding != 0x440e && !cr3)
                    assert_true((s.covered & s.word) == s.word);
            }
        }
    }
}

static void what_is_only_a_number(void **state)
{
    /* Everything else in the table has a decoder. Natural-width addresses and the like: */
    static const uint32_t numbers[] = {
        0x0004, 0x0006, 0x0008, 0x2000, 0x2002, 0x2004, 0x2006, 0x2008, 0x200a, 0x200c, 0x200e,
        0x2012, 0x2014, 0x2016, 0x2024, 0x2026, 0x2028, 0x202a, 0x2030, 0x2038, 0x203a, 0x2042,
        0x2052, 0x2400, 0x2404, 0x281c, 0x281e, 0x2820, 0x2824, 0x2826, 0x2828, 0x2c0a, 0x2c0c,
        0x2c0e, 0x2c12, 0x2c14, 0x2c16, 0x4018, 0x401a, 0x4020, 0x4022, 0x4024, 0x4406, 0x440a,
        0x440c, 0x440e, 0x4800, 0x4802, 0x4804, 0x4806, 0x4808, 0x480a, 0x480c, 0x480e, 0x4810,
        0x4812, 0x4828, 0x482e, 0x6400, 0x6402, 0x6404, 0x6406, 0x6408, 0x640a, 0x6806, 0x6808,
        0x680a, 0x680c, 0x680e, 0x6810, 0x6812, 0x6814, 0x6816, 0x6818, 0x681c, 0x681e, 0x6824,
        0x6826, 0x682a, 0x682c, 0x6c06, 0x6c08, 0x6c0a, 0x6c0c, 0x6c0e, 0x6c10, 0x6c12, 0x6c14,
        0x6c16, 0x6c1a, 0x6c1c};

    (void)state;
    for (unsigned row = 0; row < VMCS_ROWS; row++) {
        uint32_t encoding = vmcs_field(row)->encoding;
        bool number = false;

        for (unsigned i = 0; i < ARRAY_LEN(numbers); i++)
            number |= numbers[i] == encoding;
        if ((vmcs_decode(encoding, 0, NULL, NULL, NULL) == 0) != number)
            fail_msg("%s", vmcs_field(row)->name);
    }
    /* Encodings without a field, and the high halves of fields. */
    for (uint32_t encoding = 0; encoding < 0x10000; encoding++)
        if (!vmcs_field_by_encoding(encoding))
            assert_int_equal(vmcs_decode(encoding, UINT64_MAX, NULL, NULL, NULL), 0);
    assert_int_equal(vmcs_decode(UINT32_MAX, UINT64_MAX, NULL, NULL, NULL), 0);
    assert_int_equal(vmcs_decode(0x14002, UINT64_MAX, NULL, NULL, NULL), 0);
}

static void exit_reasons(void **state)
{
    char expected[256];

    (void)state;
    for (uint32_t r = 0; r < 256; r++) {
        (void)snprintf(expected, sizeof(expected),
                       r < 10 ? "basic exit reason %u (%s)" : "basic exit reason 0x%x (%s)", r,
                       vmx_exit_reason_name(r));
        assert_string_equal(line(0x4402, r), expected);
    }
    assert_string_equal(line(0x4402, 0x80000021),
                        "basic exit reason 0x21 (ENTRY_FAILURE_GUEST_STATE), VM-entry failure");
    assert_string_equal(line(0x4402, 0x0c00004a),
                        "basic exit reason 0x4a (BUS_LOCK), bus lock, enclave mode");
    assert_string_equal(line(0x4402, 0x32000000),
                        "basic exit reason 0 (EXCEPTION_OR_NMI), prematurely busy shadow stack, "
                        "pending MTF VM exit, VM exit from VMX root operation");
    assert_non_null(strstr(line(0x4402, 1u << 30), "reserved bit 30"));
    assert_string_equal(line(0x4400, 7), "error 7 (VM entry with invalid control field(s))");
    assert_string_equal(line(0x4400, 0), "error 0 (no VM-instruction error)");
    assert_string_equal(line(0x4400, 0xffffffff),
                        "error 0xffffffff (undefined VM-instruction error)");
}

static void interruption_information(void **state)
{
    static const char *const entry[8] = {
        "external interrupt", "reserved",           "non-maskable interrupt (NMI)",
        "hardware exception", "software interrupt", "privileged software exception",
        "software exception", "other event"};
    static const char *const exits[8] = {
        "external interrupt", "reserved", "non-maskable interrupt (NMI)",
        "hardware exception", "reserved", "privileged software exception",
        "software exception", "reserved"};
    char expected[64];

    (void)state;
    for (unsigned type = 0; type < 8; type++) {
        (void)snprintf(expected, sizeof(expected), "interruption type %u (%s)", type, entry[type]);
        assert_non_null(strstr(line(0x4016, 0x80000000 | type << 8), expected));
        assert_non_null(strstr(line(0x4408, 0x80000000 | type << 8), expected));
        (void)snprintf(expected, sizeof(expected), "interruption type %u (%s)", type, exits[type]);
        assert_non_null(strstr(line(0x4404, 0x80000000 | type << 8), expected));
    }
    assert_string_equal(line(0x4404, 0x80000b0e),
                        "vector 0xe (#PF page fault), interruption type 3 (hardware exception), "
                        "error code valid, valid");
    assert_string_equal(line(0x4404, 0x80000020),
                        "vector 0x20, interruption type 0 (external interrupt), valid");
    assert_string_equal(line(0x4404, 0x8000000d), "vector 0xd, interruption type 0 (external "
                                                  "interrupt), valid");
    assert_string_equal(line(0x4404, 0x80001202),
                        "vector 2 (NMI interrupt), interruption type 2 (non-maskable interrupt "
                        "(NMI)), NMI unblocking due to IRET, valid");
    assert_string_equal(
        line(0x4016, 0x80000603),
        "vector 3 (#BP breakpoint), interruption type 6 (software exception), valid");
    assert_string_equal(line(0x4016, 0x80000700),
                        "vector 0 (MTF VM exit), interruption type 7 (other event), valid");
    assert_string_equal(line(0x4016, 0x80002b08),
                        "vector 8 (#DF double fault), interruption type 3 (hardware exception), "
                        "deliver error code, nested exception, valid");
    /* VM entry has nothing to unblock: bit 12 is reserved there. */
    assert_non_null(strstr(line(0x4016, 0x80001202), "reserved bit 12"));
    /* Not valid: the rest means nothing. */
    assert_string_equal(line(0x4404, 0x00000b0e), "none");
    assert_string_equal(line(0x4408, 0), "none");
}

static void exceptions(void **state)
{
    static const char *const mnemonics[32] = {
        "#DE", "#DB", "NMI", "#BP", "#OF", "#BR", "#UD", "#NM", "#DF", "",    "#TS",
        "#NP", "#SS", "#GP", "#PF", "",    "#MF", "#AC", "#MC", "#XM", "#VE", "#CP"};

    (void)state;
    for (unsigned v = 0; v < 32; v++) {
        const char *m = mnemonics[v] ? mnemonics[v] : "";

        assert_string_equal(exception_mnemonic(v), m);
        assert_true(strncmp(exception_name(v), m, strlen(m)) == 0);
        assert_true(exception_name(v)[0]);
    }
    assert_string_equal(exception_name(15), "reserved");
    assert_string_equal(exception_name(32), "");
    assert_string_equal(exception_mnemonic(0xffffffff), "");
    assert_string_equal(line(0x4004, 1u << 14 | 1u << 6 | 1u << 1), "DB | UD | PF");
    assert_string_equal(line(0x4004, 1u << 31 | 1u << 18), "MC | VECTOR_31");
    assert_string_equal(line(0x4004, 0), "none");
    assert_string_equal(line(0x4006, 0x1b), "P | W_R | RSVD | I_D");
    assert_string_equal(line(0x4008, 0x8004), "U_S | SGX");
}

static void error_codes(void **state)
{
    (void)state;
    context.exit_interruption_info = 0x80000b0e;
    assert_string_equal(line(0x4406, 0x7), "P | W_R | U_S");
    assert_string_equal(line(0x4406, 0), "none");
    context.exit_interruption_info = 0x80000b0d;
    assert_string_equal(line(0x4406, 0x13), "external event, gate in the IDT, "
                                            "segment selector index 2");
    context.entry_interruption_info = 0x80000b0a;
    assert_string_equal(line(0x4018, 0x2c), "in the LDT, segment selector index 5");
    context.idt_vectoring_info = 0x80000b0e;
    assert_string_equal(line(0x440a, 0x11), "P | I_D");
    /* Double fault: always 0. Not valid: nothing. */
    context.idt_vectoring_info = 0x80000b08;
    assert_string_equal(line(0x440a, 0x11), "");
    context.idt_vectoring_info = 0x00000b0e;
    assert_string_equal(line(0x440a, 0x11), "");
}

static void qualifications(void **state)
{
    (void)state;
    assert_string_equal(qualification(28, 0x0000000000000300),
                        "number of control register 0 (CR0), access type 0 (MOV to CR), "
                        "register 3 (RBX), LMSW source data 0");
    assert_string_equal(qualification(28, 0x0f13),
                        "number of control register 3 (CR3), access type 1 (MOV from CR), "
                        "register 0xf (R15), LMSW source data 0");
    assert_string_equal(qualification(28, 0x20),
                        "number of control register 0 (CR0), access type 2 "
                        "(CLTS), LMSW source data 0");
    assert_string_equal(qualification(28, 0x00110070),
                        "number of control register 0 (CR0), access type 3 (LMSW), "
                        "LMSW memory operand, LMSW source data 0x11");
    assert_non_null(strstr(qualification(28, 8), "(CR8)"));
    assert_non_null(strstr(qualification(28, 4), "(CR4)"));
    assert_non_null(strstr(qualification(28, 5), "(reserved)"));
    assert_string_equal(qualification(29, 0x17), "number of debug register 7 (DR7), MOV from DR, "
                                                 "register 0 (RAX)");
    assert_string_equal(qualification(29, 0x800), "number of debug register 0 (DR0), MOV to DR, "
                                                  "register 8 (R8)");
    assert_string_equal(qualification(30, 0x00200000), "size of access 0 (1-byte), OUT, port 0x20 "
                                                       "(8259 PIC, master)");
    assert_string_equal(qualification(30, 0x00600048), "size of access 0 (1-byte), IN, immediate "
                                                       "operand, port 0x60 (8042 keyboard, data)");
    assert_string_equal(qualification(30, 0x12340033),
                        "size of access 3 (4-byte), OUT, string instruction, REP prefixed, "
                        "port 0x1234");
    assert_string_equal(qualification(5, 0x0cfc0009), "size of access 1 (2-byte), IN, port 0xcfc "
                                                      "(PCI configuration data)");
    assert_non_null(strstr(qualification(30, 2), "(reserved)"));
    assert_string_equal(qualification(9, 0xc0000028), "selector of the TSS to be loaded 0x28, "
                                                      "source of the task switch 3 (task gate in "
                                                      "IDT)");
    assert_non_null(strstr(qualification(9, 0x40000028), "(IRET)"));
    assert_non_null(strstr(qualification(9, 0x80000028), "(JMP)"));
    assert_non_null(strstr(qualification(9, 0x28), "(CALL)"));
    assert_string_equal(qualification(14, 0xffff800000001000), "linear address 0xffff800000001000");
    assert_string_equal(qualification(4, 0x9a), "vector 0x9a");
    assert_string_equal(qualification(45, 0x31), "vector 0x31");
    assert_string_equal(qualification(56, 0x300), "offset within the APIC page 0x300");
    assert_string_equal(qualification(36, 1), "monitoring hardware armed");
    assert_string_equal(qualification(33, 4), "failure 4 (invalid VMCS link pointer)");
    assert_string_equal(qualification(0x80000021, 2), "failure 2 (failure in loading the PDPTEs)");
    assert_non_null(strstr(qualification(33, 3), "NMI"));
    assert_non_null(strstr(qualification(34, 2), "from 1 2"));
    assert_string_equal(qualification(23, 0x10), "displacement 0x10");
    assert_string_equal(qualification(54, 0), "WBINVD");
    assert_string_equal(qualification(54, 1), "WBNOINVD");
    assert_string_equal(qualification(62, 0x1000), "NMI unblocking due to IRET");
    assert_string_equal(qualification(66, 0x800), "SPP miss");
    assert_string_equal(qualification(66, 0x1000), "SPP misconfiguration, NMI unblocking due to "
                                                   "IRET");
    assert_string_equal(qualification(75, 1), "VM context invalid");
    /* Without a qualification. */
    assert_string_equal(qualification(12, 5), "");
    assert_string_equal(qualification(49, 5), "");
    assert_string_equal(qualification(0xffff, 5), "");
}

static void exception_qualifications(void **state)
{
    (void)state;
    context.exit_interruption_info = 0x80000301;
    assert_string_equal(qualification(0, 0x4001), "B0 | BS");
    assert_string_equal(qualification(0, 0x12808), "B3 | BLD | BD | RTM");
    context.exit_interruption_info = 0x80000b0e;
    assert_string_equal(qualification(0, 0xdead0), "linear address 0xdead0");
    context.exit_interruption_info = 0x80000b0d;
    assert_string_equal(qualification(0, 0xdead0), "");
    context.exit_interruption_info = 0x80000202;
    assert_string_equal(qualification(0, 0), "");
    context.exit_interruption_info = 0;
    assert_string_equal(qualification(0, 1), "");
}

static void ept_and_apic_qualifications(void **state)
{
    static const char *const apic[16] = {
        [0] = "linear access for a data read during instruction execution",
        [1] = "linear access for a data write during instruction execution",
        [2] = "linear access for an instruction fetch",
        [3] = "linear access (read or write) during event delivery",
        [4] = "linear access for monitoring",
        [10] = "guest-physical access during event delivery",
        [11] = "guest-physical access for monitoring or trace",
        [15] = "guest-physical access for an instruction fetch or during instruction execution"};
    char expected[160];

    (void)state;
    assert_string_equal(qualification(48, 0x181), "READ | LINEAR_ADDRESS_VALID | TRANSLATED");
    assert_string_equal(qualification(48, 0x18a),
                        "WRITE | READABLE | LINEAR_ADDRESS_VALID | TRANSLATED");
    assert_string_equal(qualification(48, 0x83), "READ | WRITE | LINEAR_ADDRESS_VALID");
    assert_string_equal(qualification(48, 0x0fbc),
                        "FETCH | READABLE | WRITABLE | EXECUTABLE | LINEAR_ADDRESS_VALID | "
                        "TRANSLATED | USER | READ_WRITE_PAGE | EXECUTE_DISABLE_PAGE");
    assert_string_equal(qualification(48, 0x1f040),
                        "USER_EXECUTABLE | NMI_UNBLOCKING_DUE_TO_IRET | SHADOW_STACK | "
                        "SUPERVISOR_SHADOW_STACK | GUEST_PAGING_VERIFICATION | ASYNCHRONOUS");
    /* Bits 8 and 9..11 mean something only with the bits that say so. */
    assert_string_equal(qualification(48, 0x101), "READ");
    assert_string_equal(qualification(48, 0x681), "READ | LINEAR_ADDRESS_VALID");
    for (unsigned type = 0; type < 16; type++) {
        (void)snprintf(expected, sizeof(expected), "(%s)", apic[type] ? apic[type] : "reserved");
        assert_non_null(strstr(qualification(44, 0x300 | type << 12), expected));
    }
    assert_string_equal(qualification(44, 0x110b0),
                        "offset within the APIC page 0xb0, access type 1 "
                        "(linear access for a data write during "
                        "instruction execution), asynchronous to "
                        "instruction execution");
}

static void instruction_information(void **state)
{
    (void)state;
    /* VMREAD RDI into RAX; the memory description is dead. */
    assert_string_equal(instruction(23, 0x70000400), "register 0 (RAX), register operand, "
                                                     "register with the field's encoding 7 (RDI)");
    /* VMWRITE from [RBX + RCX * 4], DS, 64-bit. */
    assert_string_equal(instruction(25, 0x21858102u & ~(1u << 10)),
                        "scaling 2 (scale by 4), address size 2 (64-bit), segment register 3 (DS), "
                        "index register 1 (RCX), base register 3 (RBX), "
                        "register with the field's encoding 2 (RDX)");
    assert_string_equal(instruction(19, 0x0a418100),
                        "address size 2 (64-bit), segment register 3 (DS), no index register, "
                        "no base register");
    assert_string_equal(instruction(46, 0x30418900),
                        "address size 2 (64-bit), 32-bit operand, segment register 3 (DS), "
                        "no index register, base register 0 (RAX), instruction 3 (LIDT)");
    assert_non_null(strstr(instruction(46, 0x00418900), "(SGDT)"));
    assert_string_equal(instruction(47, 0x20000428),
                        "register 5 (RBP), register operand, instruction 2 (LLDT)");
    assert_string_equal(instruction(57, 0x1018),
                        "operand register 3 (RBX), operand size 2 (64-bit)");
    assert_string_equal(instruction(61, 0x0818),
                        "operand register 3 (RBX), operand size 1 (32-bit)");
    assert_string_equal(instruction(30, 0x00028080),
                        "address size 1 (32-bit), segment register 5 (GS)");
    assert_string_equal(instruction(69, 0x20000008), "first XMM register 1, second XMM register 2");
    assert_non_null(strstr(instruction(50, 0x90418100), "register operand 9 (R9)"));
    assert_string_equal(instruction(10, 0xffffffff), "");
    assert_string_equal(instruction(0xffff, 0xffffffff), "");
}

static void access_rights(void **state)
{
    static const char *const types[2][16] = {
        {"reserved", "16-bit TSS (available)", "LDT", "16-bit TSS (busy)", "16-bit call gate",
         "task gate", "16-bit interrupt gate", "16-bit trap gate", "reserved",
         "32-bit or 64-bit TSS (available)", "reserved", "32-bit or 64-bit TSS (busy)",
         "32-bit or 64-bit call gate", "reserved", "32-bit or 64-bit interrupt gate",
         "32-bit or 64-bit trap gate"},
        {"data, read-only", "data, read-only, accessed", "data, read/write",
         "data, read/write, accessed", "data, read-only, expand-down",
         "data, read-only, expand-down, accessed", "data, read/write, expand-down",
         "data, read/write, expand-down, accessed", "code, execute-only",
         "code, execute-only, accessed", "code, execute/read", "code, execute/read, accessed",
         "code, execute-only, conforming", "code, execute-only, conforming, accessed",
         "code, execute/read, conforming", "code, execute/read, conforming, accessed"}};
    char expected[128];

    (void)state;
    for (uint32_t encoding = 0x4814; encoding <= 0x4822; encoding += 2)
        for (unsigned s = 0; s < 2; s++)
            for (unsigned type = 0; type < 16; type++) {
                (void)snprintf(expected, sizeof(expected),
                               type < 10 ? "type %u (%s" : "type 0x%x (%s", type, types[s][type]);
                assert_true(strncmp(line(encoding, type | s << 4), expected, strlen(expected)) ==
                            0);
            }
    assert_string_equal(line(0x4816, 0xa09b), "type 0xb (code, execute/read, accessed), "
                                              "code or data, DPL 0, present, 64-bit, "
                                              "4-KByte granularity");
    assert_string_equal(line(0x4818, 0xc0f3), "type 3 (data, read/write, accessed), code or data, "
                                              "DPL 3, present, 32-bit, 4-KByte granularity");
    assert_string_equal(line(0x4820, 0x10082), "unusable");
    assert_string_equal(line(0x4820, 0x10000), "unusable");
    assert_non_null(strstr(line(0x4814, 0x193), "reserved bit 8"));
}

static void small_states(void **state)
{
    static const char *const activity[] = {"active", "HLT", "shutdown", "wait-for-SIPI"};
    static const char *const blocking[] = {"BLOCKING_BY_STI", "BLOCKING_BY_MOV_SS",
                                           "BLOCKING_BY_SMI", "BLOCKING_BY_NMI",
                                           "ENCLAVE_INTERRUPTION"};
    char expected[256];

    (void)state;
    for (unsigned i = 0; i < 6; i++) {
        (void)snprintf(expected, sizeof(expected), "activity state %u (%s)", i,
                       i < 4 ? activity[i] : "reserved");
        assert_string_equal(line(0x4826, i), expected);
    }
    for (unsigned v = 1; v < 32; v++) {
        expected[0] = 0;
        for (unsigned b = 0; b < 5; b++)
            if (v >> b & 1) {
                strcat(expected, expected[0] ? " | " : "");
                strcat(expected, blocking[b]);
            }
        assert_string_equal(line(0x4824, v), expected);
    }
    for (unsigned v = 0; v < 8; v++) {
        (void)snprintf(expected, sizeof(expected), "RPL %u%s, index 1", v & 3,
                       v & 4 ? ", LDT" : "");
        assert_string_equal(line(0x0802, 8 | v), expected);
        (void)snprintf(expected, sizeof(expected), "RPL %u%s%s, index 1", v & 3,
                       v & 3 ? " (not allowed: must be 0)" : "", v & 4 ? ", LDT" : "");
        assert_string_equal(line(0x0c02, 8 | v), expected);
    }
    assert_string_equal(line(0x6822, 0x5005), "B0 | B2 | ENABLED_BREAKPOINT | BS");
    assert_string_equal(line(0x0810, 0x3120), "requesting virtual interrupt 0x20, "
                                              "servicing virtual interrupt 0x31");
    assert_string_equal(line(0x0000, 0),
                        "VPID 0 (the host's own: not allowed when VPIDs are enabled)");
    assert_string_equal(line(0x0000, 3), "VPID 3 (tags the guest's cached translations)");
    assert_string_equal(line(0x2800, UINT64_MAX), "VMCS link pointer 0xffffffffffffffff (none)");
    assert_string_equal(line(0x2800, 0x1000),
                        "VMCS link pointer 0x1000 (address of a shadow VMCS)");
    assert_string_equal(line(0x400a, 5), "CR3-target count 5 (more than 4 CR3-target values: not "
                                         "allowed by processors so far)");
    assert_string_equal(line(0x400e, 2), "count 2 (2 MSRs)");
    assert_non_null(strstr(line(0x4014, 513), "more than"));
    assert_string_equal(line(0x0812, 511), "PML index 0x1ff (0 entries of 512 are written)");
    assert_string_equal(line(0x0812, 0xffff),
                        "PML index 0xffff (the page-modification log is full)");
    assert_non_null(strstr(line(0x401c, 0), "no such exit"));
    assert_non_null(strstr(line(0x401c, 7), "fall below 7"));
}

static void clocks(void **state)
{
    (void)state;
    assert_string_equal(line(0x2010, 0), "TSC offset 0 (none)");
    assert_string_equal(line(0x2010, (uint64_t)-256),
                        "TSC offset 0xffffffffffffff00 (-256 ticks: the guest's TSC is behind)");
    assert_string_equal(line(0x2010, 256),
                        "TSC offset 0x100 (+256 ticks: the guest's TSC is ahead)");
    assert_non_null(strstr(line(0x2010, 1ull << 63), "(-9223372036854775808 ticks"));
    assert_string_equal(line(0x2032, 1ull << 48), "TSC multiplier 0x1000000000000 (times 1.000)");
    assert_string_equal(line(0x2032, 3ull << 46), "TSC multiplier 0xc00000000000 (times 0.750)");
    assert_non_null(strstr(line(0x2032, UINT64_MAX), "(times 65535.999)"));
}

static void registers(void **state)
{
    (void)state;
    assert_string_equal(line(0x6800, 0x80050033), "PE | MP | ET | NE | WP | AM | PG");
    assert_string_equal(line(0x6804, 0x001626f0),
                        "PSE | PAE | MCE | PGE | OSFXSR | OSXMMEXCPT | VMXE | PCIDE | OSXSAVE | "
                        "SMEP");
    assert_string_equal(line(0x6804, 1ull << 32 | 1 << 25 | 1 << 11), "UMIP | UINTR | FRED");
    assert_string_equal(line(0x6820, 0x3202), "IF | IOPL 3");
    assert_string_equal(line(0x6820, 0x246), "PF | ZF | IF");
    assert_string_equal(line(0x6820, 0), "none");
    assert_string_equal(line(0x681a, 0x400), "none");
    assert_string_equal(line(0x681a, 0x000d0402), "G0 | R_W0 1 (data writes) | LEN0 3 (4 bytes)");
    assert_string_equal(line(0x2806, 0xd01), "SCE | LME | LMA | NXE");
    assert_string_equal(line(0x2802, 0x4003), "LBR | BTF | FREEZE_WHILE_SMM");
    assert_string_equal(line(0x2808, 0x70000000full),
                        "PMC0 | PMC1 | PMC2 | PMC3 | FIXED_CTR0 | FIXED_CTR1 | FIXED_CTR2");
    assert_string_equal(line(0x2804, 0x0007040600070406),
                        "PA0 6 (WB, write-back), PA1 4 (WT, write-through), PA2 7 (UC-, uncached), "
                        "PA3 0 (UC, uncacheable), PA4 6 (WB, write-back), PA5 4 (WT, "
                        "write-through), PA6 7 (UC-, uncached), PA7 0 (UC, uncacheable)");
    assert_non_null(strstr(line(0x2804, 1), "PA0 1 (WC, write-combining)"));
    assert_non_null(strstr(line(0x2804, 5), "PA0 5 (WP, write-protected)"));
    assert_non_null(strstr(line(0x2804, 2), "PA0 2 (reserved)"));
    assert_string_equal(line(0x6802, 0x1018), "page-level write-through, page-level cache disable, "
                                              "page frame of the paging structure 1");
    context.guest_cr4 = 1u << 17;
    assert_string_equal(line(0x6802, 0x1018), "process-context identifier 0x18, "
                                              "page frame of the paging structure 1");
    assert_non_null(strstr(line(0x6c02, 0x1018), "write-through"));
    assert_string_equal(line(0x280a, 0x5000), "none");
    assert_non_null(strstr(line(0x280a, 0x5001), "page frame of the page directory 5"));
}

struct meanings {
    unsigned n;
    char text[3][160];
};

static void keep(void *arg, const struct decode_part *p)
{
    struct meanings *m = arg;

    if (m->n < ARRAY_LEN(m->text))
        (void)snprintf(m->text[m->n++], sizeof(m->text[0]), "%s", p->meaning);
}

static void masks_and_shadows_have_their_own_sense(void **state)
{
    static const uint32_t both[] = {0x6000, 0x6002, 0x6004, 0x6006};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(both); i++) {
        struct meanings m = {0};
        const char *expected = i < 2 ? "the host owns" : "guest reads 1";

        (void)vmcs_decode(both[i], 1, NULL, keep, &m);
        assert_non_null(strstr(m.text[0], expected));
        assert_non_null(strstr(m.text[1], i < 2 ? "the guest owns" : "guest reads 0"));
    }
}

static void memory_and_bitmaps(void **state)
{
    (void)state;
    assert_string_equal(line(0x201a, 0x1000805e),
                        "EPT paging-structure memory type 6 (WB, write-back), EPT page-walk length "
                        "minus 1 3 (4 levels), accessed and dirty flags for EPT, page frame of the "
                        "EPT root table 0x10008");
    assert_non_null(strstr(line(0x201a, 0x1001), "type 1 (reserved)"));
    assert_non_null(strstr(line(0x201a, 0x20), "(5 levels)"));
    assert_non_null(strstr(line(0x201a, 0x100), "reserved bit 8"));
    assert_string_equal(line(0x201c, 0), "EOI exits for the vectors 0 (no EOI of these vectors "
                                         "exits)");
    assert_string_equal(line(0x201c, 0x8000000700000001ull),
                        "EOI exits for the vectors 0x8000000700000001 (0x0, 0x20-0x22, 0x3f)");
    assert_non_null(strstr(line(0x2022, UINT64_MAX), "(0xc0-0xff)"));
    assert_non_null(strstr(line(0x201e, 0x5555555555555555), ", ...)"));
    assert_string_equal(line(0x202c, 0x1900), "PT | CET_U | CET_S");
    assert_string_equal(line(0x202e, 1ull << 63 | 1), "ECREATE | LEAVES_ABOVE_62");
    assert_string_equal(line(0x2018, 1), "EPTP_SWITCHING");
    assert_string_equal(line(0x4828, 0x30000), "");
}

static void aborts(void **state)
{
    (void)state;
    assert_string_equal(vmx_abort_name(0), "no VMX abort");
    assert_string_equal(vmx_abort_name(1), "failure in saving guest MSRs");
    assert_string_equal(vmx_abort_name(4), "failure on loading host MSRs");
    for (uint32_t i = 0; i < 7; i++)
        assert_string_not_equal(vmx_abort_name(i), "undefined VMX abort");
    assert_string_equal(vmx_abort_name(7), "undefined VMX abort");
    assert_string_equal(vmx_abort_name(0xffffffff), "undefined VMX abort");
}

static void context_from_a_snapshot(void **state)
{
    struct abi_vmcs v = {0};
    struct decode_context c;

    (void)state;
    vmcs_set(&v, VMCS_ROW_EXIT_REASON, 28);
    vmcs_set(&v, VMCS_ROW_GUEST_CR4, 1u << 17);
    vmcs_set(&v, VMCS_ROW_IDT_VECTORING_INFO, 0x80000b0e);
    /* Stale information: absent. */
    v.value[VMCS_ROW_VM_EXIT_INTERRUPTION_INFO] = 7;
    c = decode_context_of(&v);
    assert_int_equal(c.exit_reason, 28);
    assert_int_equal(c.guest_cr4, 1u << 17);
    assert_int_equal(c.idt_vectoring_info, 0x80000b0e);
    assert_int_equal(c.exit_interruption_info, 0);
    assert_int_equal(c.host_cr4, 0);
}

/* ---- bitmaps in memory ---- */

struct ranges {
    unsigned n;
    uint32_t first[8], last[8];
};

static void range(void *arg, uint32_t first, uint32_t last)
{
    struct ranges *r = arg;

    assert_true(r->n < 8);
    r->first[r->n] = first;
    r->last[r->n++] = last;
}

static uint8_t maps[0x5000];

static unsigned ranges_of(const struct exit_maps *m, enum exit_map map, bool exits,
                          struct ranges *r)
{
    unsigned count;

    r->n = 0;
    count = exit_map_ranges(m, maps, map, exits, range, r);
    assert_int_equal(count, r->n);
    return count;
}

/* SDM 3C "I/O-Bitmap Addresses": A for 0 to 0x7fff, B behind it; APM 2 "I/O Intercepts": one map.
 */
static void io_bitmaps(const struct exit_maps *m, uint32_t at)
{
    uint8_t *ports = maps + at;
    struct ranges r = {0};

    memset(maps, 0, sizeof(maps));
    assert_int_equal(ranges_of(m, EXIT_MAP_PORTS, true, &r), 0);
    assert_int_equal(ranges_of(m, EXIT_MAP_PORTS, false, &r), 1);
    assert_true(r.first[0] == 0 && r.last[0] == 0xffff);
    /* 0x20..0x21, 0x7fff..0x8000 over the border, 0xffff. */
    ports[4] = 3;
    ports[0xfff] = 0x80;
    ports[0x1000] = 1;
    ports[0x1fff] = 0x80;
    assert_int_equal(ranges_of(m, EXIT_MAP_PORTS, true, &r), 3);
    assert_true(r.first[0] == 0x20 && r.last[0] == 0x21);
    assert_true(r.first[1] == 0x7fff && r.last[1] == 0x8000);
    assert_true(r.first[2] == 0xffff && r.last[2] == 0xffff);
    assert_int_equal(ranges_of(m, EXIT_MAP_PORTS, false, &r), 3);
    assert_true(r.first[2] == 0x8001 && r.last[2] == 0xfffe);
    memset(ports, 0xff, 0x2000);
    assert_int_equal(exit_map_ranges(m, maps, EXIT_MAP_PORTS, true, NULL, NULL), 1);
    assert_int_equal(exit_map_ranges(m, maps, EXIT_MAP_PORTS, false, NULL, NULL), 0);
}

static void io_bitmaps_of_both(void **state)
{
    (void)state;
    io_bitmaps(&exit_maps_vmx, 0x1000);
    io_bitmaps(&exit_maps_svm, 0x2000);
}

static void msr_bitmaps(void **state)
{
    struct ranges r = {0};

    (void)state;
    memset(maps, 0, sizeof(maps));
    maps[0x10 / 8] = 1;              /* RDMSR 0x10 */
    maps[0x400 + 0x80 / 8] = 1;      /* RDMSR 0xc0000080 */
    maps[0x800 + 0x1fff / 8] = 0x80; /* WRMSR 0x1fff */
    maps[0xc00 + 0x1ff8 / 8] = 0xff; /* WRMSR 0xc0001ff8..0xc0001fff */
    assert_int_equal(ranges_of(&exit_maps_vmx, EXIT_MAP_MSR_READS, true, &r), 2);
    assert_true(r.first[0] == 0x10 && r.last[0] == 0x10);
    assert_true(r.first[1] == 0xc0000080 && r.last[1] == 0xc0000080);
    assert_int_equal(ranges_of(&exit_maps_vmx, EXIT_MAP_MSR_WRITES, true, &r), 2);
    assert_true(r.first[0] == 0x1fff && r.last[0] == 0x1fff);
    assert_true(r.first[1] == 0xc0001ff8 && r.last[1] == 0xc0001fff);
}

/* APM 2 "MSR Intercepts": for each MSR a bit for reads, and one for writes. */
static void msr_permission_map(void **state)
{
    struct ranges r = {0};

    (void)state;
    memset(maps, 0, sizeof(maps));
    maps[0x174 / 4] = 1;              /* RDMSR 0x174 */
    maps[0x800 + 0x80 / 4] = 0x0a;    /* WRMSR 0xc0000080, 0xc0000081 */
    maps[0x1000 + 0x1fff / 4] = 0xc0; /* both of 0xc0011fff */
    maps[0x1800] = 0xff;              /* beyond the map */
    assert_int_equal(ranges_of(&exit_maps_svm, EXIT_MAP_MSR_READS, true, &r), 2);
    assert_true(r.first[0] == 0x174 && r.last[0] == 0x174);
    assert_true(r.first[1] == 0xc0011fff && r.last[1] == 0xc0011fff);
    assert_int_equal(ranges_of(&exit_maps_svm, EXIT_MAP_MSR_WRITES, true, &r), 2);
    assert_true(r.first[0] == 0xc0000080 && r.last[0] == 0xc0000081);
    assert_int_equal(ranges_of(&exit_maps_svm, EXIT_MAP_MSR_READS, false, &r), 4);
    assert_true(r.first[3] == 0xc0010000 && r.last[3] == 0xc0011ffe);
}

/* What is marked is listed, and nothing else changes. */
static void marked(void **state)
{
    const struct exit_maps *const both[] = {&exit_maps_vmx, &exit_maps_svm};
    struct ranges r = {0};

    (void)state;
    for (unsigned i = 0; i < 2; i++)
        for (unsigned map = 0; map < EXIT_MAPS; map++) {
            const struct exit_map_part *p = &both[i]->parts[map][0];

            memset(maps, 0xff, sizeof(maps));
            assert_true(exit_map_mark(both[i], maps, (enum exit_map)map, 0x100, 0x102, false));
            for (unsigned other = 0; other < EXIT_MAPS; other++)
                assert_int_equal(ranges_of(both[i], (enum exit_map)other, false, &r), other == map);
            (void)ranges_of(both[i], (enum exit_map)map, false, &r);
            assert_true(r.first[0] == 0x100 && r.last[0] == 0x102);
            assert_true(exit_map_mark(both[i], maps, (enum exit_map)map, 0x101, 0x102, true));
            (void)ranges_of(both[i], (enum exit_map)map, false, &r);
            assert_true(r.first[0] == 0x100 && r.last[0] == 0x100);
            assert_false(exit_map_mark(both[i], maps, (enum exit_map)map, 2, 1, false));
            assert_false(exit_map_mark(both[i], maps, (enum exit_map)map, 0, p->count, false));
            assert_true(p->at + (p->count - 1) * p->stride < 8 * both[i]->size);
        }
    assert_true(
        exit_map_mark(&exit_maps_svm, maps, EXIT_MAP_MSR_READS, 0xc0010000, 0xc0011fff, true));
    assert_false(
        exit_map_mark(&exit_maps_vmx, maps, EXIT_MAP_MSR_READS, 0xc0010000, 0xc0010000, true));
}

static void names_of_ports_and_msrs(void **state)
{
    const struct named_range *n, *before = NULL;

    (void)state;
    assert_string_equal(io_port_name(0x3f8), "UART COM1");
    assert_string_equal(io_port_name(0x40), "8254 PIT");
    assert_string_equal(io_port_name(0x71), "RTC and CMOS");
    assert_string_equal(io_port_name(0xcf8), "PCI configuration address");
    assert_string_equal(io_port_name(0xcf9), "reset control");
    assert_string_equal(io_port_name(0x1234), "");
    assert_string_equal(msr_name(0xc0000080), "IA32_EFER");
    assert_string_equal(msr_name(0x10), "IA32_TIME_STAMP_COUNTER");
    assert_string_equal(msr_name(0x40000000), "");
    /* Sorted, without overlap. */
    for (unsigned i = 0; (n = io_port_named(0, 0xffff, i)) != NULL; i++, before = n) {
        assert_true(n->first <= n->last && n->name[0]);
        assert_true(!before || before->last < n->first);
    }
    assert_true(before && before->last <= 0xffff);
    before = NULL;
    for (unsigned i = 0; (n = msr_named(0, UINT32_MAX, i)) != NULL; i++, before = n) {
        assert_true(n->first <= n->last && n->name[0]);
        assert_true(!before || before->last < n->first);
    }
    assert_string_equal(io_port_named(0x21, 0x43, 0)->name, "8259 PIC, master");
    assert_string_equal(io_port_named(0x22, 0x3f, 0)->name, "Super I/O");
    assert_null(io_port_named(0x22, 0x3f, 1));
    assert_null(io_port_named(0x1000, 0x1010, 0));
}

#define TEST(name) cmocka_unit_test_setup(name, reset)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(pieces_are_the_value),
        TEST(what_is_only_a_number),
        TEST(exit_reasons),
        TEST(interruption_information),
        TEST(exceptions),
        TEST(error_codes),
        TEST(qualifications),
        TEST(exception_qualifications),
        TEST(ept_and_apic_qualifications),
        TEST(instruction_information),
        TEST(access_rights),
        TEST(small_states),
        TEST(clocks),
        TEST(registers),
        TEST(masks_and_shadows_have_their_own_sense),
        TEST(memory_and_bitmaps),
        TEST(aborts),
        TEST(context_from_a_snapshot),
        TEST(io_bitmaps_of_both),
        TEST(msr_bitmaps),
        TEST(msr_permission_map),
        TEST(marked),
        TEST(names_of_ports_and_msrs),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

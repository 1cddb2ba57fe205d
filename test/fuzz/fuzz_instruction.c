/* SOURCES: hv/gmem.c arch/x86/guest/decode.c arch/x86/guest/emulate.c arch/x86/guest/alu.c hv/lib.c
 */
/* The decoder of guests' instructions beside Zydis. Input: the mode, then instruction bytes. */
#include "arch/x86/guest/emulate.h"
#include "hv/lib.h"

#include <Zydis/Zydis.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool good, const char *what, const uint8_t *window, unsigned have)
{
    if (good)
        return;
    fprintf(stderr, "%s:", what);
    for (unsigned i = 0; i < have; i++)
        fprintf(stderr, " %02x", window[i]);
    fputc('\n', stderr);
    abort();
}

static uint8_t number_of(ZydisRegister r)
{
    if (r == ZYDIS_REGISTER_NONE)
        return DECODE_NO_REGISTER;
    if (r == ZYDIS_REGISTER_RIP || r == ZYDIS_REGISTER_EIP)
        return DECODE_RIP;
    return (uint8_t)ZydisRegisterGetId(r);
}

static const ZydisDecodedOperand *memory_of(const ZydisDecodedInstruction *z,
                                            const ZydisDecodedOperand *operands)
{
    for (unsigned i = 0; i < z->operand_count; i++)
        if (operands[i].type == ZYDIS_OPERAND_TYPE_MEMORY && operands[i].visibility != 2)
            return &operands[i];
    return NULL;
}

/* A string instruction's destination is its first operand, the source of MOVS its second. */
static const char *compare_string(const struct instruction *in, const struct emulation *e,
                                  const ZydisDecodedOperand *operands, bool long_mode)
{
    const ZydisDecodedOperand *from = &operands[1];

    if (operands[0].type != ZYDIS_OPERAND_TYPE_MEMORY || operands[0].size != 8u * e->bytes ||
        number_of(operands[0].mem.base) != 7)
        return "another destination";
    if ((from->type == ZYDIS_OPERAND_TYPE_MEMORY) != (e->kind == EMULATE_MOVS))
        return "another source";
    if (e->kind == EMULATE_MOVS && (!long_mode || in->segment >= SEGMENT_FS) &&
        (unsigned)(from->mem.segment - ZYDIS_REGISTER_ES) != in->segment)
        return "another segment";
    return NULL;
}

/* Zydis up to 4.1.1 takes [disp32] for [r13d] if there are REX.B and a 67 prefix (its issue 592).
 * SDM 2A "REX Prefixes", "Special Cases of REX Encodings": REX.B does not count there. */
static bool is_no_base_for_r13d(const ZydisDecodedInstruction *z, const ZydisDecodedOperand *m)
{
    return m->mem.base == ZYDIS_REGISTER_R13D && z->raw.modrm.mod == 0;
}

/* The operands, of instructions that are emulated. */
static const char *compare(const struct instruction *in, const struct emulation *e,
                           const ZydisDecodedInstruction *z, const ZydisDecodedOperand *operands,
                           bool long_mode)
{
    const ZydisDecodedOperand *m = memory_of(z, operands);
    bool string = e->kind == EMULATE_STOS || e->kind == EMULATE_MOVS;

    if (z->address_width != 8u * in->address_bytes)
        return "another address size";
    if (string)
        return compare_string(in, e, operands, long_mode);
    if (!m)
        return "no memory operand";
    if (m->size != 8u * e->bytes)
        return "another operand size";
    if (number_of(m->mem.index) != in->index)
        return "another index";
    if (is_no_base_for_r13d(z, m))
        return in->base == DECODE_NO_REGISTER ? NULL : "a base where there is none";
    if (number_of(m->mem.base) != in->base)
        return "another base";
    if (in->index != DECODE_NO_REGISTER && m->mem.scale != 1u << in->scale)
        return "another scale";
    if (((uint64_t)m->mem.disp.value ^ in->displacement) & alu_mask(in->address_bytes))
        return "another displacement";
    if (!long_mode && (unsigned)(m->mem.segment - ZYDIS_REGISTER_ES) != in->segment)
        return "another segment";
    if (long_mode && (in->segment >= SEGMENT_FS || m->mem.segment >= ZYDIS_REGISTER_FS) &&
        (unsigned)(m->mem.segment - ZYDIS_REGISTER_ES) != in->segment)
        return "another segment";
    if (!!(m->actions & ZYDIS_OPERAND_ACTION_MASK_WRITE) != e->writes)
        return "memory is written or not";
    return NULL;
}

/* With fewer bytes than the instruction has, more are needed. */
static void check_parts(const uint8_t *window, unsigned length, unsigned code)
{
    uint8_t part[DECODE_WINDOW] = {0};
    struct instruction in;

    for (unsigned have = 0; have < length; have++) {
        must(decode(&in, part, have, code) == -E_AGAIN, "enough", part, have);
        part[have] = window[have];
    }
}

static void check(const uint8_t *window, unsigned have, unsigned code)
{
    static const ZydisMachineMode modes[] = {ZYDIS_MACHINE_MODE_LONG_COMPAT_16,
                                             ZYDIS_MACHINE_MODE_LONG_COMPAT_32,
                                             ZYDIS_MACHINE_MODE_LONG_64};
    static const ZydisStackWidth widths[] = {ZYDIS_STACK_WIDTH_16, ZYDIS_STACK_WIDTH_32,
                                             ZYDIS_STACK_WIDTH_64};
    ZydisDecoder decoder;
    ZydisDecodedInstruction z;
    ZydisDecodedOperand operands[ZYDIS_MAX_OPERAND_COUNT];
    struct instruction in;
    struct emulation e;
    int rc = decode(&in, window, have, code);
    ZyanStatus status;
    const char *wrong;

    must(rc || (in.length > 0 && in.length <= have), "a length that cannot be", window, have);
    ZydisDecoderInit(&decoder, modes[code >> 2], widths[code >> 2]);
    status = ZydisDecoderDecodeFull(&decoder, window, have, &z, operands);
    /* Knights Corner's own instructions have no VMX beside them. */
    if (status != ZYAN_STATUS_SUCCESS || z.meta.isa_ext == ZYDIS_ISA_EXT_KNC ||
        z.meta.isa_ext == ZYDIS_ISA_EXT_KNCE || z.meta.isa_ext == ZYDIS_ISA_EXT_KNCV)
        return;
    must(rc == 0, "valid for Zydis", window, have);
    must(in.length == z.length, "another length", window, have);
    check_parts(window, in.length, code);
    if (!emulate_choose(&in, &e))
        return;
    wrong = compare(&in, &e, &z, operands, code == 8);
    must(!wrong, wrong, window, have);
}

/* Every opcode of the map that `escape` leads to, with every ModRM byte and the first bytes of an
 * address. */
static void check_map(const uint8_t *escape, unsigned length, unsigned code)
{
    for (unsigned i = 0; i < 0x10000; i++) {
        uint8_t window[DECODE_WINDOW] = {0};

        memcpy(window, escape, length);
        window[length] = (uint8_t)(i >> 8);
        window[length + 1] = (uint8_t)i;
        window[length + 2] = 0x65; /* SIB with base 5 */
        check(window, DECODE_MAX, code);
    }
}

/* Those of all maps, also with the prefixes that change a length. */
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    static const struct {
        uint8_t length, bytes[4];
    } maps[] = {
        {0, {0}},
        {1, {0x66}},
        {1, {0x67}},
        {1, {0x48}},
        {1, {0x0f}},
        {2, {0x66, 0x0f}},
        {2, {0x67, 0x0f}},
        {2, {0xf2, 0x0f}},
        {2, {0xf3, 0x0f}},
        {2, {0x0f, 0x38}},
        {2, {0x0f, 0x3a}},
        {3, {0x66, 0x0f, 0x38}},
        {2, {0xc5, 0xf9}},
        {3, {0xc4, 0xe1, 0x79}},
        {3, {0xc4, 0xe2, 0x79}},
        {3, {0xc4, 0xe3, 0x79}},
        {3, {0x8f, 0xe8, 0x78}},
        {3, {0x8f, 0xe9, 0x78}},
        {3, {0x8f, 0xea, 0x78}},
        {4, {0x62, 0xf1, 0x7d, 0x48}},
        {4, {0x62, 0xf2, 0x7d, 0x48}},
        {4, {0x62, 0xf3, 0x7d, 0x48}},
    };

    (void)argc;
    (void)argv;
    for (unsigned i = 0; i < ARRAY_LEN(maps); i++)
        for (unsigned code = 2; code <= 8; code *= 2)
            check_map(maps[i].bytes, maps[i].length, code);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint8_t window[DECODE_WINDOW] = {0};

    if (size < 2)
        return 0;
    size = min_u64(size - 1, DECODE_MAX);
    memcpy(window, data + 1, size);
    check(window, (unsigned)size, 2u << data[0] % 3);
    return 0;
}

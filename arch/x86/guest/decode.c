#include "arch/x86/guest/decode.h"

#include "hv/lib.h"

/*
 * What follows an opcode, one letter each; a capital letter: ModRM first.
 *   . nothing   b one byte   w two bytes   d four bytes   z two or four, by operand size
 *   v two, four or eight   j a near branch: like z, but always four in 64-bit code
 *   f a far pointer   o an address   e two bytes and one (ENTER)   ? undefined
 *   M ModRM alone   R ModRM that always names a register   G like B or Z, for TEST only (group 3)
 * Not in 64-bit code: f, x and X like . and M, y and Y like b and B
 */
/* SDM 2D "One-Byte Opcode Map". Prefixes never get here. */
static const char one_byte[] = "MMMMbzxxMMMMbzx." /* 00 */
                               "MMMMbzxxMMMMbzxx" /* 10 */
                               "MMMMbz.xMMMMbz.x" /* 20 */
                               "MMMMbz.xMMMMbz.x" /* 30 */
                               "................" /* 40 */
                               "................" /* 50 */
                               "xxXM....zZbB...." /* 60 */
                               "bbbbbbbbbbbbbbbb" /* 70 */
                               "BZYBMMMMMMMMMMMM" /* 80 */
                               "..........f....." /* 90 */
                               "oooo....bz......" /* a0 */
                               "bbbbbbbbvvvvvvvv" /* b0 */
                               "BBw.XXBZe.w..bx." /* c0 */
                               "MMMMyyx.MMMMMMMM" /* d0 */
                               "bbbbbbbbjjfb...." /* e0 */
                               "......GG......MM" /* f0 */;

/* SDM 2D "Two-Byte Opcode Map". 0f is AMD's 3DNow!, whose opcode stands where others have an
 * immediate. */
static const char two_byte[] = "MMMM?.....?.?M.B" /* 00 */
                               "MMMMMMMMMMMMMMMM" /* 10 */
                               "RRRR????MMMMMMMM" /* 20 */
                               "......?.????????" /* 30 */
                               "MMMMMMMMMMMMMMMM" /* 40 */
                               "MMMMMMMMMMMMMMMM" /* 50 */
                               "MMMMMMMMMMMMMMMM" /* 60 */
                               "BBBBMMM.MM??MMMM" /* 70 */
                               "jjjjjjjjjjjjjjjj" /* 80 */
                               "MMMMMMMMMMMMMMMM" /* 90 */
                               "...MBMMM...MBMMM" /* a0 */
                               "MMMMMMMMMMBMMMMM" /* b0 */
                               "MMBMBBBM........" /* c0 */
                               "MMMMMMMMMMMMMMMM" /* d0 */
                               "MMMMMMMMMMMMMMMM" /* e0 */
                               "MMMMMMMMMMMMMMMM" /* f0 */;
_Static_assert(sizeof(one_byte) == 257 && sizeof(two_byte) == 257, "a letter for each opcode");

static bool has_modrm(char follows)
{
    return follows >= 'A' && follows <= 'Z';
}

static bool exists(char follows, bool long_mode)
{
    switch (follows) {
    case '?':
        return false;
    case 'f':
    case 'x':
    case 'X':
    case 'y':
    case 'Y':
        return !long_mode;
    default:
        return true;
    }
}

/* One decoding. */
struct decoder {
    struct instruction *in;
    const uint8_t *window;
    unsigned at;
    bool operand, address, segment; /* prefixes: 66, 67, of a segment that counts */
};

static uint8_t take_byte(struct decoder *d)
{
    return d->window[d->at++];
}

/* Sign-extended. */
static uint64_t take(struct decoder *d, unsigned bytes)
{
    uint64_t v = get_le64(d->window + d->at);

    d->at += bytes;
    switch (bytes) {
    case 1:
        return (uint64_t)(int8_t)v;
    case 2:
        return (uint64_t)(int16_t)v;
    case 4:
        return (uint64_t)(int32_t)v;
    default:
        return v;
    }
}

/* In 64-bit code only FS and GS count. */
static void note_segment(struct decoder *d, enum segment_id id)
{
    if (d->in->long_mode && id < SEGMENT_FS)
        return;
    d->segment = true;
    d->in->segment = id;
}

/* False: it is none. */
static bool note_prefix(struct decoder *d, uint8_t byte)
{
    struct instruction *in = d->in;

    switch (byte) {
    case 0x26: /* ES */
    case 0x2e: /* CS */
    case 0x36: /* SS */
    case 0x3e: /* DS */
        note_segment(d, (enum segment_id)(byte >> 3 & 3));
        return true;
    case 0x64:
        note_segment(d, SEGMENT_FS);
        return true;
    case 0x65:
        note_segment(d, SEGMENT_GS);
        return true;
    case 0x66:
        d->operand = true;
        return true;
    case 0x67:
        d->address = true;
        return true;
    case 0xf0:
        in->lock = true;
        return true;
    case 0xf2:
    case 0xf3: /* the last one counts */
        in->rep = byte == 0xf3;
        in->repne = byte == 0xf2;
        return true;
    default:
        return false;
    }
}

/* SDM 2A "Instruction Prefixes", "REX Prefixes". Returns the first byte behind them. */
static uint8_t take_prefixes(struct decoder *d)
{
    for (;;) {
        uint8_t byte = take_byte(d);

        if (d->at > DECODE_MAX)
            return byte;
        if (d->in->long_mode && (byte & 0xf0) == 0x40) {
            d->in->rex = byte;
            continue;
        }
        if (!note_prefix(d, byte))
            return byte;
        d->in->rex = 0; /* it counts directly before the opcode only */
    }
}

static void set_sizes(struct decoder *d, unsigned code_bytes)
{
    struct instruction *in = d->in;

    if (code_bytes == 8) {
        in->operand_bytes = in->rex & DECODE_REX_W ? 8 : d->operand ? 2 : 4;
        in->address_bytes = d->address ? 4 : 8;
    } else {
        in->operand_bytes = (uint8_t)(d->operand ? 6 - code_bytes : code_bytes);
        in->address_bytes = (uint8_t)(d->address ? 6 - code_bytes : code_bytes);
    }
}

/* SDM 2A "16-Bit Addressing Forms with the ModR/M Byte". Returns the displacement's bytes. */
static unsigned take_address_16(struct instruction *in, unsigned mod, unsigned rm)
{
    enum { BX = 3, BP = 5, SI = 6, DI = 7, NO = DECODE_NO_REGISTER };
    static const uint8_t base[8] = {BX, BX, BP, BP, SI, DI, BP, BX};
    static const uint8_t index[8] = {SI, DI, SI, DI, NO, NO, NO, NO};

    in->index = index[rm];
    if (mod == 0 && rm == 6)
        return 2;
    in->base = base[rm];
    return mod;
}

/* SDM 2A "32-Bit Addressing Forms with the ModR/M Byte", "RIP-Relative Addressing". REX.B does not
 * change what 4 and 5 mean here; REX.X makes index 4 a register. */
static unsigned take_address(struct decoder *d, unsigned mod, unsigned rm)
{
    struct instruction *in = d->in;
    unsigned base = rm;

    if (rm == 4) {
        uint8_t sib = take_byte(d);
        unsigned index = (sib >> 3 & 7) | (in->rex & DECODE_REX_X ? 8 : 0);

        if (index != 4)
            in->index = (uint8_t)index;
        in->scale = sib >> 6;
        base = sib & 7;
    }
    if (mod != 0 || base != 5)
        in->base = (uint8_t)(base | (in->rex & DECODE_REX_B ? 8 : 0));
    else if (rm == 5 && d->in->long_mode)
        in->base = DECODE_RIP;
    if (mod == 1)
        return 1;
    return mod == 2 || base == 5 ? 4 : 0;
}

/* ModRM, SIB and displacement. */
static void take_modrm(struct decoder *d, bool is_register)
{
    struct instruction *in = d->in;
    uint8_t modrm = take_byte(d);
    unsigned mod = modrm >> 6, rm = modrm & 7, bytes;

    in->modrm = true;
    in->reg = (uint8_t)((modrm >> 3 & 7) | (in->rex & DECODE_REX_R ? 8 : 0));
    if (mod == 3 || is_register) {
        in->rm = (uint8_t)(rm | (in->rex & DECODE_REX_B ? 8 : 0));
        return;
    }
    in->memory = true;
    bytes = in->address_bytes == 2 ? take_address_16(in, mod, rm) : take_address(d, mod, rm);
    if (bytes)
        in->displacement = take(d, bytes);
    if (!d->segment && (in->base == 4 || in->base == 5)) /* SP, BP */
        in->segment = SEGMENT_SS;
}

static void take_immediate(struct decoder *d, char follows)
{
    struct instruction *in = d->in;
    unsigned z = in->operand_bytes == 2 ? 2 : 4;

    if (follows == 'G')
        follows = (in->reg & 7) > 1 ? '.' : in->opcode & 1 ? 'Z' : 'B';
    switch (follows) {
    case 'b':
    case 'B':
    case 'y':
    case 'Y':
        in->immediate = take(d, 1);
        break;
    case 'w':
    case 'W':
        in->immediate = take(d, 2);
        break;
    case 'D':
        in->immediate = take(d, 4);
        break;
    case 'z':
    case 'Z':
        in->immediate = take(d, z);
        break;
    case 'v':
        in->immediate = take(d, in->operand_bytes);
        break;
    case 'j':
        in->immediate = take(d, in->long_mode ? 4 : z);
        break;
    case 'o':
        in->memory = true;
        in->displacement = take(d, in->address_bytes);
        break;
    case 'f':
        d->at += z + 2;
        break;
    case 'e':
        d->at += 3;
        break;
    default:
        break;
    }
}

static bool is_vector(const struct decoder *d, uint8_t byte)
{
    uint8_t payload = d->window[d->at];

    if (byte == 0x8f)
        return (payload & 0x1f) >= 8;
    return (byte == 0x62 || byte == 0xc4 || byte == 0xc5) && (d->in->long_mode || payload >= 0xc0);
}

/* VEX, EVEX and XOP, which in other places are BOUND, LES, LDS and POP: SDM 2A "Intel AVX",
 * "Intel AVX-512 Encoding"; APM 3 "XOP". Returns what follows the opcode. */
static char take_vector(struct decoder *d, uint8_t byte)
{
    uint8_t payload = d->window[d->at];
    unsigned map = byte == 0xc5 ? 1 : payload & (byte == 0x62 ? 7 : 0x1f);

    d->at += byte == 0xc5 ? 1 : byte == 0x62 ? 3 : 2;
    d->in->map = DECODE_VECTOR;
    d->in->opcode = take_byte(d);
    if (byte == 0x8f)
        return map == 8 ? 'B' : map == 10 ? 'D' : 'M';
    if (map == 1)
        return d->in->opcode == 0x77 ? '.' : two_byte[d->in->opcode] == 'B' ? 'B' : 'M';
    return map == 3 ? 'B' : 'M';
}

/* Returns what follows the opcode. */
static char take_opcode(struct decoder *d)
{
    struct instruction *in = d->in;
    uint8_t byte = take_prefixes(d);

    if (is_vector(d, byte))
        return take_vector(d, byte);
    in->opcode = byte;
    if (byte != 0x0f)
        return one_byte[byte];
    in->map = DECODE_0F;
    in->opcode = byte = take_byte(d);
    if (byte == 0x38 || byte == 0x3a) {
        in->map = byte == 0x38 ? DECODE_0F38 : DECODE_0F3A;
        in->opcode = take_byte(d);
        return byte == 0x38 ? 'M' : 'B';
    }
    if (byte == 0x78 && (d->operand || in->repne))
        return 'W'; /* AMD's EXTRQ and INSERTQ: two bytes */
    return two_byte[byte];
}

int decode(struct instruction *in, const uint8_t window[DECODE_WINDOW], unsigned have,
           unsigned code_bytes)
{
    struct decoder d = {.in = in, .window = window};
    char follows;

    *in = (struct instruction){.long_mode = code_bytes == 8,
                               .segment = SEGMENT_DS,
                               .base = DECODE_NO_REGISTER,
                               .index = DECODE_NO_REGISTER};
    follows = take_opcode(&d);
    set_sizes(&d, code_bytes);
    if (has_modrm(follows))
        take_modrm(&d, follows == 'R');
    take_immediate(&d, follows);
    if (d.at > have)
        return have < DECODE_MAX ? -E_AGAIN : -E_RANGE;
    if (!exists(follows, in->long_mode))
        return -E_NOTSUP;
    in->length = (uint8_t)d.at;
    return 0;
}

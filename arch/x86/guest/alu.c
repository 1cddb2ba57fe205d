#include "arch/x86/guest/alu.h"

#include "arch/x86/cpu/regs.h"

static void set_flag(uint64_t *flags, uint64_t flag, bool on)
{
    *flags = (*flags & ~flag) | (on ? flag : 0);
}

static void set_result(uint64_t *flags, uint64_t r, uint64_t top)
{
    set_flag(flags, RFLAGS_ZF, r == 0);
    set_flag(flags, RFLAGS_SF, r & top);
    set_flag(flags, RFLAGS_PF, !__builtin_parity((unsigned)(r & 0xff)));
}

/* The carry into each bit is a ^ b ^ r. */
static uint64_t add(uint64_t a, uint64_t b, uint64_t r, uint64_t top, uint64_t *flags)
{
    set_flag(flags, RFLAGS_CF, ((a & b) | ((a | b) & ~r)) & top);
    set_flag(flags, RFLAGS_OF, (a ^ r) & (b ^ r) & top);
    set_flag(flags, RFLAGS_AF, (a ^ b ^ r) & 0x10);
    set_result(flags, r, top);
    return r;
}

static uint64_t subtract(uint64_t a, uint64_t b, uint64_t r, uint64_t top, uint64_t *flags)
{
    set_flag(flags, RFLAGS_CF, ((~a & b) | ((~a | b) & r)) & top);
    set_flag(flags, RFLAGS_OF, (a ^ b) & (a ^ r) & top);
    set_flag(flags, RFLAGS_AF, (a ^ b ^ r) & 0x10);
    set_result(flags, r, top);
    return r;
}

static uint64_t logic(uint64_t r, uint64_t top, uint64_t *flags)
{
    *flags &= ~(uint64_t)(RFLAGS_CF | RFLAGS_OF | RFLAGS_AF);
    set_result(flags, r, top);
    return r;
}

/* INC and DEC leave CF alone. */
static uint64_t step(uint64_t a, bool up, uint64_t mask, uint64_t top, uint64_t *flags)
{
    uint64_t carry = *flags & RFLAGS_CF;
    uint64_t r =
        up ? add(a, 1, (a + 1) & mask, top, flags) : subtract(a, 1, (a - 1) & mask, top, flags);

    set_flag(flags, RFLAGS_CF, carry);
    return r;
}

static uint64_t bit_test(enum alu_operation operation, uint64_t a, uint64_t number, unsigned bytes,
                         uint64_t *flags)
{
    uint64_t bit = 1ull << (number & (8 * bytes - 1));

    set_flag(flags, RFLAGS_CF, a & bit);
    switch (operation) {
    case ALU_BTS:
        return a | bit;
    case ALU_BTR:
        return a & ~bit;
    case ALU_BTC:
        return a ^ bit;
    default:
        return a;
    }
}

uint64_t alu(enum alu_operation operation, uint64_t a, uint64_t b, unsigned bytes, uint64_t *flags)
{
    uint64_t mask = alu_mask(bytes), top = 1ull << (8 * bytes - 1);
    uint64_t carry = *flags & RFLAGS_CF;

    a &= mask;
    if (operation >= ALU_BT)
        return bit_test(operation, a, b, bytes, flags);
    b &= mask;
    switch (operation) {
    case ALU_ADD:
        return add(a, b, (a + b) & mask, top, flags);
    case ALU_ADC:
        return add(a, b, (a + b + carry) & mask, top, flags);
    case ALU_SUB:
    case ALU_CMP:
        return subtract(a, b, (a - b) & mask, top, flags);
    case ALU_SBB:
        return subtract(a, b, (a - b - carry) & mask, top, flags);
    case ALU_NEG:
        return subtract(0, a, (0 - a) & mask, top, flags);
    case ALU_INC:
    case ALU_DEC:
        return step(a, operation == ALU_INC, mask, top, flags);
    case ALU_OR:
        return logic(a | b, top, flags);
    case ALU_XOR:
        return logic(a ^ b, top, flags);
    case ALU_AND:
    case ALU_TEST:
        return logic(a & b, top, flags);
    default: /* ALU_NOT: no flags */
        return ~a & mask;
    }
}

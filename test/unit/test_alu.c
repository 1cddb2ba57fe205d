/* SOURCES: arch/x86/guest/alu.c */
/* Emulated arithmetic beside the CPU's own, with operands around every edge. */
#include "arch/x86/guest/alu.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#include "arch/x86/cpu/regs.h"
#include "hv/types.h"

#define FLAGS (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)
#define NO_AF (FLAGS & ~RFLAGS_AF)

/* One operation of each size on the CPU: a = a OP b, with the flags. */
#define SIZE(name, text, bits)                                                                     \
    static void name##bits(uint64_t *a, uint64_t b, uint64_t *flags)                               \
    {                                                                                              \
        uint##bits##_t x = (uint##bits##_t) * a, y = (uint##bits##_t)b;                            \
                                                                                                   \
        __asm__ volatile("sub $128, %%rsp; push %1; popf; " text                                   \
                         "; pushf; pop %1; lea 128(%%rsp), %%rsp"                                  \
                         : "+q"(x), "+r"(*flags)                                                   \
                         : "q"(y)                                                                  \
                         : "cc", "memory");                                                        \
        *a = x;                                                                                    \
    }
#define CPU(name, text)                                                                            \
    SIZE(name, text, 8) SIZE(name, text, 16) SIZE(name, text, 32) SIZE(name, text, 64)
CPU(add, "add %2, %0")
CPU(or, "or %2, %0")
CPU(adc, "adc %2, %0")
CPU(sbb, "sbb %2, %0")
CPU(and, "and %2, %0")
CPU(sub, "sub %2, %0")
CPU(xor, "xor %2, %0")
CPU(cmp, "cmp %2, %0")
CPU(test, "test %2, %0")
CPU(inc, "inc %0")
CPU(dec, "dec %0")
CPU(neg, "neg %0")
CPU(not, "not %0")
#define CPU_WIDE(name, text) SIZE(name, text, 16) SIZE(name, text, 32) SIZE(name, text, 64)
CPU_WIDE(bt, "bt %2, %0")
CPU_WIDE(bts, "bts %2, %0")
CPU_WIDE(btr, "btr %2, %0")
CPU_WIDE(btc, "btc %2, %0")

#define ROW(name, flags)                                                                           \
    {                                                                                              \
        flags,                                                                                     \
        {                                                                                          \
            name##8, name##16, name##32, name##64                                                  \
        }                                                                                          \
    }
#define WIDE(name, flags)                                                                          \
    {                                                                                              \
        flags,                                                                                     \
        {                                                                                          \
            NULL, name##16, name##32, name##64                                                     \
        }                                                                                          \
    }
static const struct {
    uint64_t flags; /* that the instruction defines */
    void (*run[4])(uint64_t *a, uint64_t b, uint64_t *flags);
} cpu[] = {
    [ALU_ADD] = ROW(add, FLAGS),      [ALU_OR] = ROW(or, NO_AF),
    [ALU_ADC] = ROW(adc, FLAGS),      [ALU_SBB] = ROW(sbb, FLAGS),
    [ALU_AND] = ROW(and, NO_AF),      [ALU_SUB] = ROW(sub, FLAGS),
    [ALU_XOR] = ROW(xor, NO_AF),      [ALU_CMP] = ROW(cmp, FLAGS),
    [ALU_TEST] = ROW(test, NO_AF),    [ALU_INC] = ROW(inc, FLAGS),
    [ALU_DEC] = ROW(dec, FLAGS),      [ALU_NEG] = ROW(neg, FLAGS),
    [ALU_NOT] = ROW(not, FLAGS),      [ALU_BT] = WIDE(bt, RFLAGS_CF),
    [ALU_BTS] = WIDE(bts, RFLAGS_CF), [ALU_BTR] = WIDE(btr, RFLAGS_CF),
    [ALU_BTC] = WIDE(btc, RFLAGS_CF),
};

static const uint64_t values[] = {0,          1,          0xf,        0x10,
                                  0x7f,       0x80,       0x81,       0xff,
                                  0x100,      0x7fff,     0x8000,     0xffff,
                                  0x7fffffff, 0x80000000, 0xffffffff, 0x123456789abcdef0,
                                  INT64_MAX,  1ull << 63, UINT64_MAX};

static void compare(unsigned operation, unsigned size, uint64_t a, uint64_t b, uint64_t before)
{
    uint64_t flags = before, cpu_flags = before, expected = a, defined = cpu[operation].flags;
    uint64_t result = alu((enum alu_operation)operation, a, b, 1u << size, &flags);

    cpu[operation].run[size](&expected, b, &cpu_flags);
    if (operation != ALU_CMP && operation != ALU_TEST)
        assert_true(result == expected);
    assert_true((flags & defined) == (cpu_flags & defined));
    assert_true((flags & ~FLAGS) == (before & ~FLAGS));
}

static void test_as_the_cpu(void **state)
{
    (void)state;
    for (unsigned o = 0; o < ARRAY_LEN(cpu); o++)
        for (unsigned size = 0; size < 4; size++)
            for (unsigned i = 0; cpu[o].run[size] && i < ARRAY_LEN(values); i++)
                for (unsigned k = 0; k < ARRAY_LEN(values); k++) {
                    compare(o, size, values[i], values[k], RFLAGS_FIXED | RFLAGS_IF);
                    compare(o, size, values[i], values[k], RFLAGS_FIXED | RFLAGS_IF | FLAGS);
                }
}

/* SDM 2A "BT": CF alone. The others are undefined, and stay. */
static void test_bits_leave_other_flags(void **state)
{
    uint64_t flags = FLAGS & ~RFLAGS_CF;

    (void)state;
    assert_int_equal(alu(ALU_BTC, 4, 2, 4, &flags), 0);
    assert_int_equal(flags, FLAGS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_as_the_cpu),
        cmocka_unit_test(test_bits_leave_other_flags),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

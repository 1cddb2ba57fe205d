/*
 * Reads and writes where there is neither memory nor a device: the root emulates these
 * instructions. Each is tried on a word of RAM that is all ones, where the CPU executes it, and at
 * an unclaimed address: registers and flags must be the same afterwards.
 */
#include "test/guests/lib/guest.h"

#define UNCLAIMED 0xd8000000ull /* identity-mapped */
#define FLAGS     (RFLAGS_CF | RFLAGS_PF | RFLAGS_AF | RFLAGS_ZF | RFLAGS_SF | RFLAGS_OF)
#define NO_AF     (FLAGS & ~RFLAGS_AF) /* undefined after logic */
#define STRING    200u                 /* more than one exit does */

struct registers {
    uint64_t rax, rcx, rdx, rflags;
};

/* With RDI the address, RAX, RCX and RDX as operands. */
#define FORM(name, text)                                                                           \
    static void form_##name(struct registers *r, void *at)                                         \
    {                                                                                              \
        __asm__ volatile("push %3; popf; " text "; pushf; pop %3"                                  \
                         : "+a"(r->rax), "+c"(r->rcx), "+d"(r->rdx), "+r"(r->rflags), "+D"(at)     \
                         :                                                                         \
                         : "memory", "cc");                                                        \
    }

/* name, instruction, the flags that it defines */
#define FORMS(F)                                                                                   \
    F(mov8, "movb (%%rdi), %%al", FLAGS)                                                           \
    F(mov_high, "movb (%%rdi), %%dh", FLAGS)                                                       \
    F(mov16, "movw (%%rdi), %%ax", FLAGS)                                                          \
    F(mov32, "movl (%%rdi), %%eax", FLAGS)                                                         \
    F(mov64, "movq (%%rdi), %%rax", FLAGS)                                                         \
    F(mov_index, "movl -0x10(%%rdi,%%rcx,8), %%eax", FLAGS)                                        \
    F(store8, "movb %%dh, (%%rdi)", FLAGS)                                                         \
    F(store64, "movq %%rdx, (%%rdi)", FLAGS)                                                       \
    F(store_imm, "movw $0x1234, (%%rdi)", FLAGS)                                                   \
    F(movnti, "movnti %%rdx, (%%rdi)", FLAGS)                                                      \
    F(movzx8, "movzbl (%%rdi), %%eax", FLAGS)                                                      \
    F(movzx16, "movzwq (%%rdi), %%rax", FLAGS)                                                     \
    F(movsx8, "movsbw (%%rdi), %%ax", FLAGS)                                                       \
    F(movsx16, "movswl (%%rdi), %%eax", FLAGS)                                                     \
    F(movsxd, "movslq (%%rdi), %%rax", FLAGS)                                                      \
    F(add8, "addb %%dl, (%%rdi)", FLAGS)                                                           \
    F(add32, "lock addl %%edx, (%%rdi)", FLAGS)                                                    \
    F(add_reg, "addq (%%rdi), %%rax", FLAGS)                                                       \
    F(adc16, "adcw $0x7fff, (%%rdi)", FLAGS)                                                       \
    F(adc_reg, "adcl (%%rdi), %%eax", FLAGS)                                                       \
    F(sbb64, "sbbq %%rdx, (%%rdi)", FLAGS)                                                         \
    F(sub8, "subb $0x80, (%%rdi)", FLAGS)                                                          \
    F(sub_reg, "subw (%%rdi), %%ax", FLAGS)                                                        \
    F(cmp8, "cmpb $0x7f, (%%rdi)", FLAGS)                                                          \
    F(cmp_reg, "cmpq (%%rdi), %%rax", FLAGS)                                                       \
    F(and32, "andl %%edx, (%%rdi)", NO_AF)                                                         \
    F(or16, "orw %%dx, (%%rdi)", NO_AF)                                                            \
    F(xor64, "xorq $-5, (%%rdi)", NO_AF)                                                           \
    F(xor_reg, "xorb (%%rdi), %%cl", NO_AF)                                                        \
    F(test8, "testb $0x81, (%%rdi)", NO_AF)                                                        \
    F(test_reg, "testl %%edx, (%%rdi)", NO_AF)                                                     \
    F(inc8, "incb (%%rdi)", FLAGS)                                                                 \
    F(dec64, "lock decq (%%rdi)", FLAGS)                                                           \
    F(neg16, "negw (%%rdi)", FLAGS)                                                                \
    F(not32, "notl (%%rdi)", FLAGS)                                                                \
    F(xchg8, "xchgb %%dh, (%%rdi)", FLAGS)                                                         \
    F(xchg32, "xchgl %%edx, (%%rdi)", FLAGS)                                                       \
    F(xadd16, "xaddw %%dx, (%%rdi)", FLAGS)                                                        \
    F(xadd64, "lock xaddq %%rdx, (%%rdi)", FLAGS)                                                  \
    F(cmpxchg8, "cmpxchgb %%dl, (%%rdi)", FLAGS)                                                   \
    F(cmpxchg32, "lock cmpxchgl %%edx, (%%rdi)", FLAGS)                                            \
    F(cmpxchg_equal, "movq $-1, %%rax; cmpxchgq %%rdx, (%%rdi)", FLAGS)                            \
    F(bt, "btl $5, (%%rdi)", RFLAGS_CF)                                                            \
    F(bts, "lock btsq $63, (%%rdi)", RFLAGS_CF)                                                    \
    F(btr_reg, "btrl %%ecx, (%%rdi)", RFLAGS_CF)                                                   \
    F(btc_far, "movq $-9, %%rdx; btcw %%dx, 4(%%rdi)", RFLAGS_CF)                                  \
    F(stos, "movq %%rdi, %%rdx; stosl; subq %%rdx, %%rdi; movq %%rdi, %%rdx", FLAGS)
#define DEFINE(name, text, flags) FORM(name, text)
FORMS(DEFINE)

static const struct {
    const char *name;
    void (*run)(struct registers *r, void *at);
    uint64_t flags;
} forms[] = {
#define ROW(name, text, flags) {#name, form_##name, flags},
    FORMS(ROW)};

static uint64_t ram[STRING] __attribute__((aligned(4096)));
static uint32_t wrong;

static void check(const char *what, uint64_t is, uint64_t expected)
{
    if (is == expected)
        return;
    wrong++;
    say("unclaimed: %s: 0x%lx, not 0x%lx\n", what, is, expected);
}

static void try_forms(void)
{
    static const uint64_t values[] = {0, 1, 0x7f80, 0x8000000080000080, UINT64_MAX};

    for (size_t i = 0; i < ARRAY_LEN(forms); i++)
        for (size_t n = 0; n < 2 * ARRAY_LEN(values); n++) {
            uint64_t value = values[n / 2], flags = RFLAGS_FIXED | (n & 1 ? FLAGS : 0);
            struct registers cpu = {value, 2, value ^ 0x5a, flags}, root = cpu;

            memset(ram, 0xff, 64);
            forms[i].run(&cpu, &ram[1]);
            forms[i].run(&root, (void *)(uintptr_t)(UNCLAIMED + 8));
            check(forms[i].name, root.rax, cpu.rax);
            check(forms[i].name, root.rcx, cpu.rcx);
            check(forms[i].name, root.rdx, cpu.rdx);
            check(forms[i].name, root.rflags & forms[i].flags, cpu.rflags & forms[i].flags);
        }
}

/* Copies from there give ones, copies to there are lost; also across a page of RAM and one that has
 * none, and downwards. */
static void try_strings(void)
{
    void *to = ram, *from = (void *)(uintptr_t)UNCLAIMED;
    uint64_t count = STRING;

    memset(ram, 0, sizeof(ram));
    __asm__ volatile("rep movsq" : "+D"(to), "+S"(from), "+c"(count)::"memory");
    check("movs from", ram[0] & ram[STRING - 1], UINT64_MAX);
    check("movs from, RCX", count, 0);
    check("movs from, RSI", (uintptr_t)from, UNCLAIMED + 8 * STRING);
    from = ram;
    to = (void *)(uintptr_t)(UNCLAIMED + 8);
    count = 9;
    __asm__ volatile("std; rep movsb; cld" : "+D"(to), "+S"(from), "+c"(count)::"memory");
    check("movs down, RDI", (uintptr_t)to, UNCLAIMED - 1);
    to = (void *)(uintptr_t)UNCLAIMED;
    count = STRING;
    __asm__ volatile("rep stosl" : "+D"(to), "+c"(count) : "a"(5) : "memory");
    check("stos, RDI", (uintptr_t)to, UNCLAIMED + 4 * STRING);
    to = from = (void *)(uintptr_t)UNCLAIMED;
    count = 9;
    __asm__ volatile("rep insw" : "+D"(to), "+c"(count) : "d"((uint16_t)0x80) : "memory");
    check("ins, RDI", (uintptr_t)to, UNCLAIMED + 18);
    count = 9;
    __asm__ volatile("rep outsw" : "+S"(from), "+c"(count) : "d"((uint16_t)0x80) : "memory");
    check("outs, RSI", (uintptr_t)from, UNCLAIMED + 18);
}

static uint32_t steps;

static void on_debug(struct guest_frame *f)
{
    (void)f;
    steps++;
}

/* Each instruction, and each iteration, ends in a trap. */
static void try_steps(void)
{
    void *to = (void *)(uintptr_t)UNCLAIMED;
    uint64_t count = 3;

    exception_handle(1, on_debug);
    __asm__ volatile("pushf; orq $0x100, (%%rsp); popf; movl (%0), %%eax; incl (%0); pushf; andq "
                     "$~0x100, (%%rsp); popf" ::"r"(to)
                     : "rax", "memory", "cc");
    check("steps", steps, 5);
    steps = 0;
    __asm__ volatile("pushf; orq $0x100, (%%rsp); popf; rep stosb; pushf; andq $~0x100, (%%rsp); "
                     "popf"
                     : "+D"(to), "+c"(count)::"memory", "cc");
    check("steps of rep stos", steps, 6);
}

void guest_main(const char *cmdline)
{
    (void)cmdline;
    try_forms();
    try_strings();
    try_steps();
    say("unclaimed: %zu forms, %u wrong\n", ARRAY_LEN(forms), wrong);
    guest_exit(wrong ? 1 : 0);
}

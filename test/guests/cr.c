/*
 * CR0 by every instruction that reads or writes it, while the caches are on and while they are off:
 * the root shows CD to the guest and does not set it. SDM 2A "LMSW", SDM 2B "SMSW", "MOV - Move
 * to/from Control Registers". Prints how many results were right and wrong.
 */
#include "test/guests/lib/guest.h"

#define VECTOR_GP  13u
#define VECTOR_PF  14u
#define NONE       255u
#define HOLE       0x40000000ull         /* linear; nothing is mapped there */
#define NOWHERE    0x8000000000000000ull /* not canonical */
#define TABLE_MASK 0x000ffffffffff000ull
#define MSW_MP     (1u << 1)
#define MSW_TS     (1u << 3)
#define PATTERN    0xa5a5a5a5a5a5a5a5ull

static unsigned right, wrong;
static uint64_t cr0; /* as the guest has written it */
static uint64_t resume;
static unsigned vector;

static void check(const char *what, uint64_t is, uint64_t expected)
{
    if (is == expected) {
        right++;
        return;
    }
    wrong++;
    say("cr: %s, CR0 0x%lx: WRONG: 0x%lx and not 0x%lx\n", what, cr0, is, expected);
}

static void note(unsigned which, struct guest_frame *f)
{
    vector = which;
    f->rip = resume;
}

static void on_gp(struct guest_frame *f)
{
    note(VECTOR_GP, f);
}

static void on_pf(struct guest_frame *f)
{
    note(VECTOR_PF, f);
}

static void set(uint64_t value)
{
    cr0 = value;
    write_cr0(value);
    check("mov from CR0", read_cr0(), cr0);
}

/* Two words, and the same across a page boundary. */
static uint8_t pages[8192] __attribute__((aligned(4096)));
static uint64_t msw_rip __attribute__((used));

static void try_smsw(void)
{
    uint64_t value = PATTERN;
    uint8_t *at = pages + 4095;

    __asm__ volatile("smsw %0" : "=r"(value));
    check("smsw, 64 bits", value, cr0);
    __asm__ volatile("smsw %k0" : "=r"(value));
    check("smsw, 32 bits", value, (uint32_t)cr0);
    value = PATTERN;
    __asm__ volatile("smsw %w0" : "+r"(value));
    check("smsw, 16 bits", value, (PATTERN & ~0xffffull) | (uint16_t)cr0);
    value = PATTERN;
    __asm__ volatile("smsw %0" : "+m"(value));
    check("smsw to memory", value, (PATTERN & ~0xffffull) | (uint16_t)cr0);
    msw_rip = PATTERN;
    __asm__ volatile("smsw msw_rip(%%rip)" ::: "memory");
    check("smsw relative to RIP", msw_rip, (PATTERN & ~0xffffull) | (uint16_t)cr0);
    __asm__ volatile("movl $0, %0; rex64 smsw (%1, %2, 2)"
                     : "=m"(*(uint32_t *)(void *)(at - 1))
                     : "a"(at - 8), "c"(4ul)
                     : "memory");
    check("smsw across a page boundary", at[0] | (unsigned)at[1] << 8, (uint16_t)cr0);
    check("what is next to it", at[-1] | at[2], 0);
}

/* Its page of 2 MB. */
static void make_hole(void)
{
    uint64_t *pml4 = (uint64_t *)(uintptr_t)(read_cr3() & TABLE_MASK);
    uint64_t *pdpt = (uint64_t *)(uintptr_t)(pml4[0] & TABLE_MASK);
    uint64_t *pd = (uint64_t *)(uintptr_t)(pdpt[HOLE >> 30] & TABLE_MASK);

    pd[HOLE >> 21 & 511] = 0;
    __asm__ volatile("invlpg (%0)" ::"r"(HOLE) : "memory");
}

#define FAULTS(instruction, address)                                                               \
    do {                                                                                           \
        vector = NONE;                                                                             \
        __asm__ volatile("lea 1f(%%rip), %%rax\n mov %%rax, %0\n" instruction " (%1)\n 1:"         \
                         : "=m"(resume)                                                            \
                         : "r"(address)                                                            \
                         : "rax", "memory");                                                       \
    } while (0)

static void try_faults(void)
{
    FAULTS("smsw", HOLE);
    check("smsw to a hole", vector, VECTOR_PF);
    check("its address", read_cr2(), HOLE);
    FAULTS("smsw", NOWHERE);
    check("smsw, not canonical", vector, VECTOR_GP);
    FAULTS("lmsw", HOLE + 2);
    check("lmsw from a hole", vector, VECTOR_PF);
    check("its address", read_cr2(), HOLE + 2);
    FAULTS("lmsw", NOWHERE);
    check("lmsw, not canonical", vector, VECTOR_GP);
    check("CR0 then", read_cr0(), cr0);
}

static void try_lmsw(void)
{
    static uint16_t msw[2] = {0xff00 | MSW_TS | MSW_MP, 0xffff};
    uint64_t base = cr0 & ~(uint64_t)(MSW_TS | MSW_MP);

    __asm__ volatile("lmsw %0" ::"m"(msw[0]));
    check("lmsw from memory", read_cr0(), base | MSW_TS | MSW_MP);
    __asm__ volatile("clts");
    check("clts", read_cr0(), base | MSW_MP);
    __asm__ volatile("lmsw %w0" ::"r"(MSW_TS));
    check("lmsw from a register", read_cr0(), base | MSW_TS);
    __asm__ volatile("lmsw %w0" ::"r"(0));
    check("lmsw does not clear PE", read_cr0(), base);
    set(cr0);
}

static void try_all(uint64_t value)
{
    set(value);
    try_smsw();
    try_lmsw();
    try_faults();
}

void guest_main(const char *cmdline)
{
    uint64_t first = read_cr0();

    (void)cmdline;
    exception_handle(VECTOR_GP, on_gp);
    exception_handle(VECTOR_PF, on_pf);
    make_hole();
    try_all(first);
    try_all(first | CR0_CD);
    try_all(first | CR0_CD | CR0_NW | CR0_TS);
    set(first);
    say("cr: %u right, %u wrong\n", right, wrong);
}

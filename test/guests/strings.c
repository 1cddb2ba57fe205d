/*
 * String I/O that the CPU would fault: past limits, through segments that are null, read-only or
 * expand down, at addresses that are not canonical or not mapped. The expected vectors are those of
 * SDM 2A INS and SDM 2B OUTS. None of it may end the guest.
 */
#include "test/guests/lib/guest.h"

#define VECTOR_SS  12u
#define VECTOR_GP  13u
#define VECTOR_PF  14u
#define NONE       255u
#define PORT       0x80u /* unclaimed */
#define LARGE      0x200000ull
#define HOLE       0x40000000ull /* linear; the page before it maps the end of our memory */
#define NOWHERE    0x8000000000000000ull
#define PTE_LARGE  0x83ull
#define TABLE_MASK 0x000ffffffffff000ull

/* Selectors. */
#define SHORT      0x20u /* up to 0xfff */
#define READ_ONLY  0x28u
#define READ_CODE  0x30u
#define DOWN       0x38u /* from 0x1000 up to 0xffff */

static uint64_t gdt[] = {
    0,
    0x00af9b000000ffff,
    0x00cf93000000ffff,
    0x00cf9b000000ffff,
    0x0040930000000fff,
    0x00cf91000000ffff,
    0x00cf9b000000ffff,
    0x0000970000000fff,
};

/*
 * void strings_32(uint32_t code, uint32_t selector, uint32_t offset): `code` is one of the pieces
 * below, which run in compatibility mode. Whatever happens, they end at strings_back.
 */
void strings_32(uint32_t code, uint32_t selector, uint32_t offset);
extern const char strings_insb[], strings_outsb[], strings_outsb_ss[], strings_outsb_fs[],
    strings_insl[], strings_back[];
__asm__(".globl strings_32\n"
        "strings_32: push %rbx\n"
        "  mov %edi, %eax\n"
        "  mov %esi, %ebx\n"
        "  mov %edx, %edi\n"
        "  mov %edx, %esi\n"
        "  mov $0x80, %edx\n"
        "  push $0x18\n"
        "  push %rax\n"
        "  lretq\n"
        ".code32\n"
        "strings_insb: mov %ebx, %es\n insb\n jmp strings_back\n"
        "strings_insl: mov %ebx, %es\n insl\n jmp strings_back\n"
        "strings_outsb: mov %ebx, %ds\n outsb\n jmp strings_back\n"
        "strings_outsb_ss: mov %ebx, %ss\n .byte 0x36\n outsb\n jmp strings_back\n"
        "strings_outsb_fs: mov %ebx, %fs\n .byte 0x64\n outsb\n jmp strings_back\n"
        "strings_back: ljmp $8, $1f\n"
        ".code64\n"
        "1: mov $0x10, %eax\n"
        "  mov %eax, %ds\n mov %eax, %es\n mov %eax, %ss\n mov %eax, %fs\n"
        "  pop %rbx\n"
        "  ret\n");

static unsigned trials, wrong;
static uint64_t resume;
static struct {
    unsigned vector;
    uint64_t error, cr2;
} seen;

static void note(unsigned vector, struct guest_frame *f)
{
    seen.vector = vector;
    seen.error = f->error;
    seen.cr2 = read_cr2();
    f->rip = resume;
}

static void on_ss(struct guest_frame *f)
{
    note(VECTOR_SS, f);
}

static void on_gp(struct guest_frame *f)
{
    note(VECTOR_GP, f);
}

static void on_pf(struct guest_frame *f)
{
    note(VECTOR_PF, f);
}

static void judge(const char *what, bool right)
{
    trials++;
    if (right)
        return;
    wrong++;
    say("strings: %s: WRONG: vector %u, error 0x%lx, CR2 0x%lx\n", what, seen.vector, seen.error,
        seen.cr2);
}

static uint8_t byte_at(uint64_t address)
{
    return *(volatile uint8_t *)(uintptr_t)address;
}

static void try_32(const char *what, const char *code, uint32_t selector, uint32_t offset,
                   unsigned vector)
{
    seen.vector = NONE;
    seen.error = seen.cr2 = 0;
    resume = (uintptr_t)strings_back;
    strings_32((uint32_t)(uintptr_t)code, selector, offset);
    judge(what, seen.vector == vector && seen.error == 0);
}

static void try_segments(void)
{
    /* Memory below 1 MB is used only by these trials. */
    *(volatile uint8_t *)(uintptr_t)0x1000 = 0x55;
    *(volatile uint8_t *)(uintptr_t)0x2000 = 0x55;
    try_32("insb up to the limit", strings_insb, SHORT, 0xfff, NONE);
    try_32("insb beyond the limit", strings_insb, SHORT, 0x1000, VECTOR_GP);
    try_32("insl across the limit", strings_insl, SHORT, 0xffd, VECTOR_GP);
    judge("the byte behind the limit", byte_at(0x1000) == 0x55);
    try_32("outsb beyond the limit", strings_outsb, SHORT, 0x1000, VECTOR_GP);
    try_32("outsb beyond the limit, FS", strings_outsb_fs, SHORT, 0x1000, VECTOR_GP);
    try_32("outsb beyond the limit, SS", strings_outsb_ss, SHORT, 0x1000, VECTOR_SS);
    try_32("insb, null", strings_insb, 0, 0x2000, VECTOR_GP);
    try_32("outsb, null", strings_outsb, 0, 0x2000, VECTOR_GP);
    try_32("insb, read-only", strings_insb, READ_ONLY, 0x2000, VECTOR_GP);
    try_32("insb, code", strings_insb, READ_CODE, 0x2000, VECTOR_GP);
    judge("the byte that was not to be written", byte_at(0x2000) == 0x55);
    try_32("outsb, read-only", strings_outsb, READ_ONLY, 0x2000, NONE);
    try_32("outsb up to the limit, FS", strings_outsb_fs, SHORT, 0xfff, NONE);
    try_32("outsb, code", strings_outsb, READ_CODE, 0x2000, NONE);
    try_32("insb below an expand-down limit", strings_insb, DOWN, 0xfff, VECTOR_GP);
    try_32("insb above an expand-down limit", strings_insb, DOWN, 0x2000, NONE);
    judge("the byte above it", byte_at(0x2000) == 0xff);
    try_32("insb at an expand-down segment's end", strings_insb, DOWN, 0x10000, VECTOR_GP);
}

#define TRY_64(instruction, index, address, count)                                                 \
    do {                                                                                           \
        seen.vector = NONE;                                                                        \
        seen.error = seen.cr2 = 0;                                                                 \
        __asm__ volatile("lea 1f(%%rip), %%rax\n mov %%rax, %2\n" instruction "\n 1:"              \
                         : "+" index(address), "+c"(count), "=m"(resume)                           \
                         : "d"(PORT)                                                               \
                         : "rax", "memory");                                                       \
    } while (0)

/* The entry of the page directory for a linear address of 2 MB pages. */
static volatile uint64_t *directory_entry(uint64_t linear)
{
    uint64_t *pml4 = (uint64_t *)(uintptr_t)(read_cr3() & TABLE_MASK);
    uint64_t *pdpt = (uint64_t *)(uintptr_t)(pml4[0] & TABLE_MASK);
    uint64_t *pd = (uint64_t *)(uintptr_t)(pdpt[linear >> 30] & TABLE_MASK);

    return &pd[linear >> 21 & 511];
}

static void map(uint64_t linear, uint64_t entry)
{
    *directory_entry(linear) = entry;
    __asm__ volatile("invlpg (%0)" ::"r"(linear) : "memory");
}

static void try_addresses(void)
{
    uint64_t address = NOWHERE, count = 1;

    TRY_64("insb", "D", address, count);
    judge("insb, not canonical", seen.vector == VECTOR_GP && seen.error == 0);
    TRY_64("outsb", "S", address, count);
    judge("outsb, not canonical", seen.vector == VECTOR_GP && seen.error == 0);
    map(HOLE - LARGE, LARGE | PTE_LARGE);
    map(HOLE, 0);
    address = HOLE - 10;
    count = 5;
    TRY_64("rep insl", "D", address, count);
    judge("rep insl into a hole", seen.vector == VECTOR_PF && seen.error == 2 && seen.cr2 == HOLE &&
                                      address == HOLE - 2 && count == 3);
    address = HOLE - 8;
    count = 5;
    TRY_64("rep outsl", "S", address, count);
    judge("rep outsl out of a hole", seen.vector == VECTOR_PF && seen.error == 0 &&
                                         seen.cr2 == HOLE && address == HOLE && count == 3);
    address = HOLE + 7;
    count = 1;
    TRY_64("outsb", "S", address, count);
    judge("outsb in a hole", seen.vector == VECTOR_PF && seen.cr2 == HOLE + 7);
    count = 0;
    TRY_64("rep outsb", "S", address, count);
    judge("rep outsb of nothing", seen.vector == NONE);
}

void guest_main(const char *cmdline)
{
    const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) p = {sizeof(gdt) - 1, (uintptr_t)gdt};

    (void)cmdline;
    __asm__ volatile("lgdt %0" ::"m"(p));
    exception_handle(VECTOR_SS, on_ss);
    exception_handle(VECTOR_GP, on_gp);
    exception_handle(VECTOR_PF, on_pf);
    try_segments();
    try_addresses();
    say("strings: %u trials, %u wrong\n", trials, wrong);
}

/*
 * 32-bit protected mode, in which x86 has hardware task switches and PAE: tasks that are called,
 * jumped to, returned from, and entered by interrupts and exceptions through task gates, without
 * paging and with it. Prints what is wrong; the exit code counts that. SDM 3A "Task Management",
 * "PAE Paging". Stands alone: the guests' library is for 64-bit mode.
 */
#include "arch/x86/cpu/io.h"
#include "hv/types.h"
#include "iso/sdk/include/bulkhead/pc.h"

#define PIC1    0x20u
#define STACK   1024u
#define LARGE   0x400000u /* a page of 4 MB */
#define VECTORS 64u
#define FLAG_TF 0x100u
#define FLAG_NT 0x4000u
#define FLAG_RF 0x10000u
#define CR0_TS  8u
#define CR0_CD  0x40000000u
#define CR0_PG  0x80000000u
#define CR4_PSE 0x10u
#define CR4_PAE 0x20u
#define DR6_BT  0x8000u

/* Selectors. */
enum {
    CODE = 0x08,
    DATA = 0x10,
    MAIN = 0x18,
    TASK = 0x20,
    SMALL = 0x28, /* a 16-bit TSS */
    SMALL_CODE = 0x30,
    SMALL_DATA = 0x38,
    CATCHER = 0x40,
    BEYOND = 0x78,
};

struct tss {
    uint32_t link, stacks[6], cr3, eip, eflags, eax, ecx, edx, ebx, esp, ebp, esi, edi;
    uint32_t es, cs, ss, ds, fs, gs, ldt;
    uint16_t trap, io_map;
};
struct tss_small {
    uint16_t link, stacks[6], ip, flags, ax, cx, dx, bx, sp, bp, si, di, es, cs, ss, ds, ldt;
};
struct frame {
    uint32_t edi, esi, ebp, esp, ebx, edx, ecx, eax, vector, error, eip, cs, eflags;
};
struct table {
    uint16_t limit;
    uint32_t base;
} __attribute__((packed));

extern const uint32_t stubs[VECTORS];
extern const char task_entry[], catcher_entry[], small_entry[];

static uint64_t gdt[BEYOND / 8], idt[VECTORS];
static struct tss main_tss, task_tss, catcher_tss;
static struct tss_small small_tss;
static uint8_t task_stack[STACK], catcher_stack[STACK], small_stack[STACK];
static uint32_t pd_main[1024] __attribute__((aligned(4096))),
    pd_task[1024] __attribute__((aligned(4096)));
static unsigned right, wrong;

/* Written by the tasks and handlers. */
uint32_t task_runs, task_flags, task_cr0, task_seen, jump_back;
uint32_t catcher_runs, catcher_error, catcher_eip, catcher_flags;
uint32_t small_runs;
static volatile uint32_t faults, fault_vector, fault_error, fault_eip, fault_tr, fault_dr6;

/* Multiboot2 header, start, exception stubs, and the tasks' code. */
__asm__(".section .multiboot2, \"a\"\n"
        ".align 8\n"
        "0: .long 0xe85250d6, 0, 1f - 0b, -(0xe85250d6 + (1f - 0b))\n"
        ".word 0, 0\n"
        ".long 8\n"
        "1:\n"
        ".text\n"
        ".globl guest_start\n"
        "guest_start: mov $main_stack_top, %esp\n"
        "call run\n"
        /* Runs each time it is entered: notes what it sees, and goes back as it came. */
        ".globl task_entry\n"
        "task_entry: incl task_runs\n"
        "pushf; popl task_flags\n"
        "mov %cr0, %eax; mov %eax, task_cr0\n"
        "mov 0x400800, %eax; mov %eax, task_seen\n" /* the task's own memory, with paging */
        "mov $0x20, %al; out %al, $0x20\n"
        "cmpl $0, jump_back; jne 2f\n"
        "iret; jmp task_entry\n"
        "2: ljmp $0x18, $0; jmp task_entry\n"
        /* For an exception with an error code: the interrupted task goes on at EBX. */
        ".globl catcher_entry\n"
        "catcher_entry: popl catcher_error\n"
        "incl catcher_runs\n"
        "mov main_tss + 0x20, %eax; mov %eax, catcher_eip\n"
        "mov main_tss + 0x24, %eax; mov %eax, catcher_flags\n"
        "mov main_tss + 0x34, %eax; mov %eax, main_tss + 0x20\n"
        "iret; jmp catcher_entry\n"
        ".globl small_entry\n"
        "small_entry: incl small_runs\n"
        "iret; jmp small_entry\n"
        ".altmacro\n"
        ".macro STUB n\n"
        "stub\\n:\n"
        ".if \\n != 8 && (\\n < 10 || \\n > 14) && \\n != 17\n"
        "push $0\n"
        ".endif\n"
        "push $\\n\n"
        "jmp common\n"
        ".endm\n"
        ".set i, 0\n"
        ".rept 64\n"
        "STUB %i\n"
        ".set i, i + 1\n"
        ".endr\n"
        "common: pusha; push %esp; call handle; add $4, %esp; popa; add $8, %esp; iret\n"
        ".section .rodata\n"
        ".macro STUB_AT n\n"
        ".long stub\\n\n"
        ".endm\n"
        ".globl stubs\n"
        "stubs:\n"
        ".set i, 0\n"
        ".rept 64\n"
        "STUB_AT %i\n"
        ".set i, i + 1\n"
        ".endr\n"
        ".bss\n"
        ".align 16\n"
        ".skip 16384\n"
        "main_stack_top:\n"
        ".text\n");

/* ---- output ---- */

static void print(const char *s)
{
    for (; *s; s++) {
        while (!(inb(UART + UART_LSR) & UART_THR_EMPTY))
            ;
        outb(UART, (uint8_t)*s);
    }
}

static void print_hex(uint32_t value)
{
    char text[] = "0x00000000";

    for (unsigned i = 0; i < 8; i++)
        text[9 - i] = "0123456789abcdef"[value >> (4 * i) & 15];
    print(text);
}

static void check(const char *name, bool ok, uint32_t a, uint32_t b)
{
    if (ok) {
        right++;
        return;
    }
    wrong++;
    print("tasks: ");
    print(name);
    print(": WRONG (");
    print_hex(a);
    print(", ");
    print_hex(b);
    print(")\n");
}

static void same(const char *name, uint32_t is, uint32_t expected)
{
    check(name, is == expected, is, expected);
}

static _Noreturn void leave(uint32_t code)
{
    outl(EXIT_PORT, code);
    for (;;)
        __asm__ volatile("cli; hlt");
}

/* ---- registers ---- */

#define REGISTER(name)                                                                             \
    static uint32_t get_##name(void)                                                               \
    {                                                                                              \
        uint32_t v;                                                                                \
                                                                                                   \
        __asm__ volatile("mov %%" #name ", %0" : "=r"(v));                                         \
        return v;                                                                                  \
    }                                                                                              \
    static void set_##name(uint32_t v)                                                             \
    {                                                                                              \
        __asm__ volatile("mov %0, %%" #name ::"r"(v) : "memory");                                  \
    }
REGISTER(cr0)
REGISTER(cr3)
REGISTER(cr4)
REGISTER(dr6)
REGISTER(dr7)

void run(void);
void handle(struct frame *f);

/* The faults that the trials expect leave the new task whole. */
void handle(struct frame *f)
{
    uint16_t tr;

    __asm__ volatile("str %0" : "=r"(tr));
    __asm__ volatile("mov %0, %%ds; mov %0, %%es" ::"r"(DATA));
    fault_vector = f->vector;
    fault_error = f->error;
    fault_eip = f->eip;
    fault_tr = tr;
    fault_dr6 = get_dr6();
    set_dr6(0xffff0ff0u);
    if (++faults > 50 || tr != TASK) {
        print("tasks: an exception that no trial expects: WRONG ");
        print_hex(f->vector);
        print_hex(f->error);
        print_hex(f->eip);
        print("\n");
        leave(99);
    }
}

/* ---- tables ---- */

static uint64_t descriptor(uint32_t base, uint32_t limit, uint32_t rights)
{
    return (limit & 0xffff) | (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(rights & 0xff) << 40 |
           (uint64_t)(limit >> 16 & 0xf) << 48 | (uint64_t)(rights & 0xf000) << 40 |
           (uint64_t)(base >> 24) << 56;
}

static uint64_t gate(uint32_t selector, uint32_t offset, uint32_t rights)
{
    return (offset & 0xffff) | (uint64_t)selector << 16 | (uint64_t)rights << 40 |
           (uint64_t)(offset >> 16) << 48;
}

static uint8_t type_of(uint32_t selector)
{
    return (uint8_t)(gdt[selector / 8] >> 40);
}

static struct tss new_task(const char *entry, const uint8_t *stack)
{
    return (struct tss){.cr3 = get_cr3(),
                        .eip = (uint32_t)entry,
                        .eflags = 2,
                        .esp = (uint32_t)stack + STACK,
                        .es = DATA,
                        .cs = CODE,
                        .ss = DATA,
                        .ds = DATA,
                        .fs = 0,
                        .gs = DATA};
}

static void make_tasks(void)
{
    main_tss.cr3 = get_cr3();
    task_tss = new_task(task_entry, task_stack);
    catcher_tss = new_task(catcher_entry, catcher_stack);
    small_tss = (struct tss_small){
        .flags = 2, .sp = STACK, .es = DATA, .cs = SMALL_CODE, .ss = SMALL_DATA, .ds = DATA};
}

static void make_tables(void)
{
    const struct table g = {sizeof(gdt) - 1, (uint32_t)gdt}, d = {sizeof(idt) - 1, (uint32_t)idt};

    gdt[CODE / 8] = descriptor(0, 0xfffff, 0xc09b);
    gdt[DATA / 8] = descriptor(0, 0xfffff, 0xc093);
    gdt[MAIN / 8] = descriptor((uint32_t)&main_tss, sizeof(main_tss) - 1, 0x89);
    gdt[TASK / 8] = descriptor((uint32_t)&task_tss, sizeof(task_tss) - 1, 0x89);
    gdt[SMALL / 8] = descriptor((uint32_t)&small_tss, sizeof(small_tss) - 1, 0x81);
    gdt[SMALL_CODE / 8] = descriptor((uint32_t)small_entry, 0xfff, 0x409b);
    gdt[SMALL_DATA / 8] = descriptor((uint32_t)small_stack, STACK, 0x4093);
    gdt[CATCHER / 8] = descriptor((uint32_t)&catcher_tss, sizeof(catcher_tss) - 1, 0x89);
    for (unsigned i = 0; i < VECTORS; i++)
        idt[i] = gate(CODE, stubs[i], 0x8e);
    __asm__ volatile("lgdt %0; ljmp $8, $1f; 1: mov %2, %%ds; mov %2, %%es; mov %2, %%ss\n"
                     "mov %2, %%fs; mov %2, %%gs; lidt %1; ltr %w3" ::"m"(g),
                     "m"(d), "r"(DATA), "r"(MAIN)
                     : "memory");
}

/* ---- trials ---- */

static void call_task(void)
{
    uint32_t kept;

    task_runs = task_flags = 0;
    __asm__ volatile("mov $0x1234, %%esi; lcall $0x20, $0; mov %%esi, %0"
                     : "=m"(kept)::"esi", "memory");
    same("call: runs", task_runs, 1);
    same("call: a register", kept, 0x1234);
}

static void try_call(void)
{
    jump_back = 0;
    __asm__ volatile("clts");
    for (unsigned i = 0; i < 3; i++)
        call_task();
    check("call: NT", task_flags & FLAG_NT, task_flags, FLAG_NT);
    check("call: TS", task_cr0 & CR0_TS, task_cr0, CR0_TS);
    same("call: link", task_tss.link, MAIN);
    same("call: the task is free", type_of(TASK), 0x89);
    same("call: main is busy", type_of(MAIN), 0x8b);
    same("iret: NT in the image", task_tss.eflags & FLAG_NT, 0);
    same("call: saved selector", main_tss.cs, CODE);
}

static void try_jump(void)
{
    jump_back = 1;
    task_runs = 0;
    task_tss.link = 0;
    for (unsigned i = 0; i < 3; i++)
        __asm__ volatile("ljmp $0x20, $0" ::: "memory");
    same("jmp: runs", task_runs, 3);
    same("jmp: NT", task_flags & FLAG_NT, 0);
    same("jmp: link", task_tss.link, 0);
    same("jmp: the task is free", type_of(TASK), 0x89);
    jump_back = 0;
    /* The task stands behind its JMP. */
    call_task();
}

static void try_gates(void)
{
    task_runs = 0;
    idt[0x30] = gate(TASK, 0, 0x85);
    __asm__ volatile("int $0x30" ::: "memory");
    same("int: runs", task_runs, 1);
    check("int: NT", task_flags & FLAG_NT, task_flags, FLAG_NT);
    /* The PIT's interrupt, which ends HLT. */
    idt[0x20] = gate(TASK, 0, 0x85);
    outb(0x43, 0x30);
    outb(0x40, 0);
    outb(0x40, 8);
    __asm__ volatile("sti; hlt; cli" ::: "memory");
    same("interrupt: runs", task_runs, 2);
    same("interrupt: returns behind HLT", *(const uint8_t *)main_tss.eip, 0xfa);
    /* Each returns behind itself, whatever came before it. */
    idt[1] = idt[3] = gate(TASK, 0, 0x85);
    __asm__ volatile("int $0x30; int3; int $0x30; .byte 0xf1; int $0x20" ::: "memory");
    same("int, int3, int1: runs", task_runs, 7);
    idt[1] = gate(CODE, stubs[1], 0x8e);
    idt[3] = gate(CODE, stubs[3], 0x8e);
}

/* The catcher continues the interrupted task at EBX. */
#define FAULTING(code)                                                                             \
    __asm__ volatile("mov $2f, %%ebx; mov $1f, %0\n1: " code "\n2:"                                \
                     : "=&r"(at)::"eax", "ebx", "memory")

static void expect_caught(const char *name, uint32_t error, uint32_t eip)
{
    same(name, catcher_runs, 1);
    same(name, catcher_error, error);
    same(name, catcher_eip, eip);
    check(name, catcher_flags & FLAG_RF, catcher_flags, FLAG_RF);
    catcher_runs = 0;
}

static void try_exceptions(void)
{
    uint32_t at;

    catcher_runs = 0;
    idt[13] = gate(CATCHER, 0, 0x85);
    FAULTING("mov $0x78, %%eax; mov %%eax, %%fs");
    expect_caught("#GP through a task gate", BEYOND, at + 5);
    idt[13] = gate(CODE, stubs[13], 0x0e); /* not present: #NP while #GP is delivered */
    idt[8] = gate(CATCHER, 0, 0x85);
    FAULTING("mov $0x78, %%eax; mov %%eax, %%fs");
    same("#DF through a task gate", catcher_runs, 1);
    same("#DF through a task gate", catcher_error, 0);
    catcher_runs = 0;
    idt[13] = gate(CODE, stubs[13], 0x8e);
    idt[8] = gate(CODE, stubs[8], 0x8e);
}

static void expect_fault(const char *name, uint32_t vector, uint32_t error)
{
    same(name, faults, 1);
    same(name, fault_vector, vector);
    same(name, fault_error, error);
    same(name, fault_eip, (uint32_t)task_entry);
    faults = 0;
}

/* In the new task, before its first instruction. */
static void try_faults(void)
{
    make_tasks();
    faults = 0;
    task_tss.es = BEYOND;
    call_task();
    expect_fault("a selector beyond its table", 10, BEYOND);
    task_tss = new_task(task_entry, task_stack);
    task_tss.gs = MAIN;
    idt[0x30] = gate(TASK, 0, 0x85);
    idt[0x20] = gate(TASK, 0, 0x85);
    task_runs = 0;
    outb(0x40, 0);
    outb(0x40, 1);
    __asm__ volatile("sti; hlt; cli" ::: "memory");
    same("a TSS in GS: runs", task_runs, 1);
    expect_fault("a TSS in GS, by an interrupt", 10, MAIN | 1);
    task_tss = new_task(task_entry, task_stack);
    task_tss.trap = 1;
    call_task();
    check("the T flag", fault_dr6 & DR6_BT, fault_dr6, DR6_BT);
    expect_fault("the T flag", 1, 0);
    task_tss = new_task(task_entry, task_stack);
}

static void try_small(void)
{
    small_runs = 0;
    for (unsigned i = 0; i < 2; i++)
        __asm__ volatile("lcall $0x28, $0" ::: "memory");
    same("16-bit TSS: runs", small_runs, 2);
    same("16-bit TSS: link", small_tss.link, MAIN);
    same("16-bit TSS: it is free", type_of(SMALL), 0x81);
}

static void try_local_breakpoints(void)
{
    set_dr7(0x7ff);
    call_task();
    same("DR7's local bits", get_dr7(), 0x6aa);
    set_dr7(0x400);
}

static void try_tasks(void)
{
    make_tasks();
    try_call();
    try_jump();
    try_gates();
    try_exceptions();
    try_faults();
    try_small();
    try_local_breakpoints();
}

/* The compiler must not know where. */
static volatile uint32_t *at(uint32_t address)
{
    __asm__ volatile("" : "+r"(address));
    return (volatile uint32_t *)address;
}

/* The task's CR3 shows it the first 4 MB at 4 MB too. */
static void try_paging(void)
{
    for (uint32_t i = 0; i < 1024; i++)
        pd_main[i] = pd_task[i] = i * LARGE | 0x83;
    pd_task[1] = 0x83;
    *at(0x800) = 0x11111111;
    *at(0x400800) = 0x22222222;
    set_cr4(get_cr4() | CR4_PSE);
    set_cr3((uint32_t)pd_main);
    set_cr0(get_cr0() | CR0_PG);
    try_tasks();
    task_tss.cr3 = (uint32_t)pd_task;
    call_task();
    same("the task's CR3", task_seen, 0x11111111);
    same("main's CR3", *at(0x400800), 0x22222222);
    same("main's CR3", get_cr3(), (uint32_t)pd_main);
    set_cr0(get_cr0() & ~CR0_PG);
}

static uint64_t pdpt[4] __attribute__((aligned(32)));
static uint64_t pae[2][512] __attribute__((aligned(4096)));

static bool is_amd(void)
{
    uint32_t a = 0, b, c, d;

    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "=c"(c), "=d"(d));
    return c == 0x444d4163; /* the end of AuthenticAMD */
}

/* PAE's four entries are registers, loaded when CR0.CD changes among others (SDM 3A "PDPTE
 * Registers"); with AMD's nested paging they are not (APM vol. 2 "Legacy PAE Mode"). */
static void try_pae(void)
{
    for (uint64_t i = 0; i < 512; i++)
        pae[0][i] = pae[1][i] = i * 0x200000 | 0x83;
    pae[1][2] = 0x83; /* the first 2 MB at 4 MB */
    pdpt[0] = (uint32_t)pae[0] | 1;
    set_cr4(get_cr4() | CR4_PAE);
    set_cr3((uint32_t)pdpt);
    set_cr0(get_cr0() | CR0_PG);
    same("PAE", *at(0x400800), 0x22222222);
    pdpt[0] = (uint32_t)pae[1] | 1;
    __asm__ volatile("invlpg 0x400800" ::: "memory");
    if (!is_amd())
        same("PAE, an entry changed in memory", *at(0x400800), 0x22222222);
    set_cr0(get_cr0() | CR0_CD);
    set_cr0(get_cr0() & ~CR0_CD);
    __asm__ volatile("invlpg 0x400800" ::: "memory");
    same("PAE, CR0.CD changed", *at(0x400800), 0x11111111);
    set_cr0(get_cr0() & ~CR0_PG);
}

/* Only the PIT's interrupt, at vector 0x20. */
static void start_pic(void)
{
    static const uint8_t words[] = {0x20, 4, 1, 0xfe};

    outb(PIC1, 0x11);
    for (unsigned i = 0; i < sizeof(words); i++)
        outb(PIC1 + 1, words[i]);
}

void run(void)
{
    start_pic();
    make_tables();
    try_tasks();
    print("tasks: done without paging\n");
    try_paging();
    print("tasks: done with paging\n");
    try_pae();
    print(wrong ? "tasks: some are wrong\n" : "tasks: all right\n");
    leave(wrong);
}

/*
 * Interrupts and exceptions arrive where and when a CPU would deliver them, even next to
 * instructions that the hypervisor emulates. Prints the right and wrong results; the exit code
 * counts the wrong ones. SDM 3A "Interrupt and Exception Handling", "Debug, Branch Profile, TSC
 * ...".
 *
 * The code under test is in assembler blocks; each label is an address that a frame must have.
 */
#include "test/guests/lib/guest.h"

#define ROUNDS       50u
#define STEPS_MAX    64u
#define DR7_EXECUTE  0x1ull
#define DR7_WRITE_4  0xd0001ull
#define DR7_WRITE_8  0x90001ull
#define UNMAPPED     0x280000000ull /* start.asm maps 8 GB */
#define NONCANONICAL 0x8000000000000000ull
#define LARGE_PAGE   0x200000ul
#define DR7_PORT_1   0x20001ull
#define DR7_READ_1   0x30001ull
#define VECTOR_DE    0u
#define VECTOR_DB    1u
#define VECTOR_BP    3u
#define VECTOR_UD    6u
#define VECTOR_SS    12u
#define VECTOR_GP    13u
#define VECTOR_PF    14u
#define PIC1         0x20u
#define PIC_READ_IRR 0x0au

extern const uint64_t guest_stubs[48];

static unsigned wrong, right;

static void check(const char *name, bool ok, uint64_t a, uint64_t b)
{
    if (ok) {
        right++;
        return;
    }
    wrong++;
    say("events: %s: WRONG (0x%lx, 0x%lx)\n", name, a, b);
}

/* ---- interrupts that wait ---- */

static volatile uint32_t irqs;

static void on_tick(void)
{
    irqs++;
}

/* The PIT's interrupt has come, and IF keeps it out. */
static void make_irq_pending(void)
{
    irqs = 0;
    pit_once(2);
    do
        outb(PIC1, PIC_READ_IRR);
    while (!(inb(PIC1) & 1));
}

/* Each block sets IF with an interrupt pending and clears it again; the interrupt must come at
 * NAME_at. RBX is free, RCX and RDX and RAX may be used. */
#define SHADOW_BLOCK(name, before, code, after)                                                    \
    __asm__(".globl " #name "_block, " #name "_at\n" #name "_block:\n" before "\n" code "\n" #name \
            "_at:\n" after "\ncli\nret\n");                                                        \
    extern const char name##_block[], name##_at[];

SHADOW_BLOCK(sti_hlt, "sti", "hlt", "nop")
SHADOW_BLOCK(sti_nop, "sti", "nop", "nop")
SHADOW_BLOCK(sti_cpuid, "xor %eax, %eax; sti", "cpuid", "nop")
SHADOW_BLOCK(sti_cpuid_slow, "mov $0xd, %eax; mov $1, %ecx; sti", "cpuid", "nop")
SHADOW_BLOCK(sti_in, "mov $0x80, %edx; sti", "in %dx, %al", "nop")
SHADOW_BLOCK(sti_in_pic, "mov $0x21, %edx; sti", "in %dx, %al", "nop")
SHADOW_BLOCK(sti_out, "mov $0x80, %edx; sti", "out %al, %dx", "nop")
SHADOW_BLOCK(sti_out_uart, "mov $0x3ff, %edx; sti", "out %al, %dx", "nop")
SHADOW_BLOCK(sti_rdmsr, "mov $0x1b, %ecx; sti", "rdmsr", "nop")
SHADOW_BLOCK(sti_wbinvd, "sti", "wbinvd", "nop")
SHADOW_BLOCK(sti_vmcall, "xor %eax, %eax; sti", "vmcall", "nop")
SHADOW_BLOCK(popf_nop, "pushf; orl $0x200, (%rsp)", "popf", "nop; nop")
SHADOW_BLOCK(popf_hlt, "pushf; orl $0x200, (%rsp)", "popf", "nop")
/* A second delaying instruction need not delay any further. */
SHADOW_BLOCK(sti_mov_ss, "mov %ss, %eax; sti", "mov %eax, %ss", "nop; nop")

static void call_block(const char *block)
{
    __asm__ volatile("call *%0" : : "r"(block) : "rax", "rbx", "rcx", "rdx", "memory", "cc");
}

static void try_shadows(void)
{
    static const struct {
        const char *name, *block, *at;
        uint64_t tolerance;
    } shadows[] = {
        {"sti; hlt", sti_hlt_block, sti_hlt_at, 0},
        {"sti; nop", sti_nop_block, sti_nop_at, 0},
        {"sti; cpuid", sti_cpuid_block, sti_cpuid_at, 0},
        {"sti; cpuid 0xd", sti_cpuid_slow_block, sti_cpuid_slow_at, 0},
        {"sti; in", sti_in_block, sti_in_at, 0},
        {"sti; in from the PIC", sti_in_pic_block, sti_in_pic_at, 0},
        {"sti; out", sti_out_block, sti_out_at, 0},
        {"sti; out to the UART", sti_out_uart_block, sti_out_uart_at, 0},
        {"sti; rdmsr", sti_rdmsr_block, sti_rdmsr_at, 0},
        {"sti; wbinvd", sti_wbinvd_block, sti_wbinvd_at, 0},
        {"sti; vmcall", sti_vmcall_block, sti_vmcall_at, 0},
        {"popf; nop", popf_nop_block, popf_nop_at, 0},
        {"popf", popf_hlt_block, popf_hlt_at, 0},
        {"sti; mov ss", sti_mov_ss_block, sti_mov_ss_at, 1},
    };

    for (unsigned round = 0; round < ROUNDS; round++)
        for (size_t i = 0; i < ARRAY_LEN(shadows); i++) {
            make_irq_pending();
            call_block(shadows[i].block);
            check(shadows[i].name, irqs == 1, irqs, 1);
            check(shadows[i].name, irq_frame.rip - (uintptr_t)shadows[i].at <= shadows[i].tolerance,
                  irq_frame.rip, (uintptr_t)shadows[i].at);
            check(shadows[i].name, (irq_frame.rflags & RFLAGS_IF) && irq_frame.cs == 8,
                  irq_frame.rflags, irq_frame.cs);
        }
}

/* IF is never seen set: the interrupt keeps waiting. */
static void try_sti_cli(void)
{
    make_irq_pending();
    __asm__ volatile("sti; cli" ::: "memory");
    check("sti; cli", irqs == 0, irqs, 0);
    __asm__ volatile("sti; nop; cli" ::: "memory");
    check("later", irqs == 1, irqs, 1);
}

/* HLT before the interrupt comes, many times: none is lost or doubled. */
static void try_halts(void)
{
    irqs = 0;
    for (unsigned i = 0; i < ROUNDS; i++) {
        pit_once((uint16_t)(20 + 13 * i));
        while (irqs == i)
            sleep_until_irq();
    }
    for (unsigned i = 0; i < 100; i++)
        __asm__ volatile("sti; nop; cli" ::: "memory");
    check("halts", irqs == ROUNDS, irqs, ROUNDS);
}

/* ---- exceptions ---- */

static struct guest_frame fault;
static unsigned fault_vector, faults;
static const char *fault_resume;
uint64_t fault_rsp;

static void note_fault(unsigned vector, struct guest_frame *f)
{
    fault = *f;
    fault_vector = vector;
    if (++faults > 3) {
        say("events: vector %u again and again at 0x%lx: WRONG\n", vector, f->rip);
        guest_exit(99);
    }
    if (fault_resume)
        f->rip = (uintptr_t)fault_resume;
}

#define FAULT_HANDLER(v)                                                                           \
    static void on_##v(struct guest_frame *f)                                                      \
    {                                                                                              \
        note_fault(VECTOR_##v, f);                                                                 \
    }
FAULT_HANDLER(DE)
FAULT_HANDLER(BP)
FAULT_HANDLER(UD)
FAULT_HANDLER(SS)
FAULT_HANDLER(GP)
FAULT_HANDLER(PF)

/* Records the stack pointer; NAME_at is the instruction, NAME_after the next one. */
#define FAULT_BLOCK(name, before, code)                                                            \
    __asm__(".globl " #name "_block, " #name "_at, " #name "_after\n" #name "_block:\n" before     \
            "\nmov %rsp, fault_rsp\n" #name "_at:\n" code "\n" #name "_after:\nret\n");            \
    extern const char name##_block[], name##_at[], name##_after[];

FAULT_BLOCK(f_ud2, "", "ud2")
FAULT_BLOCK(f_vmxon, "push $0; pop %rax", "vmxon -8(%rsp)")
FAULT_BLOCK(f_vmread, "", "vmread %rax, %rax")
FAULT_BLOCK(f_vmxoff, "", "vmxoff")
FAULT_BLOCK(f_invept, "", "invept -16(%rsp), %rax")
FAULT_BLOCK(f_monitor, "xor %ecx, %ecx; xor %edx, %edx; mov %rsp, %rax", "monitor")
FAULT_BLOCK(f_div, "xor %ecx, %ecx", "div %ecx")
FAULT_BLOCK(f_rdmsr, "mov $0xdead, %ecx", "rdmsr")
FAULT_BLOCK(f_wrmsr, "mov $0xdead, %ecx", "wrmsr")
FAULT_BLOCK(f_wrmsr_vmx, "mov $0x480, %ecx", "wrmsr")
FAULT_BLOCK(f_cr4, "mov %cr4, %rax; bts $31, %rax", "mov %rax, %cr4")
FAULT_BLOCK(f_cr0, "mov %cr0, %rax; btr $0, %rax", "mov %rax, %cr0")
FAULT_BLOCK(f_ds, "mov $0xfff8, %eax", "mov %eax, %ds")
FAULT_BLOCK(f_gp, "mov $0x8000000000000000, %rax", "mov (%rax), %eax")
FAULT_BLOCK(f_ss,
            "push %rbp; mov $0x8000000000000000, %rbp; mov %rbp, %rcx; mov (%rsp), %rbp; "
            "add $8, %rsp; mov %rbp, %rbx; mov %rcx, %rbp",
            "mov (%rbp), %eax")
FAULT_BLOCK(f_pf_read, "mov $0x280000000, %rax", "mov (%rax), %ecx")
FAULT_BLOCK(f_pf_write, "mov $0x280000008, %rax", "mov %ecx, (%rax)")
FAULT_BLOCK(f_pf_ins, "mov $0x280000010, %rdi; mov $0x80, %edx", "insb")
FAULT_BLOCK(f_pf_outs, "mov $0x280000018, %rsi; mov $0x80, %edx", "outsb")
FAULT_BLOCK(f_gp_ins, "mov $0x8000000000000000, %rdi; mov $0x80, %edx", "insb")
FAULT_BLOCK(f_gp_outs, "mov $0x8000000000000000, %rsi; mov $0x80, %edx", "outsb")
FAULT_BLOCK(f_invpcid_type, "mov $4, %eax", "invpcid zeros, %rax")
FAULT_BLOCK(f_invpcid_bits, "mov $2, %eax", "invpcid bits, %rax")
FAULT_BLOCK(f_invpcid_pcid, "mov $1, %eax", "invpcid pcid, %rax")
FAULT_BLOCK(f_invpcid_address, "xor %eax, %eax", "invpcid noncanonical, %rax")
FAULT_BLOCK(f_invpcid_pf, "mov $2, %eax; mov $0x100000000, %rcx; mov $0x80000020, %rbx",
            "invpcid -32(%rbx, %rcx, 2), %rax")
FAULT_BLOCK(f_int3, "", "int3")
FAULT_BLOCK(f_int_3, "", "int $3")
FAULT_BLOCK(f_int_2f, "", "int $0x2f")

static const struct fault_test {
    const char *name, *block, *at, *after;
    unsigned vector;
    uint64_t error, cr2;
    bool trap; /* returns after the instruction */
} fault_tests[] = {
#define T(name, f, vector, error, cr2, trap)                                                       \
    {                                                                                              \
        name, f##_block, f##_at, f##_after, VECTOR_##vector, error, cr2, trap                      \
    }
    T("ud2", f_ud2, UD, 0, 0, false),
    T("vmxon", f_vmxon, UD, 0, 0, false),
    T("vmread", f_vmread, UD, 0, 0, false),
    T("vmxoff", f_vmxoff, UD, 0, 0, false),
    T("invept", f_invept, UD, 0, 0, false),
    T("monitor", f_monitor, UD, 0, 0, false),
    T("div", f_div, DE, 0, 0, false),
    T("rdmsr", f_rdmsr, GP, 0, 0, false),
    T("wrmsr", f_wrmsr, GP, 0, 0, false),
    T("wrmsr of a VMX MSR", f_wrmsr_vmx, GP, 0, 0, false),
    T("reserved bit of CR4", f_cr4, GP, 0, 0, false),
    T("CR0 without PE", f_cr0, GP, 0, 0, false),
    T("bad selector", f_ds, GP, 0xfff8, 0, false),
    T("non-canonical", f_gp, GP, 0, 0, false),
    T("non-canonical stack", f_ss, SS, 0, 0, false),
    T("page fault, read", f_pf_read, PF, 0, UNMAPPED, false),
    T("page fault, write", f_pf_write, PF, 2, UNMAPPED + 8, false),
    T("page fault, ins", f_pf_ins, PF, 2, UNMAPPED + 16, false),
    T("page fault, outs", f_pf_outs, PF, 0, UNMAPPED + 24, false),
    T("non-canonical, ins", f_gp_ins, GP, 0, 0, false),
    T("non-canonical, outs", f_gp_outs, GP, 0, 0, false),
    T("invpcid, type", f_invpcid_type, GP, 0, 0, false),
    T("invpcid, reserved bits", f_invpcid_bits, GP, 0, 0, false),
    T("invpcid, PCID without PCIDE", f_invpcid_pcid, GP, 0, 0, false),
    T("invpcid, non-canonical", f_invpcid_address, GP, 0, 0, false),
    T("invpcid, page fault", f_invpcid_pf, PF, 0, UNMAPPED, false),
    T("int3", f_int3, BP, 0, 0, true),
    T("int 3", f_int_3, BP, 0, 0, true),
#undef T
};

const uint64_t zeros[2], bits[2] = {1ull << 12, 0}, pcid[2] = {5, 0},
                         noncanonical[2] = {0, 1ull << 47};

static void call_fault_block(const char *block)
{
    __asm__ volatile("push %%rbp; call *%0; pop %%rbp"
                     :
                     : "r"(block)
                     : "rax", "rbx", "rcx", "rdx", "rsi", "rdi", "memory", "cc");
}

static void try_faults(void)
{
    for (size_t i = 0; i < ARRAY_LEN(fault_tests); i++) {
        const struct fault_test *t = &fault_tests[i];
        faults = 0;
        fault_resume = t->after;
        call_fault_block(t->block);
        check(t->name, faults == 1 && fault_vector == t->vector, faults, fault_vector);
        check(t->name, fault.rip == (uintptr_t)(t->trap ? t->after : t->at), fault.rip,
              (uintptr_t)t->at);
        check(t->name, fault.error == t->error, fault.error, t->error);
        check(t->name, fault.rsp == fault_rsp && fault.ss == 0x10 && fault.cs == 8, fault.rsp,
              fault_rsp);
        check(t->name, !t->cr2 || read_cr2() == t->cr2, read_cr2(), t->cr2);
        /* SDM 3A "Resume Flag": 1 in the image of a fault, 0 in a trap's. */
        check(t->name, !(fault.rflags & RFLAGS_RF) == t->trap, fault.rflags, t->trap);
    }
    /* A software interrupt to one of the PIC's vectors: it takes none of the PIC's interrupts. */
    irqs = 0;
    call_fault_block(f_int_2f_block);
    check("int 0x2f", irq_frame.rip == (uintptr_t)f_int_2f_after && irq_frame.rsp == fault_rsp,
          irq_frame.rip, (uintptr_t)f_int_2f_after);
}

/* ---- debug exceptions ---- */

static struct {
    uint64_t rip, dr6, rf;
} steps[STEPS_MAX];
static unsigned step_count;
static const char *step_end;

static void clear_breakpoint(void)
{
    write_dr7(DR7_RESET);
}

static void on_debug(struct guest_frame *f)
{
    uint64_t dr6;

    /* Going on by RF would need a CPU that pushes it: Bochs does not, with or without a hypervisor.
     */
    clear_breakpoint();
    dr6 = read_dr6();
    write_dr6(DR6_RESET);
    if (step_count == STEPS_MAX) {
        say("events: a debug exception again and again at 0x%lx: WRONG\n", f->rip);
        guest_exit(98);
    }
    steps[step_count].rip = f->rip;
    steps[step_count].rf = f->rflags & RFLAGS_RF;
    steps[step_count++].dr6 = dr6;
    if (f->rip == (uintptr_t)step_end)
        f->rflags &= ~RFLAGS_TF;
}

/* Each label is where a step must end. */
__asm__(".globl step_block, step_labels\n"
        "step_block:\n"
        "pushf; orl $0x100, (%rsp); popf\n"
        "nop\n"
        "s0: xor %eax, %eax\n"
        "s1: cpuid\n"
        "s2: mov $0xd, %eax\n"
        "s3: xor %ecx, %ecx\n"
        "s4: cpuid\n"
        "s5: mov $0x21, %edx\n"
        "s6: in %dx, %al\n"
        "s7: out %al, %dx\n"
        "s8: mov $0x1b, %ecx\n"
        "s9: rdmsr\n"
        "s10: mov %cr0, %rax\n"
        "s11: mov %rax, %cr0\n"
        "s12: wbinvd\n"
        "s13: xor %eax, %eax\n"
        "s14: vmcall\n"
        "s15: mov %ss, %eax\n"
        "s16: mov %eax, %ss\n" /* no step ends between MOV SS and the next instruction */
        "cpuid\n"
        "s17: mov $0x80, %edx\n"
        "s18: in %dx, %al\n"
        "s19: nop\n"
        "s20: ret\n"
        ".section .rodata\n.align 8\nstep_labels:\n"
        ".quad s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15, s16, s17\n"
        ".quad s18, s19, s20\n"
        ".text\n");
extern const char step_block[], *const step_labels[21];

static void try_steps(void)
{
    const size_t n = ARRAY_LEN(step_labels);

    step_count = 0;
    step_end = step_labels[n - 1];
    call_block(step_block);
    check("steps", step_count == n, step_count, n);
    for (size_t i = 0; i < n; i++) {
        check("step", steps[i].rip == (uintptr_t)step_labels[i], steps[i].rip,
              (uintptr_t)step_labels[i]);
        check("step's DR6", (steps[i].dr6 & (DR6_BS | DR6_B0)) == DR6_BS, steps[i].dr6, i);
    }
}

/* OUT's trap and the interrupt that it unmasks come at the same boundary: the trap goes first (SDM
 * 3A "Priority Among Concurrent Events"). */
__asm__(".globl trap_irq_block, ti0\n"
        "trap_irq_block:\n"
        "mov $0x21, %edx\n"
        "in %dx, %al\n"
        "and $0xfe, %al\n"
        "pushf; orl $0x300, (%rsp); popf\n"
        "out %al, %dx\n"
        "ti0: nop\n"
        "cli\n"
        "ret\n");
extern const char trap_irq_block[], ti0[];

/* A step ends behind each iteration (SDM 2B "REP"). */
__asm__(".globl rep_block, rep_at, rep_end\n"
        "rep_block:\n"
        "mov $0x80, %edx; mov $3, %ecx; lea zeros(%rip), %rsi\n"
        "pushf; orl $0x100, (%rsp); popf\n"
        "rep_at: rep outsb\n"
        "rep_end: ret\n");
extern const char rep_block[], rep_at[], rep_end[];

static void try_string_steps(void)
{
    step_count = 0;
    step_end = rep_end;
    __asm__ volatile("call *%0" : : "r"(rep_block) : "rcx", "rdx", "rsi", "memory", "cc");
    check("rep outsb in steps", step_count == 3, step_count, 3);
    for (size_t i = 0; i < 3; i++) {
        const char *at = i < 2 ? rep_at : rep_end;

        check("rep outsb in steps", steps[i].rip == (uintptr_t)at, steps[i].rip, (uintptr_t)at);
        /* RF is in the image between two iterations: SDM 3A "Resume Flag". */
        check("rep outsb in steps", !steps[i].rf == (i == 2), i, steps[i].rf);
    }
}

static void try_trap_and_interrupt(void)
{
    make_irq_pending();
    outb(PIC1 + 1, inb(PIC1 + 1) | 1);
    step_count = 0;
    step_end = ti0;
    call_block(trap_irq_block);
    check("trap and interrupt", step_count == 1 && irqs == 1, step_count, irqs);
    check("trap and interrupt", steps[0].rip == (uintptr_t)ti0, steps[0].rip, (uintptr_t)ti0);
    check("trap and interrupt", steps[0].dr6 & DR6_BS, steps[0].dr6, DR6_BS);
    check("trap and interrupt", irq_frame.rip == (uintptr_t)ti0, irq_frame.rip, (uintptr_t)ti0);
}

/* A trap ends HLT at once, before anything else. */
__asm__(".globl hlt_step_block, hs0, hlt_off_block, ho0\n"
        "hlt_step_block:\n"
        "pushf; orl $0x300, (%rsp); popf\n"
        "hlt\n"
        "hs0: nop\n"
        "cli\n"
        "ret\n"
        "hlt_off_block:\n"
        "pushf; orl $0x100, (%rsp); popf\n"
        "hlt\n"
        "ho0: ret\n");
extern const char hlt_step_block[], hs0[], hlt_off_block[], ho0[];

static void try_halts_with_traps(void)
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        irqs = 0;
        step_count = 0;
        step_end = hs0;
        pit_once((uint16_t)(2 + 7 * i * i));
        call_block(hlt_step_block);
        check("hlt with TF", step_count == 1, step_count, 1);
        check("hlt with TF", steps[0].rip == (uintptr_t)hs0, steps[0].rip, (uintptr_t)hs0);
        check("hlt with TF", (steps[0].dr6 & DR6_BS) && irqs <= 1, steps[0].dr6, irqs);
        while (irqs == 0)
            sleep_until_irq();
        check("hlt with TF", irqs == 1, irqs, 1);
    }
    step_count = 0;
    step_end = ho0;
    call_block(hlt_off_block); /* the guest does not end there */
    check("hlt with TF, IF clear", step_count == 1 && steps[0].rip == (uintptr_t)ho0, step_count,
          steps[0].rip);
}

static void set_breakpoint(const volatile void *at, uint64_t dr7)
{
    write_dr0((uintptr_t)at);
    write_dr7(DR7_RESET | dr7);
}

FAULT_BLOCK(d_execute, "nop", "cpuid")
FAULT_BLOCK(d_icebp, "", ".byte 0xf1")
FAULT_BLOCK(d_int_1, "", "int $1")
FAULT_BLOCK(d_guarded, "", "mov %dr0, %rax")
FAULT_BLOCK(d_write, "", "movl $1, watched")
uint32_t watched;

static void expect_debug(const char *name, const char *at, uint64_t conditions)
{
    check(name, step_count == 1, step_count, 1);
    check(name, steps[0].rip == (uintptr_t)at, steps[0].rip, (uintptr_t)at);
    check(name, (steps[0].dr6 & (DR6_BS | DR6_B0)) == conditions, steps[0].dr6, conditions);
}

FAULT_BLOCK(d_in, "mov $0x84, %edx", "in %dx, %al")
FAULT_BLOCK(d_out, "mov $0x84, %edx", "out %al, %dx")
FAULT_BLOCK(d_outs, "mov $0x84, %edx; lea zeros(%rip), %rsi", "outsb")

static void try_port_breakpoint(const char *name, const char *block, const char *after)
{
    step_count = 0;
    write_cr4(read_cr4() | CR4_DE);
    set_breakpoint((const void *)0x84, DR7_PORT_1);
    __asm__ volatile("call *%0" : : "r"(block) : "rax", "rdx", "rsi", "memory", "cc");
    write_cr4(read_cr4() & ~CR4_DE);
    expect_debug(name, after, DR6_B0);
}

static void try_breakpoints(void)
{
    step_end = NULL;
    step_count = 0;
    set_breakpoint(d_execute_at, DR7_EXECUTE);
    call_block(d_execute_block);
    clear_breakpoint();
    expect_debug("breakpoint on CPUID", d_execute_at, DR6_B0);

    step_count = 0;
    set_breakpoint(&watched, DR7_WRITE_4);
    call_block(d_write_block);
    clear_breakpoint();
    expect_debug("watchpoint", d_write_after, DR6_B0);

    step_count = 0;
    write_dr7(DR7_RESET | DR7_GD);
    call_block(d_guarded_block);
    check("guarded debug register",
          step_count == 1 && steps[0].rip == (uintptr_t)d_guarded_at && (steps[0].dr6 & DR6_BD),
          steps[0].rip, steps[0].dr6);

    try_port_breakpoint("breakpoint on a port, in", d_in_block, d_in_after);
    try_port_breakpoint("breakpoint on a port, out", d_out_block, d_out_after);
    try_port_breakpoint("breakpoint on a port, outs", d_outs_block, d_outs_after);
    step_count = 0;
    call_block(d_in_block); /* without CR4.DE it is none */
    clear_breakpoint();
    check("breakpoint on a port without DE", step_count == 0, step_count, 0);

    step_count = 0;
    set_breakpoint(zeros, DR7_READ_1);
    call_block(d_outs_block);
    clear_breakpoint();
    expect_debug("watchpoint, outs", d_outs_after, DR6_B0);

    step_count = 0;
    call_block(d_int_1_block);
    expect_debug("int 1", d_int_1_after, 0);

    step_count = 0;
    call_block(d_icebp_block);
    expect_debug("int1 (0xf1)", d_icebp_after, 0);
}

/* An interrupt's frame is pushed onto a watchpoint: the debug exception comes before the first
 * instruction of the interrupt's handler, and neither is lost. */
static void try_watched_delivery(void)
{
    step_end = NULL;
    step_count = 0;
    make_irq_pending();
    __asm__ volatile("mov %%rsp, %%rax; and $-16, %%rax; sub $8, %%rax; mov %%rax, %%dr0\n"
                     "mov %0, %%rax; mov %%rax, %%dr7\n"
                     "sti; nop; nop; cli"
                     :
                     : "i"(DR7_RESET | DR7_WRITE_8)
                     : "rax", "memory");
    clear_breakpoint();
    check("watched delivery", irqs == 1 && step_count == 1, irqs, step_count);
    /* In Bochs that instruction is executed first, with or without a hypervisor. */
    check("watched delivery", steps[0].rip - guest_stubs[32] <= 2, steps[0].rip, guest_stubs[32]);
}

/* ---- compatibility mode ---- */

static const uint64_t descriptors[] = {0, 0x00af9b000000ffff, 0x00cf93000000ffff,
                                       0x00cf9b000000ffff};

/* Executes one instruction in 32-bit code, with all 64 bits of RAX set to the argument. */
#define COMPAT_BLOCK(name, code)                                                                   \
    __asm__(#name ":\n"                                                                            \
                  "push %rbx; mov %rdi, %rax; lea 1f(%rip), %rbx\n"                                \
                  "push $0x18; push %rbx; lretq\n"                                                 \
                  ".code32\n"                                                                      \
                  "1: " code "\n"                                                                  \
                  "ljmp $8, $2f\n"                                                                 \
                  ".code64\n"                                                                      \
                  "2: pop %rbx; ret\n");                                                           \
    extern void name(uint64_t rax);

COMPAT_BLOCK(c_cr0, "mov %eax, %cr0")
COMPAT_BLOCK(c_cr3, "mov %eax, %cr3")
COMPAT_BLOCK(c_cr4, "mov %eax, %cr4")
COMPAT_BLOCK(c_dr7, "mov %eax, %dr7")
COMPAT_BLOCK(c_invpcid, "invpcid zeros, %eax")

/* CPUID in the last two bytes below 4 GB: EIP goes on at 0. */
COMPAT_BLOCK(c_wrap, "mov $1f, %esi; xor %eax, %eax; mov $0xfffffffe, %edi; jmp *%edi; 1:")

static void try_wrap(void)
{
    static const uint8_t cpuid_code[2] = {0x0f, 0xa2}, jmp_esi[2] = {0xff, 0xe6};
    uint64_t *pml4 = (uint64_t *)read_cr3(), *pdpt = (uint64_t *)(pml4[0] & ~0xfffull);
    uint64_t *last = (uint64_t *)(pdpt[3] & ~0xfffull) + 511, old = *last;
    uint64_t to = 0, length = sizeof(jmp_esi);
    const uint8_t *from = jmp_esi;

    *last = 0x83; /* the guest's first 2 MB */
    write_cr3(read_cr3());
    memcpy((void *)(LARGE_PAGE - sizeof(cpuid_code)), cpuid_code, sizeof(cpuid_code));
    /* The compiler must not know that it is address 0. */
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(length)::"memory");
    c_wrap(0);
    *last = old;
    write_cr3(read_cr3());
    right++; /* it came back */
}

/* Operands have 32 bits there (SDM 2B "MOV - Move to/from Control Registers"): the rest of the
 * register does not count. */
static void try_compatibility_mode(void)
{
    const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) table = {sizeof(descriptors) - 1, (uintptr_t)descriptors};
    const uint64_t upper = 0xdeadbeef00000000ull;

    __asm__ volatile("lgdt %0" ::"m"(table));
    faults = 0;
    fault_resume = NULL; /* a fault ends the guest */
    c_cr4(upper | read_cr4() | CR4_DE);
    check("CR4 in compatibility mode", read_cr4() & CR4_DE, read_cr4(), 0);
    c_cr4(upper | (read_cr4() & ~CR4_DE));
    c_cr0(upper | read_cr0() | CR0_CD);
    check("CR0 in compatibility mode", read_cr0() & CR0_CD, read_cr0(), 0);
    c_cr0(upper | (read_cr0() & ~CR0_CD));
    c_cr3(upper | read_cr3());
    c_dr7(upper | DR7_RESET | 1);
    check("DR7 in compatibility mode", read_dr7() == (DR7_RESET | 1), read_dr7(), 1);
    clear_breakpoint();
    c_invpcid(upper | 2);
    try_wrap();
    check("compatibility mode", faults == 0, faults, 0);
}

void guest_main(const char *cmdline)
{
    (void)cmdline;
    irq_handle(IRQ_PIT, on_tick);
    exception_handle(VECTOR_DE, on_DE);
    exception_handle(VECTOR_DB, on_debug);
    exception_handle(VECTOR_BP, on_BP);
    exception_handle(VECTOR_UD, on_UD);
    exception_handle(VECTOR_SS, on_SS);
    exception_handle(VECTOR_GP, on_GP);
    exception_handle(VECTOR_PF, on_PF);
    try_shadows();
    try_sti_cli();
    try_halts();
    say("events: interrupts done\n");
    try_faults();
    say("events: exceptions done\n");
    try_steps();
    try_string_steps();
    try_trap_and_interrupt();
    try_halts_with_traps();
    try_breakpoints();
    try_watched_delivery();
    try_compatibility_mode();
    say("events: debug exceptions done, %u right, %u wrong\n", right, wrong);
    guest_exit(wrong);
}

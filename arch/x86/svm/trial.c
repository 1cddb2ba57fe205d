/*
 * APM vol. 2 "Virtualizing the INTR Interrupt": with V_INTR_MASKING the host's IF alone decides. In
 * Bochs (2.7, 3.0) an interrupt does not end a guest that was entered with IF=0 until the guest
 * changes its IF. So it is tried: such a guest counts in a loop, and then exits by VMMCALL, while
 * the timer's interrupt is due long before.
 */
#include "arch/x86/svm/trial.h"

#include "arch/x86/cpu/apic.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/svm/svm.h"
#include "arch/x86/svm/vmcb.h"
#include "arch/x86/svm/vmrun.h"
#include "hv/arch.h"

/* The loop is made longer until it takes this many times the time to the interrupt. */
#define LATE      64u
#define LOOPS     100000u
#define LOOPS_MAX (LOOPS << 14)
#define MICROS    50u
#define FLAT      0xffffffffu
#define CODE_32   0xc9bu
#define DATA_32   0xc93u
#define TSS_32    0x8bu
#define ASID_ONE  1u

/* 32-bit code: subtracts 1 from EAX until it is 0. */
static const uint8_t code[] = {0x48, 0x75, 0xfd, 0x0f, 0x01, 0xd9}; /* dec eax; jnz -3; vmmcall */
static struct vmcb vmcb __attribute__((aligned(4096)));

/* Without paging, nested or its own: its addresses are physical ones. Nothing is looked up in the
 * permission maps, so they may be anywhere: at 0. */
static void set_up(uint32_t loops)
{
    vmcb = (struct vmcb){
        .control = {.intercept_misc1 = INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_SHUTDOWN,
                    .intercept_misc2 = INTERCEPT_VMRUN | INTERCEPT_VMMCALL,
                    .guest_asid = ASID_ONE,
                    .tlb_control = TLB_FLUSH_ALL,
                    .vintr = VINTR_MASKING},
        .save = {.cs = {8, CODE_32, FLAT, 0},
                 .ss = {16, DATA_32, FLAT, 0},
                 .ds = {16, DATA_32, FLAT, 0},
                 .es = {16, DATA_32, FLAT, 0},
                 .tr = {0, TSS_32, 0xffff, 0},
                 .efer = EFER_SVME,
                 .cr0 = CR0_PE | CR0_ET | CR0_NE,
                 .cr4 = read_cr4() & CR4_MCE,
                 .dr6 = DR6_RESET,
                 .dr7 = DR7_RESET,
                 .rflags = RFLAGS_FIXED,
                 .rip = (uintptr_t)code,
                 .rax = loops},
    };
}

bool svm_interrupts_end_guests(void)
{
    uint64_t delay = arch_tsc_hz() / 1000000 * MICROS;

    for (uint32_t loops = LOOPS; loops <= LOOPS_MAX; loops *= 2) {
        uint64_t due, now;

        arch_irq_window(); /* what is pending already ends every guest */
        set_up(loops);
        due = arch_tsc() + delay;
        apic_timer_set(due);
        svm_vmrun(&vmcb);
        now = arch_tsc();
        arch_irq_window();
        if (now < due)
            continue;
        if ((uint32_t)vmcb.control.exitcode == SVM_EXIT_INTR)
            return true;
        if (now - due > LATE * delay)
            return false;
    }
    return false;
}

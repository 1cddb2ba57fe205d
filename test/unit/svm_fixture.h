/* A vCPU of a guest with memory and devices over a VMCB, and the core that it is loaded on. What
 * the CPU and enter.asm do around a handler is done here, by the APM. */
#pragma once

#undef VCPU_STATE
#define VCPU_STATE "test/unit/svm_state.h"
#include "arch/x86/guest/task_switch.h"
#include "hv/panic.h"
#include "test/unit/guest_fixture.h"

#define RIP     0x1230u
#define TABLES  0x8000u /* page tables of 64-bit mode: one to one */
#define CODE_32 0xc9bu
#define CODE_64 0xa9bu
#define DATA_32 0xc93u

struct svm_core_model svm_core_model;
static struct svm_vcpu backend;
static struct vmcb vmcb;
static struct task_switch switched; /* the last that was asked for */
static jmp_buf panicked;

_Noreturn void panic(const char *format, ...)
{
    (void)format;
    longjmp(panicked, 1);
}

bool vcpu_halt_deaf(struct vcpu *who)
{
    (void)who;
    return false;
}

enum exit_action exit_hypercall(struct vcpu *who)
{
    who->regs.rax = 0x7777;
    return EXIT_SKIP;
}

void arch_irq_window(void)
{
    svm_core_model.irq_windows++;
}

enum exit_action x86_task_switch(struct vcpu *who, const struct task_switch *t)
{
    (void)who;
    switched = *t;
    return EXIT_RESUME;
}

static uint64_t armed; /* for when the timer was set last */
void apic_timer_set(uint64_t deadline)
{
    armed = deadline;
}

uint64_t x86_xcr0_allowed(void)
{
    return 7;
}

static struct asid_pool asids;

void svm_take_asid(struct svm_vcpu *x)
{
    x->vmcb->control.tlb_control = asid_take(&asids, &x->asid);
}

static struct svm_caps caps = {.abi = {.present = 1}, .cr4 = 0x7fffff};

const struct svm_caps *svm_caps_common(void)
{
    return &caps;
}

/* 32-bit protected mode at CPL 0, flat, without paging. */
static void reset_state(void)
{
    struct vmcb_save *s = &vmcb.save;

    memset(&vmcb, 0, sizeof(vmcb));
    memset(&v->regs, 0, sizeof(v->regs));
    for (struct vmcb_segment *data = &s->es; data <= &s->gs; data++)
        *data = (struct vmcb_segment){0x10, DATA_32, UINT32_MAX, 0};
    s->cs = (struct vmcb_segment){8, CODE_32, UINT32_MAX, 0};
    s->rflags = RFLAGS_FIXED | RFLAGS_IF;
    s->efer = EFER_SVME;
    s->dr6 = DR6_RESET;
    s->dr7 = DR7_RESET;
    s->rip = RIP;
    vcpu_show_cr0(v, CR0_PE | CR0_ET);
    vcpu_set_cr0(v, CR0_PE | CR0_ET | CR0_NE);
    vcpu_show_cr4(v, 0);
    vcpu_set_cr4(v, CR4_MCE);
    vcpu_watch_ends(v, false);
}

/* 64-bit mode, with one page of 2 MB. */
static void enter_long_mode(void)
{
    const uint64_t table[3] = {(TABLES + 0x1000) | 7, (TABLES + 0x2000) | 7, 0x87};

    for (unsigned i = 0; i < 3; i++)
        memcpy(guest.mem.base + TABLES + 0x1000ull * i, &table[i], sizeof(table[i]));
    vmcb.save.cs.attrib = CODE_64;
    vmcb.save.cr3 = TABLES;
    vcpu_show_cr4(v, CR4_PAE);
    vcpu_set_cr4(v, CR4_PAE | CR4_MCE);
    vcpu_set_efer(v, EFER_LME | EFER_LMA);
    vcpu_show_cr0(v, CR0_PE | CR0_ET | CR0_PG);
    vcpu_set_cr0(v, CR0_PE | CR0_ET | CR0_NE | CR0_PG);
}

static int fixture(void **ctx)
{
    (void)ctx;
    memset(&backend, 0, sizeof(backend));
    memset(&svm_core_model, 0, sizeof(svm_core_model));
    asid_pool_init(&asids, 100, true);
    fixture_guest(&pc_host, DEV_PIC | DEV_PIT | DEV_UART | DEV_EXIT | DEV_APIC, &backend,
                  &backend.x86);
    backend.vcpu = v;
    backend.vmcb = &vmcb;
    backend.deadline = UINT64_MAX;
    reset_state();
    return 0;
}

/* What enter.asm does behind an instruction that is done: APM vol. 2 "State Saved on Exit". */
static enum exit_action finish(enum exit_action a)
{
    if (a >= EXIT_SKIP && a <= EXIT_HALT)
        vmcb.save.rip = vmcb.control.nrip;
    else if (a >= EXIT_SKIP_DECODED) {
        vmcb.save.rip += record.instruction_length;
        a = (enum exit_action)(a - EXIT_DECODED);
    }
    return a;
}

/* The exit, and what follows it. `length`: of the instruction, 0 if there is none. */
static enum exit_action exits(uint64_t code, uint64_t info1, uint64_t info2, unsigned length)
{
    vmcb.control.exitcode = code;
    vmcb.control.exitinfo1 = info1;
    vmcb.control.exitinfo2 = info2;
    vmcb.control.eventinj = 0;
    vmcb.control.nrip = backend.nrips && length ? vmcb.save.rip + length : 0;
    record = (struct abi_exit){.rip = vmcb.save.rip, .tsc = 2000, .reason = (uint32_t)code};
    if ((uint32_t)code == SVM_EXIT_IOIO)
        record.qualification = info1; /* enter.asm has read it */
    stats.entries++;
    backend.handlers = backend.nrips ? svm_exit_handlers : svm_decoding_handlers;
    return finish(backend.handlers[abi_svm_exit(code)](v));
}

static void put_code(const void *bytes, size_t size)
{
    memset(guest.mem.base + RIP, 0xcc, 16);
    memcpy(guest.mem.base + RIP, bytes, size);
    vmcb.save.rip = RIP;
}

/* The instruction, in a string, exits. It has the same effect whether the CPU reports its end or
 * not: each test runs with both. */
#define EXECUTE(code, bytes, info1, info2)                                                         \
    (put_code(bytes, sizeof(bytes) - 1), exits(code, info1, info2, sizeof(bytes) - 1))
#define ASSERT_DONE(call, bytes)                                                                   \
    do {                                                                                           \
        assert_int_equal(call, EXIT_SKIP);                                                         \
        assert_int_equal(vmcb.save.rip, RIP + sizeof(bytes) - 1);                                  \
        assert_int_equal(vmcb.control.eventinj, 0);                                                \
    } while (0)
/* It faults instead. */
#define ASSERT_RAISES(call, event)                                                                 \
    do {                                                                                           \
        assert_int_equal(call, EXIT_RESUME);                                                       \
        assert_int_equal(vmcb.save.rip, RIP);                                                      \
        assert_int_equal((uint32_t)vmcb.control.eventinj, event);                                  \
    } while (0)
#define UD (EVENT_VALID | EVENT_EXCEPTION | VECTOR_UD)
#define GP (EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_GP)
#define PF (EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_PF)

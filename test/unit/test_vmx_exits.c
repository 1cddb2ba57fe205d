/* SOURCES: hv/gmem.c arch/x86/guest/exits.c arch/x86/guest/apic.c arch/x86/guest/cr.c
 * arch/x86/guest/events.c arch/x86/guest/cpuid.c arch/x86/guest/msr.c arch/x86/guest/kvm_clock.c
 * arch/x86/guest/segment.c arch/x86/guest/paging.c arch/x86/guest/linear.c
 * arch/x86/guest/breakpoints.c arch/x86/inspect/names.c hv/exit.c @pc hv/fmt.c hv/lib.c */
/*
 * VT-x's exits, from the fields of the VMCS to what the guest sees. The source is included here;
 * VMREAD reads a table, and what the guest changes of its state is in test/unit/vcpu_state.h.
 */
#include "arch/x86/cpu/trap.h"
#include "arch/x86/guest/task_switch.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "test/unit/vcpu_fixture.h"

static struct {
    uint64_t qualification, info, error, instruction, length, gpa, linear, vectoring;
    unsigned host_nmis, machine_checks, windows;
    struct memory_access mmio;
    struct task_switch task;
    bool splits;
} cpu;

static uint64_t field(uint32_t f)
{
    switch (f) {
    case VMCS_EXIT_QUALIFICATION:
        return cpu.qualification;
    case VMCS_VM_EXIT_INTERRUPTION_INFO:
        return cpu.info;
    case VMCS_VM_EXIT_INTERRUPTION_ERROR_CODE:
        return cpu.error;
    case VMCS_VM_EXIT_INSTRUCTION_INFO:
        return cpu.instruction;
    case VMCS_VM_EXIT_INSTRUCTION_LENGTH:
        return cpu.length;
    case VMCS_GUEST_PHYSICAL_ADDRESS:
        return cpu.gpa;
    case VMCS_GUEST_LINEAR_ADDRESS:
        return cpu.linear;
    case VMCS_IDT_VECTORING_INFO:
        return cpu.vectoring;
    case VMCS_IDT_VECTORING_ERROR_CODE:
        return 0;
    default:
        fail_msg("VMREAD of field 0x%x", f);
        return 0;
    }
}

#define vmread                  field
#define trap_host_nmi           fake_nmi
#define trap_host_machine_check fake_machine_check
static void fake_nmi(void)
{
    cpu.host_nmis++;
}
static void fake_machine_check(void)
{
    cpu.machine_checks++;
}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow" /* of the fixture's vCPU */
#include "arch/x86/vmx/exits.c"
#pragma GCC diagnostic pop

/* ---- what the handlers call ---- */

uint64_t arch_test_clock(void)
{
    return 50000;
}

void arch_irq_window(void)
{
    cpu.windows++;
}

void trap_interrupt(unsigned vector)
{
    (void)vector;
}

_Noreturn void panic(const char *format, ...)
{
    fail_msg("panic: %s", format);
    abort();
}

static struct abi_caps caps;
const struct abi_caps *vmx_caps_common(void)
{
    return &caps;
}

bool vmx_split(struct vmx_vcpu *x, uint64_t at)
{
    (void)x;
    return cpu.splits && at == cpu.gpa;
}

enum exit_action x86_mmio(struct vcpu *who, const struct memory_access *m, uint64_t until)
{
    (void)who;
    (void)until;
    cpu.mmio = *m;
    return EXIT_SKIP_DECODED;
}

enum exit_action x86_task_switch(struct vcpu *who, const struct task_switch *t)
{
    (void)who;
    cpu.task = *t;
    return EXIT_RESUME;
}

enum exit_action x86_string_io(struct vcpu *who, const struct string_access *a, uint64_t until)
{
    (void)who;
    (void)a;
    (void)until;
    return EXIT_RESUME;
}

enum exit_action x86_port_in(struct vcpu *who, uint16_t port, unsigned size)
{
    (void)who;
    (void)port;
    (void)size;
    return EXIT_SKIP;
}

enum exit_action x86_port_out(struct vcpu *who, uint16_t port, unsigned size)
{
    return x86_port_in(who, port, size);
}

static int fixture(void **ctx)
{
    memset(&cpu, 0, sizeof(cpu));
    return fixture_vcpu(ctx);
}

static enum exit_action exits(uint32_t reason)
{
    record.reason = reason;
    state.event = state.error = 0;
    return vmx_exit_handlers[reason](v);
}

/* ---- */

/* SDM 3C "Instructions That Cause VM Exits Unconditionally": no control keeps a guest from them,
 * and those that CPUID does not show are #UD in it. SDM 3D "SEAMCALL", "TDCALL": so do these two on
 * a CPU with TDX. */
static void nothing_that_a_guest_executes_ends_it(void **ctx)
{
    static const uint16_t undefined[] = {
        VMX_EXIT_GETSEC,   VMX_EXIT_INVEPT,  VMX_EXIT_INVVPID, VMX_EXIT_VMCLEAR, VMX_EXIT_VMLAUNCH,
        VMX_EXIT_VMPTRLD,  VMX_EXIT_VMPTRST, VMX_EXIT_VMREAD,  VMX_EXIT_VMWRITE, VMX_EXIT_VMRESUME,
        VMX_EXIT_VMXOFF,   VMX_EXIT_VMXON,   VMX_EXIT_VMFUNC,  VMX_EXIT_MONITOR, VMX_EXIT_MWAIT,
        VMX_EXIT_SEAMCALL, VMX_EXIT_TDCALL,  VMX_EXIT_ENCLS,   VMX_EXIT_ENCLV,
    };
    static const uint16_t done[] = {VMX_EXIT_CPUID, VMX_EXIT_INVD, VMX_EXIT_WBINVD,
                                    VMX_EXIT_VMCALL};

    (void)ctx;
    for (unsigned i = 0; i < ARRAY_LEN(undefined); i++) {
        assert_int_equal(exits(undefined[i]), EXIT_RESUME);
        assert_int_equal(state.event, UD);
        assert_true(state.rflags & RFLAGS_RF);
    }
    for (unsigned i = 0; i < ARRAY_LEN(done); i++)
        assert_int_equal(exits(done[i]), EXIT_SKIP);
    assert_int_equal(exits(VMX_EXIT_XSETBV), EXIT_RESUME); /* CR4.OSXSAVE is 0 */
    assert_int_equal(state.event, UD);
    assert_false(v->stop);
}

/* An INIT signal in VMX non-root operation is one to the host: SDM 3C "Other Causes of VM Exits".
 */
static void what_comes_to_the_host_does_not_end_the_guest(void **ctx)
{
    (void)ctx;
    cpu.info = INTR_INFO_VALID | INTR_INFO_NMI | 2;
    assert_int_equal(exits(VMX_EXIT_EXCEPTION_OR_NMI), EXIT_RESUME);
    assert_int_equal(cpu.host_nmis, 1);
    cpu.info = INTR_INFO_VALID | INTR_INFO_HARD_EXCEPTION | VMX_VECTOR_MC;
    assert_int_equal(exits(VMX_EXIT_EXCEPTION_OR_NMI), EXIT_RESUME);
    assert_int_equal(cpu.machine_checks, 1);
    record.reason = VMX_EXIT_ENTRY_FAILURE | VMX_EXIT_ENTRY_FAILURE_MACHINE_CHECK;
    assert_int_equal(vmx_on_unusual(v, VMX_EXIT_UNUSUAL), EXIT_RESUME);
    assert_int_equal(cpu.machine_checks, 2);
    assert_int_equal(exits(VMX_EXIT_INIT_SIGNAL), EXIT_RESUME);
    assert_int_equal(state.event, 0);
    assert_false(v->stop);
}

/* SDM 3C "Information for VM Exits Due to Vectored Events": a #DB or #AC of an IRET has unblocked
 * NMIs, unless its delivery is what was interrupted. */
static void exceptions(void **ctx)
{
    const uint32_t exception = INTR_INFO_VALID | INTR_INFO_HARD_EXCEPTION;

    (void)ctx;
    cpu.info = exception | VECTOR_DB | INTR_INFO_NMI_UNBLOCKING;
    cpu.qualification = DR6_BS | DR6_B0;
    assert_int_equal(exits(VMX_EXIT_EXCEPTION_OR_NMI), EXIT_RESUME);
    assert_int_equal(state.event, DB);
    assert_int_equal(state.dr[6], DR6_RESET | DR6_BS | DR6_B0);
    assert_true(state.nmi_blocked);
    state.nmi_blocked = false;
    cpu.vectoring = EVENT_VALID | EVENT_EXTERNAL | 0x40;
    assert_int_equal(exits(VMX_EXIT_EXCEPTION_OR_NMI), EXIT_RESUME);
    assert_false(state.nmi_blocked);
    assert_int_equal(state.x86.reinject, EVENT_VALID | EVENT_EXTERNAL | 0x40);
    cpu.vectoring = 0;
    cpu.info = exception | VECTOR_AC | INTR_INFO_ERROR_CODE;
    assert_int_equal(exits(VMX_EXIT_EXCEPTION_OR_NMI), EXIT_RESUME);
    assert_int_equal(state.event, EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_AC);
    cpu.info = INTR_INFO_VALID | INTR_INFO_PRIVILEGED_SOFT | VECTOR_DB;
    cpu.length = 1;
    assert_int_equal(exits(VMX_EXIT_EXCEPTION_OR_NMI), EXIT_RESUME);
    assert_int_equal(state.event, EVENT_VALID | EVENT_PRIVILEGED_SOFT | VECTOR_DB);
    assert_int_equal(state.length, 1);
}

/* SDM 3C "Exit Qualification for EPT Violations". */
static void ept_violations(void **ctx)
{
    const uint64_t operand = EPT_LINEAR_VALID | EPT_TRANSLATED;

    (void)ctx;
    cpu.gpa = 0xd0000010;
    cpu.linear = 0x12345010;
    cpu.qualification = operand | EPT_WRITE;
    assert_int_equal(exits(VMX_EXIT_EPT_VIOLATION), EXIT_SKIP_DECODED);
    assert_true(cpu.mmio.gpa == cpu.gpa && cpu.mmio.linear == cpu.linear);
    assert_true(cpu.mmio.write && cpu.mmio.linear_known);
    /* A fetch from a page that waits for it, while an interrupt was delivered. */
    cpu.splits = true;
    cpu.qualification = EPT_EXECUTE | 3 << 3 | operand | EPT_NMI_UNBLOCKING;
    assert_int_equal(exits(VMX_EXIT_EPT_VIOLATION), EXIT_RESUME);
    assert_true(state.nmi_blocked);
    cpu.vectoring = EVENT_VALID | EVENT_EXTERNAL | 0x40;
    assert_int_equal(exits(VMX_EXIT_EPT_VIOLATION), EXIT_RESUME);
    assert_int_equal(state.x86.reinject, cpu.vectoring);
    assert_false(v->stop);
    cpu.splits = false;
    assert_int_equal(exits(VMX_EXIT_EPT_VIOLATION), EXIT_STOP);
    assert_non_null(strstr(stopped, "executed guest-physical address 0xd0000010"));
}

/* The stack of an interrupt's delivery, and the guest's page tables: no instruction did it. */
static void ept_violations_of_no_instruction(void **ctx)
{
    (void)ctx;
    cpu.qualification = EPT_LINEAR_VALID;
    assert_int_equal(exits(VMX_EXIT_EPT_VIOLATION), EXIT_STOP);
    v->stop = false;
    cpu.qualification = EPT_LINEAR_VALID | EPT_TRANSLATED | EPT_WRITE;
    cpu.vectoring = EVENT_VALID | EVENT_EXTERNAL | 0x40;
    assert_int_equal(exits(VMX_EXIT_EPT_VIOLATION), EXIT_STOP);
    assert_non_null(strstr(stopped, "wrote to"));
}

/* SDM 3C "Exit Qualification for Task Switches". Only software interrupts have a length. */
static void task_switches(void **ctx)
{
    (void)ctx;
    cpu.length = 2;
    cpu.qualification = 3ull << TASK_SOURCE_SHIFT | 0x48;
    cpu.vectoring = EVENT_VALID | EVENT_EXTERNAL | 0x40;
    assert_int_equal(exits(VMX_EXIT_TASK_SWITCH), EXIT_RESUME);
    assert_true(cpu.task.by == TASK_GATE && cpu.task.selector == 0x48 && cpu.task.length == 0);
    cpu.vectoring = EVENT_VALID | EVENT_SOFT_INTERRUPT | 0x40;
    assert_int_equal(exits(VMX_EXIT_TASK_SWITCH), EXIT_RESUME);
    assert_int_equal(cpu.task.length, 2);
    cpu.qualification = 1ull << TASK_SOURCE_SHIFT | 0x48;
    assert_int_equal(exits(VMX_EXIT_TASK_SWITCH), EXIT_RESUME);
    assert_true(cpu.task.by == TASK_IRET && cpu.task.event == 0 && cpu.task.length == 2);
}

/* An entry whose RIP has wrapped out of 32 bits is repaired; any other failed one ends the guest.
 */
static void failed_entries(void **ctx)
{
    (void)ctx;
    state.rip = 0x100000001;
    record.reason = VMX_EXIT_ENTRY_FAILURE | VMX_EXIT_ENTRY_FAILURE_GUEST_STATE;
    assert_int_equal(vmx_on_unusual(v, VMX_EXIT_UNUSUAL), EXIT_RESUME);
    assert_int_equal(state.rip, 1);
    assert_int_equal(vmx_on_unusual(v, VMX_EXIT_UNUSUAL), EXIT_STOP);
    assert_non_null(strstr(stopped, ABI_WHY_ENTRY_FAILED));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, fixture, fixture_end)
    const struct CMUnitTest tests[] = {
        TEST(nothing_that_a_guest_executes_ends_it),
        TEST(what_comes_to_the_host_does_not_end_the_guest),
        TEST(exceptions),
        TEST(ept_violations),
        TEST(ept_violations_of_no_instruction),
        TEST(task_switches),
        TEST(failed_entries),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* Offsets and constants for enter.asm, computed by the compiler. Compiled to assembly only; the
 * Makefile turns each "->NAME value" into %define. */
#include "arch/x86/cpu/regs.h"
#include "arch/x86/inspect/fields.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/guest.h"

#define VALUE(name, value)              __asm__ volatile("\n->" #name " %0" : : "i"(value))
#define OFFSET(name, structure, member) VALUE(name, offsetof(struct structure, member))
#define FIELD(name)                     VALUE(VMCS_##name, VMCS_##name)

_Static_assert(offsetof(struct vcpu, regs) == 0, "vmx_enter takes the vCPU for its registers");

void offsets(void);

void offsets(void)
{
    OFFSET(GPR_RAX, vcpu_gprs, rax);
    OFFSET(GPR_RCX, vcpu_gprs, rcx);
    OFFSET(GPR_RDX, vcpu_gprs, rdx);
    OFFSET(GPR_RBX, vcpu_gprs, rbx);
    OFFSET(GPR_RBP, vcpu_gprs, rbp);
    OFFSET(GPR_RSI, vcpu_gprs, rsi);
    OFFSET(GPR_RDI, vcpu_gprs, rdi);
    OFFSET(GPR_R8, vcpu_gprs, r8);
    OFFSET(GPR_R9, vcpu_gprs, r9);
    OFFSET(GPR_R10, vcpu_gprs, r10);
    OFFSET(GPR_R11, vcpu_gprs, r11);
    OFFSET(GPR_R12, vcpu_gprs, r12);
    OFFSET(GPR_R13, vcpu_gprs, r13);
    OFFSET(GPR_R14, vcpu_gprs, r14);
    OFFSET(GPR_R15, vcpu_gprs, r15);
    OFFSET(VCPU_BACKEND, vcpu, backend);
    OFFSET(VCPU_REQUESTS, vcpu, entity.requests);
    OFFSET(VCPU_STATS, vcpu, stats);
    OFFSET(VCPU_END_FLAGS, vcpu, end_flags);
    OFFSET(VCPU_PLATFORM, vcpu, platform);
    OFFSET(PLATFORM_PORTS, platform, bus.index);
    VALUE(IO_DIRECT, IO_DIRECT);
    VALUE(IO_IN, IO_IN);
    VALUE(IO_STRING, IO_STRING);
    VALUE(IO_SIZE_MASK, IO_SIZE_MASK);
    VALUE(IO_PORT_SHIFT, IO_PORT_SHIFT);
    OFFSET(X_HOST_RSP, vmx_vcpu, host_rsp);
    OFFSET(X_LAUNCHED, vmx_vcpu, launched);
    OFFSET(X_TIMER_END, vmx_vcpu, timer_end);
    OFFSET(X_TIMER_SHIFT, vmx_vcpu, timer_shift);
    OFFSET(X_CPUID_PLAIN, vmx_vcpu, x86.cpuid.plain);
    OFFSET(X_CPUID_BASIC, vmx_vcpu, x86.cpuid.basic);
    OFFSET(STATS_ENTRIES, abi_vcpu, entries);
    OFFSET(STATS_EXITS, abi_vcpu, exits);
    VALUE(EXIT_REASONS, ABI_EXIT_REASONS);
    OFFSET(VCPU_EXIT, vcpu, exit);
    VALUE(EXIT_SIZE, sizeof(struct abi_exit));
    VALUE(EXITS_WRAP_BIT, __builtin_ctzll(ABI_EXITS * sizeof(struct abi_exit)));
    OFFSET(EXIT_TSC, abi_exit, tsc);
    OFFSET(EXIT_ENTRY_TSC, abi_exit, entry_tsc);
    OFFSET(EXIT_RIP, abi_exit, rip);
    OFFSET(EXIT_REASON, abi_exit, reason);
    OFFSET(EXIT_OUTCOME, abi_exit, outcome);
    OFFSET(EXIT_QUALIFICATION, abi_exit, qualification);
    OFFSET(EXIT_DETAIL, abi_exit, detail);
    OFFSET(EXIT_LENGTH, abi_exit, instruction_length);
    VALUE(OUTCOME_RESUME, ABI_OUTCOME_RESUME);
    VALUE(OUTCOME_SKIP, ABI_OUTCOME_SKIP);
    VALUE(OUTCOME_HALT, ABI_OUTCOME_HALT);
    VALUE(DECODED, EXIT_DECODED);
    VALUE(CPUID_BASIC_MAX, CPUID_BASIC_MAX);
    VALUE(VMX_EXIT_CPUID, VMX_EXIT_CPUID);
    VALUE(VMX_ENTER_FAILED, VMX_ENTER_FAILED);
    VALUE(VMX_EXIT_UNUSUAL, VMX_EXIT_UNUSUAL);
    VALUE(VMX_EXIT_IO_INSTRUCTION, VMX_EXIT_IO_INSTRUCTION);
    VALUE(VMX_EXIT_PREEMPTION_TIMER, VMX_EXIT_PREEMPTION_TIMER);
    VALUE(BLOCKING_BY_STI_OR_MOV_SS, BLOCKING_BY_STI | BLOCKING_BY_MOV_SS);
    FIELD(HOST_RSP);
    FIELD(EXIT_REASON);
    FIELD(EXIT_QUALIFICATION);
    FIELD(GUEST_INTERRUPTIBILITY_STATE);
    FIELD(GUEST_RFLAGS);
    FIELD(VMX_PREEMPTION_TIMER_VALUE);
    FIELD(GUEST_RIP);
    FIELD(VM_EXIT_INSTRUCTION_LENGTH);
}

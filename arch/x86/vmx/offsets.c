/* Offsets and constants for enter.asm: see guest/offsets.h. */
#include "arch/x86/guest/offsets.h"

#include "arch/x86/inspect/fields.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmx.h"

#define FIELD(name) VALUE(VMCS_##name, VMCS_##name)

void offsets(void);

void offsets(void)
{
    common_offsets();
    VALUE(IO_IN, IO_IN);
    VALUE(IO_STRING, IO_STRING);
    VALUE(IO_SIZE_MASK, IO_SIZE_MASK);
    VALUE(IO_PORT_SHIFT, IO_PORT_SHIFT);
    OFFSET(VCPU_HALTED, vcpu, halted);
    OFFSET(X_HOST_RSP, vmx_vcpu, host_rsp);
    OFFSET(X_LAUNCHED, vmx_vcpu, launched);
    OFFSET(X_TIMER_END, vmx_vcpu, timer_end);
    OFFSET(X_TIMER_SHIFT, vmx_vcpu, timer_shift);
    OFFSET(X_CPUID_PLAIN, vmx_vcpu, x86.cpuid.plain);
    OFFSET(X_CPUID_BASIC, vmx_vcpu, x86.cpuid.basic);
    OFFSET(X_CPUID_CACHE, vmx_vcpu, x86.cpuid.cache);
    VALUE(CPUID_CACHE, CPUID_CACHE);
    VALUE(CPUID_CACHE_LEVELS, CPUID_CACHE_LEVELS);
    VALUE(EXIT_REASONS, ABI_EXIT_REASONS);
    VALUE(OUTCOME_RESUME, ABI_OUTCOME_RESUME);
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

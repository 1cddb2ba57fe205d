; Into the guest and back: SDM 3C "VM Entries", "VM Exits".
;
; uint32_t vmx_enter(struct vcpu *v);
;   RDI = the vCPU; its general registers (the first member) are loaded before and stored after.
;   Returns the exit reason after a VM exit, VMX_ENTER_FAILED when VMLAUNCH or VMRESUME itself failed (the VM-instruction error says why).
;   Needs: the vCPU's VMCS current, HOST_RIP = vmx_exit_point, the preemption timer set, vmx_vcpu.deadline set, interrupts off.
;   Keeps the callee-saved registers; nothing of the guest's stays in any other one.
;
; While a guest runs the stack holds: the vCPU, then the root's callee-saved registers.
; One path stores and clears the registers: a failed instruction takes it as an exit does.

%include "offsets.inc"

section .text
bits 64
global vmx_enter, vmx_exit_point

; The preemption timer stops in root operation, so each entry sets it anew, from an absolute time; one that has passed meanwhile ends the entry at once. What
; follows until the entry makes the timer late. RSI = the vmx_vcpu; RAX = now; uses RCX and RDX; "not above" (CF or ZF) says that VMWRITE failed.
%macro SET_TIMER 0
    rdtsc
    shl rdx, 32
    or rax, rdx                         ; now
    xor ecx, ecx
    mov rdx, [rsi + X_DEADLINE]
    sub rdx, rax
    cmovb rdx, rcx
    mov ecx, [rsi + X_TIMER_SHIFT]
    shr rdx, cl
    add rdx, [rsi + X_TIMER_EXTRA]
    mov ecx, VMCS_VMX_PREEMPTION_TIMER_VALUE
    vmwrite rcx, rdx
%endmacro

align 16
vmx_enter:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rdi
    mov rsi, [rdi + VCPU_BACKEND]
    SET_TIMER
    jna .no_timer
%ifndef VMX_UNRECORDED
    mov rcx, [rdi + VCPU_EXIT]
    mov [rcx + EXIT_ENTRY_TSC], rax     ; the guest goes on after its last exit
%endif
    cmp rsp, [rsi + X_HOST_RSP]
    je .load                            ; ZF = 1: VMRESUME. MOV keeps the flag until then
    ; The first entry, or another stack depth than at the last one.
    mov [rsi + X_HOST_RSP], rsp
    mov ecx, VMCS_HOST_RSP
    vmwrite rcx, rsp
    cmp byte [rsi + X_LAUNCHED], 1
    mov byte [rsi + X_LAUNCHED], 1
.load:
    mov rax, [rdi + GPR_RAX]
    mov rcx, [rdi + GPR_RCX]
    mov rdx, [rdi + GPR_RDX]
    mov rbx, [rdi + GPR_RBX]
    mov rbp, [rdi + GPR_RBP]
    mov rsi, [rdi + GPR_RSI]
    mov r8, [rdi + GPR_R8]
    mov r9, [rdi + GPR_R9]
    mov r10, [rdi + GPR_R10]
    mov r11, [rdi + GPR_R11]
    mov r12, [rdi + GPR_R12]
    mov r13, [rdi + GPR_R13]
    mov r14, [rdi + GPR_R14]
    mov r15, [rdi + GPR_R15]
    mov rdi, [rdi + GPR_RDI]
    jne .launch
    vmresume
    jmp failed
.launch:
    vmlaunch
failed:
    ; No register has changed: take the way of an exit, with another result.
    xchg rdi, [rsp]
    mov [rdi + GPR_RSI], rsi
    mov [rdi + GPR_RAX], rax
    mov eax, VMX_ENTER_FAILED
    jmp store
vmx_enter.no_timer:
    ; The guest's registers are where they were.
    pop rdi
    mov eax, VMX_ENTER_FAILED
    jmp leave

; CPUID is by far the commonest exit of some guests, and it needs nothing but a table: it is answered here, with five registers, unless something is due or
; unusual; then the registers are brought back and the general path decides. The rest of the guest's registers is left alone and not used.
align 16
vmx_exit_point:
    xchg rdi, [rsp]                     ; the vCPU; the guest's RDI waits on the stack
    mov [rdi + GPR_RSI], rsi
    mov esi, VMCS_EXIT_REASON
    vmread rsi, rsi
    jna no_reason
    cmp esi, VMX_EXIT_CPUID
    jne general
    mov [rdi + GPR_RAX], rax
    mov [rdi + GPR_RCX], rcx
    mov [rdi + GPR_RDX], rdx
    mov rsi, [rdi + VCPU_BACKEND]
    cmp eax, CPUID_BASIC_MAX
    ja again
    bt dword [rsi + X_CPUID_PLAIN], eax ; leaves whose subleaves differ are not plain
    jnc again
    cmp dword [rdi + VCPU_REQUESTS], 0
    jne again
    ; A shadow of STI or MOV SS ends with this instruction, and TF wants its trap.
    mov ecx, VMCS_GUEST_INTERRUPTIBILITY_STATE
    vmread rcx, rcx
    jna again
    test ecx, BLOCKING_BY_STI_OR_MOV_SS
    jnz again
    mov ecx, VMCS_GUEST_RFLAGS
    vmread rcx, rcx
    jna again
    test ecx, RFLAGS_TF
    jnz again
    SET_TIMER
    jna again
    mov ecx, VMCS_GUEST_RIP
    vmread rdx, rcx
    jna again
%ifndef VMX_UNRECORDED
    ; Into the flight recorder, whose ring is aligned to twice its size.
    mov rcx, [rdi + VCPU_EXIT]
    add rcx, EXIT_SIZE
    btr rcx, EXITS_WRAP_BIT
    mov [rcx + EXIT_TSC], rax
    mov [rcx + EXIT_ENTRY_TSC], rax
    mov [rcx + EXIT_RIP], rdx
%endif
    mov eax, VMCS_VM_EXIT_INSTRUCTION_LENGTH
    vmread rax, rax
    jna again
%ifndef VMX_UNRECORDED
    mov [rcx + EXIT_LENGTH], rax
%endif
    add rdx, rax
    mov eax, VMCS_GUEST_RIP
    vmwrite rax, rdx
    jna again
%ifndef VMX_UNRECORDED
    mov [rdi + VCPU_EXIT], rcx
    mov dword [rcx + EXIT_REASON], VMX_EXIT_CPUID
    mov dword [rcx + EXIT_OUTCOME], OUTCOME_SKIP
    mov qword [rcx + EXIT_QUALIFICATION], 0
    mov rax, [rdi + GPR_RAX]
    mov [rcx + EXIT_DETAIL], rax
    mov rcx, [rdi + VCPU_STATS]
    inc qword [rcx + STATS_ENTRIES]
    inc qword [rcx + STATS_EXITS_CPUID]
%else
    mov rax, [rdi + GPR_RAX]
%endif
    mov ecx, eax
    shl ecx, 4
    add rsi, rcx
    mov eax, [rsi + X_CPUID_BASIC]
    mov ebx, [rsi + X_CPUID_BASIC + 4]
    mov ecx, [rsi + X_CPUID_BASIC + 8]
    mov edx, [rsi + X_CPUID_BASIC + 12]
    mov rsi, [rdi + GPR_RSI]
    xchg rdi, [rsp]
    vmresume
    jmp failed

; Not for here after all.
again:
    mov rax, [rdi + GPR_RAX]
    mov rcx, [rdi + GPR_RCX]
    mov rdx, [rdi + GPR_RDX]
    mov esi, VMX_EXIT_CPUID
general:
    mov [rdi + GPR_RAX], rax
    mov eax, esi                        ; result
store:
    mov [rdi + GPR_RCX], rcx
    mov [rdi + GPR_RDX], rdx
    mov [rdi + GPR_RBX], rbx
    mov [rdi + GPR_RBP], rbp
    mov [rdi + GPR_R8], r8
    mov [rdi + GPR_R9], r9
    mov [rdi + GPR_R10], r10
    mov [rdi + GPR_R11], r11
    mov [rdi + GPR_R12], r12
    mov [rdi + GPR_R13], r13
    mov [rdi + GPR_R14], r14
    mov [rdi + GPR_R15], r15
    pop qword [rdi + GPR_RDI]
leave:
    ; What the guest left must not steer speculation in the root.
    xor ecx, ecx
    xor edx, edx
    xor esi, esi
    xor edi, edi
    xor r8d, r8d
    xor r9d, r9d
    xor r10d, r10d
    xor r11d, r11d
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

; VMREAD without a current VMCS: a broken invariant, which the caller's next VMREAD reports.
no_reason:
    mov esi, VMX_EXIT_UNREADABLE
    jmp general

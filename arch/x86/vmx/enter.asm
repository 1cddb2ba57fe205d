; int vmx_enter(struct vcpu_gprs *regs, uint64_t launched);
;   RDI = general registers of the guest: loaded before, stored after. RSI = 0: VMLAUNCH, else VMRESUME.
;   Returns 0 after a VM exit, 1 when VMLAUNCH or VMRESUME itself failed (the VM-instruction error says why).
;   Needs: the vCPU's VMCS current, HOST_RIP = vmx_exit_point, interrupts off. Keeps the callee-saved registers; nothing of the guest's stays in any other one.
; One path saves and restores: a failed instruction comes back here as well as an exit does.

%include "offsets.inc"

VMCS_HOST_RSP equ 0x6c14

section .text
bits 64
global vmx_enter, vmx_exit_point

align 16
vmx_enter:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    push rdi
    mov eax, VMCS_HOST_RSP
    vmwrite rax, rsp
    ; MOV does not touch the flags that decide below.
    test rsi, rsi
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
    jz .launch
    vmresume
    jmp .failed
.launch:
    vmlaunch
.failed:
    ; No register has changed: take the way of an exit, with another result.
    push 1
    jmp leave
align 16
vmx_exit_point:
    push 0
leave:
    xchg rdi, [rsp + 8]                 ; the pointer; the guest's RDI waits on the stack
    mov [rdi + GPR_RAX], rax
    pop rax                             ; result
    mov [rdi + GPR_RCX], rcx
    mov [rdi + GPR_RDX], rdx
    mov [rdi + GPR_RBX], rbx
    mov [rdi + GPR_RBP], rbp
    mov [rdi + GPR_RSI], rsi
    mov [rdi + GPR_R8], r8
    mov [rdi + GPR_R9], r9
    mov [rdi + GPR_R10], r10
    mov [rdi + GPR_R11], r11
    mov [rdi + GPR_R12], r12
    mov [rdi + GPR_R13], r13
    mov [rdi + GPR_R14], r14
    mov [rdi + GPR_R15], r15
    pop rcx
    mov [rdi + GPR_RDI], rcx
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

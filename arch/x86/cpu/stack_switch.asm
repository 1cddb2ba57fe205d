; void arch_stack_switch(uintptr_t *from, uintptr_t to): see hv/arch.h.
;
; Pushes the registers that a function must preserve (System V ABI, AMD64 supplement, "Registers and the
; Stack Frame"), and pops those of the other stack. All others are lost, as in any call.

bits 64
section .text

global arch_stack_switch
arch_stack_switch:
    push rbp
    push rbx
    push r12
    push r13
    push r14
    push r15
    mov [rdi], rsp
    mov rsp, rsi
    pop r15
    pop r14
    pop r13
    pop r12
    pop rbx
    pop rbp
    ret

section .note.GNU-stack noalloc noexec nowrite progbits ; for host programs

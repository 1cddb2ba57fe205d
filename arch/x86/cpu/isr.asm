; Interrupt and exception entries.

bits 64
FIRST_INTERRUPT equ 32                  ; as in trap.c

section .text
extern trap_dispatch
extern trap_interrupt

; Exceptions, and the NMI.
%assign i 0
%rep FIRST_INTERRUPT
isr_ %+ i:
; The CPU pushes an error code for these vectors only (SDM 3A "Error Code"): the frame is the same
; for all.
%if !((i == 8) || ((i >= 10) && (i <= 14)) || (i == 17) || (i == 21) || (i == 29) || (i == 30))
    push 0
%endif
    push i
    jmp isr_common
%assign i i + 1
%endrep

; Interrupts, which come at one of two places in C. Nothing looks at their frame: only what C may change is kept.
%assign i FIRST_INTERRUPT
%rep 256 - FIRST_INTERRUPT
isr_ %+ i:
    push rdi
    mov edi, i
    jmp isr_interrupt
%assign i i + 1
%endrep

; void trap_interrupt(unsigned vector). The CPU aligned RSP to 16, and pushed five words.
align 16
isr_interrupt:
    push rax
    push rcx
    push rdx
    push rsi
    push r8
    push r9
    push r10
    push r11
    cld
    call trap_interrupt
    pop r11
    pop r10
    pop r9
    pop r8
    pop rsi
    pop rdx
    pop rcx
    pop rax
    pop rdi
    iretq

; Builds a struct trap_frame (trap.h) and calls void trap_dispatch(struct trap_frame *).
isr_common:
    push rax
    push rcx
    push rdx
    push rbx
    push rbp
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    push r12
    push r13
    push r14
    push r15
    cld
    mov rdi, rsp
    mov rbp, rsp                        ; the CPU aligned RSP to 16 before it pushed; C requires that too
    and rsp, -16
    call trap_dispatch
    mov rsp, rbp
    pop r15
    pop r14
    pop r13
    pop r12
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rbp
    pop rbx
    pop rdx
    pop rcx
    pop rax
    add rsp, 16                         ; vector, error code
    iretq

; void desc_load_registers(const void *gdtr, const void *idtr). The code selector is the boot GDT's.
global desc_load_registers
desc_load_registers:
    lgdt [rdi]
    lidt [rsi]
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    push 0x08
    lea rax, [rel .reload]
    push rax
    retfq
.reload:
    mov ax, 0x18
    ltr ax
    ret

section .rodata
align 8
global isr_table
isr_table:
%assign i 0
%rep 256
    dq isr_ %+ i
%assign i i + 1
%endrep

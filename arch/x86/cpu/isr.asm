; Interrupt and exception entries, and the few routines that the exception handler knows by address.

bits 64
section .text
extern trap_dispatch

%assign i 0
%rep 256
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
    mov rbp, rsp                        ; the CPU aligned RSP to 16 before it pushed; C wants that too
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

; int msr_read_safe(uint32_t msr, uint64_t *value). 0, or -E_NOTSUP if RDMSR faults.
E_NOTSUP equ 7
global msr_read_safe
msr_read_safe:
    mov ecx, edi
    mov qword [rsi], 0
read_at:
    rdmsr
    shl rdx, 32
    or rax, rdx
    mov [rsi], rax
    xor eax, eax
    ret

; int msr_write_safe(uint32_t msr, uint64_t value)
global msr_write_safe
msr_write_safe:
    mov ecx, edi
    mov eax, esi
    mov rdx, rsi
    shr rdx, 32
write_at:
    wrmsr
    xor eax, eax
    ret

; int mem_read_safe(const uint64_t *p, uint64_t *value)
global mem_read_safe
mem_read_safe:
load_at:
    mov rax, [rdi]
    mov [rsi], rax
    xor eax, eax
    ret

faulted:
    mov eax, -E_NOTSUP
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

; Pairs: an instruction that may fault, and where to go on when it does (trap.c).
global trap_fixups, trap_fixups_end
trap_fixups:
    dq read_at, faulted
    dq write_at, faulted
    dq load_at, faulted
trap_fixups_end:

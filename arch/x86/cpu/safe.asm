; Accesses that may fault: the exception handler knows these routines by address.

bits 64
section .text

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
; Pairs: an instruction that may fault, and where to continue if it does (trap.c).
global trap_fixups, trap_fixups_end
trap_fixups:
    dq read_at, faulted
    dq write_at, faulted
    dq load_at, faulted
trap_fixups_end:

; Starts a guest in C: a stack, then guest_main(magic, information), whose result is the exit code.
%include "multiboot.inc"

EXIT_PORT equ 0xf4

extern guest_main

section .bss align=16
    resb 16384
stack_top:

section .text
bits 32
global start
start:
    mov esp, stack_top
    push ebx
    push eax
    call guest_main
    out EXIT_PORT, eax
.halt:                          ; without an exit port: this ends the guest too
    cli
    hlt
    jmp .halt

section .note.GNU-stack noalloc noexec nowrite progbits

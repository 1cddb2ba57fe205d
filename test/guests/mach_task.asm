; A program for GNU Mach (amd64), its bootstrap module: prints by the kernel's trap 30, mach_print(), and stays.
bits 64
global _start

MACH_PRINT equ -30

section .text
_start:
        lea     rdi, [rel words]
        mov     rax, MACH_PRINT
        syscall
.stay:  jmp     .stay

section .rodata
words:  db      "mach_task: started", 10, 0

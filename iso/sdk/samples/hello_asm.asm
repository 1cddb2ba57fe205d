; The smallest guest: says a line on its console and ends with exit code 0.
%include "multiboot.inc"

UART equ 0x3f8
EXIT_PORT equ 0xf4

section .rodata
text: db "hello from assembly", 13, 10
text_end:

section .text
bits 32
global start
start:
    cld
    mov esi, text
    mov ecx, text_end - text
.next:
    mov dx, UART + 5
.wait:
    in al, dx
    test al, 0x20               ; room for a byte?
    jz .wait
    mov dx, UART
    lodsb
    out dx, al
    loop .next
    xor eax, eax
    out EXIT_PORT, eax
.halt:
    cli
    hlt
    jmp .halt

section .note.GNU-stack noalloc noexec nowrite progbits

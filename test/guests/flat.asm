; A flat binary: real mode at 0x7c00. Says so on the UART and ends.
org 0x7c00
bits 16
    xor ax, ax
    mov ds, ax
    cld
    mov si, text
.next:
    lodsb
    test al, al
    jz .end
    mov dx, 0x3f8
    out dx, al
    jmp .next
.end:
    mov dx, 0xf4
    mov al, 7
    out dx, al
    hlt
text: db "flat: real mode at 0x7c00", 13, 10, 0

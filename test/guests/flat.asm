; A flat binary: real mode at 0x7c00. Says so on the UART, calls the services of a BIOS, prints what they answer, and ends.
org 0x7c00
bits 16
    xor ax, ax
    mov ds, ax
    mov es, ax
    cld
    mov si, text
    call print
    int 0x11
    mov bx, ax
    int 0x12
    mov cx, ax
    call show                   ; AX and CX: 12h, BX: 11h
    mov ah, 0x88
    int 0x15
    mov bx, 0
    mov cx, 0
    call show
    stc
    mov ax, 0xe801
    int 0x15
    call show
; The map: a line for each area.
    xor ebx, ebx
.area:
    mov eax, 0xe820
    mov edx, 0x534d4150
    mov ecx, 20
    mov di, area
    int 0x15
    jc .wrong
    cmp eax, 0x534d4150
    jne .wrong
    cmp ecx, 20
    jne .wrong
    push bx
    mov ax, [area + 2]          ; base and size in units of 64 KB, type
    mov bx, [area + 10]
    mov cx, [area + 16]
    call show
    pop bx
    test ebx, ebx
    jnz .area
; Refused: a wrong signature, an area that does not exist, too small a buffer; CF was clear.
    mov cx, 0
    mov edi, 0
    mov eax, 0xe820
    mov ebx, 99
    mov ecx, 20
    clc
    int 0x15
    jnc .wrong
    mov eax, 0xe820
    mov ebx, 0
    mov edx, 0
    clc
    int 0x15
    jnc .wrong
    mov eax, 0xe820
    mov edx, 0x534d4150
    mov ecx, 19
    clc
    int 0x15
    jnc .wrong
; No such service: disks, clock, video.
    mov ax, 0x4100
    clc
    int 0x13
    jnc .wrong
    cmp ah, 0x86
    jne .wrong
    mov ax, 0x4f00
    int 0x10
    cmp al, 0x4f
    je .wrong
    int 0x1a
    jnc .wrong
; No key.
    or al, 1                    ; ZF is clear
    mov ah, 1
    int 0x16
    jnz .wrong
    mov ax, 0x02ff
    int 0x16
    test al, al
    jnz .wrong
; Interrupts of either 8259: nothing but the flags' own return.
    mov ax, 0x1234
    int 0x0d
    int 0x75
    cmp ax, 0x1234
    jne .wrong
    mov si, good
    call print
    mov al, 7
    jmp .end
.wrong:
    mov si, bad
    call print
    mov al, 8
.end:
    mov dx, 0xf4
    out dx, al
    hlt

print:
    lodsb
    test al, al
    jz .end
    call put
    jmp print
.end:
    ret

put:
    push dx
    mov dx, 0x3f8
    out dx, al
    pop dx
    ret

; Prints AX, BX, CX and CF.
show:
    pushf
    push cx
    push bx
    push ax
    mov cx, 4
.word:
    pop bx
    mov dx, 4
.digit:
    rol bx, 4
    mov al, bl
    and al, 15
    cmp al, 10
    jb .number
    add al, 'a' - '0' - 10
.number:
    add al, '0'
    call put
    dec dx
    jnz .digit
    mov al, ' '
    call put
    dec cx
    cmp cx, 1
    ja .word
    pop bx
    mov al, bl
    and al, 1
    add al, '0'
    call put
    mov si, line
    jmp print

text: db "flat: real mode at 0x7c00", 13, 10, 0
good: db "flat: done", 13, 10, 0
bad:  db "flat: wrong"
line: db 13, 10, 0
area: times 20 db 0

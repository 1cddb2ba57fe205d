; What is behind the interrupt vectors of a guest that is in real mode: Xen and boot sectors call it. bios.c puts it into the BIOS's segment, at a multiple of 16,
; points the vectors to it, and fills in the memory's sizes and map. It uses no address but those relative to CS, and 0x400.
bits 16
cpu 386
org 0

SMAP  equ 0x534d4150
AREA  equ 20                    ; bytes, of ACPI's "INT 15H, E820H"
AREAS equ 5                     ; LOAD_AREAS_MAX
CF    equ 1
ZF    equ 0x40

; struct header in bios.c
    dw none, master, slave, equipment, base_memory, system, keyboard
    dw sizes, areas

; No such service.
none:
    mov ah, 0x86
; Returns with CF set: the flags are above BP, IP and CS.
fail:
    push bp
    mov bp, sp
    or byte [bp + 6], CF
    pop bp
    iret

done:
    push bp
    mov bp, sp
    and byte [bp + 6], ~CF & 0xff
    pop bp
    iret

; Interrupts that nobody asked for.
slave:
    push ax
    mov al, 0x20
    out 0xa0, al
    jmp eoi
master:
    push ax
    mov al, 0x20
eoi:
    out 0x20, al
    pop ax
    iret

; INT 11h and 12h: from the BIOS data area.
equipment:
    push bx
    mov bx, 0x10
    jmp data_area
base_memory:
    push bx
    mov bx, 0x13
data_area:
    push ds
    push 0x40
    pop ds
    mov ax, [bx]
    pop ds
    pop bx
    iret

; INT 15h
system:
    cmp ax, 0xe820
    je map
    cmp ax, 0xe801
    je both_sizes
    cmp ah, 0x88
    jne none
    mov ax, [cs:sizes]
    jmp done
both_sizes:
    mov ax, [cs:sizes]
    mov bx, [cs:sizes + 2]
    mov cx, ax
    mov dx, bx
    jmp done
map:
    cmp edx, SMAP
    jne none
    cmp ecx, AREA
    jb none
    cmp ebx, [cs:areas]
    jae none
    push di
    push si
    imul si, bx, AREA
    add si, areas + 4
    mov cx, AREA / 4
    cld
    cs rep movsd
    pop si
    pop di
    inc ebx
    cmp ebx, [cs:areas]
    jb .more
    xor ebx, ebx
.more:
    mov ecx, AREA
    mov eax, edx
    jmp done

; INT 16h: no key is waiting, and none is held.
keyboard:
    cmp ah, 0x01
    je .waiting
    cmp ah, 0x02
    jne none
    mov al, 0
    iret
.waiting:
    push bp
    mov bp, sp
    or byte [bp + 6], ZF
    pop bp
    iret

align 4, db 0
sizes:
    dw 0, 0                     ; KiB from 1 to 16 MiB, 64 KiB from there on
areas:
    dd 0
    times AREAS * AREA db 0

; From GRUB's 32-bit protected mode (Multiboot2 specification, "I386 machine state") to 64-bit C on
; the boot core's stack, with the first 4 GB identity-mapped.
; void start(void): EAX = magic, EBX = multiboot2 information; never returns.

MB2_MAGIC        equ 0xe85250d6
MB2_BOOTLOADER   equ 0x36d76289
CR0_PE_NE_WP_PG  equ 0x80010021
CR4_PAE          equ 1 << 5
MSR_EFER         equ 0xc0000080
EFER_LME_NXE     equ (1 << 8) | (1 << 11)
PAGE_P_RW        equ 3
PAGE_PS          equ 1 << 7
COM1             equ 0x3f8

STACK_TOP        equ 6 * 4096        ; struct core_block: page, guard, four pages of stack

LOAD_LOWEST      equ 0x200000       ; where it is linked (kernel.lds)
LOAD_END         equ 0x80000000     ; addresses are sign-extended from 32 bits
PREFER_LOWEST    equ 1

extern boot_main, boot_core_block, relocations, relocations_end

section .multiboot2 align=8
header:
    dd MB2_MAGIC
    dd 0                                ; i386
    dd header_end - header
    dd 0x100000000 - (MB2_MAGIC + (header_end - header))
    align 8
    dw 6, 0                             ; modules on page boundaries
    dd 8
    align 8
    dw 10, 0                            ; relocatable
    dd 24
    dd LOAD_LOWEST, LOAD_END - 1
    dd 4096, PREFER_LOWEST
    align 8
    dw 0, 0
    dd 8
header_end:

section .bss align=4096
pml4:   resb 4096
pdpt:   resb 4096
pds:    resb 4 * 4096

section .text
bits 32
global start
start:
    cli
    cld
    cmp eax, MB2_BOOTLOADER
    mov esi, not_multiboot              ; others know nothing of relocation
    jne fail32
    ; Adds EBP, the distance from where the kernel is linked, to each absolute address in it. The
    ; only stack so far is the reserved word of the multiboot2 information.
    lea esp, [ebx + 8]
    call .here
.here:
    pop ebp
    sub ebp, .here
    lea esi, [ebp + relocations]
    lea edi, [ebp + relocations_end]
.relocate:
    lodsd
    add [ebp + eax], ebp
    cmp esi, edi
    jb .relocate
    mov esp, boot_core_block + STACK_TOP
    ; CPUID.80000001H:EDX says long mode (29) and NX (20).
    mov edi, ebx
    mov eax, 0x80000000
    cpuid
    mov esi, no_long_mode
    cmp eax, 0x80000001
    jb fail32
    mov eax, 0x80000001
    cpuid
    and edx, (1 << 29) | (1 << 20)
    cmp edx, (1 << 29) | (1 << 20)
    jne fail32
    mov ebx, edi

    mov eax, pdpt + PAGE_P_RW
    mov [pml4], eax
    mov eax, pds + PAGE_P_RW
    xor ecx, ecx
.pdpt:
    mov [pdpt + ecx * 8], eax
    add eax, 4096
    inc ecx
    cmp ecx, 4
    jb .pdpt
    mov eax, PAGE_P_RW | PAGE_PS
    xor ecx, ecx
.pd:
    mov [pds + ecx * 8], eax
    add eax, 0x200000
    inc ecx
    cmp ecx, 2048
    jb .pd

    mov eax, CR4_PAE
    mov cr4, eax
    mov eax, pml4
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME_NXE
    wrmsr
    mov eax, CR0_PE_NE_WP_PG
    mov cr0, eax
    lgdt [boot_gdt_ptr]
    jmp 0x08:start64

; ESI = message. Directly to the serial port and the text screen: nothing else works yet.
fail32:
    mov edi, 0xb8000
.next:
    lodsb
    test al, al
    jz .halt
    mov ah, 0x4f
    stosw
    mov cl, al
    mov dx, COM1 + 5
    mov ebp, 100000
.wait:
    in al, dx
    test al, 0x20
    jnz .send
    dec ebp
    jnz .wait
.send:
    mov al, cl
    mov dx, COM1
    out dx, al
    jmp .next
.halt:
    cli
    hlt
    jmp .halt

bits 64
start64:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    mov rsp, boot_core_block + STACK_TOP
    xor ebp, ebp
    mov edi, ebx                        ; multiboot2 information
    rdtsc
    shl rdx, 32
    lea rsi, [rdx + rax]                ; entry TSC
    call boot_main
    ud2

section .rodata
align 8
boot_gdt:
    dq 0
    dq 0x00af9b000000ffff               ; 64-bit code
    dq 0x00cf93000000ffff               ; data
boot_gdt_ptr:
    dw boot_gdt_ptr - boot_gdt - 1
    dd boot_gdt
not_multiboot: db "Bulkhead: not started by a multiboot2 boot loader (use GRUB 2)", 13, 10, 0
no_long_mode:  db "Bulkhead: this CPU has no 64-bit mode with no-execute pages, "
               db "or the firmware has turned off execute disable (NX)", 13, 10, 0

; Enters 64-bit C: the first 8 GiB identity-mapped, a stack, interrupts off. void guest_start(void):
; EBX = multiboot2 information, or 0 in the management guest, whose image is flat. Calls
; guest_run(information).

GIGABYTES equ 8
MB2_MAGIC equ 0xe85250d6
CR0_PE_NE_WP_PG equ 0x80010021

extern guest_run, guest_interrupt

section .multiboot2 align=8
header:
    dd MB2_MAGIC
    dd 0
    dd header_end - header
    dd 0x100000000 - (MB2_MAGIC + (header_end - header))
    align 8
    dw 0, 0
    dd 8
header_end:

section .bss align=4096
pml4: resb 4096
pdpt: resb 4096
pds:  resb GIGABYTES * 4096
      resb 32768
stack_top:

section .text
bits 32
global guest_start
guest_start:
    cli
    cld
    mov esp, stack_top
    mov eax, pdpt + 3
    mov [pml4], eax
    mov eax, pds + 3
    xor ecx, ecx
.pdpt:
    mov [pdpt + ecx * 8], eax
    add eax, 4096
    inc ecx
    cmp ecx, GIGABYTES
    jb .pdpt
    xor ecx, ecx
.pd:
    mov eax, ecx
    shl eax, 21
    or eax, 0x83
    mov edx, ecx
    shr edx, 11
    mov [pds + ecx * 8], eax
    mov [pds + ecx * 8 + 4], edx
    inc ecx
    cmp ecx, GIGABYTES * 512
    jb .pd
    mov eax, 1 << 5
    mov cr4, eax
    mov eax, pml4
    mov cr3, eax
    mov ecx, 0xc0000080
    rdmsr
    or eax, 1 << 8
    wrmsr
    mov eax, CR0_PE_NE_WP_PG
    mov cr0, eax
    lgdt [gdt_ptr]
    jmp 0x08:.long
bits 64
.long:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    mov rsp, stack_top
    mov edi, ebx
    call guest_run
.halt:
    cli
    hlt
    jmp .halt

; One stub per vector: pushes an error code (0 if the CPU pushes none) and the vector, then jumps to
; the common part.
%macro STUB 1
stub%1:
%if %1 == 8 || (%1 >= 10 && %1 <= 14) || %1 == 17 || %1 == 21 || %1 == 29 || %1 == 30
%else
    push 0
%endif
    push %1
    jmp to_c
%endmacro
%assign v 0
%rep 48
    STUB v
%assign v v + 1
%endrep

; guest_interrupt(vector, frame): frame = { error code, RIP, CS, RFLAGS, RSP, SS }
to_c:
    push rax
    push rcx
    push rdx
    push rsi
    push rdi
    push r8
    push r9
    push r10
    push r11
    mov rdi, [rsp + 72]
    lea rsi, [rsp + 80]
    cld
    call guest_interrupt
    pop r11
    pop r10
    pop r9
    pop r8
    pop rdi
    pop rsi
    pop rdx
    pop rcx
    pop rax
    add rsp, 16
    iretq

section .rodata
align 8
gdt:
    dq 0
    dq 0x00af9b000000ffff
    dq 0x00cf93000000ffff
gdt_ptr:
    dw gdt_ptr - gdt - 1
    dd gdt
align 8
global guest_stubs
guest_stubs:
%assign v 0
%rep 48
    dq stub %+ v
%assign v v + 1
%endrep

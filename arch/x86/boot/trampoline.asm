; Where an application processor starts: real mode, at a page below 1 MB that smp.c copies this to.
; It goes straight to long mode on the kernel's own page tables (which map this page executable) and
; jumps to ap_entry.
; Everything is addressed relative to the page: CS = page >> 4 on entry.

CR0_PE_NE_WP_PG  equ 0x80010021
CR4_PAE          equ 1 << 5
MSR_EFER         equ 0xc0000080
EFER_LME_NXE     equ (1 << 8) | (1 << 11)

section .rodata
align 16
global trampoline, trampoline_cr3, trampoline_end

bits 16
trampoline:
    cli
    cld
    mov ax, cs
    mov ds, ax
    mov eax, CR4_PAE
    mov cr4, eax
    mov eax, [trampoline_cr3 - trampoline]
    mov cr3, eax
    mov ecx, MSR_EFER
    rdmsr
    or eax, EFER_LME_NXE
    wrmsr
    ; The GDT lies in this page: its linear address depends on where the page is.
    xor eax, eax
    mov ax, cs
    shl eax, 4
    add eax, gdt - trampoline
    mov [gdt_ptr - trampoline + 2], eax
    mov eax, CR0_PE_NE_WP_PG
    o32 lgdt [gdt_ptr - trampoline]
    mov cr0, eax
    jmp dword 0x08:ap_entry

align 8
gdt:
    dq 0
    dq 0x00af9b000000ffff
    dq 0x00cf93000000ffff
gdt_ptr:
    dw gdt_ptr - gdt - 1
    dd 0
align 8
trampoline_cr3: dq 0
trampoline_end:

section .text
bits 64
extern ap_main
; void ap_entry(void), from the trampoline, without a stack. A core enters only with its own APIC id
; on the ticket, which it consumes: a core that answers after the timeout must not run on the next
; core's stack.
ap_entry:
    mov ax, 0x10
    mov ds, ax
    mov es, ax
    mov ss, ax
    xor eax, eax
    mov fs, ax
    mov gs, ax
    cpuid
    cmp eax, 0x0b
    jb .short_id
    mov eax, 0x0b
    xor ecx, ecx
    cpuid                               ; EDX is the x2APIC id, EBX is 0 if the leaf is not valid
    test ebx, ebx
    jnz .have_id
.short_id:
    mov eax, 1
    cpuid
    shr ebx, 24
    mov edx, ebx
.have_id:
    mov eax, edx                        ; RAX: the expected ticket
    mov rcx, -1
    lock cmpxchg [rel ap_ticket], rcx
    jne .too_late
    mov rsp, [rel ap_stack_top]
    xor ebp, ebp
    call ap_main
    ud2
.too_late:
    cli
    hlt
    jmp .too_late

section .data
align 8
global ap_ticket, ap_stack_top
ap_ticket:    dq -1
ap_stack_top: dq 0

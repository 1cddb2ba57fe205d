; The note that makes the sample guests start by PVH too, at the same entry point: EBX =
; hvm_start_info then. Xen "x86/HVM direct boot ABI".
extern guest_start

section .note.Xen note alloc noexec nowrite align=4
    dd 4, 4, 18 ; sizes of name and content; XEN_ELFNOTE_PHYS32_ENTRY
    db "Xen", 0
    dd guest_start

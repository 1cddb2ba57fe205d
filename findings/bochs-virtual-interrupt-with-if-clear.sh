#!/bin/sh
# Bochs 2.7 (Debian 12: bochs 2.7+dfsg-4; 3.0's source has the same). With virtual-interrupt delivery, a
# virtual interrupt that waits because the guest has IF=0 is delivered when an external interrupt
# arrives that ends the guest: the exit finds the guest at the first instruction of its handler. SDM
# volume 3 ("Evaluation and Delivery of Virtual Interrupts") delivers with IF=1 only, so we expected
# the exit, and the virtual interrupt to go on waiting. The handler runs in the middle of a critical
# section: a kernel that holds a lock with interrupts off, and takes it in the handler, deadlocks. A
# hypervisor prevents it where it enters with IF=0, by leaving RVI 0 and waiting for the interrupt
# window. It cannot prevent it for an interrupt that the guest sends itself later.
#
# The guest is STI, CLI and an endless loop. It is entered with a virtual interrupt (RVI 0x50) and no
# external one, with an external one only, and with both. For each exit the program prints the reason
# (52: VMX-preemption timer, 1: external interrupt) and whether the guest was in the loop (L) or in
# the handler (H); at last the IF that the handler has on its stack.
set -eu
WANTED='2.7+dfsg-4*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "bochs=$WANTED" nasm libslirp0 > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
run() {
    program=$1
    shift
    libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
    timeout 300 "$(find root -name 'ld-linux-x86-64.so.2' | head -1)" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > vmx.asm << 'ASM'
PD      equ 0x10000
TIMER   equ     20000000                ; one second at 20 MHz
STACK   equ     0x6000                  ; the guest's
APIC    equ     0x13000                 ; the virtual-APIC page
ROOT    equ 0x11000                     ; the VMXON region
GUEST   equ 0x12000                     ; the VMCS
        org     0x7c00
        bits    16
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        mov     ax, 0x0203              ; the rest of this program
        mov     bx, rest
        mov     cx, 2
        xor     dx, dx
        int     0x13
        cli
        lgdt    [gdtr]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     8:start
        align   8
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00008b0070000067
gdtr:   dw      31
        dd      gdt
        times   510 - ($ - $$) db 0
        dw      0xaa55

        bits    32
rest:
start:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     esp, 0x7000
        mov     edi, PD
        mov     ecx, 0x4000 / 4
        xor     eax, eax
        rep     stosd
        mov     dword [PD], 0x83        ; 4 MB of identity
        mov     eax, PD
        mov     cr3, eax
        mov     eax, 0x2010             ; VMXE, PSE
        mov     cr4, eax
        mov     eax, 0x80000021         ; PG, NE, PE
        mov     cr0, eax
        mov     ecx, 0x3a               ; IA32_FEATURE_CONTROL: locked, VMX on
        rdmsr
        test    al, 1
        jnz     .locked
        or      eax, 5
        wrmsr
.locked:
        mov     ecx, 0x480              ; IA32_VMX_BASIC: the revision
        rdmsr
        mov     [ROOT], eax
        mov     [GUEST], eax
        vmxon   [root]
        vmclear [guest]
        vmptrld [guest]
        mov     esi, controls
.control:
        mov     ecx, [esi + 4]          ; the bits that must be 1
        jecxz   .fields
        rdmsr
        or      eax, [esi + 8]
        mov     edx, [esi]
        vmwrite edx, eax
        add     esi, 12
        jmp     .control
.fields:
        mov     esi, fields
.field: mov     edx, [esi]
        inc     edx
        jz      .enter
        dec     edx
        vmwrite edx, [esi + 4]
        add     esi, 8
        jmp     .field
.enter: mov     ebx, entries
        mov     al, 0xff                ; the PIC: no interrupts
        out     0x21, al
        vmlaunch
        jmp     failed
exit:   mov     edx, 0x4402             ; the exit's reason
        vmread  eax, edx
        aam                             ; two digits
        add     ax, '00'
        xchg    al, ah
        out     0xe9, al
        mov     al, ah
        out     0xe9, al
        mov     edx, 0x681e             ; guest RIP
        vmread  eax, edx
        cmp     eax, handler
        mov     al, 'H'
        je      .where
        mov     al, 'L'
.where: out     0xe9, al
        mov     al, ' '
        out     0xe9, al
        cmp     ebx, entries_end
        je      last
        mov     al, 0xfe                ; the PIC: its timer only
        out     0x21, al
        mov     edx, 0x0810             ; guest interrupt status: RVI
        vmwrite edx, [ebx]
        add     ebx, 4
        mov     edx, 0x6820             ; guest RFLAGS, RIP, VMX-preemption timer
        mov     eax, 2
        vmwrite edx, eax
        mov     edx, 0x681e
        mov     eax, code
        vmwrite edx, eax
        mov     edx, 0x482e
        mov     eax, TIMER
        vmwrite edx, eax
        vmresume
failed: mov     al, '!'
        out     0xe9, al
last:   mov     al, [STACK - 3]         ; bits 8 to 15 of RFLAGS as pushed
        shr     al, 1
        and     al, 1
        add     al, '0'
        out     0xe9, al
end:    mov     al, 10
        out     0xe9, al
        mov     dx, 0x8900              ; ends Bochs
        mov     esi, bye
        mov     ecx, 8
        rep     outsb
        hlt

code:   sti
        cli
spin:   jmp     spin
handler:
        jmp     handler
        align   8
gate:   dw      handler, 8, 0x8e00, 0
entries:
        dd      0, 0x50                 ; RVI of the second entry, the third
entries_end:
bye:    db      "Shutdown"
        align   8
root:   dq      ROOT
guest:  dq      GUEST
controls:
        dd      0x4000, 0x481, 0x41     ; pin-based: external-interrupt exiting, preemption timer
        dd      0x4002, 0x482, 0x80200000  ; primary: TPR shadow, secondary controls
        dd      0x401e, 0x48b, 0x200    ; secondary: virtual-interrupt delivery
        dd      0x400c, 0x483, 0
        dd      0x4012, 0x484, 0
        dd      0, 0, 0
fields: dd      0x2800, -1, 0x2801, -1  ; VMCS link pointer
        dd      0x0800, 16, 0x0802, 8, 0x0804, 16, 0x0806, 16, 0x0808, 16, 0x080a, 16, 0x080e, 24
        dd      0x0c00, 16, 0x0c02, 8, 0x0c04, 16, 0x0c06, 16, 0x0c08, 16, 0x0c0a, 16, 0x0c0c, 24
        dd      0x4800, -1, 0x4802, -1, 0x4804, -1, 0x4806, -1, 0x4808, -1, 0x480a, -1, 0x480e, 0x67
        dd      0x4810, 31, 0x4812, 0x287, 0x0810, 0x50, 0x2012, APIC
        dd      0x201c, 0, 0x201e, 0, 0x2020, 0, 0x2022, 0
        dd      0x4814, 0xc093, 0x4816, 0xc09b, 0x4818, 0xc093, 0x481a, 0xc093, 0x481c, 0xc093
        dd      0x481e, 0xc093, 0x4820, 0x10000, 0x4822, 0x8b
        dd      0x6800, 0x80000021, 0x6802, PD, 0x6804, 0x2010
        dd      0x6814, 0x7000, 0x6816, gdt, 0x681a, 0x400
        dd      0x6818, gate - 0x280, 0x681c, STACK, 0x681e, code, 0x6820, 2, 0x482e, TIMER
        dd      0x6c00, 0x80000021, 0x6c02, PD, 0x6c04, 0x2010
        dd      0x6c0a, 0x7000, 0x6c0c, gdt, 0x6c14, 0x7000, 0x6c16, exit
        dd      -1
        times   2048 - ($ - $$) db 0
ASM
run nasm -f bin -o vmx.img vmx.asm
truncate -s 1474560 vmx.img
cat > bochsrc << EOF
cpu: model=corei7_skylake_x, count=1, ips=20000000, reset_on_triple_fault=0
memory: guest=32, host=32
romimage: file=root/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=root/usr/share/bochs/VGABIOS-lgpl-latest
floppya: 1_44=vmx.img, status=inserted
boot: floppy
port_e9_hack: enabled=1
plugin_ctrl: unmapped=1
display_library: rfb, options="timeout=0"
log: bochs.log
panic: action=fatal
sound: driver=dummy
EOF
echo c > rc
LTDL_LIBRARY_PATH=root/usr/lib/x86_64-linux-gnu/bochs/plugins run bochs-bin -q -f bochsrc -rc rc > out.txt 2>&1 || true
echo "Bochs, package $(basename archives/bochs_*.deb)"
reasons=$(grep -ax '[0-9LH! ]*' out.txt | tail -n 1)
echo "exits with a virtual interrupt, an external one, both; IF in the handler: $reasons"
[ "$reasons" = '52L 01L 01H 0' ] || { echo "this has changed"; exit 1; }

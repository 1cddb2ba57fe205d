#!/bin/sh
# Bochs 2.7 (Debian 12: bochs 2.7+dfsg-4). SDM volume 3 says that with "external-interrupt exiting" an
# interrupt ends a guest whatever the guest's IF is, so we expected an exit at once. Bochs does that
# if IF is 1 or the guest has cleared it. If the guest is entered with IF=0, the interrupt waits until
# the guest changes IF. A hypervisor that counts on its timer's interrupt to get the processor back
# needs the VMX-preemption timer as well. (SVM in Bochs does the same and has no such timer; an NMI
# ends such a guest.)
#
# The guest is an endless loop, entered with IF=0, with IF=1, and with IF=0 and STI, CLI before the
# loop. The PC's timer interrupts 18 times before the preemption timer ends the guest. The program
# prints the three exits' reasons: 1 is an external interrupt, 52 the preemption timer.
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
        mov     ecx, 0x3000 / 4
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
        mov     al, ' '
        out     0xe9, al
        cmp     dword [ebx], 0
        je      end
        mov     edx, 0x6820             ; guest RFLAGS
        vmwrite edx, [ebx]
        mov     edx, 0x681e             ; guest RIP
        vmwrite edx, [ebx + 4]
        mov     edx, 0x482e             ; VMX-preemption timer
        mov     eax, TIMER
        vmwrite edx, eax
        add     ebx, 8
        vmresume
failed: mov     al, '!'
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
entries:
        dd      0x202, spin, 2, code, 0 ; RFLAGS and RIP of the second entry, the third
bye:    db      "Shutdown"
        align   8
root:   dq      ROOT
guest:  dq      GUEST
controls:
        dd      0x4000, 0x481, 0x41     ; pin-based: external-interrupt exiting, preemption timer
        dd      0x4002, 0x482, 0
        dd      0x400c, 0x483, 0
        dd      0x4012, 0x484, 0
        dd      0, 0, 0
fields: dd      0x2800, -1, 0x2801, -1  ; VMCS link pointer
        dd      0x0800, 16, 0x0802, 8, 0x0804, 16, 0x0806, 16, 0x0808, 16, 0x080a, 16, 0x080e, 24
        dd      0x0c00, 16, 0x0c02, 8, 0x0c04, 16, 0x0c06, 16, 0x0c08, 16, 0x0c0a, 16, 0x0c0c, 24
        dd      0x4800, -1, 0x4802, -1, 0x4804, -1, 0x4806, -1, 0x4808, -1, 0x480a, -1, 0x480e, 0x67
        dd      0x4810, 31, 0x4812, 0
        dd      0x4814, 0xc093, 0x4816, 0xc09b, 0x4818, 0xc093, 0x481a, 0xc093, 0x481c, 0xc093
        dd      0x481e, 0xc093, 0x4820, 0x10000, 0x4822, 0x8b
        dd      0x6800, 0x80000021, 0x6802, PD, 0x6804, 0x2010
        dd      0x6814, 0x7000, 0x6816, gdt, 0x681a, 0x400
        dd      0x681c, 0x6000, 0x681e, spin, 0x6820, 2, 0x482e, TIMER
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
reasons=$(grep -ax '[0-9! ]*' out.txt | tail -n 1)
echo "exits of a guest entered with IF=0, with IF=1, with IF=0 and STI, CLI as its first instructions: $reasons"
[ "$reasons" = '52 01 01 ' ] || { echo "this has changed"; exit 1; }

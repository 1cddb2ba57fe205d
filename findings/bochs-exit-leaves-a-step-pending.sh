#!/bin/sh
# Bochs 2.7 (Debian 12: bochs 2.7+dfsg-4). If a guest runs with TF=1, an exit by an instruction (here
# CPUID) stores BS, bit 14, into the field for pending debug exceptions, although the instruction was
# not executed. SDM volume 3 ("Saving Non-Register State") has the field clear after such an exit, so
# we expected 0. With BS in it the next entry begins with a #DB: when the instruction is repeated, the
# guest's debugger sees one step too many, before the instruction. A hypervisor should clear the field
# after every exit for which the SDM makes no exception.
#
# The guest is CPUID with TF=1, and its #DB exits. The program enters it, enters it again as it is, and a
# third time with 0 in the field. For each exit it prints the reason (10: CPUID, 0: exception) and BS.
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
.enter: mov     ebx, 3
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
        mov     edx, 0x681e             ; guest RIP is CPUID's, each time
        vmread  eax, edx
        cmp     eax, code
        jne     failed
        mov     edx, 0x6822             ; pending debug exceptions
        vmread  eax, edx
        shr     eax, 14
        and     al, 1
        add     al, '0'
        out     0xe9, al
        mov     al, ' '
        out     0xe9, al
        dec     ebx
        jz      end
        cmp     bl, 2
        je      .again
        xor     eax, eax
        vmwrite edx, eax
.again: vmresume
failed: mov     al, '!'
        out     0xe9, al
end:    mov     al, 10
        out     0xe9, al
        mov     dx, 0x8900              ; ends Bochs
        mov     esi, bye
        mov     ecx, 8
        rep     outsb
        hlt

code:   cpuid
bye:    db      "Shutdown"
        align   8
root:   dq      ROOT
guest:  dq      GUEST
controls:
        dd      0x4000, 0x481, 0
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
        dd      0x681c, 0x6000, 0x681e, code, 0x6820, 0x102, 0x4004, 2, 0x6822, 0
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
exits=$(grep -ax '[0-9! ]*' out.txt | tail -n 1)
echo "reason and BS of the exits of CPUID, of CPUID again, of CPUID after the field was cleared: $exits"
[ "$exits" = '10 1 00 0 10 1 ' ] || { echo "this has changed"; exit 1; }

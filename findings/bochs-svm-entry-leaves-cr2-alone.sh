#!/bin/sh
# Bochs 2.7 (Debian 12: bochs 2.7+dfsg-4; 3.0 does the same). With AMD-V, VMRUN does not load CR2 from the
# VMCB, while the exit stores it there. AMD's manual (volume 2, "VMRUN Instruction") has CR2 among the
# state that VMRUN loads and the exit saves, so we expected the guest to see the VMCB's value, as in QEMU.
# In Bochs it sees the address of the host's last page fault, or of another guest's, and the exit then
# puts that into the VMCB. A guest that leaves between its page fault and the handler's read of CR2
# repairs the wrong page, and faults again. A hypervisor has to write CR2 before each VMRUN, as it has to
# for VT-x.
#
# The guest reads CR2, writes it, and executes VMMCALL. The program prints what the guest read, where the
# VMCB has 0x2222 and the host 0x1111, and what the VMCB and the host have afterwards.
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

cat > cr2.asm << 'ASM'
VMCB    equ     0x10000
SAVE    equ     0x11000
IDT     equ     0
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
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   dw      23
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
        mov     ecx, 0xc0000080         ; EFER: SVME
        rdmsr
        or      eax, 0x1000
        wrmsr
        mov     ecx, 0xc0010117         ; the host save area
        mov     eax, SAVE
        xor     edx, edx
        wrmsr
        call    vmcb
        mov     dword [VMCB + 0x578], guest
        mov     word [VMCB + 0x640], 0x2222
        mov     eax, 0x1111
        mov     cr2, eax
        mov     eax, VMCB
        clgi
        vmrun
        stgi
        mov     edx, ebx
        call    hex
        mov     edx, [VMCB + 0x640]
        call    hex
        mov     edx, cr2
        call    hex
end:    mov     al, 10
        out     0xe9, al
        mov     dx, 0x8900              ; ends Bochs
        mov     esi, bye
        mov     ecx, 8
        rep     outsb
        hlt
bye:    db      "Shutdown"

guest:  mov     ebx, cr2
        mov     eax, 0x3333
        mov     cr2, eax
        vmmcall

hex:    mov     ecx, 8
.digit: rol     edx, 4
        mov     eax, edx
        and     eax, 15
        mov     al, [digits + eax]
        out     0xe9, al
        loop    .digit
        mov     al, ' '
        out     0xe9, al
        ret
digits: db      "0123456789abcdef"

vmcb:   mov     edi, VMCB               ; a guest with flat segments and no paging
        mov     ecx, 0x400
        xor     eax, eax
        rep     stosd
        mov     byte [VMCB + 0x10], 3   ; VMRUN and VMMCALL exit
        mov     byte [VMCB + 0x58], 1   ; the ASID
        mov     edi, VMCB + 0x400
        mov     ecx, 4
.segment:
        mov     dword [edi], 0x0c930010
        mov     dword [edi + 4], -1
        add     edi, 16
        loop    .segment
        mov     dword [VMCB + 0x410], 0x0c9b0008
        mov     word [VMCB + 0x464], 23
        mov     dword [VMCB + 0x468], gdt
        mov     word [VMCB + 0x484], 0x41 * 8 - 1
        mov     dword [VMCB + 0x488], IDT
        mov     byte [VMCB + 0x4d1], 0x10       ; EFER: SVME
        mov     byte [VMCB + 0x558], 0x11       ; CR0
        mov     word [VMCB + 0x560], 0x400      ; DR7
        mov     dword [VMCB + 0x568], 0xffff0ff0
        mov     byte [VMCB + 0x570], 2          ; RFLAGS
        mov     dword [VMCB + 0x5d8], 0x6000   ; RSP
        ret
        times   2048 - ($ - $$) db 0
ASM
run nasm -f bin -o cr2.img cr2.asm
truncate -s 1474560 cr2.img
cat > bochsrc << EOF
cpu: model=ryzen, count=1, ips=20000000, reset_on_triple_fault=0
memory: guest=32, host=32
romimage: file=root/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=root/usr/share/bochs/VGABIOS-lgpl-latest
floppya: 1_44=cr2.img, status=inserted
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
values=$(grep -axE '([0-9a-f]{8} ){3}' out.txt | tail -n 1)
echo "CR2 in the guest, in the VMCB after the exit, in the host after the exit: $values"
[ "$values" = '00001111 00003333 00003333 ' ] || { echo "this has changed"; exit 1; }

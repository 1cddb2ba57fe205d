#!/bin/sh
# Bochs 2.7 (Debian 12: bochs 2.7+dfsg-4). CPUID leaf 0xd, sub-leaf 1, EBX is the size of the XSAVE area
# for what is enabled. SDM volume 2 has the compacted format there if XSAVEC is there, and the standard
# format in sub-leaf 0. Bochs gives the standard one in both: with AVX-512 it is 0xa80, which has room
# for MPX as well, while the components that are there make 0x980. We expected the sum, and Bochs 3.0
# gives it. Linux 6.1 adds the components up itself, reports an "XSAVE consistency problem" and runs
# without XSAVE and AVX. A hypervisor that gives its guests Bochs's value hands the fault on.
#
# The program enables what XCR0 offers. It prints XCR0, EBX of both sub-leaves, and the sum of the
# components in the compacted format: those that ask for it begin at a multiple of 64.
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

cat > xsave.asm << 'ASM'
        org     0x7c00
        bits    16
        xor     ax, ax
        mov     ds, ax
        cli
        lgdt    [gdtr]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     8:start

        bits    32
start:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     esp, 0x7000
        mov     eax, cr4
        or      eax, 0x40000            ; OSXSAVE
        mov     cr4, eax
        mov     eax, 0xd
        xor     ecx, ecx
        cpuid
        mov     ebp, eax                ; what XCR0 offers
        xor     ecx, ecx
        xor     edx, edx
        xsetbv
        mov     edx, ebp
        call    hex
        xor     ecx, ecx
        call    size
        mov     ecx, 1
        call    size
        mov     edi, 576                ; the legacy region and the header
        mov     esi, 2
.part:  bt      ebp, esi
        jnc     .next
        mov     eax, 0xd
        mov     ecx, esi
        cpuid
        test    cl, 2                   ; aligned
        jz      .add
        add     edi, 63
        and     edi, -64
.add:   add     edi, eax
.next:  inc     esi
        cmp     esi, 32
        jb      .part
        mov     edx, edi
        call    hex
        mov     al, 10
        out     0xe9, al
        mov     dx, 0x8900              ; ends Bochs
        mov     esi, bye
        mov     ecx, 8
        rep     outsb
        hlt

size:   mov     eax, 0xd
        cpuid
        mov     edx, ebx
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
bye:    db      "Shutdown"
        align   8
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   dw      23
        dd      gdt
        times   510 - ($ - $$) db 0
        dw      0xaa55
ASM
run nasm -f bin -o xsave.img xsave.asm
truncate -s 1474560 xsave.img
cat > bochsrc << EOF
cpu: model=corei7_skylake_x, count=1, ips=20000000, reset_on_triple_fault=0
memory: guest=32, host=32
romimage: file=root/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=root/usr/share/bochs/VGABIOS-lgpl-latest
floppya: 1_44=xsave.img, status=inserted
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
line=$(grep -ax '[0-9a-f ]* ' out.txt | tail -n 1)
echo "XCR0, size in the standard format, in the compacted format, sum: $line"
[ "$line" = '000000e7 00000a80 00000a80 00000980 ' ] || { echo "this has changed"; exit 1; }

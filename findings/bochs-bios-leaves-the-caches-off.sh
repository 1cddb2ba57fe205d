#!/bin/sh
# Bochs 2.7's own BIOS (Debian 12: bochsbios 2.7+dfsg-4; 3.0 does the same) starts a boot sector with CD
# and NW, bits 30 and 29 of CR0, set, as they are after a reset: the caches are off. SDM volume 3
# ("Processor Initialization") leaves it to the software to enable them, and we expected the BIOS to
# have done that, as SeaBIOS does on the same machine. Bochs itself is none the slower. But GRUB hands
# CR0 on as it is, a kernel that only sets bits of its own in CR0 keeps both, and what it then measures,
# saves for its guests or starts other processors with says "caches off". A kernel should write all of
# CR0 when it takes over.
#
# A boot sector prints CR0, under Bochs's BIOS and under SeaBIOS.
set -eu
WANTED='2.7+dfsg-4*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "bochs=$WANTED" "bochsbios=$WANTED" "seabios=1.16.2-1" vgabios nasm libslirp0 > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
run() {
    program=$1
    shift
    libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
    timeout 300 "$(find root -name 'ld-linux-x86-64.so.2' | head -1)" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > cr0.asm << 'ASM'
        org     0x7c00
        bits    16
        xor     ax, ax
        mov     ds, ax
        mov     edx, cr0
        call    hex
        mov     al, 10
        out     0xe9, al
        mov     dx, 0x8900              ; ends Bochs
        mov     si, bye
        mov     cx, 8
        rep     outsb
        hlt

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
        times   510 - ($ - $$) db 0
        dw      0xaa55
ASM
run nasm -f bin -o cr0.img cr0.asm
truncate -s 1474560 cr0.img
echo c > rc

# start NAME BIOS OPTIONS
start() {
    cat > bochsrc << EOF
cpu: model=corei7_skylake_x, count=1, ips=20000000, reset_on_triple_fault=0
memory: guest=32, host=32
romimage: file=$2
vgaromimage: file=root/usr/share/bochs/VGABIOS-lgpl-latest
floppya: 1_44=cr0.img, status=inserted
boot: floppy
port_e9_hack: enabled=1
plugin_ctrl: unmapped=1
display_library: rfb, options="timeout=0"
log: bochs.log
panic: action=fatal
sound: driver=dummy
EOF
    LTDL_LIBRARY_PATH=root/usr/lib/x86_64-linux-gnu/bochs/plugins run bochs-bin -q -f bochsrc -rc rc > out.txt 2>&1 || true
    echo "$1: $(grep -ax '[0-9a-f]* ' out.txt | tail -n 1)"
}
echo "packages $(basename archives/bochs_*.deb), $(basename archives/bochsbios_*.deb), $(basename archives/seabios_*.deb)"
{
    start "Bochs's BIOS" 'root/usr/share/bochs/BIOS-bochs-latest, options=fastboot'
    start SeaBIOS root/usr/share/seabios/bios.bin
} | tee lines
[ "$(cut -d: -f2 lines | tr -d '\n')" = ' 60000010  00000010 ' ] || { echo "this has changed"; exit 1; }

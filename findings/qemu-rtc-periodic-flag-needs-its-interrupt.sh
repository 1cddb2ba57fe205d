#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). The periodic flag PF in register C
# of the real-time clock is never set while the periodic interrupt is off (PIE 0 in register B). The
# data sheet of the MC146818 has the flags set by the clock, whatever the enable bits are, for programs
# that poll them, and QEMU sets the update flag UF so. We expected PF at the rate in register A. A
# program that measures its processor's speed by PF waits forever. With PIE on, and the interrupt masked
# in the PIC, PF comes.
#
# The program selects 1024 Hz, and reads register C until it has seen UF twice. It prints which of UF and PF
# it has seen meanwhile, with PIE 0 and with PIE 1.
set -eu
WANTED='1:7.2+dfsg-7*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "qemu-system-x86=$WANTED" nasm > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
export QEMU_MODULE_DIR="$dir/root/usr/lib/x86_64-linux-gnu/qemu"
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    program=$1
    shift
    timeout 100 "$loader" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > rtc.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000            ; interrupts are off
        mov     ax, 0x260a              ; register A: 32768 Hz, divided to 1024
        call    write
        mov     ax, 0x020b              ; register B: 24 hours
        call    collect
        mov     ax, 0x420b              ; PIE as well
        call    collect
        out     0xf4, al                ; ends QEMU

write:  out     0x70, al
        mov     al, ah
        out     0x71, al
        ret

collect:
        call    write
        mov     al, 0x0c
        out     0x70, al
        in      al, 0x71                ; what was set before does not count
        xor     ebx, ebx
        mov     ecx, 2
.flags: in      al, 0x71
        or      bl, al
        test    al, 0x10                ; UF
        jz      .flags
        loop    .flags
        mov     esi, uf
        mov     ecx, 2
        test    bl, 0x40                ; PF
        jz      .print
        mov     cl, 5
.print: lodsb
        out     0xe9, al
        loop    .print
        mov     al, 10
        out     0xe9, al
        ret
uf:     db      "UF PF"
ASM
run nasm -f bin -o rtc rtc.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel rtc || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "flags in register C for more than a second, with the periodic interrupt off and on"
tee lines < out.txt
[ "$(sed -n 1p lines)" = UF ] && [ "$(sed -n 2p lines)" = 'UF PF' ] || { echo "this has changed"; exit 1; }

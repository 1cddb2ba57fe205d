#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). In loopback mode the UART's
# modem status register shows the four lines that the modem control register drives, but never that one
# of them has changed, and there is no modem status interrupt. The data sheet of the PC16550D connects
# the lines in this mode and keeps the modem status interrupts working, for a test of the chip. So we
# expected DCTS, DDSR and DDCD when the lines rise, TERI with the other three when they fall, and the
# interrupt. A driver's self-test that waits for them says that the chip is broken.
#
# The program enables the modem status interrupt (IER bit 3) in loopback mode, raises all four lines and
# lowers them. After each it prints the interrupt identification (0: modem status, 1: none), and the
# modem status: the lines, CTS to DCD, in the high digit, and what has changed in the low one.
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

cat > loopback.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000
        mov     dx, 0x3fc               ; modem control: loopback
        mov     al, 0x10
        out     dx, al
        mov     dx, 0x3f9               ; interrupt enable: modem status
        mov     al, 8
        out     dx, al
        mov     dx, 0x3fe               ; what was before does not count
        in      al, dx
        mov     bl, 0x1f                ; DTR, RTS, OUT1, OUT2
        call    change
        mov     bl, 0x10
        call    change
        out     0xf4, al                ; ends QEMU

change: mov     dx, 0x3fc
        mov     al, bl
        out     dx, al
        mov     dx, 0x3fa               ; interrupt identification
        call    show
        mov     dx, 0x3fe               ; modem status
        call    show
        mov     al, 10
        out     0xe9, al
        ret

show:   in      al, dx
        movzx   edx, al
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
ASM
run nasm -f bin -o loopback loopback.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -serial null -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel loopback || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "identification and modem status, lines raised, lines lowered"
sed 's/ $//' out.txt | tee lines
[ "$(cat lines)" = '00000001 000000f0
00000001 00000000' ] || { echo "this has changed"; exit 1; }

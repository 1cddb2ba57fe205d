#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). The timer counts in binary
# even if bit 0 of the control word asks for BCD. With it, the data sheet of the 8254 has a count of
# 0x1000 last 1000 clocks and count 9999, 9998, ... in decimal, so we expected that. In QEMU it lasts
# 4096, reads back as hexadecimal, and the status of the read-back command still shows BCD. A program
# from the time when BCD was in use has a timer that is up to 6.5 times as slow.
#
# The program loads 0x1000 into counter 2, mode 0, in binary and in BCD. It prints the status, the
# clocks (hexadecimal) until the output rises, by the ACPI timer, and whether a count was read that has
# a digit above 9.
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

cat > bcd.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000
        mov     bl, 0xb0                ; counter 2, two bytes, mode 0, binary
        call    count
        mov     bl, 0xb1                ; BCD
        call    count
        out     0xf4, al                ; ends QEMU

count:  mov     al, 1                   ; its gate; no sound
        out     0x61, al
        mov     al, bl
        out     0x43, al
        mov     al, 0
        out     0x42, al
        mov     al, 0x10
        out     0x42, al
        mov     dx, 0x608               ; the ACPI timer: three ticks a clock
        in      eax, dx
        mov     esi, eax
        mov     al, 0xe8                ; read-back: the status of counter 2
        out     0x43, al
        in      al, 0x42
        movzx   edx, al
        call    hex
        xor     edi, edi
.wait:  mov     al, 0x80                ; latch
        out     0x43, al
        in      al, 0x42
        mov     ah, al
        in      al, 0x42
        call    digit
        shr     al, 4
        call    digit
        mov     al, ah
        call    digit
        in      al, 0x61
        test    al, 0x20                ; the output
        jz      .wait
        mov     dx, 0x608
        in      eax, dx
        sub     eax, esi
        and     eax, 0xffffff
        xor     edx, edx
        mov     ecx, 3
        div     ecx
        mov     edx, eax
        call    hex
        mov     edx, edi
        call    hex
        mov     al, 10
        out     0xe9, al
        ret

digit:  mov     cl, al
        and     cl, 15
        cmp     cl, 10
        jb      .end
        mov     edi, 1
.end:   ret

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
run nasm -f bin -o bcd bcd.asm
run qemu-system-x86_64 -M pc -m 64 -icount 0 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel bcd || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "status (bit 0: BCD), clocks, digits above 9; binary and BCD"
sed 's/ $//' out.txt | tee lines
set -- $(cat lines)
# With -icount, time is a matter of instructions: a busy computer does not look slow.
[ "$1 $3 $4 $6" = '00000030 00000001 00000031 00000001' ] && [ $((0x$2 >> 4)) = 256 ] && [ $((0x$5 >> 4)) = 256 ] || { echo "this has changed"; exit 1; }

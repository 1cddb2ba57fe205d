#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). Counter 2 of the timer counts in
# mode 0 although its gate, bit 0 of port 0x61, is 0. The data sheet of the 8254 has GATE disable counting
# in modes 0, 2, 3 and 4, so we expected the count to stand until the gate opens, as in Bochs 2.7. A
# program that loads the counter, and opens the gate when it begins to measure its processor or its sound,
# finds that a part of the count has gone. It has to load the counter last, with the gate open.
#
# The program closes the gate, loads 0x8000 into counter 2, mode 0, and prints the count after 1000 clocks
# by the ACPI timer, divided by 0x100, with the gate closed and after 1000 more with it open.
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

cat > gate.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000
        lgdt    [gdtr]
        jmp     8:.code
.code:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     al, 0                   ; the gate, and the loudspeaker
        out     0x61, al
        mov     al, 0xb0                ; counter 2, two bytes, mode 0, binary
        out     0x43, al
        mov     al, 0
        out     0x42, al
        mov     al, 0x80
        out     0x42, al
        call    count
        mov     al, 1
        out     0x61, al
        call    count
        out     0xf4, al                ; ends QEMU

count:  mov     dx, 0x608               ; the ACPI timer: three ticks a clock
        in      eax, dx
        mov     esi, eax
.wait:  in      eax, dx
        sub     eax, esi
        and     eax, 0xffffff
        cmp     eax, 3000
        jb      .wait
        mov     al, 0x80                ; latch
        out     0x43, al
        in      al, 0x42
        in      al, 0x42
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
        align   8
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   dw      23
        dd      gdt
ASM
run nasm -f bin -o gate gate.asm
run qemu-system-x86_64 -M pc -m 64 -icount 0 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel gate || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "the count / 0x100, gate closed, gate open: $(cat out.txt)"
# With -icount, time is a matter of instructions: a busy computer does not look slow.
[ "$(cat out.txt)" = '0000007c 00000078 ' ] || { echo "this has changed"; exit 1; }

#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). A timer of its HPET whose
# comparator is behind the counter interrupts at once. The HPET's specification (1.0a, on the comparators)
# has the interrupt when the counter equals the comparator, and warns that a value which is not far enough
# in the future is missed. So we expected nothing until the counter has gone round: years with 64 bits,
# some minutes with 32. Bochs 2.7 has it so. The race that every driver has to close, by reading the
# counter again after it has written the comparator, cannot be lost here, and a driver that leaves it open
# passes every test.
#
# The program sets timer 0, one-shot, 64 bits, level-triggered, so that the status register shows the
# interrupt, to 10 ms ahead, and then to 10 ms ago. For each it prints how far the counter was from the
# comparator when the status was first set, in ticks of 10 ns divided by 0x10000, or ffffffff if it was
# not in 100 ms.
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

cat > hpet.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
HPET    equ     0xfed00000
start:  mov     esp, 0x90000
        lgdt    [gdtr]
        jmp     8:.code
.code:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     dword [HPET + 0x10], 1  ; count
.wait:  cmp     dword [HPET + 0xf0], 2000000
        jb      .wait
        mov     ebx, 1000000
        call    timer
        mov     ebx, -1000000
        call    timer
        out     0xf4, al                ; ends QEMU

timer:  mov     dword [HPET + 0x100], 0 ; off
        mov     dword [HPET + 0x20], 1
        mov     dword [HPET + 0x10c], 0
        mov     edi, [HPET + 0xf0]
        add     ebx, edi
        mov     [HPET + 0x108], ebx     ; the comparator
        mov     dword [HPET + 0x100], 0x406     ; IRQ 2, enabled, level-triggered
.poll:  mov     edx, [HPET + 0xf0]
        test    dword [HPET + 0x20], 1
        jnz     .set
        sub     edx, edi
        cmp     edx, 10000000
        jb      .poll
        mov     edx, -1
        jmp     hex
.set:   sub     edx, ebx
        shr     edx, 16
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
run nasm -f bin -o hpet hpet.asm
run qemu-system-x86_64 -M pc -m 64 -icount 0 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel hpet || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "ticks behind the comparator / 0x10000; 10 ms ahead, 10 ms ago: $(cat out.txt)"
# 1000000 ticks are 0xf.4240 units.
[ "$(cat out.txt)" = '00000000 0000000f ' ] || { echo "this has changed"; exit 1; }

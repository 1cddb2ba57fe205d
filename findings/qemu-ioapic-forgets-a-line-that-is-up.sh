#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). A line that rises while its
# entry in the I/O APIC is as after reset (masked, edge-triggered) is forgotten. The entry is then made
# level-triggered and unmasked, the line is still up, and no interrupt comes. The data sheet of the
# 82093AA has a level-triggered input request for as long as it is active, so we expected the interrupt
# at once. A device whose interrupt is pending when a kernel takes over, from firmware or from an
# earlier kernel, never gets through: its line, which nobody serves, cannot fall. A kernel should make
# the entries level-triggered first, still masked, and only then enable its devices' interrupts, and
# serve each once.
#
# The line is the timer's, pin 2. The program lets it rise, makes the entry level-triggered, and unmasks
# it. Then it masks the entry, lets the line fall and rise, and unmasks it again. Each time it prints
# whether the line is up, and whether the local APIC has got the vector.
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

cat > level.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
APIC    equ     0xfee00000
IOAPIC  equ     0xfec00000
start:  mov     esp, 0x90000
        mov     al, 0xff                ; the PIC: nothing
        out     0x21, al
        mov     ecx, 0x1b               ; the local APIC, by both enable bits
        rdmsr
        or      ah, 8
        wrmsr
        mov     dword [APIC + 0xf0], 0x1ff
        mov     dword [IOAPIC], 0x15    ; to APIC 0
        mov     dword [IOAPIC + 0x10], 0
        mov     eax, 0x10050            ; vector 0x50: masked, edge
        call    entry
        call    rise
        mov     eax, 0x18050            ; masked, level
        call    entry
        mov     eax, 0x8050
        call    entry
        call    show
        mov     eax, 0x18050
        call    entry
        call    rise
        mov     eax, 0x8050
        call    entry
        call    show
        out     0xf4, al                ; ends QEMU

rise:   mov     al, 0x30                ; the timer, mode 0: low, and high after 100 clocks
        out     0x43, al
        mov     al, 100
        out     0x40, al
        mov     al, 0
        out     0x40, al
        jmp     pause

entry:  mov     dword [IOAPIC], 0x14
        mov     [IOAPIC + 0x10], eax

pause:  mov     ecx, 200000
.more:  in      al, 0x80
        loop    .more
        ret

show:   mov     al, 0xe2                ; the timer's output
        out     0x43, al
        in      al, 0x40
        shr     al, 7
        movzx   edx, al
        call    hex
        mov     edx, [APIC + 0x220]     ; requests 0x40 to 0x5f
        shr     edx, 16
        and     edx, 1

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
run nasm -f bin -o level level.asm
run qemu-system-x86_64 -M pc -m 64 -icount 0 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel level || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "line and request: line first, entry first"
echo "$(cat out.txt)"
[ "$(cat out.txt)" = '00000001 00000000 00000001 00000001 ' ] || { echo "this has changed"; exit 1; }

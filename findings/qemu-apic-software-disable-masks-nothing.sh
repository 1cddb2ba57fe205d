#!/bin/sh
# QEMU 7.2 without KVM (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). When the local APIC is
# disabled by software (bit 8 of the spurious-interrupt vector register), SDM volume 3 ("Local APIC State
# After It Has Been Software Disabled") has the mask bits of all LVT entries set, and writes cannot
# clear them. So we expected to read them as 1 from then on. In QEMU the entries stay as they were,
# and a timer that ends meanwhile requests its interrupt, which comes when the APIC is enabled
# again. A kernel that is started by another one, and enables the APIC before it writes the entries,
# gets vectors that it does not know. It has to mask every entry itself first.
#
# The program writes vector 0x40 into the timer's entry, disables the APIC, and starts the timer. It prints the
# mask bit before and after, the mask bit when the entry has been written again, whether the vector is in the
# request register when the count has reached 0, and the mask bit when the APIC is enabled again.
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

cat > apic.asm << 'ASM'
SVR     equ     0xfee000f0              ; spurious-interrupt vector register
IRR     equ     0xfee00220              ; the interrupt request register's vectors 0x40 to 0x5f
TIMER   equ     0xfee00320              ; the timer's LVT entry, one-shot
START   equ     0xfee00380              ; initial count
COUNT   equ     0xfee00390              ; current count
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000            ; interrupts are off
        mov     dword [SVR], 0x1ff
        mov     dword [TIMER], 0x40
        call    mask
        mov     dword [SVR], 0xff
        call    mask
        mov     dword [TIMER], 0x40
        call    mask
        mov     dword [START], 1000
.count: cmp     dword [COUNT], 0
        jne     .count
        mov     ecx, 1000000            ; QEMU may be late
.late:  mov     eax, [IRR]
        test    al, 1
        loopz   .late
        call    bit
        mov     dword [SVR], 0x1ff
        call    mask
        mov     al, 10
        out     0xe9, al
        out     0xf4, al                ; ends QEMU

mask:   mov     eax, [TIMER]
        shr     eax, 16
bit:    and     al, 1
        add     al, '0'
        out     0xe9, al
        ret
ASM
run nasm -f bin -o apic apic.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel apic || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "mask: enabled, disabled, written; request; mask: enabled again"
tee lines < out.txt
[ "$(cat lines)" = 00010 ] || { echo "this has changed"; exit 1; }

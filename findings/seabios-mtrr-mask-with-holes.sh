#!/bin/sh
# SeaBIOS 1.16.2 in QEMU 7.2 (Debian 12: seabios 1.16.2-1, qemu-system-x86 1:7.2+dfsg-7). It makes the
# PCI hole below 4 GB uncached by one variable MTRR, and takes the hole's start for the mask. That is
# right if the hole is a power of two in size. With -M pc -m 3500 the hole begins at 0xdac00000, and
# the mask has zeros between its ones. We expected a mask without such zeros, as SDM volume 3 has it,
# and a hole that is uncached from start to end. By the SDM's rule (an address is in the range if
# address AND mask equals base AND mask) 32 of its 596 MB are; the rest, with the BARs of PCI devices,
# has the default type, which is write-back. The size that follows from the mask's lowest bit, 4 MB,
# is wrong too. A kernel that maps devices uncached in its own page tables does not notice.
#
# The program prints the MTRRs, and the BAR of a card with 64 MB of memory. The shell applies the rule.
set -eu
WANTED=1.16.2-1

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "seabios=$WANTED" 'qemu-system-x86=1:7.2+dfsg-7*' nasm > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
export QEMU_MODULE_DIR="$dir/root/usr/lib/x86_64-linux-gnu/qemu"
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    program=$1
    shift
    timeout 100 "$loader" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > mtrr.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000
        mov     ecx, 0x2ff              ; IA32_MTRR_DEF_TYPE
        call    msr
        mov     ecx, 0x200              ; IA32_MTRR_PHYSBASE0
        call    msr
        mov     ecx, 0x201              ; IA32_MTRR_PHYSMASK0
        call    msr
        mov     ecx, 0x203              ; IA32_MTRR_PHYSMASK1
        call    msr
        mov     eax, 0x80001818         ; PCI slot 3, BAR 2
        mov     dx, 0xcf8
        out     dx, eax
        mov     dl, 0xfc
        in      eax, dx
        and     eax, -16
        xor     edx, edx
        call    print
        out     0xf4, al                ; ends QEMU

msr:    rdmsr
print:  mov     esi, eax
        call    hex
        mov     edx, esi
        call    hex
        mov     al, ' '
        out     0xe9, al
        ret

hex:    mov     ecx, 8
.digit: rol     edx, 4
        mov     eax, edx
        and     eax, 15
        mov     al, [digits + eax]
        out     0xe9, al
        loop    .digit
        ret
digits: db      "0123456789abcdef"
ASM
run nasm -f bin -o mtrr mtrr.asm

type_of_bar() {
    run qemu-system-x86_64 -M pc -m "$1" -nodefaults -display none -L root/usr/share/seabios -L root/usr/share/qemu \
        -object memory-backend-ram,id=m,size=64M -device ivshmem-plain,memdev=m,addr=3 \
        -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel mtrr || true
    # Now: default type, base, mask, second mask, BAR.
    set -- "$1" $(cat out.txt)
    type=$((0x$2 & 0xff))
    [ $((0x$5 & 0x800)) = 0 ] || { echo "more than one range"; exit 1; }
    mask=$((0x$4 & ~0xfff))
    [ $((0x$6 & mask)) != $((0x$3 & mask)) ] || type=$((0x$3 & 0xff))
    echo "$1 MB: base $3, mask $4; default type $((0x$2 & 0xff)); the BAR at $6 has type $type"
}
echo "SeaBIOS, package $(basename archives/seabios_*.deb); $(basename archives/qemu-system-x86_*.deb)"
echo "(type 0 is uncached, 6 is write-back)"
type_of_bar 3000
before=$type
type_of_bar 3500
[ "$before $type" = '0 6' ] || { echo "this has changed"; exit 1; }

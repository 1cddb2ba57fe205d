#!/bin/sh
# NASM 2.16.01 (Debian 12: nasm 2.16.01-1). It assembles [ebp*2] as [ebp+ebp], which is shorter. Its
# manual has that for [eax*2], where both mean the same. But EBP as a base selects SS, and as an index
# it leaves DS (SDM volume 1, "Specifying a Segment Selector"; volume 2, the SIB table), so we expected
# NASM not to split it. In flat segments nothing changes. In real mode, or where SS and DS differ, the
# instruction reads other memory. [nosplit ebp*2] helps, and a prefix: [ds:ebp*2].
#
# A boot sector reads a byte at EBP * 2 in three notations, with one letter in DS there and another in
# SS. GNU as assembles the first one too, for comparison.
set -eu
WANTED='2.16.01-1*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "nasm=$WANTED" 'qemu-system-x86=1:7.2+dfsg-7*' 'binutils=2.40-2*' > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
export QEMU_MODULE_DIR="$dir/root/usr/lib/x86_64-linux-gnu/qemu"
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    program=$1
    shift
    timeout 100 "$loader" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > boot.asm << 'ASM'
        org     0x7c00
        bits    16
        mov     ax, 0x1000
        mov     ds, ax
        mov     byte [0x400], 'D'
        mov     ax, 0x2000
        mov     ss, ax
        mov     byte [ss:0x400], 'S'
        mov     ebp, 0x200
        mov     al, [ebp*2]
        out     0xe9, al
        mov     al, [nosplit ebp*2]
        out     0xe9, al
        mov     al, [ds:ebp*2]
        out     0xe9, al
        out     0xf4, al                ; ends QEMU
        times   510 - ($ - $$) db 0
        dw      0xaa55
ASM
run nasm -f bin -o boot boot.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -vga std -display none -L root/usr/share/qemu -L root/usr/share/seabios -L root/usr/share/vgabios \
    -drive file=boot,format=raw -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 || true

printf '.intel_syntax noprefix\nmov al, [ebp*2]\n' > one.s
run x86_64-linux-gnu-as --32 -o one.o one.s
run x86_64-linux-gnu-objdump -d -M intel one.o > gnu.txt
printf 'bits 32\nmov al, [ebp*2]\nmov al, [nosplit ebp*2]\nmov al, [ds:ebp*2]\n' > three.asm
run nasm -f bin -o three three.asm

echo "NASM, package $(basename archives/nasm_*.deb); GNU as: $(grep -o 'mov .*' gnu.txt)"
run ndisasm -b 32 three
read=$(tail -c 3 out.txt)
echo "read by [ebp*2], [nosplit ebp*2], [ds:ebp*2]: $read"
[ "$read" = SDD ] && grep -q '\[ebp\*2' gnu.txt || { echo "this has changed"; exit 1; }

#!/bin/sh
# objcopy 2.40 (Debian 12: binutils-x86-64-linux-gnu 2.40-2; llvm-objcopy 14 does the same). -O
# elf32-i386 makes an ELF file of 32 bits out of one of 64, as boot loaders want it. Addresses that do
# not fit lose their upper half without a word: a kernel that is linked to be loaded at 7 GB is to be
# loaded at 3 GB in the copy, and the entry point and symbols are cut off too. We expected an error, as
# the same objcopy gives for -O ihex ("64-bit address out of range"). A kernel at the top of the address
# space gets away with it, if its loader looks at physical addresses only. A build should compare the
# physical addresses afterwards, or let the linker script ASSERT that they are below 4 GB.
#
# The script links a kernel for 0x1c0100000, with a symbol of 0x123456789a, and prints the segment, the
# entry point and the symbol before and after, and objcopy's exit code and messages for both formats.
set -eu
WANTED='2.40-2*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q -o APT::Sandbox::User=root download "binutils-x86-64-linux-gnu=$WANTED" "binutils-common=$WANTED" "libbinutils=$WANTED" "libctf0=$WANTED" \
    "libctf-nobfd0=$WANTED" "libgprofng0=$WANTED" libjansson4 > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu"
tools=root/usr/bin/x86_64-linux-gnu

cat > kernel.s << 'EOF'
        .globl  start, far
        .set    far, 0x123456789a
        .text
start:  hlt
EOF
cat > kernel.ld << 'EOF'
ENTRY(start)
SECTIONS
{
    . = 0xffffffff80100000;
    .text : AT(0x1c0100000) { *(.text) }
}
EOF
$tools-as -o kernel.o kernel.s
$tools-ld -T kernel.ld -o kernel64 kernel.o

echo "objcopy, package $(basename binutils-x86-64-linux-gnu_*.deb)"
show() {
    $tools-readelf -lhW "$1" > elf.txt
    echo "$1: $(awk '$1 == "LOAD" { print "loaded at " $4 ", runs at " $3 }' elf.txt), entry $(awk '/Entry/ { print $4 }' elf.txt), symbol $($tools-nm "$1" | awk '$3 == "far" { print $1 }')"
}
for format in elf32-i386 ihex; do
    code=0
    $tools-objcopy -O $format kernel64 kernel.$format > messages.txt 2>&1 || code=$?
    echo "$format: exit code $code, $(wc -l < messages.txt) messages"
done > codes.txt
{
    show kernel64
    show kernel.elf32-i386
    cat codes.txt
} | tee lines
cat > wanted << 'EOF'
kernel64: loaded at 0x00000001c0100000, runs at 0xffffffff80100000, entry 0xffffffff80100000, symbol 000000123456789a
kernel.elf32-i386: loaded at 0xc0100000, runs at 0x80100000, entry 0x80100000, symbol 3456789a
elf32-i386: exit code 0, 0 messages
ihex: exit code 1, 2 messages
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

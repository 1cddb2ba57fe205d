#!/bin/sh
# lld 14 (Debian 12: lld-14 1:14.0.6-12; lld 19 does the same). In the description of an output section
# ". = 0x200" sets the location counter to the address 0x200. GNU ld's manual ("The Location Counter")
# has it count from the start of that section there, with an example in which a section at 0x100 becomes
# 0x200 bytes long. lld says that it implements that manual, so we expected the same. In lld the section is
# 0x100 bytes long, and neither linker says a word. A number that a symbol gets inside the section is an
# address in lld as well, and an offset in ld. The usual script of a boot sector, ". = 510;" before its
# last two bytes, is an error if the section is not at 0. ". = ADDR(.text) + 0x200" does not work in ld;
# a script for both has to count from a symbol: "start = .;" and ". += 510 - (. - start)".
#
# The script links the manual's example, with a symbol, and a boot sector in both notations.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o APT::Sandbox::User=root -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install 'lld-14=1:14.0.6-12*' 'binutils=2.40-2*' > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    timeout 100 "$loader" --library-path "$libraries" "$@"
}
binutils=root/usr/bin/x86_64-linux-gnu
ld() {
    run $binutils-ld "$@"
}
lld() {
    run root/usr/lib/llvm-14/bin/lld -flavor gnu "$@"
}

printf '        .globl _start\n_start: hlt\n        .data\n        .long 1\n' > one.s
run $binutils-as -o one.o one.s
cat > manual.ld << 'EOF'
SECTIONS
{
    . = 0x100;
    .text : { *(.text) . = 0x200; }
    . = 0x500;
    .data : { *(.data) size = 4; . += 0x600; }
}
EOF
cat > sector.ld << 'EOF'
SECTIONS
{
    . = 0x7c00;
    .text : { *(.text) . = 510; SHORT(0xaa55) }
    /DISCARD/ : { *(.data) }
}
EOF
sed 's/{ \*(.text) . = 510;/{ start = .; *(.text) . += 510 - (. - start);/' sector.ld > both.ld

echo "lld, package $(basename archives/lld-14_*.deb); ld, package $(basename archives/binutils-x86-64-linux-gnu_*.deb)"
for linker in ld lld; do
    for script in manual sector both; do
        if $linker -T $script.ld -o $script one.o > messages 2>&1; then
            run $binutils-readelf -SW $script | sed -n 's/^ *\[ *[0-9]*\]//p' > sections
            echo "$linker, $script: .text $(awk '$1 == ".text" { print $3 ", " $5 " bytes" }' sections)"
        else
            echo "$linker, $script: error"
        fi
        [ $script != manual ] || echo "$linker, symbol: $(run $binutils-nm $script | awk '$3 == "size" { print $1 }')"
    done
done | tee lines
cat > wanted << 'EOF'
ld, manual: .text 0000000000000100, 000200 bytes
ld, symbol: 0000000000000504
ld, sector: .text 0000000000007c00, 000200 bytes
ld, both: .text 0000000000007c00, 000200 bytes
lld, manual: .text 0000000000000100, 000100 bytes
lld, symbol: 0000000000000004
lld, sector: error
lld, both: .text 0000000000007c00, 000200 bytes
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

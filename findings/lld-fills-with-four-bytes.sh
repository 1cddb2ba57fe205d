#!/bin/sh
# lld 14 (Debian 12: lld-14 1:14.0.6-12; lld 19 does the same). "=0x90" behind an output section fills its
# gaps with 00 00 00 90 again and again, "=0x9090" with 00 00 90 90. GNU ld's manual ("Output Section Fill")
# has a hexadecimal number be a pattern of its own length, leading zeros included, and only other
# expressions have four bytes. lld says that it implements that manual, so we expected 90 90 90 90, which
# ld gives. A kernel's script has the NOP there for processors that run into a gap; linked by lld, they
# execute "add byte [rax], al", which writes to memory. 0x90909090 means the same to both.
#
# The script links a section with a gap of eight bytes, with each pattern. It prints the gap, and the first
# instruction in that of 0x90.
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

printf '        .globl _start\n_start: hlt\n' > one.s
run $binutils-as -o one.o one.s
echo "lld, package $(basename archives/lld-14_*.deb); ld, package $(basename archives/binutils-x86-64-linux-gnu_*.deb)"
for linker in ld lld; do
    for fill in 0x90 0x9090 0x90909090 144; do
        echo "SECTIONS { .text 0x100000 : { *(.text) . += 8; BYTE(0xf4) } =$fill }" > one.ld
        $linker -T one.ld -o one 2> messages one.o
        run $binutils-objcopy -O binary -j .text one bytes
        echo "$linker, =$fill: $(od -An -tx1 -j1 -N8 bytes)"
    done
done | tee lines
echo 'SECTIONS { .text 0x100000 : { *(.text) . += 8; BYTE(0xf4) } =0x90 }' > one.ld
for linker in ld lld; do
    $linker -T one.ld -o one 2> messages one.o
    run $binutils-objdump -d -M intel --no-show-raw-insn one > code
    echo "$linker, first instruction:$(awk '$1 == "100001:" { $1 = ""; print }' code)"
done | tee instructions
cat > wanted << 'EOF'
ld, =0x90:  90 90 90 90 90 90 90 90
ld, =0x9090:  90 90 90 90 90 90 90 90
ld, =0x90909090:  90 90 90 90 90 90 90 90
ld, =144:  00 00 00 90 00 00 00 90
lld, =0x90:  00 00 00 90 00 00 00 90
lld, =0x9090:  00 00 90 90 00 00 90 90
lld, =0x90909090:  90 90 90 90 90 90 90 90
lld, =144:  00 00 00 90 00 00 00 90
ld, first instruction: nop
lld, first instruction: add BYTE PTR [rax],al
EOF
cat lines instructions | cmp -s - wanted || { echo "this has changed"; exit 1; }

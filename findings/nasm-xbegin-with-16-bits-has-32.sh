#!/bin/sh
# NASM 2.16.01 (Debian 12: nasm 2.16.01-1; 2.16.03 does the same). In 64-bit code it encodes "o16 xbegin
# handler" as 66 c7 f8 with a distance of 32 bits, and ndisasm reads such bytes so, and 16-bit code with the
# prefix too. XBEGIN's distance has the operand size (SDM volume 2, XBEGIN: rel16 and rel32, both valid in
# 64-bit mode), so with 66 it has 16 bits. We expected that, as GNU as encodes it, and objdump and Capstone
# read it. It is not as with jumps and calls, whose prefix Intel's processors ignore in 64-bit mode. The
# processor takes the upper half of NASM's distance, two zeros as a rule, for the next instruction, which
# writes to memory. The 32 bits without a prefix do for every distance.
#
# The script assembles the same three lines with both, and has the three disassemblers read GNU as's bytes and
# NASM's.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q -o APT::Sandbox::User=root download 'nasm=2.16.01-1*' 'binutils-x86-64-linux-gnu=2.40-2*' 'binutils-common=2.40-2*' 'libbinutils=2.40-2*' \
    'libctf0=2.40-2*' 'libctf-nobfd0=2.40-2*' 'libgprofng0=2.40-2*' libjansson4 'libcapstone4=4.0.2-5*' 'python3-capstone=4.0.2-5*' > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu" PYTHONPATH="$dir/root/usr/lib/python3/dist-packages"
binutils=root/usr/bin/x86_64-linux-gnu

printf '        bits 64\n        o16 xbegin handler\n        nop\nhandler: nop\n' > nasm.asm
root/usr/bin/nasm -f bin -o NASM nasm.asm
printf '        data16 xbegin handler\n        nop\nhandler: nop\n' > gnu.s
$binutils-as -o gnu.o gnu.s
$binutils-objcopy -O binary -j .text gnu.o GNU

cat > read.py << 'EOF'
import sys
import capstone

code = open(sys.argv[1], "rb").read()
print("; ".join(f"{i.mnemonic} {i.op_str}".strip() for i in capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64).disasm(code, 0)))
EOF
list() {
    tr -s ' \t' ' ' | sed 's/^ //; s/ $//' | paste -sd ';' | sed 's/;/; /g'
}
echo "packages $(basename nasm_*.deb), $(basename binutils-x86-64-linux-gnu_*.deb), $(basename libcapstone4_*.deb)"
for file in GNU NASM; do
    echo "$file:$(od -An -tx1 $file)"
    echo "    objdump: $($binutils-objdump -D -b binary -m i386:x86-64 -M intel --no-show-raw-insn $file | sed -n 's/^ *[0-9a-f]*:[[:space:]]*//p' | list)"
    echo "    Capstone: $(python3 read.py $file)"
    echo "    ndisasm: $(root/usr/bin/ndisasm -b 64 $file | cut -c 29- | list)"
done | tee lines
cat > wanted << 'EOF'
GNU: 66 c7 f8 01 00 90 90
    objdump: xbeginw 0x6; nop; nop
    Capstone: xbegin 6; nop; nop
    ndisasm: xbegin qword 0xffffffff90900008
NASM: 66 c7 f8 01 00 00 00 90 90
    objdump: xbeginw 0x6; add BYTE PTR [rax],al; nop; nop
    Capstone: xbegin 6; add byte ptr [rax], al; nop; nop
    ndisasm: xbegin qword 0x8; nop; nop
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

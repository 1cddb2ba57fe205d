#!/bin/sh
# NASM 2.16.01 (Debian 12: nasm 2.16.01-1; 2.16.03 does the same). It encodes VMGEXIT as f2 0f 01 c1, which is
# VMCALL with a prefix that it does not heed. AMD's manual (APM volume 3, VMGEXIT) has 0f 01 d9 behind f2 or
# f3, which is VMMCALL with a prefix, and GNU as writes f3 0f 01 d9. ndisasm reads NASM's bytes as VMGEXIT and
# the right ones as VMMCALL. We expected AMD's bytes. A guest of SEV-ES that asks its hypervisor so has an
# invalid instruction on AMD's processors, which know no VMCALL, instead of an exit; on Intel's a hypervisor
# gets a VMCALL with whatever the registers hold. "rep vmmcall" is what was meant.
#
# The script prints the bytes that both assemblers make, and what objdump and ndisasm read in each.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q -o APT::Sandbox::User=root download 'nasm=2.16.01-1*' 'binutils-x86-64-linux-gnu=2.40-2*' 'binutils-common=2.40-2*' 'libbinutils=2.40-2*' \
    'libctf0=2.40-2*' 'libctf-nobfd0=2.40-2*' 'libgprofng0=2.40-2*' libjansson4 > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu"
binutils=root/usr/bin/x86_64-linux-gnu

for name in vmgexit vmcall vmmcall "rep vmmcall"; do
    printf '        bits 64\n        %s\n' "$name" > nasm.asm
    root/usr/bin/nasm -f bin -o "nasm, $name" nasm.asm
done
echo '        vmgexit' > gnu.s
$binutils-as -o gnu.o gnu.s
$binutils-objcopy -O binary -j .text gnu.o "GNU as, vmgexit"

echo "packages $(basename nasm_*.deb), $(basename binutils-x86-64-linux-gnu_*.deb)"
for file in "nasm, rep vmmcall" "nasm, vmcall" "nasm, vmgexit" "nasm, vmmcall" "GNU as, vmgexit"; do
    objdump=$($binutils-objdump -D -b binary -m i386:x86-64 -M intel --no-show-raw-insn "$file" | sed -n 's/^ *0:[[:space:]]*//p')
    echo "$file:$(od -An -tx1 "$file"), objdump $objdump, ndisasm $(root/usr/bin/ndisasm -b 64 "$file" | cut -c 29-)"
done | sed 's/ *$//' | tee lines
cat > wanted << 'EOF'
nasm, rep vmmcall: f3 0f 01 d9, objdump vmgexit, ndisasm rep vmmcall
nasm, vmcall: 0f 01 c1, objdump vmcall, ndisasm vmcall
nasm, vmgexit: f2 0f 01 c1, objdump repnz vmcall, ndisasm vmgexit
nasm, vmmcall: 0f 01 d9, objdump vmmcall, ndisasm vmmcall
GNU as, vmgexit: f3 0f 01 d9, objdump vmgexit, ndisasm rep vmmcall
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

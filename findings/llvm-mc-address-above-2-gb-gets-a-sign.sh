#!/bin/sh
# LLVM's assembler 14 (Debian 12: llvm-14 1:14.0.6-12; 19 does the same; clang has it built in). In 64-bit
# code "mov 0xfee00020, %ebx" becomes an instruction with a displacement of 32 bits, without a word. The
# processor extends its sign (SDM volume 2, "Displacement", in "REX Prefixes"), so it reads at
# 0xfffffffffee00020. We expected an error, which GNU as gives, or a warning, as from NASM. The local APIC,
# the I/O APIC and other devices below 4 GB are up there. A kernel in the upper half, whose page tables map
# the top of the address space as well, reads and writes something else instead. Such an address has to go
# through a register, or through movabs, which only knows the accumulator. (For EAX GNU as takes that one.)
#
# Each assembler gets a read by EBX and by EAX and a write. The script prints exit code, messages, and the
# instructions as objdump shows them.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o APT::Sandbox::User=root -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install 'llvm-14=1:14.0.6-12*' 'binutils=2.40-2*' 'nasm=2.16.01-1*' > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/llvm-14_*.deb archives/lib*.deb archives/binutils*.deb archives/nasm*.deb archives/zlib1g*.deb; do dpkg-deb -x "$deb" root; done
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    timeout 100 "$loader" --library-path "$libraries" "$@"
}
binutils=root/usr/bin/x86_64-linux-gnu

cat > apic.s << 'EOF'
        mov     0xfee00020, %ebx
        mov     0xfee00020, %eax
        movl    $0, 0xfee000b0
EOF
cat > apic.asm << 'EOF'
        bits    64
        mov     ebx, [0xfee00020]
        mov     eax, [0xfee00020]
        mov     dword [0xfee000b0], 0
EOF
show() {
    name=$1
    shift
    code=0
    "$@" > messages 2>&1 || code=$?
    echo "$name: exit code $code, $(grep -c -i error messages) errors, $(grep -i warning messages | sort -u | wc -l) warnings"
    [ $code -ne 0 ] || run $binutils-objdump -d -M intel --no-show-raw-insn apic.o | sed -n 's/^ *[0-9a-f]*:[[:space:]]*//p' | tr -s ' ' | sed 's/^/    /'
}
echo "packages $(basename archives/llvm-14_*.deb), $(basename archives/binutils-x86-64-linux-gnu_*.deb), $(basename archives/nasm_*.deb)"
{
    show LLVM run root/usr/lib/llvm-14/bin/llvm-mc -triple=x86_64 -filetype=obj -o apic.o apic.s
    show "GNU as" run $binutils-as -o apic.o apic.s
    show NASM run root/usr/bin/nasm -f elf64 -o apic.o apic.asm
} | tee lines
cat > wanted << 'EOF'
LLVM: exit code 0, 0 errors, 0 warnings
    mov ebx,DWORD PTR ds:0xfffffffffee00020
    mov eax,DWORD PTR ds:0xfffffffffee00020
    mov DWORD PTR ds:0xfffffffffee000b0,0x0
GNU as: exit code 1, 2 errors, 0 warnings
NASM: exit code 0, 0 errors, 3 warnings
    mov ebx,DWORD PTR ds:0xfffffffffee00020
    mov eax,DWORD PTR ds:0xfffffffffee00020
    mov DWORD PTR ds:0xfffffffffee000b0,0x0
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

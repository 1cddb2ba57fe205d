#!/bin/sh
# NASM 2.16.01's disassembler (Debian 12: nasm 2.16.01-1; 2.16.03 does the same) and LLVM's (Debian 12:
# llvm-14 1:14.0.6-12; 19 does the same). Moves to and from control and debug registers name registers
# only, so the mod field of their ModR/M byte could be 3 and nothing else. SDM volume 2 ("MOV-Move to/from
# Control Registers") has the processor ignore the field: 0f 20 00 is "mov eax, cr0" as 0f 20 c0 is, and
# no displacement follows. We expected that from a disassembler, and objdump and Capstone do it. For
# ndisasm it is a "db 0x0f" and another instruction, and LLVM has an invalid encoding. Whoever searches
# code for privileged instructions with them, or emulates what they decode, misses these.
#
# A boot sector in QEMU reads CR0 with each mod, with INC ECX four times behind, where a displacement would
# be. It prints whether CR0 came, and ECX. Then the disassemblers show the four.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o APT::Sandbox::User=root -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install 'nasm=2.16.01-1*' 'llvm-14=1:14.0.6-12*' 'binutils=2.40-2*' \
    'libcapstone4=4.0.2-5*' 'python3-capstone=4.0.2-5*' 'qemu-system-x86=1:7.2+dfsg-7*' > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
export QEMU_MODULE_DIR="$dir/root/usr/lib/x86_64-linux-gnu/qemu"
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    timeout 100 "$loader" --library-path "$libraries" "$@"
}

cat > boot.asm << 'ASM'
        org     0x7c00
        bits    16
        mov     ebx, cr0
%assign mod 0
%rep 4
        xor     eax, eax
        xor     ecx, ecx
        db      0x0f, 0x20, mod << 6    ; mov eax, cr0
        inc     ecx
        inc     ecx
        inc     ecx
        inc     ecx
        cmp     eax, ebx
        sete    al
        add     al, '0'
        out     0xe9, al
        lea     eax, [ecx + '0']
        out     0xe9, al
%assign mod mod + 1
%endrep
        out     0xf4, al                ; ends QEMU
        times   510 - ($ - $$) db 0
        dw      0xaa55
ASM
run root/usr/bin/nasm -f bin -o boot boot.asm
run root/usr/bin/qemu-system-x86_64 -M pc -m 64 -nodefaults -vga std -display none -L root/usr/share/qemu -L root/usr/share/seabios -L root/usr/share/vgabios \
    -drive file=boot,format=raw -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 || true
read=$(cat out.txt)

cat > read.py << 'EOF'
import capstone

code = open("code", "rb").read()
print("; ".join(f"{i.mnemonic} {i.op_str}".strip() for i in capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_32).disasm(code, 0)))
EOF
list() {
    tr -s ' \t' ' ' | sed 's/^ //; s/ $//' | paste -sd ';' | sed 's/;/; /g'
}
by_objdump() {
    run root/usr/bin/x86_64-linux-gnu-objdump -D -b binary -m i386 -M intel --no-show-raw-insn code | sed -n 's/^ *[0-9a-f]*:[[:space:]]*//p' | list
}
by_capstone() {
    LD_LIBRARY_PATH=root/usr/lib/x86_64-linux-gnu PYTHONPATH=root/usr/lib/python3/dist-packages python3 read.py
}
by_ndisasm() {
    run root/usr/bin/ndisasm -b 32 code | cut -c 29- | list
}
by_llvm() {
    od -An -tx1 code | sed 's/ / 0x/g' > bytes
    run root/usr/lib/llvm-14/bin/llvm-mc --disassemble -triple=i386 --output-asm-variant=1 bytes 2> messages | sed -n 's/^\t\([^.]\)/\1/p' | list
}
echo "NASM, package $(basename archives/nasm_*.deb); LLVM, package $(basename archives/llvm-14_*.deb)"
for mod in 0 1 2 3; do
    echo "mod $mod: CR0 came: $(echo "$read" | cut -c $((mod * 2 + 1))), ECX $(echo "$read" | cut -c $((mod * 2 + 2)))"
    printf "\\017\\040\\$((mod))00\\220\\220" > code
    echo "    objdump: $(by_objdump)"
    echo "    Capstone: $(by_capstone)"
    echo "    ndisasm: $(by_ndisasm)"
    echo "    LLVM: $(by_llvm), $(grep -c invalid messages) invalid"
done | tee lines
cat > wanted << 'EOF'
mod 0: CR0 came: 1, ECX 4
    objdump: mov eax,cr0; nop; nop
    Capstone: mov eax, cr0; nop; nop
    ndisasm: db 0x0f; and [eax],al; nop; nop
    LLVM: nop; nop, 1 invalid
mod 1: CR0 came: 1, ECX 4
    objdump: mov eax,cr0; nop; nop
    Capstone: mov eax, cr0; nop; nop
    ndisasm: db 0x0f; and [eax-0x70],al; nop
    LLVM: nop, 1 invalid
mod 2: CR0 came: 1, ECX 4
    objdump: mov eax,cr0; nop; nop
    Capstone: mov eax, cr0; nop; nop
    ndisasm: db 0x0f; db 0x20; db 0x80; nop; nop
    LLVM: nop; nop, 1 invalid
mod 3: CR0 came: 1, ECX 4
    objdump: mov eax,cr0; nop; nop
    Capstone: mov eax, cr0; nop; nop
    ndisasm: mov eax,cr0; nop; nop
    LLVM: mov eax, cr0; nop; nop, 0 invalid
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

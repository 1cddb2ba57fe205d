#!/bin/sh
# NASM 2.16.01 (Debian 12: nasm 2.16.01-1; 2.16.03 has it right). PTWRITE is f3 0f ae /4 (SDM volume 2), and
# GNU as writes that. NASM leaves out the f3. What is left is XSAVE if the operand is in memory, and no
# instruction if it is a register. There is no warning, and the listing says PTWRITE. We expected the prefix.
# PTWRITE hands 4 or 8 bytes to a trace and changes nothing; a tracing point that NASM has assembled writes
# the processor's state, 576 bytes and more, over the variable that it should have read. A "db 0xf3" in
# front of the instruction makes up for it.
#
# The script prints the bytes of both assemblers. A boot sector in QEMU, which has XSAVE and no PTWRITE,
# executes both with a pattern in memory, and prints whether the pattern is still there, and whether #UD came.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o APT::Sandbox::User=root -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install 'nasm=2.16.01-1*' 'qemu-system-x86=1:7.2+dfsg-7*' 'binutils=2.40-2*' > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
export QEMU_MODULE_DIR="$dir/root/usr/lib/x86_64-linux-gnu/qemu"
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    program=$1
    shift
    timeout 100 "$loader" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

printf '        bits 16\n        ptwrite dword [bx]\n' > nasm.asm
run nasm -f bin -o nasm.bin nasm.asm
printf '        .code16\n        ptwritel (%%bx)\n' > gnu.s
run x86_64-linux-gnu-as -o gnu.o gnu.s
run x86_64-linux-gnu-objcopy -O binary -j .text gnu.o gnu.bin
printf '        bits 64\n        ptwrite qword [rax]\n        ptwrite rax\n' > more.asm
run nasm -f bin -o more.bin more.asm

cat > boot.asm << 'ASM'
        org     0x7c00
        bits    16
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        mov     word [6 * 4], undefined
        mov     [6 * 4 + 2], ax
        mov     eax, cr4
        or      eax, 0x40200            ; OSXSAVE, OSFXSR
        mov     cr4, eax
        mov     si, by_nasm
        call    try
        mov     si, by_gnu
        call    try
        out     0xf4, al                ; ends QEMU

; Calls SI with the pattern at BX and ECX 0. Prints whether it has changed and whether #UD came.
try:    mov     di, 0x9000
        mov     cx, 1024
        mov     al, 0x5a
        rep     stosb
        mov     bx, 0x9000
        mov     eax, -1
        mov     edx, eax
        xor     bp, bp
        call    si
back:   mov     di, 0x9000
        mov     cx, 1024
        mov     al, 0x5a
        repe    scasb
        setne   al
        add     al, '0'
        out     0xe9, al
        mov     ax, bp
        add     al, '0'
        out     0xe9, al
        ret

undefined:
        mov     bp, 1
        add     sp, 6 + 2               ; the frame, and the return from the instruction
        jmp     back

by_nasm:
        incbin  "nasm.bin"
        ret
by_gnu: incbin  "gnu.bin"
        ret
        times   510 - ($ - $$) db 0
        dw      0xaa55
ASM
run nasm -f bin -o boot boot.asm
run qemu-system-x86_64 -M pc -cpu max -m 64 -nodefaults -vga std -display none -L root/usr/share/qemu -L root/usr/share/seabios -L root/usr/share/vgabios \
    -drive file=boot,format=raw -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 || true

echo "NASM, package $(basename archives/nasm_*.deb); GNU as, package $(basename archives/binutils-x86-64-linux-gnu_*.deb)"
bytes() {
    od -An -tx1 "$1" | tr -d '\n'
}
{
    echo "dword [bx]: NASM$(bytes nasm.bin), GNU as$(bytes gnu.bin)"
    echo "qword [rax], rax: NASM$(bytes more.bin)"
    echo "changed, #UD: NASM $(cut -c 1-2 out.txt), GNU as $(cut -c 3-4 out.txt)"
} | tee lines
cat > wanted << 'EOF'
dword [bx]: NASM 0f ae 27, GNU as f3 0f ae 27
qword [rax], rax: NASM 48 0f ae 20 48 0f ae e0
changed, #UD: NASM 10, GNU as 01
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

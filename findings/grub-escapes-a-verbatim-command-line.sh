#!/bin/sh
# GRUB 2.06 (Debian 12: grub-pc-bin 2.06-13; 2.12-9 of Debian 13 does the same). GRUB's manual
# ("multiboot") says that the rest of the line is passed verbatim as the kernel's command line. We
# expected the words that GRUB's shell makes of it, or the line as it is in grub.cfg. A kernel gets
# neither: GRUB takes the shell's words, puts a backslash before each quote, apostrophe and backslash in
# them, and a word with a space into quotes. So no spelling in grub.cfg gets an apostrophe or a quote
# through alone: JSON, a regular expression or a Windows path arrive with backslashes that nobody wrote.
# The multiboot2 specification leaves the line's format to the kernel, which has to know GRUB's.
#
# The script starts a kernel that prints its command line. For each line the script prints what is behind
# the kernel's name in grub.cfg, and what the kernel got.
set -eu
WANTED='2.06-13*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "grub-pc-bin=$WANTED" "grub-common=$WANTED" 'qemu-system-x86=1:7.2+dfsg-7*' nasm > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
export QEMU_MODULE_DIR="$dir/root/usr/lib/x86_64-linux-gnu/qemu"
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    program=$1
    shift
    timeout 100 "$loader" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > kernel.asm << 'ASM'
        org     0x200000
        bits    32
head:   dd      0xe85250d6, 0, head.end - head, -(0xe85250d6 + head.end - head)
        dw      2, 0                    ; addresses
        dd      24, head, head, 0, 0
        dw      3, 0                    ; entry
        dd      12, start, 0
        dw      0, 0
        dd      8
.end:
start:  mov     dx, 0xe9
        lea     esi, [ebx + 8]
.tag:   cmp     dword [esi], 1          ; the command line
        je      .line
        mov     eax, [esi + 4]
        add     eax, 7
        and     al, -8
        add     esi, eax
        jmp     .tag
.line:  add     esi, 8
.next:  outsb
        cmp     byte [esi], 0
        jne     .next
        mov     al, 10
        out     dx, al
        out     0xf4, al                ; ends QEMU
ASM
mkdir -p disk/boot/grub
run nasm -f bin -o disk/kernel kernel.asm

# start WORDS: the kernel, with them behind its name in grub.cfg.
start() {
    printf 'multiboot2 (memdisk)/kernel %s\nboot\n' "$1" > disk/boot/grub/grub.cfg
    tar -C disk -cf disk.tar .
    run grub-mkimage -O i386-pc -d root/usr/lib/grub/i386-pc -p '(memdisk)/boot/grub' -m disk.tar -o core.img memdisk tar biosdisk multiboot2 normal boot
    cat root/usr/lib/grub/i386-pc/boot.img core.img > disk.img
    truncate -s 4M disk.img
    run qemu-system-x86_64 -M pc -m 64 -nodefaults -vga std -display none -L root/usr/share/qemu -L root/usr/share/seabios -L root/usr/share/vgabios \
        -drive file=disk.img,format=raw -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 || true
    printf '%-12s %s\n' "$1" "$(cat out.txt)"
}

echo "GRUB, package $(basename archives/grub-pc-bin_*.deb)"
echo 'grub.cfg     kernel'
{
    start 'two words'
    start '"two words"'
    start "it\\'s"
    start '"it'"'"'s"'
    start "'{\"a\":1}'"
    start "'c:\\dir'"
} | tee lines
cmp -s lines - << 'EOF' || { echo "this has changed"; exit 1; }
two words    two words
"two words"  "two words"
it\'s        it\'s
"it's"       it\'s
'{"a":1}'    {\"a\":1}
'c:\dir'     c:\\dir
EOF

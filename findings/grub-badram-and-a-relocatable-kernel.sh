#!/bin/sh
# GRUB 2.06 on a PC BIOS (Debian 12: grub-pc-bin 2.06-13; 2.12-9 of Debian 13 does the same). badram
# tells GRUB that memory is damaged, and the memory map for the kernel then leaves it out. A multiboot2
# kernel with a relocatable tag may be loaded anywhere between the tag's limits, so we expected GRUB to
# choose memory that is in the map. It chooses the same place as without badram. A kernel with no
# preference is at 1 MB, in the middle of the damaged memory, and its map has no memory where it runs.
# The same happens with cutmem. The tag's limits have to leave the damaged memory out.
#
# The script starts a kernel that may be anywhere from 1 MB to 1 GB as it is, and after badram and cutmem
# for the second megabyte. The kernel prints its address and the ranges of available memory below 4 GB.
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
LINKED  equ     0x200000
        org     LINKED
        bits    32
head:   dd      0xe85250d6, 0, head.end - head, -(0xe85250d6 + head.end - head)
        dw      2, 0                    ; addresses
        dd      24, head, LINKED, 0, 0
        dw      3, 0                    ; entry
        dd      12, start, 0
        dw      10, 0                   ; relocatable: 1 MB to 1 GB, whole pages, no preference
        dd      24, 0x100000, 0x3fffffff, 0x1000, 0
        dw      0, 0
        dd      8
.end:
start:  call    .here
.here:  pop     ebp
        sub     ebp, .here - LINKED
        lea     esp, [ebp + 0x3000]
        mov     edx, ebp
        call    hex
        add     ebx, 8
.tag:   cmp     dword [ebx], 6          ; the memory map
        je      .map
        mov     eax, [ebx + 4]
        add     eax, 7
        and     al, -8
        add     ebx, eax
        jmp     .tag
.map:   mov     esi, [ebx + 4]
        add     esi, ebx
        add     ebx, 16
.entry: cmp     dword [ebx + 16], 1
        jne     .next
        cmp     dword [ebx + 4], 0
        jne     .next
        mov     al, ' '
        out     0xe9, al
        mov     edx, [ebx]
        call    hex
        mov     al, '-'
        out     0xe9, al
        mov     edx, [ebx]
        add     edx, [ebx + 8]
        dec     edx
        call    hex
.next:  add     ebx, 24
        cmp     ebx, esi
        jb      .entry
        mov     al, 10
        out     0xe9, al
        out     0xf4, al                ; ends QEMU

hex:    mov     ecx, 8
.digit: rol     edx, 4
        mov     al, dl
        and     al, 15
        cmp     al, 10
        sbb     al, 0x69
        das                             ; a hexadecimal digit
        or      al, 0x20
        out     0xe9, al
        loop    .digit
        ret
ASM
mkdir -p disk/boot/grub
run nasm -f bin -o disk/kernel kernel.asm

# start COMMAND: the kernel, after that command of GRUB's.
start() {
    printf '%s\nmultiboot2 (memdisk)/kernel\nboot\n' "$1" > disk/boot/grub/grub.cfg
    tar -C disk -cf disk.tar .
    run grub-mkimage -O i386-pc -d root/usr/lib/grub/i386-pc -p '(memdisk)/boot/grub' -m disk.tar -o core.img memdisk tar biosdisk multiboot2 mmap normal boot
    cat root/usr/lib/grub/i386-pc/boot.img core.img > disk.img
    truncate -s 4M disk.img
    run qemu-system-x86_64 -M pc -m 64 -nodefaults -vga std -display none -L root/usr/share/qemu -L root/usr/share/seabios -L root/usr/share/vgabios \
        -drive file=disk.img,format=raw -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 || true
    echo "${1:-as it is}: $(cat out.txt)"
}

echo "GRUB, package $(basename archives/grub-pc-bin_*.deb)"
echo "the kernel's address, available memory"
{
    start ''
    start 'badram 0x100000,0xfff00000'
    start 'cutmem 0x100000 0x200000'
} | tee lines
{
    grep -Eq '^as it is: 00100000 .* 00100000-' lines && grep -Eq '^badram .*: 00100000 .* 00200000-' lines && grep -Eq '^cutmem .*: 00100000 .* 00200000-' lines
} || { echo "this has changed"; exit 1; }

#!/bin/sh
# GRUB 2.06 on UEFI (Debian 12: grub-efi-amd64-bin 2.06-13, ovmf 2022.11-6). It puts multiboot2 modules
# as low as possible: with OVMF, which leaves most of the memory below 1 MB free, a module of 300 KB is
# from 0x1000 to 0x4bfff. On a PC BIOS the same GRUB starts at 1 MB, behind a kernel that is there, and
# we expected the same place. The specification (2.0) allows any. But kernels have their processors'
# start-up code below 1 MB, often at a fixed address such as 0x8000, and on UEFI they destroy the module
# with it. A kernel has to reserve its modules first, or move them away.
#
# The script starts the same kernel with a module of 300 KB by both. The kernel prints where the module
# is, and whether 0x8000 is in it.
set -eu
WANTED='2.06-13*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "grub-efi-amd64-bin=$WANTED" "grub-pc-bin=$WANTED" "grub-common=$WANTED" 'ovmf=2022.11-6*' \
    'qemu-system-x86=1:7.2+dfsg-7*' nasm > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
export QEMU_MODULE_DIR="$dir/root/usr/lib/x86_64-linux-gnu/qemu"
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    program=$1
    shift
    timeout 300 "$loader" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > kernel.asm << 'ASM'
        org     0x100000
        bits    32
head:   dd      0xe85250d6, 0, head.end - head, -(0xe85250d6 + head.end - head)
        dw      2, 0                    ; addresses
        dd      24, head, 0x100000, 0, 0
        dw      3, 0                    ; entry
        dd      12, start, 0
        dw      0, 0
        dd      8
.end:
start:  mov     esp, 0x200000
        add     ebx, 8
.tag:   cmp     dword [ebx], 3          ; a module
        je      .module
        mov     eax, [ebx + 4]
        add     eax, 7
        and     al, -8
        add     ebx, eax
        jmp     .tag
.module:
        mov     edx, [ebx + 8]
        call    hex
        mov     edx, [ebx + 12]
        dec     edx
        call    hex
        mov     al, 'n'
        cmp     dword [ebx + 8], 0x8000
        ja      .print
        cmp     dword [ebx + 12], 0x8000
        jbe     .print
        mov     al, 'y'
.print: out     0xe9, al
        out     0xf4, al                ; ends QEMU

hex:    mov     ecx, 8
.digit: rol     edx, 4
        mov     eax, edx
        and     eax, 15
        mov     al, [digits + eax]
        out     0xe9, al
        loop    .digit
        mov     al, ' '
        out     0xe9, al
        ret
digits: db      "0123456789abcdef"
ASM
mkdir -p disk/boot/grub esp/EFI/BOOT
run nasm -f bin -o disk/kernel kernel.asm
head -c 307200 /dev/zero > disk/module
printf 'multiboot2 (memdisk)/kernel\nmodule2 (memdisk)/module\nboot\n' > disk/boot/grub/grub.cfg
tar -C disk -cf disk.tar .
run grub-mkimage -O i386-pc -d root/usr/lib/grub/i386-pc -p '(memdisk)/boot/grub' -m disk.tar -o core.img memdisk tar biosdisk multiboot2 normal boot
cat root/usr/lib/grub/i386-pc/boot.img core.img > disk.img
truncate -s 4M disk.img
run grub-mkimage -O x86_64-efi -d root/usr/lib/grub/x86_64-efi -p '(memdisk)/boot/grub' -m disk.tar -o esp/EFI/BOOT/BOOTX64.EFI memdisk tar multiboot2 normal boot

# start NAME ARGUMENTS: of QEMU.
start() {
    name=$1
    shift
    run qemu-system-x86_64 -m 256 -nodefaults -vga std -display none -L root/usr/share/qemu -L root/usr/share/seabios -L root/usr/share/vgabios "$@" \
        -chardev file,id=out,path=out.txt -device isa-debugcon,iobase=0xe9,chardev=out -device isa-debug-exit,iobase=0xf4 || true
    echo "$name: $(cat out.txt)"
}
echo "GRUB, package $(basename archives/grub-efi-amd64-bin_*.deb); OVMF, package $(basename archives/ovmf_*.deb)"
echo "first and last byte of the module; is 0x8000 in it?"
{
    start BIOS -M pc -drive file=disk.img,format=raw
    start UEFI -M q35 -bios root/usr/share/ovmf/OVMF.fd -drive file=fat:rw:esp,format=raw
} | tee lines
grep -Eq '^BIOS: 001[0-9a-f]{5} .* n$' lines && grep -Eq '^UEFI: 0000[0-9a-f]{4} .* y$' lines || { echo "this has changed"; exit 1; }

#!/bin/sh
# OVMF 2022.11 in QEMU 7.2 (Debian 12: ovmf 2022.11-6, qemu-system-x86 1:7.2+dfsg-7). It routes the PCI
# interrupts of -M pc and q35 to IRQ 10 and 11 of the PIC and writes the line into each device's
# configuration, but leaves the ELCR, ports 0x4d0 and 0x4d1, at 0: edge-triggered. The data sheets of
# the PIIX3 and the ICH9 have software that routes a PIRQ to an IRQ make it level-triggered there, so we
# expected bits 10 and 11, as SeaBIOS sets them. A kernel that drives the PIC and trusts its firmware
# loses interrupts: two devices that share the line make one edge. It has to set the ELCR's bits for the
# lines that it finds in PCI configuration.
#
# GRUB starts the same kernel on both. The kernel prints the routing registers, the line of an e1000,
# and the ELCR.
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
        mov     eax, ROUTES             ; of four PIRQs
        call    read
        call    hex
        mov     eax, 0x8000183c         ; slot 3: interrupt line
        call    read
        movzx   edx, dl
        call    hex
        mov     dx, 0x4d1               ; ELCR
        in      al, dx
        mov     ah, al
        dec     edx
        in      al, dx
        movzx   edx, ax
        call    hex
        out     0xf4, al                ; ends QEMU

read:   mov     dx, 0xcf8
        out     dx, eax
        mov     dl, 0xfc
        in      eax, dx
        mov     edx, eax
        ret

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
printf 'multiboot2 (memdisk)/kernel\nboot\n' > disk/boot/grub/grub.cfg

# start MACHINE ROUTES: by both firmwares; ROUTES is the PCI address of the machine's routing registers.
start() {
    run nasm -f bin -D "ROUTES=$2" -o disk/kernel kernel.asm
    tar -C disk -cf disk.tar .
    run grub-mkimage -O i386-pc -d root/usr/lib/grub/i386-pc -p '(memdisk)/boot/grub' -m disk.tar -o core.img memdisk tar biosdisk multiboot2 normal boot
    cat root/usr/lib/grub/i386-pc/boot.img core.img > disk.img
    truncate -s 4M disk.img
    run grub-mkimage -O x86_64-efi -d root/usr/lib/grub/x86_64-efi -p '(memdisk)/boot/grub' -m disk.tar -o esp/EFI/BOOT/BOOTX64.EFI memdisk tar multiboot2 normal boot
    boot "$1, SeaBIOS" -M "$1" -drive file=disk.img,format=raw
    boot "$1, OVMF" -M "$1" -bios root/usr/share/ovmf/OVMF.fd -drive file=fat:rw:esp,format=raw
}
boot() {
    name=$1
    shift
    run qemu-system-x86_64 -m 256 -nodefaults -vga std -display none -L root/usr/share/qemu -L root/usr/share/seabios -L root/usr/share/vgabios "$@" \
        -netdev user,id=a -device e1000,netdev=a,addr=3,romfile= -chardev file,id=out,path=out.txt -device isa-debugcon,iobase=0xe9,chardev=out \
        -device isa-debug-exit,iobase=0xf4 || true
    echo "$name: $(cat out.txt)"
}
echo "OVMF, package $(basename archives/ovmf_*.deb); $(basename archives/qemu-system-x86_*.deb)"
echo "routes, line, ELCR"
{
    start pc 0x80000860
    start q35 0x8000f868
} | sed 's/ $//' | tee lines
cat > wanted << 'EOF'
pc, SeaBIOS: 0b0b0a0a 0000000b 00000c00
pc, OVMF: 0b0b0a0a 0000000b 00000000
q35, SeaBIOS: 0b0b0a0a 0000000b 00000c00
q35, OVMF: 0b0b0a0a 0000000b 00000000
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

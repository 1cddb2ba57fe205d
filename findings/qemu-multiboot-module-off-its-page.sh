#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). For -kernel with a multiboot
# header and -initrd, it puts the modules whole pages behind the kernel's load address. The multiboot
# specification (0.6.96, "The magic fields of Multiboot header") has bit 0 of the flags ask for modules on
# page boundaries. We expected that, as from GRUB. If the load address is no page boundary itself, neither
# is a module's address: a kernel that maps the module's pages finds its first byte somewhere in the first
# page, and one that checks what it has asked for stops. The load address, of an ELF file the lowest
# physical address, has to be a multiple of 4096.
#
# The script starts a kernel with bit 0 set and a module, at 0x100000 and at 0x100020. The kernel prints
# the module's address, and its first word.
set -eu
WANTED='1:7.2+dfsg-7*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "qemu-system-x86=$WANTED" nasm > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
export QEMU_MODULE_DIR="$dir/root/usr/lib/x86_64-linux-gnu/qemu"
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    program=$1
    shift
    timeout 100 "$loader" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > module.asm << 'ASM'
        org     LOAD
        bits    32
head:   dd      0x1badb002, 0x10001, -(0x1badb002 + 0x10001)
        dd      head, LOAD, 0, 0, start
start:  mov     esp, 0x90000
        mov     ebx, [ebx + 24]         ; the modules
        mov     edx, [ebx]
        mov     ebx, [edx]
        call    hex
        mov     edx, ebx
        call    hex
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
printf '\276\272\376\312' > word
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
for load in 0x100000 0x100020; do
    run nasm -f bin -DLOAD=$load -o kernel module.asm
    run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
        -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel kernel -initrd word || true
    echo "at $load: $(cat out.txt)"
done | tee lines
grep -q '^at 0x100000: 0010.000 cafebabe $' lines && grep -q '^at 0x100020: 0010.020 cafebabe $' lines || { echo "this has changed"; exit 1; }

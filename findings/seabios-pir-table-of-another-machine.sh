#!/bin/sh
# SeaBIOS 1.16.2 in QEMU 7.2 (Debian 12: seabios 1.16.2-1, qemu-system-x86 1:7.2+dfsg-7; 1.16.3 does the
# same). The PCI interrupt routing table, $PIR, is the same on every machine: it names a router at
# 00:01.0, compatible with Intel's PIIX, and the slots 1 to 6. On -M q35 there is no device at 00:01.0,
# the router is the ICH9 at 00:1f.0, and the slots' pins go to other inputs of it. On -M pc the slots 7 to
# 31 are missing. The PCI IRQ Routing Table Specification (1.0) has the table name the router and every
# slot, so we expected the machine's own. SeaBIOS does know the lines, and writes them into each device's
# configuration. A kernel without ACPI that goes by $PIR programs a router that does not exist, and finds
# no interrupt for its cards; on QEMU it has to trust the configuration's interrupt line.
#
# The script starts -M pc and -M q35 with cards in the slots 5 and 7. The program prints the router's
# device and function and what it is compatible with, by $PIR, and what is there; the slots that $PIR has;
# and the interrupt lines of slot 5 and 7.
set -eu
WANTED=1.16.2-1

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "seabios=$WANTED" 'qemu-system-x86=1:7.2+dfsg-7*' nasm > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
export QEMU_MODULE_DIR="$dir/root/usr/lib/x86_64-linux-gnu/qemu"
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    program=$1
    shift
    timeout 100 "$loader" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > pir.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000
        lgdt    [gdtr]
        jmp     8:.code
.code:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     esi, 0xf0000
.find:  cmp     dword [esi], '$PIR'
        je      .found
        add     esi, 16
        cmp     esi, 0x100000
        jb      .find
        out     0xf4, al                ; ends QEMU
.found: movzx   ebx, byte [esi + 9]     ; the router's device and function
        mov     edx, ebx
        call    hex
        mov     edx, [esi + 12]
        call    hex
        mov     eax, ebx
        shl     eax, 8
        call    config
        mov     edx, eax
        call    hex
        movzx   ebx, word [esi + 6]     ; the table's size
        add     ebx, esi
        add     esi, 32
.slot:  mov     al, [esi + 1]           ; device and function
        shr     al, 3
        add     al, '0'
        out     0xe9, al
        add     esi, 16
        cmp     esi, ebx
        jb      .slot
        mov     al, ' '
        out     0xe9, al
        mov     eax, 0x283c             ; slot 5: interrupt line and pin
        call    config
        movzx   edx, al
        call    hex
        mov     eax, 0x383c             ; slot 7
        call    config
        movzx   edx, al
        call    hex
        out     0xf4, al

config: or      eax, 0x80000000
        mov     dx, 0xcf8
        out     dx, eax
        mov     dl, 0xfc
        in      eax, dx
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
        align   8
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   dw      23
        dd      gdt
ASM
run nasm -f bin -o pir pir.asm
echo "SeaBIOS, package $(basename archives/seabios_*.deb)"
echo "router by \$PIR, compatible with, what is there, slots, lines of slot 5 and 7:"
for machine in pc q35; do
    run qemu-system-x86_64 -M $machine -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
        -device virtio-rng-pci,addr=5 -device virtio-rng-pci,addr=7 \
        -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel pir || true
    echo "$machine: $(cat out.txt)"
done | tee lines
printf '%s\n' 'pc: 00000008 122e8086 70008086 123456 0000000a 0000000b ' 'q35: 00000008 122e8086 ffffffff 123456 0000000a 0000000b ' | cmp -s - lines || { echo "this has changed"; exit 1; }

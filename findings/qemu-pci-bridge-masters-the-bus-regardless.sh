#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). The bus master bit of a PCI
# bridge changes nothing: a device behind the bridge reads and writes memory with the bridge's bit clear.
# The PCI-to-PCI Bridge Architecture Specification (1.2, "Command Register") has a bridge take no memory
# transaction from its secondary side while the bit is 0, so we expected DMA to stop, as it does when the
# device's own bit is cleared. Firmware and kernels clear the bit in bridges to have quiet while they hand
# over (Linux: efi=disable_early_pci_dma), or forget to set it again; here neither shows. A hypervisor
# cannot try that code in QEMU, and has to clear the devices' own bits.
#
# QEMU's edu device, behind a bridge, copies a word of memory into itself, and then back to another place
# three times: with both bits set, without the bridge's, and without its own. The program prints the
# command registers of bridge and device, and 1 if the word arrived.
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

cat > bridge.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
CELL    equ     0x200000
start:  mov     esp, 0x90000
        lgdt    [gdtr]
        jmp     8:.code
.code:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     eax, 0x80001818         ; the bridge is at slot 3: its secondary bus
        call    config
        mov     al, ah
        movzx   edi, al
        shl     edi, 16
        or      edi, 0x80000800         ; the device: slot 1 there
        lea     eax, [edi + 0x10]
        call    config
        mov     ebp, eax                ; its BAR 0
        mov     bl, 6                   ; memory, bus master
        mov     bh, 6
        call    commands
        mov     dword [CELL], 'word'
        mov     dword [ebp + 0x80], CELL        ; from there
        mov     dword [ebp + 0x88], 0x40000     ; into the device
        mov     dword [ebp + 0x90], 4           ; bytes
        mov     al, 1
        call    transfer
        call    back
        mov     bl, 2
        call    back
        mov     bl, 6
        mov     bh, 2
        call    back
        out     0xf4, al                ; ends QEMU

back:   call    commands
        mov     eax, 0x80001804
        call    config
        movzx   edx, al
        call    hex
        lea     eax, [edi + 4]
        call    config
        movzx   edx, al
        call    hex
        mov     dword [CELL + 4], 0
        mov     dword [ebp + 0x80], 0x40000
        mov     dword [ebp + 0x88], CELL + 4
        mov     dword [ebp + 0x90], 4
        mov     al, 3
        call    transfer
        xor     edx, edx
        cmp     dword [CELL + 4], 'word'
        sete    dl
        call    hex
        mov     al, 10
        out     0xe9, al
        ret

transfer:
        movzx   eax, al
        mov     [ebp + 0x98], eax
.wait:  test    dword [ebp + 0x98], 1   ; until it is done
        jnz     .wait
        ret

commands:                               ; BL for the bridge, BH for the device
        mov     eax, 0x80001804
        call    config
        mov     al, bl
        out     dx, al
        lea     eax, [edi + 4]
        call    config
        mov     al, bh
        out     dx, al
        ret

config: mov     dx, 0xcf8
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
run nasm -f bin -o bridge bridge.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 \
    -device pci-bridge,id=bridge,chassis_nr=1,addr=3 -device edu,bus=bridge,addr=1 -kernel bridge || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "commands of bridge and device, word arrived:"
sed 's/ $//' out.txt | tee lines
[ "$(paste -s -d ' ' lines)" = '00000006 00000006 00000001 00000002 00000006 00000001 00000006 00000002 00000000' ] || { echo "this has changed"; exit 1; }

#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7). Without RCTL.SECRC, which strips the CRC, e1000e
# puts the four bytes of a received frame's CRC into a descriptor of their own, even if the frame's
# buffer has room for them: a frame of 64 bytes in a buffer of 2048 is a descriptor with length 64 and
# no EOP, and a second one with length 4 and EOP. We expected one descriptor with length 68, as QEMU's
# e1000 gives it; the data sheet of the 82574 counts the CRC as part of the frame, and begins another
# buffer when one is full. A driver that gives each frame one buffer, and relies on EOP in each
# descriptor, drops every frame; the ring runs out twice as fast.
#
# The program asks QEMU's gateway for its address by ARP and prints DD and EOP (bits 0 and 1) and the
# length in the first two receive descriptors.
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

cat > crc.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
RX      equ     0x200000                ; eight descriptors, and at 0x201000 their buffers of 2048 bytes
start:  mov     esp, 0x90000
        mov     ebx, 0x80001800         ; PCI slot 3: e1000; 4: e1000e
.card:  mov     eax, ebx
        mov     al, 0x10                ; BAR 0
        call    config
        in      eax, dx
        and     al, 0xf0
        mov     ebp, eax
        mov     eax, ebx
        mov     al, 4                   ; command: memory, bus master
        call    config
        mov     al, 6
        out     dx, al
        mov     edi, RX
        mov     ecx, 32
        xor     eax, eax
        rep     stosd
        mov     eax, RX + 0x1000
.ring:  sub     edi, 16
        mov     [edi], eax
        add     eax, 2048
        cmp     edi, RX
        ja      .ring
        mov     [ebp + 0x2800], edi             ; RDBAL, RDLEN, RDT
        mov     dword [ebp + 0x2808], 128
        mov     dword [ebp + 0x2818], 7
        mov     dword [ebp + 0x3800], tx        ; TDBAL, TDLEN
        mov     dword [ebp + 0x3808], 128
        mov     dword [ebp + 0x400], 10         ; TCTL: EN, PSP
        mov     dword [ebp + 0x100], 0x800a     ; RCTL: EN, UPE, BAM; not SECRC
        mov     dword [ebp + 0x3818], 1         ; TDT
.wait:  in      al, 0x80
        test    byte [RX + 12], 1
        jz      .wait
        mov     ecx, 200000             ; the second descriptor
.more:  in      al, 0x80
        loop    .more
        mov     esi, RX
.show:  movzx   edx, byte [esi + 12]
        and     dl, 3
        call    hex
        movzx   edx, word [esi + 8]
        call    hex
        add     esi, 16
        cmp     esi, RX + 32
        jb      .show
        mov     al, 10
        out     0xe9, al
        add     bh, 8
        cmp     bh, 0x28
        jb      .card
        out     0xf4, al                ; ends QEMU

config: mov     dx, 0xcf8
        out     dx, eax
        mov     dl, 0xfc
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
        align   16
tx:     times 8 dd arp, 0, 0x0b00002a, 0        ; 42 bytes; EOP, IFCS, RS
arp:    db      -1, -1, -1, -1, -1, -1, 2, 0, 0, 0, 0, 1, 8, 6
        db      0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 1, 10, 0, 2, 15, 0, 0, 0, 0, 0, 0, 10, 0, 2, 2
ASM
run nasm -f bin -o crc crc.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -netdev user,id=a -device e1000,netdev=a,addr=3,romfile= -netdev user,id=b -device e1000e,netdev=b,addr=4,romfile= \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel crc || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "status and length, twice: e1000, e1000e"
cat out.txt
[ "$(cat out.txt)" = '00000003 00000044 00000000 00000000 
00000001 00000040 00000003 00000004 ' ] || { echo "this has changed"; exit 1; }

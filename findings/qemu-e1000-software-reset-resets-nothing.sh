#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7). CTRL.RST of e1000 and e1000e resets next to
# nothing: receiver, interrupt mask and rings stay as they were, and the bit reads 0 at once. (e1000e
# takes back its own address.) The data sheets of the 82540EM and the 82574 have the bit reset the
# whole card except its PCI configuration, so we expected RCTL, IMS and RDBAL to be 0 afterwards. A
# driver that takes a card over from an earlier one, and starts with a reset, has a receiver that
# still writes into the earlier driver's memory, and interrupts that it did not enable. Writing RCTL,
# TCTL and IMC first helps.
#
# The program enables the receiver of both cards, resets them, and prints the registers before and after.
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

cat > reset.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000
        mov     ebx, 0x80001800         ; PCI slot 3: e1000; 4: e1000e
.card:  mov     eax, ebx
        mov     al, 0x10                ; BAR 0
        call    config
        in      eax, dx
        and     al, 0xf0
        mov     edi, eax
        mov     eax, ebx
        mov     al, 4                   ; command: memory, bus master
        call    config
        mov     al, 6
        out     dx, al
        mov     dword [edi + 0xd0], 0x80        ; IMS: RXT0
        mov     dword [edi + 0x2800], 0x200000  ; RDBAL
        mov     dword [edi + 0x100], 0x8002     ; RCTL: EN, BAM
        call    line
        or      dword [edi], 1 << 26    ; CTRL.RST
        mov     ecx, 100000
.wait:  in      al, 0x80
        loop    .wait
        call    line
        add     bh, 8
        cmp     bh, 0x28
        jb      .card
        out     0xf4, al                ; ends QEMU

config: mov     dx, 0xcf8
        out     dx, eax
        mov     dl, 0xfc
        ret

line:   mov     edx, [edi]
        shr     edx, 26
        and     edx, 1
        call    hex
        mov     edx, [edi + 0x100]
        call    hex
        mov     edx, [edi + 0xd0]
        call    hex
        mov     edx, [edi + 0x2800]
        call    hex
        mov     al, 10
        out     0xe9, al
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
run nasm -f bin -o reset reset.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -netdev user,id=a -device e1000,netdev=a,addr=3,romfile= -netdev user,id=b -device e1000e,netdev=b,addr=4,romfile= \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel reset || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "CTRL.RST, RCTL, IMS, RDBAL: e1000 before and after, e1000e before and after"
tee lines < out.txt
[ "$(sort -u lines)" = '00000000 00008002 00000080 00200000 ' ] && [ "$(wc -l < lines)" = 4 ] || { echo "this has changed"; exit 1; }

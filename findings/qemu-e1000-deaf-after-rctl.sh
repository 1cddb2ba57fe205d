#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7). e1000 receives nothing for one second after each
# write to RCTL, even if the receiver was on and the write changes nothing. Frames wait in the backend
# meanwhile. We expected a write to RCTL to take effect at once, as with QEMU's e1000e; the data sheet
# of the 82540EM mentions no pause. A driver that switches promiscuous mode while it works is deaf for
# a second each time. A driver should write RCTL once, as the last step of its start.
#
# The program asks QEMU's gateway for its address by ARP until an answer takes less than half a
# second, writes RCTL as it was, and asks again. It prints the milliseconds that the last answer before
# the write took, and those from the write to the next answer, by the ACPI timer.
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

cat > rctl.asm << 'ASM'
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
        mov     dword [ebp + 0x100], 0x800a     ; RCTL: EN, UPE, BAM
.slow:  call    ask
        cmp     eax, 500
        jae     .slow
        mov     edx, eax
        call    hex
        call    now
        mov     dword [ebp + 0x100], 0x800a     ; RCTL as it was
        call    answer
        mov     edx, eax
        call    hex
        mov     al, 10
        out     0xe9, al
        add     bh, 8
        cmp     bh, 0x28
        jb      .card
        out     0xf4, al                ; ends QEMU

now:    mov     dx, 0x608               ; PM timer: 24 bits at 3.58 MHz
        in      eax, dx
        mov     edi, eax
        ret

; Asks, and gives the milliseconds from now, or from EDI, to the next frame received.
ask:    call    now
answer: mov     esi, [ebp + 0x2810]     ; RDH
        lea     ecx, [esi - 1]          ; RDT: all the others are free
        and     ecx, 7
        mov     [ebp + 0x2818], ecx
        mov     eax, [ebp + 0x3818]     ; TDT
        inc     eax
        and     eax, 7
        mov     [ebp + 0x3818], eax
.none:  in      eax, dx
        cmp     [ebp + 0x2810], esi
        je      .none
        sub     eax, edi
        and     eax, 0xffffff
        xor     edx, edx
        mov     ecx, 3580
        div     ecx
        ret

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
run nasm -f bin -o rctl rctl.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -netdev user,id=a -device e1000,netdev=a,addr=3,romfile= -netdev user,id=b -device e1000e,netdev=b,addr=4,romfile= \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel rctl || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "milliseconds before and after the write (hexadecimal): e1000, e1000e"
cat out.txt
set -- $(cat out.txt)
[ $# = 4 ] && [ $((0x$2)) -ge 990 ] || { echo "this has changed"; exit 1; }

#!/bin/sh
# Bochs 2.7 (Debian 12: bochs 2.7+dfsg-4; 3.0 does the same). A level-triggered entry of its I/O APIC
# interrupts once when its line rises. The data sheet of the 82093AA sets the entry's bit 14, Remote
# IRR, when the local APIC takes the interrupt, clears it at the EOI, and requests again if the line is
# still up. We expected an interrupt after each EOI until the device is served, as in QEMU. In Bochs
# Remote IRR is always 0 and nothing follows. If two devices share the line, and the handler serves one
# while the other has a request, the other waits for ever. A handler has to go round its devices until
# none has a request; masking and unmasking the entry requests once more.
#
# The line is the timer's, at pin 2, and stays up, since nobody serves it. The program unmasks the
# entry, prints Remote IRR, enables interrupts, and prints how many came until there was no other for
# 5000 port reads, or 5 at most. Then it masks the entry, unmasks it, and counts again.
set -eu
WANTED='2.7+dfsg-4*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "bochs=$WANTED" nasm libslirp0 > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
run() {
    program=$1
    shift
    libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
    timeout 300 "$(find root -name 'ld-linux-x86-64.so.2' | head -1)" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > level.asm << 'ASM'
IDT     equ     0x10000
APIC    equ     0xfee00000
IOAPIC  equ     0xfec00000
        org     0x7c00
        bits    16
        xor     ax, ax
        mov     ds, ax
        cli
        lgdt    [gdtr]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     8:start

        bits    32
start:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     esp, 0x7000
        mov     dword [IDT + 0x50 * 8], 0x80000 + handler
        mov     dword [IDT + 0x50 * 8 + 4], 0x8e00
        lidt    [idtr]
        mov     al, 0xff                ; the PIC: nothing
        out     0x21, al
        mov     dword [APIC + 0xf0], 0x1ff
        mov     eax, 0x18050            ; masked, level, to APIC 0
        call    entry
        mov     al, 0x30                ; the timer: up after 100 clocks
        out     0x43, al
        mov     al, 100
        out     0x40, al
        mov     al, 0
        out     0x40, al
        call    pause
        mov     eax, 0x8050
        call    entry
        call    pause
        mov     eax, [IOAPIC + 0x10]
        shr     eax, 14
        and     al, 1
        call    digit
        call    count
        mov     eax, 0x18050
        call    entry
        mov     eax, 0x8050
        call    entry
        call    count
        mov     al, 10
        out     0xe9, al
        mov     dx, 0x8900              ; ends Bochs
        mov     esi, bye
        mov     ecx, 8
        rep     outsb
        hlt

count:  xor     ebx, ebx
        sti
        call    pause
        cli
        mov     al, bl
digit:  add     al, '0'
        out     0xe9, al
        mov     al, ' '
        out     0xe9, al
        ret

pause:  mov     ecx, 5000
.more:  in      al, 0x80
        loop    .more
        ret

entry:  mov     dword [IOAPIC], 0x14
        mov     [IOAPIC + 0x10], eax
        ret

handler:
        mov     ecx, 5000               ; starts the pause again
        inc     ebx
        cmp     ebx, 5
        jb      .eoi
        and     byte [esp + 9], ~2      ; enough: returns with interrupts off
        mov     ecx, 1
.eoi:   mov     dword [APIC + 0xb0], 0
        iret

bye:    db      "Shutdown"
        align   8
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   dw      23
        dd      gdt
idtr:   dw      0x7ff
        dd      IDT
        times   510 - ($ - $$) db 0
        dw      0xaa55
ASM
run nasm -f bin -o level.img level.asm
truncate -s 1474560 level.img
cat > bochsrc << EOF
cpu: model=corei7_skylake_x, count=1, ips=20000000, reset_on_triple_fault=0
memory: guest=32, host=32
romimage: file=root/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=root/usr/share/bochs/VGABIOS-lgpl-latest
floppya: 1_44=level.img, status=inserted
boot: floppy
port_e9_hack: enabled=1
plugin_ctrl: unmapped=1
display_library: rfb, options="timeout=0"
log: bochs.log
panic: action=fatal
sound: driver=dummy
EOF
echo c > rc
LTDL_LIBRARY_PATH=root/usr/lib/x86_64-linux-gnu/bochs/plugins run bochs-bin -q -f bochsrc -rc rc > out.txt 2>&1 || true
echo "Bochs, package $(basename archives/bochs_*.deb)"
line=$(grep -ax '[0-9] [0-9] [0-9] ' out.txt | tail -n 1)
echo "Remote IRR, interrupts, interrupts after masking and unmasking: $line"
[ "$line" = '0 1 1 ' ] || { echo "this has changed"; exit 1; }

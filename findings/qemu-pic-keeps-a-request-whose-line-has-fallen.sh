#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). Its PIC keeps a request whose
# edge-triggered line has fallen again. The data sheet of the 8259A wants the line to stay high until
# the processor's first acknowledge; when it falls earlier, the request is gone, and the acknowledge
# gives the vector of IR7 without setting bit 7 in service. We expected this spurious interrupt, which
# Bochs 2.7 delivers. QEMU delivers IRQ 0 as if nothing had happened. So code for spurious interrupts is
# never tried here, and a driver that withdraws its card's interrupt in time gets it in QEMU only.
#
# With interrupts off the program lets the timer's output rise, prints the output and the request
# register, lets the output fall, prints both again, and enables interrupts. Then it prints the IR whose
# vector came, and the in-service register.
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

cat > fallen.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
IDT     equ     0x200000
start:  mov     esp, 0x90000
        lgdt    [gdtr]
        jmp     8:.code
.code:  mov     edi, IDT + 0x40 * 8
        mov     eax, ir0
        call    gate
        mov     edi, IDT + 0x47 * 8
        mov     eax, ir7
        call    gate
        lidt    [idtr]
        mov     al, 0x11                ; the PIC: edges, vectors from 0x40, IR0 only
        out     0x20, al
        mov     al, 0x40
        out     0x21, al
        mov     al, 4
        out     0x21, al
        mov     al, 1
        out     0x21, al
        mov     al, 0xfe
        out     0x21, al
        mov     al, 100                 ; the timer: in a moment
        call    count
        mov     ecx, 200000
.wait:  in      al, 0x80
        loop    .wait
        call    state
        mov     al, -1                  ; later
        call    count
        call    state
        mov     edx, -1
        sti
        nop
        cli
        call    hex
        mov     al, 0x0b                ; in service
        call    register
        out     0xf4, al                ; ends QEMU

count:  mov     ah, al                  ; mode 0: low, until the count is over
        mov     al, 0x30
        out     0x43, al
        mov     al, ah
        out     0x40, al
        sar     al, 7
        out     0x40, al
        ret

state:  mov     al, 0xe2                ; the output, in the status of counter 0
        out     0x43, al
        in      al, 0x40
        shr     al, 7
        movzx   edx, al
        call    hex
        mov     al, 0x0a                ; requests
register:
        out     0x20, al
        in      al, 0x20
        movzx   edx, al
        jmp     hex

gate:   mov     [edi], ax
        mov     word [edi + 2], 8
        shr     eax, 16
        mov     [edi + 6], ax
        mov     word [edi + 4], 0x8e00
        ret
ir0:    mov     edx, 0
        iret
ir7:    mov     edx, 7
        iret

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
gdt:    dq      0, 0x00cf9b000000ffff
gdtr:   dw      15
        dd      gdt
idtr:   dw      0x7ff
        dd      IDT
ASM
run nasm -f bin -o fallen fallen.asm
run qemu-system-x86_64 -M pc -m 64 -icount 0 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel fallen || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "output and requests, both when the output has fallen, IR, in service"
echo "$(cat out.txt)"
[ "$(cat out.txt)" = '00000001 00000001 00000000 00000001 00000000 00000001 ' ] || { echo "this has changed"; exit 1; }

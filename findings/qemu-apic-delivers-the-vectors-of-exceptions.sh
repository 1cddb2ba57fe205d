#!/bin/sh
# QEMU 7.2 without KVM (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). The local APIC
# accepts an interrupt with a vector below 16 and delivers it, like an exception without an error code.
# SDM volume 3 ("Valid Interrupt Vectors", "Error Handling") reserves these vectors: the APIC that sends
# or receives one sets "illegal vector" in its error status register, and delivers nothing. So we expected
# that, and Bochs 2.7 does it. A kernel that leaves 0 to 15 in a device's MSI or in the APIC's own table
# gets a #BR or a #TS out of nowhere here, and a handler that takes an error code from the stack returns
# to the wrong place. On a processor the interrupt is missing instead, and the error register says why.
#
# The program sends itself the vectors 32, 15 and 5, enables interrupts, and prints the error status and
# the vector that came (ffffffff: none).
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

cat > vector.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
APIC    equ     0xfee00000
IDT     equ     0x200000
start:  mov     esp, 0x90000
        lgdt    [gdtr]
        jmp     8:.code
.code:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     al, 0xff                ; nothing from the PIC
        out     0x21, al
        out     0xa1, al
        mov     edi, IDT
        mov     esi, entries - $$
        mov     ecx, 33
.gate:  mov     [edi], si
        mov     word [edi + 2], 8
        mov     dword [edi + 4], 0x108e00       ; the program is at 0x100000
        add     edi, 8
        add     esi, 8
        loop    .gate
        lidt    [idtr]
        mov     dword [APIC + 0xf0], 0x1ff      ; enabled
        mov     ebx, 32
        call    send
        mov     ebx, 15
        call    send
        mov     ebx, 5
        call    send
        out     0xf4, al                ; ends QEMU

send:   mov     ebp, -1
        mov     dword [APIC + 0x280], 0 ; errors so far
        or      ebx, 0x44000            ; to itself
        mov     [APIC + 0x300], ebx
        mov     dword [APIC + 0x280], 0
        mov     edx, [APIC + 0x280]
        call    hex
        sti
        mov     ecx, 1000
.wait:  in      al, 0x80                ; anything that exits
        loop    .wait
        cli
        mov     edx, ebp
        jmp     hex

came:   pop     ebp
        mov     dword [APIC + 0xb0], 0  ; EOI
        iret

        align   8
entries:
%assign vector 0
%rep 33
        push    byte vector
        jmp     near came
        align   8
%assign vector vector + 1
%endrep

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
idtr:   dw      33 * 8 - 1
        dd      IDT
ASM
run nasm -f bin -o vector vector.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel vector || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "error status and vector; 32, 15, 5: $(cat out.txt)"
[ "$(cat out.txt)" = '00000000 00000020 00000000 0000000f 00000000 00000005 ' ] || { echo "this has changed"; exit 1; }

#!/bin/sh
# QEMU 7.2 without KVM (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). LDMXCSR and FXRSTOR
# load MXCSR with reserved bits, and STMXCSR gives them back. SDM volume 1 ("MXCSR Control and Status
# Register") reserves the bits 16 to 31 and raises #GP for an attempt to set one; software has to mask the
# value with the MXCSR_MASK that FXSAVE stores. QEMU stores a mask of 0xffff, so we expected #GP, as in
# Bochs 2.7. A debugger or a kernel that restores a value which a program gave it, and forgets the mask,
# passes all tests here.
#
# The program prints MXCSR_MASK, loads MXCSR with bit 16 by LDMXCSR and with bit 31 by FXRSTOR, and prints
# MXCSR after each. #GP would be printed as 13 (hexadecimal: d).
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

cat > mxcsr.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
AREA    equ     0x200000
IDT     equ     0x201000
start:  mov     esp, 0x90000
        lgdt    [gdtr]
        jmp     8:.code
.code:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     word [IDT + 13 * 8], general - $$
        mov     word [IDT + 13 * 8 + 2], 8
        mov     dword [IDT + 13 * 8 + 4], 0x108e00      ; the program is at 0x100000
        lidt    [idtr]
        mov     eax, 0x200              ; OSFXSR
        mov     cr4, eax
        fxsave  [AREA]
        mov     edx, [AREA + 28]
        call    hex
        mov     esi, .second            ; where to go on behind #GP
        mov     dword [AREA + 512], 0x11f80
        ldmxcsr [AREA + 512]
.second:
        call    show
        mov     esi, .end
        mov     dword [AREA + 24], 0x80001f80
        fxrstor [AREA]
.end:   call    show
        out     0xf4, al                ; ends QEMU

show:   stmxcsr [AREA + 512]
        mov     edx, [AREA + 512]
        jmp     hex

general:
        add     esp, 4
        mov     edx, 13
        call    hex
        mov     [esp], esi
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
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   dw      23
        dd      gdt
idtr:   dw      14 * 8 - 1
        dd      IDT
ASM
run nasm -f bin -o mxcsr mxcsr.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel mxcsr || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "MXCSR_MASK, MXCSR by LDMXCSR, by FXRSTOR: $(cat out.txt)"
[ "$(cat out.txt)" = '0000ffff 00011f80 80001f80 ' ] || { echo "this has changed"; exit 1; }

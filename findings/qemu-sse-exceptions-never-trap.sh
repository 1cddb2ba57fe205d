#!/bin/sh
# QEMU 7.2 without KVM (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). A floating-point
# exception of SSE never traps. SDM volume 1 ("SIMD Floating-Point Exceptions") has #XM, vector 19, if
# the exception's mask in MXCSR is 0 and CR4.OSXMMEXCPT is 1, so we expected it for a division by zero.
# QEMU sets the flag in MXCSR, stores infinity, as if the exception were masked, and goes on. x87's
# exceptions do trap. A program that unmasks exceptions to find where its figures go wrong finds nothing
# here, and a kernel's handler for #XM is never tried. Such code has to look at the flags in MXCSR.
#
# The program divides 1 by 0 with the exception unmasked, by x87 and by SSE. It prints the vector that
# came (ffffffff: none), and for SSE what MXCSR and the result are afterwards.
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

cat > divide.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
IDT     equ     0x200000
start:  mov     esp, 0x90000
        lgdt    [gdtr]
        jmp     8:.code
.code:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     edi, IDT + 16 * 8       ; gates for #MF and #XM
        mov     eax, math
        call    gate
        mov     edi, IDT + 19 * 8
        mov     eax, simd
        call    gate
        lidt    [idtr]
        mov     eax, cr4
        or      eax, 0x600              ; OSFXSR, OSXMMEXCPT
        mov     cr4, eax
        mov     eax, cr0
        and     al, ~12                 ; neither EM nor TS
        or      al, 0x22                ; NE, MP
        mov     cr0, eax

        mov     dword [next], .sse
        fninit
        fldcw   [control]
        fld1
        fldz
        fdivp
        fwait
        mov     edx, -1
        jmp     show
.sse:   mov     dword [next], .end
        ldmxcsr [csr]
        movss   xmm0, [one]
        xorps   xmm1, xmm1
        divss   xmm0, xmm1
        mov     edx, -1
        jmp     show
.end:   stmxcsr [csr]
        mov     edx, [csr]
        call    hex
        movd    edx, xmm0
        call    hex
        out     0xf4, al                ; ends QEMU

gate:   mov     [edi], ax
        mov     word [edi + 2], 8
        shr     eax, 16
        mov     [edi + 6], ax
        mov     word [edi + 4], 0x8e00
        ret

math:   mov     edx, 16
        jmp     show
simd:   mov     edx, 19
show:   mov     esp, 0x90000
        call    hex
        jmp     [next]

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
next:   dd      0
one:    dd      1.0
csr:    dd      0x1d80                  ; all masked but division by zero
control:
        dw      0x037b
        align   8
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   dw      23
        dd      gdt
idtr:   dw      255
        dd      IDT
ASM
run nasm -f bin -o divide divide.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel divide || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "x87: vector; SSE: vector, MXCSR (bit 2: division by zero), result (7f800000: infinity)"
echo "$(cat out.txt)"
[ "$(cat out.txt)" = '00000010 ffffffff 00001d84 7f800000 ' ] || { echo "this has changed"; exit 1; }

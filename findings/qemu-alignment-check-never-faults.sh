#!/bin/sh
# QEMU 7.2 without KVM (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). #AC for an access
# that is not aligned never comes. Both switches can be set and read as 1: AM in CR0 and AC in EFLAGS.
# SDM volume 3 ("Alignment Check Exception") has vector 17 for such an access at CPL 3, so we expected
# it for a word at an odd address. QEMU reads the word. A program that a developer runs with AC set, to
# prove that it only makes aligned accesses, passes here and ends with the first one on a real
# processor, and a kernel's handler for #AC is never tried.
#
# The program goes to CPL 3 with AC set, reads an odd word and executes INT 18. It prints AM, AC as read
# at CPL 3, and the vector that came: 17 or 18 (hexadecimal: 11 or 12).
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

cat > align.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
IDT     equ     0x200000
start:  mov     esp, 0x90000
        lgdt    [gdtr]
        jmp     8:.code
.code:  mov     eax, 0x23
        mov     ds, eax
        mov     eax, 16
        mov     ss, eax
        mov     eax, 0x28
        ltr     ax
        mov     edi, IDT + 17 * 8       ; gates for #AC and INT 18
        mov     eax, alignment
        call    gate
        mov     edi, IDT + 18 * 8
        mov     eax, interrupt
        call    gate
        lidt    [idtr]
        mov     eax, cr0
        or      eax, 0x40000            ; AM
        mov     cr0, eax
        mov     edx, cr0
        shr     edx, 18
        and     edx, 1
        call    hex
        push    0x23                    ; to CPL 3
        push    0x80000
        push    0x40002                 ; AC
        push    0x1b
        push    .user
        iret
.user:  pushf
        pop     esi
        mov     ax, [odd]
        int     18

gate:   mov     [edi], ax
        mov     word [edi + 2], 8
        shr     eax, 16
        mov     [edi + 6], ax
        mov     word [edi + 4], 0xee00
        ret

alignment:
        mov     ebx, 17
        jmp     show
interrupt:
        mov     ebx, 18
show:   mov     edx, esi
        shr     edx, 18
        and     edx, 1
        call    hex
        mov     edx, ebx
        call    hex
        out     0xf4, al                ; ends QEMU

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
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff
        dw      103, tss - $$, 0x8910, 0  ; its base is above 0x100000
gdtr:   dw      47
        dd      gdt
idtr:   dw      255
        dd      IDT
        align   8
        db      0
odd:    dw      0
        align   8
tss:    dd      0, 0x90000, 16
        times   23 dd 0
ASM
run nasm -f bin -o align align.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel align || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "AM, AC, vector: $(cat out.txt)"
[ "$(cat out.txt)" = '00000001 00000001 00000012 ' ] || { echo "this has changed"; exit 1; }

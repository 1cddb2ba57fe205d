#!/bin/sh
# QEMU 7.2 without KVM (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). The error code of a
# page fault for a reserved bit in a page table entry has RSVD, bit 3, but not P, bit 0: 8 for a read. SDM
# volume 3 ("Page-Fault Exceptions") says that RSVD can be set only if P is, as reserved bits are not
# checked in entries that are not present. So we expected 9, which Bochs 2.7 gives. With P clear a kernel
# takes the page for one that has to be brought in, finds that it is there, and faults again; a hypervisor
# that uses reserved bits to mark emulated devices must look at RSVD before P.
#
# With PAE paging the program reads a page whose entry is 0, reads one whose entry has bit 51, above the
# processor's 40 bits of address, writes it, and writes a read-only page. It prints the four error codes.
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

cat > reserved.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
IDT     equ     0x180000
PDPT    equ     0x201000
PD      equ     0x202000
PT      equ     0x203000
start:  mov     esp, 0x90000
        lgdt    [gdtr]
        jmp     8:.code
.code:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     edi, PDPT
        mov     ecx, 0x3000 / 4
        xor     eax, eax
        rep     stosd
        mov     word [IDT + 14 * 8], fault - $$
        mov     word [IDT + 14 * 8 + 2], 8
        mov     dword [IDT + 14 * 8 + 4], 0x108e00     ; the program is at 0x100000
        lidt    [idtr]
        mov     dword [PDPT], PD + 1
        mov     dword [PD], 0x83                ; 2 MB of identity
        mov     dword [PD + 8], PT + 3          ; 0x200000
        mov     dword [PT + 8], 0x100003
        mov     byte [PT + 14], 8               ; bit 51
        mov     dword [PT + 16], 0x100001       ; read-only
        mov     eax, PDPT
        mov     cr3, eax
        mov     eax, 0x20               ; PAE
        mov     cr4, eax
        mov     eax, 0x80010011         ; PG, WP, PE
        mov     cr0, eax
        mov     esi, .second            ; where to go on behind the fault
        mov     eax, [0x200000]
.second:
        mov     esi, .third
        mov     eax, [0x201000]
.third: mov     esi, .fourth
        mov     [0x201000], eax
.fourth:
        mov     esi, .end
        mov     [0x202000], eax
.end:   out     0xf4, al                ; ends QEMU

fault:  pop     edx
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
idtr:   dw      15 * 8 - 1
        dd      IDT
ASM
run nasm -f bin -o reserved reserved.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel reserved || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "error codes: missing, reserved bit, reserved bit written, read-only written: $(cat out.txt)"
[ "$(cat out.txt)" = '00000000 00000008 0000000a 00000003 ' ] || { echo "this has changed"; exit 1; }

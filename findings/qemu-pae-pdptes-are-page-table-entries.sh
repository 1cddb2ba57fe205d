#!/bin/sh
# QEMU 7.2 without KVM (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). With PAE paging (32
# bits) it reads the four page-directory-pointer entries at each page walk, as if they were one more
# level, and sets "accessed", bit 5, in them. SDM volume 3 ("PDPTE Registers") has the processor load them
# at MOV to CR3 or CR0, with #GP if a reserved bit is set in one that is present, and use its own copies
# until the next load. Bit 5 is such a reserved bit, so we expected the entries to stay as they were, a
# change to have no effect before CR3 is loaded, and #GP for a reserved bit, as in Bochs 2.7. A kernel
# that forgets to load CR3 behind a change works here, and not on a processor. One that copies its entries
# into another table copies bit 5 too, which the processor refuses.
#
# The program prints its first entry before and after paging is on. It adds the second entry, without
# loading CR3, and prints what it reads through it. Then it sets bit 1 in it and loads CR3. Vectors of
# exceptions would be printed too.
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

cat > pae.asm << 'ASM'
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
        mov     word [IDT + 14 * 8], page - $$
        mov     word [IDT + 14 * 8 + 2], 8
        mov     dword [IDT + 14 * 8 + 4], 0x108e00     ; the program is at 0x100000
        lidt    [idtr]
        mov     word [IDT + 13 * 8], general - $$
        mov     word [IDT + 13 * 8 + 2], 8
        mov     dword [IDT + 13 * 8 + 4], 0x108e00     ; the program is at 0x100000
        mov     dword [PDPT], PD + 1
        mov     dword [PD], 0x83                ; 2 MB of identity
        mov     dword [PD + 8], 0x200083
        mov     edx, [PDPT]
        call    hex
        mov     eax, PDPT
        mov     cr3, eax
        mov     eax, 0x20               ; PAE
        mov     cr4, eax
        mov     eax, 0x80000011         ; PG, PE
        mov     cr0, eax
        mov     edx, [PDPT]
        call    hex
        mov     dword [PDPT + 8], PD + 1        ; 0x40000000 is 0
        invlpg  [0x40100000]
        mov     esi, .copies            ; where to go on behind a fault
        mov     edx, [0x40100000]
        call    hex
.copies:
        or      byte [PDPT + 8], 2
        mov     esi, .end
        mov     eax, PDPT
        mov     cr3, eax
        mov     edx, [0x40100000]
        call    hex
.end:   out     0xf4, al                ; ends QEMU

page:   mov     edx, 14
        jmp     vector
general:
        mov     edx, 13
vector: add     esp, 4
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
run nasm -f bin -o pae pae.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel pae || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "entry before and after, memory through the new entry, through a reserved bit: $(cat out.txt)"
[ "$(cat out.txt)" = '00202001 00202021 1badb002 1badb002 ' ] || { echo "this has changed"; exit 1; }

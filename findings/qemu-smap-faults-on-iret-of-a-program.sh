#!/bin/sh
# QEMU 7.2 without KVM (Debian 12: qemu-system-x86 1:7.2+dfsg-7). With CR4.SMAP set, an IRET that a program
# executes at CPL 3, to CPL 3, raises #PF, with the error code of a read by the kernel (bit 2 clear).
# QEMU reads the stack with the kernel's rights, to which SMAP forbids a program's pages. SDM volume 3
# ("Determination of Access Rights") counts accesses at CPL 3 as the program's, so we expected IRET to
# succeed, as it does without SMAP. Programs rarely execute IRET, but kernels that a hypervisor runs
# at CPL 3, such as Xen's PV guests on 64-bit processors, do. Their handlers find nothing wrong with
# the page. With a CPU model without SMAP they run.
#
# The program goes to CPL 3 and executes IRET there, without and with SMAP. It prints 0 if the instruction
# behind was reached, else the error code of #PF.
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

cat > iret.asm << 'ASM'
PD      equ     0x200000                ; the first 4 MB are the kernel's, the next the program's
CODE    equ     0x400000
STACK   equ     0x500000
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000
        lgdt    [gdtr]
        lidt    [idtr]
        jmp     8:.here
.here:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     al, 40
        ltr     ax
        mov     esi, program
        mov     edi, CODE
        mov     ecx, program_end - program
        rep     movsb
        mov     edi, PD
        mov     ecx, 1024
        xor     eax, eax
        rep     stosd
        mov     dword [PD], 0x83
        mov     dword [PD + 4], CODE | 0x87
        mov     eax, PD
        mov     cr3, eax
        mov     ebx, 0x10               ; CR4: PSE
next:   mov     cr4, ebx
        mov     eax, cr0
        or      eax, 1 << 31
        mov     cr0, eax
        mov     esp, 0x90000
        push    dword 35                ; to the program, at CPL 3
        push    dword STACK
        push    dword 2
        push    dword 27
        push    dword CODE
        iret

fault:  pop     eax
        jmp     print
call:   xor     eax, eax
print:  and     eax, 15
        mov     al, [digits + eax]
        out     0xe9, al
        bts     ebx, 21                 ; CR4: SMAP
        jnc     next
        out     0xf4, al                ; ends QEMU

program:
        pushf
        push    cs
        push    dword CODE + (.behind - program)
        iret
.behind:
        int     15
program_end:

digits: db      "0123456789abcdef"
        align   8
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff, 0x00cffb000000ffff, 0x00cff3000000ffff
        dw      103, tss - $$, 0x8910, 0
gdtr:   dw      47
        dd      gdt
idt:    times 14 dq 0
        dw      fault - $$, 8, 0x8e00, 0x10
        dw      call - $$, 8, 0xee00, 0x10
idtr:   dw      127
        dd      idt
tss:    dd      0, 0x90000, 16
        times 23 dd 0
ASM
run nasm -f bin -o iret iret.asm
run qemu-system-x86_64 -M pc -cpu qemu64,+smap -m 64 -nodefaults -display none -no-reboot -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel iret || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "IRET at CPL 3 without and with SMAP (0: good, else #PF's error code): $(cat out.txt)"
[ "$(cat out.txt)" = 01 ] || { echo "this has changed"; exit 1; }

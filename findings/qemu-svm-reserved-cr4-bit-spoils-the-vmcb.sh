#!/bin/sh
# QEMU 7.2 without KVM (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). With AMD-V, a guest
# that sets a reserved bit of CR4 leaves with VMEXIT_INVALID. AMD's manual (volume 3, "MOV CRn") raises
# #GP for a reserved bit, and has VMEXIT_INVALID (volume 2, "Canonicalization and Consistency Checks") for
# VMRUN alone, when the VMCB is wrong. We expected #GP in the guest, as Bochs 2.7 raises it, if the
# hypervisor does not intercept CR4. KVM takes VMEXIT_INVALID for a refused entry and ends the guest,
# where the kernel only tried a feature and was ready for #GP. A hypervisor has to intercept writes to CR4
# and check the bits itself.
#
# The guest counts, writes CR4, first with a bit that exists (PSE) and then with bit 31, and executes
# VMMCALL (exit 0x81). #GP is intercepted (exit 0x4d). The program prints the exit, the guest's count, and
# its CR4.
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

cat > cr4.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
VMCB    equ     0x200000
SAVE    equ     0x201000
IDT     equ     0
start:  mov     esp, 0x90000
        lgdt    [gdtr]
        jmp     8:.code
.code:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     ecx, 0xc0000080         ; EFER: SVME
        rdmsr
        or      eax, 0x1000
        wrmsr
        mov     ecx, 0xc0010117         ; the host save area
        mov     eax, SAVE
        xor     edx, edx
        wrmsr
        mov     esi, 0x10
        call    enter
        mov     esi, 0x80000000
        call    enter
        out     0xf4, al                ; ends QEMU

guest:  inc     ebx
        mov     cr4, esi
        vmmcall

enter:  call    vmcb
        mov     byte [VMCB + 9], 0x20   ; intercept exception 13
        mov     dword [VMCB + 0x578], guest
        mov     eax, VMCB
        xor     ebx, ebx
        clgi
        vmrun
        stgi
        mov     edx, [VMCB + 0x70]      ; the exit's code
        call    hex
        mov     edx, ebx
        call    hex
        mov     edx, [VMCB + 0x548]     ; CR4
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

vmcb:   mov     edi, VMCB               ; a guest with flat segments and no paging
        mov     ecx, 0x400
        xor     eax, eax
        rep     stosd
        mov     byte [VMCB + 0x10], 3   ; VMRUN and VMMCALL exit
        mov     byte [VMCB + 0x58], 1   ; the ASID
        mov     edi, VMCB + 0x400
        mov     ecx, 4
.segment:
        mov     dword [edi], 0x0c930010
        mov     dword [edi + 4], -1
        add     edi, 16
        loop    .segment
        mov     dword [VMCB + 0x410], 0x0c9b0008
        mov     word [VMCB + 0x464], 23
        mov     dword [VMCB + 0x468], gdt
        mov     word [VMCB + 0x484], 0x41 * 8 - 1
        mov     dword [VMCB + 0x488], IDT
        mov     byte [VMCB + 0x4d1], 0x10       ; EFER: SVME
        mov     byte [VMCB + 0x558], 0x11       ; CR0
        mov     word [VMCB + 0x560], 0x400      ; DR7
        mov     dword [VMCB + 0x568], 0xffff0ff0
        mov     byte [VMCB + 0x570], 2          ; RFLAGS
        mov     dword [VMCB + 0x5d8], 0x80000   ; RSP
        ret
        align   8
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   dw      23
        dd      gdt
ASM
run nasm -f bin -o cr4 cr4.asm
run qemu-system-x86_64 -M pc -cpu qemu64,+svm -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel cr4 || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "exit, count, CR4; for PSE, for bit 31: $(cat out.txt)"
[ "$(cat out.txt)" = '00000081 00000001 00000010 ffffffff 00000001 00000000 ' ] || { echo "this has changed"; exit 1; }

#!/bin/sh
# QEMU 7.2 without KVM (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). With AMD-V, VMRUN
# takes the guest's privilege level from the DPL in SS's attributes and ignores the VMCB's field CPL.
# AMD's manual (volume 2, "Segment State in the VMCB") says the contrary: the level comes from CPL, and
# SS's DPL is not among the attributes that the processor observes. So we expected the field to decide, as
# it does in Bochs 2.7. A hypervisor that moves its guest to another level, or builds the state of a new
# one, and sets CPL only, has it on the wrong level here. It has to set both.
#
# The guest is HLT, which exits (0x78) at level 0 and is #GP (intercepted, exit 0x4d) at level 3. The
# program enters it with CPL 3 and DPL 0, and with CPL 0 and DPL 3. It prints the exit, and CPL as the
# exit stored it.
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

cat > cpl.asm << 'ASM'
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
        call    vmcb
        mov     byte [VMCB + 0x4cb], 3  ; CPL
        or      byte [VMCB + 0x412], 0x60       ; CS: DPL 3, as AMD's manual wants it
        or      byte [VMCB + 0x410], 3
        call    enter
        call    vmcb
        or      byte [VMCB + 0x422], 0x60       ; SS: DPL 3
        call    enter
        out     0xf4, al                ; ends QEMU

guest:  hlt

enter:  mov     byte [VMCB + 9], 0x20   ; intercept exception 13
        mov     byte [VMCB + 0xf], 1    ; and HLT
        mov     dword [VMCB + 0x578], guest
        mov     eax, VMCB
        clgi
        vmrun
        stgi
        mov     edx, [VMCB + 0x70]      ; the exit's code
        call    hex
        movzx   edx, byte [VMCB + 0x4cb]
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
run nasm -f bin -o cpl cpl.asm
run qemu-system-x86_64 -M pc -cpu qemu64,+svm -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel cpl || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "exit and CPL; CPL 3 with DPL 0, CPL 0 with DPL 3: $(cat out.txt)"
[ "$(cat out.txt)" = '00000078 00000000 0000004d 00000003 ' ] || { echo "this has changed"; exit 1; }

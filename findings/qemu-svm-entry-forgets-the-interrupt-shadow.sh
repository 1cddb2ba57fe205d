#!/bin/sh
# QEMU 7.2 without KVM (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 is right). With AMD-V, the exit
# stores into the VMCB whether the guest is in an interrupt shadow, which lasts one instruction after STI,
# but VMRUN does not read it. AMD's manual (volume 2, "Interrupt Shadows") has it saved at the exit and
# loaded by VMRUN, so we expected a waiting virtual interrupt to let that one instruction pass. QEMU
# delivers it at once. A kernel's idle loop is STI and HLT: if the hypervisor has to bring in the page
# that HLT is on, the interrupt then comes before HLT, and the kernel sleeps although its work has
# arrived. A hypervisor has to hold back virtual interrupts itself while the shadow is set.
#
# The guest is CPUID behind STI, which exits, and then increments EBX and executes VMMCALL. The program
# prints the shadow that the exit of CPUID stored. Then it moves RIP behind CPUID and enters with a
# virtual interrupt, without the shadow and with it, and prints EBX as the interrupt's handler found it.
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

cat > shadow.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
VMCB    equ     0x200000
SAVE    equ     0x201000
IDT     equ     0x202000
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
        mov     edi, IDT                ; every vector of the guest's goes to its handler
        mov     ecx, 0x41
.gate:  mov     word [edi], handler - $$
        mov     word [edi + 2], 8
        mov     dword [edi + 4], 0x108e00       ; the program is at 0x100000
        add     edi, 8
        loop    .gate
        call    vmcb
        mov     byte [VMCB + 0xe], 4    ; CPUID exits
        mov     dword [VMCB + 0x578], guest
        call    enter
        mov     edx, [VMCB + 0x68]
        call    hex
        xor     esi, esi
        call    interrupt
        mov     esi, 1
        call    interrupt
        out     0xf4, al                ; ends QEMU

guest:  sti
        cpuid
.next:  inc     ebx
        vmmcall
handler:
        vmmcall

interrupt:
        call    vmcb
        mov     dword [VMCB + 0x60], 0x010f0100 ; a virtual interrupt waits, at priority 15
        mov     byte [VMCB + 0x64], 0x40        ; its vector
        mov     [VMCB + 0x68], esi              ; the shadow
        mov     byte [VMCB + 0x571], 2          ; IF
        mov     dword [VMCB + 0x578], guest.next
        call    enter
        cmp     dword [VMCB + 0x578], handler
        jne     .end
        mov     edx, ebx
        jmp     hex
.end:   mov     al, '!'
        out     0xe9, al
        ret

enter:  mov     eax, VMCB
        xor     ebx, ebx
        clgi
        vmrun
        stgi
        ret

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
run nasm -f bin -o shadow shadow.asm
run qemu-system-x86_64 -M pc -cpu qemu64,+svm -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel shadow || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "shadow at the exit, instructions before the interrupt without it and with it: $(cat out.txt)"
[ "$(cat out.txt)" = '00000001 00000000 00000000 ' ] || { echo "this has changed"; exit 1; }

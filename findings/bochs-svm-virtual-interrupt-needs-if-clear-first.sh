#!/bin/sh
# Bochs 2.7 (Debian 12: bochs 2.7+dfsg-4; 3.0 does the same). With AMD-V, a virtual interrupt (V_IRQ in
# the VMCB) does not come to a guest that is entered with IF=1. AMD's manual (volume 2, "Injecting Virtual
# (INTR) Interrupts") delivers it if IF is 1, whenever that was set, so we expected it before the first
# instruction, as QEMU does. In Bochs it waits until the guest changes IF: a program that never does so
# runs on undisturbed, and the intercept of virtual interrupts (VINTR) stays silent too. A hypervisor that
# sets V_IRQ while its guest is ready for interrupts has to inject the vector by EVENTINJ here, and to
# leave V_IRQ for a guest with IF=0.
#
# The guest counts to 1000, which the interrupt's handler ends. It is entered with IF=0 and executes STI
# first; with IF=1; with IF=1 and the VINTR intercept; and with IF=1, and executes CLI and STI after 100.
# The program prints the exit (0x81: VMMCALL, of the handler or behind 1000; VINTR would be 0x64) and the
# count.
set -eu
WANTED='2.7+dfsg-4*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "bochs=$WANTED" nasm libslirp0 > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
run() {
    program=$1
    shift
    libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
    timeout 300 "$(find root -name 'ld-linux-x86-64.so.2' | head -1)" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > virq.asm << 'ASM'
VMCB    equ     0x10000
SAVE    equ     0x11000
IDT     equ     0x12000
        org     0x7c00
        bits    16
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, 0x7c00
        mov     ax, 0x0203              ; the rest of this program
        mov     bx, rest
        mov     cx, 2
        xor     dx, dx
        int     0x13
        cli
        lgdt    [gdtr]
        mov     eax, cr0
        or      al, 1
        mov     cr0, eax
        jmp     8:start
        align   8
gdt:    dq      0, 0x00cf9b000000ffff, 0x00cf93000000ffff
gdtr:   dw      23
        dd      gdt
        times   510 - ($ - $$) db 0
        dw      0xaa55

        bits    32
rest:
start:  mov     eax, 16
        mov     ds, eax
        mov     es, eax
        mov     ss, eax
        mov     esp, 0x7000
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
.gate:  mov     word [edi], handler
        mov     word [edi + 2], 8
        mov     dword [edi + 4], 0x8e00
        add     edi, 8
        loop    .gate
        mov     eax, closed
        xor     esi, esi
        xor     ebp, ebp
        call    enter
        mov     eax, count
        mov     esi, 2                  ; IF
        call    enter
        mov     ebp, 0x10               ; VINTR
        call    enter
        mov     eax, change
        xor     ebp, ebp
        call    enter
end:    mov     al, 10
        out     0xe9, al
        mov     dx, 0x8900              ; ends Bochs
        mov     esi, bye
        mov     ecx, 8
        rep     outsb
        hlt
bye:    db      "Shutdown"

closed: sti
count:  inc     ebx
        cmp     ebx, 1000
        jb      count
        vmmcall
change: inc     ebx
        cmp     ebx, 100
        jb      change
        cli
        sti
        jmp     count
handler:
        vmmcall

enter:  push    eax
        call    vmcb
        pop     eax
        mov     [VMCB + 0x578], eax     ; RIP
        push    eax
        mov     eax, esi
        mov     [VMCB + 0x571], al      ; IF
        mov     eax, ebp
        or      [VMCB + 0xc], al
        mov     dword [VMCB + 0x60], 0x010f0100 ; V_IRQ, at priority 15
        mov     byte [VMCB + 0x64], 0x40        ; its vector
        xor     ebx, ebx
        mov     eax, VMCB
        clgi
        vmrun
        stgi
        mov     edx, [VMCB + 0x70]      ; the exit's code
        call    hex
        mov     edx, ebx
        call    hex
        pop     eax
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
        mov     dword [VMCB + 0x5d8], 0x6000   ; RSP
        ret
        times   2048 - ($ - $$) db 0
ASM
run nasm -f bin -o virq.img virq.asm
truncate -s 1474560 virq.img
cat > bochsrc << EOF
cpu: model=ryzen, count=1, ips=20000000, reset_on_triple_fault=0
memory: guest=32, host=32
romimage: file=root/usr/share/bochs/BIOS-bochs-latest, options=fastboot
vgaromimage: file=root/usr/share/bochs/VGABIOS-lgpl-latest
floppya: 1_44=virq.img, status=inserted
boot: floppy
port_e9_hack: enabled=1
plugin_ctrl: unmapped=1
display_library: rfb, options="timeout=0"
log: bochs.log
panic: action=fatal
sound: driver=dummy
EOF
echo c > rc
LTDL_LIBRARY_PATH=root/usr/lib/x86_64-linux-gnu/bochs/plugins run bochs-bin -q -f bochsrc -rc rc > out.txt 2>&1 || true
echo "Bochs, package $(basename archives/bochs_*.deb)"
exits=$(grep -axE '([0-9a-f]{8} ){8}' out.txt | tail -n 1)
echo "exit and count; STI first, IF=1, IF=1 with VINTR, CLI and STI later: $exits"
[ "$exits" = '00000081 00000001 00000081 000003e8 00000081 000003e8 00000081 00000064 ' ] || { echo "this has changed"; exit 1; }

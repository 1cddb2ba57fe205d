#!/bin/sh
# QEMU 7.2, -M microvm (Debian 12: qemu-system-x86 1:7.2+dfsg-7). Its MADT has no interrupt source
# override, and ACPI says that ISA interrupts without one are identity-mapped: the PIT's IRQ 0 would be
# at pin 0 of the first I/O APIC, as we expected. It is at pin 2, as on -M pc, whose MADT says so in an
# override. A kernel that follows the tables waits for its timer in vain; it has to try pin 2 as well.
#
# The program prints how many overrides the MADT has, gives each pin a vector of its own (0x40 + pin),
# starts the PIT, and prints the vectors that the local APIC has requested (IRR 0x40 to 0x5f).
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

cat > pins.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000
        mov     edi, 0xe0000 - 1
.scan:  inc     edi                     ; a MADT is in one of two places: here, or below the end of memory
        cmp     edi, 0x100000
        jne     .look
        mov     edi, 0x3f00000
.look:  cmp     edi, 0x4000000 - 64
        jae     .none
        cmp     dword [edi], 'APIC'
        jne     .scan
        mov     ecx, [edi + 4]          ; its length
        cmp     ecx, 44
        jb      .scan
        cmp     ecx, 0x1000
        ja      .scan
        xor     eax, eax                ; its sum is 0
.sum:   add     al, [edi + ecx - 1]
        loop    .sum
        test    al, al
        jnz     .scan
        mov     ebx, edi
        add     ebx, [edi + 4]
        add     edi, 44
        xor     edx, edx
.entry: cmp     byte [edi], 2           ; interrupt source override
        jne     .other
        inc     edx
.other: movzx   eax, byte [edi + 1]
        add     edi, eax
        cmp     edi, ebx
        jb      .entry
        call    hex
        mov     ecx, 0x1b               ; the local APIC, by both enable bits
        rdmsr
        or      ah, 8
        wrmsr
        mov     dword [0xfee000f0], 0x1ff
        mov     dword [0xfee00350], 0x10000     ; LINT0: nothing from the PIC
        mov     ebx, 0x17
.pin:   lea     eax, [ebx * 2 + 0x11]
        mov     [0xfec00000], eax
        mov     dword [0xfec00010], 0
        dec     eax
        mov     [0xfec00000], eax
        lea     edx, [ebx + 0x40]       ; edge, fixed, to APIC 0
        mov     [0xfec00010], edx
        dec     ebx
        jns     .pin
        mov     al, 0x34                ; PIT: mode 2, 65536
        out     0x43, al
        xor     eax, eax
        out     0x40, al
        out     0x40, al
        mov     ecx, 3000000
.wait:  in      al, 0x80
        test    dword [0xfee00220], -1
        loopz   .wait
        mov     edx, [0xfee00220]
        call    hex
.none:  out     0xf4, al                ; ends QEMU

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
ASM
run nasm -f bin -o pins pins.asm
for machine in pc microvm; do
    run qemu-system-x86_64 -M $machine -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
        -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel pins || true
    echo "$machine: $(cat out.txt)"
done > lines
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "overrides in the MADT, requested vectors (bit 2 is pin 2):"
cat lines
grep -q '^pc: 0000000[1-9] 00000004 $' lines && grep -q '^microvm: 00000000 00000004 $' lines || { echo "this has changed"; exit 1; }

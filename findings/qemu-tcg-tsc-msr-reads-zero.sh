#!/bin/sh
# QEMU 7.2 without KVM (Debian 12: qemu-system-x86 1:7.2+dfsg-7). CPUID shows a time-stamp counter and
# MSRs, and RDTSC counts. But RDMSR of IA32_TIME_STAMP_COUNTER (0x10) always gives 0, and WRMSR to it
# changes nothing. Neither raises an exception. We expected RDMSR to give what RDTSC gives and WRMSR
# to set it, as SDM volume 3 ("Time-Stamp Counter") says. A kernel that reads or aligns its cores'
# counters by the MSR sees a clock that stands still. A hypervisor that runs in this QEMU (AMD-V) has
# to intercept the MSR: the TSC offset in the VMCB has no effect on it.
#
# The program prints CPUID's two bits, whether RDTSC counts (ffffffff), what the MSR holds, and whether
# RDTSC went back (ffffffff) when 0 was written to the MSR.
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

cat > tsc.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000
        mov     eax, 1
        cpuid
        shr     edx, 4
        and     edx, 3
        call    hex
        rdtsc                           ; bits 8 to 39 are enough
        shrd    eax, edx, 8
        mov     esi, eax
        mov     ecx, 100000
.wait:  in      al, 0x80
        loop    .wait
        rdtsc
        shrd    eax, edx, 8
        cmp     esi, eax
        mov     esi, eax
        sbb     edx, edx                ; counts: ffffffff
        call    hex
        mov     ecx, 0x10
        rdmsr
        or      edx, eax
        call    hex
        mov     ecx, 0x10
        xor     eax, eax
        xor     edx, edx
        wrmsr
        rdtsc
        shrd    eax, edx, 8
        cmp     eax, esi
        sbb     edx, edx                ; went back: ffffffff
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
ASM
run nasm -f bin -o tsc tsc.asm
for cpu in qemu64 max; do
    run qemu-system-x86_64 -M pc -cpu $cpu -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
        -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel tsc || true
    echo "$cpu: $(cat out.txt)"
done > lines
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
cat lines
[ "$(grep -c ': 00000003 ffffffff 00000000 00000000 $' lines)" = 2 ] || { echo "this has changed"; exit 1; }

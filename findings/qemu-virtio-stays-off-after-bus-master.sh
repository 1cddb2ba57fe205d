#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7). Clearing the bus master bit of a virtio PCI device
# takes DRIVER_OK out of its device status, and setting the bit again does not bring DRIVER_OK back.
# The device then works no more until its driver writes DRIVER_OK once more; the queues are still
# as they were. We expected the status to change only when the driver writes it (virtio 1.1, 2.1: the
# driver sets the bits) or when the device sets DEVICE_NEEDS_RESET, and the bus master bit to hold
# back DMA for a while, as with other PCI devices. A driver, a boot loader or a hypervisor that takes
# the bit away and gives it back, or sets it later than DRIVER_OK, has a card that stays silent.
#
# The program drives virtio-rng to DRIVER_OK and prints its status as it is, without the bit, and with
# the bit again.
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

cat > virtio.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000
        mov     bl, 6                   ; memory, bus master
        call    command
        mov     eax, 0x80001820         ; PCI slot 3: BAR 4
        call    config
        in      eax, dx
        and     al, 0xf0
        mov     ebp, eax                ; the common configuration is at its start
        mov     byte [ebp + 20], 0      ; device_status: reset
        mov     byte [ebp + 20], 1      ; ACKNOWLEDGE
        mov     byte [ebp + 20], 3      ; DRIVER
        mov     dword [ebp + 8], 1      ; driver_feature: VERSION_1 only
        mov     dword [ebp + 12], 1
        mov     byte [ebp + 20], 11     ; FEATURES_OK
        mov     byte [ebp + 20], 15     ; DRIVER_OK
        call    status
        mov     bl, 2
        call    command
        call    status
        mov     bl, 6
        call    command
        call    status
        mov     byte [ebp + 20], 15
        call    status
        out     0xf4, al                ; ends QEMU

command:
        mov     eax, 0x80001804
        call    config
        mov     al, bl
        out     dx, al
        ret

config: mov     dx, 0xcf8
        out     dx, eax
        mov     dl, 0xfc
        ret

status: movzx   eax, byte [ebp + 20]
        mov     al, [digits + eax]
        out     0xe9, al
        ret
digits: db      "0123456789abcdef"
ASM
run nasm -f bin -o virtio virtio.asm
run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
    -device virtio-rng-pci,addr=3 -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel virtio || true
echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
echo "device status (4 is DRIVER_OK) at DRIVER_OK, without bus master, with it again, DRIVER_OK written again: $(cat out.txt)"
[ "$(cat out.txt)" = fbbf ] || { echo "this has changed"; exit 1; }

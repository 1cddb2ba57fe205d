#!/bin/sh
# QEMU 7.2 (Debian 12: qemu-system-x86 1:7.2+dfsg-7; 10.0 does the same). -nic is the short form of
# -netdev and -device, but a virtio-net-pci that it makes has no MSI-X. The property "vectors" is 0
# then, where -device leaves it to the card, which takes 4 for one pair of queues. We expected the same
# card from both. A driver gets one shared, level-triggered interrupt, whose status register it has to
# read each time, and one that needs MSI-X refuses the card. An e1000e has MSI-X either way.
#
# The program prints the ids of the PCI capabilities of a card made by each (9: virtio's structures, 11:
# MSI-X; 1, 5 and 10 are power management, MSI and PCI Express).
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

cat > capabilities.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000
        mov     bl, 0x34                ; slot 2: the first capability
.next:  call    read
        movzx   ebx, al
        test    bl, bl
        jz      .end
        call    read
        mov     ah, al
        shr     al, 4
        call    digit
        mov     al, ah
        call    digit
        mov     al, ' '
        out     0xe9, al
        inc     ebx
        jmp     .next
.end:   out     0xf4, al                ; ends QEMU

read:   mov     eax, 0x80001000
        mov     al, bl
        and     al, 0xfc
        mov     dx, 0xcf8
        out     dx, eax
        mov     dl, bl
        and     dl, 3
        or      dl, 0xfc
        in      al, dx
        ret

digit:  push    eax
        and     eax, 15
        mov     al, [digits + eax]
        out     0xe9, al
        pop     eax
        ret
digits: db      "0123456789abcdef"
ASM
run nasm -f bin -o capabilities capabilities.asm

# card MODEL OPTIONS...
card() {
    model=$1
    shift
    run qemu-system-x86_64 -M pc -m 64 -nodefaults -display none -L root/usr/share/qemu -L root/usr/share/seabios \
        -global "$model.romfile=" "$@" -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 -kernel capabilities || true
    echo "$model, $1: $(sort_words < out.txt)"
}
sort_words() { tr ' ' '\n' | sed '/^$/d' | sort | tr '\n' ' '; }

echo "QEMU, package $(basename archives/qemu-system-x86_*.deb)"
for model in virtio-net-pci e1000e; do
    card $model -device $model,netdev=a,addr=2 -netdev user,id=a
    card $model -nic user,model=$model
done | tee lines
cat > wanted << 'END'
virtio-net-pci, -device: 09 09 09 09 09 11 
virtio-net-pci, -nic: 09 09 09 09 09 
e1000e, -device: 01 05 10 11 
e1000e, -nic: 01 05 10 11 
END
cmp -s lines wanted || { echo "this has changed"; exit 1; }

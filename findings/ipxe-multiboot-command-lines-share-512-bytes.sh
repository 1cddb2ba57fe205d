#!/bin/sh
# iPXE 1.0.0 (Debian 12: ipxe 1.0.0+git-20190125.36a4c85-5.1). It keeps the command lines of a multiboot
# kernel and all its modules, each with the file's URL in front, in one buffer of 512 bytes. When that
# is full, it cuts off the rest without a word and starts the kernel: the kernel loses its last
# options, and every module gets an empty line. We expected an error, or the whole lines, as GRUB
# passes them; the multiboot specification (0.6.96) has no limit. Whether Xen's dom0 gets all its options
# then depends on the length of the server's name. All lines together, URLs included, have to stay below
# 512 bytes.
#
# iPXE gets a kernel and a module from QEMU's TFTP server, with 20 and with 40 options of 16 bytes each.
# The script prints the length and the last word of the kernel's line, and the module's line.
set -eu
WANTED='1.0.0+git-20190125.36a4c85-5.1*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "ipxe=$WANTED" 'qemu-system-x86=1:7.2+dfsg-7*' nasm > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
export QEMU_MODULE_DIR="$dir/root/usr/lib/x86_64-linux-gnu/qemu"
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    program=$1
    shift
    timeout 300 "$loader" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > kernel.asm << 'ASM'
        org     0x100000
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      0x100000, 0x100000, 0, 0, start         ; multiboot: where it is loaded
start:  mov     esp, 0x90000
        mov     esi, [ebx + 16]         ; the command line
        call    line
        mov     esi, [ebx + 24]         ; the first module's
        mov     esi, [esi + 8]
        call    line
        out     0xf4, al                ; ends QEMU

line:   lodsb
        test    al, al
        jz      .end
        out     0xe9, al
        jmp     line
.end:   mov     al, 10
        out     0xe9, al
        ret
ASM
mkdir tftp
run nasm -f bin -o tftp/kernel kernel.asm
echo data > tftp/module

# start OPTIONS: the kernel with so many options.
start() {
    {
        printf '#!ipxe\n:again\nimgfree\ndhcp || goto again\nkernel tftp://10.0.2.2/kernel'
        for i in $(seq "$1"); do printf ' option%02d=value%d' "$i" $((i % 10)); done
        printf ' || goto again\nmodule tftp://10.0.2.2/module the first module || goto again\nboot\n'
    } > script
    run qemu-system-x86_64 -M pc -m 256 -nodefaults -vga std -display none -L root/usr/share/qemu -L root/usr/share/seabios -L root/usr/share/vgabios \
        -netdev user,id=a,tftp=tftp -device virtio-net,netdev=a,romfile= -kernel root/boot/ipxe.lkrn -initrd script \
        -debugcon file:out.txt -device isa-debug-exit,iobase=0xf4 || true
    sed -n 1p out.txt | awk '{ print "kernel, '"$1"' options:", length($0), "bytes, the last word: " $NF }'
    sed -n 2p out.txt | awk '{ print "module: \"" $0 "\"" }'
}

echo "iPXE, package $(basename archives/ipxe_*.deb)"
for options in 20 40; do start "$options"; done | tee lines
cat > wanted << 'EOF'
kernel, 20 options: 342 bytes, the last word: option20=value0
module: "tftp://10.0.2.2/module the first module"
kernel, 40 options: 511 bytes, the last word: option31
module: ""
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

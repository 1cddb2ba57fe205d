#!/bin/sh
# Xen 4.17 (Debian 12: xen-hypervisor-4.17-amd64 4.17.7). It takes the first word of its multiboot
# command line for the name of its file and drops it, unless the boot loader's name says GRUB 2. We
# expected a command line to mean the same whoever passes it: the multiboot specification (0.6.96)
# leaves its format to the system, and asks loaders for control of it independent of the file's name.
# From a loader that passes only the arguments, as GRUB 2 does, Xen loses the first one without a word.
# Such a loader has to put a name before them, or call itself GRUB 2.
#
# A small loader, itself a multiboot kernel, starts Xen with the same command line under two names. The
# script prints what Xen says of both, and then ends it; no domain is started.
set -eu
WANTED='4.17.*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "xen-hypervisor-4.17-amd64=$WANTED" 'qemu-system-x86=1:7.2+dfsg-7*' nasm > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
export QEMU_MODULE_DIR="$dir/root/usr/lib/x86_64-linux-gnu/qemu"
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    program=$1
    shift
    timeout 100 "$loader" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > loader.asm << 'ASM'
LOADER  equ     0x4000000               ; above Xen; QEMU puts the module, Xen's ELF file, behind it
        org     LOADER
        bits    32
        dd      0x1badb002, 0x10000, -(0x1badb002 + 0x10000)
        dd      LOADER, LOADER, 0, 0, start
start:  or      dword [ebx], 0x204      ; a command line and a loader's name
        mov     dword [ebx + 16], line
        mov     dword [ebx + 64], name
        mov     ebp, [ebx + 24]         ; the first module
        mov     ebp, [ebp]
        mov     edx, [ebp + 28]         ; program headers, and how many
        add     edx, ebp
        movzx   eax, word [ebp + 44]
        cld
.part:  cmp     dword [edx], 1          ; PT_LOAD
        jne     .next
        mov     esi, [edx + 4]
        add     esi, ebp
        mov     edi, [edx + 12]
        mov     ecx, [edx + 16]
        push    ecx
        rep     movsb
        mov     ecx, [edx + 20]
        pop     esi
        sub     ecx, esi
        push    eax
        xor     eax, eax
        rep     stosb
        pop     eax
.next:  add     edx, 32
        dec     eax
        jnz     .part
        mov     eax, 0x2badb002
        jmp     [ebp + 24]
line:   db      "loglvl=all console=com1 com1=115200", 0
name:   db      NAME, 0
ASM
gzip -dc root/boot/xen-4.17-amd64.gz > xen
echo "Xen, package $(basename archives/xen-hypervisor-4.17-amd64_*.deb)"
for name in 'GRUB 2.06' 'our loader'; do
    run nasm -f bin -D "NAME='$name'" -o loader loader.asm
    : > out.txt
    timeout 100 "$loader" --library-path "$libraries" root/usr/bin/qemu-system-x86_64 -M pc -m 256 -nodefaults -display none \
        -no-reboot -L root/usr/share/qemu -L root/usr/share/seabios -serial file:out.txt -kernel loader -initrd xen &
    pid=$!
    tries=0
    until grep -aq 'Command line: .*com1' out.txt || [ $tries = 90 ]; do
        sleep 1
        tries=$((tries + 1))
    done
    kill $pid || true
    wait $pid 2> ended.txt || true
    grep -aE 'Bootloader:|Command line:' out.txt | tr -d '\r' | tee -a lines
done
grep -q 'Command line: loglvl=all console=com1' lines && grep -q 'Command line: console=com1' lines || { echo "this has changed"; exit 1; }

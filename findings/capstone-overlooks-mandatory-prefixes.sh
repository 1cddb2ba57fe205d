#!/bin/sh
# Capstone 4.0.2 (Debian 12: libcapstone4 4.0.2-5). Some instructions differ from an older one only in a
# prefix of 66, F2 or F3. For those that came later Capstone names the older one, as if the prefix were
# for nothing: RDPID is "rdseed", PTWRITE "xsave", TPAUSE, UMONITOR and UMWAIT are "mfence", WBNOINVD is
# "wbinvd". It decodes other instructions that it does not know as no instruction at all, and we
# expected that for these too. A tracer or an emulator on top of it takes the processor's number for a
# random one, and a wait for a barrier. It has to look at the prefix and the opcode itself. Capstone
# 5.0.7 knows most of them, but shows CLUI as "rdpkru".
#
# GNU as assembles each instruction, objdump and Capstone read it.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q -o APT::Sandbox::User=root download 'libcapstone4=4.0.2-5*' 'python3-capstone=4.0.2-5*' 'binutils-x86-64-linux-gnu=2.40-2*' 'binutils-common=2.40-2*' \
    'libbinutils=2.40-2*' 'libctf0=2.40-2*' 'libctf-nobfd0=2.40-2*' 'libgprofng0=2.40-2*' libjansson4 > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
export LD_LIBRARY_PATH="$dir/root/usr/lib/x86_64-linux-gnu" PYTHONPATH="$dir/root/usr/lib/python3/dist-packages"

cat > list.s << 'EOF'
        .intel_syntax noprefix
        rdpid   rax
        ptwrite dword ptr [rax]
        clrssbsy qword ptr [rax]
        incsspd eax
        tpause  eax
        umonitor rax
        umwait  eax
        wbnoinvd
        serialize
EOF
root/usr/bin/x86_64-linux-gnu-as -o list.o list.s
root/usr/bin/x86_64-linux-gnu-objdump -d -M intel --no-addresses list.o | grep -P '^\t' > objdump.txt
cat > read.py << 'EOF'
import capstone

reader = capstone.Cs(capstone.CS_ARCH_X86, capstone.CS_MODE_64)
print("Capstone", ".".join(map(str, capstone.cs_version()[:2])))
for line in open("objdump.txt"):
    code, name = line.strip().split("\t")
    one = next(reader.disasm(bytes.fromhex(code), 0), None)
    print(f"{code.strip()}: {name.split()[0]}, Capstone {one.mnemonic if one else 'none'}")
EOF
echo "packages $(basename libcapstone4_*.deb), $(basename binutils-x86-64-linux-gnu_*.deb)"
python3 read.py | tee lines
sed 1d lines > list.txt
cat > wanted << 'EOF'
f3 0f c7 f8: rdpid, Capstone rdseed
f3 0f ae 20: ptwrite, Capstone xsave
f3 0f ae 30: clrssbsy, Capstone xsaveopt
f3 0f ae e8: incsspd, Capstone lfence
66 0f ae f0: tpause, Capstone mfence
f3 0f ae f0: umonitor, Capstone mfence
f2 0f ae f0: umwait, Capstone mfence
f3 0f 09: wbnoinvd, Capstone wbinvd
0f 01 e8: serialize, Capstone none
EOF
cmp -s list.txt wanted || { echo "this has changed"; exit 1; }

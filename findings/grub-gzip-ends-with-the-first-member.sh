#!/bin/sh
# GRUB 2.06 (Debian 12: grub-common 2.06-13; 2.12-9 of Debian 13 does the same). It decompresses a
# kernel or a module that gzip has compressed, and takes the last four bytes for the length of the
# whole and the first member for all its data. RFC 1952 (2.2) has a file be a series of members, one
# after the other, and gzip makes one with >>. So we expected the members' data in a row, as zcat gives
# it. If the first member is the longer one, GRUB cuts it off at the length of the last one, without a
# word. If it is the shorter one, reading ends with an error. Where the header has a checksum of its own
# (bit 1 of its flags, FHCRC in 2.3.1), the kernel gets the compressed bytes as they are. Whoever adds
# to a module has to decompress it first.
#
# grub-fstest reads files as the boot loader does. The script gives it 1000 a's and 50 b's, in one member,
# in two members both ways round, and with a header checksum. It prints what zcat and GRUB read.
set -eu
WANTED='2.06-13*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial files
: > status
apt-get -q -y -o APT::Sandbox::User=root -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "grub-common=$WANTED" 'gzip=1.12-1*' > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    program=$1
    shift
    timeout 100 "$loader" --library-path "$libraries" "$program" "$@"
}

letters() {
    head -c "$2" /dev/zero | tr '\0' "$1"
}
{ letters a 1000; letters b 50; } | run root/bin/gzip -n > files/one
{ letters a 1000 | run root/bin/gzip -n; letters b 50 | run root/bin/gzip -n; } > files/long-short
{ letters b 50 | run root/bin/gzip -n; letters a 1000 | run root/bin/gzip -n; } > files/short-long
# The ten bytes of the header with FHCRC, the low half of their CRC-32, and the rest of the first file.
python3 - << 'EOF'
import zlib

one = open("files/one", "rb").read()
header = one[:3] + b"\2" + one[4:10]
open("files/checksum", "wb").write(header + (zlib.crc32(header) & 0xffff).to_bytes(2, "little") + one[10:])
EOF
tar -cf files.tar -C files .

# count: what standard input consists of.
count() {
    python3 -c 'import sys; d = sys.stdin.buffer.read(); print(d.count(b"a"), "a,", d.count(b"b"), "b,", len(d) - d.count(b"a") - d.count(b"b"), "other")'
}
echo "GRUB, package $(basename archives/grub-common_*.deb)"
for file in one long-short short-long checksum; do
    code=0
    run root/usr/bin/grub-fstest -u "$dir/files.tar" cat "(loop0)/$file" > read 2> messages || code=$?
    echo "$file: zcat $(run root/bin/gzip -dc < "files/$file" | count); GRUB $(count < read), exit code $code"
done | tee lines
cat > wanted << EOF
one: zcat 1000 a, 50 b, 0 other; GRUB 1000 a, 50 b, 0 other, exit code 0
long-short: zcat 1000 a, 50 b, 0 other; GRUB 50 a, 0 b, 0 other, exit code 0
short-long: zcat 1000 a, 50 b, 0 other; GRUB 0 a, 0 b, 0 other, exit code 1
EOF
head -3 lines | cmp -s - wanted && grep -q "^checksum: zcat 1000 a, 50 b, 0 other; GRUB .* exit code 0$" lines && cmp -s read files/checksum || {
    echo "this has changed"
    exit 1
}

#!/bin/sh
# Bochs 2.7 (Debian 12: bochs 2.7+dfsg-4). "memory: guest=G, host=H" with H below G keeps H MB in
# memory and the rest in a file. We expected the start to take the same time for each block of the
# guest's memory. It grows with the square of their number: every block of 128 KB becomes a named
# parameter in one linked list (BX_MEM_C::register_state), and each addition searches the whole list.
# With guest=6144 and host=512 it takes half a minute of processor time before the first instruction,
# while nothing is logged and the machine seems to hang. host is limited to 2048, so a larger guest
# cannot avoid it.
#
# The script starts and ends Bochs with three sizes, and prints its processor time for each. No
# instruction runs.
set -eu
WANTED='2.7+dfsg-4*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "bochs=$WANTED" libslirp0 > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
echo q > rc

# The processor time of a start in hundredths of a second: fields 16 and 17 of this shell's
# /proc/PID/stat are those of the children that it has waited for.
start() {
    cat > bochsrc << CONFIGURATION
memory: guest=$1, host=32
romimage: file=root/usr/share/bochs/BIOS-bochs-latest
vgaromimage: file=root/usr/share/bochs/VGABIOS-lgpl-latest
display_library: rfb, options="timeout=0"
log: bochs.log
sound: driver=dummy
CONFIGURATION
    LTDL_LIBRARY_PATH=root/usr/lib/x86_64-linux-gnu/bochs/plugins sh -c '
        "$@" > out.txt 2>&1 < /dev/null || true
        set -- $(sed "s/.*) //" /proc/$$/stat)
        echo $((${14} + ${15}))' start "$loader" --library-path "$libraries" root/usr/bin/bochs-bin -q -f bochsrc -rc rc
}

echo "Bochs, package $(basename archives/bochs_*.deb)"
base=$(start 32)
small=$(start 1024)
large=$(start 4096)
echo "processor time to the start with 32, 1024 and 4096 MB: $base, $small, $large hundredths of a second"
# Without the constant part: 4 if it grew with the number of blocks, 16 if with its square.
[ $(((large - base) / (small - base + 1))) -ge 8 ] || { echo "this has changed"; exit 1; }

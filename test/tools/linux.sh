#!/bin/sh
# Prepares the Linux guest of iso/linux.json: linux.sh DIRECTORY. Uses Debian's unmodified cloud kernel and an initramfs of its busybox-static, both from packages
# that are downloaded and unpacked but not installed. The same packages give the same bytes.
set -eu

[ $# = 1 ] || { echo "usage: linux.sh DIRECTORY" >&2; exit 2; }
dir=$1
here=$(cd "$(dirname "$0")" && pwd)
is_current() { [ -e "$dir/vmlinuz" ] && [ -e "$dir/initramfs" ] && [ "$dir/initramfs" -nt "$0" ]; }
is_current && exit 0
# Another test may be fetching.
mkdir -p "$dir"
exec 9>"$dir/.lock"
flock 9
is_current && exit 0
. "$here/apt.sh"

for tool in apt-get dpkg-deb cpio; do
    command -v $tool >/dev/null 2>&1 || {
        echo "$tool is missing: put a kernel (bzImage) at $dir/vmlinuz and an initramfs at $dir/initramfs yourself" >&2
        exit 1
    }
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
private_apt "$work" deb:own || { echo "no Debian mirror is configured on this machine" >&2; exit 1; }

echo "fetching Debian's cloud kernel and busybox"
apt_private apt-get update >"$work/log" 2>&1 || true
# The meta package depends on the current kernel.
kernel=$(apt_private apt-cache depends --important linux-image-cloud-amd64 2>>"$work/log" | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\)$/\1/p' | head -1)
[ -n "$kernel" ] || { tail -20 "$work/log" >&2; echo "the package linux-image-cloud-amd64 cannot be found" >&2; exit 1; }
(cd "$work" && apt_private apt-get download "$kernel" busybox-static) >>"$work/log" 2>&1 || {
    tail -20 "$work/log" >&2
    echo "the packages $kernel and busybox-static cannot be fetched" >&2
    exit 1
}
for deb in "$work"/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -xf - -C "$work" --wildcards './boot/vmlinuz-*' './bin/busybox' './usr/bin/busybox' 2>/dev/null || true
done

root=$work/root
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp"
for b in "$work/bin/busybox" "$work/usr/bin/busybox"; do
    [ -e "$b" ] && cp "$b" "$root/bin/busybox"
done
[ -x "$root/bin/busybox" ] || { echo "busybox-static holds no busybox" >&2; exit 1; }
cat > "$root/init" <<'END'
#!/bin/busybox sh
# The first process of the Linux guest: a shell on the UART, and nothing else.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
echo "linux: ready, $(uname -r)"
cd /
while :; do
    setsid sh -c 'exec sh -i </dev/ttyS0 >/dev/ttyS0 2>&1'
done
END
chmod 755 "$root/init" "$root/bin/busybox"
find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-1700000000}" {} +

dir=$(cd "$dir" && pwd)
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc -R 0:0) | gzip -n9 > "$dir/initramfs.new"
set -- "$work"/boot/vmlinuz-*
[ -e "$1" ] || { echo "$kernel holds no kernel" >&2; exit 1; }
cp "$1" "$dir/vmlinuz"
mv "$dir/initramfs.new" "$dir/initramfs"
echo "$kernel" > "$dir/version"

#!/bin/sh
# Makes the initramfs for Linux guests: initramfs.sh OUTPUT BUSYBOX [KERNEL MODULE...]. KERNEL is an unpacked kernel package; its MODULEs and all that they need are
# included and loaded, in this order. The same files give the same bytes.
set -eu

[ $# -ge 2 ] || { echo "usage: initramfs.sh OUTPUT BUSYBOX [KERNEL MODULE...]" >&2; exit 2; }
output=$1
busybox=$2
kernel=${3:-}
shift $(($# > 3 ? 3 : $#))
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
root=$work/root
mkdir -p "$root/bin" "$root/dev" "$root/proc" "$root/sys" "$root/tmp" "$root/lib/modules" "$root/mnt"
cp "$busybox" "$root/bin/busybox"

# add MODULE: after those that it needs.
add() {
    grep -qx "$1" "$work/added" && return
    echo "$1" >> "$work/added"
    path=$(find "$kernel" -name "$1.ko" -o -name "$1.ko.xz" | head -1)
    # What is built in has no file.
    [ -n "$path" ] || return 0
    case $path in
    *.xz) xz -dc "$path" > "$root/lib/modules/$1.ko" ;;
    *) cp "$path" "$root/lib/modules/$1.ko" ;;
    esac
    # As modinfo -F depends would print it, which not every machine has.
    for needed in $(tr '\0' '\n' < "$root/lib/modules/$1.ko" | sed -n 's/^depends=//p' | tr ',' ' '); do
        add "$needed"
    done
    # The path was the caller's: a module that it needs has changed it.
    echo "$1" >> "$root/lib/modules/order"
}
: > "$work/added"
: > "$root/lib/modules/order"
for module; do
    add "$module"
done

cat > "$root/init" <<'END'
#!/bin/busybox sh
# The first process: /start if there is one, and a shell on the console.
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs dev /dev
while read -r module; do
    insmod "/lib/modules/$module.ko"
done < /lib/modules/order
# The console's driver may have been among them, and makes the console a little later.
until true </dev/console; do
    sleep 0.1
done 2>/dev/null
exec </dev/console >/dev/console 2>&1
echo "linux: ready, $(uname -r), $(nproc) CPU(s), clock $(cat /sys/devices/system/clocksource/clocksource0/current_clocksource)"
cd /
# An archive behind this one may bring what is to be done first.
[ -x /start ] && /start
while :; do
    setsid sh -c 'exec sh -i </dev/console >/dev/console 2>&1'
done
END
chmod 755 "$root/init" "$root/bin/busybox"
find "$root" -exec touch -h -d "@${SOURCE_DATE_EPOCH:-1700000000}" {} +
mkdir -p "$(dirname "$output")"
(cd "$root" && find . | LC_ALL=C sort | cpio --quiet --reproducible -o -H newc -R 0:0) | gzip -n9 > "$output.new"
mv "$output.new" "$output"

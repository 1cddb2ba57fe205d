#!/bin/sh
# Fetches Debian packages of any suite and unpacks them, without installing anything: packages.sh DIRECTORY SUITE PACKAGE...
# Each comes to DIRECTORY/SUITE/PACKAGE; its name and version are in DIRECTORY/SUITE/PACKAGE.version. For a meta package, the newest kernel that it depends on is
# fetched. What is there already is kept: remove the directory to get newer ones.
set -eu

[ $# -ge 3 ] || { echo "usage: packages.sh DIRECTORY SUITE PACKAGE..." >&2; exit 2; }
mkdir -p "$1/$2"
dir=$(cd "$1/$2" && pwd)
suite=$2
shift 2
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../tools/apt.sh"

missing=
for package; do
    [ -e "$dir/$package.version" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
private_apt "$work/apt" "deb:$suite" || { echo "no Debian mirror is configured on this machine" >&2; exit 1; }
echo "fetching from Debian $suite:$missing"
apt_private apt-get update >"$work/log" 2>&1 || true

# fetch PACKAGE: the package, or the kernel that a meta package stands for.
fetch() {
    case $1 in
    linux-image-* | gnumach-image-1-*)
        real=$(apt_private apt-cache depends --important "$1" 2>>"$work/log" | sed -n 's/^ *Depends: \(linux-image-[0-9][^ ]*\|gnumach-image-1\.[^ ]*\)$/\1/p' | head -1)
        ;;
    *) real=$1 ;;
    esac
    mkdir -p "$work/$1"
    if [ -z "$real" ] || ! (cd "$work/$1" && apt_private apt-get download "$real") >>"$work/log" 2>&1; then
        tail -20 "$work/log" >&2
        echo "the package $1 cannot be fetched from $suite" >&2
        exit 1
    fi
    rm -rf "${dir:?}/$1"
    for deb in "$work/$1"/*.deb; do
        dpkg-deb -x "$deb" "$dir/$1"
        dpkg-deb -f "$deb" Package Version | sed 's/^[A-Za-z]*: //' | paste -sd ' ' > "$dir/$1.version"
    done
}

for package in $missing; do
    fetch "$package"
done

#!/bin/sh
# Fetches a Debian source package, pinned by the SHA-256 of its upstream tarball, and unpacks it: fetch.sh NAME VERSION SHA256 TARBALL DIRECTORY
# [PART]. PART: a directory of the tarball; only what is in it is unpacked.
# A private apt state is derived from the machine's own mirrors: the system's configuration is not changed.
set -eu

[ $# = 5 ] || [ $# = 6 ] || { echo "usage: fetch.sh NAME VERSION SHA256 TARBALL DIRECTORY [PART]" >&2; exit 2; }
name=$1 version=$2 sha=$3 tarball=$4 dir=$5 part=${6:-}
[ -e "$dir/.complete" ] && exit 0

here=$(cd "$(dirname "$0")" && pwd)
. "$here/apt.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
private_apt "$work" deb-src || {
    echo "no Debian mirror is configured on this machine: unpack $name $version yourself and name its directory ($(basename "$dir" | tr a-z A-Z)_DIR=...)" >&2
    exit 1
}

echo "fetching the source of $name $version"
# One repository that cannot be read must not stop the others: only what arrives counts.
{ apt_private update; (cd "$work" && apt_private source --download-only "$name=$version"); } >"$work/log" 2>&1 || {
    tail -20 "$work/log" >&2
    echo "the source package $name $version cannot be fetched" >&2
    exit 1
}
echo "$sha  $work/$tarball" | sha256sum --quiet -c - || { echo "$tarball is not the pinned one" >&2; exit 1; }
rm -rf "$dir"
mkdir -p "$dir"
if [ -n "$part" ]; then
    tar -xf "$work/$tarball" -C "$dir" --wildcards --strip-components=$((1 + $(echo "$part" | tr / '\n' | wc -l))) "*/$part/*"
else
    tar -xf "$work/$tarball" -C "$dir" --strip-components=1
fi
touch "$dir/.complete"

#!/bin/sh
# Fetches a Debian source package, pinned by the SHA-256 of its upstream tarball, and unpacks it: fetch.sh NAME VERSION SHA256 TARBALL DIRECTORY
# [PART]. PART: a directory of the tarball; only what is in it is unpacked.
# A private apt state is derived from the machine's own mirrors: the system's configuration is not changed.
set -eu

[ $# = 5 ] || [ $# = 6 ] || { echo "usage: fetch.sh NAME VERSION SHA256 TARBALL DIRECTORY [PART]" >&2; exit 2; }
name=$1 version=$2 sha=$3 tarball=$4 dir=$5 part=${6:-}
[ -e "$dir/.complete" ] && exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/lists/partial" "$work/cache/archives/partial" "$work/parts"

# Both forms of apt's sources; only entries with Debian's "main" component matter.
{
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null |
        sed -n 's/^[[:space:]]*deb[[:space:]]/deb-src /p' | grep -w main || true
} > "$work/parts/lines.list"
for f in /etc/apt/sources.list.d/*.sources; do
    [ -e "$f" ] && grep -qE '^Components:.*\bmain\b' "$f" &&
        sed 's/^Types:.*/Types: deb-src/' "$f" > "$work/parts/$(basename "$f")"
done
if [ ! -s "$work/parts/lines.list" ] && ! ls "$work/parts"/*.sources >/dev/null 2>&1; then
    echo "no Debian mirror is configured on this machine: unpack $name $version yourself and name its directory ($(basename "$dir" | tr a-z A-Z)_DIR=...)" >&2
    exit 1
fi

run() {
    apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$work/parts" -o Dir::State::Lists="$work/lists" \
        -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "$@"
}
echo "fetching the source of $name $version"
# One repository that cannot be read must not stop the others: only what arrives counts.
{ run update; cd "$work" && run source --download-only "$name=$version"; } >"$work/log" 2>&1 || {
    tail -20 "$work/log" >&2
    echo "the source package $name $version cannot be fetched" >&2
    exit 1
}
echo "$sha  $work/$tarball" | sha256sum --quiet -c - || { echo "$tarball is not the pinned one" >&2; exit 1; }
cd - >/dev/null
rm -rf "$dir"
mkdir -p "$dir"
if [ -n "$part" ]; then
    tar -xf "$work/$tarball" -C "$dir" --wildcards --strip-components=$((1 + $(echo "$part" | tr / '\n' | wc -l))) "*/$part/*"
else
    tar -xf "$work/$tarball" -C "$dir" --strip-components=1
fi
touch "$dir/.complete"

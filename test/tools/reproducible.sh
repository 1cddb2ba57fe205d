#!/bin/sh
# The same source gives the same bytes: builds two copies of the tree, in directories of different lengths, with different umask, time zone and job count, and compares.
# reproducible.sh BUILD NAME_DIR=DIRECTORY...: the directories are third-party source, fetched by the caller.
set -eu

build=$1
shift
third=""
for d in "$@"; do
    third="$third ${d%%=*}=$(realpath "${d#*=}")"
done
at=$(mktemp -d "$build/reproducible.XXXXXX")
trap 'rm -rf "$at"' EXIT
mkdir "$at/a" "$at/another-name"
for d in a another-name; do
    tar -cf - --exclude-vcs --exclude=./build --exclude=./third_party --exclude="./$build" --exclude=__pycache__ . | tar -xf - -C "$at/$d"
done
make -s -C "$at/a" -j2 BUILD=build $third CONFIG=iso/guests.json OUT=build/bulkhead.iso iso >"$at/log" 2>&1 || { cat "$at/log"; exit 1; }
(umask 077 && TZ=Asia/Tokyo make -s -C "$at/another-name" -j1 BUILD=build $third CONFIG=iso/guests.json OUT=build/bulkhead.iso iso) >"$at/log" 2>&1 || { cat "$at/log"; exit 1; }
for f in bulkhead.elf mgmt.elf bulkhead.iso; do
    cmp "$at/a/build/$f" "$at/another-name/build/$f" || { echo "reproducible: $f differs"; exit 1; }
done
echo "reproducible: ok"

#!/bin/sh
# Installs the Debian packages that a part of the project needs: deps.sh build|run|test|check. Silent and quick when all are there. Elsewhere than on Debian, or
# without root and sudo, it names what is missing and stops.
set -eu

build="gcc libc6-dev binutils xz-utils make nasm grub-common grub-pc-bin grub-efi-amd64-bin xorriso mtools libjsmn-dev node-llhttp node-xterm python3 dpkg-dev cpio libcurl4-openssl-dev libssl-dev libjansson-dev"
run="bochs bochs-term bochsbios vgabios"
test="$run clang llvm libclang-rt-14-dev libcmocka-dev python3-pytest python3-pytest-timeout clang-format qemu-system-x86 ovmf curl chromium chromium-driver python3-selenium prometheus python3-jsonschema"
check="$test clang-tidy cppcheck"

case "${1:-}" in
build) want=$build ;;
run) want=$run ;;
test) want=$test ;;
check) want=$check ;;
*) echo "usage: deps.sh build|run|test|check" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "This is not a Debian system. Install what these Debian packages hold, then make again with DEPS=skip:" >&2
    echo "  $want" >&2
    [ "${DEPS:-}" = skip ] && exit 0
    exit 1
fi

missing=""
for p in $want; do
    dpkg-query -W -f='${Status}\n' "$p" 2>/dev/null | grep -q '^install ok installed' || missing="$missing $p"
done
[ -z "$missing" ] && exit 0

sudo=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "These packages are missing, and installing them needs root:$missing" >&2
        exit 1
    fi
    sudo=sudo
fi
echo "installing:$missing"
# Two makes at once must not fight for the package database.
exec 9>"${TMPDIR:-/tmp}/bulkhead-deps.lock"
flock 9
install() {
    $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing >"$log" 2>&1
}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
if ! install; then
    $sudo apt-get update >"$log" 2>&1 || true
    install || { tail -20 "$log" >&2; echo "these packages could not be installed:$missing" >&2; exit 1; }
fi

#!/bin/sh
# Installs the Debian packages that a part of the project needs: deps.sh build|run|qemu|uefi|test|check. Silent and quick if all are installed. On other systems than Debian, or
# without root and sudo, it names the missing packages and stops.
set -eu

# A|B: whichever is installed, else the first that this Debian offers.
build="gcc libc6-dev binutils xz-utils bzip2 make nasm grub-common grub-pc-bin grub-efi-amd64-bin xorriso mtools libjsmn-dev python3 acpica-tools dpkg-dev cpio libcurl4-openssl-dev libssl-dev libjansson-dev"
client="curl openssl"
run="bochs bochs-term bochsbios vgabios $client"
qemu="qemu-system-x86 $client"
uefi="ovmf"
test="$run qemu-system-x86 $uefi clang llvm libclang-rt-dev|libclang-rt-14-dev libcmocka-dev libzydis-dev python3-pytest python3-pytest-timeout clang-format chromium chromium-driver python3-selenium prometheus python3-jsonschema zstd"
check="$test clang-tidy cppcheck"

case "${1:-}" in
build) want=$build ;;
run) want=$run ;;
qemu) want=$qemu ;;
uefi) want=$uefi ;;
test) want=$test ;;
check) want=$check ;;
*) echo "usage: deps.sh build|run|qemu|uefi|test|check" >&2; exit 2 ;;
esac

if ! command -v dpkg-query >/dev/null 2>&1; then
    echo "This is not a Debian system. Install what these Debian packages hold, then make again with DEPS=skip:" >&2
    echo "  $want" >&2
    [ "${DEPS:-}" = skip ] && exit 0
    exit 1
fi

# One query for all: each query reads the list of all installed packages.
look() { installed=$(dpkg-query -W -f='${Package}: ${Status}\n' $(echo "$want" | tr '|' ' ') 2>/dev/null | sed -n 's/: install ok installed$//p' | tr '\n' ' '); }
is_installed() { case " $installed" in *" $1 "*) ;; *) return 1 ;; esac; }
is_offered() { apt-cache policy "$1" 2>/dev/null | grep -q '^  Candidate: [^(]'; }

# For each choice with nothing installed: the first package offered, or the first at all if none is. missing: these packages. unknown: those not offered.
choose() {
    look
    missing="" unknown=""
    for choice in $want; do
        names=$(echo "$choice" | tr '|' ' ')
        chosen=""
        for p in $names; do
            is_installed "$p" && continue 2
        done
        for p in $names; do
            is_offered "$p" && { chosen=$p; break; }
        done
        [ -n "$chosen" ] || unknown="$unknown $choice"
        missing="$missing ${chosen:-${choice%%|*}}"
    done
}

any_missing() {
    look
    for choice in $want; do
        for p in $(echo "$choice" | tr '|' ' '); do
            is_installed "$p" && continue 2
        done
        return 0
    done
    return 1
}

any_missing || exit 0
# Another make of this tree may be doing the same.
mkdir -p third_party
exec 9>third_party/.packages.lock
flock 9
any_missing || exit 0
choose
sudo=""
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null 2>&1; then
        echo "These packages are missing, and installing them needs root:$missing" >&2
        exit 1
    fi
    sudo=sudo
fi
# Waits for another apt: another make's, or the system's own updates.
apt="$sudo env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 -o Acquire::Retries=3"
install() { $apt install -y --no-install-recommends $missing 9>&-; }
update() {
    echo "asking the mirror what there is"
    $apt update 9>&- || echo "the package lists could not be brought up to date" >&2
    choose
}

if [ -n "$unknown" ]; then
    update
    [ -n "$missing" ] || exit 0
    [ -z "$unknown" ] || { echo "No package source of this system offers these packages:$unknown" >&2; exit 1; }
fi
echo "installing:$missing"
install || {
    update
    install || { echo "These packages could not be installed:$missing" >&2; exit 1; }
}

#!/bin/sh
# Tries the project on a new Debian: fresh.sh bookworm|trixie|testing [full]. Makes a minimal root of that suite with debootstrap, clones the committed tree
# into it, and there runs `make run` until the appliance answers over HTTPS, the unit tests and one boot test (full: `make test`). Prints how long each took.
# Needs root, debootstrap, git, a Debian mirror among the machine's own package sources, and 6 GB in $TMPDIR or /var/tmp. Mounts and processes are in their own
# namespaces, which end with this script, however it ends.
set -eu

suite=${1:-} full=${2:-}
fail() { echo "fresh: $*" >&2; exit 1; }
case $suite in bookworm | trixie | testing) ;; *) fail "which Debian? make fresh SUITE=bookworm, trixie or testing" ;; esac
case $full in "" | full) ;; *) fail "\"$full\" is not \"full\"" ;; esac
[ "$(id -u)" = 0 ] || fail "this needs root: it makes a root directory of another Debian and changes into it"
for tool in debootstrap git unshare chroot apt-get; do
    command -v $tool >/dev/null 2>&1 || fail "$tool is missing"
done

. "$(dirname "$0")/apt.sh"
work=$(mktemp -d -p "${TMPDIR:-/var/tmp}" bulkhead-fresh.XXXXXX)
root=$work/root log=$work/log
: > "$log"
inside=""
finish() {
    [ -z "$inside" ] || kill -KILL "$inside" 2>/dev/null || true
    rm -rf --one-file-system "$work"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP

# in_root COMMAND: runs it in the root, with its own /proc; all its processes end with the command.
in_root() {
    unshare --mount --pid --fork --kill-child=KILL --mount-proc="$root/proc" sh -euc '
        mount --rbind /dev "$1/dev"
        mount -t sysfs -o ro sysfs "$1/sys"
        exec chroot "$1" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/ TERM=dumb LC_ALL=C.UTF-8 sh -euc "$2"' in_root "$root" "$1" </dev/null >>"$log" 2>&1 &
    inside=$!
    wait $inside
}

# step WHAT COMMAND...
step() {
    what=$1
    shift
    began=$(date +%s)
    echo "== $what" >>"$log"
    "$@" || { tail -40 "$log" >&2; fail "$suite: $what: failed after $(($(date +%s) - began)) s"; }
    inside=""
    echo "$suite: $what: $(($(date +%s) - began)) s"
}

bootstrap() {
    unshare --mount --fork --pid --kill-child=KILL debootstrap --variant=minbase "$suite" "$root" "$mirror" </dev/null >>"$log" 2>&1 &
    inside=$!
    wait $inside
}

# The machine's own hosts, for that suite, with their local settings (keys, proxies).
private_apt "$work" "deb:$suite" || fail "no Debian mirror is configured on this machine"
mirror=$({
    sed -n 's/^deb //p' "$work/parts/derived.list" | sed 's/^\[[^]]*\] *//'
    awk '/^Suites:/ { suites = $2 } /^uris:/ { print $2, suites }' "$work/parts/derived.sources"
} | awk -v s="$suite" '$2 == s { print $1; exit }')
[ -n "$mirror" ] || fail "none of this machine's Debian mirrors is one of whole suites"

step "a minimal root (debootstrap)" bootstrap
rm -f "$root"/etc/apt/sources.list "$root"/etc/apt/sources.list.d/*
sed 's/\[[^]]*\] *//; s@^deb @deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] @' "$work/parts/derived.list" > "$root/etc/apt/sources.list"
awk '/^signed-by:/ { print "Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg"; skip = 1; next } /^[^[:space:]]/ || /^$/ { skip = 0 } !skip' \
    "$work/parts/derived.sources" > "$root/etc/apt/sources.list.d/debian.sources"
apt-config dump | grep -iE '^Acquire::[^ ]*proxy' > "$root/etc/apt/apt.conf.d/50proxy" || true
cp /etc/resolv.conf /etc/hosts "$root/etc/"
lists() {
    in_root "apt-get update && apt-get install -y --no-install-recommends make" && return 0
    grep -q "Release file .* expired" "$log" || return 1
    echo "$suite: the mirror's Release has expired ($(sed -n 's/.*(\(invalid since [^)]*\)).*/\1/p' "$log" | head -1)): going on without a look at its date, in this root only"
    echo 'Acquire::Check-Valid-Until "false";' > "$root/etc/apt/apt.conf.d/50dates"
    in_root "apt-get update && apt-get install -y --no-install-recommends make"
}
step "package lists, and make" lists
git clone -q --no-hardlinks . "$root/bulkhead"
echo "$suite: $(git -C "$root/bulkhead" log -1 --format='commit %h (%s)')"

# Runs the printed command as it stands.
step "make run until it answers over HTTPS" in_root '
    cd /bulkhead
    ports=$(shuf -i 20000-29999 -n 2)
    make run PORT="${ports%%[!0-9]*}" HTTPS_PORT="${ports##*[!0-9]}" >/run.log 2>&1 &
    make=$!
    until command=$(sed -n "s/^>>> from this computer: //p" /run.log) && [ -n "$command" ]; do
        kill -0 $make 2>/dev/null || { cat /run.log; exit 1; }
        sleep 1
    done
    cat /run.log
    sh -c "$command -sS" > /answer
    cat /answer
    grep -q "\"name\":\"control\",\"state\":\"running\"" /answer'
in_root 'cd /bulkhead; for p in gcc binutils nasm bochs grub-common; do dpkg-query -W -f "\${Package} \${Version}, " $p; done' || true
echo "$suite: $(tail -n 1 "$log" | sed 's/, $//')"
if [ -n "$full" ]; then
    step "make test" in_root 'cd /bulkhead; make test'
else
    step "packages for the tests" in_root 'cd /bulkhead; make deps-test'
    step "unit tests" in_root 'cd /bulkhead; make -j2 unit'
    step "a boot test of the sample configuration" in_root 'cd /bulkhead; make boot-test ARGS="-k test_appliance"'
fi
grep -E "^unit tests: |^fuzzers: |^=+ .* (passed|failed).* =+$" "$log" | sed "s/^/$suite: /"

#!/bin/sh
# Third-party source from Debian's archive, in the versions of mgmt/third_party.pins.
#   fetch.sh get NAME=DIRECTORY...     fetches what is missing, or pinned to another version now
#   fetch.sh given NAME=DIRECTORY...   the caller's own directories: only checks that they exist
#   fetch.sh is-current NAME=DIRECTORY...   whether all are as pinned
#   fetch.sh header NAME=DIRECTORY...  a C header with the versions
#   fetch.sh newest                    the line of each pin for the archive's present version
# A fetched directory has a file .pinned: the line used, and the checksum of all lines of that name.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
: "${PINS:=mgmt/third_party.pins}"
. "$here/apt.sh"

usage() { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }

pins_of() { awk -v name="$1" '$1 == name' "$PINS"; }
sum_of() { pins_of "$1" | sha256sum | cut -d' ' -f1; }
variable_of() { echo "$1" | tr a-z A-Z | sed 's/$/_DIR/'; }
is_current() { [ -e "$2/.pinned" ] && [ "$(sed -n 2p "$2/.pinned")" = "$(sum_of "$1")" ]; }
type_of() { case $1 in files:*) echo deb ;; *) echo deb-src ;; esac; }

# What the user can do with the package by hand instead.
by_hand() {
    case $2 in
    source) echo "unpack that with dpkg-source -x" ;;
    part:.) echo "unpack its upstream tarball" ;;
    part:*) echo "unpack its upstream tarball: the directory ${2#part:}" ;;
    files:*) echo "put these into one directory: $(echo "${2#files:}" | tr , ' ')" ;;
    esac
    echo "      and say make $(variable_of "$1")=DIRECTORY"
}

# Fetches one package's files into $work/got. A mirror may list the package and yet lack some of its files.
download() {
    rm -rf "$work/got"
    mkdir "$work/got"
    case $1 in
    source) set -- source --download-only "$2" ;;
    part:*) set -- source --download-only --tar-only "$2" ;;
    files:*) set -- download "$2" ;;
    esac
    (cd "$work/got" && apt_private apt-get "$@") >>"$work/log" 2>&1
}

# The file in $work/got with this checksum.
file_with() { sha256sum "$work/got"/* | sed -n "s/^$1  //p"; }

# unpack HOW FILE DIRECTORY
unpack() {
    case $1 in
    source) dpkg-source -q --no-check --no-copy -x "$2" "$3" ;;
    part:.)
        mkdir "$3"
        tar -xf "$2" -C "$3" --no-same-owner --strip-components=1
        ;;
    part:*)
        mkdir "$3"
        tar -xf "$2" -C "$3" --no-same-owner --wildcards --strip-components=$((1 + $(echo "${1#part:}" | tr / '\n' | wc -l))) "*/${1#part:}/*"
        ;;
    files:*)
        mkdir "$3"
        dpkg-deb -x "$2" "$work/got/tree"
        for file in $(echo "${1#files:}" | tr , ' '); do
            find "$work/got/tree" -type f -name "$file" -exec cp {} "$3" \;
            [ -e "$3/$file" ] || return 1
        done
        ;;
    esac
}

# take NAME DIRECTORY, with a pin's line on standard input: 0 if that version is in place now.
take() {
    read -r _ version how suite package sum
    download "$how" "$package" </dev/null || return 1
    file=$(file_with "$sum")
    [ -n "$file" ] || { echo "$package: no file has the pinned checksum $sum" >>"$work/log"; return 1; }
    mkdir -p "$(dirname "$2")"
    rm -rf "$2.new"
    (umask 022 && unpack "$how" "$file" "$2.new") </dev/null >>"$work/log" 2>&1 || return 1
    { echo "$1 $version $how $suite $package $sum"; sum_of "$1"; } > "$2.new/.pinned"
    rm -rf "$2"
    mv "$2.new" "$2"
    echo "  $1 $version (${package%%=*} ${package#*=}, $suite)"
}

take_any() {
    pins_of "$1" > "$work/pins.$1"
    while read -r line; do
        echo "$line" | take "$1" "$2" && return 0
    done < "$work/pins.$1"
    # Nothing could be fetched, but what exists may still do.
    [ -e "$2/.pinned" ] && [ "$(pins_of "$1" | tr -s ' ' | grep -cxF "$(sed -n 1p "$2/.pinned")")" != 0 ] && {
        echo "  $1: nothing newer can be fetched, so it stays $(sed -n '1s/^\([^ ]* [^ ]*\) .*/\1/p' "$2/.pinned")" >&2
        return 0
    }
    return 1
}

tell_missing() {
    tail -12 "$work/log" >&2
    {
        echo
        echo "Third-party source is missing, and cannot be fetched from Debian's archive${1:+: $1}. Wanted, each from one of:"
        for name in $missing; do
            echo "  $name"
            pins_of "$name" | while read -r _ version how suite package _; do
                echo "      $version: package ${package%%=*} ${package#*=} of $suite"
            done
            pins_of "$name" | { read -r _ _ how _; echo "      $(by_hand "$name" "$how")"; }
            for now in $(on_offer "$name"); do
                echo "      the archive has $now now: if it has replaced those, add it to $PINS (make third-party-pins)"
            done
        done
        grep -q NO_PUBKEY "$work/log" && echo "This machine's keys do not know a suite's signature: install today's package debian-archive-keyring, then make again."
    } >&2
    exit 1
}

# Versions of a name's packages that are in the lists but not pinned.
on_offer() {
    pins_of "$1" | while read -r _ _ how suite package _; do
        case $how in
        files:*) apt_private apt-cache madison "${package%%=*}" | awk -F ' *\\| *' -v s="$suite" 'index($3, " " s "/") || index($3, " " s "-")  { print $2 }' ;;
        *) apt_private apt-cache madison "${package%%=*}" | awk -F ' *\\| *' '/Sources$/ { print $2 }' ;;
        esac
    done 2>/dev/null | sort -u | while read -r version; do
        pins_of "$1" | awk '{ print $5 }' | cut -d= -f2- | grep -qxF "$version" || echo "$version"
    done
}

not_current() {
    for pair; do
        is_current "${pair%%=*}" "${pair#*=}" || echo "$pair"
    done
}

get() {
    missing=$(not_current "$@")
    [ -n "$missing" ] || exit 0
    # Another make of this tree may be fetching.
    mkdir -p "$(dirname "${1#*=}")"
    exec 9>"$(dirname "${1#*=}")/.lock"
    flock 9
    missing=$(not_current "$@")
    [ -n "$missing" ] || exit 0
    suites=$(for pair in $missing; do pins_of "${pair%%=*}"; done | while read -r _ _ how suite _; do echo "$(type_of "$how"):$suite"; done | sort -u)
    echo "fetching third-party source:$(for pair in $missing; do printf ' %s' "${pair%%=*}"; done)"
    wanted=$missing missing=$(for pair in $wanted; do echo "${pair%%=*}"; done)
    command -v apt-get >/dev/null 2>&1 || tell_missing "there is no apt-get"
    private_apt "$work" $suites || tell_missing "no Debian mirror is configured on this machine"
    # One unreadable repository must not stop the others: only what arrives counts.
    apt_private apt-get update >>"$work/log" 2>&1 || true
    missing=""
    for pair in $wanted; do
        take_any "${pair%%=*}" "${pair#*=}" || missing="$missing ${pair%%=*}"
    done
    [ -z "$missing" ] || tell_missing ""
}

# One file of each, by which to recognise it.
known_by() {
    case $1 in
    lwip) echo src/include/lwip/init.h ;;
    mbedtls) echo include/mbedtls/ssl.h ;;
    bearssl) echo inc/bearssl_block.h ;;
    wslay) echo lib/includes/wslay/wslay.h ;;
    llhttp) echo llhttp.h ;;
    xterm) echo xterm.js ;;
    zlib) echo inflate.c ;;
    esac
}

given() {
    for pair; do
        [ -e "${pair#*=}/$(known_by "${pair%%=*}")" ] || {
            echo "$(variable_of "${pair%%=*}")=${pair#*=}: there is no $(known_by "${pair%%=*}") in it" >&2
            exit 1
        }
    done
}

newest() {
    grep -v '^#' "$PINS" | awk '!seen[$1]++' > "$work/first"
    while read -r name version how suite package sum; do
        rm -rf "$work/parts" "$work/lists"
        private_apt "$work" "$(type_of "$how"):$suite"
        apt_private apt-get update >>"$work/log" 2>&1 </dev/null || true
        download "$how" "${package%%=*}" </dev/null || { echo "$name: ${package%%=*} cannot be fetched" >&2; continue; }
        case $how in
        source) file=$(ls "$work/got"/*.dsc) now=$(sed -n 's/^Version: //p' "$file") ;;
        part:*) file=$(ls "$work/got"/*.orig.tar.?z*) now=$(apt_private apt-cache showsrc "${package%%=*}" 2>/dev/null | sed -n 's/^Version: //p' | head -1) ;;
        files:*) file=$(ls "$work/got"/*.deb) now=$(dpkg-deb -f "$file" Version) ;;
        esac
        [ "${package#*=}" = "$now" ] || version="?"
        printf '%-9s %-8s %-47s %-9s %-61s %s\n' "$name" "$version" "$how" "$suite" "${package%%=*}=$now" "$(sha256sum < "$file" | cut -d' ' -f1)"
    done < "$work/first"
}

header() {
    cat <<'END'
#pragma once
/* Third-party source in this build, for whoever asks what is in it: name, version, Debian's package. */
#define THIRD_PARTY_LINE(name, version, package) "  " name " " version " (" package ")\n"
#define THIRD_PARTY_TEXT "third-party source of this build:\n" THIRD_PARTY_EACH(THIRD_PARTY_LINE)
#define THIRD_PARTY_EACH(X) \
END
    for pair; do
        line=$(sed -n 1p "${pair#*=}/.pinned" 2>/dev/null) || line=""
        [ -n "$line" ] || line="${pair%%=*} unknown - - $(variable_of "${pair%%=*}")=given"
        echo "$line" | {
            read -r name version _ _ package _
            printf '    X("%s", "%s", "%s") \\\n' "$name" "$version" "${package%%=*} ${package#*=}"
        }
    done
    echo
}

[ $# -ge 1 ] || usage
verb=$1
shift
case $verb in
header) header "$@"; exit ;;
given) given "$@"; exit ;;
is-current) [ -z "$(not_current "$@")" ]; exit ;;
get | newest) ;;
*) usage ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
: > "$work/log"
$verb "$@"

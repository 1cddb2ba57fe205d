#!/bin/sh
# Runs clang-tidy on several sources at a time: tidy.sh "COMPILER FLAGS" FILE...
# On standard error clang-tidy counts the warnings of system headers that it does not show. Only those lines are left out: any other output there is a failure.
set -eu

flags=$1
shift
printf '%s\n' "$@" | xargs -P "$(nproc)" -n 3 sh -c '
    flags=$1
    shift
    out=$(clang-tidy --quiet "$@" -- $flags 2>&1) && failed=0 || failed=1
    out=$(printf "%s\n" "$out" | grep -Ev "^([0-9]+ (warnings?|errors?)( and [0-9]+ errors?)? generated\.)?$") || out=
    [ -z "$out" ] || printf "%s\n" "$out"
    [ -z "$out" ] && [ $failed = 0 ] || { echo "clang-tidy: failed for one of: $*"; exit 1; }
' tidy "$flags"

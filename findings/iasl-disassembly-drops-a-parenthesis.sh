#!/bin/sh
# iasl 20200925 (Debian 12: acpica-tools 20200925-8; 20250404 does the same). It disassembles an
# assignment inside an expression without its parentheses: "Local1 = (Local0 = 5) + 1" comes back as
# "Local1 = (Local0 = 0x05 + One)". In ASL as in C, an assignment binds weakest (ACPICA's "changes.txt"
# promises the standard C precedence, and disassembly as the way from old ASL to the new), so we expected
# it back as it was, or what means the same. What comes back compiles without a word, and stores 6 in
# Local0. Whoever disassembles a firmware's table to mend one line in it changes another one unknowingly.
# With -dl, which writes the old form, the round trip is exact.
#
# The script compiles three methods, disassembles and compiles them again, in both forms, and prints what
# each gives in ACPICA's own interpreter, and whether the code is the same as at first.
set -eu
WANTED='20200925-8'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir -p archives/partial
: > status
apt-get -q -y -o Dir::State::status="$dir/status" -o Dir::Cache::archives="$dir/archives" -o Debug::NoLocking=1 \
    --no-install-recommends --download-only install "acpica-tools=$WANTED" > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in archives/*.deb; do dpkg-deb -x "$deb" root; done
libraries=$(find root -name '*.so*' -exec dirname {} + | sort -u | tr '\n' ':')
loader=$(find root -name 'ld-linux-x86-64.so.2' | head -1)
run() {
    program=$1
    shift
    timeout 100 "$loader" --library-path "$libraries" "root/usr/bin/$program" "$@"
}

cat > first.asl << 'ASL'
DefinitionBlock ("", "SSDT", 2, "TEST", "TEST", 1)
{
    Method (SUM)                        // 5 and 6
    {
        Local1 = (Local0 = 5) + 1
        Return (Local0 * 16 + Local1)
    }
    Method (TEST)                       // 5
    {
        If ((Local0 = 5) == 6) { Return (1) }
        Return (Local0)
    }
    Method (MULT)                       // 18
    {
        Local0 = 4
        Local1 = (Local0 += 2) * 3
        Return (Local1)
    }
}
ASL

# again NAME OPTION: NAME.aml from the first one's disassembly.
again() {
    run iasl -p "$1" "$2" first.aml > log 2>&1 && run iasl -p "$1" "$1.dsl" > log 2>&1 || cat log
}

# values NAME: what the methods give.
values() {
    printf '%s:' "$1"
    for method in SUM TEST MULT; do
        printf ' %d' "0x$(run acpiexec -b "evaluate $method" "$1.aml" 2>&1 | sed -n 's/.*\[Integer\] = //p' | head -n 1)"
    done
    # Behind the table's header of 36 bytes, which has the compiler's version.
    if tail -c +37 "$1.aml" | cmp -s - code; then echo ' same code'; else echo ' other code'; fi
}

run iasl first.asl > log 2>&1 || cat log
tail -c +37 first.aml > code
again new -d
again old -dl
echo "iasl, package $(basename archives/acpica-tools_*.deb)"
{
    values first
    grep 'Local1 = (Local0 =' new.dsl
    values new
    values old
} | tee lines
cmp -s lines - << 'EOF' || { echo "this has changed"; exit 1; }
first: 86 5 18 same code
        Local1 = (Local0 = 0x05 + One)
new: 102 0 10 other code
old: 86 5 18 same code
EOF

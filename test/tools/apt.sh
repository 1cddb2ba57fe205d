# To be sourced. Sets up a private apt state, to fetch packages without changing the system's configuration or lists.

# The machine's own entries for Debian's archive. Nothing is needed from other repositories.
DEBIAN_SUITES='^(bookworm|trixie|forky|duke|sid|stable|testing|unstable|oldstable)(-updates|-security|/updates)?$'
# APT_DIRECTORY: the directory of package sources; tests use one other than the system's.
: "${APT_DIRECTORY:=/etc/apt}"

# private_apt DIRECTORY TYPE:SUITE...: TYPE is deb or deb-src; SUITE is any suite of Debian's, or "own" for the machine's. Hosts, keys and options are those of the
# machine's own entries with the component "main", in either of apt's formats. Fails if there are none.
private_apt() {
    apt_state=$1
    shift
    mkdir -p "$apt_state/lists/partial" "$apt_state/cache/archives/partial" "$apt_state/parts"
    for apt_wanted in "$@"; do
        cat /dev/null "$APT_DIRECTORY/sources.list" "$APT_DIRECTORY"/sources.list.d/*.list 2>/dev/null | awk "$APT_ONE_LINE" SUITES="$DEBIAN_SUITES" type="${apt_wanted%%:*}" want="${apt_wanted#*:}"
    done | LC_ALL=C sort -u > "$apt_state/parts/derived.list"
    for apt_wanted in "$@"; do
        # An empty line ends the last entry of each file, in case it lacks one.
        for apt_file in "$APT_DIRECTORY"/sources.list.d/*.sources; do
            [ -e "$apt_file" ] && { cat "$apt_file"; echo; echo; }
        done | awk "$APT_STANZAS" SUITES="$DEBIAN_SUITES" type="${apt_wanted%%:*}" want="${apt_wanted#*:}"
    done > "$apt_state/parts/derived.sources"
    [ -s "$apt_state/parts/derived.list" ] || [ -s "$apt_state/parts/derived.sources" ]
}

# Maps a suite of the machine's: unchanged, or to the wanted one, from the security archive if the entry is for that.
APT_RENAMED='
    function renamed(suite) {
        if (want == "own") return suite
        if (suite ~ /(-security|\/updates)$/) return want "-security"
        return suite ~ /-updates$/ ? want "-updates" : want
    }'

APT_ONE_LINE=$APT_RENAMED'
    $1 == "deb" || $1 == "deb-src" {
        i = 2
        if ($2 ~ /^\[/) { while (i < NF && $i !~ /\]$/) i++; i++ }
        suite = $(i + 1); main = 0
        for (j = i + 2; j <= NF; j++) if ($j == "main") main = 1
        if (!main || suite !~ SUITES || $i ~ /^cdrom:/) next
        line = type
        for (j = 2; j <= i; j++) line = line " " $j
        print line " " renamed(suite) " main"
    }'

APT_STANZAS=$APT_RENAMED'
    function done(   k) {
        if (n && suites && main && !off) {
            print "Types: " type "\nSuites:" suites "\nComponents: main"
            for (k = 1; k <= n; k++) print line[k]
            print ""
        }
        n = main = off = 0; suites = field = ""
    }
    /^[[:space:]]*$/ { done(); next }
    /^#/ { next }
    /^[^[:space:]]/ { field = tolower(substr($0, 1, index($0, ":") - 1)); sub(/^[^:]*:/, "", $0); first = 1 }
    field == "suites" {
        for (i = 1; i <= NF; i++) if ($i ~ SUITES && index(suites " ", " " renamed($i) " ") == 0) suites = suites " " renamed($i)
        next
    }
    field == "components" { for (i = 1; i <= NF; i++) if ($i == "main") main = 1; next }
    field == "types" { next }
    field == "enabled" && $1 == "no" { off = 1 }
    { line[++n] = first ? field ":" $0 : $0; first = 0 }
    END { done() }'

# Dates are not checked: packages are pinned, or as new as the mirror. A mirror that fails once may answer the next time.
apt_private() {
    apt_tool=$1
    shift
    "$apt_tool" -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$apt_state/parts" -o Dir::State::Lists="$apt_state/lists" \
        -o Dir::Cache="$apt_state/cache" -o Dir::Etc::Preferences=/dev/null -o Dir::Etc::PreferencesParts=/dev/null -o APT::Sandbox::User=root \
        -o Dir::Cache::pkgcache=pkgcache.bin -o Dir::Cache::srcpkgcache=srcpkgcache.bin \
        -o Acquire::Retries=3 -o Acquire::Check-Valid-Until=false -o Acquire::Languages=none "$@"
}

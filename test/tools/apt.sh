# To be sourced. A private apt state, so that packages can be fetched without changing the system's configuration or lists.

# private_apt DIRECTORY deb|deb-src: derives the sources from the machine's own, in both of apt's forms. Only entries with Debian's own suites and the "main"
# component count: other people's repositories have nothing that is wanted here. Fails if there is none.
private_apt() {
    apt_state=$1
    mkdir -p "$apt_state/lists/partial" "$apt_state/cache/archives/partial" "$apt_state/parts"
    cat /etc/apt/sources.list /etc/apt/sources.list.d/*.list 2>/dev/null | awk -v type="$2" '
        $1 == "deb" || $1 == "deb-src" {
            i = 2
            if ($2 ~ /^\[/) { while (i < NF && $i !~ /\]$/) i++; i++ }
            suite = $(i + 1); main = 0
            for (j = i + 2; j <= NF; j++) if ($j == "main") main = 1
            if (main && suite ~ SUITES) { $1 = type; print }
        }' SUITES="$DEBIAN_SUITES" > "$apt_state/parts/derived.list"
    cat /dev/null /etc/apt/sources.list.d/*.sources 2>/dev/null | awk -v type="$2" '
        function done(   k) {
            if (n && suite && main && !off) { for (k = 1; k <= n; k++) print line[k]; print "" }
            n = suite = main = off = 0
        }
        /^[[:space:]]*$/ { done(); next }
        /^#/ { next }
        /^[Tt]ypes:/ { $0 = "Types: " type }
        /^[Ss]uites:/ { for (i = 2; i <= NF; i++) if ($i ~ SUITES) suite = 1 }
        /^[Cc]omponents:/ { for (i = 2; i <= NF; i++) if ($i == "main") main = 1 }
        /^[Ee]nabled:[[:space:]]*no/ { off = 1 }
        { line[++n] = $0 }
        END { done() }' SUITES="$DEBIAN_SUITES" > "$apt_state/parts/derived.sources"
    [ -s "$apt_state/parts/derived.list" ] || [ -s "$apt_state/parts/derived.sources" ]
}

DEBIAN_SUITES='^(bookworm|trixie|forky|sid|stable|testing|unstable|oldstable)(-updates|-security|/updates)?$'

apt_private() {
    apt-get -q -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts="$apt_state/parts" -o Dir::State::Lists="$apt_state/lists" \
        -o Dir::Cache="$apt_state/cache" -o APT::Sandbox::User=root "$@"
}

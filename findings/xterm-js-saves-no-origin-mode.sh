#!/bin/sh
# xterm.js 5.5.0 (npm: @xterm/headless 5.5.0; 5.3.0 and 6.0.0 do the same). ESC 7, save cursor, saves
# the position, the attributes and the character sets, but not origin mode. DEC's manuals (VT510, DECSC)
# have it among the things that ESC 7 saves and ESC 8 restores, so we expected that. A program that
# saves, switches origin mode off to write a status line, and restores, goes on without it: its next CSI
# H counts from the top of the screen, not from that of its scrolling region. It has to set origin mode
# again after ESC 8.
#
# The program sets origin mode in a region from line 3 to 5, saves, switches the mode off, restores, and
# writes X at line 1. Then the other way round. It prints the lines with an X, and the answer to DECRQM:
# 1 is on.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir lib-headless
sh "$here/../test/tools/npm.sh" . @xterm/headless 5.5.0 \
    sha512-5xXB7kdQlFBP82ViMJTwwEc3gKCLGKR/eoxQm4zge7GPBl86tCdI0IdPJjoKd8mUSFXz5V7i/25sfsEkP4j46g== \
    lib-headless/xterm-headless.js

cat > save.js << 'EOF'
const {Terminal} = require("./lib-headless/xterm-headless.js");

async function restore(what, text) {
    const terminal = new Terminal({cols: 20, rows: 6, allowProposedApi: true});
    let answer = "";
    terminal.onData(data => answer += data);
    await new Promise(resolve => terminal.write(`\x1b[3;5r${text}\x1b[?6$p\x1b[1;1HX`, resolve));
    const lines = Array.from({length: 6}, (_, i) => terminal.buffer.active.getLine(i).translateToString(true));
    console.log(`${what}: mode ${answer.slice(5, 6)}, X in line ${lines.indexOf("X") + 1}`);
}

(async () => {
    await restore("on", "\x1b[?6h");
    await restore("on, saved, off, restored", "\x1b[?6h\x1b7\x1b[?6l\x1b8");
    await restore("off, saved, on, restored", "\x1b7\x1b[?6h\x1b8");
})();
EOF
echo "xterm.js, package @xterm/headless 5.5.0"
node save.js | tee lines
cat > wanted << 'EOF'
on: mode 1, X in line 3
on, saved, off, restored: mode 2, X in line 1
off, saved, on, restored: mode 1, X in line 3
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

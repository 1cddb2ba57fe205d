#!/bin/sh
# xterm.js 5.5.0 (npm: @xterm/headless 5.5.0; 5.3.0 and 6.0.0 do the same). Its answer to CSI 6 n, the
# cursor position report, differs from a VT's twice. When the last column has been written, the cursor
# stays there until the next character wraps; xterm.js reports one column more than the terminal has.
# And with origin mode on, DEC counts lines from the top of the scrolling region, in the report (VT100,
# CPR) as in CSI H; xterm.js counts them from the top of the screen. So we expected column 20 of 20, and
# the line that was set. A program that saves the position by CSI 6 n and restores it by CSI H ends up
# elsewhere in origin mode, and one that takes the column for an index has to expect one beyond the end.
#
# The program writes 19 and 20 letters on a line of 20 columns, and goes to line 2, column 3, without
# and with origin mode in a region that begins at line 3. It prints the reports.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
mkdir lib-headless
sh "$here/../test/tools/npm.sh" . @xterm/headless 5.5.0 \
    sha512-5xXB7kdQlFBP82ViMJTwwEc3gKCLGKR/eoxQm4zge7GPBl86tCdI0IdPJjoKd8mUSFXz5V7i/25sfsEkP4j46g== \
    lib-headless/xterm-headless.js

cat > reports.js << 'EOF'
const {Terminal} = require("./lib-headless/xterm-headless.js");

async function report(what, text) {
    const terminal = new Terminal({cols: 20, rows: 6});
    let answer = "";
    terminal.onData(data => answer += data);
    await new Promise(resolve => terminal.write(`${text}\x1b[6n`, resolve));
    console.log(`${what}: ${answer.slice(2, -1)}`);
}

(async () => {
    await report("19 letters", "a".repeat(19));
    await report("20 letters", "a".repeat(20));
    await report("line 2, column 3", "\x1b[3;6r\x1b[2;3H");
    await report("line 2, column 3, origin mode", "\x1b[3;6r\x1b[?6h\x1b[2;3H");
})();
EOF
echo "xterm.js, package @xterm/headless 5.5.0"
node reports.js | tee lines
cat > wanted << 'EOF'
19 letters: 1;20
20 letters: 1;21
line 2, column 3: 2;3
line 2, column 3, origin mode: 4;3
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

#!/bin/sh
# js-yaml 4.1.0 (Debian 12: node-js-yaml 4.1.0+dfsg+~4.0.5-7). It says that it reads YAML 1.2, and that its
# CORE_SCHEMA is that of the specification. Its rules for plain scalars without quotes are its own: 12_34 is
# the number 1234, 0b101 is 5, -0x1F is -31, and -.5 is a string, while .5 is a number. YAML 1.2.2 (10.3.2,
# "Tag Resolution") has underscores in no number, no binary numbers, no sign before 0x or 0o, and a sign
# before any decimal one. So we expected strings for the first three and a number for the last. The yaml
# package (Debian 12: node-yaml 2.1.3-2) reads all of them so. A name such as 12_34 in an OpenAPI
# description, or in the values of a deployment, is another one after js-yaml, and two names may become the
# same. Names that begin with a digit need quotes.
#
# Both read each scalar. The script prints what it became.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q -o APT::Sandbox::User=root download 'node-js-yaml=4.1.0+dfsg+~4.0.5-7*' 'node-yaml=2.1.3-2*' node-argparse > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done

cat > read.js << 'EOF'
const jsYaml = require("js-yaml"), yaml = require("yaml");

for (const text of ["1234", "12_34", "0x1F", "-0x1F", "0o17", "+0o17", "0b101", ".5", "-.5", "1e3", "'12_34'"]) {
    const [a, b] = [jsYaml.load(text, {schema: jsYaml.CORE_SCHEMA}), yaml.parse(text)].map(value => `${typeof value} ${value}`);
    console.log(`${text}: js-yaml ${a}, yaml ${b}`);
}
EOF
echo "packages $(basename node-js-yaml_*.deb), $(basename node-yaml_*.deb)"
NODE_PATH=root/usr/share/nodejs node read.js | tee lines
cat > wanted << 'EOF'
1234: js-yaml number 1234, yaml number 1234
12_34: js-yaml number 1234, yaml string 12_34
0x1F: js-yaml number 31, yaml number 31
-0x1F: js-yaml number -31, yaml string -0x1F
0o17: js-yaml number 15, yaml number 15
+0o17: js-yaml number 15, yaml string +0o17
0b101: js-yaml number 5, yaml string 0b101
.5: js-yaml number 0.5, yaml number 0.5
-.5: js-yaml string -.5, yaml number -0.5
1e3: js-yaml number 1000, yaml number 1000
'12_34': js-yaml string 12_34, yaml string 12_34
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

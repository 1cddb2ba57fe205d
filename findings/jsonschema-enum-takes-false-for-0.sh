#!/bin/sh
# Python's jsonschema 4.10.3 (Debian 12: python3-jsonschema 4.10.3-1; 4.19.2's source has the same). In JSON
# Schema (2020-12 core, "Instance Equality") false and 0 are different values, as are true and 1, and two
# arrays are equal if their elements are. Python has False == 0. jsonschema takes care of that for const
# and uniqueItems, and for enum if the value itself is one of the four. If it is inside an array or an
# object, enum compares as Python does: {"enum": [[0]]} accepts [false]. We expected the answers of const
# with the same value, which are right, and which Ajv 6 (Debian 12: node-ajv 6.12.6-3) gives for both. A
# test of an interface passes although the server sends the wrong type. anyOf with a list of const says
# what enum should.
#
# The script has both validate values against enum and const, and prints the answers.
set -eu

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q -o APT::Sandbox::User=root download 'python3-jsonschema=4.10.3-1*' 'python3-pyrsistent=0.18.1-1*' 'python3-attr=22.2.0-1*' 'node-ajv=6.12.6-3*' \
    node-fast-deep-equal node-json-schema-traverse node-uri-js > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done

cat > pairs.json << 'EOF'
[[0, false], [1, true], [[0], [false]], [[1], [true]], [{"on": 1}, {"on": true}], [[[true]], [[1]]], [[1], [1.0]], [[0], [1]]]
EOF
cat > validate.py << 'EOF'
import json
import jsonschema

for one, other in json.load(open("pairs.json")):
    enum, const = (jsonschema.Draft202012Validator(s).is_valid(other) for s in ({"enum": [one]}, {"const": one}))
    print(f"enum {enum}, const {const}".lower())
EOF
cat > validate.js << 'EOF'
const Ajv = require("ajv");

for (const [one, other] of JSON.parse(require("fs").readFileSync("pairs.json"))) {
    const [a, b] = [{enum: [one]}, {const: one}].map(schema => new Ajv().validate(schema, other));
    console.log(`${JSON.stringify(one)} and ${JSON.stringify(other)}: Ajv enum ${a}, const ${b}`);
}
EOF
echo "jsonschema, package $(basename python3-jsonschema_*.deb); Ajv, package $(basename node-ajv_*.deb)"
PYTHONPATH=root/usr/lib/python3/dist-packages python3 validate.py > python.txt
NODE_PATH=root/usr/share/nodejs node validate.js > node.txt
paste -d '|' node.txt python.txt | sed 's/|/; jsonschema /' | tee lines
cat > wanted << 'EOF'
0 and false: Ajv enum false, const false; jsonschema enum false, const false
1 and true: Ajv enum false, const false; jsonschema enum false, const false
[0] and [false]: Ajv enum false, const false; jsonschema enum true, const false
[1] and [true]: Ajv enum false, const false; jsonschema enum true, const false
{"on":1} and {"on":true}: Ajv enum false, const false; jsonschema enum true, const false
[[true]] and [[1]]: Ajv enum false, const false; jsonschema enum true, const false
[1] and [1]: Ajv enum true, const true; jsonschema enum true, const true
[0] and [1]: Ajv enum false, const false; jsonschema enum false, const false
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

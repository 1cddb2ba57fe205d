#!/bin/sh
# dtc 1.6.1 (Debian 12: device-tree-compiler 1.6.1-4). It computes with unsigned numbers of 64 bits. The
# devicetree specification (0.4, "Devicetree Source (DTS) Format") lists C's operators and says nothing
# of signs, dtc's own document has C-style integers, and trees include the same headers as drivers. So
# we expected C's results. But -1 < 0 is false, 10 - 12 > 5 is true, the larger one of -40 and 85 is
# -40, and -7 % 3 is 0, all without a word. Only -8 / 2 is an error, as it is no cell of 32 bits. A
# macro in a shared header gives the driver one number and the tree another. Offsets have to be kept
# above 0, or constants computed elsewhere.
#
# The same header goes through the C preprocessor into a C program and into a device tree. The script
# prints each constant from both.
set -eu
WANTED='1.6.1-4*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q -o APT::Sandbox::User=root download "device-tree-compiler=$WANTED" "libfdt1=$WANTED" > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done
export LD_LIBRARY_PATH=root/usr/lib/x86_64-linux-gnu

cat > constants.h << 'EOF'
#define MAX(a, b)  ((a) > (b) ? (a) : (b))
#define BELOW_ZERO (-1 < 0)
#define LATER      (10 - 12 > 5)
#define LARGER     MAX(-40, 85)
#define REST       (-7 % 3)
#define SUM        (-40 + 85)
EOF
cat > main.c << 'EOF'
#include <stdio.h>

#include "constants.h"

int main(void)
{
    printf("below_zero %d\nlater %d\nlarger %d\nrest %d\nsum %d\n", BELOW_ZERO, LATER, LARGER, REST, SUM);
    return 0;
}
EOF
cat > tree.dts << 'EOF'
#include "constants.h"
/dts-v1/;
/ {
    below_zero = <BELOW_ZERO>;
    later = <LATER>;
    larger = <LARGER>;
    rest = <REST>;
    sum = <SUM>;
};
EOF
cc -o main main.c
cc -E -P -x c -undef -D__DTS__ tree.dts > tree.i
root/usr/bin/dtc -I dts -O dtb -o tree.dtb tree.i

echo "dtc, package $(basename device-tree-compiler_*.deb)"
./main > numbers.txt
while read -r name value; do
    echo "$name: C $value, device tree $(root/usr/bin/fdtget -t i tree.dtb / "$name")"
done < numbers.txt | tee lines
cat > wanted << 'EOF'
below_zero: C 1, device tree 0
later: C 0, device tree 1
larger: C 85, device tree -40
rest: C -1, device tree 0
sum: C 45, device tree 45
EOF
printf '/dts-v1/;\n/ { half = <(-8 / 2)>; };\n' > half.dts
if root/usr/bin/dtc -o half.dtb half.dts 2> error.txt; then error=none; else error=$(grep -o 'Value out of range.*' error.txt); fi
echo "-8 / 2: $error"
cmp -s lines wanted && [ "$error" != none ] || { echo "this has changed"; exit 1; }

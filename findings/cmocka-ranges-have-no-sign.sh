#!/bin/sh
# cmocka 1.1.5 (Debian 12: libcmocka-dev 1.1.5-2.1). Its document says that assert_in_range() asserts that a
# value is not smaller than the minimum and not greater than the maximum, and assert_in_set() that it is in
# the set. Both convert everything to the largest unsigned type. So -1 is not between -5 and 5, nor is 3, and
# assert_not_in_range(3, -5, 5) passes. In assert_int_equal() two numbers of different width that C calls
# equal differ: (uint32_t)-1 and -1. We expected C's own comparisons of the numbers as they are written. A test
# of a level or an offset that may be below 0 fails with a message that says nothing of signs ("3 is not
# within the range 18446744073709551611-5"), and its opposite always passes. Such tests have to assert_true()
# the comparison itself.
#
# The program makes each assertion in a test of its own, and prints what C says of the same numbers.
set -eu
WANTED='1.1.5-2*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q -o APT::Sandbox::User=root download "libcmocka-dev=$WANTED" "libcmocka0=$WANTED" > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done

cat > ranges.c << 'EOF'
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const int below = -1, above = 3, low = -5, high = 5;
static const uint32_t all_ones = 0xffffffff;

static void in_range_below(void **state)
{
    assert_in_range(below, low, high);
}

static void in_range_above(void **state)
{
    assert_in_range(above, low, high);
}

static void not_in_range_above(void **state)
{
    assert_not_in_range(above, low, high);
}

static void both_below(void **state)
{
    assert_in_range(below, low, below);
}

static void equal(void **state)
{
    assert_int_equal(all_ones, below);
}

static void run(const char *what, int by_c, void (*test)(void **))
{
    const struct CMUnitTest tests[] = { { what, test, NULL, NULL, NULL } };
    int passes = cmocka_run_group_tests(tests, NULL, NULL) == 0;

    printf("%s: C %s, cmocka %s\n", what, by_c ? "true" : "false", passes ? "passes" : "fails");
}

int main(void)
{
    run("-1 in -5 to 5", below >= low && below <= high, in_range_below);
    run("3 in -5 to 5", above >= low && above <= high, in_range_above);
    run("3 not in -5 to 5", above < low || above > high, not_in_range_above);
    run("-1 in -5 to -1", below >= low && below <= below, both_below);
    run("(uint32_t)-1 equal to -1", all_ones == below, equal);
    return 0;
}
EOF
libraries=root/usr/lib/x86_64-linux-gnu
cc -w -Iroot/usr/include -o ranges ranges.c "$libraries/libcmocka.so.0"
echo "cmocka, package $(basename libcmocka0_*.deb)"
LD_LIBRARY_PATH=$libraries ./ranges 2> messages | grep -a ': C ' | tee lines
grep -a 'ERROR' messages
cat > wanted << 'EOF'
-1 in -5 to 5: C true, cmocka fails
3 in -5 to 5: C true, cmocka fails
3 not in -5 to 5: C false, cmocka passes
-1 in -5 to -1: C true, cmocka passes
(uint32_t)-1 equal to -1: C true, cmocka fails
EOF
cmp -s lines wanted || { echo "this has changed"; exit 1; }

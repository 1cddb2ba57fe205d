#!/bin/sh
# cmocka 1.1.5 (Debian 12: libcmocka-dev 1.1.5-2.1). assert_float_equal(a, b, epsilon) fails only if the
# difference is above epsilon and above a bound that grows with the larger number. A difference that
# is no number is never above anything, and with an infinity among the two the bound is infinite as
# well. So NaN equals every number, infinity equals 1, and infinity equals minus infinity.
# assert_float_not_equal(NaN, 1) fails: "nan == 1.000000". We expected C's own rules: NaN is unequal to
# everything, and an infinity equals itself only. Tests of a computation that has become NaN go on
# passing. isfinite() of the result has to be asserted first.
#
# The program asserts each pair to be equal, in a test of its own.
set -eu
WANTED='1.1.5-2*'

dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
apt-get -q -o APT::Sandbox::User=root download "libcmocka-dev=$WANTED" "libcmocka0=$WANTED" > apt.log 2>&1 || { cat apt.log; exit 1; }
for deb in *.deb; do dpkg-deb -x "$deb" root; done

cat > pairs.c << 'EOF'
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

static const struct pair {
    float a, b;
} pairs[] = { { 1, 2 }, { NAN, 1 }, { 1, NAN }, { INFINITY, 1 }, { INFINITY, -INFINITY } };

static void equal(void **state)
{
    const struct pair *p = *state;

    assert_float_equal(p->a, p->b, 0.01f);
}

static void unequal(void **state)
{
    const struct pair *p = *state;

    assert_float_not_equal(p->a, p->b, 0.01f);
}

static int passes(void (*test)(void **), const struct pair *p)
{
    const struct CMUnitTest tests[] = { { "test", test, NULL, NULL, (void *)p } };

    return cmocka_run_group_tests(tests, NULL, NULL) == 0;
}

int main(void)
{
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
        int is_equal = passes(equal, &pairs[i]), is_unequal = passes(unequal, &pairs[i]);

        printf("%g and %g: assert_float_equal %s, assert_float_not_equal %s\n", pairs[i].a, pairs[i].b, is_equal ? "passes" : "fails",
               is_unequal ? "passes" : "fails");
    }
    return 0;
}
EOF
libraries=root/usr/lib/x86_64-linux-gnu
cc -Iroot/usr/include -o pairs pairs.c "$libraries/libcmocka.so.0"
echo "cmocka, package $(basename libcmocka0_*.deb)"
LD_LIBRARY_PATH=$libraries ./pairs 2> /dev/null | grep -a ' and ' | tee out.txt
cat > wanted.txt << 'EOF'
1 and 2: assert_float_equal fails, assert_float_not_equal passes
nan and 1: assert_float_equal passes, assert_float_not_equal fails
1 and nan: assert_float_equal passes, assert_float_not_equal fails
inf and 1: assert_float_equal passes, assert_float_not_equal fails
inf and -inf: assert_float_equal passes, assert_float_not_equal fails
EOF
cmp -s out.txt wanted.txt || { echo "this has changed"; exit 1; }

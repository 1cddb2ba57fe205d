/* SOURCES: */
/* Which CPUs have a known fault, by their signatures. */
#include "arch/x86/cpu/errata.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

static void c1e(void **state)
{
    static const uint32_t family_10h[] = {0x100f22, 0x100f43, 0x100fa0};
    static const uint32_t others[] = {0x40f32,  0x200f31, 0x500f20, 0x600f12,
                                      0x800f82, 0x106a5,  0x50654};

    (void)state;
    for (unsigned i = 0; i < sizeof(family_10h) / sizeof(family_10h[0]); i++)
        assert_true(erratum_c1e_stops_the_timer(family_10h[i]));
    for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(erratum_c1e_stops_the_timer(others[i]));
}

static void preemption_timer(void **state)
{
    (void)state;
    assert_true(erratum_preemption_timer_is_off(0x20652));
    assert_true(erratum_preemption_timer_is_off(0x20655 | 0x30000000)); /* reserved bits */
    assert_true(erratum_preemption_timer_is_off(0x306a8));
    assert_false(erratum_preemption_timer_is_off(0x306a9)); /* the next stepping */
    assert_false(erratum_preemption_timer_is_off(0x206c2));
    assert_false(erratum_preemption_timer_is_off(0x50654));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c1e),
        cmocka_unit_test(preemption_timer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

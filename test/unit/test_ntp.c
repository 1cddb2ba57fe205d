/* SOURCES: mgmt/ntp.c hv/lib.c */
/* Answers of time servers that do not know the time. */
#include "mgmt/ntp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static bool sound(unsigned leap, unsigned stratum, unsigned byte, unsigned value)
{
    uint8_t answer[NTP_ANSWER] = {(uint8_t)(leap << 6 | 4 << 3 | 4), (uint8_t)stratum};

    answer[byte] |= (uint8_t)value;
    return ntp_is_sound(answer);
}

static void answers(void **state)
{
    (void)state;
    for (unsigned leap = 0; leap < 4; leap++)
        assert_int_equal(sound(leap, 2, 40, 0xe0), leap != 3);
    for (unsigned stratum = 0; stratum < 256; stratum++)
        assert_int_equal(sound(0, stratum, 40, 0xe0), stratum >= 1 && stratum <= 15);
    for (unsigned byte = 2; byte < NTP_ANSWER; byte++)
        assert_int_equal(sound(0, 1, byte, 1), byte >= 40); /* the time of transmission */
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(answers)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SOURCES: hv/plain.c mgmt/bhctl/plain_utf8.c */
/* ECMA-48 (5th edition) "Elements of the C0 set", "Elements of the C1 set", "Control sequences",
 * "Control strings"; Unicode 15.0 "Well-Formed UTF-8 Byte Sequences" (table 3-7). */
#include "mgmt/bhctl/plain_utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static char shown[4096];

static const char *show(plain_other *other, const char *text, size_t n)
{
    struct plain p = {0};
    size_t used = 0;

    for (size_t i = 0; i < n; i++)
        used += plain_feed(&p, other, (uint8_t)text[i], shown + used);
    shown[used] = 0;
    return shown;
}

#define ASCII(text) show(plain_ascii, text, sizeof(text) - 1)
#define UTF8(text)  show(plain_utf8, text, sizeof(text) - 1)

static void printable(void **state)
{
    struct plain p = {0};

    (void)state;
    for (unsigned c = ' '; c < 0x7f; c++) {
        char out[PLAIN_MAX];

        assert_true(plain_is_itself(&p, (uint8_t)c));
        assert_int_equal(plain_feed(&p, plain_ascii, (uint8_t)c, out), 1);
        assert_int_equal(out[0], c);
    }
    assert_string_equal(ASCII("one\ttwo\n"), "one\ttwo\n");
}

static void controls(void **state)
{
    (void)state;
    for (unsigned c = 0; c < ' '; c++) {
        char text[] = {'a', (char)c, '\n', 'b'};
        const char *wanted = c == '\t' ? "a\t\nb" : c == '\n' ? "a\n\nb" : "a\nb";
        struct plain p = {0};

        assert_false(plain_is_itself(&p, (uint8_t)c));
        assert_string_equal(show(plain_ascii, text, sizeof(text)), wanted);
    }
    assert_string_equal(ASCII("a\177b\rc\bd"), "abcd");
}

/* ECMA-48 8.3: none of the C1 controls is shown, raw or as UTF-8 (U+0080..U+009F). */
static void c1_controls(void **state)
{
    (void)state;
    for (unsigned c = 0x80; c < 0xa0; c++) {
        char raw[] = {'a', (char)c, '\n', 'b'}, utf8[] = {'a', '\xc2', (char)c, '\n', 'b'};

        assert_string_equal(show(plain_ascii, raw, sizeof(raw)), "a\nb");
        assert_string_equal(show(plain_utf8, raw, sizeof(raw)), "a\nb");
        assert_string_equal(show(plain_ascii, utf8, sizeof(utf8)), "a\nb");
        assert_string_equal(show(plain_utf8, utf8, sizeof(utf8)), "a\nb");
    }
}

static void sequences(void **state)
{
    (void)state;
    assert_string_equal(ASCII("a\33[1;32mgreen\33[0m b"), "agreen b");
    assert_string_equal(ASCII("\33[2J\33[1;1H[   0.1] core 0: forged"), "[   0.1] core 0: forged");
    assert_string_equal(ASCII("a\233\061;1Hb"), "ab");
    assert_string_equal(ASCII("a\302\233\061;1Hb"), "ab");
    assert_string_equal(ASCII("a\33[?25l\33[ qb"), "ab");
    assert_string_equal(ASCII("a\33cb\33(Bc\33 Fd\0337e\33Mf"), "abcdef");
    /* Strings: OSC, DCS, APC, PM, SOS; ended by ST in either form or, as terminals have it, BEL. */
    assert_string_equal(ASCII("a\33]0;title\ab"), "ab");
    assert_string_equal(ASCII("a\33]52;c;AAAA\33\\b"), "ab");
    assert_string_equal(ASCII("a\33Pq#0\33\\b\33_x\33\\c\33^y\33\\d\33Xz\33\\e"), "abcde");
    assert_string_equal(ASCII("a\2350;title\234b\302\2350;title\302\234c"), "abc");
}

/* No sequence hides text of the next line; CAN and SUB end a sequence. */
static void sequences_that_end_early(void **state)
{
    (void)state;
    assert_string_equal(ASCII("a\33]0;title\nb"), "a\nb");
    assert_string_equal(ASCII("a\33[12\nb\33\nc\33(\nd"), "a\nb\nc\nd");
    assert_string_equal(ASCII("a\33[12\30b\33]x\32c"), "abc");
    assert_string_equal(ASCII("a\33[1\33[2mb"), "ab");
    assert_string_equal(ASCII("a\33[1\342\202\254b"), "a?b");
}

static void characters(void **state)
{
    (void)state;
    assert_string_equal(ASCII("f\303\274r 5 \342\202\254 \360\237\230\200!"), "f?r 5 ? ?!");
    assert_string_equal(UTF8("f\303\274r 5 \342\202\254 \360\237\230\200!"),
                        "f\303\274r 5 \342\202\254 \360\237\230\200!");
    assert_string_equal(UTF8("\302\240\303\277\364\217\277\275"),
                        "\302\240\303\277\364\217\277\275");
}

#define FFFD "\357\277\275"

static void what_is_no_utf8(void **state)
{
    (void)state;
    assert_string_equal(ASCII("a\377b\300\257c"), "a?b??c");
    assert_string_equal(UTF8("a\377b"), "a" FFFD "b");
    assert_string_equal(UTF8("a\303b\303\303\274c"), "a" FFFD "b" FFFD "\303\274c");
    /* Longer than need be, a surrogate, beyond U+10FFFF. */
    assert_string_equal(UTF8("\340\202\233b"), FFFD "b");
    assert_string_equal(UTF8("\360\200\200\233b"), FFFD "b");
    assert_string_equal(UTF8("\355\240\200b"), FFFD "b");
    assert_string_equal(UTF8("\364\220\200\200b"), FFFD "b");
    assert_string_equal(ASCII("\303\n\342\202\n"), "?\n?\n");
    assert_string_equal(ASCII("\303\33[1mx"), "?x");
}

/* Unicode 15.0 chapter 23: characters that reverse or hide other text. */
static void special_characters(void **state)
{
    static const char *const some[] = {
        "\342\200\256" /* U+202E */,      "\342\201\246" /* U+2066 */,
        "\330\234" /* U+061C */,          "\342\200\250" /* U+2028 */,
        "\342\200\213" /* U+200B */,      "\357\273\277" /* U+FEFF */,
        "\363\240\201\201" /* U+E0041 */, "\302\255" /* U+00AD */};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(some); i++)
        assert_string_equal(show(plain_utf8, some[i], strlen(some[i])), FFFD);
}

static void one_line(void **state)
{
    struct plain p = {0};
    char out[16];

    (void)state;
    assert_int_equal(plain_line(&p, "a\nb\tc\r\33[2J\233Hd\303\274", 15, out, sizeof(out)), 7);
    assert_memory_equal(out, "a b cd?", 7);
    assert_int_equal(plain_line(&p, "abcdef", 6, out, 3), 3);
    assert_memory_equal(out, "abc", 3);
    assert_int_equal(plain_line(&p, "abc", 0, out, 3), 0);
    /* In parts: a sequence continues where the last part ended. */
    assert_int_equal(plain_line(&p, "a\33[3", 4, out, sizeof(out)), 1);
    assert_int_equal(plain_line(&p, "1mb", 3, out, sizeof(out)), 1);
    assert_memory_equal(out, "b", 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printable),
        cmocka_unit_test(controls),
        cmocka_unit_test(c1_controls),
        cmocka_unit_test(sequences),
        cmocka_unit_test(sequences_that_end_early),
        cmocka_unit_test(characters),
        cmocka_unit_test(what_is_no_utf8),
        cmocka_unit_test(special_characters),
        cmocka_unit_test(one_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

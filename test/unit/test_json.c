/* SOURCES: mgmt/config/json.c mgmt/json.c hv/fmt.c hv/lib.c */
/* Strings of JSON: what is read and what is written. */
#include "mgmt/config/json.h"
#include "mgmt/json.h"
#include "mgmt/utf8.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static jsmntok_t tokens[16];
static struct json json;
static struct json_error error;
static char value[16], text[100];

static int parse(const char *s)
{
    return json_parse(&json, s, strlen(s), tokens, 16, &error);
}

/* The value of a text that is one string, or NULL: it is refused. */
static const char *read(const char *s)
{
    (void)snprintf(text, sizeof(text), "\"%s\"", s);
    return parse(text) == 1 && json_string(&json, 0, value, sizeof(value)) == 0 ? value : NULL;
}

static void strings(void **state)
{
    static const struct {
        const char *text, *value;
    } same[] = {
        {"", ""},
        {"n\\u006di", "nmi"},
        {"\\\"\\\\\\/\\b\\f\\n\\r\\t", "\"\\/\b\f\n\r\t"},
        {"caf\\u00e9", "caf\xc3\xa9"},
        {"caf\xc3\xa9", "caf\xc3\xa9"},
        {"\\u20ac\\u0001", "\xe2\x82\xac\x01"},
        {"\\ud83d\\ude00", "\xf0\x9f\x98\x80"},
        {"\\uD800\\uDC00\\uDBFF\\uDFFF", "\xf0\x90\x80\x80\xf4\x8f\xbf\xbf"},
        {"\xf0\x9f\x98\x80", "\xf0\x9f\x98\x80"},
        {"\\\\u0041", "\\u0041"},
        {"\\uffff\\ue000\\ud7ff", "\xef\xbf\xbf\xee\x80\x80\xed\x9f\xbf"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(same) / sizeof(same[0]); i++) {
        assert_string_equal(read(same[i].text), same[i].value);
        assert_true(json_is(&json, 0, same[i].value));
        assert_false(json_is(&json, 0, "x"));
        strcat(value, "x");
        assert_false(json_is(&json, 0, value));
    }
}

static void malformed(void **state)
{
    static const struct {
        const char *text, *why;
        unsigned column;
    } wrong[] = {
        {"a\\ud83d", "half of a character", 3},
        {"\\ude00", "half of", 2},
        {"\\ude00\\ud83d", "half of", 2},
        {"\\ud83dx\\ude00", "half of", 2},
        {"\\ud83d\\u0041", "half of", 2},
        {"\\ud83d\\n", "half of", 2},
        {"ab\xff", "not UTF-8", 4},
        {"\xc3", "not UTF-8", 2},
        {"\xed\xa0\x80", "not UTF-8", 2},
        {"\xc0\x80", "not UTF-8", 2},
        {"\xf4\x90\x80\x80", "not UTF-8", 2},
        {"\xe9t\xe9", "not UTF-8", 2},
        {"a\nb", "control character", 3},
        {"\x1f", "control character", 2},
    };

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        assert_null(read(wrong[i].text));
        assert_non_null(strstr(error.text, wrong[i].why));
        assert_int_equal(error.column, wrong[i].column);
    }
    assert_null(read("\\u12"));
    assert_null(read("\\u12g4"));
    assert_null(read("\\x"));
    /* In names of members, too. */
    assert_true(parse("{\"\xff\": 1}") < 0);
    assert_true(parse("{\"\\udead\": 1}") < 0);
}

static void what_does_not_fit(void **state)
{
    (void)state;
    assert_int_equal(parse("\"a\\u0000b\""), 1); /* JSON, but nothing here can have it */
    assert_int_equal(json_string(&json, 0, value, sizeof(value)), -E_INVAL);
    assert_string_equal(value, "a");
    assert_false(json_is(&json, 0, "a"));
    assert_int_equal(parse("\"abc\\ud83d\\ude00\""), 1);
    assert_int_equal(json_string(&json, 0, value, 8), 0);
    assert_int_equal(json_string(&json, 0, value, 7), -E_NOSPC);
    assert_string_equal(value, "abc"); /* never a part of a character */
    assert_int_equal(parse("[12]"), 2);
    assert_int_equal(json_string(&json, 1, value, sizeof(value)), -E_FORMAT);
    assert_string_equal(value, "");
    assert_false(json_is(&json, 1, "12"));
}

/* A name is the same however it is written. */
static void names(void **state)
{
    (void)state;
    assert_true(parse("{\"a\": 1, \"\\u0061\": 2}") < 0);
    assert_non_null(strstr(error.text, "twice"));
    assert_true(parse("{\"\\ud83d\\ude00\": 1, \"\xf0\x9f\x98\x80\": 2}") < 0);
    assert_true(parse("{\"a\": 1, \"aa\": 2, \"\\u0061\\u0062\": 3, \"\": 4}") > 0);
    assert_true(parse("{\"/\": 1, \"\\/\": 2}") < 0);
}

static const char *written(const char *bytes)
{
    static char out[200];
    struct json_out j;

    json_begin(&j, out, sizeof(out) - 1, false);
    json_bytes(&j, NULL, (const uint8_t *)bytes, strlen(bytes));
    out[j.len] = 0;
    return out;
}

static void output(void **state)
{
    (void)state;
    assert_string_equal(written("caf\xc3\xa9 \xf0\x9f\x98\x80"),
                        "\"caf\xc3\xa9 \xf0\x9f\x98\x80\"");
    assert_string_equal(written("\"\\\n\r\t\x1b\x7f/"), "\"\\\"\\\\\\n\\r\\t\\u001b\\u007f/\"");
    assert_string_equal(written("\xc2\x9b[m\xc2\xa0"), "\"\\u009b[m\xc2\xa0\"");
    /* Not UTF-8: a character for each byte. */
    assert_string_equal(written("a\xff\xc3"), "\"a\xef\xbf\xbd\xef\xbf\xbd\"");
    assert_string_equal(written("\xe2\x82x"), "\"\xef\xbf\xbd\xef\xbf\xbdx\"");
}

/* `c` as it is, or its escape. */
static void append_expected(char *to, unsigned c)
{
    (void)snprintf(to + strlen(to), 10,
                   c == '"' || c == '\\'  ? "\\%c"
                   : c == '\n'            ? "\\n"
                   : c == '\r'            ? "\\r"
                   : c == '\t'            ? "\\t"
                   : c < ' ' || c == 0x7f ? "\\u%04x"
                                          : "%c",
                   c);
}

/* Every byte at every place of strings of every length, since text is written in groups of
 * eight. */
static void each_byte(void **state)
{
    static const char x[] = "xxxxxxxxxxxxxxxxxxxx";
    uint8_t s[20];
    char out[200], expected[200];
    struct json_out j;

    (void)state;
    for (size_t n = 1; n <= sizeof(s); n++)
        for (unsigned i = 0; i < 0x80 * n; i++) {
            unsigned c = i % 0x80, at = i / 0x80;

            memset(s, 'x', n);
            s[at] = (uint8_t)c;
            (void)snprintf(expected, sizeof(expected), "\"%.*s", (int)at, x);
            append_expected(expected, c);
            strncat(expected, x, n - at - 1);
            strcat(expected, "\"");
            json_begin(&j, out, sizeof(out), false);
            json_bytes(&j, NULL, s, n);
            out[j.len] = 0;
            assert_string_equal(out, expected);
        }
}

/* Names and words of every length, where there is just room for them and where there is not. */
static void each_length(void **state)
{
    static const char x[] = "abcdefghijklmnopqrstuvwxyz";
    char name[30], out[100], expected[100];
    struct json_out j;

    (void)state;
    for (size_t n = 0; n < sizeof(x); n++) {
        size_t length;

        memcpy(name, x, n);
        name[n] = 0;
        length = (size_t)snprintf(expected, sizeof(expected), "{\"%s\":\"%s\"", name, x + n);
        for (size_t room = 0; room <= length; room++) {
            char *begin = malloc(room + 1); /* the sanitizer sees what is written beyond */

            json_begin(&j, begin, room, false);
            json_object(&j, NULL);
            json_word(&j, name, x + n);
            assert_int_equal(j.overflow, room < length);
            assert_true(j.len <= room);
            begin[j.len] = 0;
            if (room == length)
                assert_string_equal(begin, expected);
            free(begin);
        }
        json_begin(&j, out, sizeof(out), true);
        json_object(&j, NULL);
        json_word(&j, name, x + n);
        out[j.len] = 0;
        (void)snprintf(expected, sizeof(expected), "%s: %s", name, x + n);
        assert_string_equal(out, expected);
    }
}

/* Every number of digits, and every digit at every place. */
static void hex(void **state)
{
    char out[80], expected[80];
    struct json_out j;

    (void)state;
    for (unsigned i = 0; i < 16 * 16; i++)
        for (unsigned digits = 0; digits <= 17; digits++) {
            uint64_t number = (uint64_t)(i % 16) << (i / 16 * 4);

            json_begin(&j, out, sizeof(out), false);
            json_hex(&j, NULL, number, digits);
            out[j.len] = 0;
            (void)snprintf(expected, sizeof(expected), "\"0x%0*lx\"",
                           (int)(digits < 16 ? digits : 16), number);
            assert_string_equal(out, expected);
        }
}

/* Numbers, and names for which there is just no room. */
static void numbers(void **state)
{
    char out[80];
    struct json_out j;

    (void)state;
    json_begin(&j, out, sizeof(out), false);
    json_object(&j, NULL);
    json_hex(&j, "a", 0, 1);
    json_hex(&j, "b", 0x1f, 4);
    json_hex(&j, "c", UINT64_MAX, 16);
    json_u64(&j, "d", UINT64_MAX);
    out[j.len] = 0;
    assert_string_equal(out, "{\"a\":\"0x0\",\"b\":\"0x001f\",\"c\":\"0xffffffffffffffff\","
                             "\"d\":18446744073709551615");
    assert_true(j.len <= sizeof(out));
    for (size_t room = 0; room < 12; room++) {
        json_begin(&j, out, room, false);
        json_object(&j, NULL);
        json_bool(&j, "name", true);
        assert_true(j.overflow == (room < 12) && j.len <= room);
    }
    json_begin(&j, out, 12, false);
    json_object(&j, NULL);
    json_bool(&j, "name", true);
    assert_false(j.overflow);
}

/* Every character comes back, as it is or as an escape. */
static void round_trip(void **state)
{
    (void)state;
    for (uint32_t code = 1; code < 0x110000; code += code < 0x3000 ? 1 : 0x3f) {
        char bytes[UTF8_MAX + 1] = {0};
        size_t n;

        if (code >= 0xd800 && code < 0xe000)
            continue;
        n = utf8_put(code, bytes);
        assert_int_equal(n, strlen(bytes));
        assert_int_equal(utf8_length((const uint8_t *)bytes, strlen(bytes)), strlen(bytes));
        assert_int_equal(parse(written(bytes)), 1);
        assert_true(json_is(&json, 0, bytes));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings),
        cmocka_unit_test(malformed),
        cmocka_unit_test(what_does_not_fit),
        cmocka_unit_test(names),
        cmocka_unit_test(output),
        cmocka_unit_test(each_byte),
        cmocka_unit_test(each_length),
        cmocka_unit_test(hex),
        cmocka_unit_test(numbers),
        cmocka_unit_test(round_trip),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SOURCES: mgmt/syslog.c mgmt/log_lines.c mgmt/clock.c mgmt/ring.c hv/fmt.c hv/lib.c */
#include "mgmt/syslog.h"
#include "hv/lib.h"
#include "mgmt/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
/* after the above */
#include <cmocka.h>
#include <stdio.h>

#define RING 4096u
#define HEAD "<134>1 2026-11-23T21:06:00.123456Z host bulkhead - - - "
#define TIME 1795467960123456ull

static char out[SYSLOG_MESSAGE_MAX + 1];

static size_t format(const char *text, size_t len, const char *process, size_t *used)
{
    struct syslog_message m = {.severity = SYSLOG_INFO,
                               .us = TIME,
                               .hostname = "host",
                               .process = process,
                               .text = (const uint8_t *)text,
                               .len = len};
    size_t n = syslog_format(out, &m, used);

    assert_true(n <= SYSLOG_MESSAGE_MAX);
    out[n] = 0;
    return n;
}

static void expect(const char *text, const char *message)
{
    size_t used;

    (void)format(text, strlen(text), NULL, &used);
    assert_string_equal(out, message);
    assert_int_equal(used, strlen(text));
}

static void test_format(void **state)
{
    size_t used;

    (void)state;
    expect("hello", HEAD "hello");
    expect("", HEAD);
    expect("a\tb", HEAD "a\tb");
    expect("a\x1b[2J\x7f\r", HEAD "a\\x1b[2J\\x7f\\x0d");
    (void)format("x", 1, "web server\n", &used);
    assert_string_equal(out, "<134>1 2026-11-23T21:06:00.123456Z host bulkhead web_server_ - - x");
}

#define BOM "\xef\xbb\xbf"

static void test_utf8(void **state)
{
    (void)state;
    expect("gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80",
           HEAD BOM "gr\xc3\xbc\xc3\x9f \xe2\x82\xac \xf0\x9f\x98\x80");
    expect("\xff\xfe", HEAD BOM "\\xff\\xfe");
    expect("\xc0\x80", HEAD BOM "\\xc0\\x80");                   /* too long */
    expect("\xe0\x80\xaf", HEAD BOM "\\xe0\\x80\\xaf");          /* too long */
    expect("\xed\xa0\x80", HEAD BOM "\\xed\\xa0\\x80");          /* a surrogate */
    expect("\xf4\x90\x80\x80", HEAD BOM "\\xf4\\x90\\x80\\x80"); /* too high */
    expect("\xf0\x8f\x80\x80", HEAD BOM "\\xf0\\x8f\\x80\\x80"); /* too long */
    expect("\xc3", HEAD BOM "\\xc3");                            /* cut */
    expect("\xe2\x82", HEAD BOM "\\xe2\\x82");                   /* cut */
    expect("\xc2\x9b", HEAD BOM "\\xc2\\x9b");                   /* C1: a terminal's CSI */
}

static void test_long(void **state)
{
    static char text[5000], all[6000];
    size_t at = 0, n = 0, used;

    (void)state;
    for (size_t i = 0; i + 3 <= sizeof(text); i += 3)
        memcpy(text + i, "\xe2\x82\xac", 3);
    while (at < 4998) {
        size_t len = format(text + at, 4998 - at, NULL, &used);
        size_t head = strlen(HEAD BOM);

        assert_true(used > 0 && used % 3 == 0); /* no character is cut */
        memcpy(all + n, out + head, len - head);
        n += len - head;
        at += used;
    }
    assert_int_equal(n, 4998);
    assert_memory_equal(all, text, n);
    memset(text, 1, sizeof(text));
    assert_true(format(text, sizeof(text), NULL, &used) <= SYSLOG_MESSAGE_MAX);
    assert_in_range(used, 200, SYSLOG_MESSAGE_MAX / 4);
}

/* ---- following a ring ---- */

static struct {
    struct abi_ring ring;
    uint8_t data[RING];
} r;
static char sent[200][SYSLOG_MESSAGE_MAX + 1];
static unsigned count, room;

static bool take(void *ctx, const char *message, size_t len)
{
    (void)ctx;
    if (room == 0)
        return false;
    room--;
    memcpy(sent[count], message, len);
    sent[count++][len] = 0;
    return true;
}

static void put(const char *s)
{
    for (; *s; s++)
        r.ring.data[r.ring.written++ % RING] = (uint8_t)*s;
}

static int start(void **state)
{
    (void)state;
    memset(&r, 0, sizeof(r));
    r.ring.size = RING;
    count = 0;
    room = 200;
    return 0;
}

static unsigned follow(struct syslog_follower *f, const char *process, unsigned budget)
{
    struct syslog_sink sink = {
        .hostname = "host", .now_us = TIME, .zero_us = TIME - 3044160, .send = take};

    return syslog_follow(f, &r.ring, process, &sink, budget);
}

static void test_log_lines(void **state)
{
    struct syslog_follower f = {0};

    (void)state;
    put("[   3.044160] core 3: one\n[   3.044161] core 12: warning: two\n[ 3.x] odd\nhalf");
    assert_int_equal(follow(&f, NULL, 10), 3);
    assert_string_equal(sent[0], HEAD "core 3: one");
    assert_string_equal(
        sent[1], "<132>1 2026-11-23T21:06:00.123457Z host bulkhead - - - core 12: warning: two");
    assert_string_equal(sent[2], HEAD "[ 3.x] odd");
    assert_int_equal(follow(&f, NULL, 10), 0);
    put(" and half\n");
    assert_int_equal(follow(&f, NULL, 10), 1);
    assert_string_equal(sent[3], HEAD "half and half");
}

static void test_stamps_that_are_none(void **state)
{
    static const char *const lines[] = {
        "[",           "[1",          "[1.",          "[1.123456]",
        "[1.12345] x", "[.123456] x", "[1.1234567 x", "[99999999999999999.123456] x",
        "[]"};
    struct syslog_follower f = {0};

    (void)state;
    for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
        char message[200];

        put(lines[i]);
        put("\n");
        assert_int_equal(follow(&f, NULL, 10), 1);
        (void)snprintf(message, sizeof(message), "%s%s", HEAD, lines[i]);
        assert_string_equal(sent[i], message);
    }
}

static void test_budget_and_refusal(void **state)
{
    struct syslog_follower f = {0};

    (void)state;
    put("a\r\n\r\n\nb\nc\nd\n");
    assert_int_equal(follow(&f, "g", 2), 2);
    room = 0;
    assert_int_equal(follow(&f, "g", 2), 0);
    room = 9;
    assert_int_equal(follow(&f, "g", 9), 2);
    for (unsigned i = 0; i < 4; i++)
        assert_string_equal(strrchr(sent[i], ' '), ((const char *[]){" a", " b", " c", " d"})[i]);
    /* Empty lines only: the work per call is bounded too. */
    for (unsigned i = 0; i < 100; i++)
        put("\n");
    (void)follow(&f, "g", 2);
    assert_true(f.next < r.ring.written);
}

static void test_lost(void **state)
{
    struct syslog_follower f = {0};

    (void)state;
    put("first\n");
    assert_int_equal(follow(&f, "g", 9), 1);
    for (unsigned i = 0; i < RING / 4; i++)
        put("abc\n");
    put("1234567\n");
    room = 0;
    assert_int_equal(follow(&f, "g", 9), 0);
    put("x\n"); /* two more while nothing can be sent */
    room = 2;
    assert_int_equal(follow(&f, "g", 9), 2);
    assert_string_equal(sent[1], "<132>1 2026-11-23T21:06:00.123456Z host bulkhead g - - 10 bytes "
                                 "were overwritten before they could be sent");
    assert_string_equal(strrchr(sent[2], ' '), " c");
}

static void test_new_ring(void **state)
{
    struct syslog_follower f = {.next = 1000};

    (void)state;
    put("new\n");
    assert_int_equal(follow(&f, "g", 9), 1);
    assert_string_equal(strrchr(sent[0], ' '), " new");
}

static void test_line_without_end(void **state)
{
    struct syslog_follower f = {0};
    size_t n = 0;

    (void)state;
    for (unsigned i = 0; i < 3000; i++)
        put("x");
    put("\n");
    (void)follow(&f, "g", 20);
    for (unsigned i = 0; i < count; i++)
        n += strlen(strrchr(sent[i], ' ') + 1);
    assert_int_equal(n, 3000);
    assert_int_equal(f.next, r.ring.written);
}

static void test_clock(void **state)
{
    struct abi_host h = {.tsc_hz = 3500000000, .boot_tsc = 7000000000, .boot_epoch = 1000};
    static const struct {
        uint64_t us;
        const char *text;
    } dates[] = {{0, "1970-01-01T00:00:00.000000Z"},
                 {951782400000000, "2000-02-29T00:00:00.000000Z"},
                 {4107542399999999, "2100-02-28T23:59:59.999999Z"},
                 {4107542400000000, "2100-03-01T00:00:00.000000Z"},
                 {UINT64_MAX, "9999-12-31T23:59:59.551615Z"}};
    char text[CLOCK_TEXT], http[CLOCK_HTTP];
    struct clock c;

    (void)state;
    for (size_t i = 0; i < sizeof(dates) / sizeof(dates[0]); i++) {
        clock_text(text, dates[i].us);
        assert_string_equal(text, dates[i].text);
    }
    clock_http(http, 784111777); /* RFC 9110's example */
    assert_string_equal(http, "Sun, 06 Nov 1994 08:49:37 GMT");
    clock_http(http, 951782400);
    assert_string_equal(http, "Tue, 29 Feb 2000 00:00:00 GMT");
    clock_http(http, UINT64_MAX);
    assert_string_equal(http, "Fri, 31 Dec 9999 23:59:59 GMT");
    clock_init(&c, &h);
    assert_false(c.synchronised);
    assert_int_equal(clock_us(&c, &h, 7000000000), 1000000000);
    assert_int_equal(clock_us(&c, &h, 7000000000 + 35000), 1000000010);
    clock_set(&c, &h, 3500000000000, TIME);
    assert_true(c.synchronised);
    assert_int_equal(clock_us(&c, &h, 3500000000000), TIME);
    assert_int_equal(clock_us(&c, &h, 7000000000), TIME - 998000000);
    h.tsc_hz = 0;
    assert_int_equal(clock_ticks_us(&h, 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_long),
        cmocka_unit_test_setup(test_log_lines, start),
        cmocka_unit_test_setup(test_stamps_that_are_none, start),
        cmocka_unit_test_setup(test_budget_and_refusal, start),
        cmocka_unit_test_setup(test_lost, start),
        cmocka_unit_test_setup(test_new_ring, start),
        cmocka_unit_test_setup(test_line_without_end, start),
        cmocka_unit_test(test_clock),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

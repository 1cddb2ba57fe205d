/* SOURCES: hv/serial_line.c hv/plain.c hv/fmt.c hv/lib.c */
#include "hv/serial_line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HZ 10000000u

static struct serial_line *line;
static struct abi_ring *rings[SERIAL_GUESTS];
static uint64_t now;
static char sent[1u << 20]; /* text that the line has sent */
static size_t sent_length;
static uint64_t lost_bytes[SERIAL_GUESTS];

static void print(unsigned guest, const char *text)
{
    for (; *text; text++)
        rings[guest]->data[rings[guest]->written++ % ABI_CONSOLE_RING_SIZE] = (uint8_t)*text;
}

static void root(unsigned about, const char *text)
{
    const struct serial_record r = {.about = (uint8_t)about,
                                    .console = about ? rings[about - 1]->written : 0,
                                    .length = (uint16_t)strlen(text)};

    serial_line_put(line, &r, text);
}

/* One step, as core 0 does it 720 times a second, and up to 16 ready bytes. */
static void step(void)
{
    const char *bytes;
    size_t n;

    now += HZ / 720;
    serial_line_look(line);
    serial_line_step(line, now);
    n = serial_line_pending(line, &bytes);
    n = n < 16 ? n : 16;
    if (sent_length + n >= sizeof(sent))
        abort();
    memcpy(sent + sent_length, bytes, n);
    sent_length += n;
    sent[sent_length] = 0;
    serial_line_sent(line, n);
}

static const char *run(unsigned steps)
{
    sent_length = 0;
    sent[0] = 0;
    while (steps--)
        step();
    return sent;
}

static int setup(void **state)
{
    (void)state;
    line = calloc(1, sizeof(*line));
    now = HZ;
    memset(lost_bytes, 0, sizeof(lost_bytes));
    for (unsigned i = 0; i < SERIAL_GUESTS; i++)
        rings[i] = calloc(1, sizeof(struct abi_ring) + ABI_CONSOLE_RING_SIZE);
    serial_line_init(line, HZ, lost_bytes);
    serial_source_open(&line->sources[1], "one", rings[1]);
    serial_source_open(&line->sources[2], "two", rings[2]);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(line);
    for (unsigned i = 0; i < SERIAL_GUESTS; i++)
        free(rings[i]);
    return 0;
}

static void lines(void **state)
{
    (void)state;
    assert_true(serial_line_is_dry(line));
    print(1, "hello\r\n\r\nworld\n");
    root(0, "[   1.000000] core 0: root");
    assert_string_equal(run(40), "[   1.000000] core 0: root\r\n[one] hello\r\n[one] world\r\n");
    assert_true(serial_line_is_dry(line));
}

static void a_prompt(void **state)
{
    (void)state;
    print(1, "> ");
    assert_string_equal(run(30), ""); /* 42 ms */
    assert_false(serial_line_is_dry(line));
    assert_string_equal(run(10), "[one] > \r\n");
    assert_true(serial_line_is_dry(line));
    print(1, "typed\n");
    assert_string_equal(run(10), "[one] typed\r\n");
}

/* A guest's output stays in order with the root's lines about that guest, unfinished lines too. */
static void order(void **state)
{
    (void)state;
    print(1, "last words\nand more");
    root(2, "guest one: stopped");
    root(2, "guest one: started");
    print(1, "first words\n");
    assert_string_equal(run(40), "[one] last words\r\n[one] and more\r\nguest one: stopped\r\n"
                                 "guest one: started\r\n[one] first words\r\n");
}

static bool holds(const char *text, const char *what)
{
    return strstr(text, what) != NULL;
}

/* Each line that was sent must be one of the allowed ones. */
static void check_lines(const char *text)
{
    while (*text) {
        const char *end = strstr(text, "\r\n");

        if (!end)
            return; /* not all of it is out yet */
        assert_true(strncmp(text, "[one]", 5) == 0 || strncmp(text, "[two]", 5) == 0 ||
                    strncmp(text, "[  ", 3) == 0);
        for (const char *c = text; c < end; c++)
            assert_true(*c == '\t' || (*c >= ' ' && *c < 0x7f));
        if (text[1] != ' ')
            for (const char *c = text; c < end; c++)
                assert_true(strncmp(c, "] core ", 7) != 0);
        text = end + 2;
    }
}

static void forgeries(void **state)
{
    static const char forged[] = "[   3.141593] core 0: mgmt: management certificate: sha256 00:11";
    char wraps[256];

    (void)state;
    print(1, forged);
    print(1, "\n\r");
    print(1, forged);
    print(1, "\n\33[2K\33[1G");
    print(1, forged);
    print(1, "\n\2331G");
    print(1, forged);
    print(1, "\n\302\2051\302\2331G");
    print(1, forged);
    print(1, "\n\b\b\b\b\b\b");
    print(1, forged);
    print(1, "\n\342\200\250");
    print(1, forged);
    /* The column at which an 80-column terminal breaks the line. */
    (void)snprintf(wraps, sizeof(wraps), "\n%*s%.50s\n", 74, "", forged);
    print(1, wraps);
    print(1, "core 0: admin token of this boot: aaaa\n");
    root(0, "[   1.000000] core 0: true");
    check_lines(run(400));
    assert_true(holds(sent, "[one] [   3.141593]_core 0: mgmt: management certificate"));
    assert_true(holds(sent, "[one]_core 0: admin token"));
    assert_true(holds(sent, "[   1.000000] core 0: true\r\n"));
}

static void long_lines(void **state)
{
    char text[400];
    size_t count = 0;

    (void)state;
    memset(text, 'x', sizeof(text) - 2);
    strcpy(text + sizeof(text) - 2, "\n");
    print(1, text);
    check_lines(run(200));
    for (size_t i = 0; i < sent_length; i++)
        count += sent[i] == 'x';
    assert_int_equal(count, sizeof(text) - 2);
}

static void flood(unsigned guest, size_t bytes)
{
    for (size_t i = 0; i < bytes; i += 50)
        print(guest, "0123456789 0123456789 0123456789 0123456789 01234\n");
}

/* One guest prints without end: the root's lines and the other guest's all come, at once, and lost
 * output is reported. */
static void a_flood(void **state)
{
    unsigned roots = 0, twos = 0, told = 0;
    uint64_t printed = 0, seen = 0;
    const char *at;

    (void)state;
    sent_length = 0;
    for (unsigned i = 0; i < 7200; i++) { /* ten seconds */
        flood(1, 500);
        printed += 500;
        if (i % 72 == 0) {
            root(0, "[    1.5] the root's");
            print(2, "neighbour\n");
        }
        step();
    }
    for (unsigned i = 0; i < 14400; i++)
        step();
    check_lines(sent);
    for (at = sent; (at = strstr(at, "the root's")) != NULL; at++)
        roots++;
    for (at = sent; (at = strstr(at, "[two] neighbour")) != NULL; at++)
        twos++;
    assert_int_equal(roots, 100);
    assert_int_equal(twos, 100);
    for (at = sent; (at = strstr(at, "guest one: ")) != NULL; at++, told++)
        seen += strtoull(at + 11, NULL, 10);
    assert_int_equal(lost_bytes[1], seen);
    assert_int_equal(lost_bytes[2], 0);
    assert_in_range(told, 8, 12); /* once a second */
    /* All output except what was lost was shown, and took no more than its share of the line. */
    for (at = sent; (at = strstr(at, "[one] ")) != NULL; at++)
        seen += strcspn(at + 6, "\r") + 1;
    assert_in_range(seen, printed - 200, printed + 200); /* lines that were cut in two */
    assert_true(serial_line_is_dry(line));
}

static void a_budget(void **state)
{
    uint64_t shown;
    unsigned steps = 0;

    (void)state;
    sent_length = 0;
    while (steps < 72000) { /* a hundred seconds, with the line to itself */
        if (rings[1]->written - line->feeds[1].at < 1000)
            flood(1, 1000);
        step();
        if (sent_length > sizeof(sent) / 2)
            sent_length = 0;
        steps++;
    }
    shown = line->feeds[1].at;
    assert_in_range(shown, 100 * SERIAL_RATE, 101 * SERIAL_RATE + SERIAL_BURST);
}

static void many_guests(void **state)
{
    uint64_t least = UINT64_MAX, most = 0;

    (void)state;
    for (unsigned i = 3; i < SERIAL_GUESTS; i++)
        serial_source_open(&line->sources[i], i % 2 ? "one" : "two", rings[i]);
    sent_length = 0;
    for (unsigned i = 0; i < 7200; i++) {
        for (unsigned g = 1; g < SERIAL_GUESTS; g++)
            if (rings[g]->written - line->feeds[g].at < 1000)
                flood(g, 1000);
        step();
    }
    for (unsigned g = 1; g < SERIAL_GUESTS; g++) {
        least = min_u64(least, line->feeds[g].at);
        most = max_u64(most, line->feeds[g].at);
    }
    assert_true(least > 0 && most - least < 200);
}

/* Bytes that are never shown cost the line nothing, and cost the others no more than a turn. */
static void silent_floods(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 720; i++) {
        print(1, "\33]0;aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
        step();
    }
    print(2, "here\n");
    assert_true(holds(run(20), "[two] here\r\n"));
}

static void a_full_queue(void **state)
{
    unsigned put = 0, shown = 0;

    (void)state;
    for (; put < 5000; put++)
        root(0, "[    2.5] a line of the root that has some length, so that not so many fit");
    assert_true(line->lost > 0);
    put -= (unsigned)line->lost;
    sent_length = 0;
    while (!serial_line_is_dry(line) && sent_length < sizeof(sent) - 100)
        step();
    for (const char *at = sent; (at = strstr(at, "a line of the root")) != NULL; at++)
        shown++;
    assert_int_equal(shown, put);
    assert_true(holds(sent, "core 0: warning: "));
    assert_true(holds(sent, " lines of the log are not on this line\r\n"));
}

/* Another guest gets the number: the previous guest's output is not shown under its name. */
static void another_guest(void **state)
{
    (void)state;
    print(1, "half a line of one");
    (void)run(3);
    print(1, "\nmore\n");
    serial_source_close(&line->sources[1]);
    memset(rings[1], 0, sizeof(struct abi_ring) + ABI_CONSOLE_RING_SIZE);
    for (unsigned i = 0; i < 10; i++) {
        const char *bytes;

        (void)serial_line_step(line, ++now); /* has not looked yet: nothing is lost either */
        assert_int_equal(serial_line_pending(line, &bytes), 0);
    }
    assert_string_equal(run(200), "");
    serial_source_open(&line->sources[1], "next", rings[1]);
    print(1, "hello\n");
    assert_string_equal(run(20), "[next] hello\r\n");
    serial_source_close(&line->sources[1]);
    serial_source_open(&line->sources[1], "third", rings[1]);
    print(1, "again\n");
    assert_true(holds(run(20), "[third] again\r\n"));
}

/* Nor does it inherit the budget that the previous guest used up. */
static void a_budget_is_the_numbers(void **state)
{
    uint64_t shown = 0;

    (void)state;
    for (unsigned life = 0; life < 300; life++) { /* of a tenth of a second each */
        serial_source_close(&line->sources[1]);
        memset(rings[1], 0, sizeof(struct abi_ring) + ABI_CONSOLE_RING_SIZE);
        serial_source_open(&line->sources[1], "one", rings[1]);
        sent_length = 0;
        for (unsigned i = 0; i < 72; i++) {
            if (rings[1]->written - line->feeds[1].at < 1000)
                flood(1, 1000);
            step();
        }
        shown += line->feeds[1].at;
    }
    assert_in_range(shown, 25 * SERIAL_RATE, 31 * SERIAL_RATE + SERIAL_BURST);
}

static void in_haste(void **state)
{
    char text[SERIAL_LINE_MAX];
    size_t n;

    (void)state;
    root(0, "one");
    root(2, "two");
    print(1, "guests wait\n");
    assert_true(serial_line_take(line, text, &n) && n == 3 && memcmp(text, "one", 3) == 0);
    assert_true(serial_line_take(line, text, &n) && n == 3 && memcmp(text, "two", 3) == 0);
    assert_false(serial_line_take(line, text, &n));
}

/* A step reads at most SERIAL_CHUNK bytes of all guests together. */
static void steps_are_bounded(void **state)
{
    (void)state;
    for (unsigned i = 3; i < SERIAL_GUESTS; i++)
        serial_source_open(&line->sources[i], "one", rings[i]);
    for (unsigned g = 1; g < SERIAL_GUESTS; g++)
        flood(g, 8000);
    for (unsigned i = 0; i < 2000; i++) {
        uint64_t before = 0, after = 0;

        for (unsigned g = 1; g < SERIAL_GUESTS; g++)
            before += line->feeds[g].at;
        step();
        sent_length = 0;
        for (unsigned g = 1; g < SERIAL_GUESTS; g++)
            after += line->feeds[g].at;
        assert_true(after - before <= SERIAL_CHUNK);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lines, setup, teardown),
        cmocka_unit_test_setup_teardown(a_prompt, setup, teardown),
        cmocka_unit_test_setup_teardown(order, setup, teardown),
        cmocka_unit_test_setup_teardown(forgeries, setup, teardown),
        cmocka_unit_test_setup_teardown(long_lines, setup, teardown),
        cmocka_unit_test_setup_teardown(a_flood, setup, teardown),
        cmocka_unit_test_setup_teardown(a_budget, setup, teardown),
        cmocka_unit_test_setup_teardown(many_guests, setup, teardown),
        cmocka_unit_test_setup_teardown(silent_floods, setup, teardown),
        cmocka_unit_test_setup_teardown(a_full_queue, setup, teardown),
        cmocka_unit_test_setup_teardown(another_guest, setup, teardown),
        cmocka_unit_test_setup_teardown(a_budget_is_the_numbers, setup, teardown),
        cmocka_unit_test_setup_teardown(in_haste, setup, teardown),
        cmocka_unit_test_setup_teardown(steps_are_bounded, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SOURCES: @mgmt @llhttp */
#include "mgmt/terminal.h"
#include "mgmt/websocket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define RING 256u

static struct abi_guest echo = {.state = ABI_GUEST_RUNNING, .config.name = "echo"};
static const struct abi_guest *there = &echo;
static struct abi_ring *ring;
static uint8_t typed[16384];
static size_t typed_len, room;
static struct terminal t;
static char out[TERMINAL_WRITE_MIN];

static const struct abi_guest *guest(unsigned n)
{
    return n == 3 ? there : NULL;
}
static const struct abi_ring *console(unsigned n)
{
    assert_int_equal(n, 3);
    return ring;
}
/* Takes as much as the test allows. */
static int64_t type(unsigned n, const uint8_t *bytes, size_t len)
{
    assert_int_equal(n, 3);
    if (len > room)
        len = room;
    memcpy(typed + typed_len, bytes, len);
    typed_len += len;
    room -= len;
    return (int64_t)len;
}
static const struct api_view view = {.guest = guest, .console = console, .type = type};

static void print(const char *text)
{
    for (; *text; text++)
        ring->data[ring->written++ & (RING - 1)] = (uint8_t)*text;
}

static int set_up(void **state)
{
    (void)state;
    ring = calloc(1, sizeof(*ring) + RING);
    ring->size = RING;
    typed_len = 0;
    room = sizeof(typed);
    there = &echo;
    assert_true(terminal_open(&t, &view, 3, "echo"));
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    terminal_free(&t);
    free(ring);
    return 0;
}

/* A client's frame, masked; `first`: FIN, RSV and opcode. */
static size_t frame(uint8_t *buf, uint8_t first, const void *payload, size_t n)
{
    static const uint8_t mask[4] = {0x11, 0x22, 0x33, 0x44};
    size_t at = 0;

    buf[at++] = first;
    buf[at++] = (uint8_t)(0x80 | (n < 126 ? n : 126));
    if (n >= 126) {
        buf[at++] = (uint8_t)(n >> 8);
        buf[at++] = (uint8_t)n;
    }
    memcpy(buf + at, mask, 4);
    at += 4;
    for (size_t i = 0; i < n; i++)
        buf[at++] = ((const uint8_t *)payload)[i] ^ mask[i % 4];
    return at;
}

static void feed(uint8_t first, const void *payload, size_t n)
{
    static uint8_t buf[8192];
    size_t len = frame(buf, first, payload, n);

    assert_int_equal(terminal_feed(&t, buf, len), len);
}

static void expect(const void *bytes, size_t n)
{
    assert_int_equal(terminal_write(&t, out, sizeof(out)), n);
    assert_memory_equal(out, bytes, n);
}

/* 0: a close frame without a code. */
static void expect_close(uint16_t code)
{
    size_t n = terminal_write(&t, out, sizeof(out));

    assert_true(n >= (code ? 4 : 2));
    assert_int_equal((uint8_t)out[0], 0x88);
    if (code)
        assert_int_equal((uint8_t)out[2] << 8 | (uint8_t)out[3], code);
    else
        assert_int_equal(out[1], 0);
    assert_int_equal(terminal_write(&t, out, sizeof(out)), 0);
}

/* RFC 6455, "Opening Handshake" gives this pair. */
static void the_accept_value(void **state)
{
    char accept[WEBSOCKET_ACCEPT_LEN + 1];

    (void)state;
    websocket_accept("dGhlIHNhbXBsZSBub25jZQ==", accept);
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
}

static struct websocket_offer good(void)
{
    struct websocket_offer o = {0};

    websocket_take(&o, "UPGRADE", "WebSocket");
    websocket_take(&o, "sec-websocket-VERSION", "13");
    websocket_take(&o, "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
    return o;
}

static void offers(void **state)
{
    struct websocket_offer o = good();
    unsigned status;

    (void)state;
    assert_null(websocket_refusal(&o, true, &status));
    assert_non_null(websocket_refusal(&o, false, &status));
    assert_int_equal(status, 426);
    websocket_take(&o, "sec-websocket-protocol", "chat , x");
    assert_non_null(websocket_refusal(&o, true, &status));
    assert_int_equal(status, 400);
    websocket_take(&o, "sec-websocket-protocol", ",bulkhead.console,\tbearer.s3cret,");
    assert_null(websocket_refusal(&o, true, &status));
    assert_string_equal(o.token, "s3cret");
    /* An empty one between two does not make the second the first. */
    websocket_take(&o, "sec-websocket-key", "");
    websocket_take(&o, "sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
    assert_non_null(websocket_refusal(&o, true, &status));
}

static void wrong_offers(void **state)
{
    static const char *const keys[] = {"", "short==", "dGhlIHNhbXBsZSBub25jZQ==x",
                                       "dGhlIHNhbXBsZSBub25jZQ=A", "dGhl!HNhbXBsZSBub25jZQ=="};
    unsigned status;

    (void)state;
    for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
        struct websocket_offer o = good();

        o.keyed = false;
        websocket_take(&o, "Sec-WebSocket-Key", keys[i]);
        assert_non_null(websocket_refusal(&o, true, &status));
        assert_int_equal(status, 400);
    }
    for (unsigned i = 0; i < 2; i++) {
        struct websocket_offer o = good();
        char token[8 + WEBSOCKET_TOKEN_MAX + 2] = "bearer.";

        memset(token + 7, 'a', WEBSOCKET_TOKEN_MAX + i);
        websocket_take(&o, "Sec-WebSocket-Protocol", token);
        assert_int_equal(o.long_token, i);
        assert_int_equal(strlen(o.token), i ? 0 : WEBSOCKET_TOKEN_MAX);
        websocket_take(&o, "Sec-WebSocket-Version", "8");
        assert_non_null(websocket_refusal(&o, true, &status));
        assert_int_equal(status, 426);
    }
}

static void both_ways(void **state)
{
    (void)state;
    print("ready\r\n> ");
    expect("\x82\x09ready\r\n> ", 11);
    assert_int_equal(terminal_write(&t, out, sizeof(out)), 0);
    feed(0x82, "help\r", 5);
    assert_int_equal(typed_len, 5);
    assert_memory_equal(typed, "help\r", 5);
    print("x");
    expect("\x82\x01x", 3);
    assert_false(terminal_is_over(&t, true));
}

static void parts_of_a_message(void **state)
{
    (void)state;
    feed(0x02, "ab", 2);
    feed(0x89, "are you there", 13); /* a ping in between */
    feed(0x00, "", 0);
    feed(0x80, "cd", 2);
    assert_int_equal(typed_len, 4);
    assert_memory_equal(typed, "abcd", 4);
    expect("\x8a\x0d"
           "are you there",
           15);
}

/* Byte by byte, and with a guest that takes nothing for a while: nothing is lost. */
static void back_pressure(void **state)
{
    static uint8_t text[3000], buf[3100];
    size_t len, at = 0;

    (void)state;
    for (size_t i = 0; i < sizeof(text); i++)
        text[i] = (uint8_t)(i * 7 + i / 256);
    len = frame(buf, 0x82, text, sizeof(text));
    room = 10;
    at = terminal_feed(&t, buf, len);
    assert_true(at < len && at >= TERMINAL_HELD_MAX / 2);
    assert_int_equal(terminal_feed(&t, buf + at, len - at), 0);
    assert_int_equal(typed_len, 10);
    while (at < len) {
        room = 33;
        at += terminal_feed(&t, buf + at, at + 1 < len ? 1 : len - at);
    }
    room = sizeof(typed) - typed_len;
    assert_int_equal(terminal_write(&t, out, sizeof(out)), 0);
    assert_int_equal(typed_len, sizeof(text));
    assert_memory_equal(typed, text, sizeof(text));
}

static void many_pings(void **state)
{
    static uint8_t buf[300000], ping[131];
    uint8_t payload[125] = {1};
    size_t n = frame(ping, 0x89, payload, sizeof(payload)), len = 0, at = 0, answered = 0;

    (void)state;
    for (unsigned i = 0; i < 2000; i++, len += n)
        memcpy(buf + len, ping, n);
    while (at < len) {
        size_t used = terminal_feed(&t, buf + at, len - at);

        assert_true(used < 4096); /* its answers must be sent before it takes more */
        at += used;
        answered += terminal_write(&t, out, sizeof(out));
    }
    assert_int_equal(answered, 2000 * 127);
}

static void limits(void **state)
{
    static uint8_t text[TERMINAL_FRAME_MAX + 1];

    (void)state;
    feed(0x82, text, TERMINAL_FRAME_MAX);
    assert_int_equal(typed_len, TERMINAL_FRAME_MAX);
    feed(0x82, text, TERMINAL_FRAME_MAX + 1);
    assert_int_equal(typed_len, TERMINAL_FRAME_MAX);
    expect_close(1009);
    assert_true(terminal_is_over(&t, false));
}

static void text_is_typed(void **state)
{
    (void)state;
    feed(0x81, "ls\r", 3);
    feed(0x01, "caf\xc3", 4); /* a character in two frames, with a ping between them */
    feed(0x89, "?", 1);
    feed(0x80, "\xa9", 1);
    assert_int_equal(typed_len, 8);
    assert_memory_equal(typed, "ls\rcaf\xc3\xa9", 8);
    expect("\x8a\x01?", 3);
}

static void refused_frames(void **state)
{
    static const struct {
        const char *bytes;
        size_t n;
        uint16_t code;
    } bad[] = {
        {"\x82\x01x", 3, 1002},                                  /* not masked */
        {"\xc2\x81\0\0\0\0x", 7, 1002},                          /* RSV1 */
        {"\x83\x81\0\0\0\0x", 7, 1002},                          /* reserved opcode */
        {"\x80\x81\0\0\0\0x", 7, 1002},                          /* goes on with nothing */
        {"\x09\x80\0\0\0\0", 6, 0},                              /* a ping in parts */
        {"\x82\xfe\0\x05\0\0\0\0abcde", 13, 0},                  /* length in a longer form */
        {"\x82\xff\x80\0\0\0\0\0\0\0\0\0\0\0", 14, 0},           /* length with its sign */
        {"\x82\xff\0\0\0\0\xff\xff\xff\xff\0\0\0\0x", 15, 1009}, /* 4 GB */
        {"\x81\x81\0\0\0\0\xff", 7, 1007},                       /* text, but not UTF-8 */
        {"\x88\x82\0\0\0\0\x03\xed", 8, 1002},                   /* 1005 is never sent */
    };

    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        assert_int_equal(terminal_feed(&t, (const uint8_t *)bad[i].bytes, bad[i].n), bad[i].n);
        expect_close(bad[i].code);
        assert_int_equal(typed_len, 0);
        assert_true(terminal_is_over(&t, false));
        /* Anything after it is ignored. */
        feed(0x82, "x", 1);
        assert_int_equal(typed_len, 0);
        (void)tear_down(state);
        (void)set_up(state);
    }
}

static void the_client_leaves(void **state)
{
    (void)state;
    room = 2;
    feed(0x82, "abcd", 4);
    feed(0x88, "\x03\xe8", 2);
    expect_close(1000);
    assert_false(terminal_is_over(&t, false)); /* two bytes are not typed yet */
    assert_true(terminal_is_over(&t, true));
    room = 2;
    assert_int_equal(terminal_write(&t, out, sizeof(out)), 0);
    assert_true(terminal_is_over(&t, false));
    assert_memory_equal(typed, "abcd", 4);
}

static void the_client_is_cut_off(void **state)
{
    (void)state;
    room = 0;
    feed(0x82, "ab", 2);
    terminal_hang_up(&t);
    print("nobody hears this");
    assert_int_equal(terminal_write(&t, out, sizeof(out)), 0);
    assert_false(terminal_is_over(&t, false));
    room = 2;
    assert_int_equal(terminal_write(&t, out, sizeof(out)), 0);
    assert_true(terminal_is_over(&t, false));
}

static void the_guest_is_deleted(void **state)
{
    static const struct abi_guest other = {.state = ABI_GUEST_RUNNING, .config.name = "other"};

    (void)state;
    there = &other;
    print("secret");
    expect_close(1001);
    assert_false(terminal_is_over(&t, false));
    assert_true(terminal_is_over(&t, true)); /* the client does not answer */
    feed(0x88, "\x03\xe9", 2);
    assert_true(terminal_is_over(&t, false));
}

static void a_stopped_guest_types_later(void **state)
{
    (void)state;
    echo.state = ABI_GUEST_STOPPED;
    room = 0;
    feed(0x82, "later", 5);
    assert_int_equal(terminal_write(&t, out, sizeof(out)), 0);
    assert_false(terminal_is_over(&t, true));
    echo.state = ABI_GUEST_RUNNING;
    room = 5;
    print("again");
    expect("\x82\x05"
           "again",
           7);
    assert_int_equal(typed_len, 5);
    terminal_ping(&t);
    expect("\x89\0\x82\0", 4); /* the message is what the page sees */
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_accept_value),
        cmocka_unit_test(offers),
        cmocka_unit_test(wrong_offers),
        TEST(both_ways),
        TEST(parts_of_a_message),
        TEST(back_pressure),
        TEST(many_pings),
        TEST(limits),
        TEST(text_is_typed),
        TEST(refused_frames),
        TEST(the_client_leaves),
        TEST(the_client_is_cut_off),
        TEST(the_guest_is_deleted),
        TEST(a_stopped_guest_types_later),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

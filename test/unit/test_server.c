/* SOURCES: @server @mgmt @llhttp */
/* The server with clients that are many, silent or hostile. */
#include "test/unit/server_fixture.h"

#include "mgmt/include/lwip_hooks.h"
#include "mgmt/places.h"

#include <mbedtls/sha256.h>

#define PLACES 16u
#define UPGRADE                                                                                    \
    "GET /v1/guests/echo/terminal" HEAD WITH                                                       \
    "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"                   \
    "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
#define CLOSING "GET /v1/whoami" HEAD WITH "Connection: close\r\n\r\n"

static int teardown(void **state)
{
    (void)state;
    fixture_clean();
    return 0;
}

static void answers(void **state)
{
    struct client *c = connect();

    (void)state;
    ask(c, HEALTHY);
    assert_int_equal(status_of(c), 200);
    ask(c, HEALTHY HEALTHY);
    assert_int_equal(status_of(c), 200);
    assert_int_equal(ask_anew("GET /v1/whoami" HEAD "\r\n"), 401);
    /* The log lists some of them, and says how many more there were. */
    notes = 0;
    for (unsigned i = 0; i < 20; i++)
        assert_int_equal(ask_anew("GET /v1/whoami" HEAD "\r\n"), 401);
    assert_true(notes <= AUDIT_EACH);
    run(AUDIT_WINDOW_MS);
    assert_true(notes >= 1 && notes <= AUDIT_EACH + 1);
}

static void be_echo(void)
{
    strcpy(guests[1].config.name, "echo");
    guests[1].state = ABI_GUEST_RUNNING;
    guests[1].config.devices = 1;
    host.guests = 2;
}

/* The statuses of all answers, one after another. */
static const char *statuses(const struct client *c)
{
    static char text[256];
    size_t n = 0;

    text[0] = 0;
    for (const char *s = c->text; (s = strstr(s, "HTTP/1.1 ")) != NULL && n + 5 < 256; s += 9)
        n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%.3s", n ? " " : "", s + 9);
    return text;
}

/* Requests that arrive together are answered together, in their order. */
static void answers_together(void **state)
{
    struct client *c = connect();

    (void)state;
    be_echo();
    ask(c, HEALTHY "GET /nowhere" HEAD WITH "\r\n"
                   "HEAD /healthz" HEAD WITH "\r\n" HEALTHY);
    assert_string_equal(statuses(c), "200 404 200 200");
    assert_int_equal(c->segments, 1);

    /* Half a request waits for its rest, but nothing waits for it. */
    c = connect();
    ask(c, HEALTHY "GET /hea");
    assert_string_equal(statuses(c), "200");
    ask(c, "lthz" HEAD WITH "\r\n");
    assert_string_equal(statuses(c), "200 200");
    ask(c, HEALTHY "POST /v1/guests/echo/console" HEAD WITH
                   "Content-Length: 4\r\nExpect: 100-continue\r\n\r\n");
    assert_string_equal(statuses(c), "200 200 200 100");

    /* What changes something is answered after the answers before it have gone out. */
    c = connect();
    ask(c, HEALTHY "POST /v1/guests/nobody/actions" HEAD WITH
                   "Content-Length: 18\r\n\r\n{\"action\":\"reset\"}" HEALTHY HEALTHY);
    assert_string_equal(statuses(c), "200 404 200 200");
    assert_int_equal(c->segments, 2);

    /* A large answer comes behind small ones, and small ones behind it. */
    c = connect();
    ask(c, HEALTHY "GET /openapi.json" HEAD "\r\n" HEALTHY);
    run(2000);
    assert_string_equal(statuses(c), "200 200 200");
    assert_true(c->seen > 20000 && status_of(c) == 200);

    /* The end of a connection. */
    c = connect();
    ask(c, HEALTHY CLOSING);
    assert_string_equal(statuses(c), "200 200");
    assert_true(c->ended);
    c = connect();
    ask(c, HEALTHY "BAD\r\n\r\n");
    assert_string_equal(statuses(c), "200 501");
    assert_true(c->ended);
}

/* More answers than a connection collects at a time. */
static void many_answers_together(void **state)
{
    static const char least[] = "GET /x HTTP/1.1\r\nHost:x\r\n\r\n";
    char text[1460] = "";
    struct client *c = connect();
    unsigned asked = 0, done = 0;

    (void)state;
    for (; (asked + 1) * sizeof(least) < sizeof(text); asked++)
        strcat(text, least);
    ask(c, text);
    run(2000);
    for (const char *s = c->text; (s = strstr(s, "HTTP/1.1 401")) != NULL; s++)
        done++;
    assert_int_equal(done, asked);
}

/* ---- memory for connections ---- */

static void a_flood_of_syns(void **state)
{
    struct client *one = connect();

    (void)state;
    ask(one, HEALTHY);
    for (unsigned i = 0; i < 4 * MEMP_NUM_TCP_PCB; i++) {
        say_with(stranger(CLIENT + 1 + i % 7), SYN, NULL, 0, 1460);
        if (i % 10 == 0)
            assert_int_equal(ask_anew(HEALTHY), 200); /* in the middle of it */
    }
    ask(one, HEALTHY);
    assert_int_equal(status_of(one), 200);
    assert_false(one->reset);
    run(25000);
    assert_true(free_in(MEMP_TCP_PCB) >= MEMP_NUM_TCP_PCB - 2);
    assert_int_equal(free_in(MEMP_ALTCP_PCB), MEMP_NUM_ALTCP_PCB - 2);
}

/* Segments that lwIP accepts: each of these made it assert, or made its handshakes overflow. */
static void odd_segments(void **state)
{
    struct client *c = stranger(CLIENT);

    (void)state;
    c->mss = LISTEN_MSS_LEAST - 1;
    assert_false(begin(c)->established);
    c = stranger(CLIENT);
    c->window = 1; /* as good as closed: segments of any size were queued */
    assert_false(begin(c)->established);
    c = connect();
    say(c, PSH | ACK, "GET /openapi.json" HEAD "\r\n", 41); /* more than fits the window */
    say_with(c, ACK, NULL, 0, 1);                           /* from now on it is ignored */
    assert_int_equal(tcp_active_pcbs->mss, 1460);
}

/* Random flags and options near the right sequence numbers; lwIP's assertions are on. */
static void noise(void **state)
{
    struct client *c = connect();

    (void)state;
    srand(1);
    for (unsigned i = 0; i < 200000; i++) {
        static const char text[] = "GET /openapi.json" HEAD "\r\nGET /v1/host" HEAD WITH "\r\n";
        struct client before;

        if (i % 64 == 0 || c->reset || c->ended)
            c = connect();
        before = *c;
        c->next += (uint32_t)(rand() % 4 ? 0 : rand() % 4000 - 2000);
        c->acked += (uint32_t)(rand() % 4 ? 0 : rand() % 4000 - 2000);
        c->window = (uint16_t)(rand() % 2 ? rand() : rand() % 700);
        say_with(c, rand() % 3 ? PSH | ACK : (unsigned)rand(), text + rand() % 20,
                 (size_t)rand() % 60, rand() % 8 ? 0 : (unsigned)rand() % 1500 + 1);
        if (rand() % 4) {
            c->next = before.next;
            c->acked = before.acked;
        }
        if (i % 16 == 0)
            run(rand() % 32 ? 10 : 3000);
    }
    fixture_clean();
    assert_int_equal(ask_anew(HEALTHY), 200);
    assert_true(free_in(MEMP_PBUF_POOL) > PBUF_POOL_SIZE - 4);
    assert_int_equal(free_in(MEMP_ALTCP_PCB), MEMP_NUM_ALTCP_PCB - 1);
}

/* Segments that a client may send, against those that make lwIP assert: numbers half the sequence
 * space away, data after a FIN, more than the window takes. */
static void places_of_segments(void **state)
{
    static const struct {
        uint32_t from_next, data;
        bool fin, near;
    } cases[] = {
        {0, 0, false, true},
        {0, 1460, false, true},
        {0, 2000, false, true},
        {0, 2001, false, false},
        {0, 1999, true, true},
        {0, 2000, true, false},
        {1000, 1000, false, true},
        {1000, 1001, false, false},
        {(uint32_t)-1, 0, false, true},
        {(uint32_t)-1, 1, false, true},
        {(uint32_t)-1460, 1460, false, true},
        {2000, 0, false, true},
        {2000, 1, false, false},
        {0x10000, 0, false, true},
        {0x10001, 0, false, false},
        {(uint32_t)-0x10000, 0, false, true},
        {(uint32_t)-0x10001, 0, false, false},
        {0x7fffffff, 1, false, false},
        {0x80000000, 1, false, false},
        {0x80000001, 0, true, false},
    };

    (void)state;
    for (unsigned base = 0; base < 3; base++) {
        struct listen_place p = {.window = 2000};

        p.next = p.queued = base == 0 ? 5 : base == 1 ? 0x7ffffff0 : UINT32_MAX - 10;
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
            assert_int_equal(
                listen_is_near(&p, p.next + cases[i].from_next, (u16_t)cases[i].data, cases[i].fin),
                cases[i].near);
        /* A closed window: probes are seen, and answered. */
        p.window = 0;
        assert_true(listen_is_near(&p, p.next, 1, false));
        assert_true(listen_is_near(&p, p.next - 1, 0, false));
        p.window = 2000;
        /* A client repeats its FIN in every segment until it is acknowledged (RFC 9293, 3.10.8):
         * acknowledgements in these must be processed. */
        assert_true(listen_is_near(&p, p.next - 1, 0, true));
        assert_true(listen_is_near(&p, p.next - 77, 76, true));
        /* Data up to 900 is queued already: a FIN cannot come before its end. */
        p.queued = p.next + 900;
        assert_false(listen_is_near(&p, p.next + 100, 700, true));
        assert_true(listen_is_near(&p, p.next + 100, 800, true));
        assert_true(listen_is_near(&p, p.next + 900, 100, true));
        /* The FIN at 900 is queued too: nothing can follow it, and there is no second one. */
        p.has_fin = true;
        p.fin = p.queued;
        assert_true(listen_is_near(&p, p.next, 900, false));
        assert_true(listen_is_near(&p, p.next + 800, 100, true));
        assert_false(listen_is_near(&p, p.next, 901, false));
        assert_false(listen_is_near(&p, p.next, 800, true));
        assert_false(listen_is_near(&p, p.next + 900, 1, true));
    }
}

/* Options that end in the middle of one: RFC 9293, section 3.1. */
static void broken_options(void **state)
{
    static const u8_t good[] = {1, 1, 8, 10, 0, 0, 0, 0, 0, 0, 0, 0}, none[] = {0, 5, 9, 9};
    static const u8_t broken[][4] = {{1, 1, 1, 3}, {1, 1, 3, 3}, {3, 1, 1, 1}, {3, 0, 1, 1}};
    struct {
        struct tcp_hdr h;
        u8_t options[12];
    } s = {.h = {.wnd = 1000}};
    struct tcp_pcb pcb = {.state = ESTABLISHED, .rcv_wnd = 1000};

    (void)state;
    memcpy(s.options, good, sizeof(good));
    assert_int_equal(listen_check(&pcb, &s.h, 12, 12, NULL, 0), ERR_OK);
    assert_int_equal(listen_check(&pcb, &s.h, 12, 4, s.options + 4, 0), ERR_OK);
    memcpy(s.options, none, sizeof(none));
    assert_int_equal(listen_check(&pcb, &s.h, 4, 4, NULL, 0), ERR_OK);
    for (size_t i = 0; i < sizeof(broken) / sizeof(broken[0]); i++) {
        memcpy(s.options, broken[i], sizeof(broken[i]));
        assert_int_equal(listen_check(&pcb, &s.h, 4, 4, NULL, 0), ERR_VAL);
    }
}

/* A window stays closed although the data waiting for it is acknowledged: the persist timer
 * stops. */
static void closed_windows(void **state)
{
    (void)state;
    for (unsigned kind = 0; kind < 2; kind++) {
        struct client *c = connect();

        c->window = 0;
        say(c, PSH | ACK, kind ? CLOSING : HEALTHY, strlen(kind ? CLOSING : HEALTHY));
        c->window = 600;
        say(c, ACK, NULL, 0);
        c->window = 0;
        for (unsigned i = 0; i < 100 && !c->reset; i++) {
            run(500);
            say(c, ACK, NULL, 0);
        }
    }
    assert_int_equal(ask_anew(HEALTHY), 200);
}

/* RFC 6528: initial sequence numbers differ by endpoint and time. */
static void sequence_numbers(void **state)
{
    ip_addr_t here = IPADDR4_INIT_BYTES(10, 0, 0, 15), there = IPADDR4_INIT_BYTES(10, 0, 0, 2);
    ip_addr_t six = IPADDR6_INIT_HOST(0xfe800000, 0, 0, 1);
    u32_t first = isn_make(&here, 80, &there, 4000);

    (void)state;
    assert_int_equal(isn_make(&here, 80, &there, 4000), first);
    assert_true(isn_make(&here, 80, &there, 4001) - first > 1000000);
    assert_true(isn_make(&here, 443, &there, 4000) - first > 1000000);
    assert_true(isn_make(&here, 80, &here, 4000) - first > 1000000);
    assert_true(isn_make(&six, 80, &six, 4000) - first > 1000000);
    now += 8;
    assert_int_equal(isn_make(&here, 80, &there, 4000) - first, 2000);
    isn_start();
    assert_true(isn_make(&here, 80, &there, 4000) - first > 1000000);
}

/* Closed connections whose clients have vanished: lwIP would wait for each. */
static void vanished_after_the_answer(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 2 * MEMP_NUM_TCP_PCB; i++) {
        struct client *c = connect();

        assert_true(c->established);
        say(c, PSH | ACK, CLOSING, sizeof(CLOSING) - 1);
        say(c, ACK, NULL, 0);
        assert_true(c->ended);
        c->ip = 0; /* the FIN is not answered */
    }
    assert_int_equal(ask_anew(HEALTHY), 200);
}

static void vanished_in_a_stream(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++) {
        struct client *c = connect();

        ask(c, "GET /v1/log?follow=1" HEAD WITH "\r\n");
        assert_int_equal(status_of(c), 200);
        c->ip = 0;
    }
    assert_int_equal(ask_anew("GET /v1/log?follow=1" HEAD WITH "\r\n"), 503);
    run(15000 + 3 * 5000 + 3000);
    assert_int_equal(ask_anew("GET /v1/log?follow=1" HEAD WITH "\r\n"), 200);
}

/* Segments of one byte each, after a request whose answer is not acknowledged. */
static void one_byte_segments(void **state)
{
    struct client *one = connect(), *c = connect();

    (void)state;
    ask(one, HEALTHY);
    c->deaf = true;
    say(c, PSH | ACK, HEALTHY, sizeof(HEALTHY) - 1);
    for (unsigned i = 0; i < 2 * PBUF_POOL_SIZE && !c->reset; i++)
        say(c, PSH | ACK, "G", 1);
    assert_true(c->reset);
    assert_true(free_in(MEMP_PBUF_POOL) > PBUF_POOL_SIZE - 16);
    ask(one, HEALTHY);
    assert_false(one->reset);
    assert_int_equal(status_of(one), 200);
    /* The same ahead of their turn. */
    for (unsigned k = 0; k < 16; k++) {
        c = connect();
        for (unsigned i = 0; i < 100; i++) {
            c->next += 2;
            say(c, PSH | ACK, "G", 1);
        }
    }
    assert_int_equal(ask_anew(HEALTHY), 200);
}

/* ---- places ---- */

/* This many clients, each of which sent `text`; they stay connected. */
static void fill(struct client **c, unsigned n, const char *text)
{
    for (unsigned i = 0; i < n; i++) {
        c[i] = connect();
        ask(c[i], text);
    }
}

static unsigned left(struct client *const *c, unsigned n)
{
    unsigned are = 0;

    for (unsigned i = 0; i < n; i++)
        are += !c[i]->reset && !c[i]->ended;
    return are;
}

static void silent_ones_make_room(void **state)
{
    struct client *c[PLACES];

    (void)state;
    for (const char *const *what = (const char *const[]){"", "GET /he", TOKENLESS, NULL}; *what;
         what++) {
        fill(c, PLACES, *what);
        assert_int_equal(left(c, PLACES), PLACES);
        assert_int_equal(ask_anew(HEALTHY), 200);
        assert_int_equal(left(c, PLACES), PLACES - 1);
        assert_true(c[0]->reset || c[0]->ended); /* the oldest */
        fixture_clean();
    }
}

static void a_token_keeps_its_place(void **state)
{
    struct client *known[PLACES], *other;

    (void)state;
    fill(known, PLACES - 1, HEALTHY);
    for (unsigned i = 0; i < 5; i++)
        assert_int_equal(ask_anew(TOKENLESS), 304);
    other = connect();
    ask(other, TOKENLESS);
    assert_int_equal(ask_anew(TOKENLESS), 304);
    assert_true(other->ended);
    assert_int_equal(left(known, PLACES - 1), PLACES - 1);
    known[PLACES - 1] = connect();
    ask(known[PLACES - 1], HEALTHY);
    /* Sixteen known clients that ask for nothing: one of them is dropped. */
    assert_int_equal(ask_anew(HEALTHY), 200);
    assert_int_equal(left(known, PLACES), PLACES - 1);
}

static void busy_ones_stay(void **state)
{
    struct client *c[PLACES];

    (void)state;
    for (unsigned i = 0; i < PLACES; i++) {
        c[i] = connect();
        c[i]->deaf = true;
        ask(c[i], "GET /v1/host" HEAD WITH "\r\n");
    }
    assert_int_equal(ask_anew(HEALTHY), 503);
    assert_int_equal(left(c, PLACES), PLACES);
    run(13000); /* none of them takes its answer */
    assert_int_equal(left(c, PLACES), 0);
}

/* A segment now and then: each would restart the time-out. */
static void slow_readers(void **state)
{
    struct client *c = connect();
    uint32_t begun = now;

    (void)state;
    c->deaf = true;
    ask(c, "GET /openapi.json" HEAD "\r\n");
    for (; !c->reset && now - begun < 60000; run(5000)) {
        c->acked += 1460;
        say(c, ACK, NULL, 0);
    }
    assert_true(c->reset);
    assert_true(now - begun >= 30000 && now - begun < 40000);
}

/* More than lwIP's queue holds in small segments. */
static void small_segments(void **state)
{
    struct client *c = stranger(CLIENT);
    const char *length;

    (void)state;
    c->mss = LISTEN_MSS_LEAST;
    begin(c);
    ask(c, "GET /openapi.json" HEAD "\r\n");
    run(20000);
    length = strstr(c->text, "Content-Length: ");
    assert_non_null(length);
    assert_int_equal(c->seen - (size_t)(strstr(c->text, "\r\n\r\n") + 4 - c->text),
                     strtoul(length + 16, NULL, 10));
}

/* A refusal in a place whose previous client got other answers. */
static void nothing_of_the_client_before(void **state)
{
    struct client *c;

    (void)state;
    assert_int_equal(ask_anew("POST /healthz" HEAD WITH "Content-Length: 0\r\n\r\n"), 405);
    assert_int_equal(ask_anew("GET /v1/whoami" HEAD "\r\n"), 401);
    refusal = "no certificate";
    c = connect();
    ask(c, HEALTHY);
    refusal = NULL;
    assert_int_equal(status_of(c), 503);
    assert_null(strstr(c->text, "Allow"));
    assert_null(strstr(c->text, "WWW-Authenticate"));
}

static void header_fields(void **state)
{
    struct client *c = connect();

    (void)state;
    be_echo();
    ask(c, "GET /v1/guests/echo/terminal" HEAD WITH "\r\n");
    assert_int_equal(status_of(c), 426);
    assert_non_null(strstr(c->text, "\r\nConnection: Upgrade\r\n"));
    assert_non_null(strstr(c->text, "\r\nUpgrade: websocket\r\n"));
    ask(c, UPGRADE);
    assert_int_equal(status_of(c), 101);
    assert_null(strstr(strstr(c->text, "HTTP/1.1 101"), "\r\nContent-Type"));
    for (unsigned i = 0; i < AUTH_FREE_FAILURES; i++)
        assert_int_equal(ask_anew("GET /v1/whoami" HEAD "Authorization: Bearer x\r\n\r\n"), 401);
    c = connect();
    ask(c, "PUT /v1/images/a" HEAD "Authorization: Bearer x\r\nContent-Length: 3\r\n\r\n");
    assert_int_equal(status_of(c), 429);
    assert_non_null(strstr(c->text, "\r\nRetry-After: 1\r\n"));
    assert_int_equal(ask_anew(HEALTHY), 200);
}

/* All kinds of answers: from the API, files, refusals, upgrades, over HTTPS. */
static void safe_fields(void **state)
{
    static const char *const asked[] = {HEALTHY,       "GET /v1/whoami" HEAD "\r\n",
                                        TOKENLESS,     "GET /" HEAD "\r\n",
                                        "BAD\r\n\r\n", UPGRADE};
    const char sniff[] = "\r\nX-Content-Type-Options: nosniff\r\n";
    const char referrer[] = "\r\nReferrer-Policy: no-referrer\r\n";
    struct client *c;

    (void)state;
    be_echo();
    for (unsigned i = 0; i <= sizeof(asked) / sizeof(asked[0]); i++) {
        bool redirected = i == sizeof(asked) / sizeof(asked[0]);

        config.management.service.http = redirected ? PORT80_REDIRECT : PORT80_PLAIN;
        https = redirected;
        c = connect();
        ask(c, redirected ? HEALTHY : asked[i]);
        config.management.service.http = PORT80_PLAIN;
        https = false;
        assert_true(status_of(c) > 0);
        assert_non_null(strstr(c->text, sniff));
        assert_non_null(strstr(c->text, referrer));
        assert_null(strstr(c->text, "Strict-Transport-Security"));
        assert_null(strstr(c->text, "\r\nDate: "));
    }
}

/* Needs no token, and says nothing else. */
static void alive(void **state)
{
    struct client *c = connect();

    (void)state;
    ask(c, "GET /healthz" HEAD "\r\n");
    assert_int_equal(status_of(c), 200);
    assert_non_null(strstr(c->text, "\r\n\r\n{\"status\":\"ok\"}\n"));
    assert_int_equal(ask_anew("GET /healthz" HEAD "Authorization: Bearer wrong\r\n\r\n"), 200);
    assert_int_equal(ask_anew("POST /healthz" HEAD "Content-Length: 0\r\n\r\n"), 401);
}

/* Only once the time is known; on redirects, too. */
static void dates(void **state)
{
    struct client *c = connect();

    (void)state;
    host.boot_tsc = fixture_tsc();
    host.boot_epoch = 784111777;
    clock_init(&wall, &host);
    ask(c, HEALTHY);
    assert_non_null(strstr(c->text, "\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n"));
    run(1000);
    config.management.service.http = PORT80_REDIRECT;
    https = true;
    ask(c, "GET http://elsewhere:80/a?b" HEAD "\r\n");
    config.management.service.http = PORT80_PLAIN;
    https = false;
    assert_int_equal(status_of(c), 308);
    assert_non_null(strstr(c->text, "\r\nDate: Sun, 06 Nov 1994 08:49:3"));
    assert_non_null(strstr(c->text, "\r\nLocation: https://elsewhere/a?b\r\n"));
    host.boot_epoch = host.boot_tsc = 0;
    clock_init(&wall, &host);
}

/* ---- tokens of different roles ---- */

#define AS(token) HEAD "Authorization: Bearer " token "\r\n\r\n"

static void add_token(const char *text, uint32_t role)
{
    struct service_token *t =
        &config.management.service.tokens[config.management.service.token_count++];
    uint8_t bytes[TOKEN_SALT_SIZE + 32] = {0};

    strcpy(t->name, text);
    t->role = role;
    memset(t->salt, 0, sizeof(t->salt));
    memcpy(bytes + sizeof(t->salt), text, strlen(text));
    (void)mbedtls_sha256(bytes, sizeof(t->salt) + strlen(text), t->sha256, 0);
}

static void use_tokens(void)
{
    config.management.service.auth = AUTH_TOKENS;
    config.management.service.token_count = 0;
    add_token("reader", ROLE_READ);
    add_token("worker", ROLE_OPERATE);
    add_token("boss", ROLE_ADMIN);
}

/* Clients that send a request but do not take the answer: they count as busy. */
static void keep_busy(struct client **c, unsigned n, const char *text)
{
    for (unsigned i = 0; i < n; i++) {
        c[i] = connect();
        c[i]->deaf = true;
        ask(c[i], text);
    }
}

static void readers_leave_places(void **state)
{
    struct client *c[PLACES];

    (void)state;
    use_tokens();
    keep_busy(c, PLACES, "GET /v1/host" AS("reader"));
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(ask_anew("GET /v1/whoami" AS("boss")), 200);
    assert_true(left(c, PLACES) >= PLACES_READ);
    assert_true(c[0]->reset); /* the oldest */
    fixture_clean();
    keep_busy(c, PLACES, "GET /v1/host" AS("worker"));
    assert_int_equal(ask_anew("GET /v1/whoami" AS("boss")), 200);
    assert_true(left(c, PLACES) >= PLACES_OPERATE);
    fixture_clean();
    /* No more than their share: they stay, and so do clients of higher roles. */
    keep_busy(c, PLACES_READ, "GET /v1/host" AS("reader"));
    keep_busy(c + PLACES_READ, PLACES - PLACES_READ, "GET /v1/host" AS("boss"));
    assert_int_equal(ask_anew("GET /v1/whoami" AS("boss")), 503);
    assert_int_equal(left(c, PLACES), PLACES);
    config.management.service.auth = AUTH_RANDOM;
}

static void readers_leave_streams(void **state)
{
    struct client *c[PLACES_STREAMS];

    (void)state;
    use_tokens();
    fill(c, PLACES_STREAMS_READ, "GET /v1/log?follow=1" AS("reader"));
    assert_int_equal(ask_anew("GET /v1/log?follow=1" AS("reader")), 503);
    c[6] = connect();
    ask(c[6], "GET /v1/log?follow=1" AS("worker"));
    assert_int_equal(status_of(c[6]), 200);
    assert_int_equal(ask_anew("GET /v1/log?follow=1" AS("worker")), 503);
    assert_int_equal(ask_anew("GET /v1/log?follow=1" AS("boss")), 200);
    config.management.service.auth = AUTH_RANDOM;
}

/* A request for a terminal is logged with the status that was sent. */
static void terminals_are_noted(void **state)
{
    struct client *c[8];

    (void)state;
    be_echo();
    assert_int_equal(ask_anew(UPGRADE), 101);
    assert_non_null(strstr(noted, "/terminal: 101"));
    fill(c, 8, "GET /v1/log?follow=1" HEAD WITH "\r\n");
    assert_int_equal(ask_anew(UPGRADE), 503);
    assert_non_null(strstr(noted, "/terminal: 503"));
}

static int64_t removed(unsigned number)
{
    assert_int_equal(number, 1);
    return 0;
}

/* A change whose answer waits is in the log when it is asked for, and when it has ended. */
static void changes_that_wait_are_noted(void **state)
{
    static const char request[] = "DELETE /v1/guests/echo" HEAD WITH "\r\n";
    struct client *c = connect();

    (void)state;
    memset(&audit, 0, sizeof(audit));
    be_echo();
    view.remove = removed;
    ask(c, request);
    assert_non_null(
        strstr(noted, "console from 10.0.0.2: DELETE /v1/guests/echo: 202, request 1 w"));
    host.guests = 1;
    run(100);
    assert_int_equal(status_of(c), 204);
    assert_non_null(
        strstr(noted, "console from 10.0.0.2: DELETE /v1/guests/echo: 204, request 1 waited"));
    /* Its client leaves before the end. */
    host.guests = 2;
    ask(c, request);
    assert_non_null(strstr(noted, "202, request 2 waits"));
    say(c, RST | ACK, NULL, 0);
    run(20);
    assert_non_null(strstr(noted, "console from 10.0.0.2: DELETE /v1/guests/echo: its client left "
                                  "while request 2 waited"));
    guests[1].state = ABI_GUEST_EMPTY;
    /* One that the log does not list has no end there either. */
    be_echo();
    for (unsigned i = 0; i < AUDIT_CHANGES; i++)
        (void)ask_anew("POST /v1/guests/echo/actions" HEAD WITH "Content-Length: 2\r\n\r\n{}");
    c = connect();
    notes = 0;
    ask(c, request);
    host.guests = 1;
    run(100);
    assert_int_equal(status_of(c), 204);
    assert_int_equal(notes, 0);
    host.guests = 2;
    guests[1].state = ABI_GUEST_EMPTY;
}

/* Endless answers that do end: HTTP/1.1 sends a last chunk, HTTP/1.0 closes. */
static void streams_that_end(void **state)
{
    struct client *c, *old;

    (void)state;
    strcpy(guests[1].config.name, "echo");
    guests[1].state = ABI_GUEST_RUNNING;
    host.guests = 2;
    c = connect();
    old = connect();
    ask(c, "GET /v1/guests/echo/console?follow=1" HEAD WITH "\r\n");
    ask(old, "GET /v1/guests/echo/console?follow=1 HTTP/1.0\r\n" WITH "\r\n");
    run(100);
    assert_non_null(strstr(c->text, "\r\nBulkhead-Next: 0\r\n"));
    assert_false(c->ended || old->ended);
    guests[1].state = ABI_GUEST_EMPTY;
    run(100);
    assert_true(c->ended && old->ended);
    assert_string_equal(c->text + c->seen - 9, "\r\n\r\n0\r\n\r\n");
    assert_string_equal(old->text + old->seen - 4, "\r\n\r\n");
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, teardown)
    const struct CMUnitTest tests[] = {
        TEST(answers),
        TEST(answers_together),
        TEST(many_answers_together),
        TEST(a_flood_of_syns),
        TEST(odd_segments),
        TEST(noise),
        TEST(sequence_numbers),
        TEST(places_of_segments),
        TEST(broken_options),
        TEST(closed_windows),
        TEST(vanished_after_the_answer),
        TEST(vanished_in_a_stream),
        TEST(one_byte_segments),
        TEST(silent_ones_make_room),
        TEST(a_token_keeps_its_place),
        TEST(busy_ones_stay),
        TEST(slow_readers),
        TEST(small_segments),
        TEST(nothing_of_the_client_before),
        TEST(header_fields),
        TEST(streams_that_end),
        TEST(safe_fields),
        TEST(alive),
        TEST(dates),
        TEST(readers_leave_places),
        TEST(readers_leave_streams),
        TEST(terminals_are_noted),
        TEST(changes_that_wait_are_noted),
    };

    fixture_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

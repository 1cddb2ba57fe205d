/* SOURCES: @server @mgmt @llhttp */
/* The server before clients that are many, silent or hostile. */
#include "test/unit/server_fixture.h"

#define PLACES 16u

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
    assert_int_equal(ask_anew("GET /healthz" HEAD "\r\n"), 401);
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

/* Segments that lwIP would obey: each of these made it assert, or its handshakes overflow. */
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
    say_with(c, ACK, NULL, 0, 1);                           /* from now on: is not heard */
    assert_int_equal(tcp_active_pcbs->mss, 1460);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_teardown(f, teardown)
    const struct CMUnitTest tests[] = {
        TEST(answers),
        TEST(a_flood_of_syns),
        TEST(odd_segments),
    };

    fixture_start();
    return cmocka_run_group_tests(tests, NULL, NULL);
}

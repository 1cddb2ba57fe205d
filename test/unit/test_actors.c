/* SOURCES: @mgmt @llhttp */
/* Who caused a change of a guest's state. */
#include "mgmt/actors.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MANAGEMENT 0u
#define HOG        1u
#define ECHO       2u

static struct abi_guest guests[ABI_GUESTS_MAX];
static struct abi_events events;
static struct actors actors;

static const struct abi_guest *guest(unsigned n)
{
    return n < ABI_GUESTS_MAX ? &guests[n] : NULL;
}

static const struct api_view view = {.guest = guest, .events = &events, .actors = &actors};
static const struct auth_identity ops = {"ops", ROLE_OPERATE}, boss = {"boss", ROLE_ADMIN};
static const struct auth_identity nobody = {"", ROLE_ADMIN};

static int setup(void **state)
{
    (void)state;
    memset(&events, 0, sizeof(events));
    memset(&actors, 0, sizeof(actors));
    guests[MANAGEMENT].flags = ABI_GUEST_MANAGEMENT;
    return 0;
}

static void happen(unsigned number, uint32_t state, const char *why)
{
    uint64_t n = events.newest + 1;
    struct abi_event *e = &events.ring[(n - 1) % ABI_EVENTS];

    *e = (struct abi_event){.sequence = n, .guest = number, .state = state};
    strcpy(e->why, why);
    events.newest = n;
}

/* "BY ROLE FROM" of event `n`, as the API tells it. */
static const char *who(uint64_t n)
{
    static char body[400], text[400];
    struct json_out j;
    size_t k = 0;

    json_begin(&j, body, sizeof(body), false);
    json_object(&j, NULL);
    actors_put(&j, &view, &events.ring[(n - 1) % ABI_EVENTS]);
    json_end(&j);
    for (size_t i = 0; i < j.len; i++)
        if (!strchr("{}\":\n", body[i]))
            text[k++] = body[i];
    text[k] = 0;
    return text;
}

static void by_request(void **state)
{
    (void)state;
    actors_poll(&view);
    actors_asked(&view, HOG, ACTOR_CREATE, &boss, "10.0.2.2");
    happen(HOG, ABI_GUEST_STARTING, "");
    happen(HOG, ABI_GUEST_RUNNING, "");
    assert_string_equal(who(1), "byboss,roleadmin,from10.0.2.2");
    assert_string_equal(who(2), "byboss,roleadmin,from10.0.2.2");
    actors_asked(&view, HOG, ABI_ACTION_PAUSE, &ops, "fd00::7");
    happen(ECHO, ABI_GUEST_CRASHED, "triple fault");
    happen(HOG, ABI_GUEST_PAUSED, "");
    assert_string_equal(who(3), "byguest,rolenull,fromnull");
    assert_string_equal(who(4), "byops,roleoperate,fromfd007");
    actors_asked(&view, HOG, ABI_ACTION_RESET, &ops, "fd00::7");
    happen(HOG, ABI_GUEST_STOPPED, "stopped by request");
    happen(HOG, ABI_GUEST_STARTING, "");
    happen(HOG, ABI_GUEST_RUNNING, "");
    for (uint64_t n = 5; n <= 7; n++)
        assert_string_equal(who(n), "byops,roleoperate,fromfd007");
    actors_asked(&view, HOG, ACTOR_DELETE, &nobody, "10.0.2.9");
    happen(HOG, ABI_GUEST_EMPTY, "deleted by request");
    assert_string_equal(who(8), "byanybody,roleadmin,from10.0.2.9");
    /* Nothing follows from an NMI. */
    actors_asked(&view, ECHO, ABI_ACTION_NMI, &ops, "10.0.2.2");
    happen(ECHO, ABI_GUEST_RUNNING, "moves on");
    assert_string_equal(who(9), "byguest,rolenull,fromnull");
}

/* A request is over with its last state, or when something else comes first. */
static void by_itself(void **state)
{
    (void)state;
    actors_poll(&view);
    actors_asked(&view, HOG, ABI_ACTION_START, &ops, "10.0.2.2");
    happen(HOG, ABI_GUEST_STARTING, "");
    happen(HOG, ABI_GUEST_RUNNING, "");
    happen(HOG, ABI_GUEST_RUNNING, "spins at RIP 0x1000, with interrupts off");
    happen(HOG, ABI_GUEST_CRASHED, "watchdog");
    happen(HOG, ABI_GUEST_RESTARTING, "watchdog");
    happen(HOG, ABI_GUEST_STARTING, "");
    happen(HOG, ABI_GUEST_RUNNING, "");
    assert_string_equal(who(2), "byops,roleoperate,from10.0.2.2");
    assert_string_equal(who(3), "byguest,rolenull,fromnull");
    assert_string_equal(who(4), "byguest,rolenull,fromnull");
    for (uint64_t n = 5; n <= 7; n++)
        assert_string_equal(who(n), "byappliance,rolenull,fromnull");
    actors_asked(&view, HOG, ABI_ACTION_PAUSE, &ops, "10.0.2.2");
    happen(HOG, ABI_GUEST_STOPPED, "the guest exited with code 0");
    happen(HOG, ABI_GUEST_STARTING, "");
    happen(HOG, ABI_GUEST_PAUSED, "");
    assert_string_equal(who(8), "byguest,rolenull,fromnull");
    assert_string_equal(who(10), "byappliance,rolenull,fromnull");
}

/* What management has forgotten is not made up. */
static void earlier_life(void **state)
{
    (void)state;
    happen(MANAGEMENT, ABI_GUEST_STARTING, "");
    happen(MANAGEMENT, ABI_GUEST_RUNNING, "");
    happen(HOG, ABI_GUEST_RUNNING, "");
    for (uint64_t n = 1; n <= 3; n++)
        assert_string_equal(who(n), "byappliance,rolenull,fromnull");
    happen(HOG, ABI_GUEST_CRASHED, "triple fault");
    happen(MANAGEMENT, ABI_GUEST_STOPPED, "stopped by request");
    happen(MANAGEMENT, ABI_GUEST_STARTING, "");
    memset(&actors, 0, sizeof(actors));
    assert_string_equal(who(3), "bynull,rolenull,fromnull");
    assert_string_equal(who(4), "byguest,rolenull,fromnull");
    assert_string_equal(who(6), "bynull,rolenull,fromnull");
    happen(HOG, ABI_GUEST_STARTING, "");
    assert_string_equal(who(7), "byappliance,rolenull,fromnull");
    /* Overwritten events are passed over, and those of an earlier round are not mixed up. */
    for (unsigned i = 0; i < 3 * ABI_EVENTS / 2; i++)
        happen(ECHO, ABI_GUEST_STOPPED, "");
    assert_string_equal(who(events.newest), "byguest,rolenull,fromnull");
    memset(&actors, 0, sizeof(actors));
    assert_string_equal(who(events.newest), "bynull,rolenull,fromnull");
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(by_request), TEST(by_itself), TEST(earlier_life)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SOURCES: @engine */
/*
 * The storms of test_engine_model.c, with a thread per core, so that one core's pass can fall
 * between any two steps of another's. Afterwards everything must come to rest, and all memory be
 * back.
 */
#include "test/unit/engine_storm.h"

#include <pthread.h>

#define STORMS 30u
#define PASSES 1500u
#define GUESTS 4u
#define ROUNDS 30u

static bool storm;
static enum deed at_random(struct vcpu *v)
{
    if (!storm)
        return RUNS;
    disturb_others(v);
    switch (random_below(16)) {
    case 0:
        return CRASHES;
    case 1:
        return EXITS;
    case 2:
        return HALTS;
    case 3:
        return DEAF;
    case 4:
        guest_end(v->guest, ABI_GUEST_CRASHED, "from outside");
        return SHORT;
    default:
        return SHORT;
    }
}

static unsigned deployed;
static void request_at_random(void)
{
    unsigned n = 1 + random_below(GUESTS), what = random_below(16);
    struct guest *g = guest_get(n);
    struct guest_config c;

    if (what < 9) {
        act_at_random(n);
    } else if (what == 9) {
        (void)call(ABI_CALL_DELETE, n, 0, 0);
    } else if (what == 10) {
        ask_for_snapshot(n);
    } else if (what == 11) {
        ask_for_controls(n);
    } else if (what == 12) {
        if (g && g->life.entity.core == self) /* otherwise it may go meanwhile */
            (void)guest_flush(g);
    } else if (deployed < 1000) {
        c = config_at_random(deployed);
        if (deploy(&c) > 0)
            deployed++;
    }
}

static void run_cores(void *(*core)(void *number))
{
    pthread_t cores[ENGINE_CORES];

    threads = true;
    for (unsigned i = 0; i < ENGINE_CORES; i++)
        assert_int_equal(pthread_create(&cores[i], NULL, core, (void *)(uintptr_t)i), 0);
    for (unsigned i = 0; i < ENGINE_CORES; i++)
        assert_int_equal(pthread_join(cores[i], NULL), 0);
    threads = false;
    self = 0;
}

static unsigned storms_so_far;
static void *core_thread(void *number)
{
    self = (unsigned)(uintptr_t)number;
    seed = 0x9e3779b97f4a7c15ull * (16 * storms_so_far + self + 1);
    for (unsigned i = 0; i < PASSES; i++) {
        if (self == 0 && random_below(4) == 0)
            request_at_random();
        core_pass(core_get(self));
    }
    return NULL;
}

static void storms(void **state)
{
    (void)state;
    engine_begin();
    others = at_random;
    for (; storms_so_far < STORMS; storms_so_far++) {
        storm = true;
        run_cores(core_thread);
        storm = false;
        settle();
    }
    for (unsigned g = 1; g < ABI_GUESTS_MAX; g++)
        if (guest_get(g))
            assert_int_equal(call(ABI_CALL_DELETE, g, 0, 0), 0);
    settle();
    for (unsigned g = 1; g < ABI_GUESTS_MAX; g++)
        assert_null(guest_get(g));
    assert_int_equal(free_or_kept(), free_at_start);
    print_message("%u entries, %u deployed, %u flushes\n", entries, deployed, flushes);
}

static void *deletions(void *number)
{
    self = (unsigned)(uintptr_t)number;
    for (unsigned i = 0; i < 2000 && (guest_get(1) || guest_get(2)); i++)
        core_pass(core_get(self));
    return NULL;
}

/* One of them is the last to leave the memory that they share, and only that one frees it. */
static void peers_go_at_once(void **state)
{
    (void)state;
    others = runs;
    for (unsigned i = 0; i < ROUNDS; i++) {
        for (unsigned core = 1; core <= 2; core++) {
            struct guest_config c = config_of("", core);

            share(&c, core);
            assert_int_equal(deploy(&c), core);
            settle();
        }
        for (unsigned n = 1; n <= 2; n++)
            assert_int_equal(call(ABI_CALL_DELETE, n, 0, 0), 0);
        run_cores(deletions);
        settle();
        assert_null(guest_get(1));
        assert_null(guest_get(2));
        assert_int_equal(free_or_kept(), free_at_start);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(storms),
                                       cmocka_unit_test(peers_go_at_once)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SOURCES: hv/sched.c */
#include "hv/sched.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define SLICE 40000u

static struct sched s;
static struct sched_entity hog, control, mgmt;

static void add(struct sched_entity *e, uint32_t weight, uint64_t budget, uint64_t period)
{
    const struct sched_params p = {weight, SLICE, budget, period, 0};

    assert_int_equal(sched_add(&s, e, &p, 0), 0);
}

static int setup(void **state)
{
    (void)state;
    sched_init(&s);
    return 0;
}

/* Runs whichever entity is picked until its time ends; entities here never block. Returns the time
 * afterwards. */
static uint64_t run_until(uint64_t now, uint64_t end)
{
    while (now < end) {
        struct sched_decision d = sched_pick(&s, now);

        assert_true(d.until > now);
        if (d.entity)
            sched_ran(&s, d.entity, now, d.until);
        now = d.until;
    }
    return now;
}

static void nobody(void **state)
{
    struct sched_decision d = sched_pick(&s, 5);

    (void)state;
    assert_null(d.entity);
    assert_int_equal(d.until, NEVER);
}

static void weights_are_shares(void **state)
{
    (void)state;
    add(&hog, 100, 0, 0);
    add(&control, 300, 0, 0);
    run_until(0, 1000ull * SLICE);
    assert_in_range(hog.run_ticks, 245ull * SLICE, 255ull * SLICE);
    assert_in_range(control.run_ticks, 745ull * SLICE, 755ull * SLICE);
}

/* The reason for the whole policy: a sleeper that runs briefly runs on time, whatever else wants
 * the core. */
static void a_sleeper_runs_when_its_event_is_due(void **state)
{
    uint64_t now = 0, due = 20000;

    (void)state;
    add(&hog, 100, 0, 0);
    add(&control, 100, 0, 0);
    sched_block(&control, due);
    for (unsigned periods = 0; periods < 1000;) {
        struct sched_decision d = sched_pick(&s, now);

        assert_true(d.until <= due || d.entity == &control);
        if (d.entity == &control) {
            assert_int_equal(now, due);
            sched_ran(&s, &control, now, now + 500);
            now += 500;
            due += 20000;
            periods++;
            sched_block(&control, due);
        } else {
            sched_ran(&s, &hog, now, d.until);
            now = d.until;
        }
    }
    assert_true(hog.run_ticks > 1000ull * 19000);
}

/* The end of the slice of the entity that is picked, as the core's loop finds it. */
static uint64_t stretched_end(uint64_t now, const struct sched_entity *e)
{
    struct sched_decision d = sched_pick(&s, now);

    assert_ptr_equal(d.entity, e);
    return d.until == now + e->params.slice ? sched_stretch(&s, e, now) : d.until;
}

/* Nobody else can run: until something that is known in advance ends it. */
static void alone_a_slice_is_stretched(void **state)
{
    (void)state;
    s.stretch = 10 * SLICE;
    add(&hog, 100, 0, 0);
    assert_int_equal(stretched_end(7, &hog), 7 + 10 * SLICE);
    hog.params.slice = 20 * SLICE; /* it is never shortened */
    assert_int_equal(stretched_end(7, &hog), 7 + 20 * SLICE);
    hog.params.slice = SLICE;
    add(&control, 10, 0, 0);
    assert_int_equal(stretched_end(7, &hog), 7 + SLICE);
    sched_block(&control, 3 * SLICE);
    assert_int_equal(stretched_end(7, &hog), 3 * SLICE);
    sched_block(&control, SLICE / 2);
    assert_int_equal(stretched_end(7, &hog), SLICE / 2);
    sched_block(&control, NEVER);
    assert_int_equal(stretched_end(7, &hog), 7 + 10 * SLICE);
}

/* The end of its own budget or claim, or of another's wait for a budget. */
static void budgets_end_a_stretch(void **state)
{
    const struct sched_params guaranteed = {100, SLICE, 0, 8ull * SLICE, 2ull * SLICE};

    (void)state;
    s.stretch = 10 * SLICE;
    add(&hog, 100, 4ull * SLICE, 20ull * SLICE);
    assert_int_equal(stretched_end(0, &hog), 4 * SLICE);
    sched_ran(&s, &hog, 0, 4ull * SLICE);
    assert_null(sched_pick(&s, 4ull * SLICE).entity);
    assert_int_equal(sched_add(&s, &control, &guaranteed, 4ull * SLICE), 0);
    assert_int_equal(stretched_end(4ull * SLICE, &control), 6 * SLICE); /* its claim */
    sched_ran(&s, &control, 4ull * SLICE, 6ull * SLICE);
    assert_int_equal(stretched_end(6ull * SLICE, &control), 12 * SLICE); /* a new claim */
    sched_remove(&s, &control);
    add(&mgmt, 100, 0, 0);
    assert_int_equal(stretched_end(15ull * SLICE, &mgmt), 20 * SLICE); /* the hog's budget */
    sched_block(&hog, 22ull * SLICE); /* it sleeps longer than that */
    assert_int_equal(stretched_end(15ull * SLICE, &mgmt), 22 * SLICE);
}

/* After a stretch a sleeper comes back no further behind than after slices. */
static void a_stretch_is_no_licence(void **state)
{
    (void)state;
    s.stretch = 50 * SLICE;
    add(&hog, 100, 0, 0);
    add(&control, 100, 0, 0);
    sched_block(&control, NEVER);
    assert_int_equal(stretched_end(0, &hog), 50 * SLICE);
    sched_ran(&s, &hog, 0, 50ull * SLICE);
    sched_wake(&s, &control, 50ull * SLICE);
    assert_ptr_equal(sched_pick(&s, 50ull * SLICE).entity, &control);
    run_until(50ull * SLICE, 60ull * SLICE);
    assert_in_range(control.run_ticks, 5ull * SLICE, 6ull * SLICE);
}

static void a_long_sleep_is_no_licence(void **state)
{
    uint64_t now;

    (void)state;
    add(&hog, 100, 0, 0);
    add(&control, 100, 0, 0);
    sched_block(&control, NEVER);
    now = run_until(0, 1000ull * SLICE);
    sched_wake(&s, &control, now);
    run_until(now, now + 10ull * SLICE);
    assert_true(hog.run_ticks >= 1004ull * SLICE);
}

static void a_budget_bounds(void **state)
{
    (void)state;
    add(&hog, 100, 0, 0);
    add(&mgmt, 1000, 10000, 100000);
    run_until(0, 10000000);
    assert_in_range(mgmt.run_ticks, 990000, 1010000);
    assert_int_equal(mgmt.run_ticks + hog.run_ticks, 10000000);
}

/* An entity that takes another's place gets the rest of its budget and its share, not new ones. */
static void a_place_changes_hands(void **state)
{
    struct sched_entity *at = &mgmt, *not_at = &control;
    uint64_t now = 0;

    (void)state;
    add(&hog, 100, 0, 0);
    add(at, 1000, 10000, 100000);
    while (now < 10000000) {
        struct sched_decision d = sched_pick(&s, now);
        struct sched_entity *was = at;
        /* In the middle of a turn. */
        uint64_t end = d.entity == at ? min_u64(d.until, now + 3000) : d.until;

        assert_true(d.entity == &hog || d.entity == at);
        sched_ran(&s, d.entity, now, end);
        now = end;
        sched_replace(&s, at, not_at);
        assert_false(was->present);
        at = not_at;
        not_at = was;
        assert_true(at->present);
    }
    assert_in_range(at->run_ticks, 990000, 1010000);
    assert_in_range(at->run_ticks + hog.run_ticks, 10000000, 10000000 + SLICE);
    /* An entity without a place has none to give. */
    sched_replace(&s, not_at, at);
    assert_true(at->present);
    assert_int_equal(s.count, 2);
}

static void a_budget_bounds_also_on_an_idle_core(void **state)
{
    struct sched_decision d;

    (void)state;
    add(&mgmt, 100, 10000, 100000);
    d = sched_pick(&s, 0);
    assert_ptr_equal(d.entity, &mgmt);
    assert_int_equal(d.until, 10000);
    sched_ran(&s, &mgmt, 0, 10000);
    d = sched_pick(&s, 10000);
    assert_null(d.entity);
    assert_int_equal(d.until, 100000);
    d = sched_pick(&s, 100000);
    assert_ptr_equal(d.entity, &mgmt);
}

static void waiting_is_counted(void **state)
{
    (void)state;
    add(&hog, 100, 0, 0);
    add(&control, 100, 0, 0);
    run_until(0, 100ull * SLICE);
    assert_in_range(hog.wait_ticks, 49ull * SLICE, 51ull * SLICE);
}

static void bad_parameters(void **state)
{
    const struct sched_params no_weight = {0, SLICE, 0, 0, 0}, no_slice = {1, 0, 0, 0, 0},
                              too_much = {1, SLICE, 200, 100, 0},
                              promised = {1, SLICE, 50, 100, 60};

    (void)state;
    assert_int_equal(sched_add(&s, &hog, &no_weight, 0), -E_INVAL);
    assert_int_equal(sched_add(&s, &hog, &no_slice, 0), -E_INVAL);
    assert_int_equal(sched_add(&s, &hog, &too_much, 0), -E_INVAL);
    assert_int_equal(sched_add(&s, &hog, &promised, 0), -E_INVAL);
}

static void an_idle_core_waits_for_the_first_sleeper(void **state)
{
    struct sched_decision d;

    (void)state;
    add(&hog, 100, 0, 0);
    add(&control, 100, 0, 0);
    add(&mgmt, 100, 1000, 100000);
    sched_block(&hog, NEVER);
    sched_block(&control, 50000);
    sched_block(&mgmt, 20000);
    d = sched_pick(&s, 10000);
    assert_null(d.entity);
    assert_ptr_equal(d.next, &mgmt);
    assert_int_equal(d.until, 50000);
    assert_int_equal(sched_next_until(&d), 21000); /* its budget */
    sched_wake(&s, &mgmt, 20000);
    sched_ran(&s, &mgmt, 20000, 21000);
    sched_block(&mgmt, 30000);
    /* It has no budget left in this period, so it is not next, whenever it wakes. */
    d = sched_pick(&s, 22000);
    assert_null(d.entity);
    assert_ptr_equal(d.next, &control);
    assert_int_equal(d.until, 100000);
    assert_int_equal(sched_next_until(&d), 50000 + SLICE);
    /* While another runs, sleepers only limit its time. */
    sched_wake(&s, &hog, 22000);
    d = sched_pick(&s, 22000);
    assert_ptr_equal(d.entity, &hog);
    assert_null(d.next);
    assert_int_equal(d.until, 50000);
}

/* The heavier one goes first although the other has slept long too. It waits at most for what the
 * other runs until then. */
static void sleepers_come_back_alike(void **state)
{
    struct sched_decision d;
    uint64_t now = 100ull * SLICE;

    (void)state;
    add(&hog, 100, 0, 0);
    add(&mgmt, 100, 0, 0);
    add(&control, 200, 0, 0);
    sched_block(&mgmt, now);
    sched_block(&control, now);
    assert_int_equal(run_until(0, now), now);
    d = sched_pick(&s, now);
    assert_ptr_equal(d.entity, &control);
    sched_ran(&s, &control, now, now + 100);
    sched_block(&control, now + 1000);
    d = sched_pick(&s, now + 100);
    assert_ptr_equal(d.entity, &mgmt);
    assert_int_equal(d.until, now + 1000);
    sched_ran(&s, &mgmt, now + 100, now + 1000);
    assert_ptr_equal(sched_pick(&s, now + 1000).entity, &control);
}

/* Nor is it displaced in the middle of its work when the other wakes. Between equals, or if it ran
 * long, it would be. */
static void the_heavier_is_not_displaced_at_once(void **state)
{
    uint64_t now = 100ull * SLICE;

    (void)state;
    add(&hog, 100, 0, 0);
    add(&mgmt, 100, 0, 0);
    add(&control, 200, 0, 0);
    sched_block(&mgmt, now + 500);
    sched_block(&control, now);
    assert_int_equal(run_until(0, now), now);
    for (unsigned i = 0; i < 2; i++, now += 500) {
        assert_ptr_equal(sched_pick(&s, now).entity, &control);
        sched_ran(&s, &control, now, now + 500);
    }
    sched_ran(&s, &control, now, now + SLICE);
    assert_ptr_equal(sched_pick(&s, now + SLICE).entity, &mgmt);
}

/* An entity that was alone for a time and mostly sleeps does not fall behind one that wakes after a
 * long sleep. */
static void little_use_goes_first(void **state)
{
    uint64_t now = 0, due = 0;

    (void)state;
    add(&hog, 100, 0, 0);
    add(&control, 200, 0, 0);
    sched_block(&hog, 10000ull * SLICE);
    while (now < 10000ull * SLICE) {
        now = due;
        due += SLICE;
        sched_ran(&s, &control, now, now + SLICE / 10);
        sched_block(&control, due);
        (void)sched_pick(&s, due);
    }
    /* The sleeper is awake and busy now. At each of its wakes control comes first. */
    for (unsigned i = 0; i < 100; i++) {
        struct sched_decision d = sched_pick(&s, due);

        assert_ptr_equal(d.entity, &control);
        sched_ran(&s, &control, due, due + SLICE / 10);
        sched_block(&control, due + SLICE);
        d = sched_pick(&s, due + SLICE / 10);
        assert_ptr_equal(d.entity, &hog);
        assert_int_equal(d.until, due + SLICE);
        sched_ran(&s, &hog, due + SLICE / 10, due + SLICE);
        due += SLICE;
    }
}

/* Two equal entities, one of which keeps pausing: it gets no more than half. */
static void pauses_are_no_licence(void **state)
{
    uint64_t now = 0;

    (void)state;
    add(&hog, 100, 0, 0);
    add(&mgmt, 100, 0, 0);
    for (unsigned i = 0; i < 10000; i++) {
        struct sched_decision d = sched_pick(&s, now);
        uint64_t ran = d.entity == &mgmt ? min_u64(d.until - now, 1000) : d.until - now;

        sched_ran(&s, d.entity, now, now + ran);
        now += ran;
        if (d.entity == &mgmt)
            sched_block(&mgmt, now + 10);
    }
    assert_true(mgmt.run_ticks <= now / 2 + SLICE);
    assert_true(mgmt.run_ticks >= now * 4 / 10);
}

/* An entity that used up its budget was held back while others ran: it has no claim to that time
 * when the next period begins. A loop that needs little still goes first. */
static void a_spent_budget_is_no_credit(void **state)
{
    uint64_t now = 0, late = 0, due = SLICE;

    (void)state;
    add(&hog, 100, 0, 0);
    add(&mgmt, 100, 2ull * SLICE, 10ull * SLICE);
    add(&control, 200, 0, 0);
    sched_block(&control, due);
    while (now < 1000ull * SLICE) {
        struct sched_decision d = sched_pick(&s, now);
        uint64_t end = d.until;

        if (d.entity == &control) {
            late = max_u64(late, now - due);
            end = now + SLICE / 100;
        }
        sched_ran(&s, d.entity, now, end);
        if (d.entity == &control) {
            due += SLICE;
            sched_block(&control, due);
        }
        now = end;
    }
    assert_int_equal(late, 0);
}

static void charges_count(void **state)
{
    (void)state;
    add(&hog, 100, 0, 0);
    add(&mgmt, 100, 10000, 100000);
    sched_charge(&mgmt, 9999);
    assert_false(sched_exhausted(&mgmt));
    sched_charge(&mgmt, 1);
    assert_true(sched_exhausted(&mgmt));
    assert_ptr_equal(sched_pick(&s, 10000).entity, &hog);
    assert_int_equal(mgmt.run_ticks, 0);
    (void)sched_pick(&s, 100000);
    assert_false(sched_exhausted(&mgmt));
}

static void adding_and_removing(void **state)
{
    static struct sched_entity many[SCHED_ENTITIES_MAX + 1];
    const struct sched_params p = {100, SLICE, 0, 0, 0};

    (void)state;
    for (unsigned i = 0; i < SCHED_ENTITIES_MAX; i++)
        assert_int_equal(sched_add(&s, &many[i], &p, 0), 0);
    assert_int_equal(sched_add(&s, &many[SCHED_ENTITIES_MAX], &p, 0), -E_NOSPC);
    for (unsigned i = 0; i < SCHED_ENTITIES_MAX; i++)
        sched_remove(&s, &many[i]);
    assert_null(sched_pick(&s, 1).entity);
}

/* Earliest deadline first among entities with a claim: both get theirs, and a crowd of hogs shares
 * the rest by weight. */
static void guarantees_are_kept(void **state)
{
    const struct sched_params half = {1, SLICE, 0, 10 * SLICE, 5 * SLICE};
    const struct sched_params third = {1, SLICE, 0, 6 * SLICE, 2 * SLICE};
    static struct sched_entity hogs[4];

    (void)state;
    assert_int_equal(sched_add(&s, &control, &half, 0), 0);
    assert_int_equal(sched_add(&s, &mgmt, &third, 0), 0);
    for (unsigned i = 0; i < 4; i++)
        add(&hogs[i], 1000, 0, 0);
    for (uint64_t period = 1; period <= 30; period++) {
        run_until((period - 1) * 30 * SLICE, period * 30 * SLICE);
        assert_true(control.run_ticks >= period * 15 * SLICE);
        assert_true(mgmt.run_ticks >= period * 10 * SLICE);
    }
    for (unsigned i = 0; i < 4; i++)
        assert_in_range(hogs[i].run_ticks, 30ull * SLICE, 45ull * SLICE);
}

/* No entity runs on a claim for longer than the claim. */
static void a_claim_ends(void **state)
{
    const struct sched_params p = {100, SLICE, 0, 10 * SLICE, SLICE / 4};
    struct sched_decision d;

    (void)state;
    add(&hog, 100, 0, 0);
    run_until(0, SLICE);
    assert_int_equal(sched_add(&s, &control, &p, SLICE), 0);
    d = sched_pick(&s, SLICE);
    assert_ptr_equal(d.entity, &control);
    assert_int_equal(d.until, SLICE + SLICE / 4);
    sched_ran(&s, &control, SLICE, d.until);
    /* The next claim begins with the next period, even in the middle of another's slice. */
    run_until(d.until, 11ull * SLICE - 10);
    d = sched_pick(&s, 11ull * SLICE - 10);
    assert_true(d.until <= 11ull * SLICE);
    assert_ptr_equal(sched_pick(&s, 11ull * SLICE).entity, &control);
}

/* An entity has just woken and is running when another sleeper wakes, whose slice is shorter: the
 * first is not displaced for the whole of that slice. */
static void a_waker_displaces_no_waker(void **state)
{
    const struct sched_params brief = {100, SLICE / 2, 0, 0, 0};
    const uint64_t wake = 1000ull * SLICE;
    struct sched_decision d;

    (void)state;
    add(&hog, 100, 0, 0);
    add(&control, 200, 0, 0);
    assert_int_equal(sched_add(&s, &mgmt, &brief, 0), 0);
    sched_block(&control, wake);
    sched_block(&mgmt, wake + 100);
    assert_int_equal(run_until(0, wake), wake);
    d = sched_pick(&s, wake);
    assert_ptr_equal(d.entity, &control);
    assert_int_equal(d.until, wake + 100);
    sched_ran(&s, &control, wake, wake + 100);
    d = sched_pick(&s, wake + 100);
    assert_ptr_equal(d.entity, &control);
    sched_ran(&s, &control, wake + 100, wake + 1500);
    sched_block(&control, wake + SLICE / 2);
    assert_ptr_equal(sched_pick(&s, wake + 1500).entity, &mgmt);
}

static void promise(struct sched_entity *e, uint64_t guaranteed, uint64_t period)
{
    const struct sched_params p = {100, SLICE, 0, period, guaranteed};

    assert_int_equal(sched_add(&s, e, &p, 0), 0);
}

/* An entity that sleeps until shortly before its period ends has the nearest deadline of all, and
 * its whole claim left. It must not use these to take what the other was promised. */
static void a_claim_that_was_slept_over(void **state)
{
    const uint64_t ms = 20000, late = 90 * ms + ms / 2;
    uint64_t now = 0, period = 10 * ms, had = 0;

    (void)state;
    promise(&control, 10 * ms, 100 * ms);
    promise(&hog, 5 * ms, 10 * ms);
    sched_block(&control, late);
    while (now < 10000 * ms) {
        struct sched_decision d = sched_pick(&s, now);
        uint64_t until = min_u64(d.until, period);

        assert_non_null(d.entity);
        sched_ran(&s, d.entity, now, until);
        now = until;
        /* Busy for 10 ms, then asleep until 90.5 ms of the present 100. */
        if (d.entity == &control && control.run_ticks % (10 * ms) == 0)
            sched_block(&control, now / (100 * ms) * 100 * ms + late);
        if (now == period) {
            assert_true(hog.run_ticks - had >= 5 * ms);
            had = hog.run_ticks;
            period += 10 * ms;
        }
    }
    assert_true(control.run_ticks >= 900 * ms);
}

/* A period's unused time is not carried over: the decision ends where the entity's period ends. */
static void a_claim_ends_with_its_period(void **state)
{
    (void)state;
    promise(&control, 10000, 20000);
    sched_ran(&s, &control, 0, 5000);
    assert_int_equal(sched_pick(&s, 18000).until, 20000);
    sched_ran(&s, &control, 18000, 20000);
    assert_int_equal(sched_pick(&s, 20000).until, 30000);
}

/* A vCPU that spins gives its turn to another of its guest, at no cost to others. */
static void a_turn_given_away(void **state)
{
    static struct sched_entity spinner;
    struct sched_decision d;
    uint64_t now = 0, first = 0;

    (void)state;
    spinner = (struct sched_entity){.present = false};
    add(&spinner, 100, 0, 0);
    add(&hog, 100, 0, 0);
    add(&control, 100, 0, 0);
    hog.vtime += SLICE / 4;     /* the one that it waits for */
    control.vtime += SLICE / 2; /* another guest's */
    d = sched_pick(&s, now);
    assert_ptr_equal(d.entity, &spinner);
    sched_give_turn(&spinner, &hog);
    sched_ran(&s, &spinner, now, now + 1000);
    now += 1000;
    d = sched_pick(&s, now);
    assert_ptr_equal(d.entity, &hog);
    /* What is already before it keeps its place. */
    first = hog.vtime;
    sched_give_turn(&spinner, &hog);
    assert_int_equal(hog.vtime, first);
    run_until(now, 900ull * SLICE);
    assert_in_range(control.run_ticks, 297ull * SLICE, 303ull * SLICE);
    assert_in_range(spinner.run_ticks + hog.run_ticks, 597ull * SLICE, 603ull * SLICE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_turn_given_away, setup),
        cmocka_unit_test_setup(nobody, setup),
        cmocka_unit_test_setup(weights_are_shares, setup),
        cmocka_unit_test_setup(a_sleeper_runs_when_its_event_is_due, setup),
        cmocka_unit_test_setup(alone_a_slice_is_stretched, setup),
        cmocka_unit_test_setup(budgets_end_a_stretch, setup),
        cmocka_unit_test_setup(a_stretch_is_no_licence, setup),
        cmocka_unit_test_setup(a_long_sleep_is_no_licence, setup),
        cmocka_unit_test_setup(a_budget_bounds, setup),
        cmocka_unit_test_setup(a_budget_bounds_also_on_an_idle_core, setup),
        cmocka_unit_test_setup(waiting_is_counted, setup),
        cmocka_unit_test_setup(bad_parameters, setup),
        cmocka_unit_test_setup(an_idle_core_waits_for_the_first_sleeper, setup),
        cmocka_unit_test_setup(sleepers_come_back_alike, setup),
        cmocka_unit_test_setup(the_heavier_is_not_displaced_at_once, setup),
        cmocka_unit_test_setup(little_use_goes_first, setup),
        cmocka_unit_test_setup(pauses_are_no_licence, setup),
        cmocka_unit_test_setup(a_spent_budget_is_no_credit, setup),
        cmocka_unit_test_setup(charges_count, setup),
        cmocka_unit_test_setup(adding_and_removing, setup),
        cmocka_unit_test_setup(guarantees_are_kept, setup),
        cmocka_unit_test_setup(a_claim_ends, setup),
        cmocka_unit_test_setup(a_place_changes_hands, setup),
        cmocka_unit_test_setup(a_waker_displaces_no_waker, setup),
        cmocka_unit_test_setup(a_claim_that_was_slept_over, setup),
        cmocka_unit_test_setup(a_claim_ends_with_its_period, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

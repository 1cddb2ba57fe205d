/* SOURCES: @engine */
/*
 * Lifecycle races, as a model test: random requests for several guests with several vCPUs on
 * several cores, which crash, exit and sleep at random, while cores make their passes in random
 * order. Seeds are fixed. An oracle checks states, vCPUs and memory after each pass. After each
 * storm everything must come to rest, and a last request must do what it says.
 */
#include "test/unit/engine_storm.h"

#define SEEDS  48u
#define STORMS 6u
#define PASSES 500u
#define GUESTS 4u

/* ---- the oracle ---- */

/* hv/README.md, "States": the allowed transitions, as events tell of them: of a deletion, only
 * its end. */
#define TO(s)  (1u << ABI_GUEST_##s)
static const uint32_t follows[ABI_GUEST_STATES] = {
    [ABI_GUEST_EMPTY] = TO(STARTING) | TO(FAILED) | TO(STOPPED) | TO(EMPTY),
    [ABI_GUEST_STARTING] = TO(STARTING) | TO(RUNNING) | TO(FAILED) | TO(STOPPED) | TO(EMPTY),
    [ABI_GUEST_FAILED] = TO(STARTING) | TO(EMPTY),
    [ABI_GUEST_RUNNING] = TO(RUNNING) | TO(PAUSED) | TO(STOPPED) | TO(CRASHED) | TO(EMPTY),
    [ABI_GUEST_STOPPED] = TO(STARTING) | TO(STOPPED) | TO(RESTARTING) | TO(EMPTY),
    [ABI_GUEST_CRASHED] = TO(STARTING) | TO(CRASHED) | TO(RESTARTING) | TO(EMPTY),
    [ABI_GUEST_PAUSED] = TO(RUNNING) | TO(STOPPED) | TO(CRASHED) | TO(EMPTY),
    [ABI_GUEST_RESTARTING] = TO(STARTING) | TO(STOPPED) | TO(EMPTY),
};
/* The allowed steps of a life in each state. */
#define AT(p) (1u << GUEST_##p)
static const uint32_t phases[ABI_GUEST_STATES] = {
    [ABI_GUEST_STARTING] = AT(BUILDING) | AT(CLEARING) | AT(PLANNING) | AT(COPYING) | AT(STARTING) |
                           AT(MAKING) | AT(LAUNCHING) | AT(LEAVING) | AT(ENDING),
    [ABI_GUEST_FAILED] = AT(IDLE),
    [ABI_GUEST_RUNNING] = AT(LIVE) | AT(PAUSING),
    [ABI_GUEST_STOPPED] = AT(IDLE) | AT(LEAVING) | AT(ENDING),
    [ABI_GUEST_CRASHED] = AT(IDLE) | AT(LEAVING) | AT(ENDING),
    [ABI_GUEST_PAUSED] = AT(PAUSED),
    [ABI_GUEST_DELETING] = AT(SCRUBBING),
    [ABI_GUEST_RESTARTING] = AT(HELD_BACK),
    [ABI_GUEST_EMPTY] = AT(GONE),
};

static const struct abi_events *events;
static uint64_t events_seen;
static uint32_t last_state[ABI_GUESTS_MAX];
static unsigned transitions;

static void look_at_events(void)
{
    assert_true(events->newest - events_seen <= ABI_EVENTS);
    for (; events_seen < events->newest; events_seen++) {
        const struct abi_event *e = &events->ring[events_seen % ABI_EVENTS];
        uint32_t from = last_state[e->guest];

        assert_int_equal(e->sequence, events_seen + 1);
        if (!(follows[from] >> e->state & 1))
            fail_msg("guest %u: from state %u to %u (%s)", e->guest, from, e->state, e->why);
        last_state[e->guest] = e->state;
        transitions++;
    }
}

/* The memory of each guest: must be clean when it is given back. */
static struct {
    const uint8_t *base;
    uint64_t size;
} had[ABI_GUESTS_MAX];

static void look_at_memory(unsigned n, const struct guest *g)
{
    struct mem_range r;

    if ((!g || !g->mem.base) && had[n].base) {
        assert_true(hostmem_find(arch_hpa(had[n].base), &r));
        if (r.kind == MEM_FREE) {
            assert_int_equal(had[n].base[0], 0);
            assert_memory_equal(had[n].base, had[n].base + 1, had[n].size - 1);
        }
        had[n].base = NULL;
    }
    if (g && g->mem.base) {
        had[n].base = g->mem.base;
        had[n].size = g->mem.size;
    }
}

static void look_at_guest(const struct guest *g)
{
    uint32_t state = g->status->state;
    enum guest_phase phase = g->life.phase;
    bool waits = guest_waits_for_vcpus(g);

    if (!(phases[state] >> phase & 1))
        fail_msg("guest %u: state %u in phase %u", g->number, state, phase);
    assert_int_equal(g->status->sequence % 2, 0);
    assert_true(g->life.entity.core == g->life.partner->entity.core);
    FOR_EACH_VCPU (v, g) {
        bool there = v->phase == VCPU_LIVE || v->phase == VCPU_HELD;

        if (there)
            assert_true(fake_of(v)->made);
        if (v->phase == VCPU_NONE || v->phase == VCPU_GONE)
            assert_false(fake_of(v)->made);
        if (phase == GUEST_PAUSED)
            assert_int_equal(v->phase, guest_ordered(g) == VCPU_HELD ? VCPU_HELD : v->phase);
        if (phase < GUEST_MAKING || phase >= GUEST_ENDING)
            assert_true(v->phase == VCPU_NONE || (phase == GUEST_GONE && v->phase == VCPU_GONE));
        if (v->controls_busy)
            assert_true(v->entity.asked & VCPU_REQ_CONTROLS);
    }
    /* One of the two has their place: the one that has something to do. */
    if (core_get(g->life.entity.core)->incoming >> g->number & 1 || phase == GUEST_GONE)
        return;
    assert_int_equal(g->life.entity.sched.present + g->life.partner->entity.sched.present, 1);
    assert_int_equal(g->life.partner->entity.sched.present, waits);
}

static void look(void)
{
    look_at_events();
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        const struct guest *g = guest_get(i);

        look_at_memory(i, g);
        if (g)
            look_at_guest(g);
    }
}

/* ---- storms ---- */

static bool storm;
static enum deed at_random(struct vcpu *v)
{
    if (!storm)
        return RUNS;
    disturb_others(v);
    switch (random_below(24)) {
    case 0:
        return CRASHES;
    case 1:
        return EXITS;
    case 2:
    case 3:
        return HALTS;
    case 4:
        return DEAF;
    case 5:
        guest_end(v->guest, ABI_GUEST_CRASHED, "from outside"); /* as a watchdog may do meanwhile */
        return SHORT;
    case 6:
    case 7:
    case 8:
        return RUNS;
    default:
        return SHORT;
    }
}

static unsigned deployed;
static void request_at_random(void)
{
    unsigned n = 1 + random_below(GUESTS + 1), what = random_below(16);
    struct guest_config c;

    if (what < 10) {
        act_at_random(n);
    } else if (what == 10) {
        (void)call(ABI_CALL_DELETE, n, 0, 0);
    } else if (what == 11) {
        ask_for_snapshot(n);
    } else if (what == 12) {
        ask_for_controls(n);
    } else if (what == 13 && guest_get(n)) {
        self = random_below(ENGINE_CORES);
        (void)guest_flush(guest_get(n));
    } else {
        c = config_at_random(deployed);
        c.budget_us = random_below(4) ? 0 : 5000;
        if (random_below(2))
            c.devices |= DEV_NET;
        if ((random_below(8) ? deploy(&c) : show(&c, "it cannot be made")) > 0)
            deployed++;
    }
}

static void fail_at_random(bool may)
{
    fail_vcpu_init = may && random_below(8) == 0;
    fail_guest_init = may && random_below(16) == 0;
    fail_map = may && random_below(16) == 0;
    no_ports = may && random_below(16) == 0;
}

/* The request alone decides what the guest becomes, since it does nothing by itself now. */
static void last_request(unsigned n)
{
    struct guest *g = guest_get(n);
    enum abi_action action = (enum abi_action)(1 + random_below(ABI_ACTION_END - 1));
    uint32_t was = g->status->state, is;
    int64_t rc = act(n, action);

    settle();
    is = g->status->state;
    if (rc < 0) {
        assert_true(is == was || (was == ABI_GUEST_RESTARTING && is == ABI_GUEST_RUNNING));
        return;
    }
    switch (action) {
    case ABI_ACTION_STOP:
        assert_int_equal(is, ABI_GUEST_STOPPED);
        break;
    case ABI_ACTION_PAUSE:
        assert_int_equal(is, ABI_GUEST_PAUSED);
        break;
    case ABI_ACTION_START:
    case ABI_ACTION_RESET:
        assert_true(is == ABI_GUEST_RUNNING || (is == ABI_GUEST_FAILED && !g->planned));
        break;
    default:
        assert_int_equal(is, ABI_GUEST_RUNNING);
        break;
    }
}

static void storms_of(uint64_t n)
{
    seed = 0x9e3779b97f4a7c15ull * (n + 1);
    for (unsigned i = 0; i < STORMS; i++) {
        storm = true;
        for (unsigned k = 0; k < PASSES; k++) {
            if (random_below(6) == 0)
                request_at_random();
            fail_at_random(true);
            pass(random_below(ENGINE_CORES));
            look();
        }
        storm = false;
        fail_at_random(false);
        settle();
        for (unsigned g = 1; g < ABI_GUESTS_MAX; g++)
            if (guest_get(g))
                last_request(g);
    }
    for (unsigned g = 1; g < ABI_GUESTS_MAX; g++)
        if (guest_get(g))
            assert_int_equal(call(ABI_CALL_DELETE, g, 0, 0), 0);
    settle();
    look();
    for (unsigned g = 1; g < ABI_GUESTS_MAX; g++)
        assert_null(guest_get(g));
    assert_int_equal(free_or_kept(), free_at_start);
    assert_int_equal(ports & ~1u, 0);
    for (unsigned c = 0; c < ENGINE_CORES; c++)
        assert_int_equal(core_get(c)->entity_count, c == 0 ? 2 : 0);
}

static void storms(void **state)
{
    (void)state;
    engine_begin();
    for (unsigned i = 0; i < fake_guests[SELF].count; i++)
        if (fake_guests[SELF].maps[i].gpa == ABI_EVENTS_GPA)
            events = fake_guests[SELF].maps[i].host;
    assert_non_null(events);
    last_state[SELF] = ABI_GUEST_RUNNING;
    events_seen = events->newest;
    others = at_random;
    after_pass = look;
    for (unsigned i = 0; i < SEEDS; i++) {
        print_message("seed %u\n", i);
        storms_of(i);
    }
    print_message("%u transitions, %u entries, %u deployed, %u flushes\n", transitions, entries,
                  deployed, flushes);
    assert_true(transitions > 2000 && deployed > 200);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(storms)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

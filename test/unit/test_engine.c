/* SOURCES: @engine */
/* The engine: lives, vCPUs on several cores, requests, flushes, chores, and what fails. */
#include "hv/pc/pci_registers.h"
#include "test/unit/engine.h"

static int begin(void **state)
{
    (void)state;
    if (!guest_get(SELF))
        engine_begin();
    behave = with_heartbeat;
    others = runs;
    return 0;
}

/* Deletes the guests that a test left, and checks that all memory came back. */
static int end(void **state)
{
    (void)state;
    fail_guest_init = fail_map = fail_vcpu_init = fail_audit = no_ports = split = false;
    for (unsigned i = 1; i < ABI_GUESTS_MAX; i++)
        if (guest_get(i))
            assert_int_equal(call(ABI_CALL_DELETE, i, 0, 0), 0);
    settle();
    for (unsigned i = 1; i < ABI_GUESTS_MAX; i++)
        assert_null(guest_get(i));
    assert_int_equal(free_or_kept(), free_at_start);
    assert_int_equal(ports & ~1u, 0);
    return 0;
}

static struct guest *make(const char *name, unsigned core, unsigned vcpus)
{
    struct guest_config c = config_of(name, core);
    int64_t number;

    spread(&c, vcpus);
    number = deploy(&c);
    assert_true(number > 0);
    settle();
    assert_int_equal(guest_get((unsigned)number)->status->state, ABI_GUEST_RUNNING);
    return guest_get((unsigned)number);
}

static uint32_t state_of(const struct guest *g)
{
    return g->status->state;
}

static void it_lives(void **state)
{
    struct guest *g = make("one", 1, 1);
    uint64_t before = entries;

    (void)state;
    for (unsigned i = 0; i < 4; i++)
        pass(1);
    assert_true(entries > before);
    assert_int_equal(g->vcpus[0].snapshots[ABI_SNAPSHOT_LAUNCH].cause, ABI_CAUSE_LAUNCH);
    assert_memory_equal(g->mem.base + 0x7c00, app, 1);
    assert_int_equal(act(g->number, ABI_ACTION_STOP), 0);
    settle();
    assert_int_equal(state_of(g), ABI_GUEST_STOPPED);
    assert_string_equal(g->status->why, "stopped by request");
    assert_int_equal(g->status->ended_by, ABI_END_REQUEST);
    assert_int_equal(g->vcpus[0].snapshots[ABI_SNAPSHOT_DEATH].cause, ABI_CAUSE_DEATH);
    assert_int_equal(act(g->number, ABI_ACTION_STOP), -E_STATE);
    assert_int_equal(act(g->number, ABI_ACTION_START), 0);
    settle();
    assert_int_equal(state_of(g), ABI_GUEST_RUNNING);
    assert_int_equal(g->status->ended_by, ABI_END_NONE);
}

/* Four vCPUs on three cores: each has its own pages, VPID and core. */
static void several_vcpus(void **state)
{
    struct guest *g = make("many", 1, 4);
    uint64_t seen[4];

    (void)state;
    assert_int_equal(g->status->vcpu_count, 4);
    FOR_EACH_VCPU (v, g) {
        assert_int_equal(v->phase, VCPU_LIVE);
        assert_int_equal(v->stats->core, (1 + v->number) % ENGINE_CORES);
        assert_int_equal(v->stats->vcpu, v->number);
        assert_int_equal(v->stats->guest, g->number);
        assert_int_equal(v->exits[7].vcpu, v->number);
        seen[v->number] = v->stats->entries;
    }
    for (unsigned i = 0; i < 60; i++)
        pass(i % ENGINE_CORES);
    FOR_EACH_VCPU (v, g)
        assert_true(v->stats->entries > seen[v->number]);
}

static void send(struct guest *g, unsigned vcpu, enum platform_ipi kind, uint8_t vector)
{
    g->platform.host.ipi(g->platform.host.ctx, vcpu, kind, vector);
    for (unsigned i = 0; i < 4 * ENGINE_CORES; i++)
        pass(i % ENGINE_CORES);
}

/* SDM 3A "MP Initialization Protocol": vCPU 0 runs, the others wait for SIPI and use no time. */
static void init_and_sipi(void **state)
{
    struct guest *g = make("many", 1, 3);
    struct vcpu *v = &g->vcpus[1];
    struct fake_vcpu *f = fake_of(v);
    uint64_t ran;

    (void)state;
    assert_int_equal(f->starts, 1);
    assert_int_equal(f->vector, 0x9a);
    assert_int_equal(f->resets, 1);
    send(g, 1, PLATFORM_SIPI, 0x11); /* it runs: ignored */
    assert_int_equal(f->starts, 1);
    lapic_set_tpr(&g->platform.lapic[1], 0x50);
    send(g, 1, PLATFORM_INIT, 0);
    assert_int_equal(f->resets, 2);
    assert_int_equal(lapic_reg(&g->platform.lapic[1], LAPIC_TPR), 0);
    assert_true(v->parked);
    assert_int_equal(v->stats->activity, ABI_WAITS_FOR_SIPI);
    ran = v->stats->run_ticks;
    for (unsigned i = 0; i < 100; i++)
        pass(i % ENGINE_CORES);
    assert_int_equal(v->stats->run_ticks, ran);
    send(g, 1, PLATFORM_NMI, 0); /* it has no handler yet */
    assert_int_equal(act(g->number, ABI_ACTION_NMI), 0);
    settle();
    assert_false(v->nmi);
    assert_true(v->parked);
    /* What comes during a pause is not lost. */
    assert_int_equal(act(g->number, ABI_ACTION_PAUSE), 0);
    settle();
    send(g, 1, PLATFORM_SIPI, 0x12);
    send(g, 1, PLATFORM_SIPI, 0x13);
    assert_true(v->parked);
    assert_int_equal(act(g->number, ABI_ACTION_RESUME), 0);
    settle();
    assert_false(v->parked);
    assert_int_equal(f->starts, 2);
    assert_int_equal(f->vector, 0x12);
    for (unsigned i = 0; i < 100; i++)
        pass(i % ENGINE_CORES);
    assert_true(v->stats->run_ticks > ran);
    assert_int_equal(v->stats->activity, ABI_ACTIVE);
    /* vCPU 0 is the PC's. */
    send(g, 0, PLATFORM_INIT, 0);
    settle();
    assert_int_equal(state_of(g), ABI_GUEST_STOPPED);
    assert_string_equal(g->status->why, "the guest reset itself (INIT of vCPU 0)");
    assert_int_equal(act(g->number, ABI_ACTION_START), 0);
    settle();
    assert_int_equal(f->starts, 1); /* of its new life */
}

static enum deed halts(struct vcpu *v)
{
    (void)v;
    return HALTS;
}

/* A vCPU in HLT wakes for what another one does, on whichever core. */
static void kicked(void **state)
{
    struct guest *g;

    (void)state;
    others = halts;
    g = make("many", 1, 3);
    for (unsigned i = 0; i < 100; i++)
        pass(i % ENGINE_CORES);
    FOR_EACH_VCPU (v, g) {
        assert_true(v->halted);
        assert_false(v->entity.sched.runnable);
    }
    /* vCPU 2 starts a timer: the core of vCPU 0, asleep without end, must look in time. */
    out(&g->vcpus[2], 0x20, 0x11);
    out(&g->vcpus[2], 0x21, 0x20);
    out(&g->vcpus[2], 0x21, 0x04);
    out(&g->vcpus[2], 0x21, 0x01);
    out(&g->vcpus[2], 0x21, 0x00);
    assert_int_equal(g->vcpus[0].entity.sched.wake, NEVER);
    out(&g->vcpus[2], 0x43, 0x34);
    out(&g->vcpus[2], 0x40, 0x00);
    out(&g->vcpus[2], 0x40, 0x10);
    pass(1);
    assert_true(g->vcpus[0].entity.sched.wake <= g->platform.next_event);
    for (unsigned i = 0; i < 1000 && g->vcpus[0].stats->irqs == 0; i++)
        pass(i % ENGINE_CORES);
    assert_int_equal(g->vcpus[0].stats->irqs, 1);
}

static struct vcpu *hearing; /* this one goes on */
static enum deed deaf_but_one(struct vcpu *v)
{
    return v == hearing ? RUNS : DEAF;
}

/* CLI and HLT stop a vCPU until an NMI or INIT; the guest has ended when none is left. */
static void deaf_vcpus(void **state)
{
    struct guest *g = make("many", 1, 3);

    (void)state;
    hearing = &g->vcpus[1];
    others = deaf_but_one;
    for (unsigned i = 0; i < 100; i++)
        pass(i % ENGINE_CORES);
    assert_int_equal(state_of(g), ABI_GUEST_RUNNING);
    assert_true(g->vcpus[0].deaf && g->vcpus[2].deaf);
    /* An interrupt does not wake it. */
    irqchip_pulse(&g->platform, 1);
    g->platform.host.kick(g->platform.host.ctx, 0);
    settle();
    assert_false(g->vcpus[0].entity.sched.runnable);
    others = runs;
    send(g, 2, PLATFORM_NMI, 0);
    assert_false(g->vcpus[2].deaf);
    assert_false(g->vcpus[2].halted);
    send(g, 2, PLATFORM_INIT, 0);
    assert_true(g->vcpus[2].parked);
    others = deaf_but_one;
    hearing = NULL;
    for (unsigned i = 0; i < 100 && state_of(g) == ABI_GUEST_RUNNING; i++)
        pass(i % ENGINE_CORES);
    settle();
    assert_int_equal(state_of(g), ABI_GUEST_STOPPED);
    assert_string_equal(g->status->why, "halted with interrupts off");
}

/* The guest is paused once all its vCPUs have left their runs, each on its own core, and not
 * before. */
static void pause_waits_for_all(void **state)
{
    struct guest *g = make("many", 1, 3);

    (void)state;
    g->config.paused_clock = PAUSED_CLOCK_STOPS;
    assert_int_equal(act(g->number, ABI_ACTION_PAUSE), 0);
    for (unsigned i = 0; i < 50 && g->life.phase == GUEST_LIVE; i++)
        pass(1);
    for (unsigned i = 0; i < 50; i++)
        pass(1);
    assert_int_equal(state_of(g), ABI_GUEST_RUNNING);
    assert_int_equal(g->vcpus[0].phase, VCPU_HELD);
    for (unsigned i = 0; i < 50; i++)
        pass(2);
    pass(1);
    assert_int_equal(state_of(g), ABI_GUEST_RUNNING); /* the third is on core 0 */
    pass(0);
    pass(1);
    pass(1);
    assert_int_equal(state_of(g), ABI_GUEST_PAUSED);
    settle();
    FOR_EACH_VCPU (v, g)
        assert_int_equal(v->phase, VCPU_HELD);
    assert_int_equal(act(g->number, ABI_ACTION_PAUSE), -E_STATE);
    clock_now += HZ;
    assert_int_equal(act(g->number, ABI_ACTION_RESUME), 0);
    settle();
    assert_int_equal(state_of(g), ABI_GUEST_RUNNING);
    FOR_EACH_VCPU (v, g) {
        assert_true(fake_of(v)->shifted >= HZ);
        assert_int_equal(fake_of(v)->shifted, g->life.shift);
    }
}

static struct vcpu *culprit;
static enum deed culprit_deed;
static enum deed culprit_acts(struct vcpu *v)
{
    return v == culprit ? culprit_deed : RUNS;
}

/* Whichever vCPU ends the guest, all of them leave, and the first reason counts. */
static void any_vcpu_ends_it(void **state)
{
    struct guest *g = make("many", 1, 3);
    char text[40];

    (void)state;
    others = culprit_acts;
    for (unsigned n = 0; n < 3; n++) {
        culprit = &g->vcpus[n];
        culprit_deed = n ? CRASHES : EXITS;
        for (unsigned i = 0; i < 20000 && state_of(g) == ABI_GUEST_RUNNING; i++)
            pass(i % ENGINE_CORES);
        settle();
        (void)fmt(text, sizeof(text), n ? "triple fault of vCPU %u" : "vCPU %u has done its work",
                  n);
        assert_string_equal(g->status->why, text);
        assert_int_equal(state_of(g), n ? ABI_GUEST_CRASHED : ABI_GUEST_STOPPED);
        assert_int_equal(g->status->ended_by, ABI_END_ITSELF);
        FOR_EACH_VCPU (v, g) {
            assert_int_equal(v->phase, VCPU_NONE);
            assert_false(fake_of(v)->made);
            assert_int_equal(v->snapshots[ABI_SNAPSHOT_DEATH].cause, ABI_CAUSE_DEATH);
        }
        culprit = NULL;
        assert_int_equal(act(g->number, ABI_ACTION_START), 0);
        settle();
    }
}

/* After memory is taken away no core can reach it, and the taker learns when that holds. */
static void flushes_reach_all(void **state)
{
    struct guest *g = make("many", 1, 3);
    unsigned before[ENGINE_CORES];
    uint32_t n;

    (void)state;
    memcpy(before, kicks, sizeof(before));
    self = 1;
    n = guest_flush(g);
    assert_int_equal(kicks[1], before[1]);
    assert_true(kicks[0] > before[0] && kicks[2] > before[2]);
    assert_false(guest_is_flushed(g, n)); /* run() checks that no vCPU enters meanwhile */
    pass(2);
    assert_false(guest_is_flushed(g, n));
    pass(0);
    assert_true(guest_is_flushed(g, n));
    /* A newer guest is not mistaken for the old one. */
    self = 1;
    n = guest_flush(g);
    (void)guest_flush(g);
    pass(0);
    pass(2);
    assert_true(guest_is_flushed(g, n) && guest_is_flushed(g, n + 1));
    assert_int_equal(act(g->number, ABI_ACTION_STOP), 0);
    settle();
    assert_true(guest_is_flushed(g, n + 9)); /* there is none */
}

/* Orders of its guest's life and NMIs wake a vCPU in HLT, on any core. */
static void asleep(void **state)
{
    struct guest *g;
    uint64_t irqs[2];

    (void)state;
    others = halts;
    g = make("sleepy", 1, 2);
    for (unsigned i = 0; i < 30; i++)
        pass(i % ENGINE_CORES);
    FOR_EACH_VCPU (v, g) {
        assert_true(v->halted);
        irqs[v->number] = v->stats->irqs;
    }
    assert_int_equal(act(g->number, ABI_ACTION_NMI), 0);
    settle();
    for (unsigned i = 0; i < 30; i++)
        pass(i % ENGINE_CORES);
    FOR_EACH_VCPU (v, g)
        assert_int_equal(v->stats->irqs, irqs[v->number] + 1);
    assert_int_equal(act(g->number, ABI_ACTION_PAUSE), 0);
    settle();
    assert_int_equal(state_of(g), ABI_GUEST_PAUSED);
    assert_int_equal(act(g->number, ABI_ACTION_STOP), 0);
    settle();
    assert_int_equal(state_of(g), ABI_GUEST_STOPPED);
}

/* Makes passes of its core until the guest is shown as running. Other cores make none: a vCPU there
 * does not know yet that it may run. */
static void show_running(const struct guest *g)
{
    for (unsigned i = 0; i < 1000 && state_of(g) != ABI_GUEST_RUNNING; i++)
        pass(g->life.entity.core);
    assert_int_equal(state_of(g), ABI_GUEST_RUNNING);
    assert_int_equal(g->vcpus[1].phase, VCPU_HELD);
}

/* What is asked of a vCPU before its core has begun to run it is done once it has. */
static void asked_before_it_runs(void **state)
{
    struct guest_config c = config_of("early", 1);
    struct guest *g;
    uint64_t irqs;
    int64_t n;

    (void)state;
    others = halts;
    spread(&c, 2);
    g = guest_get((unsigned)deploy(&c));
    for (unsigned i = 0; i < 1000 && g->vcpus[1].phase != VCPU_HELD; i++)
        pass(1 + i % 2);
    show_running(g);
    n = call(ABI_CALL_SNAPSHOT, g->number, 1, 0);
    for (unsigned i = 0; i < 30; i++)
        pass(2);
    assert_int_equal(g->vcpus[1].snapshots[ABI_SNAPSHOT_LIVE].sequence, n);

    settle();
    for (unsigned i = 0; i < 30; i++)
        pass(i % ENGINE_CORES);
    assert_int_equal(act(g->number, ABI_ACTION_PAUSE), 0);
    settle();
    irqs = g->vcpus[1].stats->irqs;
    assert_int_equal(act(g->number, ABI_ACTION_RESUME), 0);
    show_running(g);
    assert_int_equal(act(g->number, ABI_ACTION_NMI), 0);
    for (unsigned i = 0; i < 30; i++)
        pass(2);
    assert_int_equal(g->vcpus[1].stats->irqs, irqs + 1);
}

/* A PIT interrupt each millisecond; it sleeps in between. */
static enum deed naps(struct vcpu *v)
{
    static const struct {
        uint16_t port;
        uint8_t value;
    } writes[] = {{0x20, 0x11}, {0x21, 0x20}, {0x21, 4},    {0x21, 1},
                  {0x21, 0xfe}, {0x43, 0x34}, {0x40, 0xa9}, {0x40, 4}};

    if (v->guest->config.name[0] != 'n')
        return RUNS;
    for (unsigned i = 0; v->stats->entries == 1 && i < ARRAY_LEN(writes); i++)
        out(v, writes[i].port, writes[i].value);
    return HALTS;
}

/* Alone on its core, a vCPU's timer is waited for inside its HLT. Next to another, the vCPU takes
 * the core back. */
static void timers_wake(void **state)
{
    struct guest *g, *hog;
    struct core *c = core_get(2);
    uint64_t idle = c->stats->idle_ticks, start, wakes = 0;

    (void)state;
    others = naps;
    g = make("napper", 2, 1);
    start = clock_now;
    while (clock_now < start + HZ / 50)
        pass(2);
    assert_in_range(g->vcpus[0].stats->irqs, 15, 21);
    assert_true(c->stats->idle_ticks - idle > HZ / 100);
    /* Core 0's slices are longer than the timer's period, so the other guest is made while this one
     * is stopped. */
    assert_int_equal(act(g->number, ABI_ACTION_STOP), 0);
    settle();
    hog = make("hog", 2, 1);
    g->vcpus[0].stats->entries = 0;
    assert_int_equal(act(g->number, ABI_ACTION_START), 0);
    settle();
    start = clock_now;
    g->vcpus[0].stats->irqs = 0;
    while (clock_now < start + HZ / 50)
        pass(2);
    assert_in_range(g->vcpus[0].stats->irqs, 15, 21);
    assert_true(hog->vcpus[0].stats->run_ticks > HZ / 100);
    for (unsigned i = 0; i < ABI_HISTOGRAM_BUCKETS; i++)
        wakes += g->vcpus[0].stats->wake_late.count[i];
    assert_true(wakes > 10);
    /* Frames are found even without a kick. */
    core_leave(&g->life.entity, GUEST_REQ_EVENT);
    pass(2);
    assert_int_equal(g->life.entity.requests, 0);
}

static enum deed arms_and_sleeps(struct vcpu *v)
{
    if (v->number > 0)
        return RUNS;
    out(v, 0x43, 0x34);
    out(v, 0x40, 0);
    out(v, 0x40, 0x10); /* every 3.4 ms */
    return DEAF;
}

/* Timers of vCPUs that sleep through them take little time from a guest that is being made. */
static void deaf_timers(void **state)
{
    static const char *const names[] = {"a", "b", "c"};

    (void)state;
    others = arms_and_sleeps;
    for (unsigned i = 0; i < ARRAY_LEN(names); i++)
        assert_true(make(names[i], 1, 2)->vcpus[0].deaf);
    (void)make("last", 1, 2);
}

static uint16_t written_port;
static uint8_t written_value;
static enum deed writes_to_a_port(struct vcpu *v)
{
    out(v, written_port, written_value);
    return SHORT;
}

static void ports_that_end(void **state)
{
    static const struct {
        uint16_t port;
        uint8_t value;
        const char *why;
    } ends[] = {{0x64, 0xfe, "the guest reset itself"}, {0xf4, 17, "exited with code 17"}};
    struct guest *g = make("talker", 1, 1);

    (void)state;
    others = writes_to_a_port;
    written_port = 0x3f8;
    written_value = 'x';
    for (unsigned i = 0; i < 20; i++)
        pass(1);
    assert_true(g->console->written > 0);
    assert_int_equal(g->console->data[0], 'x');
    for (unsigned i = 0; i < ARRAY_LEN(ends); i++) {
        others = writes_to_a_port;
        written_port = ends[i].port;
        written_value = ends[i].value;
        for (unsigned k = 0; k < 20000 && state_of(g) == ABI_GUEST_RUNNING; k++)
            pass(k % ENGINE_CORES);
        settle();
        assert_non_null(strstr(g->status->why, ends[i].why));
        assert_int_equal(state_of(g), ABI_GUEST_STOPPED);
        others = runs;
        assert_int_equal(act(g->number, ABI_ACTION_START), 0);
        settle();
    }
    assert_int_equal(g->status->exit_code, 0); /* of this life */
}

static void snapshots_and_controls(void **state)
{
    struct guest *g = make("many", 1, 2);
    struct abi_controls *c = argument();
    struct vcpu *v = &g->vcpus[1];
    int64_t n;

    (void)state;
    n = call(ABI_CALL_SNAPSHOT, g->number, 1, 0);
    assert_int_equal(n, 2);
    settle();
    assert_int_equal(v->snapshots[ABI_SNAPSHOT_LIVE].sequence, n);
    assert_int_equal(g->vcpus[0].snapshots[ABI_SNAPSHOT_LIVE].sequence, 0);
    for (unsigned i = 0; i < ABI_SNAPSHOTS_KEPT + 1; i++) {
        n = call(ABI_CALL_SNAPSHOT, g->number, 1, 1);
        settle();
    }
    assert_int_equal(v->snapshots[ABI_SNAPSHOT_RING].sequence, n); /* overwrites the oldest */
    assert_int_equal(call(ABI_CALL_SNAPSHOT, g->number, 2, 0), -E_NOENT);
    memset(c, 0, sizeof(*c));
    n = call(ABI_CALL_CONTROLS, g->number, 1, ARGUMENT);
    assert_int_equal(n, 1);
    assert_int_equal(call(ABI_CALL_CONTROLS, g->number, 1, ARGUMENT), -E_STATE);
    settle();
    assert_int_equal(v->stats->controls.sequence, n);
    assert_int_equal(v->stats->controls.result, 0);
    c->mask[0] = 0xbad;
    assert_int_equal(call(ABI_CALL_CONTROLS, g->number, 1, ARGUMENT), n + 1);
    settle();
    assert_int_equal(v->stats->controls.result, -E_INVAL);
    /* Requested while it runs, but it ends before the request is carried out: the result says
     * so. */
    assert_int_equal(act(g->number, ABI_ACTION_STOP), 0);
    n = call(ABI_CALL_CONTROLS, g->number, 1, ARGUMENT);
    assert_true(n > 0);
    while (v->phase != VCPU_NONE) {
        v->entity.asked &= ~(uint32_t)VCPU_REQ_CONTROLS;
        pass(1);
        pass(2);
    }
    core_ask(&v->entity, VCPU_REQ_CONTROLS);
    settle();
    assert_int_equal(v->stats->controls.sequence, n);
    assert_int_equal(v->stats->controls.result, -E_STATE);
    assert_true(call(ABI_CALL_SNAPSHOT, g->number, 1, 0) > 0); /* the snapshot of its death */
    assert_int_equal(call(ABI_CALL_SNAPSHOT, g->number, 1, 1), -E_STATE);
}

/* Asked for as soon as the end can be seen: it is the snapshot of this death, in each life. */
static void snapshot_of_an_end(void **state)
{
    struct guest *g = make("mortal", 1, 2);
    const struct vcpu *v = &g->vcpus[1]; /* on the second core, which does nothing meanwhile */

    (void)state;
    for (unsigned life = 0; life < 2; life++) {
        int64_t n;

        assert_int_equal(act(g->number, ABI_ACTION_STOP), 0);
        for (unsigned i = 0; i < 100 && g->status->state != ABI_GUEST_STOPPED; i++)
            pass(1);
        assert_int_equal(g->status->state, ABI_GUEST_STOPPED);
        assert_true(v->ran && v->phase != VCPU_NONE);
        n = call(ABI_CALL_SNAPSHOT, g->number, 1, 0);
        settle();
        assert_int_equal(v->snapshots[ABI_SNAPSHOT_DEATH].sequence, n);
        assert_int_equal(call(ABI_CALL_SNAPSHOT, g->number, 1, 0), n);
        assert_int_equal(act(g->number, ABI_ACTION_START), 0);
        settle();
        assert_int_equal(g->status->state, ABI_GUEST_RUNNING);
    }
}

/* A request for a guest whose core has not taken it yet is not lost. */
static void asked_before_it_is_bound(void **state)
{
    struct guest_config c = config_of("early", 2);
    int64_t n;

    (void)state;
    pass(2);
    n = deploy(&c);
    assert_true(n > 0);
    assert_true(core_get(2)->incoming);
    assert_int_equal(call(ABI_CALL_DELETE, (uint64_t)n, 0, 0), 0);
    settle();
    assert_null(guest_get((unsigned)n));
}

/* ---- what fails ---- */

static int64_t try_to_deploy(unsigned vcpus, bool net)
{
    struct guest_config c = config_of("hapless", 1);
    int64_t number;

    spread(&c, vcpus);
    if (net)
        c.devices |= DEV_NET;
    number = deploy(&c);
    if (number > 0)
        settle();
    return number;
}

static void made_in_vain(void **state)
{
    static bool *const failures[] = {&fail_guest_init, &fail_map, &fail_audit, &no_ports};
    static const char *const texts[] = {"translation tables", "translation tables",
                                        "its memory is not its own", "no free port"};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(failures); i++) {
        int64_t n;

        *failures[i] = true;
        n = try_to_deploy(2, true);
        assert_true(n > 0);
        assert_int_equal(guest_get((unsigned)n)->status->state, ABI_GUEST_FAILED);
        assert_non_null(strstr(guest_get((unsigned)n)->status->why, texts[i]));
        /* It cannot be started. */
        assert_int_equal(act((unsigned)n, ABI_ACTION_START), -E_NOTSUP);
        *failures[i] = false;
        assert_int_equal(call(ABI_CALL_DELETE, (uint64_t)n, 0, 0), 0);
        settle();
        assert_null(guest_get((unsigned)n));
        assert_int_equal(free_or_kept(), free_at_start);
    }
}

/* A vCPU that cannot be made is reported as a failure and the others are destroyed. The guest can
 * be started once the missing resource is available. */
static void no_vcpu(void **state)
{
    int64_t n;

    (void)state;
    fail_vcpu_init = true;
    n = try_to_deploy(3, false);
    assert_int_equal(guest_get((unsigned)n)->status->state, ABI_GUEST_FAILED);
    assert_string_equal(guest_get((unsigned)n)->status->why, "its vCPU cannot be set up");
    FOR_EACH_VCPU (v, guest_get((unsigned)n)) {
        assert_int_equal(v->phase, VCPU_NONE);
        assert_false(fake_of(v)->made);
    }
    fail_vcpu_init = false;
    assert_int_equal(act((unsigned)n, ABI_ACTION_START), 0);
    settle();
    assert_int_equal(guest_get((unsigned)n)->status->state, ABI_GUEST_RUNNING);
}

static void refused(void **state)
{
    struct guest_config c = config_of("mgmt", 1);

    (void)state;
    assert_int_equal(deploy(&c), -E_INVAL);
    c = config_of("one", 9);
    assert_int_equal(deploy(&c), -E_NOENT);
    c = config_of("one", 1);
    c.vcpus = ABI_VCPUS_MAX + 1;
    assert_int_equal(deploy(&c), -E_INVAL);
    c = config_of("one", 1);
    (void)str_copy(c.image, sizeof(c.image), "nowhere");
    assert_int_equal(deploy(&c), -E_NOENT);
    c = config_of("one", 1);
    c.memory = 2 * HOST_BYTES;
    assert_int_equal(deploy(&c), -E_NOMEM);
    assert_int_equal(free_or_kept(), free_at_start);
    (void)make("one", 1, 1);
    c = config_of("one", 1);
    assert_int_equal(deploy(&c), -E_EXIST);
    /* More than its core can guarantee. */
    c = config_of("two", 1);
    c.guaranteed_us = 9000;
    assert_true(deploy(&c) > 0);
    c = config_of("three", 0);
    spread(&c, 2); /* the second on core 1 */
    c.guaranteed_us = 1000;
    assert_int_equal(deploy(&c), -E_BUSY);
    /* Each of its vCPUs has the guarantee. */
    c = config_of("four", 2);
    spread(&c, 2);
    c.cores[1] = 2;
    c.guaranteed_us = 4800;
    assert_int_equal(deploy(&c), -E_BUSY);
    c.guaranteed_us = 4700;
    assert_true(deploy(&c) > 0);
    c = config_of("five", 2);
    spread(&c, 2);
    c.cores[1] = ENGINE_CORES;
    assert_int_equal(deploy(&c), -E_NOENT);
    c.core_count = 1;
    assert_int_equal(deploy(&c), -E_INVAL);
}

/* Deploys a guest of a network, or of none, on these cores. */
static int64_t beside(const char *name, const char *network, unsigned core, unsigned second)
{
    struct guest_config c = config_of(name, core);

    spread(&c, 2);
    c.cores[1] = (uint8_t)second;
    c.net.network[0] = 0;
    c.devices &= ~(uint32_t)DEV_NET;
    if (network) {
        c.devices |= DEV_NET | DEV_PCI;
        (void)str_copy(c.net.network, sizeof(c.net.network), network);
    } else {
        (void)str_copy(c.net.network, sizeof(c.net.network), "plant"); /* but it has no card */
    }
    return deploy(&c);
}

/* On the thread beside a guest only others of its network run. */
static void threads_of_one_network(void **state)
{
    int64_t n;

    (void)state;
    guest_pages()->host->options.smt = SMT_ONE_NETWORK;
    engine_physical[2] = 1; /* 0 and 1 are threads of one physical core, and management runs on 0 */
    assert_int_equal(beside("own", "plant", 1, 1), -E_STATE);
    assert_int_equal(beside("own", "plant", 2, 1), -E_STATE);
    engine_physical[1] = 1;             /* 1 and 2 are */
    n = beside("first", "plant", 1, 2); /* both threads are its own */
    assert_true(n > 0);
    settle();
    assert_int_equal(beside("other", "office", 1, 1), -E_STATE);
    assert_int_equal(beside("other", NULL, 0, 2), -E_STATE);
    assert_true(beside("other", NULL, 0, 0) > 0);
    assert_true(beside("second", "plant", 2, 2) > 0);
    /* One that has ended can be started again; one that has gone leaves its place. */
    assert_int_equal(act((unsigned)n, ABI_ACTION_STOP), 0);
    settle();
    assert_int_equal(beside("third", "office", 2, 2), -E_STATE);
    assert_int_equal(call(ABI_CALL_DELETE, (uint64_t)n, 0, 0), 0);
    settle();
    assert_true(beside("third", "office", 2, 2) > 0); /* the second's thread, and none beside it */
    assert_int_equal(beside("fourth", "office", 1, 1), -E_STATE);
    guest_pages()->host->options.smt = SMT_ON;
    assert_true(beside("fourth", "office", 1, 1) > 0);
    guest_pages()->host->options.smt = SMT_OFF;
    memset(engine_physical, 0, sizeof(engine_physical));
}

/* RAM comes from the node of the guest's core while that has enough, else from anywhere. */
static void memory_of_its_node(void **state)
{
    uint64_t half = HOST_BYTES / 2;
    struct guest_config c;
    int64_t n;

    (void)state;
    engine_near[0] = (struct abi_near){(uintptr_t)host_bytes, half, 0, 0};
    engine_near[1] = (struct abi_near){(uintptr_t)host_bytes + half, half, 1, 0};
    engine_nears = 2;
    for (unsigned node = 0; node < 2; node++) {
        engine_node[1] = node;
        c = config_of("one", 1);
        c.memory = 4 * PAGE_SIZE_2M;
        n = deploy(&c);
        assert_int_equal(n, 1);
        assert_true((guest_get(1)->mem.base - host_bytes >= (ptrdiff_t)half) == (node == 1));
        assert_int_equal(guest_get(1)->status->near_memory, c.memory);
        settle();
        assert_int_equal(call(ABI_CALL_DELETE, 1, 0, 0), 0);
        settle();
    }
    engine_near[1].size = PAGE_SIZE_2M;
    c = config_of("two", 1);
    c.memory = 4 * PAGE_SIZE_2M;
    assert_int_equal(deploy(&c), 1);
    assert_int_equal(guest_get(1)->mem.size, c.memory);
    assert_true(guest_get(1)->status->near_memory <= PAGE_SIZE_2M);
    settle();
    engine_nears = 0;
    assert_int_equal(call(ABI_CALL_DELETE, 1, 0, 0), 0);
    settle();
    assert_int_equal(deploy(&c), 1);
    assert_int_equal(guest_get(1)->status->near_memory, c.memory);
}

/* A guest that no node has enough for gets what each has, and the log says how much of it is near.
 */
static void memory_of_two_nodes(void **state)
{
    uint64_t half = HOST_BYTES / 2, hole = (uintptr_t)host_bytes + half;
    struct guest_config c = config_of("large", 1);
    unsigned before = warnings;
    void *between;

    (void)state;
    engine_near[0] = (struct abi_near){(uintptr_t)host_bytes, half, 0, 0};
    engine_near[1] = (struct abi_near){hole, half, 1, 0};
    engine_nears = 2;
    between = hostmem_alloc_in(PAGE_SIZE_2M, PAGE_SIZE_2M, hole, hole + PAGE_SIZE_2M, MEM_HOST, 0);
    assert_non_null(between);
    c.memory = half + 4 * PAGE_SIZE_2M;
    assert_int_equal(deploy(&c), 1);
    assert_int_equal(gmem_range_count(&guest_get(1)->mem), 2);
    assert_in_range(guest_get(1)->status->near_memory, 4 * PAGE_SIZE_2M, half);
    assert_int_equal(warnings, before + 1);
    settle();
    assert_int_equal(call(ABI_CALL_DELETE, 1, 0, 0), 0);
    settle();
    hostmem_free(between, PAGE_SIZE_2M);
    engine_nears = 0;
}

/* Pages of further vCPUs exist only once they are needed, and are then the same for later guests of
 * that number. */
static void pages_of_vcpus(void **state)
{
    uint64_t shared, before = shared_bytes();
    int64_t n;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        n = try_to_deploy(ABI_VCPUS_MAX, false);
        assert_int_equal(n, 1);
        assert_int_equal(guest_get(1)->vcpu_count, ABI_VCPUS_MAX);
        shared = shared_bytes() - before;
        assert_true(shared <=
                    (ABI_VCPUS_MAX - 1) * (ABI_VCPU_SIZE + VCPU_EXITS_SIZE + VCPU_SNAPSHOTS_SIZE));
        assert_int_equal(call(ABI_CALL_DELETE, 1, 0, 0), 0);
        settle();
    }
    assert_int_equal(shared_bytes() - before, shared);
}

/* The plan is not trusted, and nothing is left of a guest with an invalid plan. */
static void a_bad_plan(void **state)
{
    const struct guest_config c = config_of("planned", 1);

    (void)state;
    request_for(&c)->plan.pieces[0].size = FILE_BYTES + 1;
    assert_int_equal(call(ABI_CALL_CREATE, ARGUMENT, 0, 0), -E_INVAL);
    request_for(&c)->plan.pieces[0].address = PAGE_SIZE_2M - FILE_BYTES + 1;
    assert_int_equal(call(ABI_CALL_CREATE, ARGUMENT, 0, 0), -E_INVAL);
    request_for(&c)->plan.pieces[0].source = LOAD_FROM_MODULE;
    assert_int_equal(call(ABI_CALL_CREATE, ARGUMENT, 0, 0), -E_INVAL);
    assert_null(guest_get(1));
    assert_int_equal(free_or_kept(), free_at_start);
}

/* A guest that cannot be made is shown, takes no resources, and can be deleted. The reason shown
 * for it is untrusted text. */
static void a_husk(void **state)
{
    struct guest_config c = config_of("husk", 2);
    const struct guest *g;
    int64_t n;

    (void)state;
    c.memory = 1024 * PAGE_SIZE_2M; /* there is not that much */
    c.guaranteed_us = 9500;
    n = show(&c, "not here:\n[0.0] core 0: \x1b[31mPANIC");
    assert_int_equal(n, 1);
    settle();
    assert_int_equal(guest_get(1)->status->state, ABI_GUEST_FAILED);
    assert_string_equal(guest_get(1)->status->why, "not here: [0.0] core 0: PANIC");
    assert_true(guest_get(1)->status->flags & ABI_GUEST_HUSK);
    assert_int_equal(free_or_kept(), free_at_start);
    assert_int_equal(act(1, ABI_ACTION_START), -E_NOTSUP);
    assert_int_equal(act(1, ABI_ACTION_RESET), -E_NOTSUP);
    assert_int_equal(show(&c, "again"), -E_EXIST);
    /* Other guests can have its core's time. */
    c = config_of("other", 2);
    c.guaranteed_us = 9500;
    assert_int_equal(deploy(&c), 2);
    settle();
    assert_int_equal(guest_get(2)->status->state, ABI_GUEST_RUNNING);
    g = guest_get(1);
    assert_int_equal(call(ABI_CALL_DELETE, 1, 0, 0), 0);
    /* The time of other cores' passes would take from what the other guest was promised. */
    for (unsigned i = 0; i < 10000 && guest_get(1); i++)
        pass(2);
    assert_null(guest_get(1));
    assert_int_equal(g->life.entity.sched.params.guaranteed, 0); /* nor did it take that to go */
}

/* Management's own image: if it cannot be used, that is logged and tried again until it can. */
static void management_is_tried_again(void **state)
{
    struct guest *m = guest_get(SELF);
    uint64_t again;

    (void)state;
    m->planned = false;
    management_image.bytes[5] ^= 1;
    assert_int_equal(act(SELF, ABI_ACTION_RESET), 0);
    for (unsigned i = 0; i < 100000 && state_of(m) != ABI_GUEST_RESTARTING; i++)
        pass(i % ENGINE_CORES);
    assert_int_equal(state_of(m), ABI_GUEST_RESTARTING);
    assert_non_null(strstr(m->status->why, "checksum"));
    again = m->status->next_start_tsc;
    assert_true(again > clock_now + 5 * HZ);
    clock_now = again;
    for (unsigned i = 0; i < 100000 && m->status->next_start_tsc == again; i++)
        pass(i % ENGINE_CORES);
    assert_true(m->status->next_start_tsc > again);
    management_image.bytes[5] ^= 1;
    clock_now = m->status->next_start_tsc;
    for (unsigned i = 0; i < 100000 && state_of(m) != ABI_GUEST_RUNNING; i++)
        pass(i % ENGINE_CORES);
    assert_int_equal(state_of(m), ABI_GUEST_RUNNING);
}

static void configured_once(void **state)
{
    (void)state;
    assert_int_equal(guest_pages()->host->configured, 0);
    assert_int_equal(call(ABI_CALL_CONFIGURED, 0, 0, 0), 0);
    assert_int_equal(guest_pages()->host->configured, 1);
    assert_int_equal(act(SELF, ABI_ACTION_RESET), 0);
    settle();
    assert_int_equal(guest_pages()->host->configured, 1);
}

/* Memory runs out at any point while a guest is made: all of it comes back. */
static void memory_runs_out(void **state)
{
    struct guest_config c = config_of("big", 1);

    (void)state;
    split = true;
    c.devices |= DEV_NET;
    for (uint64_t left = 0; left < (4u << 20); left += 300u << 10) {
        uint64_t take = hostmem_free_bytes() > left ? hostmem_free_bytes() - left : 0;
        void *p = hostmem_alloc(take / PAGE_SIZE * PAGE_SIZE, PAGE_SIZE, MEM_HOST, 0);
        uint64_t before = hostmem_free_bytes();
        int64_t n = deploy(&c);

        if (n > 0) {
            settle();
            assert_int_equal(call(ABI_CALL_DELETE, (uint64_t)n, 0, 0), 0);
            settle();
        } else {
            assert_int_equal(n, -E_NOMEM);
        }
        assert_int_equal(hostmem_free_bytes(), before);
        if (p)
            hostmem_free(p, take / PAGE_SIZE * PAGE_SIZE);
    }
}

/* ---- policies and watches ---- */

static enum deed crashes_at_once(struct vcpu *v)
{
    return v->number == 0 ? CRASHES : RUNS;
}

static void restarts(void **state)
{
    struct guest_config c = config_of("again", 1);
    struct guest *g;
    uint64_t until;

    (void)state;
    others = crashes_at_once;
    c.restart = RESTART_ON_FAILURE;
    c.restart_limit = 3;
    spread(&c, 2);
    g = guest_get((unsigned)deploy(&c));
    for (unsigned i = 0; i < 100000 && state_of(g) != ABI_GUEST_RESTARTING; i++)
        pass(i % ENGINE_CORES);
    assert_int_equal(state_of(g), ABI_GUEST_RESTARTING);
    assert_int_equal(g->status->ended_by, ABI_END_ITSELF);
    until = g->status->next_start_tsc;
    assert_true(until > clock_now);
    for (unsigned i = 0; i < 2000000 && !strstr(g->status->why, "not started again"); i++)
        pass(i % ENGINE_CORES);
    settle();
    assert_int_equal(state_of(g), ABI_GUEST_CRASHED);
    assert_int_equal(g->status->restarts, 3);
    /* On request it starts at once, and the count starts again. */
    others = runs;
    assert_int_equal(act(g->number, ABI_ACTION_START), 0);
    settle();
    assert_int_equal(state_of(g), ABI_GUEST_RUNNING);
    assert_int_equal(g->status->short_lives, 0);
}

static void watched(void **state)
{
    struct guest_config c = config_of("watched", 1);
    struct guest *g;

    (void)state;
    c.watchdog_ms = 50;
    g = guest_get((unsigned)deploy(&c));
    for (unsigned i = 0; i < 100000 && state_of(g) != ABI_GUEST_CRASHED; i++)
        pass(i % ENGINE_CORES);
    settle();
    assert_non_null(strstr(g->status->why, "watchdog: nothing written"));
}

static void told_when_stuck(void **state)
{
    struct guest *g = make("stuck", 1, 2);
    char text[ABI_TEXT_MAX];

    (void)state;
    place = (struct vcpu_place){.rip = 0x1234, .interrupts_off = true};
    for (unsigned i = 0; i < 100000 && !g->status->stuck[0]; i++)
        pass(i % ENGINE_CORES);
    (void)fmt(text, sizeof(text), "vCPU %u spins at RIP 0x1234, with interrupts off",
              g->stuck_vcpu);
    assert_string_equal(g->status->stuck, text);
    assert_int_equal(state_of(g), ABI_GUEST_RUNNING);
    place = (struct vcpu_place){.rip = 0x1000};
    for (unsigned i = 0; i < 100000 && g->status->stuck[0]; i++)
        pass(i % ENGINE_CORES);
    assert_string_equal(g->status->stuck, "");
    /* Its core finds it stuck while another core ends it: it is not stuck any more. */
    assert_int_equal(act(g->number, ABI_ACTION_STOP), 0);
    for (unsigned i = 0; i < 1000 && state_of(g) == ABI_GUEST_RUNNING; i++)
        pass(1);
    assert_int_equal(g->vcpus[1].phase, VCPU_LIVE);
    self = 2;
    guest_set_stuck(&g->vcpus[1], "spins");
    assert_string_equal(g->status->stuck, "");
}

static enum deed no_heartbeat(struct vcpu *v)
{
    (void)v;
    return RUNS;
}

/* Firmware or the host of a virtual machine takes the cores away for ten seconds: nobody was silent
 * in that time. The silence after it counts. */
static void nobody_is_silent_while_the_cores_stand_still(void **state)
{
    struct guest_config c = config_of("watched", 1);
    struct guest *g, *m = guest_get(SELF);
    uint64_t until;

    (void)state;
    c.watchdog_ms = 1500;
    m->config.restart = RESTART_ALWAYS;
    g = guest_get((unsigned)deploy(&c));
    settle();
    behave = no_heartbeat;
    time_goes_to(present() + 10 * arch_tsc_hz());
    until = present() + arch_tsc_hz();
    for (unsigned i = 0; present() < until; i++)
        pass(i % ENGINE_CORES);
    assert_int_equal(state_of(m), ABI_GUEST_RUNNING);
    assert_int_equal(state_of(g), ABI_GUEST_RUNNING);
    for (unsigned i = 0; i < 1000000 && state_of(g) == ABI_GUEST_RUNNING; i++)
        pass(i % ENGINE_CORES);
    assert_non_null(strstr(g->status->why, "watchdog: nothing written"));
    for (unsigned i = 0; i < 1000000 && state_of(m) == ABI_GUEST_RUNNING; i++)
        pass(i % ENGINE_CORES);
    assert_non_null(strstr(m->status->why, "no heartbeat"));
    behave = with_heartbeat;
    for (unsigned i = 0; i < 1000000 && state_of(m) != ABI_GUEST_RUNNING; i++)
        pass(i % ENGINE_CORES);
}

/* The management guest is restarted, and the others do not notice. */
static void management_dies(void **state)
{
    struct guest *g = make("other", 0, 2), *m = guest_get(SELF);
    uint32_t restarted = m->status->restarts;

    (void)state;
    behave = no_heartbeat;
    m->config.restart = RESTART_ALWAYS;
    for (unsigned i = 0; i < 1000000 && state_of(m) == ABI_GUEST_RUNNING; i++)
        pass(i % ENGINE_CORES);
    assert_non_null(strstr(m->status->why, "no heartbeat"));
    behave = with_heartbeat;
    for (unsigned i = 0; i < 1000000 && state_of(m) != ABI_GUEST_RUNNING; i++)
        pass(i % ENGINE_CORES);
    settle();
    assert_int_equal(m->status->restarts, restarted + 1);
    assert_int_equal(state_of(g), ABI_GUEST_RUNNING);
    assert_int_equal(act(SELF, ABI_ACTION_STOP), -E_PERM);
    assert_int_equal(act(SELF, ABI_ACTION_RESET), 0);
    settle();
    assert_int_equal(state_of(m), ABI_GUEST_RUNNING);
    assert_int_equal(call(ABI_CALL_DELETE, SELF, 0, 0), -E_PERM);
}

/* A used-up budget does not delay the end of a guest, and a restart gives no second budget. */
static void budgets(void **state)
{
    struct guest_config c = config_of("poor", 1);
    struct guest *g;
    uint64_t used;

    (void)state;
    c.budget_us = 1000;
    c.period_us = 10000000;
    c.memory = PAGE_SIZE_2M;
    g = guest_get((unsigned)deploy(&c));
    for (unsigned i = 0; i < 4000; i++)
        pass(i % ENGINE_CORES);
    used = g->life.entity.sched.present ? g->life.entity.sched.used : g->vcpus[0].entity.sched.used;
    assert_true(used >= HZ / 1000 && used < HZ / 1000 + HZ / 10000);
    assert_int_equal(act(g->number, ABI_ACTION_STOP), 0);
    settle();
    assert_int_equal(state_of(g), ABI_GUEST_STOPPED);
    assert_int_equal(act(g->number, ABI_ACTION_START), 0);
    for (unsigned i = 0; i < 300; i++)
        pass(i % ENGINE_CORES);
    assert_int_equal(state_of(g), ABI_GUEST_STARTING); /* in the next period */
    /* On request it starts at once all the same. */
    assert_int_equal(call(ABI_CALL_DELETE, g->number, 0, 0), 0);
    settle();
    assert_null(guest_get(1));
}

/* ---- the rest of a pass ---- */

static void typed(void **state)
{
    struct guest *g = make("typist", 1, 1);
    char *text = argument();
    int64_t total = 0, taken;

    (void)state;
    memset(text, 'x', 512);
    do {
        taken = call(ABI_CALL_CONSOLE_INPUT, g->number, ARGUMENT, 100);
        assert_true(taken >= 0);
        total += taken;
        for (unsigned i = 0; i < 8; i++)
            pass(1);
    } while (taken && total < 2000);
    settle();
    assert_true(total >= GUEST_INPUT_SIZE);
    assert_true(g->input_head - g->input_tail <= GUEST_INPUT_SIZE);
    assert_int_equal(call(ABI_CALL_CONSOLE_INPUT, 9, ARGUMENT, 1), -E_NOENT);
    /* What it has not read is not for its next life. */
    assert_true(guest_has_input(g));
    assert_int_equal(act(g->number, ABI_ACTION_RESET), 0);
    settle();
    assert_int_equal(state_of(g), ABI_GUEST_RUNNING);
    assert_false(guest_has_input(g));
}

static void chores(void **state)
{
    struct core *c = core_get(0);
    unsigned before = polls, looked = log_polls;

    (void)state;
    frames_wait = log_waits = true;
    core_wake(0);
    for (unsigned i = 0; i < 5000 && (polls == before || log_polls == looked); i++)
        pass(0);
    log_waits = false;
    assert_true(polls > before && log_polls > looked);
    assert_true(c->stats->slice_ends > 0);
    assert_true(c->stats->busy_ticks > 0);
    assert_int_equal(c->stats->flags, ABI_CORE_VMX_ROOT);
}

/* Slices are so short that no pass has time for a chore. It is done within little more than a
 * millisecond all the same, but not on top of a slice's lateness. */
static void chores_in_short_slices(void **state)
{
    struct guest_config k[2] = {config_of("one", 1), config_of("two", 1)};
    struct guest *g[2];
    uint64_t start, seen;
    unsigned served = 0;

    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        k[i].slice_us = 100;
        g[i] = guest_get((unsigned)deploy(&k[i]));
    }
    settle();
    pass(1); /* the slice before ended while the other cores had their passes */
    g[0]->vcpus[0].stats->slice_late_max = g[1]->vcpus[0].stats->slice_late_max = 0;
    seen = g[0]->vcpus[0].snapshot_sequence;
    snapshot_ticks = 1800;
    core_ask(&g[0]->vcpus[0].entity, VCPU_REQ_SNAPSHOT);
    for (start = clock_now; clock_now < start + HZ / 20; pass(1)) {
        if (g[0]->vcpus[0].snapshot_sequence == seen)
            continue;
        seen = g[0]->vcpus[0].snapshot_sequence;
        served++;
        core_ask(&g[0]->vcpus[0].entity, VCPU_REQ_SNAPSHOT);
    }
    snapshot_ticks = 0;
    assert_in_range(served, 35, 50);
    for (unsigned i = 0; i < 2; i++)
        assert_in_range(g[i]->vcpus[0].stats->slice_late_max, 1, 1000);
}

/* ---- slices of a vCPU that is alone ---- */

#define SLICE   (HZ / 500)
#define STRETCH (HZ / 50)

/* What the run of the guest `busy` sees, and what happens `later` than its beginning, in an exit.
 */
static struct guest *busy;
static struct {
    uint64_t began, until, closes, later;
    void (*what)(struct vcpu *v);
    unsigned runs;
} seen_run;

static enum deed is_seen(struct vcpu *v)
{
    if (v->guest != busy)
        return HALTS;
    seen_run.began = present();
    seen_run.until = v->until;
    seen_run.closes = v->closes;
    seen_run.runs++;
    if (seen_run.what) {
        time_goes_to(present() + seen_run.later);
        seen_run.what(v);
    }
    return RUNS;
}

static enum deed both_run(struct vcpu *v)
{
    return v->guest == busy ? is_seen(v) : RUNS;
}

/* Its next run on core 1, in which that happens; a pass later. */
static void run_busy(uint64_t later, void (*what)(struct vcpu *v))
{
    unsigned runs_before = seen_run.runs;

    seen_run.later = later;
    seen_run.what = what;
    while (seen_run.runs == runs_before)
        pass(1);
    seen_run.what = NULL;
}

/* Two guests on core 1, the second of which sleeps. */
static struct guest *make_busy(void)
{
    struct guest *sleeper;

    busy = make("busy", 1, 1);
    others = is_seen;
    sleeper = make("sleeper", 1, 1);
    while (sleeper->vcpus[0].entity.sched.runnable)
        pass(1);
    run_busy(0, NULL);
    return sleeper;
}

static void assert_stretched(bool stretched)
{
    uint64_t most = stretched ? STRETCH : SLICE;

    assert_in_range(seen_run.until - seen_run.began, most - 2000, most);
    assert_in_range(seen_run.closes - seen_run.began, SLICE - RUN_CLOSE - 2000, SLICE - RUN_CLOSE);
}

static struct vcpu *neighbour;
static void wakes_its_neighbour(struct vcpu *v)
{
    (void)v;
    neighbour->nmi = true;
    core_kick_vcpu(neighbour);
}

static void alone_it_is_stretched(void **state)
{
    struct core *c = core_get(1);
    struct guest *sleeper;
    uint64_t ends, ran;

    (void)state;
    sleeper = make_busy();
    ends = c->stats->slice_ends;
    ran = busy->vcpus[0].stats->run_ticks;
    for (unsigned i = 0; i < 3; i++) {
        run_busy(0, NULL);
        assert_stretched(true);
    }
    pass(1);
    assert_in_range(c->stats->slice_ends - ends, 3, 4);
    assert_in_range(busy->vcpus[0].stats->run_ticks - ran, 3 * STRETCH, 5 * STRETCH);
    /* Not next to another that can run. */
    others = both_run;
    neighbour = &sleeper->vcpus[0];
    wakes_its_neighbour(NULL);
    pass(1);
    for (unsigned i = 0; i < 4; i++) {
        run_busy(0, NULL);
        assert_stretched(false);
    }
}

/* An exit wakes another entity on the same core, which nothing interrupts: the slice ends when it
 * would have ended, or at once. */
static void own_wakes_end_a_stretch(void **state)
{
    static const uint64_t later[] = {0, SLICE / 2, SLICE - RUN_CLOSE, SLICE + 1, STRETCH / 2};
    struct core *c = core_get(1);

    (void)state;
    neighbour = &make_busy()->vcpus[0];
    for (unsigned i = 0; i < ARRAY_LEN(later); i++) {
        uint64_t entries_before = neighbour->stats->entries, ends, end;

        run_busy(later[i], wakes_its_neighbour);
        assert_int_equal(busy->vcpus[0].entity.requests, VCPU_REQ_UNTIL);
        ends = c->stats->slice_ends;
        c->stats->slice_late_max = 0;
        end = max_u64(seen_run.began + later[i], seen_run.began + SLICE);
        assert_in_range(present(), end - 2000, end + 2000);
        pass(1);
        assert_int_equal(neighbour->stats->entries, entries_before + 1);
        assert_int_equal(c->stats->slice_ends, ends + 1);
        assert_in_range(c->stats->slice_late_max, 1, 2000);
    }
}

/* The neighbour's core is told, and its run ends: what a kick does. */
static void others_wake_its_neighbour(struct vcpu *v)
{
    unsigned before = kicks[1];

    self = 2;
    wakes_its_neighbour(v);
    assert_int_equal(kicks[1], before + 1);
    self = 1;
    assert_true(exit_core_is_wanted(v));
    v->until = present();
}

static void kicks_end_a_stretch(void **state)
{
    (void)state;
    neighbour = &make_busy()->vcpus[0];
    for (unsigned i = 1; i < 8; i++) {
        uint64_t entries_before = neighbour->stats->entries;

        run_busy(i * SLICE, others_wake_its_neighbour);
        pass(1);
        assert_int_equal(neighbour->stats->entries, entries_before + 1);
        assert_in_range(present(), seen_run.began + i * SLICE, seen_run.began + i * SLICE + 3000);
    }
}

/* Its neighbour wakes before the run, by something that the core itself does: nothing would end the
 * stretch early. */
static void work_before_a_run(void **state)
{
    uint64_t entries_before;

    (void)state;
    neighbour = &make_busy()->vcpus[0];
    entries_before = neighbour->stats->entries;
    before_run = wakes_its_neighbour;
    busy->vcpus[0].stuck.next = 0;
    run_busy(0, NULL);
    before_run = NULL;
    assert_stretched(false);
    pass(1);
    assert_int_equal(neighbour->stats->entries, entries_before + 1);
}

/* Its timer takes the core back from a stretched slice, as always. */
static void sleepers_end_a_stretch(void **state)
{
    struct guest *sleeper = make_busy();

    (void)state;
    sched_block(&sleeper->vcpus[0].entity.sched, present() + 3 * SLICE);
    run_busy(0, NULL);
    assert_in_range(seen_run.until - seen_run.began, 3 * SLICE - 3000, 3 * SLICE);
}

/* A budget ends in it. */
static void budgets_end_a_stretch(void **state)
{
    struct guest_config c = config_of("busy", 1);
    uint64_t ran;

    (void)state;
    c.budget_us = 7000;
    c.period_us = 100000;
    busy = guest_get((unsigned)deploy(&c));
    settle();
    others = is_seen;
    for (uint64_t end = present() + HZ / 5; present() < end;)
        pass(1); /* to the end of a period */
    ran = busy->vcpus[0].stats->run_ticks;
    for (uint64_t end = present() + HZ; present() < end;) {
        pass(1);
        assert_true(seen_run.until - seen_run.began <= 7 * HZ / 1000);
    }
    assert_in_range(busy->vcpus[0].stats->run_ticks - ran, 63 * HZ / 1000, 77 * HZ / 1000 + 50000);
}

static void asks_for(struct vcpu *v)
{
    (void)v;
    self = 0;
    core_ask(&busy->life.entity, GUEST_REQ_PAUSE);
    self = 1;
}

/* Its guest is paused and deleted in it. */
static void requests_in_a_stretch(void **state)
{
    uint64_t ran;

    (void)state;
    (void)make_busy();
    run_busy(2 * SLICE, asks_for);
    settle();
    assert_int_equal(state_of(busy), ABI_GUEST_PAUSED);
    ran = busy->vcpus[0].stats->run_ticks;
    for (unsigned i = 0; i < 20; i++)
        pass(1);
    assert_int_equal(busy->vcpus[0].stats->run_ticks, ran);
    assert_int_equal(act(busy->number, ABI_ACTION_RESUME), 0);
    settle();
    run_busy(0, NULL);
    assert_stretched(true);
    assert_int_equal(call(ABI_CALL_DELETE, busy->number, 0, 0), 0);
    settle();
    assert_null(guest_get(1));
}

/* Typed bytes are moved between two slices, however many slices it has to itself. */
static void typed_in_a_stretch(void **state)
{
    (void)state;
    (void)make_busy();
    memset(argument(), 'x', 100);
    assert_int_equal(call(ABI_CALL_CONSOLE_INPUT, busy->number, ARGUMENT, 100), 100);
    for (unsigned i = 0; i < 4; i++) {
        run_busy(0, NULL);
        if (i > 0)
            assert_true(seen_run.until - seen_run.began <= SLICE);
    }
    assert_true(guest_has_input(busy));
    busy->input_tail = busy->input_head;
    run_busy(0, NULL);
    run_busy(0, NULL);
    assert_stretched(true);
}

static void frames(void **state)
{
    struct guest_config c = config_of("net", 1);
    static const struct net_offload finished;
    static uint8_t frame[64];
    struct guest *g;

    (void)state;
    c.devices |= DEV_NET;
    g = guest_get((unsigned)deploy(&c));
    settle();
    self = 0;
    for (unsigned i = 0; i < 2 * VIRTIO_NET_RX_RING; i++)
        guest_on_frame(g, frame, sizeof(frame), NULL);
    assert_int_equal(g->status->frames_received + g->status->frames_dropped,
                     2 * VIRTIO_NET_RX_RING);
    assert_true(g->status->frames_dropped > 0);
    settle();
    assert_false(guest_on_transmit(g, frame, sizeof(frame), &finished));
    assert_int_equal(g->status->frames_sent, 1);
    assert_int_equal(g->status->frames_refused[NET_PASSED], 1);
    /* One that takes three calls, and one that its sender does not live to see sent. */
    sends_take = 2;
    assert_true(guest_on_transmit(g, frame, sizeof(frame), &finished));
    assert_true(guest_on_transmit(g, frame, sizeof(frame), &finished));
    assert_false(guest_on_transmit(g, frame, sizeof(frame), &finished));
    assert_int_equal(g->status->frames_sent, 2);
    assert_true(guest_on_transmit(g, frame, sizeof(frame), &finished));
    sends_take = 0;
    assert_int_equal(act(g->number, ABI_ACTION_STOP), 0);
    settle();
    assert_int_equal(g->transfer.state, 0);
}

/* A driver that has given its card two buffers. */
static void give_buffers(struct guest *g)
{
    enum { DESC = 0x20000, AVAIL = 0x21000, USED = 0x22000, BUFFER = 0x23000 };
    struct virtio *v = &g->platform.net.virtio;
    struct virtqueue *q = &v->queues[VIRTIO_NET_RX];
    uint8_t *m = g->mem.base;

    memset(m + AVAIL, 0, 3 * PAGE_SIZE);
    for (unsigned i = 0; i < 2; i++) {
        put_le64(m + DESC + 16 * i, BUFFER + 0x800 * i);
        put_le64(m + DESC + 16 * i + 8, 0x800 | (uint64_t)VIRTQUEUE_WRITE << 32);
        put_le16(m + AVAIL + 4 + 2 * i, (uint16_t)i);
    }
    put_le16(m + AVAIL + 2, 2);
    *q = (struct virtqueue){.size = 2, .desc = DESC, .avail = AVAIL, .used = USED};
    assert_int_equal(virtqueue_enable(q, &g->mem), 0);
    v->driver_features = g->platform.net.known = VIRTIO_F_VERSION_1;
    g->platform.net.header = VIRTIO_NET_HEADER;
    v->status = VIRTIO_DRIVER_OK;
    v->pci.config[PCI_COMMAND] = PCI_COMMAND_MASTER;
}

/* Delivers a frame on core 1: true if the driver has it at once, false if it waits in the ring. */
static bool comes_at_once(struct guest *g, uint8_t *frame)
{
    const struct virtio_net_pair *p = g->platform.net.pairs;
    uint16_t before = p->rx->used_index;
    uint32_t waiting = p->head - p->tail;

    self = 1;
    guest_on_frame(g, frame, 64, NULL);
    assert_int_equal((uint16_t)(p->rx->used_index - before) + (p->head - p->tail) - waiting, 1);
    return p->rx->used_index != before;
}

/* A frame from a guest of the same core goes straight into its buffer, while its driver may use the
 * card. */
static void frames_at_hand(void **state)
{
    struct guest_config c = config_of("net", 1);
    static uint8_t frame[64] = {2}, group[64] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    struct guest *g, *other;

    (void)state;
    c.devices |= DEV_NET;
    others = halts;
    g = guest_get((unsigned)deploy(&c));
    settle();
    give_buffers(g);
    assert_true(comes_at_once(g, frame));
    assert_int_equal(g->status->frames_received, 1);
    assert_true(g->life.entity.requests & GUEST_REQ_NET);
    assert_false(comes_at_once(g, group));
    assert_false(comes_at_once(g, frame)); /* not before it */
    virtio_net_rx_forget(&g->platform.net);
    give_buffers(g);
    assert_true(comes_at_once(g, frame));
    /* Not on another core, nor while it is paused. */
    virtio_net_rx_forget(&g->platform.net);
    give_buffers(g);
    self = 0;
    guest_on_frame(g, frame, 64, NULL);
    assert_int_equal(g->platform.net.pairs[0].rx->used_index, 0);
    virtio_net_rx_forget(&g->platform.net);
    assert_int_equal(act(g->number, ABI_ACTION_PAUSE), 0);
    settle();
    give_buffers(g);
    assert_false(comes_at_once(g, frame));
    /* Nor if other cores use its PC as well. */
    c = config_of("two", 1);
    c.devices |= DEV_NET;
    spread(&c, 2);
    other = guest_get((unsigned)deploy(&c));
    settle();
    give_buffers(other);
    assert_false(comes_at_once(other, frame));
}

/* For a while after a frame the next ones bring no kick, because the core looks once more by
 * itself. A sender that stands still before it leaves the frame's request may come after that look.
 */
static void a_late_sender(void **state)
{
    struct guest_config c = config_of("net", 1);
    static uint8_t frame[64];
    struct guest *g;
    unsigned before;

    (void)state;
    c.devices |= DEV_NET;
    others = halts;
    g = guest_get((unsigned)deploy(&c));
    settle();
    self = 0;
    guest_on_frame(g, frame, sizeof(frame), NULL);
    pass(1);
    assert_true(present() < g->quiet_until);
    self = 0;
    before = kicks[1];
    guest_on_frame(g, frame, sizeof(frame), NULL);
    assert_int_equal(kicks[1], before);
    pass(1);
    self = 0;
    stall = HZ / 1000;
    guest_on_frame(g, frame, sizeof(frame), NULL);
    assert_int_equal(kicks[1], before + 1);
}

/* Its card goes on until the run of its only vCPU is about to end, or the core is wanted. */
static void time_for_frames(void **state)
{
    struct guest_config c = config_of("net", 1);
    struct guest *g;
    struct vcpu *v;
    bool (*has_time)(void *ctx);

    (void)state;
    c.devices |= DEV_NET;
    g = guest_get((unsigned)deploy(&c));
    settle();
    v = &g->vcpus[0];
    has_time = g->platform.net.host.has_time;
    v->entity.requests = 0;
    v->closes = NEVER;
    assert_true(has_time(g));
    v->closes = clock_now;
    assert_false(has_time(g));
    v->closes = NEVER;
    v->entity.requests = VCPU_REQ_UNTIL; /* v->closes says when */
    assert_true(has_time(g));
    v->entity.requests = VCPU_REQ_GUEST;
    assert_false(has_time(g));
    v->entity.requests = 0;
    g->platform.vcpus = 2; /* others wait for the PC's lock */
    assert_false(has_time(g));
    g->platform.vcpus = 1;
}

static void images(void **state)
{
    struct abi_image_request *r = argument();
    int64_t slot;
    uint8_t *bytes = argument();

    (void)state;
    memset(r, 0, sizeof(*r));
    (void)str_copy(r->name, sizeof(r->name), "up");
    r->size = 3u << 20;
    slot = call(ABI_CALL_IMAGE_BEGIN, ARGUMENT, 0, 0);
    assert_true(slot >= 0);
    while (call(ABI_CALL_IMAGE_EXTEND, (uint64_t)slot, 0, 0) < (int64_t)r->size)
        continue;
    memset(bytes, 7, 32);
    assert_int_equal(call(ABI_CALL_IMAGE_COMMIT, (uint64_t)slot, ARGUMENT, 0), 0);
    assert_int_equal(call(ABI_CALL_IMAGE_COMMIT, (uint64_t)slot, ARGUMENT, 0), -E_NOENT);
    assert_int_equal(call(ABI_CALL_IMAGE_DROP, (uint64_t)slot, 0, 0), 0);
    assert_int_equal(call(ABI_CALL_IMAGE_DROP, (uint64_t)slot, 0, 0), -E_NOENT);
    assert_int_equal(free_or_kept(), free_at_start);
}

/* Host memory in pieces of 4, 2 and 2 MB: the guest's RAM is in as many, and all of it is cleared,
 * mapped, loaded, scrubbed and given back. */
static void memory_in_pieces(void **state)
{
    static uint8_t *all[HOST_BYTES / PAGE_SIZE_2M];
    uint8_t **blocks = all; /* the first that lie side by side */
    struct guest_config c = config_of("pieces", 1);
    unsigned n = 0, places[] = {1, 2, 4, 6, 8};
    struct guest *g;
    int64_t number;

    (void)state;
    while ((all[n] = hostmem_alloc(PAGE_SIZE_2M, PAGE_SIZE_2M, MEM_HOST, 0)))
        n++;
    for (unsigned i = 1; i < n && all + i - blocks < 9; i++)
        if (all[i] != all[i - 1] - PAGE_SIZE_2M)
            blocks = all + i;
    assert_true(blocks + 10 < all + n);
    for (unsigned i = 0; i < ARRAY_LEN(places); i++) {
        memset(blocks[places[i]], 0xcc, PAGE_SIZE_2M); /* NOLINT: asserted above */
        hostmem_free(blocks[places[i]], PAGE_SIZE_2M);
        if (i < 4)
            assert_ptr_equal(blocks[places[i]], blocks[0] - places[i] * PAGE_SIZE_2M);
    }
    c.memory = 12 * PAGE_SIZE_2M;
    assert_int_equal(deploy(&c), -E_NOMEM);
    assert_int_equal(hostmem_largest(), 2 * PAGE_SIZE_2M);
    c.memory = 4 * PAGE_SIZE_2M;
    split = true;
    number = deploy(&c);
    assert_true(number > 0);
    settle();
    g = guest_get((unsigned)number);
    assert_int_equal(state_of(g), ABI_GUEST_RUNNING);
    assert_int_equal(gmem_range_count(&g->mem), 3);
    assert_ptr_equal(g->mem.base, blocks[2]);
    assert_int_equal(g->mem.size, 2 * PAGE_SIZE_2M);
    assert_memory_equal(g->mem.base + 0x7c00, app, 1);
    for (unsigned i = 0; i < 3; i++) {
        const struct gmem_range r = gmem_range(&g->mem, i);

        assert_int_equal(r.gpa, i ? (i + 1) * PAGE_SIZE_2M : 0);
        assert_int_equal(r.base[r.size - 1], 0);
        if (i) {
            assert_int_equal(r.base[0], 0);
            assert_memory_equal(r.base, r.base + 1, r.size - 1);
        }
        memset(r.base + r.size / 2, 'x', PAGE_SIZE);
    }
    assert_int_equal(call(ABI_CALL_DELETE, (uint64_t)number, 0, 0), 0);
    settle();
    for (unsigned i = 0; i < 4; i++)
        assert_memory_equal(blocks[places[i]], blocks[places[i]] + 1, PAGE_SIZE_2M - 1);
    for (unsigned i = 0; i < n; i++) {
        ptrdiff_t at = all + i - blocks;

        if (at != 1 && at != 2 && at != 4 && at != 6 && at != 8)
            hostmem_free(all[i], PAGE_SIZE_2M);
    }
}

/* What a guest writes to a disk has memory of its own, which is scrubbed and given back. */
static void disks(void **state)
{
    struct guest_config c = config_of("disks", 1);
    int64_t number;
    struct guest *g;
    uint8_t *memory;

    (void)state;
    c.disk_count = 2;
    for (unsigned i = 0; i < c.disk_count; i++)
        (void)str_copy(c.disks[i].file, sizeof(c.disks[i].file), c.image);
    c.disks[0].readonly = 1;
    c.disks[1].size_mb = CONFIG_DISK_MB_MAX;
    assert_int_equal(deploy(&c), -E_NOMEM);
    c.disks[1].size_mb = 1;
    (void)str_copy(c.disks[0].file, sizeof(c.disks[0].file), "nothing");
    assert_int_equal(deploy(&c), -E_NOENT);
    (void)str_copy(c.disks[0].file, sizeof(c.disks[0].file), c.image);
    number = deploy(&c);
    assert_true(number > 0);
    settle();
    g = guest_get((unsigned)number);
    assert_int_equal(state_of(g), ABI_GUEST_RUNNING);
    assert_null(g->disks[0].memory);
    memory = g->disks[1].memory;
    assert_int_equal(g->platform.disks[1].config.capacity, 2048);
    assert_true(g->platform.disks[0].disk.size > 0 && !g->platform.disks[0].disk.blocks);
    assert_int_equal(memory[1 << 20], 0); /* nothing has been written */
    memset(memory, 'x', (1 << 20) + 1);
    assert_int_equal(call(ABI_CALL_ACTION, (uint64_t)number, ABI_ACTION_STOP, 0), 0);
    settle();
    assert_int_equal(call(ABI_CALL_ACTION, (uint64_t)number, ABI_ACTION_START, 0), 0);
    settle();
    assert_int_equal(memory[1 << 20], 'x');
    assert_int_equal(call(ABI_CALL_DELETE, (uint64_t)number, 0, 0), 0);
    settle();
    for (unsigned i = 0; i <= 1 << 20; i += 4096)
        assert_int_equal(memory[i], 0);
}

/* ---- memory between guests ---- */

#define REGION   (4u << 20)
#define HOME     PCI_MEMORY
#define SLOT_BAR 0x8000c018u /* CONFIG_ADDRESS: slot 24, BAR 2 */

static struct guest_config peer(const char *name, unsigned core)
{
    struct guest_config c = config_of(name, core);
    struct config_shared *s = &c.shared[c.shared_count++];

    (void)str_copy(s->name, sizeof(s->name), "region");
    s->size = REGION;
    s->peer_count = 3;
    (void)str_copy(s->peers[0], sizeof(s->peers[0]), "left");
    (void)str_copy(s->peers[1], sizeof(s->peers[1]), "right");
    (void)str_copy(s->peers[2], sizeof(s->peers[2]), "absent");
    return c;
}

static struct guest *make_peer(const char *name, unsigned core)
{
    struct guest_config c = peer(name, core);
    int64_t number = deploy(&c);

    assert_true(number > 0);
    settle();
    assert_int_equal(guest_get((unsigned)number)->status->state, ABI_GUEST_RUNNING);
    return guest_get((unsigned)number);
}

/* Where the guest sees the memory that it shares; 0: nowhere. */
static uint64_t place_of(const struct guest *g, void **host)
{
    const struct fake_guest *f = &fake_guests[g->number];

    for (unsigned i = 0; i < f->count; i++)
        if (f->maps[i].perm == MAP_RW) {
            *host = f->maps[i].host;
            return f->maps[i].gpa;
        }
    return 0;
}

static uint64_t region_bytes(void)
{
    struct abi_memory m;

    hostmem_account(&m);
    return m.regions;
}

static uint32_t owners_of(void *memory)
{
    struct mem_range r;

    assert_true(hostmem_find(arch_hpa(memory), &r));
    return r.kind == MEM_REGION ? r.guest : 0;
}

static uint32_t bit_of(const struct guest *g)
{
    return 1u << g->number;
}

/* The guest's access to a register of its PC, on its core. */
static void write32(struct guest *g, uint64_t at, uint32_t value)
{
    self = g->life.entity.core;
    platform_enter(&g->platform, present());
    if (at <= UINT16_MAX)
        io_out(&g->platform.bus, (uint16_t)at, 4, value);
    else
        assert_true(mmio_write(&g->platform.bus, at, 4, value));
    platform_leave(&g->platform, 0);
}

static void ring(struct guest *g, unsigned id, unsigned vector)
{
    write32(g, g->platform.shared[0].pci.bars[0].at + IVSHMEM_DOORBELL, id << 16 | vector);
}

static unsigned messages[IVSHMEM_VECTORS];
static int on_message(void *ctx, uint64_t address, uint32_t data)
{
    (void)ctx;
    assert_int_equal(address, 0xfee00000);
    assert_true(data - 0x40 < IVSHMEM_VECTORS);
    messages[data - 0x40]++;
    return 0;
}

/* As its driver does: all messages, to its only local APIC, whose place the test takes. */
static void hear(struct guest *g)
{
    struct ivshmem *d = &g->platform.shared[0];

    for (unsigned i = 0; i < IVSHMEM_VECTORS; i++) {
        write32(g, d->pci.bars[1].at + 16 * i, 0xfee00000);
        write32(g, d->pci.bars[1].at + 16 * i + 8, 0x40 + i);
        write32(g, d->pci.bars[1].at + 16 * i + 12, 0);
    }
    write32(g, 0xcf8, 0x8000c004);
    write32(g, 0xcfc, 6);
    write32(g, 0xcf8, 0x8000c000 | d->msix.cap);
    write32(g, 0xcfc, 0x80000000);
    assert_true(msix_is_enabled(&d->msix));
    g->platform.pci.msi = on_message;
}

/* How many messages for this vector it gets in its next turns; no other comes. */
static unsigned heard(const struct guest *g, unsigned vector)
{
    unsigned n, all = 0;

    memset(messages, 0, sizeof(messages));
    settle();
    for (unsigned i = 0; i < 10; i++)
        pass(g->life.entity.core);
    n = messages[vector];
    for (unsigned i = 0; i < IVSHMEM_VECTORS; i++)
        all += messages[i];
    assert_int_equal(all, n);
    return n;
}

static void shared_life(void **state)
{
    struct guest *left = make_peer("left", 1), *right;
    void *a = NULL, *b = NULL;
    struct guest_config c = peer("right", 2);

    (void)state;
    assert_int_equal(place_of(left, &a), HOME);
    assert_int_equal(region_bytes(), REGION);
    assert_int_equal(owners_of(a), bit_of(left));
    for (unsigned i = 0; i < REGION; i += 4096)
        assert_int_equal(((uint8_t *)a)[i], 0);
    memset(a, 'x', REGION);

    /* Another guest is no peer; a peer cannot change what the region is. */
    c.shared[0].size *= 2;
    assert_int_equal(deploy(&c), -E_INVAL);
    c = peer("right", 2);
    (void)str_copy(c.shared[0].peers[2], sizeof(c.shared[0].peers[2]), "spy");
    assert_int_equal(deploy(&c), -E_INVAL);
    c = peer("spy", 2);
    assert_int_equal(deploy(&c), -E_INVAL);
    assert_int_equal(owners_of(a), bit_of(left));

    right = make_peer("right", 2);
    assert_int_equal(place_of(right, &b), HOME);
    assert_ptr_equal(a, b);
    assert_int_equal(((uint8_t *)a)[5], 'x');
    assert_int_equal(owners_of(a), bit_of(left) | bit_of(right));
    assert_int_equal(region_bytes(), REGION);

    /* It ends and starts again: the mapping and the contents stay. */
    assert_int_equal(act(left->number, ABI_ACTION_RESET), 0);
    settle();
    assert_int_equal(state_of(left), ABI_GUEST_RUNNING);
    assert_int_equal(place_of(left, &b), HOME);
    assert_int_equal(((uint8_t *)a)[REGION - 1], 'x');

    /* The other keeps it. */
    assert_int_equal(call(ABI_CALL_DELETE, left->number, 0, 0), 0);
    settle();
    assert_int_equal(owners_of(a), bit_of(right));
    assert_int_equal(((uint8_t *)a)[5], 'x');
    left = make_peer("left", 1); /* under the same name again */
    assert_int_equal(owners_of(a), bit_of(left) | bit_of(right));
    assert_int_equal(((uint8_t *)a)[5], 'x');
    assert_int_equal(call(ABI_CALL_DELETE, right->number, 0, 0), 0);
    assert_int_equal(call(ABI_CALL_DELETE, left->number, 0, 0), 0);
    settle();
    assert_int_equal(region_bytes(), 0);
    for (unsigned i = 0; i < REGION; i++)
        assert_int_equal(((uint8_t *)a)[i], 0);
}

/* The BAR moves: what was mapped is not any more, and no core remembers it. */
static void shared_moves(void **state)
{
    struct guest_config c = peer("left", 1);
    unsigned before;
    struct guest *g;
    void *host;

    (void)state;
    spread(&c, 2);
    g = guest_get((unsigned)deploy(&c));
    settle();
    assert_int_equal(place_of(g, &host), HOME);
    before = flushes;
    write32(g, 0xcf8, SLOT_BAR);
    write32(g, 0xcfc, 0xd0000000);
    assert_int_equal(place_of(g, &host), 0xd0000000);
    assert_true(g->vcpus[1].flushed != g->translations); /* it has been asked to */
    assert_true(g->vcpus[1].entity.requests & VCPU_REQ_FLUSH);
    settle();
    assert_true(guest_is_flushed(g, g->translations));
    assert_int_equal(flushes, before + 2);
    write32(g, 0xcfc, 0); /* over its RAM */
    assert_int_equal(place_of(g, &host), 0);
    settle();
    assert_int_equal(act(g->number, ABI_ACTION_RESET), 0);
    settle();
    assert_int_equal(place_of(g, &host), HOME);
}

static void doorbells(void **state)
{
    struct guest *left = make_peer("left", 1), *right = make_peer("right", 2);

    (void)state;
    hear(right);
    ring(left, 1, 3);
    assert_int_equal(heard(right, 3), 1);
    ring(left, 2, 3); /* is not there */
    ring(left, 77, 3);
    assert_int_equal(heard(right, 3), 0);
    ring(right, 1, 0); /* itself */
    assert_int_equal(heard(right, 0), 1);

    /* While it is paused it hears nothing; afterwards once. */
    assert_int_equal(act(right->number, ABI_ACTION_PAUSE), 0);
    settle();
    ring(left, 1, 3);
    ring(left, 1, 3);
    assert_int_equal(heard(right, 3), 0);
    assert_int_equal(act(right->number, ABI_ACTION_RESUME), 0);
    assert_int_equal(heard(right, 3), 1);

    /* What it did not hear before its reset is forgotten. */
    assert_int_equal(act(right->number, ABI_ACTION_STOP), 0);
    settle();
    ring(left, 1, 4);
    settle();
    assert_int_equal(act(right->number, ABI_ACTION_START), 0);
    settle();
    hear(right);
    assert_int_equal(heard(right, 4), 0);
    ring(left, 1, 4);
    assert_int_equal(heard(right, 4), 1);

    assert_int_equal(call(ABI_CALL_DELETE, right->number, 0, 0), 0);
    settle();
    ring(left, 1, 3);
    settle();
}

/* A peer that does nothing but ring: its victim's core is not kicked more often than for frames,
 * and the victim takes each vector once, however often it was rung. */
static void rung_without_end(void **state)
{
    struct guest *left = make_peer("left", 1), *right = make_peer("right", 2);
    const unsigned rings = 100000;
    uint64_t from, most;
    unsigned before;

    (void)state;
    hear(right);
    memset(messages, 0, sizeof(messages));
    from = present();
    before = kicks[2];
    for (unsigned i = 0; i < rings; i++) {
        ring(left, 1, i % IVSHMEM_VECTORS);
        if (i % 16 == 0)
            pass(2);
    }
    most = (present() - from) / (50 * (HZ / 1000000)) + 2;
    print_message("%u rings: %u kicks, at most %lu\n", rings, kicks[2] - before, most);
    assert_true(kicks[2] - before <= most && most < rings / 4);
    for (unsigned i = 0; i < 20; i++)
        pass(2);
    assert_int_equal(*right->platform.shared[0].setup.rung, 0);
    assert_true(right->platform.shared[0].pci.due == NEVER);
    for (unsigned i = 0; i < IVSHMEM_VECTORS; i++)
        assert_in_range(messages[i], 1, rings / IVSHMEM_VECTORS);
}

static void shared_without_memory(void **state)
{
    struct guest_config c = peer("left", 1);
    struct guest *g;

    (void)state;
    c.shared[0].size = CONFIG_SHARED_MOST; /* more than the host has */
    assert_int_equal(deploy(&c), -E_NOMEM);
    assert_int_equal(region_bytes(), 0);
    c.shared[0].size = REGION;
    (void)str_copy(c.image, sizeof(c.image), "nothing");
    assert_int_equal(deploy(&c), -E_NOENT); /* after the region was made */
    assert_int_equal(region_bytes(), 0);
    fail_guest_init = true;
    c = peer("left", 1);
    g = guest_get((unsigned)deploy(&c));
    settle();
    assert_int_equal(state_of(g), ABI_GUEST_FAILED);
    fail_guest_init = false;
}

/* One that clears it is deleted in the middle of that; another waits for it. */
static void cleared_by_another(void **state)
{
    struct guest_config c = peer("left", 1);
    struct guest *left = guest_get((unsigned)deploy(&c)), *right;
    void *host = NULL;

    (void)state;
    c = peer("right", 2);
    right = guest_get((unsigned)deploy(&c));
    assert_int_equal(call(ABI_CALL_DELETE, left->number, 0, 0), 0);
    settle();
    assert_int_equal(state_of(right), ABI_GUEST_RUNNING);
    assert_int_equal(place_of(right, &host), HOME);
    assert_int_equal(owners_of(host), bit_of(right));
}

static void reboot(void **state)
{
    (void)state;
    assert_int_equal(call(ABI_CALL_HOST_ACTION, ABI_HOST_REBOOT, 0, 0), 0);
    if (setjmp(rebooted) == 0)
        for (unsigned i = 0; i < 100000; i++)
            pass(0);
    assert_int_equal(reboots, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(it_lives),
        TEST(memory_of_its_node),
        TEST(memory_of_two_nodes),
        TEST(pages_of_vcpus),
        TEST(init_and_sipi),
        TEST(kicked),
        TEST(deaf_vcpus),
        TEST(several_vcpus),
        TEST(pause_waits_for_all),
        TEST(any_vcpu_ends_it),
        TEST(flushes_reach_all),
        TEST(asleep),
        TEST(asked_before_it_runs),
        TEST(timers_wake),
        TEST(deaf_timers),
        TEST(asked_before_it_is_bound),
        TEST(ports_that_end),
        TEST(snapshots_and_controls),
        TEST(snapshot_of_an_end),
        TEST(made_in_vain),
        TEST(no_vcpu),
        TEST(refused),
        TEST(threads_of_one_network),
        TEST(a_bad_plan),
        TEST(a_husk),
        TEST(management_is_tried_again),
        TEST(configured_once),
        TEST(memory_runs_out),
        TEST(memory_in_pieces),
        TEST(disks),
        TEST(shared_life),
        TEST(shared_moves),
        TEST(doorbells),
        TEST(rung_without_end),
        TEST(shared_without_memory),
        TEST(cleared_by_another),
        TEST(restarts),
        TEST(watched),
        TEST(nobody_is_silent_while_the_cores_stand_still),
        TEST(told_when_stuck),
        TEST(management_dies),
        TEST(budgets),
        TEST(typed),
        TEST(chores),
        TEST(chores_in_short_slices),
        TEST(alone_it_is_stretched),
        TEST(own_wakes_end_a_stretch),
        TEST(kicks_end_a_stretch),
        TEST(work_before_a_run),
        TEST(sleepers_end_a_stretch),
        TEST(budgets_end_a_stretch),
        TEST(requests_in_a_stretch),
        TEST(typed_in_a_stretch),
        TEST(frames),
        TEST(frames_at_hand),
        TEST(a_late_sender),
        TEST(time_for_frames),
        TEST(images),
        cmocka_unit_test(reboot),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SOURCES: hv/gmem.c arch/x86/guest/run.c arch/x86/guest/exits.c arch/x86/guest/apic.c
 * arch/x86/guest/events.c arch/x86/guest/breakpoints.c arch/x86/guest/linear.c
 * arch/x86/guest/segment.c arch/x86/guest/paging.c arch/x86/guest/cpuid.c arch/x86/guest/msr.c
 * arch/x86/guest/kvm_clock.c hv/exit.c @pc hv/fmt.c hv/lib.c */
/* The run loop of a vCPU, over a made-up guest, its PC and a made-up clock. */
#include "hv/arch.h"
#include "test/unit/vcpu_fixture.h"

#define START  2000u
#define PERIOD 1000151u /* ticks of the PIT's 1193 */

static uint64_t clock_now;
static unsigned entries, interrupts;
static uint64_t work; /* ticks that the guest runs for */

uint64_t arch_test_clock(void)
{
    return clock_now;
}

static int setup(void **ctx)
{
    clock_now = START;
    entries = interrupts = 0;
    work = 1000;
    (void)fixture_vcpu(ctx);
    v->wake_late = NEVER;
    v->waits = true;
    return 0;
}

/* Runs the guest to its deadline, or until it does something. False: the deadline came first. */
static bool runs(uint64_t ticks)
{
    entries++;
    if (state.event & EVENT_VALID) {
        assert_int_equal(state.event & (EVENT_TYPE | EVENT_VECTOR), EVENT_EXTERNAL | VECTOR_IRQ0);
        assert_true(state.rflags & RFLAGS_IF);
        state.event = 0;
        interrupts++;
        state.in_halt = false;
        io_out(&guest.platform.bus, 0x20, 1, 0x20);
        lapic_mmio_write(&guest.platform.lapic[0], LAPIC_EOI, 4, 0, clock_now);
    }
    assert_false(v->halted && !state.in_halt);
    state.timer = clock_now + ticks >= state.deadline;
    clock_now = min_u64(clock_now + ticks, max_u64(clock_now, state.deadline));
    record.tsc = clock_now;
    return !state.timer;
}

static enum exit_action computes(struct vcpu *who)
{
    (void)who;
    (void)runs(NEVER / 2);
    return EXIT_RESUME;
}

/* The timer of the local APIC instead of the PIT's: in periodic mode, at the same vector. */
static void start_apic_timer(void)
{
    struct lapic *l = &guest.platform.lapic[0];

    lapic_mmio_write(l, LAPIC_SVR, 4, 0x1ff, clock_now);
    lapic_mmio_write(l, LAPIC_LVT_LINT0, 4, LAPIC_LVT_MASKED, clock_now);
    lapic_mmio_write(l, LAPIC_DIVIDE, 4, 0xb, clock_now);
    lapic_mmio_write(l, LAPIC_LVT_TIMER, 4, 0x20000 | VECTOR_IRQ0, clock_now);
    lapic_mmio_write(l, LAPIC_INITIAL_COUNT, 4, PERIOD, clock_now);
}

/* Executes HLT after some work, then stays in it until the deadline. */
static enum exit_action sleeps(struct vcpu *who)
{
    if (state.in_halt && !(state.event & EVENT_VALID))
        return computes(who);
    return runs(work) ? x86_hlt(who) : EXIT_RESUME;
}

static enum exit_action is_kicked(struct vcpu *who)
{
    (void)who;
    (void)runs(10);
    state.timer = false;
    return EXIT_KICK;
}

static enum exit_action crashes(struct vcpu *who)
{
    (void)runs(10);
    return x86_crash(who, "triple fault");
}

static void start_pit(void)
{
    static const uint8_t bytes[][2] = {{0x20, 0x11},        {0x21, 0x20},     {0x21, 4},
                                       {0x21, 1},           {0x21, 0},        {0x43, 0x34},
                                       {0x40, 1193 & 0xff}, {0x40, 1193 >> 8}};

    guest.platform.clock.now = clock_now;
    for (unsigned i = 0; i < ARRAY_LEN(bytes); i++)
        io_out(&guest.platform.bus, bytes[i][0], 1, bytes[i][1]);
    platform_timers(&guest.platform);
}

/* As the core's loop does. */
static enum vcpu_yield run_to(uint64_t until)
{
    v->closes = run_closes(until);
    return x86_run(v, until);
}

static void test_what_ends_a_run(void **ctx)
{
    (void)ctx;
    state.enter = computes;
    assert_int_equal(run_to(START), VCPU_YIELD_SLICE);
    assert_int_equal(entries, 0);
    assert_int_equal(run_to(START + 500), VCPU_YIELD_SLICE);
    assert_int_equal(clock_now, START + 500);
    assert_int_equal(entries, 1);
    v->entity.requests = VCPU_REQ_FLUSH;
    assert_int_equal(run_to(NEVER), VCPU_YIELD_KICK);
    v->entity.requests = 0;
    state.enter = is_kicked;
    assert_int_equal(run_to(NEVER), VCPU_YIELD_KICK);
    state.enter = crashes;
    assert_int_equal(run_to(NEVER), VCPU_YIELD_STOP);
    assert_string_equal(stopped, "triple fault at RIP 0x1234");
    entries = 0;
    assert_int_equal(run_to(NEVER), VCPU_YIELD_STOP); /* it never enters again */
    assert_int_equal(entries, 0);
    assert_int_equal(state.loads, 6);
}

/* A guest that computes gets an interrupt in each period, at its tick. */
static void test_timer(void **ctx)
{
    uint64_t end = START + 50 * PERIOD + PERIOD / 2;

    (void)ctx;
    start_pit();
    state.enter = computes;
    assert_int_equal(run_to(end), VCPU_YIELD_SLICE);
    assert_int_equal(clock_now, end);
    assert_int_equal(interrupts, 50);
    assert_int_equal(stats.irqs, 50);
    assert_in_range(entries, 51, 102);
}

/* Shortly before the end of a run no device's work begins: it is left for the next one. */
static void test_work_at_the_end(void **ctx)
{
    (void)ctx;
    start_pit();
    clock_now += PERIOD + 1;
    state.enter = computes;
    assert_int_equal(run_to(clock_now + RUN_CLOSE), VCPU_YIELD_SLICE);
    assert_int_equal(entries, 0);
    assert_int_equal(interrupts, 0);
    assert_int_equal(run_to(clock_now + RUN_CLOSE + 1), VCPU_YIELD_SLICE);
    assert_int_equal(interrupts, 1);
}

/* ---- a stretched slice ---- */

#define SLICE 40000u

static uint64_t closed_last;

/* Exits now and then. */
static enum exit_action exits(struct vcpu *who)
{
    assert_in_range(who->closes, closed_last, clock_now + SLICE);
    assert_true(who->closes <= run_closes(who->until));
    closed_last = who->closes;
    (void)runs(700);
    return EXIT_DONE;
}

/* What the root does in an exit is bounded as by the slices that it would have otherwise. */
static void test_stretch(void **ctx)
{
    uint64_t end = START + 10 * SLICE;

    (void)ctx;
    v->entity.sched.params.slice = SLICE;
    v->closes = closed_last = run_closes(START + SLICE);
    state.enter = exits;
    assert_int_equal(x86_run(v, end), VCPU_YIELD_SLICE);
    assert_int_equal(clock_now, end);
    assert_int_equal(closed_last, run_closes(end));
    assert_in_range(entries, 10 * SLICE / 700, 10 * SLICE / 700 + 2);
    /* A guest that does not exit has it to itself. */
    entries = 0;
    v->closes = run_closes(end + SLICE);
    state.enter = computes;
    assert_int_equal(x86_run(v, end + 10 * SLICE), VCPU_YIELD_SLICE);
    assert_int_equal(entries, 1);
}

/* The root has worked until the slice would have ended: a kick may wait since then. */
static void test_stretch_in_root(void **ctx)
{
    (void)ctx;
    v->entity.sched.params.slice = SLICE;
    state.enter = exits;
    record.tsc = clock_now - 1;
    v->closes = closed_last = clock_now;
    assert_int_equal(x86_run(v, START + 10 * SLICE), VCPU_YIELD_SLICE);
    assert_int_equal(entries, 0);
    record.tsc = clock_now;
    assert_int_equal(x86_run(v, START + SLICE / 2), VCPU_YIELD_SLICE);
    assert_int_equal(clock_now, START + SLICE / 2);
}

/* ---- ticks by a local APIC that the CPU works on ---- */

static unsigned left; /* for the usual way */

static void start_apic_timer_by_cpu(void)
{
    guest.platform.lapic[0].apicv = true;
    start_apic_timer();
    x86_prepare_events(v, clock_now);
    assert_true(guest.platform.lapic[0].by_cpu);
}

/* As enter.asm and the CPU do: each interrupt ends before the next. */
static enum exit_action ticks(struct vcpu *who)
{
    struct lapic *l = &guest.platform.lapic[0];

    for (;;) {
        if (state.rvi > 0) {
            assert_int_equal(state.rvi, VECTOR_IRQ0);
            assert_int_equal(lapic_ack(l), VECTOR_IRQ0);
            lapic_mmio_write(l, LAPIC_EOI, 4, 0, clock_now);
            *l->signals = 0; /* the CPU has done it */
            state.rvi = -1;
            interrupts++;
        }
        assert_false(state.irq_window);
        (void)runs(NEVER / 2);
        if (!x86_deadline_came(who)) {
            left++;
            return EXIT_RESUME;
        }
        if (who->entity.requests)
            return EXIT_RESUME;
    }
}

static void test_ticks(void **ctx)
{
    uint64_t end = START + 50 * PERIOD + PERIOD / 2;

    (void)ctx;
    left = 0;
    start_apic_timer_by_cpu();
    state.enter = ticks;
    assert_int_equal(run_to(end), VCPU_YIELD_SLICE);
    assert_int_equal(clock_now, end);
    assert_int_equal(interrupts, 50);
    assert_int_equal(stats.irqs, 50);
    assert_int_equal(left, 1);
    /* A stretched slice is no obstacle. */
    v->entity.sched.params.slice = SLICE;
    v->closes = run_closes(clock_now + SLICE);
    end += 50 * PERIOD;
    assert_int_equal(x86_run(v, end), VCPU_YIELD_SLICE);
    assert_int_equal(clock_now, end);
    assert_int_equal(interrupts, 100);
    assert_int_equal(left, 2);
}

/* With less time left than RUN_CLOSE the tick waits for the next run. An entry may also end before
 * the tick: the preemption timer reaches only so far, and a timer may have been stopped since. */
static void test_tick_at_the_end(void **ctx)
{
    static const struct {
        uint64_t until; /* this long after the tick */
        bool device, halted, early, goes_on;
    } rows[] = {
        {0},
        {.until = 1},
        {.until = RUN_CLOSE},
        {RUN_CLOSE + 1, .goes_on = true},
        {PERIOD / 2, .device = true},
        {PERIOD / 2, .halted = true},
        {PERIOD / 2, .early = true},
        {PERIOD / 2, .goes_on = true},
        {2 * PERIOD, .goes_on = true},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct lapic *l = &guest.platform.lapic[0];
        uint64_t tick;

        (void)fixture_end(ctx);
        (void)setup(ctx);
        start_apic_timer_by_cpu();
        tick = l->deadline;
        record.tsc = tick - rows[i].early;
        v->until = tick + rows[i].until;
        v->closes = run_closes(v->until);
        v->halted = rows[i].halted;
        state.deadline = 7;
        if (rows[i].device)
            platform_set_event(&guest.platform, tick);
        assert_int_equal(x86_deadline_came(v), rows[i].goes_on);
        assert_int_equal(stats.irqs, rows[i].goes_on);
        assert_int_equal(l->deadline, rows[i].goes_on ? tick + PERIOD : tick);
        assert_int_equal(state.deadline, rows[i].goes_on ? min_u64(v->until, tick + PERIOD) : 7);
    }
}

static uint64_t new_end;

/* Its first exit leaves work for its own core. */
static enum exit_action leaves_work(struct vcpu *who)
{
    if (entries > 0)
        return computes(who);
    (void)runs(SLICE / 2);
    who->until = new_end;
    who->closes = min_u64(who->closes, run_closes(new_end));
    who->entity.requests |= VCPU_REQ_UNTIL;
    return EXIT_DONE;
}

static void test_stretch_ends(void **ctx)
{
    (void)ctx;
    state.enter = leaves_work;
    new_end = START + SLICE; /* when the slice ends */
    v->closes = run_closes(START + SLICE);
    assert_int_equal(x86_run(v, START + 10 * SLICE), VCPU_YIELD_SLICE);
    assert_int_equal(clock_now, START + SLICE);
    assert_int_equal(v->entity.requests, 0);
    entries = 0;
    new_end = clock_now + SLICE / 2; /* at once */
    v->closes = run_closes(clock_now + SLICE);
    assert_int_equal(x86_run(v, clock_now + 10 * SLICE), VCPU_YIELD_SLICE);
    assert_int_equal(clock_now, new_end);
    assert_int_equal(entries, 1);
}

/* A guest that sleeps between interrupts: its core waits in the guest's HLT. */
static void sleep_for_50(void (*start)(void))
{
    uint64_t end = START + 50 * PERIOD + PERIOD / 2, counted = 0;

    start();
    state.enter = sleeps;
    while (clock_now < end) {
        enum vcpu_yield y = run_to(end);

        assert_true(y == VCPU_YIELD_HALT || clock_now == end);
        assert_int_equal(v->halted, y == VCPU_YIELD_HALT || state.in_halt);
    }
    assert_int_equal(interrupts, 50);
    assert_int_equal(stats.irqs, 50);
    for (unsigned i = 0; i < ARRAY_LEN(stats.wake_late.count); i++)
        counted += stats.wake_late.count[i];
    assert_int_equal(counted, 50);
}

static void test_sleeper(void **ctx)
{
    (void)ctx;
    sleep_for_50(start_pit);
}

static void test_sleeper_with_apic(void **ctx)
{
    (void)ctx;
    sleep_for_50(start_apic_timer);
}

/* A device's interrupt comes first: what was prepared for the timer is undone, and comes later. */
static void test_apic_wake_undone(void **ctx)
{
    static uint32_t before[LAPIC_PAGE / 4];

    (void)ctx;
    start_apic_timer();
    v->halted = state.in_halt = true;
    memcpy(before, apic_registers, sizeof(before));
    state.enter = is_kicked;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(run_to(NEVER), VCPU_YIELD_KICK);
        assert_memory_equal(before, apic_registers, sizeof(before));
        assert_true(v->halted && state.in_halt);
    }
    assert_int_equal(irqchip_msi(&guest.platform, LAPIC_BASE, VECTOR_IRQ0), 0);
    state.enter = sleeps;
    assert_int_equal(run_to(NEVER), VCPU_YIELD_HALT);
    assert_int_equal(interrupts, 1);
    assert_int_equal(run_to(NEVER), VCPU_YIELD_HALT);
    assert_int_equal(interrupts, 2);
}

/* Something else ends its HLT: the wake prepared for the timer is undone. */
static void test_wake_undone(void **ctx)
{
    struct pic pic;
    struct pit pit;

    (void)ctx;
    start_pit();
    v->halted = state.in_halt = true;
    pic = guest.platform.pic;
    pit = guest.platform.pit;
    state.enter = is_kicked;
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(run_to(NEVER), VCPU_YIELD_KICK);
        assert_memory_equal(&pic, &guest.platform.pic, sizeof(pic));
        assert_memory_equal(&pit, &guest.platform.pit, sizeof(pit));
        assert_true(v->halted && state.in_halt);
    }
    state.enter = sleeps;
    assert_int_equal(run_to(NEVER), VCPU_YIELD_HALT);
    assert_int_equal(interrupts, 1);
}

/* Its slice ends before its timer: it keeps sleeping. */
static void test_slice_ends_in_halt(void **ctx)
{
    (void)ctx;
    start_pit();
    v->halted = state.in_halt = true;
    state.enter = sleeps;
    assert_int_equal(run_to(START + 100), VCPU_YIELD_SLICE);
    assert_true(v->halted && state.in_halt);
    assert_int_equal(interrupts, 0);
}

/* A CPU that cannot wait in HLT. */
static void test_no_halt_state(void **ctx)
{
    (void)ctx;
    v->waits = false;
    state.enter = sleeps;
    assert_int_equal(run_to(NEVER), VCPU_YIELD_HALT);
    assert_false(state.in_halt);
    raise_irq();
    state.enter = computes;
    assert_int_equal(run_to(clock_now + 100), VCPU_YIELD_SLICE);
    assert_int_equal(interrupts, 1);
    assert_false(v->halted);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_what_ends_a_run, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_timer, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_work_at_the_end, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_stretch, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_stretch_in_root, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_stretch_ends, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_ticks, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_tick_at_the_end, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_sleeper, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_sleeper_with_apic, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_apic_wake_undone, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_wake_undone, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_slice_ends_in_halt, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_no_halt_state, setup, fixture_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

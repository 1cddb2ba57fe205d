/*
 * Stands in for a management guest that was taken over, and is the judge as well. Guest 1 is a
 * control loop; the others are pests, which are let loose one at a time, then it plagues all of
 * them with its own requests, then all do at once. Of each round it says how many periods the
 * control loop had, how many of them it missed, and how late slices ended at worst. Its own calls
 * in a loop are the round "requests".
 */
#include "hv/abi/control.h"
#include "hv/abi/deploy.h"

#include "test/guests/lib/guest.h"

#define CONTROL     1u
#define REPORTS     10u    /* of the control loop a round, 1000 periods each */
#define TICK_COUNT  11932u /* PIT ticks: 100 Hz */
#define LINE_SIZE   256u
#define INPUT_BYTES 64u

static int64_t call(uint64_t function, uint64_t b, uint64_t c, uint64_t d)
{
    int64_t result;

    __asm__ volatile("vmcall" : "=a"(result) : "a"(function), "b"(b), "c"(c), "d"(d) : "memory");
    return result;
}

static const struct abi_host *host(void)
{
    return (const struct abi_host *)(uintptr_t)ABI_HOST_GPA;
}

static const struct abi_guest *guest(uint64_t n)
{
    return (const struct abi_guest *)(uintptr_t)ABI_GUEST_GPA(n);
}

static void on_tick(void)
{
}

static void act(uint64_t n, enum abi_action a)
{
    (void)call(ABI_CALL_ACTION, n, a, 0);
}

/* ---- what the control loop reports ---- */

static struct {
    uint64_t read; /* of its console's ring */
    char line[LINE_SIZE];
    size_t length;
} console;

static struct {
    unsigned reports;
    uint64_t missed;
} heard;

static uint64_t number_behind(const char *line, const char *what)
{
    size_t n = strlen(what);
    uint64_t v = 0;

    for (; *line; line++) {
        if (strncmp(line, what, n) != 0)
            continue;
        for (line += n; *line >= '0' && *line <= '9'; line++)
            v = 10 * v + (uint64_t)(*line - '0');
        return v;
    }
    return 0;
}

static void hear_line(void)
{
    console.line[console.length] = 0;
    console.length = 0;
    if (strncmp(console.line, "control: second", 15) != 0)
        return;
    heard.reports++;
    heard.missed += number_behind(console.line, "missed ");
}

/* Its ring is longer than what it says between two looks. */
static void listen(void)
{
    const struct abi_ring *r = (const struct abi_ring *)(uintptr_t)ABI_CONSOLE_GPA(CONTROL);

    while (console.read < __atomic_load_n(&r->written, __ATOMIC_ACQUIRE)) {
        char c = (char)r->data[console.read++ % ABI_CONSOLE_RING_SIZE];

        if (c == '\n')
            hear_line();
        else if (console.length + 1 < LINE_SIZE)
            console.line[console.length++] = c;
    }
}

/* ---- its own requests ---- */

static void ask_for_dumps(uint64_t n)
{
    (void)call(ABI_CALL_SNAPSHOT, n, 0, 0);
    (void)call(ABI_CALL_SNAPSHOT, n, 0, 1);
}

static void ask_for_controls(uint64_t n)
{
    static unsigned turn;
    struct abi_controls c = {0};

    c.mask[ABI_CONTROL_CPU2] = 1u << 11; /* RDRAND exiting: nobody here executes it */
    c.value[ABI_CONTROL_CPU2] = turn++ % 2 ? c.mask[ABI_CONTROL_CPU2] : 0;
    (void)call(ABI_CALL_CONTROLS, n, 0, (uintptr_t)&c);
}

static void type(uint64_t n)
{
    static const char bytes[INPUT_BYTES] = "ignored by all, and never read by anybody who is here";

    (void)call(ABI_CALL_CONSOLE_INPUT, n, (uintptr_t)bytes, sizeof(bytes));
}

/* What can be asked of one that is to stay as it is. */
static void plague(uint64_t n)
{
    ask_for_dumps(n);
    ask_for_controls(n);
    type(n);
}

static void harass(uint64_t n)
{
    static unsigned turn;

    plague(n);
    act(n, ABI_ACTION_NMI);
    act(n, ABI_ACTION_PAUSE);
    act(n, ABI_ACTION_RESUME);
    if (turn++ % 64 == 0)
        act(n, ABI_ACTION_RESET);
}

static void call_for_itself(void)
{
    static const char line[] = "a line that nobody wants";
    static uint8_t bytes[ABI_KEEP_MAX];
    static uint64_t row;

    (void)call(ABI_CALL_LOG, (uintptr_t)line, sizeof(line) - 1, 0);
    (void)call(ABI_CALL_KEEP, (uintptr_t)bytes, sizeof(bytes), 0);
    (void)call(ABI_CALL_PROBE, row++ % 200, 0, 0);
}

static void try_images(void)
{
    static const struct abi_image_request r = {.name = "nothing", .size = 3u << 20};
    static int64_t slot = -1;
    static unsigned steps;

    if (slot < 0)
        slot = call(ABI_CALL_IMAGE_BEGIN, (uintptr_t)&r, 0, 0);
    if (slot < 0)
        return;
    (void)call(ABI_CALL_IMAGE_EXTEND, (uint64_t)slot, 0, 0);
    if (++steps % 200 == 0) {
        (void)call(ABI_CALL_IMAGE_DROP, (uint64_t)slot, 0, 0);
        slot = -1;
    }
}

static void try_guests(void)
{
    static struct abi_create r = {
        .config = {.name = "short-lived",
                   .image = "guests/hostile.elf",
                   .cmdline = "loop",
                   .memory = 4u << 20,
                   .core = -1,
                   .weight = 1,
                   .slice_us = 100,
                   .period_us = 10000,
                   .devices = DEV_ALL},
    };
    static int64_t made = -1;
    static unsigned turns;

    if (made < 0)
        made = call(ABI_CALL_CREATE, (uintptr_t)&r, 0, 0);
    else if (++turns % 16 == 0 && call(ABI_CALL_DELETE, (uint64_t)made, 0, 0) < 0)
        made = -1;
}

static void misbehave(unsigned pests)
{
    plague(CONTROL);
    for (unsigned n = CONTROL + 1; n <= CONTROL + pests; n++)
        harass(n);
    call_for_itself();
    try_images();
    try_guests();
}

/* ---- rounds ---- */

static struct result {
    char round[16];
    uint64_t missed, worst, own;
} results[ABI_GUESTS_MAX + 2];
static unsigned result_count;

/* Told at the end: the line of the machine may be full before. */
static void note(const char *round, uint64_t who)
{
    struct result *r = &results[result_count++];

    (void)str_copy(r->round, sizeof(r->round), round);
    r->missed = heard.missed;
    r->own = guest(who)->vcpus[0].slice_late_max;
    for (unsigned i = 0; i < host()->core_count; i++)
        r->worst = max_u64(r->worst, host()->cores[i].slice_late_max);
}

static void begin_round(void)
{
    unsigned before = heard.reports;

    /* The report on its way belongs to what was before. */
    while (heard.reports == before) {
        listen();
        (void)call(ABI_CALL_HEARTBEAT, 0, 0, 0);
        sleep_until_irq();
    }
    heard.reports = 0;
    heard.missed = 0;
}

static void go_through_round(unsigned pests, bool misbehaves)
{
    begin_round();
    while (heard.reports < REPORTS) {
        listen();
        (void)call(ABI_CALL_HEARTBEAT, 0, 0, 0);
        if (misbehaves)
            misbehave(pests);
        else
            sleep_until_irq();
    }
}

void guest_main(const char *cmdline)
{
    unsigned pests = 0;

    (void)cmdline;
    irq_handle(IRQ_PIT, on_tick);
    pit_periodic(TICK_COUNT);
    while (guest(CONTROL + 1 + pests)->state != ABI_GUEST_EMPTY)
        pests++;
    say("usurper: %u pests\n", pests);
    for (unsigned n = CONTROL + 1; n <= CONTROL + pests; n++)
        act(n, ABI_ACTION_STOP);
    for (unsigned n = CONTROL + 1; n <= CONTROL + pests; n++) {
        act(n, ABI_ACTION_START);
        go_through_round(pests, false);
        act(n, ABI_ACTION_STOP);
        note(guest(n)->cmdline, n);
    }
    go_through_round(pests, true);
    note("requests", CONTROL);
    for (unsigned n = CONTROL + 1; n <= CONTROL + pests; n++)
        act(n, ABI_ACTION_START);
    go_through_round(pests, true);
    note("all", CONTROL);
    for (unsigned n = CONTROL + 1; n < ABI_GUESTS_MAX; n++)
        act(n, ABI_ACTION_STOP);
    begin_round();
    go_through_round(pests, false);
    for (unsigned i = 0; i < result_count; i++)
        say("usurper: round %s: periods %u, missed %lu, worst slice end of its own %lu ticks, of "
            "all "
            "so far %lu\n",
            results[i].round, REPORTS * 1000, results[i].missed, results[i].own, results[i].worst);
    say("usurper: done\n");
    for (;;) {
        (void)call(ABI_CALL_HEARTBEAT, 0, 0, 0);
        sleep_until_irq();
    }
}

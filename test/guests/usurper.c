/*
 * Stands in for a compromised management guest, and is the judge as well. First it makes the guests
 * of the configuration. Guest 1 is a control loop; the others are pests. It lets them loose one at
 * a time, then plagues all guests with its own requests (round "requests"), then does all of this
 * at once. For each round it prints how many periods the control loop had, how many it missed, and
 * how late slices ended at worst. In the last round, "anything", it makes calls that make no sense,
 * while the last guest, which is no pest, watches its memory.
 */
#include "arch/x86/svm/svm.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/abi/deploy.h"
#include "test/guests/lib/guest.h"
#include "test/guests/lib/management.h"

#define CONTROL     1u
#define REPORTS     10u    /* of the control loop per round, 1000 periods each */
#define REPORTS_SVM 1u     /* in QEMU, where they say nothing of lateness */
#define TICK_COUNT  11932u /* PIT ticks: 100 Hz */
#define LINE_SIZE   256u
#define INPUT_BYTES 64u
#define MEMORY      (12ull << 20) /* its own */
#define ANYTHING    30000u        /* the minimum number of calls */
#define BATCH       16u
#define CANARY      "canary" /* its command line */

static void on_tick(void)
{
}

static bool is_svm(void)
{
    return host()->state_kind == ABI_STATE_SVM;
}

static unsigned reports(void)
{
    return is_svm() ? REPORTS_SVM : REPORTS;
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

/* Its ring holds more than it prints between two reads. */
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
    /* RDRAND exiting, or PAUSE: no guest here executes it. */
    unsigned word = is_svm() ? ABI_SVM_INTERCEPT_MISC1 : ABI_CONTROL_CPU2;

    c.mask[word] = is_svm() ? INTERCEPT_PAUSE : 1u << 11;
    c.value[word] = turn++ % 2 ? c.mask[word] : 0;
    (void)call(ABI_CALL_CONTROLS, n, 0, (uintptr_t)&c);
}

static void type(uint64_t n)
{
    static const char bytes[INPUT_BYTES] = "ignored by all, and never read by anybody who is here";

    (void)call(ABI_CALL_CONSOLE_INPUT, n, (uintptr_t)bytes, sizeof(bytes));
}

/* Requests that do not change a guest's state. */
static void plague(uint64_t n)
{
    ask_for_dumps(n);
    ask_for_controls(n);
    type(n);
}

static void harass(uint64_t n)
{
    static unsigned turn;

    heartbeat(); /* in QEMU, on a busy computer, all guests together take too long for one */
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

static void plague_all(unsigned pests)
{
    plague(CONTROL);
    for (unsigned n = CONTROL + 1; n <= CONTROL + pests; n++)
        harass(n);
    call_for_itself();
    try_images();
}

/* ---- anything ---- */

static struct {
    uint64_t canary; /* a guest's number */
    uint64_t made, done, wrong;
    uint64_t seen; /* calls of its life, counted by the root */
    uint32_t last; /* enum abi_guest_state of the guest that was made at the end */
} anything;

static uint64_t draw(void)
{
    static uint64_t s = 0x9e3779b97f4a7c15ull;

    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    return s;
}

/* A number with a meaning for some call, one near it, or any number. */
static uint64_t any_number(void)
{
    static const uint64_t known[] = {0,
                                     CONTROL,
                                     ABI_GUESTS_MAX,
                                     512,
                                     ABI_KEEP_MAX,
                                     0x100000,
                                     MEMORY - sizeof(struct abi_controls),
                                     MEMORY,
                                     ABI_BASE,
                                     1ull << 32,
                                     1ull << 63,
                                     UINT64_MAX};
    uint64_t r = draw();

    return r & 7 ? known[r / 8 % ARRAY_LEN(known)] + (r & 0x700 ? 0 : r / 4096 % 9 - 4) : r >> 8;
}

/* A plausible new guest. */
static void fill_in(struct abi_create *r, const char *name)
{
    memset(r, 0, sizeof(*r));
    r->config = (struct guest_config){.image = "guests/hostile.elf",
                                      .cmdline = "loop",
                                      .memory = 4u << 20,
                                      .core = (int)(draw() % host()->core_count),
                                      .weight = 1,
                                      .slice_us = 100,
                                      .period_us = 10000,
                                      .devices = DEV_DEFAULT,
                                      .vcpus = 1};
    (void)str_copy(r->config.name, sizeof(r->config.name), name);
}

static void any_guest(struct abi_create *r)
{
    static const char *const files[] = {"guests/hostile.elf", "guests/control.elf", "mgmt.elf",
                                        "x"};
    static const char *const does[] = {"loop", "die", "timers", "insl"};
    struct guest_config *c = &r->config;

    fill_in(r, "fresh-0");
    c->memory = (draw() % 8) << 20;
    c->weight = (uint32_t)(draw() & 1 ? 100 : any_number());
    c->guaranteed_us = (uint32_t)(draw() % 16 ? 0 : any_number());
    c->restart = RESTART_ALWAYS;
    if (draw() % 4 == 0)
        c->devices = (uint32_t)any_number();
    c->name[6] = (char)('0' + draw() % 4);
    (void)str_copy(c->image, sizeof(c->image), files[draw() % 8 < 5 ? 0 : draw() % 4]);
    (void)str_copy(c->cmdline, sizeof(c->cmdline), does[draw() % 4]);
    if (draw() % 8 == 0)
        (void)str_copy(r->why, sizeof(r->why), "nobody\x1b[31m knows\n[0.0] core 0: why");
    if (draw() % 4)
        (void)plan_guest(r);
}

/* A structure for a call to read: random words, or for some calls something nearly right. */
static uint64_t any_structure(uint64_t f)
{
    static union {
        struct abi_create create;
        struct abi_image_request image;
        struct abi_controls controls;
        uint64_t words[sizeof(struct abi_create) / 8];
    } u;

    if (f == ABI_CALL_CREATE && draw() & 1)
        any_guest(&u.create);
    for (unsigned i = draw() % 4; i > 0; i--)
        u.words[draw() % ARRAY_LEN(u.words)] = any_number();
    if (f == ABI_CALL_IMAGE_BEGIN && draw() & 1) {
        u.image = (struct abi_image_request){.name = "x", .size = draw() % (4u << 20)};
        u.image.name[0] = (char)('w' + draw() % 4);
    }
    return (uintptr_t)&u;
}

static uint64_t any_slot_or_guest(void)
{
    return draw() % 4 ? draw() % (ABI_GUESTS_MAX + 1) : any_number();
}

/* A management guest may end other guests, the machine and itself, but the test needs them. Leaves
 * out such calls. */
static bool spares(uint64_t f, uint64_t b, uint64_t c)
{
    if (f == ABI_CALL_HOST_ACTION)
        return b != ABI_HOST_REBOOT;
    if (f == ABI_CALL_ACTION && b == host()->self)
        return c != ABI_ACTION_RESET;
    if (f == ABI_CALL_ACTION || f == ABI_CALL_DELETE || f == ABI_CALL_CONTROLS)
        return b != CONTROL && b != anything.canary;
    return true;
}

static void call_for_anything(void)
{
    uint64_t f = ABI_CALL_VERSION - 1 + draw() % (ABI_CALL_END - ABI_CALL_VERSION + 3);
    uint64_t b = any_slot_or_guest(), c = any_number(), d = any_number();
    int64_t r;

    if (draw() % 64 == 0)
        f = any_number();
    if (f == ABI_CALL_IMAGE_BEGIN)
        b = draw() % 8 ? any_structure(f) : any_number();
    /* Otherwise only at the end of its memory: the root writes a reason to where it reads the
     * structure. */
    if (f == ABI_CALL_CREATE)
        b = draw() % 8 ? any_structure(f) : MEMORY - draw() % 256;
    if (f == ABI_CALL_CONTROLS && draw() % 8) {
        c = 0; /* there is only this vCPU */
        d = any_structure(f);
    }
    if (f == ABI_CALL_ACTION)
        c = draw() % (ABI_ACTION_END + 1);
    if (!spares(f, b, c))
        return;
    heartbeat();
    r = call(f, b, c, d);
    anything.made++;
    anything.done += r >= 0;
    anything.wrong += r < -E_IO;
}

static void do_anything(unsigned pests)
{
    (void)pests;
    for (unsigned i = 0; i < BATCH; i++)
        call_for_anything();
}

/* The exits of its own calls so far. */
static uint64_t calls_seen(void)
{
    return vcpu(host()->self, 0)->exits[is_svm() ? SVM_EXIT_VMMCALL : VMX_EXIT_VMCALL];
}

/* Restores the machine, then makes one more guest, which is audited like every new guest. */
static void clean_up(void)
{
    static struct abi_create r;
    int64_t made;

    for (uint64_t n = CONTROL + 1; n < ABI_GUESTS_MAX; n++)
        while (n != anything.canary && call(ABI_CALL_DELETE, n, 0, 0) != -E_NOENT)
            heartbeat();
    for (uint64_t slot = 0; slot < ABI_IMAGES; slot++)
        (void)call(ABI_CALL_IMAGE_DROP, slot, 0, 0);
    fill_in(&r, "last");
    r.config.weight = 100;
    r.config.slice_us = 1000;
    made = plan_guest(&r) ? call(ABI_CALL_CREATE, (uintptr_t)&r, 0, 0) : -1;
    while (made >= 0 && guest((uint64_t)made)->state == ABI_GUEST_STARTING) {
        heartbeat();
        sleep_until_irq();
    }
    anything.last = made < 0 ? ABI_GUEST_EMPTY : guest((uint64_t)made)->state;
    anything.seen = calls_seen();
    if (made >= 0)
        act((uint64_t)made, ABI_ACTION_STOP);
    act(anything.canary, ABI_ACTION_STOP);
}

/* ---- rounds ---- */

static struct result {
    char round[16];
    uint64_t missed, worst, own;
} results[ABI_GUESTS_MAX + 2];
static unsigned result_count;

/* Printed at the end: the serial line may be saturated before. */
static void note(const char *round, uint64_t who)
{
    struct result *r = &results[result_count++];

    (void)str_copy(r->round, sizeof(r->round), round);
    r->missed = heard.missed;
    r->own = vcpu(who, 0)->slice_late_max;
    for (unsigned i = 0; i < host()->core_count; i++)
        r->worst = max_u64(r->worst, host()->cores[i].slice_late_max);
}

static void begin_round(void)
{
    unsigned before = heard.reports;

    /* The report on its way still covers the time before. */
    while (heard.reports == before) {
        listen();
        heartbeat();
        sleep_until_irq();
    }
    heard.reports = 0;
    heard.missed = 0;
}

static void go_through_round(unsigned pests, void (*misbehave)(unsigned pests))
{
    begin_round();
    while (heard.reports < reports()) {
        listen();
        heartbeat();
        if (misbehave)
            misbehave(pests);
        else
            sleep_until_irq();
    }
}

/* While its tables are being made it takes no action. */
static void stop_when_made(unsigned n)
{
    while (call(ABI_CALL_ACTION, n, ABI_ACTION_STOP, 0) == -E_STATE &&
           guest(n)->state == ABI_GUEST_STARTING)
        heartbeat();
}

void guest_main(const char *cmdline)
{
    unsigned pests = 0;

    (void)cmdline;
    irq_handle(IRQ_PIT, on_tick);
    pit_periodic(TICK_COUNT);
    make_guests(ABI_GUESTS_MAX);
    while (guest(CONTROL)->state == ABI_GUEST_STARTING)
        heartbeat();
    while (strcmp(guest(CONTROL + 1 + pests)->config.cmdline, CANARY) != 0)
        pests++;
    anything.canary = CONTROL + 1 + pests;
    say("usurper: %u pests\n", pests);
    for (unsigned n = CONTROL + 1; n <= anything.canary; n++)
        stop_when_made(n);
    for (unsigned n = CONTROL + 1; n <= CONTROL + pests; n++) {
        act(n, ABI_ACTION_START);
        go_through_round(pests, NULL);
        act(n, ABI_ACTION_STOP);
        note(guest(n)->config.cmdline, n);
    }
    go_through_round(pests, plague_all);
    note("requests", CONTROL);
    for (unsigned n = CONTROL + 1; n <= CONTROL + pests; n++)
        act(n, ABI_ACTION_START);
    go_through_round(pests, plague_all);
    note("all", CONTROL);
    for (unsigned n = CONTROL + 1; n < ABI_GUESTS_MAX; n++)
        act(n, ABI_ACTION_STOP);
    act(anything.canary, ABI_ACTION_START);
    do
        go_through_round(pests, do_anything);
    while (anything.made < ANYTHING);
    note("anything", CONTROL);
    clean_up();
    begin_round();
    go_through_round(pests, NULL);
    for (unsigned i = 0; i < result_count; i++)
        say("usurper: round %s: periods %u, missed %lu, worst slice end of its own %lu ticks, "
            "of all so far %lu\n",
            results[i].round, reports() * 1000, results[i].missed, results[i].own,
            results[i].worst);
    say("usurper: calls made %lu, done %lu, wrong %lu, seen %lu\n", anything.made, anything.done,
        anything.wrong, anything.seen);
    say("usurper: the last guest %s\n", anything.last == ABI_GUEST_RUNNING ? "runs" : "fails");
    say("usurper: done\n");
    for (;;) {
        heartbeat();
        sleep_until_irq();
    }
}

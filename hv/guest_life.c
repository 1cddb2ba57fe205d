#include "hv/guest_life.h"

#include "hv/arch.h"
#include "hv/core.h"
#include "hv/exit.h"
#include "hv/flat.h"
#include "hv/fmt.h"
#include "hv/guest_pages.h"
#include "hv/image.h"
#include "hv/job.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/net.h"
#include "hv/panic.h"
#include "hv/restart.h"

/* Measured, in ticks: the longest step towards a start or an end. */
#define STEP_TICKS    1800u
#define PIECE_TICKS   700u /* of memory */

/* Between two tries to start a management guest whose image cannot be used. */
#define RETRY_SECONDS 10u

static uint64_t boot_epoch, boot_tsc;

void guest_life_init(uint64_t epoch, uint64_t tsc)
{
    boot_epoch = epoch;
    boot_tsc = tsc;
}

void guest_fail(struct guest *g, const char *why)
{
    if (!g->complete)
        g->status->flags |= ABI_GUEST_HUSK;
    guest_set_state(g, ABI_GUEST_FAILED, why);
    g->life.phase = GUEST_IDLE;
    log_guest_warn(g, "not started: %s", why);
}

static void say_end(struct guest *g, enum abi_guest_state state, const char *format, va_list ap)
{
    struct guest_life *l = &g->life;
    uint32_t not_yet = END_NOT;

    if (!__atomic_compare_exchange_n(&l->end, &not_yet, END_BEING_SAID, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return;
    l->end_state = state;
    (void)fmt_v(l->end_why, sizeof(l->end_why), format, ap);
    __atomic_store_n(&l->end, END_SAID, __ATOMIC_RELEASE);
    FOR_EACH_VCPU (v, g)
        __atomic_store_n(&v->stop, true, __ATOMIC_RELAXED);
    core_request(&l->entity, GUEST_REQ_END);
}

void guest_end(struct guest *g, enum abi_guest_state state, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    say_end(g, state, format, ap);
    va_end(ap);
}

void vcpu_stop(struct vcpu *v, enum abi_guest_state state, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    say_end(v->guest, state, format, ap);
    va_end(ap);
}

/* ---- calls from the platform ---- */

static void on_console(void *ctx, uint8_t byte)
{
    struct guest *g = ctx;
    struct abi_ring *r = g->console;

    r->data[r->written & (ABI_CONSOLE_RING_SIZE - 1)] = byte;
    __atomic_store_n(&r->written, r->written + 1, __ATOMIC_RELEASE);
    log_console_grew();
}

static void on_reset(void *ctx, const char *how)
{
    struct guest *g = ctx;

    guest_end(g, ABI_GUEST_STOPPED, "the guest reset itself (%s)", how);
}

static void on_exit_port(void *ctx, uint32_t code)
{
    struct guest *g = ctx;

    g->status->exit_code = code;
    guest_end(g, ABI_GUEST_STOPPED, "the guest exited with code %u", code);
}

void guest_on_transmit(void *ctx, const uint8_t *frame, size_t len)
{
    struct guest *g = ctx;

    g->status->frames_sent++;
    g->status->frames_refused[net_send((unsigned)g->switch_port, frame, len, arch_tsc())]++;
}

/* From the switch, on any core. */
void guest_on_frame(void *ctx, const uint8_t *frame, size_t len)
{
    struct guest *g = ctx;

    if (!virtio_net_rx_push(&g->platform.net, frame, len)) {
        __atomic_fetch_add(&g->status->frames_dropped, 1, __ATOMIC_RELAXED);
        return;
    }
    __atomic_fetch_add(&g->status->frames_received, 1, __ATOMIC_RELAXED);
    if (arch_tsc() < __atomic_load_n(&g->quiet_until, __ATOMIC_RELAXED))
        core_leave(&g->life.entity, GUEST_REQ_NET);
    else
        core_request(&g->life.entity, GUEST_REQ_NET);
}

/* ---- start and end ---- */

void guest_begin_start(struct guest *g)
{
    g->life.phase = GUEST_CLEARING;
    g->life.cleared = 0;
    g->life.shift = 0;
    g->life.by_request = false;
    __atomic_store_n(&g->life.end, END_NOT, __ATOMIC_RELEASE);
    g->status->exit_code = 0;
    guest_set_state(g, ABI_GUEST_STARTING, "");
}

/* The bytes of source n of its plan. */
static struct image_source source_of(const struct guest *g, unsigned n)
{
    if (n == LOAD_FROM_BYTES)
        return (struct image_source){g->plan.bytes, g->plan.byte_count};
    return g->sources[n];
}

static void enter_phase(struct guest *g, enum guest_phase phase)
{
    g->life.phase = phase;
    g->life.step = 0;
}

/* Orders what its vCPUs must become, each on its own core. */
static void order(struct guest *g, enum vcpu_phase phase)
{
    uint32_t number = (g->life.order & ~ORDER_PHASE) + ORDER_PHASE + 1;

    __atomic_store_n(&g->life.order, number | phase, __ATOMIC_RELEASE);
    FOR_EACH_VCPU (v, g)
        core_request(&v->entity, VCPU_REQ_OBEY);
}

static bool all_obey(const struct guest *g)
{
    FOR_EACH_VCPU (v, g) {
        if (__atomic_load_n(&v->obeyed, __ATOMIC_ACQUIRE) != g->life.order)
            return false;
    }
    return true;
}

/* The devices, in steps; then the vCPUs, by themselves. */
static void start_devices(struct guest *g)
{
    const struct platform_host host = {
        .ctx = g, .console = on_console, .reset = on_reset, .exit = on_exit_port};
    uint64_t now = arch_tsc(), hz = arch_tsc_hz();
    unsigned step = g->life.step++;

    if (step == 0) {
        platform_disconnect(&g->platform);
        return;
    }
    if (step == 1) {
        if (platform_connect(&g->platform, g->config.devices))
            guest_fail(g, "its devices cannot be put together");
        return;
    }
    platform_reset(&g->platform, g->config.devices, now, hz, boot_epoch + (now - boot_tsc) / hz,
                   g->mem.size, &host);
    if (g->config.watchdog_ms && platform_watch(&g->platform, hz / 1000 * g->config.watchdog_ms)) {
        guest_fail(g, "its watchdog's port is taken");
        return;
    }
    if (g->config.devices & DEV_NET)
        virtio_net_reset(&g->platform.net);
    enter_phase(g, GUEST_MAKING);
    order(g, VCPU_HELD);
}

/* The next pass enters it. */
static void note_first_entry(const struct guest *g)
{
    struct abi_host *h = guest_host_page();
    uint64_t *at = g->management ? &h->first_entry_tsc : &h->first_guest_tsc, never = 0;

    (void)__atomic_compare_exchange_n(at, &never, arch_tsc(), false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED);
}

static void go_live(struct guest *g)
{
    struct guest_life *l = &g->life;

    if (l->step++ == 0) {
        log_guest(g, "started (%s, %lu KiB, core %u)", g->plan.start.kind, g->mem.size >> 10,
                  l->entity.core);
        return;
    }
    l->heartbeat = arch_tsc();
    /* This runs in its own turn: the wait for that turn is counted when the turn is over. */
    watchdog_start(&g->platform.watchdog, l->heartbeat, 0);
    g->platform.watchdog.written = true;
    enter_phase(g, GUEST_LIVE);
    guest_set_image_kind(g, g->plan.start.kind);
    guest_set_state(g, ABI_GUEST_RUNNING, "");
    note_first_entry(g);
    order(g, VCPU_LIVE);
}

/* One step; true when all of it is done. */
static bool clear_step(struct guest *g)
{
    uint64_t n = min_u64(GUEST_STEP, g->mem.size - g->life.cleared);

    memset(g->mem.base + g->life.cleared, 0, n);
    g->life.cleared += n;
    return g->life.cleared == g->mem.size;
}

/* A piece of the plan, or a part of it. */
static bool copy_step(struct guest *g)
{
    const struct load_piece *p = &g->plan.pieces[g->life.copied_pieces];
    struct image_source from;
    uint64_t n;

    if (g->life.copied_pieces == g->plan.piece_count)
        return true;
    n = min_u64(GUEST_STEP, p->size - g->life.copied);
    from = source_of(g, p->source);
    if (gmem_write(&g->mem, gpa(p->address + g->life.copied),
                   from.data + p->offset + g->life.copied, n))
        panic("the load plan of guest %s is not what was checked", g->config.name);
    g->life.copied += n;
    if (g->life.copied == p->size) {
        g->life.copied = 0;
        g->life.copied_pieces++;
    }
    return g->life.copied_pieces == g->plan.piece_count;
}

/* A job for the management guest: its image is the only one that the root examines. */
static void plan_management(void *guest)
{
    struct guest *g = guest;
    struct image_source image = image_of_management();

    g->unplanned = "it is not among the boot modules";
    if (image.data &&
        flat_plan(image.data, image.size, g->mem.size, &g->plan, &g->unplanned) == 0) {
        g->sources[0] = image;
        g->planned = true;
    }
}

static void begin_copying(struct guest *g)
{
    g->life.copied_pieces = 0;
    g->life.copied = 0;
    enter_phase(g, GUEST_COPYING);
}

/* The reason for the end stays; only the state changes. */
static void hold_back(struct guest *g, uint64_t at)
{
    char why[ABI_TEXT_MAX];

    (void)str_copy(why, sizeof(why), g->status->why);
    g->status->next_start_tsc = at;
    g->life.phase = GUEST_HELD_BACK;
    guest_set_state(g, ABI_GUEST_RESTARTING, why);
}

/* Without management nothing can control this machine: its start is tried again and again. */
static void planning_step(struct guest *g)
{
    char why[ABI_TEXT_MAX];

    if (g->planned) {
        begin_copying(g);
    } else if (!g->unplanned) {
        job_begin(&g->life.job, g->number, plan_management, g);
    } else {
        (void)fmt(why, sizeof(why), "its image cannot be used: %s", g->unplanned);
        g->unplanned = NULL;
        guest_fail(g, why);
        hold_back(g, arch_tsc() + RETRY_SECONDS * arch_tsc_hz());
    }
}

static void give_up(struct guest *g)
{
    char why[ABI_TEXT_MAX];

    (void)fmt(why, sizeof(why), "%s; not started again after %u lives of less than %u seconds",
              g->status->why, g->status->short_lives, RESTART_SHORT_SECONDS);
    log_guest_warn(g, "%s", why);
    guest_set_state(g, (enum abi_guest_state)g->status->state, why);
}

/* It has ended by itself: applies its restart policy. */
static void ask_policy(struct guest *g)
{
    const struct abi_guest *s = g->status;
    const struct restart_end end = {
        .failed = s->state == ABI_GUEST_CRASHED || s->exit_code != 0,
        .started = s->started_tsc,
        .ended = arch_tsc(),
        .tsc_hz = arch_tsc_hz(),
    };
    uint64_t again = NEVER;

    switch (restart_decide(&g->config, &end, &g->status->short_lives, &again)) {
    case RESTART_NO:
        break;
    case RESTART_GIVEN_UP:
        give_up(g);
        break;
    case RESTART_AGAIN:
        g->status->restarts++;
        if (again > end.ended)
            hold_back(g, again);
        else
            guest_begin_start(g);
    }
}

bool guest_has_vcpus(const struct guest *g)
{
    switch (g->life.phase) {
    case GUEST_MAKING:
    case GUEST_LAUNCHING:
    case GUEST_LIVE:
    case GUEST_PAUSING:
    case GUEST_PAUSED:
        return true;
    default:
        return false;
    }
}

void guest_begin_ending(struct guest *g)
{
    struct guest_life *l = &g->life;

    if (!guest_has_vcpus(g) || __atomic_load_n(&l->end, __ATOMIC_ACQUIRE) != END_SAID)
        return; /* the core that is setting it will request this again */
    if (l->end_state != ABI_GUEST_FAILED)
        guest_set_state(g, l->end_state, l->end_why);
    enter_phase(g, GUEST_LEAVING);
    order(g, VCPU_NONE);
}

static void drop_unfinished_images(void *guest)
{
    while (image_drop_unfinished(guest))
        job_rest();
}

/* True: the end is complete, including what follows. */
static bool end_step(struct guest *g)
{
    const struct guest_life *l = &g->life;

    switch (g->life.step) {
    case 0:
        if (g->management)
            job_begin(&g->life.job, g->number, drop_unfinished_images, g);
        break;
    case 1:
        if (l->end_state != ABI_GUEST_FAILED)
            log_guest(g, "%s: %s", l->end_state == ABI_GUEST_CRASHED ? "crashed" : "stopped",
                      l->end_why);
        break;
    default:
        enter_phase(g, GUEST_IDLE);
        if (l->end_state == ABI_GUEST_FAILED)
            guest_fail(g, l->end_why);
        else if (!l->by_request)
            ask_policy(g);
        return true;
    }
    g->life.step++;
    return false;
}

static void one_step(struct guest *g)
{
    switch (g->life.phase) {
    case GUEST_CLEARING:
        if (clear_step(g))
            g->life.phase = GUEST_PLANNING;
        break;
    case GUEST_PLANNING:
        planning_step(g);
        break;
    case GUEST_COPYING:
        if (copy_step(g))
            enter_phase(g, GUEST_STARTING);
        break;
    case GUEST_STARTING:
        start_devices(g);
        break;
    case GUEST_LAUNCHING:
        go_live(g);
        break;
    case GUEST_BUILDING:
        if (g->complete)
            guest_begin_start(g);
        else
            job_begin(&g->life.job, g->number, guest_build, g);
        break;
    case GUEST_ENDING:
        (void)end_step(g);
        break;
    default:
        break;
    }
}

/* Does in one go what later takes many steps, and does not clear what the image covers. */
void guest_make_ready(struct guest *g)
{
    const struct load_piece *p = &g->plan.pieces[0];

    guest_begin_start(g);
    plan_management(g);
    if (!g->planned)
        return;
    memset(g->mem.base, 0, p->address);
    memset(g->mem.base + p->address + p->size, 0, g->mem.size - p->address - p->size);
    begin_copying(g);
    while (!copy_step(g))
        ;
    enter_phase(g, GUEST_STARTING);
}

/* It has work to do in its own turns. */
static bool is_on_its_way(const struct guest *g)
{
    switch (g->life.phase) {
    case GUEST_BUILDING:
    case GUEST_CLEARING:
    case GUEST_PLANNING:
    case GUEST_COPYING:
    case GUEST_STARTING:
    case GUEST_LAUNCHING:
    case GUEST_ENDING:
    case GUEST_SCRUBBING:
        return true;
    default:
        return false;
    }
}

bool guest_waits_for_vcpus(const struct guest *g)
{
    return g->life.phase == GUEST_LEAVING || (guest_has_vcpus(g) && !is_on_its_way(g));
}

/* The longest time its next step takes. */
static uint64_t step_ticks(const struct guest *g)
{
    switch (g->life.phase) {
    case GUEST_CLEARING:
    case GUEST_COPYING:
        return PIECE_TICKS;
    default:
        return STEP_TICKS;
    }
}

void guest_advance(struct guest *g, uint64_t until)
{
    const struct core *c = core_get(g->life.entity.core);

    if (g->life.phase == GUEST_HELD_BACK)
        guest_begin_start(g);
    while (is_on_its_way(g) && arch_tsc() < until) {
        if (job_is_there(&g->life.job))
            (void)job_go_on(&g->life.job, until);
        else if (core_has_time(c, step_ticks(g), &g->life.put_off))
            one_step(g);
        else
            __builtin_ia32_pause(); /* another entity is about to run */
    }
}

/* The vCPUs' total wait for the core: the watchdog's time stands still then. */
static uint64_t waited(const struct guest *g, uint64_t now)
{
    return sched_waited(&g->life.partner->entity.sched, now);
}

void guest_pause(struct guest *g)
{
    enter_phase(g, GUEST_PAUSING);
    order(g, VCPU_HELD);
}

static void is_paused(struct guest *g)
{
    enter_phase(g, GUEST_PAUSED);
    g->life.paused_at = arch_tsc();
    watchdog_hold(&g->platform.watchdog, g->life.paused_at, waited(g, g->life.paused_at));
    guest_set_paused(g, true);
}

void guest_resume(struct guest *g)
{
    uint64_t now = arch_tsc(), paused = now - g->life.paused_at;

    if (g->config.paused_clock == PAUSED_CLOCK_STOPS) {
        platform_shift(&g->platform, paused);
        g->life.shift += paused;
    }
    g->platform.clock.now = now;
    watchdog_go_on(&g->platform.watchdog, now, waited(g, now));
    if (g->config.devices & DEV_NET)
        platform_frames_wait(&g->platform); /* some may have come meanwhile */
    enter_phase(g, GUEST_LIVE);
    guest_set_paused(g, false);
    order(g, VCPU_LIVE);
}

void guest_on_vcpus(struct guest *g)
{
    if (!all_obey(g))
        return;
    switch (g->life.phase) {
    case GUEST_MAKING:
        enter_phase(g, GUEST_LAUNCHING);
        break;
    case GUEST_PAUSING:
        is_paused(g);
        break;
    case GUEST_LEAVING:
        enter_phase(g, GUEST_ENDING);
        break;
    default:
        break;
    }
}

bool guest_let_go(struct guest *g)
{
    if (guest_ordered(g) != VCPU_GONE)
        order(g, VCPU_GONE);
    return all_obey(g);
}

/* With a small budget this would take long: the vCPUs end in the request's time instead. */
static void hasten(struct guest *g)
{
    g->life.by_request = true;
    FOR_EACH_VCPU (v, g)
        core_ask(&v->entity, VCPU_REQ_END);
}

bool guest_end_by_request(struct guest *g, const char *why)
{
    enum abi_guest_state state = (enum abi_guest_state)g->status->state;

    if (guest_has_vcpus(g)) {
        guest_end(g, ABI_GUEST_STOPPED, "%s", why);
        guest_begin_ending(g);
    }
    if (guest_has_vcpus(g) || g->life.phase == GUEST_LEAVING) {
        hasten(g);
        return false;
    }
    if (g->life.phase == GUEST_ENDING) {
        g->life.by_request = true;
        if (job_is_there(&g->life.job))
            (void)job_go_on(&g->life.job, 0);
        else
            return end_step(g);
        return false;
    }
    if (state == ABI_GUEST_STARTING || state == ABI_GUEST_RESTARTING) {
        guest_set_state(g, ABI_GUEST_STOPPED, why);
        log_guest(g, "%s", why);
    }
    enter_phase(g, GUEST_IDLE);
    return true;
}

void guest_feed_uart(struct guest *g)
{
    uint32_t tail = g->input_tail;

    if (g->life.phase != GUEST_LIVE)
        return;
    while (tail != __atomic_load_n(&g->input_head, __ATOMIC_ACQUIRE) &&
           platform_console_input(&g->platform, g->input[tail % GUEST_INPUT_SIZE]))
        tail++;
    __atomic_store_n(&g->input_tail, tail, __ATOMIC_RELEASE);
}

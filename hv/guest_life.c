#include "hv/guest_life.h"

#include "hv/arch.h"
#include "hv/core.h"
#include "hv/fmt.h"
#include "hv/guest_pages.h"
#include "hv/image.h"
#include "hv/job.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/net.h"
#include "hv/restart.h"

/* Measured, in ticks: the longest step towards a start or an end. */
#define STEP_TICKS  1800u
#define PIECE_TICKS 700u /* of memory */

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
            guest_hold_back(g, again);
        else
            guest_begin_start(g);
    }
}

#define IN(phase) (1u << GUEST_##phase)

static bool is_in(const struct guest *g, uint32_t phases)
{
    return phases >> g->life.phase & 1;
}

bool guest_has_vcpus(const struct guest *g)
{
    return is_in(g, IN(MAKING) | IN(LAUNCHING) | IN(LIVE) | IN(PAUSING) | IN(PAUSED));
}

bool guest_waits_for_vcpus(const struct guest *g)
{
    return is_in(g, IN(MAKING) | IN(LIVE) | IN(PAUSING) | IN(PAUSED) | IN(LEAVING));
}

/* It has work to do in its own turns. */
static bool is_on_its_way(const struct guest *g)
{
    return !guest_waits_for_vcpus(g) && !is_in(g, IN(IDLE) | IN(HELD_BACK) | IN(GONE));
}

void guest_begin_ending(struct guest *g)
{
    struct guest_life *l = &g->life;

    if (!guest_has_vcpus(g) || __atomic_load_n(&l->end, __ATOMIC_ACQUIRE) != END_SAID)
        return; /* the core that is setting it will request this again */
    if (l->end_state != ABI_GUEST_FAILED)
        guest_set_state(g, l->end_state, l->end_why);
    guest_enter_phase(g, GUEST_LEAVING);
    guest_order(g, VCPU_NONE);
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
        net_cancel(&g->transfer);
        if (g->management)
            job_begin(&g->life.job, g->number, drop_unfinished_images, g);
        break;
    case 1:
        if (l->end_state != ABI_GUEST_FAILED)
            log_guest(g, "%s: %s", l->end_state == ABI_GUEST_CRASHED ? "crashed" : "stopped",
                      l->end_why);
        break;
    default:
        guest_enter_phase(g, GUEST_IDLE);
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
        guest_start_step(g);
    }
}

/* The longest time its next step takes. */
static uint64_t step_ticks(const struct guest *g)
{
    if (job_is_there(&g->life.job))
        return RUN_CLOSE; /* it pauses at once when that is left */
    return is_in(g, IN(CLEARING) | IN(COPYING)) ? PIECE_TICKS : STEP_TICKS;
}

void guest_advance(struct guest *g, uint64_t until)
{
    const struct core *c = core_get(g->life.entity.core);

    if (g->life.phase == GUEST_HELD_BACK)
        guest_begin_start(g);
    while (is_on_its_way(g) && arch_tsc() < until) {
        if (!core_has_time(c, step_ticks(g), &g->life.put_off))
            __builtin_ia32_pause(); /* another entity is about to run */
        else if (job_is_there(&g->life.job))
            (void)job_go_on(&g->life.job, min_u64(until, core_close(c)));
        else
            one_step(g);
    }
}

/* The vCPUs' total wait for the core: the watchdog's time stands still then. */
static uint64_t waited(const struct guest *g, uint64_t now)
{
    return sched_waited(&g->life.partner->entity.sched, now);
}

void guest_pause(struct guest *g)
{
    guest_enter_phase(g, GUEST_PAUSING);
    guest_order(g, VCPU_HELD);
}

static void is_paused(struct guest *g)
{
    guest_enter_phase(g, GUEST_PAUSED);
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
    if (g->config.shared_count)
        platform_bells_ring(&g->platform);
    guest_enter_phase(g, GUEST_LIVE);
    guest_set_paused(g, false);
    guest_order(g, VCPU_LIVE);
}

void guest_on_vcpus(struct guest *g)
{
    if (!guest_all_obey(g))
        return;
    switch (g->life.phase) {
    case GUEST_MAKING:
        guest_enter_phase(g, GUEST_LAUNCHING);
        break;
    case GUEST_PAUSING:
        is_paused(g);
        break;
    case GUEST_LEAVING:
        guest_enter_phase(g, GUEST_ENDING);
        break;
    default:
        break;
    }
}

bool guest_let_go(struct guest *g)
{
    if (guest_ordered(g) != VCPU_GONE)
        guest_order(g, VCPU_GONE);
    return guest_all_obey(g);
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
        if (guest_end(g, ABI_GUEST_STOPPED, "%s", why))
            g->life.end_requested = true;
        guest_begin_ending(g);
    }
    if (guest_has_vcpus(g) || g->life.phase == GUEST_LEAVING) {
        hasten(g);
        return false;
    }
    if (g->life.phase == GUEST_ENDING) {
        g->life.by_request = true;
        if (!job_is_there(&g->life.job))
            return end_step(g);
        (void)job_go_on(&g->life.job, 0);
        return false;
    }
    if (state == ABI_GUEST_STARTING || state == ABI_GUEST_RESTARTING) {
        g->life.end_requested = true;
        guest_set_state(g, ABI_GUEST_STOPPED, why);
        log_guest(g, "%s", why);
    }
    guest_enter_phase(g, GUEST_IDLE);
    return true;
}

void guest_feed_uart(struct guest *g)
{
    uint32_t tail = g->input_tail;

    if (g->life.phase != GUEST_LIVE)
        return;
    platform_enter(&g->platform, arch_tsc());
    while (tail != __atomic_load_n(&g->input_head, __ATOMIC_ACQUIRE) &&
           platform_console_input(&g->platform, g->input[tail % GUEST_INPUT_SIZE]))
        tail++;
    platform_leave(&g->platform, 0);
    __atomic_store_n(&g->input_tail, tail, __ATOMIC_RELEASE);
}

#include "hv/core.h"

#include "hv/arch.h"
#include "hv/fmt.h"
#include "hv/guest_life.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/net.h"

/* So long the guests run before more frames are taken from the card, when more are there. */
#define FRAMES_PAUSE_US  50u

/* Asked for so shortly before the ration is open again, a core is woken: it may have looked. */
#define ASK_MARGIN_US    50u
/* What takes a while waits for a time when nobody else wants the core, but no longer than this:
 * where slices are short, there is none. */
#define PATIENCE_US      1000u
/* In a pass that comes late from a slice already: most others do not, and both together would be
 * too late. */
#define LATE_PATIENCE_US 20000u
/* Whose turn begins is left alone for so long: most that wake are asleep again by then. */
#define ALONE_US         250u
/* What was put off is tried again in each pass, and so soon at the latest: when it was for a slice
 * that ends, that has ended. */
#define PUT_OFF_US       100u
/* In ticks, as they were seen: the last of a guest that goes, the line about one that is stuck, and
 * the longest chore. */
#define UNBIND_TICKS     1300u
#define STUCK_TICKS      2500u
#define CHORE_TICKS      1900u

static struct core cores[ARCH_CORES_MAX];
static uint32_t ready, requests_us;
static uint64_t reboot_at = NEVER; /* atomic; written once */
_Static_assert(ARCH_CORES_MAX <= ABI_CORES_MAX, "every core has its row in the shared page");

struct core *core_get(unsigned id)
{
    return &cores[id];
}

unsigned core_ready_count(void)
{
    return __atomic_load_n(&ready, __ATOMIC_ACQUIRE);
}

void core_bind(unsigned id, struct guest *g)
{
    struct core *c = &cores[id];

    c->guests[c->guest_count++] = g;
}

static uint64_t micros_to_ticks(uint64_t us)
{
    return us * (arch_tsc_hz() / 1000) / 1000;
}

void core_wake(unsigned id)
{
    __atomic_store_n(&cores[id].wake, 1, __ATOMIC_RELEASE);
    if (id != arch_core_self())
        arch_kick(id);
}

bool core_reboot(uint64_t at)
{
    uint64_t never = NEVER;

    if (!__atomic_compare_exchange_n(&reboot_at, &never, at, false, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED))
        return false;
    core_wake(0);
    return true;
}

void core_adopt(unsigned id, struct guest *g)
{
    __atomic_fetch_or(&cores[id].incoming, 1u << g->number, __ATOMIC_RELEASE);
    core_wake(id);
}

void core_request(struct vcpu *v, uint32_t request)
{
    if (__atomic_fetch_or(&v->requests, request, __ATOMIC_ACQ_REL) & request)
        return; /* whoever set it has woken the core */
    core_wake(v->core);
}

void core_leave(struct vcpu *v, uint32_t request)
{
    __atomic_fetch_or(&v->requests, request, __ATOMIC_ACQ_REL);
    __atomic_store_n(&cores[v->core].wake, 1, __ATOMIC_RELEASE);
}

/* The core looks at `asked` again when the ration opens, see attend(): nobody wakes it before. */
void core_ask(struct vcpu *v, uint32_t request)
{
    struct core *c = &cores[v->core];

    __atomic_fetch_or(&v->asked, request, __ATOMIC_ACQ_REL);
    if (__atomic_exchange_n(&c->asked, 1, __ATOMIC_SEQ_CST))
        return; /* whoever set it has woken the core */
    if (ration_open(&c->ration, arch_tsc() + micros_to_ticks(ASK_MARGIN_US)))
        core_wake(v->core);
}

/* `wanted`: by somebody else. What has waited for long is done all the same. */
static bool has_time(const struct core *c, bool wanted, uint64_t now, uint64_t *since)
{
    if (wanted) {
        if (*since == 0)
            *since = now;
        if (now - *since < micros_to_ticks(now > c->due ? LATE_PATIENCE_US : PATIENCE_US))
            return false;
    }
    *since = 0;
    return true;
}

bool core_has_time(const struct core *c, uint64_t ticks, uint64_t *since)
{
    uint64_t now = arch_tsc();

    return has_time(c, now + ticks > c->due, now, since);
}

void core_ration_requests(uint32_t us)
{
    requests_us = us;
}

static void schedule_guest(struct core *c, struct guest *g, uint64_t now)
{
    const struct guest_config *k = &g->config;
    const struct sched_params p = {
        .weight = k->weight,
        .slice = micros_to_ticks(k->slice_us),
        .budget = micros_to_ticks(k->budget_us),
        .guaranteed = micros_to_ticks(k->guaranteed_us),
        .period = micros_to_ticks(k->period_us),
    };

    if (sched_add(&c->sched, &g->vcpus[0].sched, &p, now))
        log_guest_warn(g, "core %u cannot schedule it", c->id);
    else if (g->phase == GUEST_IDLE)
        sched_block(&c->sched, &g->vcpus[0].sched, NEVER);
}

/* Guests that were made while this core was running. */
static void take_incoming(struct core *c)
{
    uint32_t bits = __atomic_exchange_n(&c->incoming, 0, __ATOMIC_ACQ_REL);

    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        if (!(bits >> i & 1))
            continue;
        core_bind(c->id, guest_get(i));
        schedule_guest(c, guest_get(i), arch_tsc());
    }
    c->stats->vcpus = c->guest_count;
}

/* One that is gone. */
static void unbind(struct core *c, struct guest *g)
{
    c->ran = NULL;
    sched_remove(&c->sched, &g->vcpus[0].sched);
    for (unsigned i = 0; i < c->guest_count; i++)
        if (c->guests[i] == g)
            c->guests[i] = c->guests[--c->guest_count];
    c->stats->vcpus = c->guest_count;
    guest_destroy(g);
}

static void take_event(struct guest *g)
{
    if (g->phase == GUEST_LIVE)
        platform_pulse_irq(&g->platform, ABI_EVENT_IRQ);
}

/* Others do not kick this core for the same guest again for a while; it looks by itself when that
 * is over. A flood of frames costs the neighbours at most that rate. */
static void take_frames(struct core *c, struct guest *g)
{
    uint64_t quiet = arch_tsc() + micros_to_ticks(FRAMES_PAUSE_US);

    platform_frames_wait(&g->platform);
    __atomic_store_n(&g->quiet_until, quiet, __ATOMIC_RELAXED);
    c->look_at_frames = min_u64(c->look_at_frames, quiet);
}

static void take_snapshot(struct guest *g, unsigned slot)
{
    virt_backend()->snapshot(&g->vcpus[0], slot, ABI_CAUSE_REQUEST);
    core_request(&guest_management()->vcpus[0], VCPU_REQ_EVENT);
}

static void take_controls(struct guest *g)
{
    struct abi_controls_result *r = &g->vcpus[0].stats->controls;

    if (!guest_has_vcpu(g)) {
        r->result = -E_STATE;
        r->control = r->bits = 0;
    } else {
        virt_backend()->controls(&g->vcpus[0], &g->vcpus[0].new_controls, r);
    }
    __atomic_store_n(&r->sequence, r->sequence + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&g->vcpus[0].controls_busy, 0, __ATOMIC_RELEASE);
    core_request(&guest_management()->vcpus[0], VCPU_REQ_EVENT);
}

static bool take_stop(struct core *c, struct guest *g, const char *why)
{
    bool done = guest_end(g, why);

    sched_block(&c->sched, &g->vcpus[0].sched, NEVER);
    return done;
}

static bool take_delete(struct core *c, struct guest *g)
{
    if (g->phase != GUEST_IDLE) {
        (void)take_stop(c, g, "deleted by request");
        return false;
    }
    guest_begin_scrub(g);
    g->vcpus[0].sched.params.budget = 0; /* a small one would keep what it has for hours */
    sched_wake(&c->sched, &g->vcpus[0].sched, arch_tsc());
    return true;
}

static void take_state_change(struct core *c, struct guest *g, enum vcpu_request r)
{
    struct vcpu *v = &g->vcpus[0];

    if (r == VCPU_REQ_START && (g->phase == GUEST_IDLE || g->phase == GUEST_HELD_BACK)) {
        g->status->short_lives = 0;
        guest_begin_start(g);
        sched_wake(&c->sched, &v->sched, arch_tsc());
    } else if (r == VCPU_REQ_PAUSE && g->phase == GUEST_LIVE) {
        guest_pause(g);
        sched_block(&c->sched, &v->sched, NEVER);
    } else if (r == VCPU_REQ_RESUME && g->phase == GUEST_PAUSED) {
        guest_resume(g);
        sched_wake(&c->sched, &v->sched, arch_tsc());
        c->look_again = 0;
    }
}

/* One request, or a step of it. False: more of it is to do. */
static bool take_asked(struct core *c, struct guest *g, enum vcpu_request r)
{
    /* Nothing of it is left that could take one. */
    if (g->phase == GUEST_SCRUBBING || g->phase == GUEST_GONE)
        return true;
    switch (r) {
    case VCPU_REQ_STOP:
        return take_stop(c, g, "stopped by request");
    case VCPU_REQ_DELETE:
        return take_delete(c, g);
    case VCPU_REQ_CONTROLS:
        take_controls(g);
        return true;
    case VCPU_REQ_SNAPSHOT:
        if (guest_has_vcpu(g))
            take_snapshot(g, ABI_SNAPSHOT_LIVE);
        return true;
    case VCPU_REQ_KEEP:
        if (guest_has_vcpu(g))
            take_snapshot(g, ABI_SNAPSHOT_RING + g->vcpus[0].snapshots_kept++ % ABI_SNAPSHOTS_KEPT);
        return true;
    case VCPU_REQ_NMI:
        g->vcpus[0].nmi |= g->phase == GUEST_LIVE;
        return true;
    case VCPU_REQ_INPUT:
        guest_feed_input(g);
        return true;
    default:
        if (g->phase == GUEST_ENDING)
            return false; /* it is told apart from what follows */
        take_state_change(c, g, r);
        return true;
    }
}

/* Something may have happened that a guest in HLT waits for. */
static void wake_if_due(struct core *c, struct guest *g)
{
    if (g->vcpus[0].halted && g->phase == GUEST_LIVE &&
        (platform_irq_pending(&g->platform) || vcpu_takes_nmi(&g->vcpus[0]) ||
         g->platform.next_event == 0))
        sched_wake(&c->sched, &g->vcpus[0].sched, arch_tsc());
}

/* The next guest that has something in `asked`, in turn. NULL: none. */
static struct guest *next_asked(struct core *c)
{
    for (unsigned i = 0; i < c->guest_count; i++) {
        struct guest *g = c->guests[(c->turn + i) % c->guest_count];

        if (__atomic_load_n(&g->vcpus[0].asked, __ATOMIC_RELAXED)) {
            c->turn = (c->turn + i + 1) % c->guest_count;
            return g;
        }
    }
    return NULL;
}

static bool has_time_for_asked(const struct core *c, uint64_t now)
{
    return __atomic_load_n(&c->asked, __ATOMIC_SEQ_CST) && ration_open(&c->ration, now);
}

/* One of the requests that management has left, in its turn. True: there was one, and its time is
 * to be charged. */
static bool serve_asked(struct core *c)
{
    struct guest *g;
    uint32_t r;

    __atomic_store_n(&c->asked, 0, __ATOMIC_SEQ_CST);
    g = next_asked(c);
    if (!g)
        return false;
    __atomic_store_n(&c->asked, 1, __ATOMIC_SEQ_CST); /* there may be more */
    r = __atomic_load_n(&g->vcpus[0].asked, __ATOMIC_ACQUIRE);
    r &= 0 - r;
    /* Cleared before it is done: asked for meanwhile, it is done once more. */
    __atomic_fetch_and(&g->vcpus[0].asked, ~r, __ATOMIC_ACQ_REL);
    if (g->phase == GUEST_LIVE)
        g->platform.clock.now = arch_tsc();
    if (!take_asked(c, g, (enum vcpu_request)r))
        __atomic_fetch_or(&g->vcpus[0].asked, r, __ATOMIC_RELEASE);
    wake_if_due(c, g);
    return true;
}

/* Frames and events for the guests of this core. Each is bounded. */
static void serve(struct core *c, uint64_t now)
{
    /* A promise to look again is kept, whatever brought the core here before. */
    if (now >= c->look_at_frames)
        c->look_at_frames = NEVER;
    if (__atomic_load_n(&c->incoming, __ATOMIC_RELAXED))
        take_incoming(c);
    for (unsigned i = 0; i < c->guest_count; i++) {
        struct guest *g = c->guests[i];
        uint32_t r = 0;

        if (__atomic_load_n(&g->vcpus[0].requests, __ATOMIC_RELAXED))
            r = __atomic_exchange_n(&g->vcpus[0].requests, 0, __ATOMIC_ACQ_REL);
        if (g->phase == GUEST_LIVE)
            g->platform.clock.now = arch_tsc();
        if ((r & VCPU_REQ_NET) && g->phase == GUEST_LIVE)
            take_frames(c, g);
        if (r & VCPU_REQ_EVENT)
            take_event(g);
        wake_if_due(c, g);
    }
}

/* It was ended from outside, with its state and the reason set. */
static void end_hung(struct core *c, struct guest *g)
{
    guest_begin_ending(g);
    sched_wake(&c->sched, &g->vcpus[0].sched, arch_tsc()); /* it may have been asleep */
}

/* The management guest is started anew when it stops answering. Returns when to look again. */
static uint64_t watch_management(struct core *c)
{
    struct guest *m = guest_management();
    uint64_t patience = arch_tsc_hz() / 1000 * ABI_HEARTBEAT_MS;

    if (!m || m->vcpus[0].core != c->id)
        return NEVER;
    if (m->phase != GUEST_LIVE)
        return arch_tsc() + patience; /* it is being started, or held back */
    if (arch_tsc() - m->heartbeat > patience && !m->vcpus[0].stop) {
        vcpu_stop(&m->vcpus[0], ABI_GUEST_CRASHED, "no heartbeat for %u ms", ABI_HEARTBEAT_MS);
        end_hung(c, m);
        return arch_tsc() + patience;
    }
    return m->heartbeat + patience + 1;
}

/* Guests that have not written to their watchdogs end. Returns when to look again. */
static uint64_t watch_guests(struct core *c)
{
    uint64_t next = NEVER;

    for (unsigned i = 0; i < c->guest_count; i++) {
        struct guest *g = c->guests[i];
        uint64_t now = arch_tsc(), end;

        if (g->phase != GUEST_LIVE)
            continue;
        end = watchdog_deadline(&g->platform.watchdog, sched_waited(&g->vcpus[0].sched, now));
        if (now >= end) {
            vcpu_stop(&g->vcpus[0], ABI_GUEST_CRASHED,
                      "watchdog: nothing written to port 0x%x for %u ms", WATCHDOG_PORT,
                      g->config.watchdog_ms);
            end_hung(c, g);
        } else {
            next = min_u64(next, end);
        }
    }
    return next;
}

/* Tells of a guest that has come to nothing, and when it has moved on. */
static void look_whether_stuck(struct guest *g, uint64_t now)
{
    const struct vcpu_gprs *r = &g->vcpus[0].regs;
    struct vcpu_place at;
    char how[ABI_TEXT_MAX] = "";
    bool deaf;

    virt_backend()->where(&g->vcpus[0], &at);
    deaf = at.interrupts_off && !g->vcpus[0].nmi;
    switch (stuck_look(&g->vcpus[0].stuck,
                       deaf ? stuck_state(at.rip, &r->rax, sizeof(*r) / sizeof(r->rax)) : 0, deaf,
                       g->vcpus[0].stats->irqs, now, arch_tsc_hz())) {
    case STUCK_NO_NEWS:
        break;
    case STUCK_BEGINS:
        (void)fmt(how, sizeof(how),
                  at.halted ? "halted with interrupts off at RIP 0x%lx"
                            : "spins at RIP 0x%lx, with interrupts off",
                  at.rip);
        guest_set_stuck(g, how);
        break;
    case STUCK_ENDS:
        guest_set_stuck(g, how);
        break;
    }
}

/* From the moment at which the core was wanted back to that at which it is there for others, with
 * whatever the root did meanwhile. Once for each slice. */
static void note_slice_end(struct core *c, uint64_t now)
{
    uint64_t due = c->due, late = now - due;
    struct abi_vcpu *v = c->ran ? c->ran->stats : NULL;

    c->due = NEVER;
    if (now < due)
        return;
    c->stats->slice_ends++;
    abi_histogram_add(&c->stats->slice_late, late);
    c->stats->slice_late_max = max_u64(c->stats->slice_late_max, late);
    if (!v)
        return;
    v->slice_ends++;
    v->slice_late_max = max_u64(v->slice_late_max, late);
}

/* A halted vCPU whose turn has come: its timers may have raised an interrupt. False: nothing yet,
 * it sleeps on. */
static bool wake_from_halt(struct core *c, struct vcpu *v)
{
    struct platform *p = v->platform;

    p->clock.now = arch_tsc();
    if (p->clock.now >= p->next_event) {
        uint64_t late = p->clock.now - p->next_event;

        platform_timers(p);
        if (platform_irq_pending(p))
            abi_histogram_add(&v->stats->wake_late, late);
    }
    if (platform_irq_pending(p) || vcpu_takes_nmi(v))
        return true;
    sched_block(&c->sched, &v->sched, p->next_event);
    return false;
}

/* What a run ended with. */
static void after_run(struct core *c, struct guest *g, enum vcpu_yield y)
{
    switch (y) {
    case VCPU_YIELD_SLICE:
        break;
    case VCPU_YIELD_HALT:
        c->alone_until = 0;
        guest_feed_input(g);
        if (!platform_irq_pending(&g->platform))
            sched_block(&c->sched, &g->vcpus[0].sched, g->platform.next_event);
        break;
    case VCPU_YIELD_STOP:
        guest_begin_ending(g);
        break;
    case VCPU_YIELD_KICK:
        break;
    }
}

static void account(struct core *c, struct vcpu *v, uint64_t start)
{
    uint64_t now = arch_tsc();

    sched_ran(&c->sched, &v->sched, start, now);
    c->stats->busy_ticks += now - start;
    v->stats->run_ticks = v->sched.run_ticks;
    v->stats->wait_ticks = v->sched.wait_ticks;
    v->stats->halted = v->halted;
    watchdog_ran(&v->platform->watchdog, v->sched.wait_ticks);
}

/* It can wait for a slice that is long enough; a second at most. */
static bool has_time_for_stuck(const struct core *c, const struct vcpu *v, uint64_t now)
{
    return now + STUCK_TICKS < c->due || stuck_is_due(&v->stuck, now - arch_tsc_hz());
}

static void run_live(struct core *c, struct vcpu *v, uint64_t start, uint64_t until)
{
    struct guest *g = v->guest;

    if (arch_tsc() >= until)
        return; /* the choice itself took the rest of it */
    guest_feed_input(g);
    if (!v->halted && stuck_is_due(&v->stuck, start) && has_time_for_stuck(c, v, start))
        look_whether_stuck(g, start);
    if (!v->halted || wake_from_halt(c, v))
        after_run(c, g, virt_backend()->run(v, until));
}

/* Until `until`, when there is something to look at, but not from the beginning of its turn. */
static void run_entity(struct core *c, const struct sched_decision *d, uint64_t start,
                       uint64_t until)
{
    struct vcpu *v = container_of(d->entity, struct vcpu, sched);
    struct guest *g = v->guest;

    if (c->ran != v || c->alone_until == 0) /* else its turn goes on */
        c->alone_until = start + c->alone;
    c->due = d->until;
    c->ran = v;
    until = min_u64(d->until, max_u64(until, c->alone_until));
    if (g->phase == GUEST_LIVE) {
        run_live(c, v, start, until);
    } else if (g->phase != GUEST_IDLE) {
        guest_advance(g, until);
        if (g->phase == GUEST_LIVE)
            c->look_at = c->look_again = 0; /* it may have a watchdog */
    }
    if (g->phase == GUEST_IDLE)
        sched_block(&c->sched, &v->sched, NEVER);
    else if (g->phase == GUEST_HELD_BACK)
        sched_block(&c->sched, &v->sched, g->status->next_start_tsc);
    account(c, v, start);
    if (__builtin_expect(g->phase == GUEST_GONE, 0) && core_has_time(c, UNBIND_TICKS, &g->put_off))
        unbind(c, g);
}

/* Nothing can run before d->next wakes, so the core waits inside of it: its timer then reaches it
 * by one exit and one entry, without the way through here. Until `until` at the latest while it
 * sleeps. */
static void wait_inside(struct core *c, const struct sched_decision *d, uint64_t start,
                        uint64_t until)
{
    struct vcpu *v = container_of(d->next, struct vcpu, sched);
    enum vcpu_yield y;

    until = min_u64(until, sched_next_until(d));
    guest_feed_input(v->guest);
    c->due = sched_next_until(d);
    c->ran = v;
    y = virt_backend()->run(v, until);
    if (v->halted && y != VCPU_YIELD_HALT && y != VCPU_YIELD_STOP) {
        c->due = NEVER;
        c->stats->idle_ticks += arch_tsc() - start;
        return;
    }
    c->stats->idle_ticks += v->woke_at - start;
    c->alone_until = v->woke_at + c->alone;
    sched_wake(&c->sched, &v->sched, v->woke_at);
    after_run(c, v->guest, y);
    account(c, v, v->woke_at);
}

static void idle(struct core *c, const struct sched_decision *d, uint64_t now, uint64_t until)
{
    const struct vcpu *v = d->next ? container_of(d->next, struct vcpu, sched) : NULL;

    if (v && v->waits && v->halted && v->guest->phase == GUEST_LIVE) {
        if (!__atomic_load_n(&c->wake, __ATOMIC_ACQUIRE))
            wait_inside(c, d, now, until);
        return;
    }
    arch_idle(v ? min_u64(until, d->next->wake) : until, &c->wake);
    c->stats->idle_ticks += arch_tsc() - now;
}

/* Frames from the wire, in time of the management guest: a flood takes nothing from the others.
 * Only the core that the NIC was routed to ever sees net_pending() with work; bounded by
 * net_poll(). Returns when to come back. */
static uint64_t serve_nic(void)
{
    struct sched_entity *e = &guest_management()->vcpus[0].sched;
    uint64_t start = arch_tsc(), now;
    bool more;

    if (sched_exhausted(e) && start < e->period_end)
        return e->period_end;
    more = net_poll();
    now = arch_tsc();
    sched_charge(e, now - start);
    return more ? now + micros_to_ticks(FRAMES_PAUSE_US) : NEVER;
}

/* A reset was asked for, and its time has come. Returns when it will have. */
static uint64_t look_at_reboot(uint64_t now)
{
    uint64_t reboot = __atomic_load_n(&reboot_at, __ATOMIC_ACQUIRE);

    if (__builtin_expect(now >= reboot, 0))
        arch_reboot();
    return reboot;
}

/*
 * What the root does besides: the network card, the console, requests. One of them a pass, and none
 * in a pass that comes late from a slice, or from a turn that has just begun: nobody who was waited
 * for, or waits, waits for a chore too.
 */
enum chore { CHORE_NIC, CHORE_CONSOLE, CHORE_ASKED, CHORES };
struct chores {
    bool nic, console; /* this core has them */
    uint64_t next_nic, next_console;
    unsigned turn;    /* the chore that goes first */
    unsigned waiting; /* bits, of enum chore: to be looked at in the next pass */
    bool served;      /* a request, in this pass */
};

static unsigned chores_waiting(const struct core *c, const struct chores *k, uint64_t now)
{
    unsigned waiting = 0;

    if (k->nic && now >= k->next_nic && net_pending())
        waiting |= 1u << CHORE_NIC;
    if (k->console && log_is_due(now))
        waiting |= 1u << CHORE_CONSOLE;
    if (has_time_for_asked(c, now))
        waiting |= 1u << CHORE_ASKED;
    return waiting;
}

static void do_chore(struct core *c, struct chores *k, enum chore chore)
{
    uint64_t more;

    switch (chore) {
    case CHORE_NIC:
        more = serve_nic();
        k->next_nic = more == NEVER ? 0 : more;
        break;
    case CHORE_CONSOLE:
        k->next_console = log_poll();
        break;
    default:
        k->served = serve_asked(c);
    }
}

/* Returns when to look again. */
static uint64_t do_chores(struct core *c, struct chores *k, uint64_t now)
{
    bool wanted = now + CHORE_TICKS > c->due || now < c->alone_until;
    uint64_t again = NEVER;

    k->waiting = chores_waiting(c, k, now);
    if (!k->waiting)
        c->put_off = 0;
    else if (has_time(c, wanted, now, &c->put_off)) {
        unsigned behind = k->waiting >> k->turn << k->turn;
        unsigned chore = (unsigned)__builtin_ctz(behind ? behind : k->waiting);

        do_chore(c, k, (enum chore)chore);
        k->turn = (chore + 1) % CHORES;
        k->waiting &= ~(1u << chore);
    }
    if (k->console) {
        again = look_at_reboot(now);
        if (k->next_console > now)
            again = min_u64(again, k->next_console);
    }
    if (k->waiting)
        again = min_u64(again, now + micros_to_ticks(PUT_OFF_US));
    if (!ration_open(&c->ration, now))
        again = min_u64(again, c->ration.next);
    return k->next_nic > now ? min_u64(again, k->next_nic) : again;
}

/* What others have left here, and what has come due. Most passes find none of it. */
static void attend(struct core *c, struct chores *k, uint64_t back)
{
    uint64_t again, now;

    __atomic_store_n(&c->wake, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    again = do_chores(c, k, back);
    now = arch_tsc();
    note_slice_end(c, now);
    serve(c, now);
    if (now >= c->look_again)
        c->look_again = min_u64(watch_management(c), watch_guests(c));
    c->look_at = min_u64(min_u64(again, c->look_again), c->look_at_frames);
}

/* Charged is the whole way from a guest and back. */
static void charge_request(struct core *c, struct chores *k, uint64_t back, uint64_t now)
{
    k->served = false;
    ration_charge(&c->ration, back, now);
    c->look_at = min_u64(c->look_at, c->ration.next);
}

static _Noreturn void loop(struct core *c)
{
    struct chores chores = {
        .nic = guest_management()->vcpus[0].core == c->id,
        .console = c->id == 0,
        .next_console = NEVER,
    };

    for (;;) {
        uint64_t back = arch_tsc(), now;
        struct sched_decision d;

        if (__atomic_load_n(&c->wake, __ATOMIC_ACQUIRE) || back >= c->look_at || chores.waiting)
            attend(c, &chores, back);
        else
            note_slice_end(c, back);
        now = arch_tsc();
        d = sched_pick(&c->sched, now);
        if (chores.served)
            charge_request(c, &chores, back, now);
        if (d.entity)
            run_entity(c, &d, now, c->look_at);
        else if (min_u64(c->look_at, d.until) > now)
            idle(c, &d, now, min_u64(c->look_at, d.until));
    }
}

static void report(unsigned id, const char *text)
{
    (void)id;
    log_warn("%s", text);
}

static int enter_root(struct core *c)
{
    static uint8_t pages[ARCH_CORES_MAX][PAGE_SIZE] __attribute__((aligned(4096)));

    virt_backend()->core_caps(&guest_caps_page()[c->id]);
    if (virt_backend()->core_probe(c->id, report))
        return -E_NOTSUP;
    return virt_backend()->core_on(c->id, pages[c->id]);
}

static void abandon_guests(struct core *c)
{
    for (unsigned i = 0; i < c->guest_count; i++) {
        struct guest *g = c->guests[i];

        g->complete = false; /* for good: nothing can start it here */
        guest_fail(g, "its core is not in VMX root operation");
    }
}

/* The appliance has nothing to do there: test/kernel/ has. */
__attribute__((weak)) void core_is_on(const struct core *c)
{
    (void)c;
}

_Noreturn void core_run(unsigned id)
{
    struct core *c = &cores[id];
    uint64_t now = arch_tsc();

    c->id = id;
    c->stats = &guest_host_page()->cores[id];
    c->stats->id = id;
    c->stats->apic_id = arch_core_apic_id(id);
    c->stats->vcpus = c->guest_count;
    c->due = NEVER;
    sched_init(&c->sched);
    ration_init(&c->ration, requests_us, 1000);
    c->alone = micros_to_ticks(ALONE_US);
    c->vmx_root = enter_root(c) == 0;
    if (c->vmx_root) {
        c->stats->flags |= ABI_CORE_VMX_ROOT;
        log_info("in VMX root operation");
        core_is_on(c);
    } else {
        log_warn("core %u: not in VMX root operation, it stays idle", id);
        abandon_guests(c);
    }
    for (unsigned i = 0; i < c->guest_count; i++)
        schedule_guest(c, c->guests[i], now);
    __atomic_fetch_add(&ready, 1, __ATOMIC_ACQ_REL);
    loop(c);
}

#include "hv/core.h"

#include "hv/arch.h"
#include "hv/fmt.h"
#include "hv/guest_life.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/net.h"

/* So long the guests run before more frames are taken from the card, when more are there. */
#define FRAMES_PAUSE_US 50u

static struct core cores[ARCH_CORES_MAX];
static uint32_t ready;
static uint64_t reboot_at = NEVER; /* atomic; written once */
static struct {
    struct guest *guest; /* NULL: none */
    const struct arch_module *file;
} trials;
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

static void wake(struct core *c, unsigned id)
{
    __atomic_store_n(&c->wake, 1, __ATOMIC_RELEASE);
    if (id != arch_core_self())
        arch_kick(id);
}

bool core_reboot(uint64_t at)
{
    uint64_t never = NEVER;

    if (!__atomic_compare_exchange_n(&reboot_at, &never, at, false, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED))
        return false;
    wake(&cores[0], 0);
    return true;
}

void core_adopt(unsigned id, struct guest *g)
{
    __atomic_fetch_or(&cores[id].incoming, 1u << g->number, __ATOMIC_RELEASE);
    wake(&cores[id], id);
}

void core_set_entry_trials(struct guest *g, const struct arch_module *file)
{
    trials.guest = g;
    trials.file = file;
}

void core_request(struct vcpu *v, uint32_t request)
{
    struct core *c = &cores[v->core];

    if (__atomic_fetch_or(&v->requests, request, __ATOMIC_ACQ_REL) & request)
        return; /* whoever set it has woken the core */
    wake(c, v->core);
}

static uint64_t micros_to_ticks(uint64_t us)
{
    return us * (arch_tsc_hz() / 1000) / 1000;
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

    if (sched_add(&c->sched, &g->vcpu.sched, &p, now))
        log_warn("guest %s: core %u cannot schedule it", k->name, c->id);
    else if (g->phase == GUEST_IDLE)
        sched_block(&c->sched, &g->vcpu.sched, NEVER);
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
    sched_remove(&c->sched, &g->vcpu.sched);
    for (unsigned i = 0; i < c->guest_count; i++)
        if (c->guests[i] == g)
            c->guests[i] = c->guests[--c->guest_count];
    c->stats->vcpus = c->guest_count;
    guest_destroy(g);
}

/* The vCPU ended: by itself (policy decides on a restart) or by request. */
static void retire(struct core *c, struct guest *g, uint64_t restart_at)
{
    uint64_t now = arch_tsc();

    if (restart_at == NEVER || restart_at > now)
        sched_block(&c->sched, &g->vcpu.sched, restart_at);
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

static void take_snapshots(struct guest *g, uint32_t r)
{
    unsigned kept = ABI_SNAPSHOT_RING + g->snapshots_kept % ABI_SNAPSHOTS_KEPT;

    if (r & VCPU_REQ_SNAPSHOT)
        virt_backend()->snapshot(&g->vcpu, ABI_SNAPSHOT_LIVE, ABI_CAUSE_REQUEST);
    if (r & VCPU_REQ_KEEP) {
        virt_backend()->snapshot(&g->vcpu, kept, ABI_CAUSE_REQUEST);
        g->snapshots_kept++;
    }
    core_request(&guest_management()->vcpu, VCPU_REQ_EVENT);
}

static void take_controls(struct guest *g)
{
    struct abi_controls_result *r = &g->vcpu.stats->controls;

    if (guest_has_vcpu(g)) {
        virt_backend()->controls(&g->vcpu, &g->new_controls, r);
    } else {
        r->result = -E_STATE;
        (void)str_copy(r->text, sizeof(r->text), "the guest is not running");
    }
    __atomic_store_n(&r->sequence, r->sequence + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&g->controls_busy, 0, __ATOMIC_RELEASE);
    core_request(&guest_management()->vcpu, VCPU_REQ_EVENT);
}

static void take_requests(struct core *c, struct guest *g, uint32_t r)
{
    struct vcpu *v = &g->vcpu;

    /* Nothing of it is left that could take one. */
    if (g->phase == GUEST_SCRUBBING || g->phase == GUEST_GONE)
        return;
    if (r & VCPU_REQ_STOP) {
        guest_end(g, "stopped by request");
        retire(c, g, NEVER);
    }
    if ((r & VCPU_REQ_START) && (g->phase == GUEST_IDLE || g->phase == GUEST_HELD_BACK)) {
        g->status->short_lives = 0;
        guest_begin_start(g);
        sched_wake(&c->sched, &v->sched, arch_tsc());
    }
    if ((r & VCPU_REQ_PAUSE) && g->phase == GUEST_LIVE) {
        guest_pause(g);
        sched_block(&c->sched, &v->sched, NEVER);
    }
    if ((r & VCPU_REQ_RESUME) && g->phase == GUEST_PAUSED) {
        guest_resume(g);
        sched_wake(&c->sched, &v->sched, arch_tsc());
        c->look_again = 0;
    }
    if ((r & VCPU_REQ_NMI) && g->phase == GUEST_LIVE)
        v->nmi = true;
    if ((r & (VCPU_REQ_SNAPSHOT | VCPU_REQ_KEEP)) && guest_has_vcpu(g))
        take_snapshots(g, r);
    if (r & VCPU_REQ_CONTROLS)
        take_controls(g);
    if ((r & VCPU_REQ_NET) && g->phase == GUEST_LIVE)
        take_frames(c, g);
    if (r & VCPU_REQ_EVENT)
        take_event(g);
    if (r & VCPU_REQ_DELETE) {
        guest_end(g, "deleted by request");
        guest_begin_scrub(g);
        v->sched.params.budget = 0; /* a small one would keep what it has for hours */
        sched_wake(&c->sched, &v->sched, arch_tsc());
    }
}

/* Dumps take long: one guest's at a pass, between which the guests run. Others' wait for the next.
 */
static uint32_t ration_dumps(struct core *c, struct vcpu *v, uint32_t r, bool *dumped)
{
    const uint32_t dumps = VCPU_REQ_SNAPSHOT | VCPU_REQ_KEEP;

    if (!(r & dumps))
        return r;
    if (*dumped) {
        __atomic_fetch_or(&v->requests, r & dumps, __ATOMIC_RELEASE);
        __atomic_store_n(&c->wake, 1, __ATOMIC_RELEASE); /* where nobody runs: at once */
        return r & ~dumps;
    }
    *dumped = true;
    return r;
}

/* Bytes typed, frames and requests that other cores left, for every guest of this core. Each is
 * bounded. */
static void serve(struct core *c)
{
    bool dumped = false;

    /* A promise to look again is kept, whatever brought the core here before. */
    if (arch_tsc() >= c->look_at_frames)
        c->look_at_frames = NEVER;
    __atomic_store_n(&c->wake, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (__atomic_load_n(&c->incoming, __ATOMIC_RELAXED))
        take_incoming(c);
    for (unsigned i = 0; i < c->guest_count; i++) {
        struct guest *g = c->guests[i];
        uint32_t r = 0;

        if (__atomic_load_n(&g->vcpu.requests, __ATOMIC_RELAXED))
            r = ration_dumps(c, &g->vcpu,
                             __atomic_exchange_n(&g->vcpu.requests, 0, __ATOMIC_ACQ_REL), &dumped);
        if (g->phase == GUEST_LIVE) {
            g->platform.clock.now = arch_tsc();
            if (__atomic_load_n(&g->input_head, __ATOMIC_RELAXED) != g->input_tail)
                guest_feed_input(g);
        }
        if (r)
            take_requests(c, g, r);
        if (g->vcpu.halted && g->phase == GUEST_LIVE &&
            (platform_irq_pending(&g->platform) || vcpu_takes_nmi(&g->vcpu) ||
             g->platform.next_event == 0))
            sched_wake(&c->sched, &g->vcpu.sched, arch_tsc());
    }
}

/* It was ended from outside, with its state and the reason set. */
static void end_hung(struct core *c, struct guest *g)
{
    uint64_t restart_at = guest_ended(g);

    retire(c, g, restart_at);
    if (restart_at <= arch_tsc())
        sched_wake(&c->sched, &g->vcpu.sched, arch_tsc()); /* it may have been asleep */
}

/* The management guest is started anew when it stops answering. Returns when to look again. */
static uint64_t watch_management(struct core *c)
{
    struct guest *m = guest_management();
    uint64_t patience = arch_tsc_hz() / 1000 * ABI_HEARTBEAT_MS;

    if (!m || m->vcpu.core != c->id)
        return NEVER;
    if (m->phase != GUEST_LIVE)
        return arch_tsc() + patience; /* it is being started, or held back */
    if (arch_tsc() - m->heartbeat > patience && !m->vcpu.stop) {
        vcpu_stop(&m->vcpu, ABI_GUEST_CRASHED, "no heartbeat for %u ms", ABI_HEARTBEAT_MS);
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
        end = watchdog_deadline(&g->platform.watchdog, sched_waited(&g->vcpu.sched, now));
        if (now >= end) {
            vcpu_stop(&g->vcpu, ABI_GUEST_CRASHED,
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
    const struct vcpu_gprs *r = &g->vcpu.regs;
    struct vcpu_place at;
    char how[ABI_TEXT_MAX] = "";
    bool deaf;

    virt_backend()->where(&g->vcpu, &at);
    deaf = at.interrupts_off && !g->vcpu.nmi;
    switch (stuck_look(&g->vcpu.stuck,
                       deaf ? stuck_state(at.rip, &r->rax, sizeof(*r) / sizeof(r->rax)) : 0, deaf,
                       now, arch_tsc_hz())) {
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

static void note_slice_end(struct core *c, struct vcpu *v, uint64_t until, uint64_t now)
{
    uint64_t late = now > until ? now - until : 0;

    c->stats->slice_ends++;
    v->stats->slice_ends++;
    abi_histogram_add(&c->stats->slice_late, late);
    c->stats->slice_late_max = max_u64(c->stats->slice_late_max, late);
    v->stats->slice_late_max = max_u64(v->stats->slice_late_max, late);
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
static void after_run(struct core *c, struct guest *g, enum vcpu_yield y, uint64_t until)
{
    switch (y) {
    case VCPU_YIELD_SLICE:
        note_slice_end(c, &g->vcpu, until, arch_tsc());
        break;
    case VCPU_YIELD_HALT:
        sched_block(&c->sched, &g->vcpu.sched, g->platform.next_event);
        break;
    case VCPU_YIELD_STOP:
        retire(c, g, guest_ended(g));
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

static void run_entity(struct core *c, const struct sched_decision *d, uint64_t start)
{
    struct vcpu *v = container_of(d->entity, struct vcpu, sched);
    struct guest *g = v->guest;

    if (g->phase == GUEST_LIVE) {
        if (__builtin_expect(guest_host_page()->first_entry_tsc == 0, 0))
            guest_host_page()->first_entry_tsc = start;
        if (!v->halted && stuck_is_due(&v->stuck, start))
            look_whether_stuck(g, start);
        if (!v->halted || wake_from_halt(c, v))
            after_run(c, g, virt_backend()->run(v, d->until), d->until);
    } else if (g->phase != GUEST_IDLE) {
        guest_advance(g, d->until);
        if (g->phase == GUEST_LIVE)
            c->look_again = 0; /* it may have a watchdog */
    }
    if (g->phase == GUEST_IDLE)
        sched_block(&c->sched, &v->sched, NEVER);
    account(c, v, start);
    if (__builtin_expect(g->phase == GUEST_GONE, 0))
        unbind(c, g);
}

/* Nothing can run before d->next wakes, so the core waits inside of it: its timer then reaches it
 * by one exit and one entry, without the way through here. */
static void wait_inside(struct core *c, const struct sched_decision *d, uint64_t start)
{
    struct vcpu *v = container_of(d->next, struct vcpu, sched);
    uint64_t until = sched_next_until(d);
    enum vcpu_yield y = virt_backend()->run(v, until);

    if (v->halted && y != VCPU_YIELD_HALT && y != VCPU_YIELD_STOP) {
        c->stats->idle_ticks += arch_tsc() - start;
        return;
    }
    c->stats->idle_ticks += v->woke_at - start;
    sched_wake(&c->sched, &v->sched, v->woke_at);
    after_run(c, v->guest, y, until);
    account(c, v, v->woke_at);
}

static void idle(struct core *c, struct sched_decision *d, uint64_t now)
{
    const struct vcpu *v = d->next ? container_of(d->next, struct vcpu, sched) : NULL;

    if (v && v->waits && v->halted && v->guest->phase == GUEST_LIVE) {
        if (!__atomic_load_n(&c->wake, __ATOMIC_ACQUIRE))
            wait_inside(c, d, now);
        return;
    }
    arch_idle(v ? min_u64(d->until, d->next->wake) : d->until, &c->wake);
    c->stats->idle_ticks += arch_tsc() - now;
}

/* Frames from the wire, in time of the management guest: a flood takes nothing from the others.
 * Only the core that the NIC was routed to ever sees net_pending() with work; bounded by
 * net_poll(). Returns when to come back. */
static uint64_t serve_nic(void)
{
    struct sched_entity *e = &guest_management()->vcpu.sched;
    uint64_t start = arch_tsc(), now;
    bool more;

    if (sched_exhausted(e) && start < e->period_end)
        return e->period_end;
    more = net_poll();
    now = arch_tsc();
    sched_charge(e, now - start);
    return more ? now + micros_to_ticks(FRAMES_PAUSE_US) : NEVER;
}

/* What core 0 does for the machine: the serial line, the screen, a reset that was asked for.
 * Returns when to come back. */
static uint64_t serve_machine(void)
{
    uint64_t reboot = __atomic_load_n(&reboot_at, __ATOMIC_ACQUIRE);

    if (__builtin_expect(reboot != NEVER, 0) && arch_tsc() >= reboot)
        arch_reboot();
    return min_u64(log_poll(), reboot);
}

static _Noreturn void loop(struct core *c)
{
    bool nic = guest_management()->vcpu.core == c->id;
    uint64_t machine = NEVER;

    for (;;) {
        uint64_t frames = nic && net_pending() ? serve_nic() : NEVER, now;
        struct sched_decision d;

        serve(c);
        if (c->id == 0)
            machine = serve_machine();
        now = arch_tsc();
        if (now >= c->look_again)
            c->look_again = min_u64(watch_management(c), watch_guests(c));
        d = sched_pick(&c->sched, now);
        d.until = min_u64(d.until, min_u64(c->look_again, machine));
        d.until = min_u64(d.until, min_u64(frames, c->look_at_frames));
        if (d.entity)
            run_entity(c, &d, now);
        else if (d.until > now)
            idle(c, &d, now);
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

_Noreturn void core_run(unsigned id)
{
    struct core *c = &cores[id];
    uint64_t now = arch_tsc();

    c->id = id;
    c->stats = &guest_host_page()->cores[id];
    c->stats->id = id;
    c->stats->apic_id = arch_core_apic_id(id);
    c->stats->vcpus = c->guest_count;
    sched_init(&c->sched);
    c->vmx_root = enter_root(c) == 0;
    if (c->vmx_root) {
        c->stats->flags |= ABI_CORE_VMX_ROOT;
        log_info("in VMX root operation");
        if (id == 0 && trials.guest)
            virt_backend()->entry_trials(&trials.guest->vcpu, (const char *)trials.file->data,
                                         trials.file->size);
    } else {
        log_warn("core %u: not in VMX root operation, it stays idle", id);
        abandon_guests(c);
    }
    for (unsigned i = 0; i < c->guest_count; i++)
        schedule_guest(c, c->guests[i], now);
    __atomic_fetch_add(&ready, 1, __ATOMIC_ACQ_REL);
    loop(c);
}

/* The run loop of a core. */
#include "hv/core.h"

#include "hv/arch.h"
#include "hv/core_work.h"
#include "hv/exit.h"
#include "hv/fmt.h"
#include "hv/guest_life.h"
#include "hv/hostmem.h"
#include "hv/lib.h"
#include "hv/log.h"

/* No chore interrupts a turn this soon after it begins: most guests that wake are asleep again by
 * then. */
#define ALONE_US     250u
/* A slice is stretched to this at most, as what others see of its time is as old as its beginning.
 */
#define STRETCH_US   20000u
/* Measured, in ticks: forgetting a guest that goes, and the log line about one that is stuck. */
#define UNBIND_TICKS 1300u
#define STUCK_TICKS  2500u

/* A halted vCPU whose turn has come: its timers may have raised an interrupt. False: none has, it
 * sleeps on, or its time is over. */
static bool wake_from_halt(struct vcpu *v, uint64_t until)
{
    struct platform *p = v->platform;
    uint64_t now = arch_tsc(), due = irqchip_next_deadline(p, v->number), next = due;

    v->closes = run_closes(until);
    /* Devices do long work in steps. */
    while (now >= next && now < v->closes && !__atomic_load_n(&v->stop, __ATOMIC_RELAXED)) {
        exit_timers(v, now);
        if (vcpu_wakes(v)) {
            abi_histogram_add(&v->stats->wake_late, now - due);
            return true;
        }
        next = irqchip_next_deadline(p, v->number);
        now = arch_tsc();
    }
    if (vcpu_wakes(v))
        return true;
    sched_block(&v->entity.sched, irqchip_next_deadline(p, v->number));
    return false;
}

/* ---- turns ---- */

/* Reports a guest that is stuck, and when it moves again. */
static __attribute__((noinline)) void look_whether_stuck(struct vcpu *v, uint64_t now)
{
    const struct vcpu_gprs *r = &v->regs;
    struct vcpu_place at;
    char how[ABI_TEXT_MAX] = "";
    bool deaf;

    virt_backend()->where(v, &at);
    deaf = at.interrupts_off && !v->nmi;
    switch (stuck_look(&v->stuck,
                       deaf ? stuck_state(at.rip, &r->rax, sizeof(*r) / sizeof(r->rax)) : 0, deaf,
                       v->stats->irqs, now, arch_tsc_hz())) {
    case STUCK_NO_NEWS:
        break;
    case STUCK_BEGINS:
        (void)fmt(how, sizeof(how),
                  at.halted ? "halted with interrupts off at RIP 0x%lx"
                            : "spins at RIP 0x%lx, with interrupts off",
                  at.rip);
        guest_set_stuck(v, how);
        break;
    case STUCK_ENDS:
        guest_set_stuck(v, how);
        break;
    }
}

static void feed_input(struct vcpu *v)
{
    if (v == v->guest->life.partner)
        guest_feed_input(v->guest);
}

/* It waits for another vCPU of its guest: lets the one on this core that has waited longest go
 * first.
 */
static void give_turn(struct core *c, struct vcpu *v)
{
    struct sched_entity *to = NULL;

    v->spins = false;
    for (unsigned i = 0; i < c->entity_count; i++) {
        struct entity *e = c->entities[i];

        if (e->vcpu && e->guest == v->guest && e->vcpu != v && e->sched.present &&
            e->sched.runnable && (!to || e->sched.vtime < to->vtime))
            to = &e->sched;
    }
    if (to)
        sched_give_turn(&v->entity.sched, to);
}

/* Handles the end of a run. */
static void after_run(struct core *c, struct vcpu *v, enum vcpu_yield y)
{
    switch (y) {
    case VCPU_YIELD_SLICE:
        break;
    case VCPU_YIELD_KICK:
        if (__builtin_expect(v->spins, 0))
            give_turn(c, v);
        break;
    case VCPU_YIELD_HALT:
        c->alone_until = 0;
        feed_input(v);
        if (!vcpu_wakes(v))
            sched_block(&v->entity.sched, irqchip_next_deadline(v->platform, v->number));
        break;
    case VCPU_YIELD_STOP:
        sched_block(&v->entity.sched, NEVER); /* its guest's life has been notified */
        break;
    }
}

/* Another vCPU may write to the watchdog meanwhile. */
static void note_watchdog(struct vcpu *v, uint64_t waited)
{
    struct platform *p = v->platform;

    if (platform_is_shared(p))
        platform_lock(p, 0);
    watchdog_ran(&p->watchdog, waited);
    platform_leave(p, v->number);
}

static void account(struct core *c, struct entity *e, uint64_t start)
{
    const struct sched_entity *s = &e->sched;
    struct vcpu *v = vcpu_of(e);
    uint64_t now = arch_tsc();

    sched_ran(&c->sched, &e->sched, start, now);
    c->stats->busy_ticks += now - start;
    v->stats->run_ticks = s->run_ticks;
    v->stats->wait_ticks = s->wait_ticks;
    if (!v->parked)
        v->stats->activity = v->halted ? ABI_HALTED : ABI_ACTIVE;
    if (v == v->guest->life.partner)
        note_watchdog(v, s->wait_ticks);
}

/* Meanwhile core_kick_vcpu() does not wake the core; a kick that came too late for the run does.
 * What this core has left for itself does not interrupt it: it ends a stretch (core_wake()). */
static enum vcpu_yield enter(struct core *c, struct vcpu *v, uint64_t until)
{
    enum vcpu_yield y;

    __atomic_store_n(&c->inside, v, __ATOMIC_SEQ_CST);
    v->closes = run_closes(until);
    if (__builtin_expect(core_is_stretched(c), 0)) {
        if (__atomic_load_n(&c->wake, __ATOMIC_RELAXED))
            until = min_u64(until, c->due = c->slice_end);
        v->closes = run_closes(min_u64(until, c->slice_end));
    }
    y = virt_backend()->run(v, until);
    __atomic_store_n(&c->inside, NULL, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(&v->entity.requests, __ATOMIC_SEQ_CST) & VCPU_REQ_EVENT)
        __atomic_store_n(&c->wake, 1, __ATOMIC_RELEASE);
    return y;
}

/* The check can wait for a slice that is long enough, but at most a second. */
static bool has_time_for_stuck(const struct core *c, const struct vcpu *v, uint64_t now)
{
    return now + STUCK_TICKS < c->due || stuck_is_due(&v->stuck, now - arch_tsc_hz());
}

static void run_live(struct core *c, struct vcpu *v, uint64_t start, uint64_t until)
{
    if (arch_tsc() >= until)
        return; /* choosing it took the rest of its time */
    feed_input(v);
    if (!v->halted && stuck_is_due(&v->stuck, start) && has_time_for_stuck(c, v, start))
        look_whether_stuck(v, start);
    if (!v->halted || wake_from_halt(v, until))
        after_run(c, v, enter(c, v, until));
}

static void run_vcpu(struct core *c, struct vcpu *v, uint64_t start, uint64_t until)
{
    if (v->phase == VCPU_LIVE && !v->parked)
        run_live(c, v, start, until);
    else
        vcpu_advance(v, until);
    if (vcpu_has_no_work(v))
        sched_block(&v->entity.sched, NEVER);
    account(c, &v->entity, start);
}

/* Afterwards its number may be another guest's. */
static void let_go(struct core *c, struct guest *g)
{
    if (!core_has_time(c, UNBIND_TICKS, &g->life.put_off) || !guest_let_go(g))
        return;
    core_unbind(c, &g->life.entity);
    guest_destroy(g);
}

static void run_life(struct core *c, struct guest *g, uint64_t start, uint64_t until)
{
    guest_advance(g, until);
    account(c, &g->life.entity, start);
    core_reschedule(c, g);
    if (g->life.phase == GUEST_LIVE)
        c->look_at = c->look_again = 0; /* it may have a watchdog */
    else if (__builtin_expect(g->life.phase == GUEST_GONE, 0))
        let_go(c, g);
}

/* The root's own work has no exits, so its slices are not stretched: it would not notice a kick.
 * Typed bytes are moved between two slices. */
static bool may_stretch(const struct entity *e)
{
    const struct vcpu *v = e->vcpu;

    return v && v->phase == VCPU_LIVE && !v->halted && !guest_has_input(e->guest);
}

/* Runs the entity until `until`, when other work is due, but that does not shorten the beginning of
 * its turn. */
static void run_entity(struct core *c, const struct sched_decision *d, uint64_t start,
                       uint64_t until)
{
    struct entity *e = container_of(d->entity, struct entity, sched);

    if (c->ran != e || c->alone_until == 0) /* otherwise its turn continues */
        c->alone_until = start + c->alone;
    c->due = c->slice_end = d->until;
    c->ran = e;
    if (__builtin_expect(c->put_off != 0, 0) && core_chore_goes_first(c, start))
        return;
    if (d->until - start == e->sched.params.slice && may_stretch(e))
        c->due = sched_stretch(&c->sched, &e->sched, start);
    until = min_u64(c->due, max_u64(until, c->alone_until));
    if (e->vcpu)
        run_vcpu(c, e->vcpu, start, until);
    else
        run_life(c, e->guest, start, until);
}

/* Nothing can run before d->next wakes, so the core waits inside it: its timer then reaches it by
 * one exit and one entry, without returning here. It sleeps at most until `until`. */
static void wait_inside(struct core *c, struct vcpu *v, const struct sched_decision *d,
                        uint64_t start, uint64_t until)
{
    enum vcpu_yield y;

    until = min_u64(until, sched_next_until(d));
    feed_input(v);
    c->due = c->slice_end = sched_next_until(d);
    c->ran = &v->entity;
    y = enter(c, v, until);
    if (v->halted && y != VCPU_YIELD_HALT && y != VCPU_YIELD_STOP) {
        c->due = NEVER;
        c->stats->idle_ticks += arch_tsc() - start;
        return;
    }
    c->stats->idle_ticks += v->woke_at - start;
    c->alone_until = v->woke_at + c->alone;
    sched_wake(&c->sched, &v->entity.sched, v->woke_at);
    after_run(c, v, y);
    account(c, &v->entity, v->woke_at);
}

static void idle(struct core *c, const struct sched_decision *d, uint64_t now, uint64_t until)
{
    struct vcpu *v = d->next ? container_of(d->next, struct entity, sched)->vcpu : NULL;

    if (v && v->waits && v->halted && v->phase == VCPU_LIVE) {
        if (!__atomic_load_n(&c->wake, __ATOMIC_ACQUIRE))
            wait_inside(c, v, d, now, until);
        return;
    }
    arch_idle(d->next ? min_u64(until, d->next->wake) : until, &c->wake);
    c->stats->idle_ticks += arch_tsc() - now;
}

void core_pass(struct core *c)
{
    uint64_t back = arch_tsc(), now;
    struct sched_decision d;

    if (__atomic_load_n(&c->wake, __ATOMIC_ACQUIRE) || back >= c->look_at || c->chores.waiting)
        core_attend(c, back);
    else
        core_note_slice_end(c, back);
    now = arch_tsc();
    d = sched_pick(&c->sched, now);
    if (c->chores.served)
        core_charge_request(c, back, now);
    if (d.entity)
        run_entity(c, &d, now, c->look_at);
    else if (min_u64(c->look_at, d.until) > now)
        idle(c, &d, now, min_u64(c->look_at, d.until));
}

/* ---- set-up ---- */

static int enter_root(struct core *c)
{
    void *page;

    virt_backend()->core_caps(&guest_pages()->caps[c->id]);
    if (virt_backend()->core_probe(c->id))
        return -E_NOTSUP;
    page = hostmem_alloc_zeroed(PAGE_SIZE, MEM_HOST);
    return page ? virt_backend()->core_on(c->id, page) : -E_NOMEM;
}

/* The machine is useless without management: if its core cannot run it, the boot core does. */
static void give_management_away(struct core *c)
{
    struct guest *m = guest_management();

    if (!m || m->life.entity.core != c->id || c->id == 0)
        return;
    log_warn("core %u: management goes on core 0 instead", c->id);
    c->entity_count = c->vcpu_count = 0;
    m->life.entity.core = m->status->core = 0;
    FOR_EACH_VCPU (v, m) {
        v->entity.core = 0;
        v->stats->core = 0;
    }
    core_adopt(m);
}

/* The appliance does nothing here; test/kernel/ overrides it. */
__attribute__((weak)) void core_is_on(const struct core *c)
{
    (void)c;
}

void core_set_up(unsigned id)
{
    struct core *c = core_get(id);
    uint64_t now = arch_tsc();

    c->id = id;
    c->stats = &guest_pages()->host->cores[id];
    c->stats->id = id;
    c->stats->apic_id = arch_core_apic_id(id);
    c->due = NEVER;
    sched_init(&c->sched);
    core_set_up_work(c);
    c->alone = micros_to_ticks(ALONE_US);
    c->sched.stretch = micros_to_ticks(STRETCH_US);
    c->vmx_root = enter_root(c) == 0;
    if (c->vmx_root) {
        c->stats->flags |= ABI_CORE_VMX_ROOT;
        log_info("in %s", virt_backend()->root);
        core_is_on(c);
    } else {
        log_warn("core %u: not in %s: the core stays idle", id, virt_backend()->root);
        give_management_away(c);
    }
    c->stats->vcpus = c->vcpu_count;
    for (unsigned i = 0; i < c->entity_count; i++)
        core_schedule(c, c->entities[i], now);
    core_count_ready();
}

_Noreturn void core_run(unsigned id)
{
    core_set_up(id);
    for (;;)
        core_pass(core_get(id));
}

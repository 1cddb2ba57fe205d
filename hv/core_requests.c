/* Serves management's requests to guests and vCPUs, one at a time as time allows, and what other
 * cores have left for them. */
#include "hv/arch.h"
#include "hv/core.h"
#include "hv/core_work.h"
#include "hv/guest_life.h"
#include "hv/net.h"
#include "hv/pc/irqchip.h"

/* For this long no core kicks this one again for frames or doorbells of the same guest. */
#define QUIET_US        50u
/* It looks this long after that: another core may just have decided not to kick it. */
#define QUIET_MARGIN_US 5u

/* ---- requests from management ---- */

static void take_snapshot(struct vcpu *v, unsigned slot)
{
    vcpu_snapshot(v, slot, ABI_CAUSE_REQUEST);
    guest_tell_management(NULL);
}

static void take_controls(struct vcpu *v)
{
    struct abi_controls_result *r = &v->stats->controls;

    if (!vcpu_is_there(v)) {
        r->result = -E_STATE;
        r->control = r->bits = 0;
    } else {
        virt_backend()->controls(v, &v->new_controls, r);
    }
    __atomic_store_n(&r->sequence, r->sequence + 1, __ATOMIC_RELEASE);
    __atomic_store_n(&v->controls_busy, 0, __ATOMIC_RELEASE);
    guest_tell_management(NULL);
}

/* Its guest has been shown as running, but this core has not yet begun to run it: or it is held
 * already, and the guest not yet shown as paused. */
static bool is_about_to_change(const struct vcpu *v)
{
    return v->phase == VCPU_HELD &&
           __atomic_load_n(&v->guest->status->state, __ATOMIC_ACQUIRE) == ABI_GUEST_RUNNING;
}

/* One request, or a step of it. False: not finished. */
static bool take_vcpu(struct vcpu *v, enum vcpu_request r)
{
    if (r == VCPU_REQ_END) {
        vcpu_step(v);
        return v->phase != VCPU_ENDING;
    }
    if (is_about_to_change(v))
        return false;
    switch (r) {
    case VCPU_REQ_CONTROLS:
        take_controls(v);
        return true;
    case VCPU_REQ_SNAPSHOT:
        if (vcpu_is_there(v))
            take_snapshot(v, ABI_SNAPSHOT_LIVE);
        return true;
    case VCPU_REQ_KEEP:
        if (vcpu_is_there(v))
            take_snapshot(v, ABI_SNAPSHOT_RING + v->snapshots_kept++ % ABI_SNAPSHOTS_KEPT);
        return true;
    default:
        if (v->phase == VCPU_LIVE)
            vcpu_take_nmi(v);
        return true;
    }
}

static bool take_delete(struct guest *g)
{
    struct sched_params *p = &g->life.entity.sched.params;

    g->life.deleted = true;
    if (g->life.phase != GUEST_IDLE) {
        (void)guest_end_by_request(g, "deleted by request");
        return false;
    }
    /* Without a share of the core it cannot claim what others were promised meanwhile. */
    if (!g->complete)
        p->guaranteed = 0;
    p->budget = 0; /* with a small one scrubbing would take hours */
    guest_begin_scrub(g);
    return true;
}

static void take_state_change(struct core *c, struct guest *g, enum guest_request r)
{
    enum guest_phase phase = g->life.phase;

    if (r == GUEST_REQ_START && (phase == GUEST_IDLE || phase == GUEST_HELD_BACK)) {
        g->status->short_lives = 0;
        guest_begin_start(g);
    } else if (r == GUEST_REQ_PAUSE && phase == GUEST_LIVE) {
        guest_pause(g);
    } else if (r == GUEST_REQ_RESUME && phase == GUEST_PAUSED) {
        guest_resume(g);
        c->look_again = 0;
    }
}

static bool take_guest(struct core *c, struct guest *g, enum guest_request r)
{
    switch (g->life.phase) {
    case GUEST_SCRUBBING:
    case GUEST_GONE:
        return true; /* nothing is left of it to act on */
    default:
        break;
    }
    switch (r) {
    case GUEST_REQ_STOP:
        return guest_end_by_request(g, "stopped by request");
    case GUEST_REQ_DELETE:
        return take_delete(g);
    case GUEST_REQ_INPUT:
        guest_feed_input(g);
        return true;
    default:
        /* Waits for the end of a change under way, so that both are reported. */
        if (g->life.phase == GUEST_LEAVING || g->life.phase == GUEST_ENDING ||
            g->life.phase == GUEST_PAUSING)
            return false;
        take_state_change(c, g, r);
        return true;
    }
}

/* An event that a vCPU in HLT waits for may have happened. */
static void wake_if_due(struct core *c, struct vcpu *v)
{
    uint64_t due = irqchip_next_deadline(v->platform, v->number);

    if (!v->halted || v->phase != VCPU_LIVE)
        return;
    if (vcpu_wakes(v) || due == 0)
        sched_wake(&c->sched, &v->entity.sched, arch_tsc());
    else if (!v->entity.sched.runnable)
        sched_block(&v->entity.sched, due); /* it may be earlier now */
}

/* The next entity, in turn, with a request in `asked`. NULL: none. */
static struct entity *next_asked(struct core *c)
{
    for (unsigned i = 0; i < c->entity_count; i++) {
        struct entity *e = c->entities[(c->turn + i) % c->entity_count];

        if (__atomic_load_n(&e->asked, __ATOMIC_RELAXED)) {
            c->turn = (c->turn + i + 1) % c->entity_count;
            return e;
        }
    }
    return NULL;
}

bool core_has_time_for_asked(const struct core *c, uint64_t now)
{
    return __atomic_load_n(&c->asked, __ATOMIC_SEQ_CST) && ration_open(&c->ration, now);
}

static bool take(struct core *c, struct entity *e, uint32_t r)
{
    bool done;

    if (e->vcpu) {
        done = take_vcpu(e->vcpu, (enum vcpu_request)r);
        wake_if_due(c, e->vcpu);
        return done;
    }
    done = take_guest(c, e->guest, (enum guest_request)r);
    core_reschedule(c, e->guest);
    wake_if_due(c, e->guest->life.partner);
    return done;
}

bool core_serve_asked(struct core *c)
{
    struct entity *e;
    uint32_t r;

    __atomic_store_n(&c->asked, 0, __ATOMIC_SEQ_CST);
    e = next_asked(c);
    if (!e)
        return false;
    __atomic_store_n(&c->asked, 1, __ATOMIC_SEQ_CST); /* there may be more */
    r = __atomic_load_n(&e->asked, __ATOMIC_ACQUIRE);
    r &= 0 - r;
    /* Cleared before it is served: a request that comes meanwhile is served once more. */
    __atomic_fetch_and(&e->asked, ~r, __ATOMIC_ACQ_REL);
    if (!take(c, e, r))
        __atomic_fetch_or(&e->asked, r, __ATOMIC_RELEASE);
    return true;
}

/* ---- requests from the root itself ---- */

/* Frames and doorbells. For a while other cores do not kick this one for the same guest again; it
 * looks by itself after that. This bounds the rate at which a flood of them costs the neighbours.
 */
static void take_arrivals(struct core *c, struct guest *g, uint32_t r)
{
    uint64_t quiet = arch_tsc() + micros_to_ticks(QUIET_US);

    platform_enter(&g->platform, arch_tsc());
    if (r & GUEST_REQ_NET)
        platform_frames_wait(&g->platform);
    if (r & GUEST_REQ_RING)
        platform_bells_ring(&g->platform);
    platform_leave(&g->platform, 0);
    __atomic_store_n(&g->quiet_until, quiet, __ATOMIC_RELAXED);
    c->look_at_frames = min_u64(c->look_at_frames, quiet + micros_to_ticks(QUIET_MARGIN_US));
}

static void raise_event(struct guest *g)
{
    platform_enter(&g->platform, arch_tsc());
    irqchip_pulse(&g->platform, ABI_EVENT_IRQ);
    platform_leave(&g->platform, 0);
}

static void serve_guest(struct core *c, struct guest *g, uint32_t r)
{
    if (g->life.phase == GUEST_LIVE) {
        if (r & (GUEST_REQ_NET | GUEST_REQ_RING))
            take_arrivals(c, g, r);
        if (r & GUEST_REQ_EVENT)
            raise_event(g);
    }
    if (r & GUEST_REQ_END)
        guest_begin_ending(g);
    if (r & GUEST_REQ_VCPU)
        guest_on_vcpus(g);
    if (r & (GUEST_REQ_END | GUEST_REQ_VCPU))
        core_reschedule(c, g);
    wake_if_due(c, g->life.partner);
}

static void obey(struct core *c, struct vcpu *v)
{
    enum vcpu_phase before = v->phase;

    vcpu_obey(v);
    if (vcpu_has_no_work(v))
        sched_block(&v->entity.sched, NEVER);
    else if (v->phase != before)
        sched_wake(&c->sched, &v->entity.sched, arch_tsc()); /* it may have been asleep */
}

/* INIT takes its turns away, SIPI gives them back. */
static void take_ipis(struct core *c, struct vcpu *v)
{
    bool parked = v->parked;

    vcpu_take_ipis(v);
    if (vcpu_has_no_work(v))
        sched_block(&v->entity.sched, NEVER);
    else if (parked && !v->parked)
        sched_wake(&c->sched, &v->entity.sched, arch_tsc());
}

/* False: it is not bound to this core any more. */
static bool serve_vcpu(struct core *c, struct vcpu *v, uint32_t r)
{
    if (r & VCPU_REQ_FLUSH)
        vcpu_flush(v);
    if ((r & VCPU_REQ_OBEY) && guest_ordered(v->guest) == VCPU_GONE) {
        core_unbind(c, &v->entity);
        vcpu_obey(v); /* last use of the vCPU: after this its guest may be another one */
        return false;
    }
    if (r & VCPU_REQ_OBEY)
        obey(c, v);
    if (r & VCPU_REQ_IPI)
        take_ipis(c, v);
    wake_if_due(c, v);
    return true;
}

/* When it must look at the next guest for which something may have come without a kick. */
static uint64_t next_arrivals(const struct core *c, uint64_t now)
{
    uint64_t first = NEVER, margin = micros_to_ticks(QUIET_MARGIN_US);

    for (unsigned i = 0; i < c->entity_count; i++) {
        uint64_t quiet = __atomic_load_n(&c->entities[i]->guest->quiet_until, __ATOMIC_RELAXED);

        if (quiet + margin > now)
            first = min_u64(first, quiet + margin);
    }
    return first;
}

/* Each is bounded. */
void core_serve(struct core *c, uint64_t now)
{
    /* A promise to look again is kept, whatever brought the core here before. */
    if (now >= c->look_at_frames)
        c->look_at_frames = next_arrivals(c, now);
    if (__atomic_load_n(&c->incoming, __ATOMIC_RELAXED))
        core_take_incoming(c);
    for (unsigned i = 0; i < c->entity_count;) {
        struct entity *e = c->entities[i];
        uint32_t r = 0;

        if (__atomic_load_n(&e->requests, __ATOMIC_RELAXED))
            r = __atomic_exchange_n(&e->requests, 0, __ATOMIC_ACQ_REL);
        if (e->vcpu && !serve_vcpu(c, e->vcpu, r))
            continue;
        if (!e->vcpu && r)
            serve_guest(c, e->guest, r);
        i++;
    }
}

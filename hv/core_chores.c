/* A core's work besides running guests: the network card, the console, requests, and watching
 * guests whose watchdog or heartbeat may have expired. */
#include "hv/arch.h"
#include "hv/core.h"
#include "hv/core_work.h"
#include "hv/guest_life.h"
#include "hv/log.h"
#include "hv/net.h"

/* While the card has more frames, guests run this long before the next are taken. */
#define FRAMES_PAUSE_US 50u
/* Delayed work is tried again in each pass, and at the latest after this long: a slice whose end
 * delayed it is over by then. */
#define PUT_OFF_US      100u
/* Measured, in ticks: the longest chore. */
#define CHORE_TICKS     1900u
/* What must be left of a slice in which one goes first: it may exceed it a little. */
#define CHORE_ROOM      1000u

/* Planned looks at watchdogs and heartbeat are at most this far apart. One that comes later than
 * STILL_MS after its time shows that the whole core stood still: firmware held it, or whatever runs
 * a virtual machine. That time is nobody's silence. */
#define WATCH_MS        500u
#define STILL_MS        100u

static uint32_t requests_us;
static uint64_t reboot_at = NEVER; /* atomic; written once */

bool core_reboot(uint64_t at)
{
    uint64_t never = NEVER;

    if (!__atomic_compare_exchange_n(&reboot_at, &never, at, false, __ATOMIC_RELEASE,
                                     __ATOMIC_RELAXED))
        return false;
    core_wake(0);
    return true;
}

void core_ration_requests(uint32_t us)
{
    requests_us = us;
}

/* Ticks for which the core stood still before a look at `now`. */
static uint64_t stood_still(const struct core *c, uint64_t now)
{
    bool planned = c->look_again && c->look_again != NEVER;

    return planned && now - c->look_again > micros_to_ticks(1000 * STILL_MS) ? now - c->look_again
                                                                             : 0;
}

/* Restarts the management guest if it stops responding. Returns when to check again. */
static uint64_t watch_management(struct core *c, uint64_t still)
{
    struct guest *m = guest_management();
    uint64_t patience = micros_to_ticks(1000 * ABI_HEARTBEAT_MS);

    if (!m || m->life.entity.core != c->id)
        return NEVER;
    if (m->life.phase != GUEST_LIVE)
        return arch_tsc() + patience; /* it is being started, or held back */
    m->life.heartbeat = min_u64(m->life.heartbeat + still, arch_tsc());
    if (arch_tsc() - m->life.heartbeat > patience) {
        (void)guest_end(m, ABI_GUEST_CRASHED, "no heartbeat for %u ms", ABI_HEARTBEAT_MS);
        return arch_tsc() + patience;
    }
    return m->life.heartbeat + patience + 1;
}

/* Ends guests that have not written to their watchdogs. Returns when to check again. */
static uint64_t watch_guests(struct core *c, uint64_t still)
{
    uint64_t next = NEVER;

    for (unsigned i = 0; i < c->entity_count; i++) {
        struct guest *g = c->entities[i]->guest;
        uint64_t now = arch_tsc(), waited, end;

        if (c->entities[i]->vcpu || g->life.phase != GUEST_LIVE)
            continue;
        platform_enter(&g->platform, now);
        waited = sched_waited(&g->life.partner->entity.sched, now);
        watchdog_excuse(&g->platform.watchdog, now, waited, still);
        end = watchdog_deadline(&g->platform.watchdog, waited);
        platform_leave(&g->platform, 0);
        if (now >= end) {
            guest_end(g, ABI_GUEST_CRASHED, "watchdog: nothing written to port 0x%x for %u ms",
                      WATCHDOG_PORT, g->config.watchdog_ms);
        } else {
            next = min_u64(next, end);
        }
    }
    return next;
}

/* Its life or the vCPU on the same core, whichever has their place in the scheduler. */
static struct sched_entity *guest_time(struct guest *g)
{
    struct sched_entity *life = &g->life.entity.sched;

    return life->present ? life : &g->life.partner->entity.sched;
}

/* Takes frames from the wire, in the management guest's time: a flood takes nothing from the
 * others. Only management's core asks for any, and net_poll() bounds the work. Returns when to come
 * back. */
static uint64_t serve_nic(void)
{
    struct sched_entity *e = guest_time(guest_management());
    uint64_t start = arch_tsc(), now, next;

    if (sched_exhausted(e) && start < e->period_end)
        return e->period_end;
    next = net_poll(start);
    now = arch_tsc();
    sched_charge(e, now - start);
    return next == start ? now + micros_to_ticks(FRAMES_PAUSE_US) : next;
}

/* Returns when to look again. */
static uint64_t watch(struct core *c, uint64_t now)
{
    uint64_t still = stood_still(c, now);
    uint64_t next = min_u64(watch_management(c, still), watch_guests(c, still));

    return next == NEVER ? NEVER : min_u64(next, now + micros_to_ticks(1000 * WATCH_MS));
}

/* Resets the machine if a requested reset is due. Returns when it will be. */
static uint64_t look_at_reboot(uint64_t now)
{
    uint64_t reboot = __atomic_load_n(&reboot_at, __ATOMIC_ACQUIRE);

    if (__builtin_expect(now >= reboot, 0))
        arch_reboot();
    return reboot;
}

/*
 * The root's other work: the network card, the console, requests. One of them per pass, and none in
 * a pass that comes late from a slice or from a turn that has just begun: an entity that is already
 * late does not wait for a chore too.
 */
enum chore { CHORE_NIC, CHORE_CONSOLE, CHORE_ASKED, CHORES };

/* The network card's interrupts go to management's core. */
static bool has_nic(const struct core *c)
{
    const struct guest *m = guest_management();

    return m && m->life.entity.core == c->id;
}

static unsigned chores_waiting(const struct core *c, uint64_t now)
{
    const struct chores *k = &c->chores;
    unsigned waiting = 0;

    if (has_nic(c) && now >= k->next_nic && net_pending())
        waiting |= 1u << CHORE_NIC;
    if (k->console && log_is_due(now))
        waiting |= 1u << CHORE_CONSOLE;
    if (core_has_time_for_asked(c, now))
        waiting |= 1u << CHORE_ASKED;
    return waiting;
}

static void do_chore(struct core *c, enum chore chore)
{
    struct chores *k = &c->chores;
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
        k->served = core_serve_asked(c);
    }
}

bool core_chore_goes_first(struct core *c, uint64_t now)
{
    const struct entity *e = c->ran;
    bool wakes = e->vcpu && e->vcpu->halted;
    bool fits = now + CHORE_ROOM <= c->due && !wakes && !e->sched.params.guaranteed;
    uint32_t patience = fits ? PATIENCE_US : LATE_PATIENCE_US;

    c->chores.first = now - c->put_off >= micros_to_ticks(patience);
    return c->chores.first;
}

/* At the end of a slice a chore would add to what the slice is late. */
static bool has_time_for_chore(struct core *c, uint64_t now)
{
    bool wanted = now + CHORE_TICKS > c->due || now < c->alone_until;

    if (!wanted || c->chores.first) {
        c->put_off = 0;
        c->chores.first = false;
        return true;
    }
    if (c->put_off == 0)
        c->put_off = now;
    return false;
}

/* Returns when to look again. */
static uint64_t do_chores(struct core *c, uint64_t now)
{
    struct chores *k = &c->chores;
    uint64_t again = NEVER;

    k->waiting = chores_waiting(c, now);
    if (!k->waiting) {
        c->put_off = 0;
        k->first = false;
    } else if (has_time_for_chore(c, now)) {
        unsigned behind = k->waiting >> k->turn << k->turn;
        unsigned chore = (unsigned)__builtin_ctz(behind ? behind : k->waiting);

        do_chore(c, (enum chore)chore);
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

/* Records how late a slice ended: from the time it was due until the core is free for others,
 * including the root's work in between. Once for each slice. */
void core_note_slice_end(struct core *c, uint64_t now)
{
    uint64_t due = c->due, late = now - due;
    struct abi_vcpu *v = c->ran ? vcpu_of(c->ran)->stats : NULL;

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

void core_attend(struct core *c, uint64_t back)
{
    uint64_t again, now;

    __atomic_store_n(&c->wake, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    again = do_chores(c, back);
    now = arch_tsc();
    core_note_slice_end(c, now);
    core_serve(c, now);
    if (now >= c->look_again)
        c->look_again = watch(c, now);
    c->look_at = min_u64(min_u64(again, c->look_again), c->look_at_frames);
}

void core_charge_request(struct core *c, uint64_t back, uint64_t now)
{
    c->chores.served = false;
    ration_charge(&c->ration, back, now);
    c->look_at = min_u64(c->look_at, c->ration.next);
}

void core_set_up_work(struct core *c)
{
    ration_init(&c->ration, requests_us, 1000);
    c->chores = (struct chores){
        .console = c->id == 0,
        .next_console = NEVER,
    };
}

/* The cores, and what others leave for them. Nothing here needs a run loop, a guest's life or a
 * page. */
#include "hv/arch.h"
#include "hv/core.h"
#include "hv/core_work.h"
#include "hv/exit.h"
#include "hv/hostmem.h"

/* A core is woken for a request that comes this shortly before its ration opens: it may already
 * have looked. */
#define ASK_MARGIN_US 50u

static struct core *cores; /* arch_core_count() of them */
static uint32_t ready;
_Static_assert(ARCH_CORES_MAX <= ABI_CORES_MAX, "every core has its row in the shared page");

int core_make(void)
{
    cores = hostmem_alloc_zeroed(arch_core_count() * sizeof(*cores), MEM_HOST);
    return cores ? 0 : -E_NOMEM;
}

struct core *core_get(unsigned id)
{
    return &cores[id];
}

unsigned core_ready_count(void)
{
    return __atomic_load_n(&ready, __ATOMIC_ACQUIRE);
}

void core_count_ready(void)
{
    __atomic_fetch_add(&ready, 1, __ATOMIC_ACQ_REL);
}

/* The core looks at what it has left for itself when its slice ends. If that is stretched, it ends
 * when it would have ended otherwise, or now. The request makes the run that it is in look. */
static void end_stretch(struct core *c)
{
    struct vcpu *v = c->inside;

    if (!v || !core_is_stretched(c))
        return;
    c->due = max_u64(c->slice_end, arch_tsc());
    v->until = min_u64(v->until, c->due);
    v->closes = min_u64(v->closes, run_closes(v->until));
    __atomic_fetch_or(&v->entity.requests, VCPU_REQ_UNTIL, __ATOMIC_RELAXED);
}

void core_wake(unsigned id)
{
    __atomic_store_n(&cores[id].wake, 1, __ATOMIC_RELEASE);
    if (id != arch_core_self())
        arch_kick(id);
    else
        end_stretch(&cores[id]);
}

static bool is_first_on_its_core(const struct vcpu *v)
{
    for (const struct vcpu *w = v->guest->vcpus; w < v; w++)
        if (w->entity.core == v->entity.core)
            return false;
    return true;
}

/* The life is on the core of vCPU 0. */
void core_adopt(struct guest *g)
{
    FOR_EACH_VCPU (v, g) {
        if (!is_first_on_its_core(v))
            continue;
        __atomic_fetch_or(&cores[v->entity.core].incoming, 1u << g->number, __ATOMIC_RELEASE);
        core_wake(v->entity.core);
    }
}

/* ---- what is left for them ---- */

/* A vCPU that runs on the core of its guest's life must exit for the guest's requests too. True: a
 * request was already set, and its sender has woken the core. */
static bool post(struct entity *e, uint32_t request)
{
    struct vcpu *partner = e->vcpu ? NULL : e->guest->life.partner;
    bool there = __atomic_fetch_or(&e->requests, request, __ATOMIC_ACQ_REL) & request;

    if (partner)
        there &= (__atomic_fetch_or(&partner->entity.requests, VCPU_REQ_GUEST, __ATOMIC_ACQ_REL) &
                  VCPU_REQ_GUEST) != 0;
    return there;
}

void core_request(struct entity *e, uint32_t request)
{
    unsigned id = e->core;

    if (!post(e, request))
        core_wake(id);
}

static bool is_inside(const struct core *c, const struct vcpu *v)
{
    return __atomic_load_n(&c->inside, __ATOMIC_SEQ_CST) == v;
}

void core_kick_vcpu(struct vcpu *v)
{
    const struct core *c = core_get(v->entity.core);
    bool here = c->id == arch_core_self();

    if (here && c->ran == &v->entity && !v->halted)
        return;
    if (!here && is_inside(c, v)) {
        /* Its run takes an event without returning to the core's loop. */
        bool there = __atomic_fetch_or(&v->entity.requests, VCPU_REQ_EVENT, __ATOMIC_SEQ_CST) &
                     VCPU_REQ_EVENT;

        /* If it is still inside, the core sees the request when it leaves, see enter(). If not, it
         * may have looked before the request was there. */
        if (!is_inside(c, v))
            core_wake(c->id);
        else if (!there)
            arch_kick(c->id);
        return;
    }
    core_request(&v->entity, VCPU_REQ_EVENT);
}

/* A core that has just left the run of the vCPU looks at its signals after that (vcpu_wakes()),
 * before the next run at the latest. It takes the notification itself then, or another vCPU does,
 * and finds nothing: that has no effect. */
void core_notify_vcpu(struct vcpu *v)
{
    const struct core *c = core_get(v->entity.core);

    if (c->id != arch_core_self() && is_inside(c, v))
        arch_notify(c->id);
    else
        core_kick_vcpu(v);
}

bool exit_core_is_wanted(const struct vcpu *v)
{
    return __atomic_load_n(&core_get(v->entity.core)->wake, __ATOMIC_ACQUIRE);
}

void core_leave(struct entity *e, uint32_t request)
{
    (void)post(e, request);
    __atomic_store_n(&cores[e->core].wake, 1, __ATOMIC_RELEASE);
}

/* The core examines `asked` when the ration opens, see core_attend(): no need to wake it before. */
void core_ask(struct entity *e, uint32_t request)
{
    struct core *c = core_get(e->core);

    __atomic_fetch_or(&e->asked, request, __ATOMIC_ACQ_REL);
    if (__atomic_exchange_n(&c->asked, 1, __ATOMIC_SEQ_CST))
        return; /* the core that set it has woken this one */
    if (ration_open(&c->ration, arch_tsc() + micros_to_ticks(ASK_MARGIN_US)))
        core_wake(e->core);
}

bool core_has_time(const struct core *c, uint64_t ticks, uint64_t *since)
{
    uint64_t now = arch_tsc(), patience = now > core_close(c) ? LATE_PATIENCE_US : PATIENCE_US;

    if (now + ticks > c->due) {
        if (*since == 0)
            *since = now;
        if (now - *since < micros_to_ticks(patience))
            return false;
    }
    *since = 0;
    return true;
}

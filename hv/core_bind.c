/* Binds entities to cores and puts them into their queues. */
#include "hv/arch.h"
#include "hv/core.h"
#include "hv/core_work.h"
#include "hv/guest_life.h"
#include "hv/lib.h"
#include "hv/log.h"

_Static_assert(SCHED_ENTITIES_MAX >= ABI_GUESTS_MAX * ABI_VCPUS_MAX,
               "one core can have them all: a life shares its place with a vCPU");

static void bind(struct entity *e)
{
    struct core *c = core_get(e->core);

    c->entities[c->entity_count++] = e;
    c->vcpu_count += e->vcpu != NULL;
}

/* Binds the guest's entities that belong to core `id`; the life last, so that it sees in one pass
 * what its vCPUs here have done. */
static void bind_here(unsigned id, struct guest *g)
{
    FOR_EACH_VCPU (v, g)
        if (v->entity.core == id)
            bind(&v->entity);
    if (g->life.entity.core == id)
        bind(&g->life.entity);
}

void core_bind(struct guest *g)
{
    for (unsigned i = 0; i < arch_core_count(); i++)
        bind_here(i, g);
}

void core_schedule(struct core *c, struct entity *e, uint64_t now)
{
    const struct guest *g = e->guest;
    const struct guest_config *k = &g->config;
    const struct sched_params p = {
        .weight = k->weight,
        .slice = micros_to_ticks(k->slice_us),
        .budget = micros_to_ticks(k->budget_us),
        .guaranteed = micros_to_ticks(k->guaranteed_us),
        .period = micros_to_ticks(k->period_us),
    };

    if (e->vcpu && e->vcpu == g->life.partner)
        return; /* at first the life has their place */
    if (sched_add(&c->sched, &e->sched, &p, now))
        log_guest_warn(g, "core %u cannot schedule it", c->id);
    else if (e->vcpu || g->life.phase == GUEST_IDLE)
        sched_block(&e->sched, NEVER);
}

/* A request may have come before the core knew the entity, when the core looked in vain. */
static void look_for_asked(struct core *c, const struct entity *e)
{
    if (!__atomic_load_n(&e->asked, __ATOMIC_ACQUIRE))
        return;
    __atomic_store_n(&c->asked, 1, __ATOMIC_SEQ_CST);
    __atomic_store_n(&c->wake, 1, __ATOMIC_RELEASE);
}

void core_take_incoming(struct core *c)
{
    uint32_t bits = __atomic_exchange_n(&c->incoming, 0, __ATOMIC_ACQ_REL);
    uint64_t now = arch_tsc();

    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        unsigned from = c->entity_count;

        if (!(bits >> i & 1))
            continue;
        bind_here(c->id, guest_get(i));
        for (; from < c->entity_count; from++) {
            core_schedule(c, c->entities[from], now);
            look_for_asked(c, c->entities[from]);
        }
    }
    c->stats->vcpus = c->vcpu_count;
}

void core_unbind(struct core *c, struct entity *e)
{
    unsigned i = 0;

    c->ran = NULL;
    if (e->sched.present)
        sched_remove(&c->sched, &e->sched);
    while (c->entities[i] != e)
        i++;
    for (c->entity_count--; i < c->entity_count; i++)
        c->entities[i] = c->entities[i + 1];
    c->vcpu_count -= e->vcpu != NULL;
    c->stats->vcpus = c->vcpu_count;
}

void core_reschedule(struct core *c, struct guest *g)
{
    struct sched_entity *life = &g->life.entity.sched, *partner = &g->life.partner->entity.sched;

    if (guest_waits_for_vcpus(g)) {
        if (life->present)
            sched_replace(&c->sched, life, partner);
        return;
    }
    if (!life->present)
        sched_replace(&c->sched, partner, life);
    if (g->life.phase == GUEST_IDLE)
        sched_block(life, NEVER);
    else if (g->life.phase == GUEST_HELD_BACK)
        sched_block(life, g->status->next_start_tsc);
    else
        sched_wake(&c->sched, life, arch_tsc());
}

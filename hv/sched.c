#include "hv/sched.h"

#define REAL_TIME_WEIGHT 100ull /* its virtual time is real time */

/* a * b >> 32 without losing the high half. */
static uint64_t scale(uint64_t ticks, uint64_t ratio)
{
    return (uint64_t)(((unsigned __int128)ticks * ratio) >> 32);
}

void sched_init(struct sched *s)
{
    *s = (struct sched){.credit = NEVER};
}

/* With a share of w/W, an entity that runs for t and sleeps for t * (W - w) / w breaks even: t
 * costs t * 100/w, so each tick of sleep gives back 100/(W - w). */
static void share_out(struct sched *s)
{
    uint64_t longest = 0;
    uint32_t total = 0;

    for (unsigned i = 0; i < s->count; i++) {
        total += s->entities[i]->params.weight;
        longest = max_u64(longest, s->entities[i]->params.slice);
    }
    s->credit = NEVER;
    for (unsigned i = 0; i < s->count; i++) {
        struct sched_entity *e = s->entities[i];
        uint32_t others = total - e->params.weight;

        s->credit = min_u64(s->credit, e->params.slice);
        e->vslice = scale(longest, e->vscale);
        e->vsleep = (REAL_TIME_WEIGHT << 32) / (others ? others : e->params.weight);
    }
}

int sched_add(struct sched *s, struct sched_entity *e, const struct sched_params *p, uint64_t now)
{
    if (p->weight == 0 || p->slice == 0 || (p->budget && p->period < p->budget) ||
        p->guaranteed > (p->budget ? p->budget : p->period))
        return -E_INVAL;
    if (s->count >= SCHED_ENTITIES_MAX)
        return -E_NOSPC;
    *e = (struct sched_entity){
        .params = *p,
        .present = true,
        .runnable = true,
        .wake = NEVER,
        .vtime = s->min_vtime,
        .vscale = (REAL_TIME_WEIGHT << 32) / p->weight,
        .period_end = p->budget || p->guaranteed ? now + p->period : NEVER,
        .ready_since = now,
    };
    s->entities[s->count++] = e;
    share_out(s);
    return 0;
}

void sched_remove(struct sched *s, struct sched_entity *e)
{
    for (unsigned i = 0; i < s->count; i++) {
        if (s->entities[i] != e)
            continue;
        s->entities[i] = s->entities[--s->count];
        s->entities[s->count] = NULL;
        e->present = false;
        share_out(s);
        return;
    }
}

void sched_replace(struct sched *s, struct sched_entity *from, struct sched_entity *to)
{
    for (unsigned i = 0; i < s->count; i++) {
        if (s->entities[i] != from)
            continue;
        *to = *from;
        s->entities[i] = to;
        from->present = false;
        return;
    }
}

/* An entity that did not compete for a while comes back at most a slice behind the others: enough
 * to run before them at once, not enough to starve them for the time it was away. */
static uint64_t oldest_vtime(const struct sched *s)
{
    return s->min_vtime > s->credit ? s->min_vtime - s->credit : 0;
}

bool sched_exhausted(const struct sched_entity *e)
{
    return e->params.budget && e->used >= e->params.budget;
}

static bool has_claim(const struct sched_entity *e)
{
    return e->used < e->params.guaranteed;
}

static void replenish(const struct sched *s, struct sched_entity *e, uint64_t now)
{
    if (now < e->period_end)
        return;
    if (sched_exhausted(e))
        e->vtime = max_u64(e->vtime, oldest_vtime(s));
    e->used = 0;
    e->period_end += e->params.period; /* not NEVER: there is a budget or a guarantee */
    if (e->period_end <= now)          /* slept through periods: the next one begins now */
        e->period_end = now + e->params.period;
}

void sched_block(struct sched_entity *e, uint64_t wake)
{
    e->runnable = false;
    e->wake = wake;
}

/* An entity that slept with a claim and comes back near the end of its period would, with that
 * period's deadline, take more than its share at the cost of others' claims: so a new period
 * begins. This is the wake-up rule of the constant bandwidth server (Abeni and Buttazzo 1998). */
static void renew_claim(struct sched_entity *e, uint64_t now)
{
    const struct sched_params *p = &e->params;
    uint64_t left = e->period_end > now ? e->period_end - now : 0;

    if ((unsigned __int128)(p->guaranteed - e->used) * p->period <=
        (unsigned __int128)left * p->guaranteed)
        return;
    e->used = 0;
    e->period_end = now + p->period;
}

void sched_wake(struct sched *s, struct sched_entity *e, uint64_t now)
{
    uint64_t slept = now > e->ready_since ? scale(now - e->ready_since, e->vsleep) : 0;

    if (e->runnable)
        return;
    if (has_claim(e))
        renew_claim(e, now);
    e->runnable = true;
    e->wake = NEVER;
    e->vtime = max_u64(e->vtime > slept ? e->vtime - slept : 0, oldest_vtime(s));
    e->ready_since = now;
}

/* A sleeper needs the core again at its wake-up, or later if it may not run then. */
static void note_sleeper(struct sched_decision *d, struct sched_entity *e)
{
    if (sched_exhausted(e)) {
        d->until = min_u64(d->until, max_u64(e->wake, e->period_end));
    } else if (e->wake != NEVER && (!d->next || e->wake < d->next->wake)) {
        if (d->next)
            d->until = min_u64(d->until, d->next->wake);
        d->next = e;
    } else {
        d->until = min_u64(d->until, e->wake);
    }
}

/* When the budget that is left now runs out; a new period begins at period_end. */
static uint64_t budget_end(const struct sched_entity *e, uint64_t now)
{
    return e->params.budget ? now + (e->params.budget - e->used) : NEVER;
}

/* When its claim is used up, or its period ends. */
static uint64_t claim_end(const struct sched_entity *e, uint64_t now)
{
    return has_claim(e) ? min_u64(e->period_end, now + (e->params.guaranteed - e->used)) : NEVER;
}

/* Compares the virtual time after a slice, the same length for all: if two sleepers come back even,
 * the one with more weight goes first, and the other does not displace it before it has run for a
 * while, however short its own slices are. */
static bool goes_before(const struct sched_entity *a, const struct sched_entity *b)
{
    if (has_claim(a) != has_claim(b))
        return has_claim(a);
    if (has_claim(a))
        return a->period_end < b->period_end;
    return a->vtime + a->vslice < b->vtime + b->vslice;
}

uint64_t sched_next_until(const struct sched_decision *d)
{
    uint64_t wake = d->next->wake;

    return min_u64(d->until, min_u64(wake + d->next->params.slice, budget_end(d->next, wake)));
}

struct sched_decision sched_pick(struct sched *s, uint64_t now)
{
    struct sched_decision d = {NULL, NULL, NEVER};
    uint64_t min_vtime = NEVER;

    for (unsigned i = 0; i < s->count; i++) {
        struct sched_entity *e = s->entities[i];

        replenish(s, e, now);
        if (!e->runnable && e->wake <= now)
            sched_wake(s, e, now);
        if (!e->runnable) {
            note_sleeper(&d, e);
            continue;
        }
        if (sched_exhausted(e)) {
            d.until = min_u64(d.until, e->period_end);
            continue;
        }
        min_vtime = min_u64(min_vtime, e->vtime);
        /* Then it has a claim again. */
        if (e->params.guaranteed && !has_claim(e))
            d.until = min_u64(d.until, e->period_end);
        if (!d.entity || goes_before(e, d.entity))
            d.entity = e;
    }
    if (!d.entity)
        return d;
    s->min_vtime = max_u64(s->min_vtime, min_vtime);
    if (d.next)
        d.until = min_u64(d.until, d.next->wake);
    d.next = NULL;
    d.until = min_u64(d.until, now + d.entity->params.slice);
    d.until = min_u64(d.until, budget_end(d.entity, now));
    d.until = min_u64(d.until, claim_end(d.entity, now));
    return d;
}

uint64_t sched_stretch(struct sched *s, const struct sched_entity *e, uint64_t now)
{
    uint64_t slice_end = now + e->params.slice, until = max_u64(slice_end, now + s->stretch);

    for (unsigned i = 0; i < s->count; i++) {
        const struct sched_entity *o = s->entities[i];
        uint64_t able = o->runnable ? 0 : o->wake; /* when it can run */

        if (sched_exhausted(o))
            able = max_u64(able, o->period_end);
        if (o != e)
            until = min_u64(until, able);
        else if (o->params.guaranteed)
            until = min_u64(until, o->period_end);
    }
    until = min_u64(until, min_u64(budget_end(e, now), claim_end(e, now)));
    s->stretched = until > slice_end;
    return max_u64(until, slice_end);
}

void sched_give_turn(struct sched_entity *from, struct sched_entity *to)
{
    uint64_t vtime = from->vtime;

    if (to->vtime < vtime)
        return;
    from->vtime = to->vtime + 1;
    to->vtime = vtime;
}

uint64_t sched_waited(const struct sched_entity *e, uint64_t now)
{
    return e->wait_ticks + (e->runnable ? now - e->ready_since : 0);
}

void sched_charge(struct sched_entity *e, uint64_t ticks)
{
    e->vtime += scale(ticks, e->vscale);
    e->used += ticks;
}

void sched_ran(struct sched *s, struct sched_entity *e, uint64_t start, uint64_t now)
{
    uint64_t ran = now - start;

    sched_charge(e, ran);
    if (__builtin_expect(s->stretched, 0)) {
        s->stretched = false;
        if (ran > e->params.slice) /* as if it had been picked a slice ago */
            s->min_vtime = max_u64(s->min_vtime, e->vtime - scale(e->params.slice, e->vscale));
    }
    e->run_ticks += ran;
    e->wait_ticks += start - e->ready_since;
    e->ready_since = now;
}

#include "mgmt/explain.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/report.h"

static bool is_refused_entry(const char *why)
{
    return strncmp(why, ABI_WHY_ENTRY_FAILED, sizeof(ABI_WHY_ENTRY_FAILED) - 1) == 0;
}

static unsigned vcpu_count(const struct api_view *v, unsigned number)
{
    return (unsigned)min_u64(v->guest(number)->vcpu_count, ABI_VCPUS_MAX);
}

/* Checks whichever vCPU was refused. */
static void find_check(const struct api_view *v, unsigned number, char *check, size_t size)
{
    const struct state_table *t = &state_vmcs;

    for (unsigned i = 0; i < vcpu_count(v, number); i++) {
        const struct api_vcpu id = {number, i};
        unsigned core = v->vcpu(id)->core;
        const struct abi_snapshot *s = v->snapshot(id, ABI_SNAPSHOT_DEATH);

        t = state_of(s->kind);
        if (report_first_failure(t, &s->vmcs, &v->caps[core < ABI_CORES_MAX ? core : 0], check,
                                 size))
            return;
    }
    (void)fmt(check, size, "no check of the %s fails", t->manual);
}

/* When the last state of a guest's vCPUs was recorded: the earliest of them. */
static uint64_t death_of(const struct api_view *v, unsigned number)
{
    uint64_t tsc = UINT64_MAX;

    for (unsigned i = 0; i < vcpu_count(v, number); i++) {
        const struct abi_snapshot *s =
            v->snapshot((struct api_vcpu){number, i}, ABI_SNAPSHOT_DEATH);

        tsc = min_u64(tsc, __atomic_load_n(&s->tsc, __ATOMIC_ACQUIRE));
    }
    return tsc;
}

static void add(char *why, size_t size, const char *check)
{
    size_t n = strlen(why);

    (void)fmt(why + n, size - n, ": %s", check);
}

/* The guest started again before its snapshot was taken, or its number has passed to another guest.
 */
static bool is_of_another_life(const struct abi_events *all, const struct abi_event *e,
                               uint64_t tsc)
{
    for (uint64_t n = e->sequence + 1; n <= all->newest && n < e->sequence + ABI_EVENTS; n++) {
        const struct abi_event *later = &all->ring[(n - 1) % ABI_EVENTS];

        if (later->guest == e->guest && later->state != e->state && later->tsc <= tsc)
            return true;
    }
    return false;
}

/* False: its snapshot has not been taken yet. */
static bool look_at(const struct api_view *v, const struct abi_event *e)
{
    const struct abi_guest *g = v->guest(e->guest);
    uint64_t taken = death_of(v, e->guest);
    char line[2 * ABI_TEXT_MAX];
    size_t at = (e->sequence - 1) % ABI_EVENTS;

    if (taken < e->tsc)
        return g->state != e->state;
    if (is_of_another_life(v->events, e, taken))
        return true;
    find_check(v, e->guest, v->explain->ring[at].check, sizeof(v->explain->ring[at].check));
    v->explain->ring[at].sequence = e->sequence;
    (void)fmt(line, sizeof(line), "guest %s: the check that its VM entry did not pass: %s", e->name,
              v->explain->ring[at].check);
    v->note(line);
    return true;
}

void explain_poll(const struct api_view *v)
{
    struct explain *x = v->explain;
    uint64_t newest = __atomic_load_n(&v->events->newest, __ATOMIC_ACQUIRE);

    if (!x)
        return;
    if (newest > ABI_EVENTS)
        x->seen = max_u64(x->seen, newest - ABI_EVENTS);
    for (; x->seen < newest; x->seen++) {
        const struct abi_event *e = &v->events->ring[x->seen % ABI_EVENTS];

        if (e->sequence == x->seen + 1 && e->guest < ABI_GUESTS_MAX &&
            e->state == ABI_GUEST_CRASHED && is_refused_entry(e->why) && !look_at(v, e))
            return;
    }
}

uint64_t explain_newest(const struct api_view *v)
{
    explain_poll(v);
    return v->explain ? v->explain->seen : __atomic_load_n(&v->events->newest, __ATOMIC_ACQUIRE);
}

void explain_event(const struct api_view *v, struct abi_event *e)
{
    const struct explain *x = v->explain;
    size_t at = (e->sequence - 1) % ABI_EVENTS;

    if (x && x->ring[at].sequence == e->sequence)
        add(e->why, sizeof(e->why), x->ring[at].check);
}

void explain_guest(const struct api_view *v, unsigned number, struct abi_guest *g)
{
    char check[ABI_TEXT_MAX];

    if (!is_refused_entry(g->why) || death_of(v, number) < g->stopped_tsc)
        return;
    find_check(v, number, check, sizeof(check));
    add(g->why, sizeof(g->why), check);
}

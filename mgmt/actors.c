#include "mgmt/actors.h"

#include "hv/lib.h"

#define IN(state) (1u << ABI_GUEST_##state)

/* The states that a request leads to, and the last of them. */
static const struct chain {
    uint32_t states, last;
} chains[ACTOR_REQUESTS] = {
    [ABI_ACTION_START] = {IN(STARTING) | IN(RUNNING) | IN(FAILED), IN(RUNNING) | IN(FAILED)},
    [ABI_ACTION_PAUSE] = {IN(PAUSED), IN(PAUSED)},
    [ABI_ACTION_RESUME] = {IN(RUNNING), IN(RUNNING)},
    [ABI_ACTION_RESET] = {IN(STOPPED) | IN(STARTING) | IN(RUNNING) | IN(FAILED),
                          IN(RUNNING) | IN(FAILED)},
    [ABI_ACTION_STOP] = {IN(STOPPED), IN(STOPPED)},
    [ACTOR_CREATE] = {IN(STARTING) | IN(RUNNING) | IN(FAILED), IN(RUNNING) | IN(FAILED)},
    [ACTOR_DELETE] = {IN(EMPTY), IN(EMPTY)},
};

/* Without a request: a guest ends by itself, and an event of a running guest that says why is about
 * how it is stuck. All else is the appliance's doing. */
static enum actor_kind by_itself(const struct abi_event *e)
{
    bool own = e->state == ABI_GUEST_STOPPED || e->state == ABI_GUEST_CRASHED ||
               (e->state == ABI_GUEST_RUNNING && e->why[0]);

    return own ? ACTOR_GUEST : ACTOR_APPLIANCE;
}

/* Has the management guest had no life before this one? It then ended in some event. */
static bool is_first_life(const struct api_view *v, uint64_t newest)
{
    if (newest > ABI_EVENTS)
        return false;
    for (uint64_t n = 0; n < newest; n++) {
        const struct abi_event *e = &v->events->ring[n];

        if ((e->state == ABI_GUEST_STOPPED || e->state == ABI_GUEST_CRASHED) &&
            e->guest < ABI_GUESTS_MAX && v->guest(e->guest) &&
            (v->guest(e->guest)->flags & ABI_GUEST_MANAGEMENT))
            return false;
    }
    return true;
}

static void set(struct actors *a, uint64_t sequence, const struct actor *actor)
{
    size_t at = (sequence - 1) % ABI_EVENTS;

    a->ring[at].sequence = sequence;
    a->ring[at].actor = *actor;
}

/* What happened before this life began. */
static void begin(const struct api_view *v, struct actors *a, uint64_t newest)
{
    bool first = is_first_life(v, newest);

    a->begun = true;
    for (uint64_t n = newest > ABI_EVENTS ? newest - ABI_EVENTS : 0; n < newest; n++) {
        const struct abi_event *e = &v->events->ring[n % ABI_EVENTS];
        struct actor actor = {.kind = by_itself(e)};

        if (!first && e->state != ABI_GUEST_CRASHED)
            actor.kind = ACTOR_UNKNOWN;
        set(a, n + 1, &actor);
    }
    a->seen = newest;
}

static void look_at(struct actors *a, const struct abi_event *e)
{
    struct actor actor = {.kind = by_itself(e)};
    unsigned request = e->guest < ABI_GUESTS_MAX ? a->asked[e->guest].request : 0;

    if (request && (chains[request].states >> e->state & 1)) {
        actor = a->asked[e->guest].actor;
        if (chains[request].last >> e->state & 1)
            a->asked[e->guest].request = 0;
    } else if (request) {
        a->asked[e->guest].request = 0; /* something else came first */
    }
    set(a, e->sequence, &actor);
}

void actors_poll(const struct api_view *v)
{
    struct actors *a = v->actors;
    uint64_t newest;

    if (!a)
        return;
    newest = __atomic_load_n(&v->events->newest, __ATOMIC_ACQUIRE);
    if (!a->begun)
        begin(v, a, newest);
    if (newest > ABI_EVENTS)
        a->seen = max_u64(a->seen, newest - ABI_EVENTS);
    for (; a->seen < newest; a->seen++) {
        const struct abi_event *e = &v->events->ring[a->seen % ABI_EVENTS];

        if (e->sequence == a->seen + 1)
            look_at(a, e);
    }
}

void actors_asked(const struct api_view *v, unsigned guest, unsigned request,
                  const struct auth_identity *who, const char *from)
{
    struct actors *a = v->actors;

    if (!a || guest >= ABI_GUESTS_MAX || request >= ACTOR_REQUESTS || !chains[request].states)
        return;
    a->asked[guest].request = request;
    a->asked[guest].actor = (struct actor){.kind = ACTOR_CLIENT, .who = *who};
    (void)str_copy(a->asked[guest].actor.from, sizeof(a->asked[guest].actor.from), from);
}

static const char *name_of(const struct actor *a)
{
    switch (a->kind) {
    case ACTOR_APPLIANCE:
        return "appliance";
    case ACTOR_GUEST:
        return "guest";
    case ACTOR_CLIENT:
        return a->who.name[0] ? a->who.name : "anybody";
    case ACTOR_UNKNOWN:
        break;
    }
    return NULL;
}

static void put(struct json_out *j, const char *name, const char *value)
{
    if (value)
        json_str(j, name, value);
    else
        json_null(j, name);
}

void actors_put(struct json_out *j, const struct api_view *v, const struct abi_event *e)
{
    static const struct actor unknown;
    const struct actor *a = &unknown;
    size_t at = (e->sequence - 1) % ABI_EVENTS;

    actors_poll(v);
    if (v->actors && v->actors->ring[at].sequence == e->sequence)
        a = &v->actors->ring[at].actor;
    put(j, "by", name_of(a));
    put(j, "role", a->kind == ACTOR_CLIENT ? auth_role_name(a->who.role) : NULL);
    put(j, "from", a->kind == ACTOR_CLIENT ? a->from : NULL);
}

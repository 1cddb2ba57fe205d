/* Guests: their state, and the actions on them. */
#include "hv/fmt.h"
#include "mgmt/config/json.h"
#include "hv/lib.h"
#include "mgmt/words.h"
#include "mgmt/actors.h"
#include "mgmt/api_call.h"
#include "mgmt/state.h"
#include "mgmt/put_config.h"
#include "mgmt/route.h"

#define ACTION_TOKENS 8u

static void put_summary(struct json_out *j, const struct abi_guest *g)
{
    json_str(j, "name", g->config.name);
    json_str(j, "state", guest_state_name(g->state));
    json_bool(j, "management", g->flags & ABI_GUEST_MANAGEMENT);
    json_str(j, "why", g->why);
    json_word(j, "ended_by", words_say(words_end, g->ended_by));
    json_str(j, "stuck", g->stuck);
}

/* Its lives: how many, and when the last one began and ended. */
static void put_lives(struct json_out *j, const struct abi_guest *g)
{
    json_u64(j, "restarts", g->restarts);
    json_u64(j, "short_lives", g->short_lives);
    json_u64(j, "started_tsc", g->started_tsc);
    json_u64(j, "stopped_tsc", g->stopped_tsc);
    if (g->state == ABI_GUEST_RESTARTING)
        json_u64(j, "next_start_tsc", g->next_start_tsc);
    else
        json_null(j, "next_start_tsc");
}

/* The cores of its vCPUs, each once. */
static void put_cores(const struct call *c, struct json_out *j, unsigned guest, unsigned vcpus)
{
    json_array(j, "cores");
    for (unsigned i = 0; i < vcpus; i++) {
        uint32_t core = c->v->vcpu((struct api_vcpu){guest, i})->core;
        bool seen = false;

        for (unsigned k = 0; k < i; k++)
            seen |= c->v->vcpu((struct api_vcpu){guest, k})->core == core;
        if (!seen)
            json_u64(j, NULL, core);
    }
    json_end(j);
}

/* Over all its vCPUs. */
static void put_totals(const struct call *c, struct json_out *j, unsigned guest, unsigned vcpus)
{
    uint64_t ticks = 0, entries = 0;
    bool halted = true;

    for (unsigned i = 0; i < vcpus; i++) {
        const struct abi_vcpu *v = c->v->vcpu((struct api_vcpu){guest, i});

        ticks += v->run_ticks;
        entries += v->entries;
        halted = halted && v->activity == ABI_HALTED;
    }
    json_u64(j, "run_ticks", ticks);
    json_u64(j, "entries", entries);
    json_bool(j, "halted", halted);
    put_cores(c, j, guest, vcpus);
}

void get_guests(struct call *c, char *const *arg)
{
    struct json_out *j;
    struct abi_guest g;

    (void)arg;
    j = call_begin(c);
    json_object(j, NULL);
    json_array(j, "guests");
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        if (!call_copy_guest(c, i, &g))
            continue;
        json_object(j, NULL);
        put_summary(j, &g);
        json_u64(j, "memory", g.config.memory);
        json_u64(j, "core", g.core);
        put_lives(j, &g);
        put_totals(c, j, i, g.vcpu_count);
        json_end(j);
    }
    json_end(j);
    json_end(j);
}

static void put_configuration(struct json_out *j, struct abi_guest *g)
{
    g->config.core = (int)g->core; /* even if the root chose it */
    json_object(j, "configuration");
    put_guest_fields(j, &g->config, g->image_kind);
    json_end(j);
}

static void put_shared(struct json_out *j, const struct guest_config *c)
{
    json_array(j, "shared");
    for (unsigned i = 0; i < c->shared_count && i < ARRAY_LEN(c->shared); i++) {
        json_object(j, NULL);
        put_shared_fields(j, &c->shared[i]);
        json_u64(j, "id", (uint64_t)config_shared_id(&c->shared[i], c->name));
        json_end(j);
    }
    json_end(j);
}

/* The address is null as long as there was no access. */
static void put_unclaimed(struct json_out *j, const struct abi_vcpu *v)
{
    json_object(j, "unclaimed_memory");
    json_u64(j, "reads", v->unclaimed_reads);
    json_u64(j, "writes", v->unclaimed_writes);
    if (v->unclaimed_reads || v->unclaimed_writes)
        json_hex(j, "address", v->unclaimed_address, 0);
    else
        json_null(j, "address");
    json_end(j);
}

static void put_vcpu(const struct call *c, struct json_out *j, struct api_vcpu id)
{
    const struct abi_vcpu *v = c->v->vcpu(id);
    struct abi_exit last;

    json_object(j, NULL);
    json_u64(j, "id", id.vcpu);
    json_u64(j, "core", v->core);
    json_bool(j, "halted", v->activity == ABI_HALTED);
    json_str(j, "activity", words_say(words_activity, v->activity));
    json_u64(j, "run_ticks", v->run_ticks);
    json_u64(j, "wait_ticks", v->wait_ticks);
    json_u64(j, "entries", v->entries);
    json_u64(j, "interrupts", v->irqs);
    json_u64(j, "slice_ends", v->slice_ends);
    json_u64(j, "slice_late_max_ticks", v->slice_late_max);
    put_unclaimed(j, v);
    json_object(j, "exits");
    for (unsigned i = 0; i < ABI_EXIT_REASONS; i++)
        if (v->exits[i])
            json_u64(j, state_counter_name(call_table(c), i), v->exits[i]);
    json_end(j);
    if (copy_last_exit(c, id, &last))
        put_exit(j, "last_exit", call_table(c), &last);
    else
        json_null(j, "last_exit");
    json_end(j);
}

/* Since its last start; null: it does not run. */
static void put_uptime(const struct call *c, struct json_out *j, const struct abi_guest *g)
{
    uint64_t now = c->v->tsc(), ticks_per_ms = c->v->host->tsc_hz / 1000;

    if ((g->state == ABI_GUEST_RUNNING || g->state == ABI_GUEST_PAUSED) && ticks_per_ms)
        json_u64(j, "uptime_ms", now > g->started_tsc ? (now - g->started_tsc) / ticks_per_ms : 0);
    else
        json_null(j, "uptime_ms");
}

void get_guest(struct call *c, char *const *arg)
{
    struct json_out *j;
    struct abi_guest g;
    int number = call_guest(c, arg[0], &g);

    if (number < 0)
        return;
    j = call_begin(c);
    json_object(j, NULL);
    put_summary(j, &g);
    put_uptime(c, j, &g);
    json_u64(j, "exit_code", g.exit_code);
    put_lives(j, &g);
    json_u64(j, "near_memory", g.near_memory);
    json_u64(j, "large_pages_split", g.large_pages_split);
    json_u64(j, "serial_bytes_lost", c->v->host->console_lost[number]);
    put_configuration(j, &g);
    put_card(j, &g);
    put_shared(j, &g.config);
    json_array(j, "vcpus");
    for (unsigned i = 0; i < g.vcpu_count; i++)
        put_vcpu(c, j, (struct api_vcpu){(unsigned)number, i});
    json_end(j);
    json_end(j);
}

static const char *const actions[ABI_ACTION_END] = {
#define ACTION(name, word, ...) [ABI_ACTION_##name] = word,
#include "hv/actions.def"
};

int call_action(struct call *c, const char *const *names, size_t count, const char *allowed)
{
    jsmntok_t tokens[ACTION_TOKENS];
    struct json_error e;
    struct json json;

    if (json_parse(&json, (const char *)c->r->body, c->r->body_len, tokens, ACTION_TOKENS, &e) <
        0) {
        call_failf(c, 400, "%u:%u: the body is not JSON: %s", e.line, e.column, e.text);
        return -E_FORMAT;
    }
    for (size_t i = 0; i < count; i++)
        if (names[i] && tokens[0].type == JSMN_OBJECT && tokens[0].size == 1 &&
            json_is(&json, 1, "action") && json_is(&json, 2, names[i])) {
            (void)str_copy(c->what, sizeof(c->what), names[i]);
            return (int)i;
        }
    call_fail(c, 400, allowed);
    return -E_FORMAT;
}

static int parse_action(struct call *c)
{
    return call_action(c, actions, ARRAY_LEN(actions),
                       "the body must be {\"action\": \"start\"}, or with \"stop\", \"reset\", "
                       "\"pause\", \"resume\" or \"nmi\"");
}

/* A client that may operate guests must not be able to cut others off from the API. */
static bool may_act(struct call *c, const struct abi_guest *g, int action)
{
    bool own = g->flags & ABI_GUEST_MANAGEMENT;

    if (!own || action != ABI_ACTION_RESET || c->who.role >= ROLE_ADMIN)
        return true;
    call_failf(c, 403, "reset of the management guest needs the role admin; the token's is %s",
               auth_role_name(c->who.role));
    route_note_refusal(c->v, c->r, &c->who, 403);
    return false;
}

void post_action(struct call *c, char *const *arg)
{
    struct json_out *j;
    struct abi_guest g;
    int number = call_guest(c, arg[0], &g), action = number < 0 ? -1 : parse_action(c);
    int64_t rc;

    if (action < 0 || !may_act(c, &g, action))
        return;
    actors_poll(c->v); /* what happened before this */
    rc = c->v->act((unsigned)number, (unsigned)action);
    if (rc < 0) {
        call_failf(c, 409, "not possible: the guest is %s%s", guest_state_name(g.state),
                   rc == -E_PERM     ? ", and the management guest takes no stop, pause or nmi"
                   : rc == -E_NOTSUP ? ", and never got what it needs (its \"why\" says what): "
                                       "delete it, and make it again"
                                     : "");
        return;
    }
    actors_asked(c->v, (unsigned)number, (unsigned)action, &c->who, c->r->from);
    j = call_begin(c);
    c->out->status = 202;
    json_object(j, NULL);
    json_str(j, "guest", arg[0]);
    json_str(j, "status", "accepted");
    json_end(j);
}

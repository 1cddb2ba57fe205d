/* Dumps of a VMCS or VMCB, kept snapshots and their differences. */
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/words.h"
#include "mgmt/api_call.h"
#include "mgmt/controls.h"
#include "mgmt/dump.h"
#include "mgmt/report.h"

/* Too large for the stack; one request is answered at a time. */
static struct abi_snapshot first, second;

const struct state_table *call_table(const struct call *c)
{
    return state_of(c->v->host->state_kind);
}

bool call_dump_options(struct call *c, struct dump_options *o)
{
    const char *value, *bad;
    size_t n;

    *o = (struct dump_options){.table = call_table(c), .decode = c->text, .group = -1};
    if (!call_query_bool(c, "decode", &o->decode) || !call_query_bool(c, "oddities", &o->oddities))
        return false;
    value = call_query(c, "group");
    if (value && !dump_choose_group(o, value)) {
        call_fail(c, 400, "group: must be control, read-only, guest or host");
        return false;
    }
    value = call_query(c, "fields");
    if (value && !dump_choose_fields(o, value, &bad, &n)) {
        call_failf(c, 400, "fields: \"%.*s\" is neither a field's name nor its %s", (int)n, bad,
                   o->table->key);
        return false;
    }
    return true;
}

static void copy_snapshot(const struct abi_snapshot *live, struct abi_snapshot *s)
{
    for (unsigned i = 0; i < SEQLOCK_TRIES; i++) {
        uint32_t before = __atomic_load_n(&live->lock, __ATOMIC_ACQUIRE);

        memcpy(s, live, sizeof(*s));
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(before & 1) && __atomic_load_n(&live->lock, __ATOMIC_RELAXED) == before)
            return;
    }
}

/* The earliest snapshot with a sequence number of at least `from`, or NULL. */
static const struct abi_snapshot *find_from(const struct api_view *v, struct api_vcpu id,
                                            uint64_t from)
{
    const struct abi_snapshot *best = NULL;
    uint64_t best_sequence = UINT64_MAX;

    for (unsigned i = 0; i < ABI_SNAPSHOTS; i++) {
        const struct abi_snapshot *s = v->snapshot(id, i);
        uint64_t sequence = __atomic_load_n(&s->sequence, __ATOMIC_ACQUIRE);

        if (sequence && sequence >= from && sequence < best_sequence &&
            s->kind == state_of(v->host->state_kind)->kind) {
            best = s;
            best_sequence = sequence;
        }
    }
    return best;
}

/* A copy of the snapshot with this number; false, and the call has failed with 404, if it does not
 * exist (any more). */
static bool copy_numbered(struct call *c, struct api_vcpu id, uint64_t sequence,
                          struct abi_snapshot *s)
{
    const struct abi_snapshot *live = find_from(c->v, id, sequence);

    if (live)
        copy_snapshot(live, s);
    if (live && s->sequence == sequence)
        return true;
    call_failf(c, 404, "there is no snapshot %lu (any more); GET .../%s/snapshots lists them",
               sequence, call_table(c)->path);
    return false;
}

static void put_heading(struct json_out *j, const char *guest, const struct abi_snapshot *s)
{
    json_str(j, "guest", guest);
    json_u64(j, "vcpu", s->vcpu);
    json_u64(j, "sequence", s->sequence);
    json_str(j, "cause", words_say(words_cause, s->cause));
    json_u64(j, "tsc", s->tsc);
    json_u64(j, "snapshot_ticks", s->ticks);
    if (s->exit.tsc)
        put_exit(j, "exit", state_of(s->kind), &s->exit);
    else
        json_null(j, "exit");
}

/* For the core that it runs on. */
static const struct abi_caps *caps_of(const struct call *c, struct api_vcpu id)
{
    uint32_t core = c->v->vcpu(id)->core;

    return &c->v->caps[core < ABI_CORES_MAX ? core : 0];
}

static void put_profile(struct json_out *j, const struct abi_snapshot *s,
                        const struct abi_caps *caps)
{
    int profile = controls_profile(state_of(s->kind), &s->vmcs, caps);

    if (profile >= 0)
        json_str(j, "exit_profile", words_exit_profile[profile]);
    else
        json_null(j, "exit_profile");
}

/* A field by its name in a VMCS or, without the prefix, in a VMCB; 0: it is not there. */
static uint64_t field(const struct abi_snapshot *s, const char *name)
{
    const struct state_table *t = state_of(s->kind);
    const char *own = t->kind == ABI_STATE_SVM ? name + sizeof("GUEST_") - 1 : name;
    int row = dump_find_row(t, own, strlen(own));

    return row >= 0 ? s->vmcs.value[row] : 0;
}

/* All in one place, also those that are fields. */
static void put_registers(struct json_out *j, const struct abi_snapshot *s)
{
    static const char *const names[ABI_REGISTERS] = {"RAX", "RCX", "RDX", "RBX", "RBP",
                                                     "RSI", "RDI", "R8",  "R9",  "R10",
                                                     "R11", "R12", "R13", "R14", "R15"};

    json_object(j, "registers");
    json_hex(j, "RIP", field(s, "GUEST_RIP"), 16);
    json_hex(j, "RSP", field(s, "GUEST_RSP"), 16);
    json_hex(j, "RFLAGS", field(s, "GUEST_RFLAGS"), 16);
    json_hex(j, "CR2", s->kind == ABI_STATE_SVM ? field(s, "GUEST_CR2") : s->cr2, 16);
    for (unsigned i = 0; i < ABI_REGISTERS; i++)
        json_hex(j, names[i], s->registers[i], 16);
    json_end(j);
}

static void put_snapshot(struct call *c, char *const *arg, struct api_vcpu id,
                         const struct dump_options *o, const struct abi_snapshot *s)
{
    struct dump d = {.options = o,
                     .vmcs = &s->vmcs,
                     .wanted = c->v->vcpu(id)->wanted,
                     .caps = caps_of(c, id),
                     .bitmaps = c->v->bitmaps(id.guest)};
    struct json_out *j = call_begin(c);

    json_object(j, NULL);
    put_heading(j, arg[0], s);
    put_profile(j, s, caps_of(c, id));
    if (!o->some && o->group < 0 && !o->oddities)
        put_registers(j, s);
    dump_fields(j, &d);
    json_end(j);
}

bool api_ready(const struct api_view *v, const struct api_response *r)
{
    switch (r->wait) {
    case API_WAIT_NONE:
        break;
    case API_WAIT_SNAPSHOT:
        return find_from(v, r->wait_for, r->wait_sequence) != NULL;
    case API_WAIT_CONTROLS:
        return __atomic_load_n(&v->vcpu(r->wait_for)->controls.sequence, __ATOMIC_ACQUIRE) >=
               r->wait_sequence;
    case API_WAIT_UNPACKED:
        return v->unpack->state != UNPACK_BUSY;
    case API_WAIT_GONE:
        return !(__atomic_load_n(&v->host->guests, __ATOMIC_ACQUIRE) >> r->wait_for.guest & 1);
    }
    return true;
}

const struct abi_vmcs *call_snapshot(struct call *c, struct api_vcpu id)
{
    const struct abi_snapshot *s = find_from(c->v, id, c->out->wait_sequence);

    if (!s) {
        call_fail(c, 503, "the snapshot was overwritten; ask again");
        return NULL;
    }
    copy_snapshot(s, &first);
    return &first.vmcs;
}

/* Has a new snapshot taken and copied into `first`. False: not yet, or not at all; the call's state
 * says which. */
static bool take(struct call *c, struct api_vcpu id, bool keep)
{
    int64_t sequence;

    if (c->timed_out) {
        call_fail(c, 503, "the core that owns the vCPU did not answer in time");
        return false;
    }
    if (!c->waited) {
        sequence = c->v->take_snapshot(id, keep);
        if (sequence < 0) {
            call_fail(c, 409,
                      keep ? "the guest is not running: its last state is kept anyway"
                           : "the guest has never run: there is no state to show");
            return false;
        }
        c->out->wait_for = id;
        c->out->wait_sequence = (uint64_t)sequence;
        c->out->wait = API_WAIT_SNAPSHOT;
        if (!api_ready(c->v, c->out))
            return false;
        c->out->wait = API_WAIT_NONE;
    }
    return call_snapshot(c, id);
}

void get_vmcs(struct call *c, char *const *arg)
{
    struct abi_guest g;
    struct api_vcpu id;
    struct dump_options o;

    if (call_vcpu(c, arg, &g, &id) && call_dump_options(c, &o) && take(c, id, false))
        put_snapshot(c, arg, id, &o, &first);
}

void post_snapshot(struct call *c, char *const *arg)
{
    struct abi_guest g;
    struct api_vcpu id;
    struct dump_options o;

    if (!call_vcpu(c, arg, &g, &id) || !call_dump_options(c, &o) || !take(c, id, true))
        return;
    put_snapshot(c, arg, id, &o, &first);
    c->out->status = 201;
    (void)fmt(c->out->location, sizeof(c->out->location), "/v1/guests/%s/vcpus/%u/%s/snapshots/%lu",
              g.config.name, id.vcpu, call_table(c)->path, first.sequence);
}

void get_snapshots(struct call *c, char *const *arg)
{
    struct abi_guest g;
    struct api_vcpu id;
    const struct abi_snapshot *s;
    struct json_out *j;
    uint64_t next = 1;

    if (!call_vcpu(c, arg, &g, &id))
        return;
    j = call_begin(c);
    json_object(j, NULL);
    json_array(j, "snapshots");
    while ((s = find_from(c->v, id, next)) != NULL) {
        copy_snapshot(s, &first);
        next = first.sequence + 1;
        json_object(j, NULL);
        put_heading(j, arg[0], &first);
        json_end(j);
    }
    json_end(j);
    json_end(j);
}

void get_snapshot(struct call *c, char *const *arg)
{
    struct abi_guest g;
    struct api_vcpu id;
    struct dump_options o;
    uint64_t sequence;

    if (!call_vcpu(c, arg, &g, &id) || !call_dump_options(c, &o))
        return;
    if (!parse_u64(arg[2], &sequence))
        call_fail(c, 404, "a snapshot is named by its sequence number");
    else if (copy_numbered(c, id, sequence, &first))
        put_snapshot(c, arg, id, &o, &first);
}

/* ---- what is derived from them ---- */

void get_diff(struct call *c, char *const *arg)
{
    struct abi_guest g;
    struct api_vcpu id;
    uint64_t from = 0, to = 0;
    bool all = true;
    struct json_out *j;

    if (!call_vcpu(c, arg, &g, &id) || !call_query_u64(c, "from", &from) ||
        !call_query_u64(c, "to", &to) || !call_query_bool(c, "volatile", &all))
        return;
    if (!from) {
        call_fail(c, 400, "from: the sequence number of a snapshot is needed");
        return;
    }
    if (!to) { /* now */
        if (!take(c, id, false))
            return;
        second = first;
        to = second.sequence;
    } else if (!copy_numbered(c, id, to, &second)) {
        return;
    }
    if (!copy_numbered(c, id, from, &first))
        return;
    j = call_begin(c);
    json_object(j, NULL);
    json_u64(j, "from", from);
    json_u64(j, "to", to);
    json_u64(j, "ticks_between",
             second.tsc > first.tsc ? second.tsc - first.tsc : first.tsc - second.tsc);
    (void)report_diff(j, call_table(c), &first.vmcs, &second.vmcs, NULL, all);
    json_end(j);
}

void get_check(struct call *c, char *const *arg)
{
    struct abi_guest g;
    struct api_vcpu id;
    struct json_out *j;

    if (!call_vcpu(c, arg, &g, &id) || !take(c, id, false))
        return;
    j = call_begin(c);
    json_object(j, NULL);
    put_heading(j, arg[0], &first);
    (void)report_check(j, call_table(c), &first.vmcs, caps_of(c, id));
    json_end(j);
}

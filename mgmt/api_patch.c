/* PATCH of a VMCS or VMCB: sets control bits of a running vCPU, by their names. */
#include "hv/fmt.h"
#include "mgmt/config/json.h"
#include "hv/lib.h"
#include "mgmt/words.h"
#include "mgmt/api_call.h"
#include "mgmt/controls.h"

#define TOKENS_MAX 512u
#define NAME_MAX   48u

struct patch {
    struct call *c;
    const struct state_table *table;
    struct json json;
    struct abi_controls controls;
};

static bool fail_at(struct patch *p, int token, const char *name, const char *text)
{
    uint32_t line, column;

    json_place(&p->json, p->json.tokens[token].start, &line, &column);
    call_failf(p->c, 400, "%u:%u: %s: %s", line, column, name, text);
    return false;
}

static int find_word(const struct patch *p, int token)
{
    const struct state_table *t = p->table;

    for (unsigned i = 0; i < t->controls; i++)
        if (json_is(&p->json, token, t->control_names[i]) ||
            json_is(&p->json, token, t->row(t->control_row(i)).name))
            return (int)i;
    return -1;
}

static bool is_literal(const struct patch *p, int token, const char *text)
{
    const jsmntok_t *t = &p->json.tokens[token];
    size_t n = strlen(text);

    return t->type == JSMN_PRIMITIVE && (size_t)(t->end - t->start) == n &&
           strncmp(p->json.text + t->start, text, n) == 0;
}

static bool set_bit(struct patch *p, int word, int key)
{
    const struct state_table *t = p->table;
    char name[NAME_MAX];
    uint32_t mask;
    int bit;

    if (json_string(&p->json, key, name, sizeof(name)))
        return fail_at(p, key, t->control_names[word], "the name of a control is too long");
    bit = t->control_bit(t->control_row((unsigned)word), name);
    if (bit < 0)
        return fail_at(p, key, name, "this control word has no such bit");
    mask = 1u << bit;
    p->controls.mask[word] |= mask;
    if (is_literal(p, key + 1, "true"))
        p->controls.value[word] |= mask;
    else if (is_literal(p, key + 1, "false"))
        p->controls.value[word] &= ~mask;
    else
        return fail_at(p, key + 1, name, "must be true or false");
    return true;
}

static bool fail_word(struct patch *p, int key)
{
    const struct state_table *t = p->table;
    char text[160] = "only control words can be changed";

    for (unsigned i = 0; i < t->controls; i++) {
        size_t n = strlen(text);

        (void)fmt(text + n, sizeof(text) - n, "%s %s", i ? "," : ":", t->control_names[i]);
    }
    return fail_at(p, key, "fields", text);
}

static bool set_word(struct patch *p, int key)
{
    int word = find_word(p, key), value = key + 1, bit = key + 2;

    if (word < 0)
        return fail_word(p, key);
    if (p->json.tokens[value].type != JSMN_OBJECT)
        return fail_at(p, value, p->table->control_names[word],
                       "must be an object of bits, as {\"hlt_exiting\": false}");
    for (int i = 0; i < p->json.tokens[value].size; i++, bit = json_skip(&p->json, bit + 1))
        if (!set_bit(p, word, bit))
            return false;
    return true;
}

static bool set_profile(struct patch *p, int token)
{
    for (unsigned n = 0; n < ABI_EXIT_PROFILES; n++) {
        struct abi_controls k = controls_of_profile(p->table, (enum abi_exit_profile)n);

        if (!json_is(&p->json, token, words_exit_profile[n]))
            continue;
        for (unsigned i = 0; i < p->table->controls; i++) {
            p->controls.mask[i] |= k.mask[i];
            p->controls.value[i] |= k.value[i];
        }
        return true;
    }
    return fail_at(p, token, "exit_profile", "must be \"least\", \"default\" or \"most\"");
}

static bool parse_members(struct patch *p)
{
    int key = 1;

    if (p->json.tokens[0].type != JSMN_OBJECT)
        return fail_at(p, 0, "body",
                       "must be an object: {\"fields\": ...} or {\"exit_profile\": ...}");
    for (int i = 0; i < p->json.tokens[0].size; i++, key = json_skip(&p->json, key + 1)) {
        const jsmntok_t *value = &p->json.tokens[key + 1];
        int word = key + 2;

        if (json_is(&p->json, key, "exit_profile")) {
            if (!set_profile(p, key + 1))
                return false;
            continue;
        }
        if (!json_is(&p->json, key, "fields"))
            return fail_at(p, key, "body", "has a member other than fields and exit_profile");
        if (value->type != JSMN_OBJECT)
            return fail_at(p, key + 1, "fields", "must be an object");
        for (int k = 0; k < value->size; k++, word = json_skip(&p->json, word + 1))
            if (!set_word(p, word))
                return false;
    }
    return true;
}

static bool parse(struct patch *p)
{
    static jsmntok_t tokens[TOKENS_MAX];
    struct json_error e;
    const struct http_request *r = p->c->r;

    if (json_parse(&p->json, (const char *)r->body, r->body_len, tokens, TOKENS_MAX, &e) < 0) {
        call_failf(p->c, 400, "%u:%u: the body is not JSON: %s", e.line, e.column, e.text);
        return false;
    }
    return parse_members(p);
}

static void put_words(struct json_out *j, const struct state_table *t, const struct abi_controls *k)
{
    json_object(j, "changed");
    for (unsigned i = 0; i < t->controls; i++) {
        if (!k->mask[i])
            continue;
        json_object(j, t->control_names[i]);
        for (unsigned bit = 0; bit < 32; bit++) {
            const char *name = t->control_bit_name(t->control_row(i), bit);

            if (name && (k->mask[i] >> bit & 1))
                json_bool(j, name, k->value[i] >> bit & 1);
        }
        json_end(j);
    }
    json_end(j);
}

/* "PIN_BASED_CONTROLS, ACTIVATE_VMX_PREEMPTION_TIMER: nothing else ends the guest's slice" */
static void refuse(struct call *c, const struct abi_controls_result *r, const char *why)
{
    static const struct abi_vmcs nothing;
    const struct state_table *t = call_table(c);
    char bits[128];
    unsigned row;

    if (!r->bits || r->control >= t->controls) {
        call_failf(c, 409, "not changed: %s%s",
                   r->result == -E_INVAL ? "VM entry would fail: " : "", why);
        return;
    }
    row = t->control_row(r->control);
    (void)t->line(row, r->bits, &nothing, bits, sizeof(bits));
    call_failf(c, 409, "not changed: %s, %s: %s", t->row(row).name, bits, why);
}

/* Waits for what the root has promised. False: it has refused, and the call has failed. */
static bool wait_for(struct call *c, struct api_vcpu id, const struct abi_guest *g,
                     int64_t sequence, enum api_wait wait)
{
    if (sequence < 0) {
        call_failf(c, 409, "not changed: the guest is %s, or another change is under way",
                   guest_state_name(g->state));
        return false;
    }
    c->out->wait_for = id;
    c->out->wait_sequence = (uint64_t)sequence;
    c->out->wait = wait;
    return true;
}

/* Judges by a snapshot whether the guest could still be entered, then asks the root, which checks
 * the control words again. False: one of them refused, and the call has failed. */
static bool ask(struct call *c, struct api_vcpu id, const struct abi_guest *g,
                const struct patch *p)
{
    struct abi_controls_result r;
    const struct abi_vmcs *v;
    char why[160];
    int64_t sequence;

    v = call_snapshot(c, id);
    if (!v)
        return false;
    if (controls_judge(p->table, v, &c->v->caps[c->v->vcpu(id)->core], &p->controls, &r, why,
                       sizeof(why))) {
        refuse(c, &r, why);
        return false;
    }
    sequence = c->v->controls(id, &p->controls);
    return wait_for(c, id, g, sequence, API_WAIT_CONTROLS);
}

/* Waits for a snapshot. False: none can be taken, and the call has failed. */
static bool take(struct call *c, struct api_vcpu id, const struct abi_guest *g)
{
    int64_t sequence = -E_STATE;

    if (g->flags & ABI_GUEST_MANAGEMENT) {
        call_fail(c, 409, "not changed: it is the management guest, which could be slowed down");
        return false;
    }
    if (g->state == ABI_GUEST_RUNNING || g->state == ABI_GUEST_PAUSED)
        sequence = c->v->take_snapshot(id, false);
    return wait_for(c, id, g, sequence, API_WAIT_SNAPSHOT);
}

/* True: the requested change has been made. Otherwise the call waits, or has failed. */
static bool change(struct call *c, struct api_vcpu id, const struct abi_guest *g,
                   const struct patch *p)
{
    enum api_wait came = c->came;

    if (came == API_WAIT_NONE) {
        if (!take(c, id, g) || !api_ready(c->v, c->out))
            return false;
        came = API_WAIT_SNAPSHOT;
    }
    if (came == API_WAIT_SNAPSHOT && (!ask(c, id, g, p) || !api_ready(c->v, c->out)))
        return false;
    c->out->wait = API_WAIT_NONE;
    return true;
}

/* For the log. A body has no zero at its end, and an earlier one may follow it. */
static void note_body(struct call *c)
{
    size_t n = c->r->body_len < sizeof(c->what) ? c->r->body_len : sizeof(c->what) - 1;

    memcpy(c->what, c->r->body, n);
    c->what[n] = 0;
}

void patch_vmcs(struct call *c, char *const *arg)
{
    struct abi_guest g;
    struct patch p = {.c = c, .table = call_table(c)};
    struct api_vcpu id;
    const struct abi_controls_result *r;
    struct json_out *j;

    if (!call_vcpu(c, arg, &g, &id) || !parse(&p))
        return;
    if (c->timed_out) {
        call_fail(c, 503, "the core that owns the vCPU did not answer in time");
        return;
    }
    note_body(c);
    if (!change(c, id, &g, &p))
        return;
    r = &c->v->vcpu(id)->controls;
    if (r->result) {
        refuse(c, r, controls_why(p.table, r));
        return;
    }
    j = call_begin(c);
    json_object(j, NULL);
    json_str(j, "guest", arg[0]);
    put_words(j, p.table, &p.controls);
    json_end(j);
}

/* PATCH of a VMCS: sets control bits of a running vCPU, by their names. */
#include "arch/x86/inspect/decode.h"
#include "arch/x86/vmx/exit_profile.h"
#include "arch/x86/inspect/fields.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/fmt.h"
#include "mgmt/config/json.h"
#include "hv/lib.h"
#include "mgmt/words.h"
#include "mgmt/api_call.h"
#include "mgmt/controls.h"

#define TOKENS_MAX 512u
#define NAME_MAX   48u

static const struct word {
    const char *name; /* the API's name */
    uint16_t encoding;
} words[ABI_CONTROLS] = {
    [ABI_CONTROL_PIN] = {"pin_controls", VMCS_PIN_BASED_CONTROLS},
    [ABI_CONTROL_CPU1] = {"primary_controls", VMCS_PRIMARY_PROCESSOR_CONTROLS},
    [ABI_CONTROL_CPU2] = {"secondary_controls", VMCS_SECONDARY_PROCESSOR_CONTROLS},
    [ABI_CONTROL_EXIT] = {"exit_controls", VMCS_PRIMARY_VM_EXIT_CONTROLS},
    [ABI_CONTROL_ENTRY] = {"entry_controls", VMCS_VM_ENTRY_CONTROLS},
};

struct patch {
    struct call *c;
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
    for (int i = 0; i < ABI_CONTROLS; i++)
        if (json_is(&p->json, token, words[i].name) ||
            json_is(&p->json, token, vmcs_field_by_encoding(words[i].encoding)->name))
            return i;
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
    char name[NAME_MAX];
    const struct decode_bit *bit;
    uint32_t mask;

    if (json_string(&p->json, key, name, sizeof(name)))
        return fail_at(p, key, words[word].name, "the name of a control is too long");
    bit = vmcs_control_bit_by_name(words[word].encoding, name);
    if (!bit || bit->high != bit->low || bit->low > 31)
        return fail_at(p, key, name, "this control word has no such bit");
    mask = 1u << bit->low;
    p->controls.mask[word] |= mask;
    if (is_literal(p, key + 1, "true"))
        p->controls.value[word] |= mask;
    else if (is_literal(p, key + 1, "false"))
        p->controls.value[word] &= ~mask;
    else
        return fail_at(p, key + 1, name, "must be true or false");
    return true;
}

static bool set_word(struct patch *p, int key)
{
    int word = find_word(p, key), value = key + 1, bit = key + 2;

    if (word < 0)
        return fail_at(p, key, "fields",
                       "only control words can be changed: pin_controls, primary_controls, "
                       "secondary_controls, exit_controls, entry_controls");
    if (p->json.tokens[value].type != JSMN_OBJECT)
        return fail_at(p, value, words[word].name,
                       "must be an object of bits, as {\"hlt_exiting\": false}");
    for (int i = 0; i < p->json.tokens[value].size; i++, bit = json_skip(&p->json, bit + 1))
        if (!set_bit(p, word, bit))
            return false;
    return true;
}

static bool set_profile(struct patch *p, int token)
{
    for (unsigned n = 0; n < ABI_EXIT_PROFILES; n++) {
        struct abi_controls k = exit_profile((enum abi_exit_profile)n);

        if (!json_is(&p->json, token, words_exit_profile[n]))
            continue;
        for (unsigned i = 0; i < ABI_CONTROLS; i++) {
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

static void put_words(struct json_out *j, const struct abi_controls *k)
{
    json_object(j, "changed");
    for (unsigned i = 0; i < ABI_CONTROLS; i++) {
        unsigned count = 0;
        const struct decode_bit *bits = vmcs_control_bits(words[i].encoding, &count);

        if (!k->mask[i])
            continue;
        json_object(j, words[i].name);
        for (unsigned n = 0; n < count; n++)
            if (bits[n].high == bits[n].low && bits[n].low < 32 && (k->mask[i] >> bits[n].low & 1))
                json_bool(j, bits[n].name, k->value[i] >> bits[n].low & 1);
        json_end(j);
    }
    json_end(j);
}

/* "PIN_BASED_CONTROLS ACTIVATE_VMX_PREEMPTION_TIMER: nothing else ends the guest's slice" */
static void refuse(struct call *c, const struct abi_controls_result *r, const char *why)
{
    uint32_t encoding = r->control < ABI_CONTROLS ? words[r->control].encoding : 0;
    const struct vmcs_field *f = vmcs_field_by_encoding(encoding);
    char bits[128];

    if (!r->bits || !f) {
        call_failf(c, 409, "not changed: %s%s",
                   r->result == -E_INVAL ? "VM entry would fail: " : "", why);
        return;
    }
    (void)vmcs_decode_line(encoding, r->bits, NULL, bits, sizeof(bits));
    call_failf(c, 409, "not changed: %s, %s: %s", f->name, bits, why);
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
    if (controls_judge(v, &c->v->caps[c->v->vcpu(id)->core], &p->controls, &r, why, sizeof(why))) {
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

void patch_vmcs(struct call *c, char *const *arg)
{
    struct abi_guest g;
    struct patch p = {.c = c};
    struct api_vcpu id;
    const struct abi_controls_result *r;
    struct json_out *j;

    if (!call_vcpu(c, arg, &g, &id) || !parse(&p))
        return;
    if (c->timed_out) {
        call_fail(c, 503, "the core that owns the vCPU did not answer in time");
        return;
    }
    (void)str_copy(c->what, sizeof(c->what), (const char *)c->r->body);
    if (!change(c, id, &g, &p))
        return;
    r = &c->v->vcpu(id)->controls;
    if (r->result) {
        refuse(c, r, controls_why(r));
        return;
    }
    j = call_begin(c);
    json_object(j, NULL);
    json_str(j, "guest", arg[0]);
    put_words(j, &p.controls);
    json_end(j);
}

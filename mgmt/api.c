#include "mgmt/api.h"

#include "arch/x86/vmx/fields.h"
#include "arch/x86/vmx/names.h"
#include "hv/fmt.h"
#include "hv/lib.h"

#define JSON_TYPE     "application/json"
#define TEXT_TYPE     "text/plain; charset=utf-8"
#define HTML_TYPE     "text/html; charset=utf-8"
#define SEQLOCK_TRIES 1000

/* One request on its way through. */
struct call {
    const struct api_view *v;
    const struct http_request *r;
    struct api_response *out;
    char *buf;
    size_t size;
    bool text, timed_out, waited;
    char path[HTTP_TARGET_MAX + 1];
    const char *query;
};

static void start_body(struct call *c, const char *json_type)
{
    c->out->type = c->text ? TEXT_TYPE : json_type;
    json_begin(&c->out->body, c->buf, c->size, c->text);
}

void api_error(struct api_response *out, char *buf, size_t size, bool text, unsigned status,
               const char *message)
{
    struct json_out *j = &out->body;

    out->status = status;
    out->type = text ? TEXT_TYPE : JSON_TYPE;
    out->wait = false;
    out->has_next = false;
    json_begin(j, buf, size, text);
    json_object(j, NULL);
    json_object(j, "error");
    json_u64(j, "status", status);
    json_str(j, "reason", http_reason(status));
    json_str(j, "message", message);
    json_end(j);
    json_end(j);
}

static void fail(struct call *c, unsigned status, const char *message)
{
    api_error(c->out, c->buf, c->size, c->text, status, message);
}

/* The value of a query parameter into `value`; false if it is not there. Values are plain: no
 * percent-decoding is needed for any of ours. */
static bool query_value(const struct call *c, const char *name, char *value, size_t size)
{
    size_t n = strlen(name);

    for (const char *q = c->query; *q;) {
        const char *end = q;

        while (*end && *end != '&')
            end++;
        if (strncmp(q, name, n) == 0 && q[n] == '=') {
            size_t len = (size_t)(end - q) - n - 1;

            if (len >= size)
                len = size - 1;
            memcpy(value, q + n + 1, len);
            value[len] = 0;
            return true;
        }
        q = *end ? end + 1 : end;
    }
    return false;
}

static bool parse_u64(const char *s, uint64_t *v)
{
    *v = 0;
    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9' || *v > (UINT64_MAX - 9) / 10)
            return false;
        *v = *v * 10 + (uint64_t)(*s - '0');
    }
    return true;
}

/* A consistent copy of a guest's status (not of its counters, which stand for themselves). */
static bool copy_guest(const struct call *c, unsigned number, struct abi_guest *g)
{
    const struct abi_guest *live = number < ABI_GUESTS_MAX ? c->v->guest(number) : NULL;

    if (!live)
        return false;
    for (unsigned i = 0; i < SEQLOCK_TRIES; i++) {
        uint32_t before = __atomic_load_n(&live->sequence, __ATOMIC_ACQUIRE);

        memcpy(g, live, sizeof(*g));
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (!(before & 1) && __atomic_load_n(&live->sequence, __ATOMIC_RELAXED) == before)
            break;
    }
    return g->state != ABI_GUEST_EMPTY;
}

static int find_guest(const struct call *c, const char *name, struct abi_guest *g)
{
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++)
        if (copy_guest(c, i, g) && strcmp(g->name, name) == 0)
            return (int)i;
    return -E_NOENT;
}

static const char *state_name(uint32_t state)
{
    static const char *const names[ABI_GUEST_STATES] = {"empty", "failed", "running", "stopped",
                                                        "crashed"};

    return state < ABI_GUEST_STATES ? names[state] : "unknown";
}

/* ---- host ---- */

static void put_ip(struct json_out *j, const char *name, const uint8_t ip[4])
{
    char text[16];

    (void)fmt(text, sizeof(text), "%u.%u.%u.%u", ip[0], ip[1], ip[2], ip[3]);
    json_str(j, name, text);
}

static void put_core(struct json_out *j, const struct abi_host *h, const struct abi_core *k)
{
    uint64_t total = k->busy_ticks + k->idle_ticks;

    json_object(j, NULL);
    json_u64(j, "id", k->id);
    json_u64(j, "apic_id", k->apic_id);
    json_bool(j, "vmx_root", k->flags & ABI_CORE_VMX_ROOT);
    json_u64(j, "tsc_hz", h->tsc_hz);
    json_u64(j, "vcpus", k->vcpus);
    json_u64(j, "load_percent", total ? k->busy_ticks / (total / 100 + 1) : 0);
    json_u64(j, "busy_ticks", k->busy_ticks);
    json_u64(j, "idle_ticks", k->idle_ticks);
    json_u64(j, "slice_ends", k->slice_ends);
    json_u64(j, "slice_late_max_ticks", k->slice_late_max);
    json_end(j);
}

static void get_host(struct call *c)
{
    const struct abi_host *h = c->v->host;
    const struct abi_memory *m = &h->memory;
    struct json_out *j = &c->out->body;
    uint64_t ran = c->v->tsc() - h->boot_tsc;

    start_body(c, JSON_TYPE);
    json_object(j, NULL);
    json_str(j, "version", h->version);
    json_str(j, "build_id", h->build_id);
    json_str(j, "cpu", h->cpu_brand);
    json_hex(j, "cpu_signature", h->cpu_signature, 1);
    json_hex(j, "vmcs_revision", h->vmcs_revision, 1);
    json_u64(j, "uptime_ms", h->tsc_hz >= 1000 ? ran / (h->tsc_hz / 1000) : 0);
    json_u64(j, "boot_to_first_entry_ticks",
             h->first_entry_tsc ? h->first_entry_tsc - h->boot_tsc : 0);
    json_array(j, "cores");
    for (uint32_t i = 0; i < h->core_count && i < ABI_CORES_MAX; i++)
        put_core(j, h, &h->cores[i]);
    json_end(j);
    json_object(j, "memory");
    json_u64(j, "total", m->total);
    json_u64(j, "free", m->free);
    json_u64(j, "host", m->host);
    json_u64(j, "modules", m->modules);
    json_u64(j, "shared", m->shared);
    json_u64(j, "guests", m->guests);
    json_u64(j, "tables", m->tables);
    json_u64(j, "reserved", m->reserved);
    json_end(j);
    json_object(j, "network");
    json_str(j, "nic", h->nic);
    put_ip(j, "address", h->ip);
    put_ip(j, "netmask", h->netmask);
    json_end(j);
    json_end(j);
}

static void get_healthz(struct call *c)
{
    struct json_out *j = &c->out->body;

    start_body(c, JSON_TYPE);
    json_object(j, NULL);
    json_str(j, "status", "ok");
    json_end(j);
}

/* ---- guests ---- */

static void put_summary(struct json_out *j, const struct abi_guest *g)
{
    json_str(j, "name", g->name);
    json_str(j, "state", state_name(g->state));
    json_bool(j, "management", g->flags & ABI_GUEST_MANAGEMENT);
    json_str(j, "why", g->why);
}

static void get_guests(struct call *c)
{
    struct json_out *j = &c->out->body;
    struct abi_guest g;

    start_body(c, JSON_TYPE);
    json_object(j, NULL);
    json_array(j, "guests");
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        if (!copy_guest(c, i, &g))
            continue;
        json_object(j, NULL);
        put_summary(j, &g);
        json_u64(j, "memory", g.memory);
        json_u64(j, "core", g.vcpus[0].core);
        json_u64(j, "run_ticks", g.vcpus[0].run_ticks);
        json_end(j);
    }
    json_end(j);
    json_end(j);
}

static void put_configuration(struct json_out *j, const struct abi_guest *g)
{
    static const char *const policies[] = {"never", "on-failure", "always"};
    static const char *const devices[] = {"uart", "pic", "pit", "rtc", "reset", "exit", "net"};

    json_object(j, "configuration");
    json_str(j, "image", g->image);
    json_str(j, "kind", g->image_kind);
    json_str(j, "cmdline", g->cmdline);
    json_u64(j, "memory", g->memory);
    json_u64(j, "weight", g->weight);
    json_u64(j, "slice_us", g->slice_us);
    json_u64(j, "budget_us", g->budget_us);
    json_u64(j, "period_us", g->period_us);
    json_str(j, "restart", policies[g->restart < ARRAY_LEN(policies) ? g->restart : 0]);
    json_array(j, "devices");
    for (unsigned i = 0; i < ARRAY_LEN(devices); i++)
        if (g->devices & 1u << i)
            json_str(j, NULL, devices[i]);
    json_end(j);
    json_end(j);
}

static void put_exit(struct json_out *j, const struct abi_exit *e)
{
    json_object(j, "last_exit");
    json_str(j, "reason", vmx_exit_reason_name(e->reason & 0xffff));
    json_u64(j, "number", e->reason & 0xffff);
    json_hex(j, "rip", e->rip, 1);
    json_hex(j, "qualification", e->qualification, 1);
    json_hex(j, "guest_physical", e->guest_physical, 1);
    json_u64(j, "tsc", e->tsc);
    json_end(j);
}

static void put_vcpu(struct json_out *j, unsigned id, const struct abi_vcpu *v)
{
    json_object(j, NULL);
    json_u64(j, "id", id);
    json_u64(j, "core", v->core);
    json_bool(j, "halted", v->halted);
    json_u64(j, "run_ticks", v->run_ticks);
    json_u64(j, "wait_ticks", v->wait_ticks);
    json_u64(j, "entries", v->entries);
    json_u64(j, "interrupts", v->irqs);
    json_u64(j, "slice_ends", v->slice_ends);
    json_u64(j, "slice_late_max_ticks", v->slice_late_max);
    json_object(j, "exits");
    for (unsigned i = 0; i < ABI_EXIT_REASONS; i++)
        if (v->exits[i])
            json_u64(j, vmx_exit_reason_name(i), v->exits[i]);
    json_end(j);
    put_exit(j, &v->last_exit);
    json_end(j);
}

static void get_guest(struct call *c, const char *name)
{
    struct json_out *j = &c->out->body;
    struct abi_guest g;

    if (find_guest(c, name, &g) < 0) {
        fail(c, 404, "there is no guest of this name; GET /v1/guests lists them");
        return;
    }
    start_body(c, JSON_TYPE);
    json_object(j, NULL);
    put_summary(j, &g);
    json_u64(j, "exit_code", g.exit_code);
    json_u64(j, "restarts", g.restarts);
    json_u64(j, "started_tsc", g.started_tsc);
    json_u64(j, "stopped_tsc", g.stopped_tsc);
    put_configuration(j, &g);
    json_array(j, "vcpus");
    for (unsigned i = 0; i < g.vcpu_count && i < ABI_VCPUS_MAX; i++)
        put_vcpu(j, i, &g.vcpus[i]);
    json_end(j);
    json_end(j);
}

/* ---- VMCS ---- */

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

static unsigned value_digits(const struct vmcs_field *f)
{
    switch (vmcs_encoded_width(f->encoding)) {
    case VMCS_WIDTH_16:
        return 4;
    case VMCS_WIDTH_32:
        return 8;
    default:
        return 16;
    }
}

static void put_field(struct json_out *j, const struct vmcs_field *f, bool present, uint64_t value)
{
    const char *group = vmcs_group_name(vmcs_encoded_group(f->encoding));
    const char *width = vmcs_width_name(vmcs_encoded_width(f->encoding));

    if (j->text) {
        if (present)
            json_printf(j, "\n0x%04x  %-36s %-9s %-7s  0x%0*lx", f->encoding, f->name, group, width,
                        (int)value_digits(f), value);
        else
            json_printf(j, "\n0x%04x  %-36s %-9s %-7s  absent: %s", f->encoding, f->name, group,
                        width, vmcs_field_absence(f));
        return;
    }
    json_object(j, NULL);
    json_hex(j, "encoding", f->encoding, 4);
    json_str(j, "name", f->name);
    json_str(j, "group", group);
    json_str(j, "width", width);
    if (present) {
        json_hex(j, "value", value, value_digits(f));
    } else {
        const char *reason = vmcs_field_absence(f);

        json_null(j, "value");
        json_str(j, "reason", *reason ? reason : "this CPU does not have the field");
    }
    json_end(j);
}

static void put_snapshot(struct call *c, const char *name, unsigned vcpu,
                         const struct abi_snapshot *s)
{
    struct json_out *j = &c->out->body;

    start_body(c, JSON_TYPE);
    json_object(j, NULL);
    json_str(j, "guest", name);
    json_u64(j, "vcpu", vcpu);
    json_u64(j, "sequence", s->sequence);
    json_u64(j, "tsc", s->tsc);
    json_u64(j, "snapshot_ticks", s->ticks);
    json_array(j, "fields");
    for (unsigned row = 0; row < s->count && row < ABI_SNAPSHOT_FIELDS; row++) {
        const struct vmcs_field *f = vmcs_field(row);

        if (f)
            put_field(j, f, vmcs_has(&s->vmcs, row), s->vmcs.value[row]);
    }
    json_end(j);
    json_end(j);
}

static void get_vmcs(struct call *c, const char *name, const char *vcpu_text)
{
    static struct abi_snapshot s; /* too large for the stack; one request is answered at a time */
    struct abi_guest g;
    uint64_t vcpu;
    int number = find_guest(c, name, &g);
    int64_t sequence;

    if (number < 0) {
        fail(c, 404, "there is no guest of this name; GET /v1/guests lists them");
        return;
    }
    if (!parse_u64(vcpu_text, &vcpu) || vcpu >= g.vcpu_count) {
        fail(c, 404, "there is no vCPU of this number");
        return;
    }
    if (c->timed_out) {
        fail(c, 503, "the core that owns the vCPU did not answer in time");
        return;
    }
    if (!c->waited) {
        sequence = c->v->take_snapshot((unsigned)number, (unsigned)vcpu);
        if (sequence < 0) {
            fail(c, 409, "the guest has never run: there is no VMCS to show");
            return;
        }
        c->out->wait_guest = (unsigned)number;
        c->out->wait_sequence = (uint64_t)sequence;
        c->out->wait = !api_ready(c->v, c->out);
        if (c->out->wait)
            return;
    }
    copy_snapshot(c->v->snapshot((unsigned)number), &s);
    put_snapshot(c, name, (unsigned)vcpu, &s);
}

bool api_ready(const struct api_view *v, const struct api_response *r)
{
    const struct abi_snapshot *s = v->snapshot(r->wait_guest);

    return s && __atomic_load_n(&s->sequence, __ATOMIC_ACQUIRE) >= r->wait_sequence;
}

/* ---- rings ---- */

/* Bytes [*from, end) of a ring into the start of `out`, at most `size`; *from is moved up to what
 * is still there. */
static size_t copy_ring(const struct abi_ring *r, uint64_t *from, uint8_t *out, size_t size)
{
    uint64_t end = __atomic_load_n(&r->written, __ATOMIC_ACQUIRE), now;
    uint64_t oldest = end > r->size ? end - r->size : 0;
    size_t n = 0;

    *from = *from < oldest ? oldest : *from > end ? end : *from;
    while (*from + n < end && n < size) {
        out[n] = r->data[(*from + n) & (r->size - 1)];
        n++;
    }
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    /* What the writer went over meanwhile is not what we think. */
    now = __atomic_load_n(&r->written, __ATOMIC_RELAXED);
    oldest = now > r->size ? now - r->size : 0;
    if (oldest > *from) {
        uint64_t lost = oldest - *from;

        lost = lost < n ? lost : n;
        memmove(out, out + lost, n - lost);
        *from += lost;
        n -= lost;
    }
    return n;
}

static void get_ring(struct call *c, const struct abi_ring *r, bool text_by_default)
{
    static uint8_t bytes[ABI_LOG_RING_SIZE];
    struct json_out *j = &c->out->body;
    char value[24];
    uint64_t from = 0;
    size_t n;

    if (query_value(c, "from", value, sizeof(value)) && !parse_u64(value, &from)) {
        fail(c, 400, "from: must be a whole number, the Bulkhead-Next of an earlier answer");
        return;
    }
    if (text_by_default && !(query_value(c, "format", value, sizeof(value))))
        c->text = true;
    n = copy_ring(r, &from, bytes, sizeof(bytes));
    c->out->has_next = true;
    c->out->next = from + n;
    start_body(c, JSON_TYPE);
    if (c->text) {
        json_raw(j, (const char *)bytes, n);
        return;
    }
    json_object(j, NULL);
    json_u64(j, "from", from);
    json_u64(j, "next", from + n);
    json_bytes(j, "text", bytes, n);
    json_end(j);
}

static void console(struct call *c, const char *name)
{
    struct json_out *j = &c->out->body;
    struct abi_guest g;
    int number = find_guest(c, name, &g);
    int64_t taken;

    if (number < 0) {
        fail(c, 404, "there is no guest of this name; GET /v1/guests lists them");
        return;
    }
    if (c->r->method != HTTP_POST) {
        get_ring(c, c->v->console((unsigned)number), true);
        return;
    }
    taken = c->v->type((unsigned)number, c->r->body, c->r->body_len);
    if (taken < 0) {
        fail(c, 409, "the guest is not running, or has no UART");
        return;
    }
    start_body(c, JSON_TYPE);
    json_object(j, NULL);
    json_u64(j, "accepted", (uint64_t)taken);
    json_end(j);
}

/* ---- actions ---- */

/* {"action": "stop"}: the only shape, so that finding the word is parsing enough. */
static int parse_action(const struct http_request *r)
{
    static const struct {
        const char *text;
        int action;
    } known[] = {
        {"{\"action\":\"stop\"}", ABI_ACTION_STOP},
        {"{\"action\":\"start\"}", ABI_ACTION_START},
        {"{\"action\":\"reset\"}", ABI_ACTION_RESET},
    };
    char packed[40];
    size_t n = 0;

    for (size_t i = 0; i < r->body_len; i++) {
        char ch = (char)r->body[i];

        if (ch == ' ' || ch == '\t' || ch == '\r' || ch == '\n')
            continue;
        if (n == sizeof(packed) - 1)
            return -E_FORMAT;
        packed[n++] = ch;
    }
    packed[n] = 0;
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (strcmp(packed, known[i].text) == 0)
            return known[i].action;
    return -E_FORMAT;
}

static void actions(struct call *c, const char *name)
{
    struct json_out *j = &c->out->body;
    struct abi_guest g;
    int number = find_guest(c, name, &g), action = parse_action(c->r);
    int64_t rc;

    if (number < 0) {
        fail(c, 404, "there is no guest of this name; GET /v1/guests lists them");
        return;
    }
    if (action < 0) {
        fail(c, 400, "the body must be {\"action\": \"start\"}, \"stop\" or \"reset\"");
        return;
    }
    rc = c->v->act((unsigned)number, (unsigned)action);
    if (rc < 0) {
        char text[96];

        (void)fmt(text, sizeof(text), "not possible: the guest is %s%s", state_name(g.state),
                  rc == -E_PERM ? ", and the management guest cannot be stopped" : "");
        fail(c, 409, text);
        return;
    }
    start_body(c, JSON_TYPE);
    c->out->status = 202;
    json_object(j, NULL);
    json_str(j, "guest", name);
    json_str(j, "status", "accepted");
    json_end(j);
}

/* ---- the page ---- */

static void put_row(struct json_out *j, const struct abi_guest *g)
{
    json_printf(j, "<tr><td><a href=\"/v1/guests/%s\">%s</a></td><td>%s</td><td>%s</td>", g->name,
                g->name, state_name(g->state), g->why);
    json_printf(j, "<td>%u</td><td>%lu MB</td>", g->vcpus[0].core, g->memory >> 20);
    json_printf(j, "<td><a href=\"/v1/guests/%s/vcpus/0/vmcs?format=text\">VMCS</a></td>", g->name);
    json_printf(j, "<td><a href=\"/v1/guests/%s/console\">console</a></td></tr>\n", g->name);
}

static void get_page(struct call *c)
{
    static const char head[] =
        "<!doctype html><meta charset=utf-8><meta http-equiv=refresh content=5>"
        "<title>Bulkhead</title><style>body{font:16px system-ui,sans-serif;margin:2em;"
        "max-width:70em}table{border-collapse:collapse}td,th{padding:.3em .8em;text-align:left;"
        "border-bottom:1px solid #bbb}</style><h1>Bulkhead</h1>\n<table><tr><th>guest<th>state"
        "<th>why<th>core<th>memory<th>VMCS<th>console</tr>\n";
    static const char foot[] =
        "</table><p><a href=\"/v1/host\">host</a> "
        "<a href=\"/v1/guests\">guests</a> <a href=\"/v1/log\">log</a></p>\n";
    struct json_out *j = &c->out->body;
    struct abi_guest g;

    c->text = false;
    start_body(c, HTML_TYPE);
    json_raw(j, head, sizeof(head) - 1);
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++)
        if (copy_guest(c, i, &g))
            put_row(j, &g);
    json_raw(j, foot, sizeof(foot) - 1);
}

/* ---- routing ---- */

#define SEGMENTS_MAX 8

static unsigned split(char *path, char *segments[SEGMENTS_MAX])
{
    unsigned n = 0;

    for (char *p = path; *p;) {
        if (*p == '/') {
            *p++ = 0;
            continue;
        }
        if (n == SEGMENTS_MAX)
            return SEGMENTS_MAX + 1;
        segments[n++] = p;
        while (*p && *p != '/')
            p++;
    }
    return n;
}

enum { GET = 1, POST = 2 };

static bool allowed(struct call *c, unsigned methods)
{
    unsigned m = c->r->method;

    if (((methods & GET) && (m == HTTP_GET || m == HTTP_HEAD)) ||
        ((methods & POST) && m == HTTP_POST))
        return true;
    fail(c, 405, "this resource does not take this method");
    c->out->allow = methods == GET ? "GET, HEAD" : methods == POST ? "POST" : "GET, HEAD, POST";
    return false;
}

static void route_guest(struct call *c, char *s[], unsigned n)
{
    if (n == 3) {
        if (allowed(c, GET))
            get_guest(c, s[2]);
    } else if (n == 4 && strcmp(s[3], "console") == 0) {
        if (allowed(c, GET | POST))
            console(c, s[2]);
    } else if (n == 4 && strcmp(s[3], "actions") == 0) {
        if (allowed(c, POST))
            actions(c, s[2]);
    } else if (n == 6 && strcmp(s[3], "vcpus") == 0 && strcmp(s[5], "vmcs") == 0) {
        if (allowed(c, GET))
            get_vmcs(c, s[2], s[4]);
    } else {
        fail(c, 404, "there is no such resource");
    }
}

static void route(struct call *c)
{
    char *s[SEGMENTS_MAX];
    unsigned n = split(c->path, s);
    bool v1 = n >= 2 && n <= SEGMENTS_MAX && strcmp(s[0], "v1") == 0;

    if (n == 0) {
        if (allowed(c, GET))
            get_page(c);
    } else if (n == 1 && strcmp(s[0], "healthz") == 0) {
        if (allowed(c, GET))
            get_healthz(c);
    } else if (v1 && n == 2 && strcmp(s[1], "host") == 0) {
        if (allowed(c, GET))
            get_host(c);
    } else if (v1 && n == 2 && strcmp(s[1], "guests") == 0) {
        if (allowed(c, GET))
            get_guests(c);
    } else if (v1 && n == 2 && strcmp(s[1], "log") == 0) {
        if (allowed(c, GET))
            get_ring(c, c->v->log, false);
    } else if (v1 && strcmp(s[1], "guests") == 0) {
        route_guest(c, s, n);
    } else {
        fail(c, 404, "there is no such resource");
    }
}

void api_handle(const struct api_view *v, const struct http_request *r, char *buf, size_t size,
                struct api_response *out, bool waited, bool timed_out)
{
    struct call c = {.v = v,
                     .r = r,
                     .out = out,
                     .buf = buf,
                     .size = size,
                     .waited = waited,
                     .timed_out = timed_out,
                     .text = r->accept_text};
    char format[8], *q;

    *out = (struct api_response){
        .status = 200, .wait_guest = out->wait_guest, .wait_sequence = out->wait_sequence};
    (void)str_copy(c.path, sizeof(c.path), r->target);
    for (q = c.path; *q && *q != '?'; q++)
        ;
    c.query = *q ? q + 1 : q;
    *q = 0;
    if (query_value(&c, "format", format, sizeof(format))) {
        if (strcmp(format, "text") == 0)
            c.text = true;
        else if (strcmp(format, "json") == 0)
            c.text = false;
        else {
            fail(&c, 400, "format: must be json or text");
            return;
        }
    }
    if (c.path[0] != '/')
        fail(&c, 400, "the request target must be a path");
    else
        route(&c);
    if (out->body.overflow)
        fail(&c, 500, "the answer does not fit its buffer");
}

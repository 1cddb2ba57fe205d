#include "mgmt/api.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/api_call.h"

#define JSON_TYPE    "application/json"
#define TEXT_TYPE    "text/plain; charset=utf-8"
#define SEGMENTS_MAX 8
#define ARGS_MAX     3

struct json_out *call_begin_raw(struct call *c, const char *type)
{
    c->out->type = type;
    json_begin(&c->out->body, c->buf, c->size, c->text);
    return &c->out->body;
}

struct json_out *call_begin(struct call *c)
{
    return call_begin_raw(c, c->text ? TEXT_TYPE : JSON_TYPE);
}

void api_error(struct api_response *out, char *buf, size_t size, bool text, unsigned status,
               const char *message)
{
    struct json_out *j = &out->body;

    out->stream.more = NULL;
    out->status = status;
    out->type = text ? TEXT_TYPE : JSON_TYPE;
    out->wait = false;
    out->has_next = false;
    out->file = NULL;
    json_begin(j, buf, size, text);
    json_object(j, NULL);
    json_object(j, "error");
    json_u64(j, "status", status);
    json_str(j, "reason", http_reason(status));
    json_str(j, "message", message);
    json_end(j);
    json_end(j);
}

void call_fail(struct call *c, unsigned status, const char *message)
{
    api_error(c->out, c->buf, c->size, c->text, status, message);
}

void call_failf(struct call *c, unsigned status, const char *format, ...)
{
    char text[256];
    va_list ap;

    va_start(ap, format);
    (void)fmt_v(text, sizeof(text), format, ap);
    va_end(ap);
    call_fail(c, status, text);
}

bool call_query(const struct call *c, const char *name, char *value, size_t size)
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

bool parse_u64(const char *s, uint64_t *v)
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

bool call_query_u64(struct call *c, const char *name, uint64_t *v)
{
    char value[24];

    if (!call_query(c, name, value, sizeof(value)) || parse_u64(value, v))
        return true;
    call_failf(c, 400, "%s: must be a whole number", name);
    return false;
}

bool call_query_bool(struct call *c, const char *name, bool *v)
{
    char value[4];

    if (!call_query(c, name, value, sizeof(value)))
        return true;
    *v = value[0] == '1';
    if ((value[0] == '0' || value[0] == '1') && value[1] == 0)
        return true;
    call_failf(c, 400, "%s: must be 0 or 1", name);
    return false;
}

bool call_copy_guest(const struct call *c, unsigned number, struct abi_guest *g)
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

int call_guest(struct call *c, const char *name, struct abi_guest *g)
{
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++)
        if (call_copy_guest(c, i, g) && strcmp(g->name, name) == 0)
            return (int)i;
    call_fail(c, 404, "there is no guest of this name; GET /v1/guests lists them");
    return -E_NOENT;
}

int call_vcpu(struct call *c, const char *name, const char *vcpu, struct abi_guest *g)
{
    int number = call_guest(c, name, g);
    uint64_t n;

    if (number < 0)
        return number;
    if (parse_u64(vcpu, &n) && n < g->vcpu_count)
        return number;
    call_fail(c, 404, "there is no vCPU of this number");
    return -E_NOENT;
}

void call_stream(struct call *c, const char *type,
                 size_t (*more)(const struct api_view *v, struct api_stream *s, char *buf,
                                size_t size),
                 uint64_t next, unsigned guest)
{
    (void)call_begin_raw(c, type);
    c->out->stream = (struct api_stream){.more = more, .next = next, .guest = guest};
}

const char *exit_profile_name(uint32_t profile)
{
    static const char *const names[ABI_EXIT_PROFILES] = {
        [ABI_EXITS_DEFAULT] = "default",
        [ABI_EXITS_LEAST] = "least",
        [ABI_EXITS_MOST] = "most",
    };

    return profile < ABI_EXIT_PROFILES ? names[profile] : "?";
}

const char *guest_state_name(uint32_t state)
{
    static const char *const names[ABI_GUEST_STATES] = {
        [ABI_GUEST_EMPTY] = "deleted",   [ABI_GUEST_STARTING] = "starting",
        [ABI_GUEST_FAILED] = "failed",   [ABI_GUEST_RUNNING] = "running",
        [ABI_GUEST_STOPPED] = "stopped", [ABI_GUEST_CRASHED] = "crashed",
        [ABI_GUEST_PAUSED] = "paused",   [ABI_GUEST_DELETING] = "deleting",
    };

    return state < ABI_GUEST_STATES ? names[state] : "unknown";
}

/* ---- routing ---- */

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

/* "*" stands for a segment that is handed over. */
static const struct route {
    const char *path[SEGMENTS_MAX];
    void (*get)(struct call *c, char *const *arg);
    void (*post)(struct call *c, char *const *arg);
    void (*patch)(struct call *c, char *const *arg);
} routes[] = {
    {{NULL}, get_page, NULL, NULL},
    {{"healthz"}, get_healthz, NULL, NULL},
    {{"v1", "events"}, get_events, NULL, NULL},
    {{"metrics"}, get_metrics, NULL, NULL},
    {{"v1", "host"}, get_host, NULL, NULL},
    {{"v1", "log"}, get_log, NULL, NULL},
    {{"v1", "guests"}, get_guests, NULL, NULL},
    {{"v1", "guests", "*"}, get_guest, NULL, NULL},
    {{"v1", "guests", "*", "console"}, get_console, post_console, NULL},
    {{"v1", "guests", "*", "actions"}, NULL, post_action, NULL},
    {{"v1", "guests", "*", "vcpus", "*", "exits"}, get_exits, NULL, NULL},
    {{"v1", "guests", "*", "vcpus", "*", "vmcs"}, get_vmcs, NULL, patch_vmcs},
    {{"v1", "guests", "*", "vcpus", "*", "vmcs", "snapshots"}, get_snapshots, post_snapshot, NULL},
    {{"v1", "guests", "*", "vcpus", "*", "vmcs", "snapshots", "*"}, get_snapshot, NULL, NULL},
    {{"v1", "guests", "*", "vcpus", "*", "vmcs", "diff"}, get_diff, NULL, NULL},
    {{"v1", "guests", "*", "vcpus", "*", "vmcs", "check"}, get_check, NULL, NULL},
    {{"v1", "vmx", "capabilities"}, get_capabilities, NULL, NULL},
    {{"v1", "vmx", "layout"}, get_layout, NULL, NULL},
    {{"v1", "vmx", "decode"}, NULL, post_decode, NULL},
    {{"page", "*"}, get_page_file, NULL, NULL},
};

static bool matches(const struct route *t, char *const *segments, unsigned n, char **arg)
{
    for (unsigned i = 0; i < SEGMENTS_MAX; i++) {
        if (!t->path[i] || i >= n)
            return !t->path[i] && i >= n;
        if (strcmp(t->path[i], "*") == 0)
            *arg++ = segments[i];
        else if (strcmp(t->path[i], segments[i]) != 0)
            return false;
    }
    return n == SEGMENTS_MAX;
}

static void call_route(struct call *c, const struct route *t, char *const *arg)
{
    unsigned m = c->r->method;

    if (t->get && (m == HTTP_GET || m == HTTP_HEAD)) {
        t->get(c, arg);
    } else if (c->r->cross_origin) {
        call_fail(c, 403, "sent by a page of another site (Origin is not Host)");
    } else if (t->post && m == HTTP_POST) {
        t->post(c, arg);
    } else if (t->patch && m == HTTP_PATCH) {
        t->patch(c, arg);
    } else {
        call_fail(c, 405, "this resource does not take this method");
        c->out->allow = t->patch            ? "GET, HEAD, PATCH"
                        : t->get && t->post ? "GET, HEAD, POST"
                        : t->get            ? "GET, HEAD"
                                            : "POST";
    }
}

static void route(struct call *c)
{
    char *segments[SEGMENTS_MAX], *arg[ARGS_MAX];
    unsigned n = split(c->path, segments);

    for (unsigned i = 0; i < ARRAY_LEN(routes); i++)
        if (matches(&routes[i], segments, n, arg)) {
            call_route(c, &routes[i], arg);
            return;
        }
    call_fail(c, 404, "there is no such resource");
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

    *out = (struct api_response){.status = 200,
                                 .wait_guest = out->wait_guest,
                                 .wait_sequence = out->wait_sequence,
                                 .wait_controls = waited && out->wait_controls};
    (void)str_copy(c.path, sizeof(c.path), r->target);
    for (q = c.path; *q && *q != '?'; q++)
        ;
    c.query = *q ? q + 1 : q;
    *q = 0;
    if (call_query(&c, "format", format, sizeof(format))) {
        if (strcmp(format, "text") == 0)
            c.text = true;
        else if (strcmp(format, "json") == 0)
            c.text = false;
        else {
            call_fail(&c, 400, "format: must be json or text");
            return;
        }
    }
    if (c.path[0] != '/')
        call_fail(&c, 400, "the request target must be a path");
    else
        route(&c);
    if (out->body.overflow)
        call_fail(&c, 500, "the answer does not fit its buffer");
}

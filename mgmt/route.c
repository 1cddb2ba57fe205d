/* Which resource a request is for, and whether its client may use it. */
#include "mgmt/route.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/state.h"
#include "mgmt/upload.h"

#define SEGMENTS_MAX TARGET_SEGMENTS
#define ARGS_MAX     3

typedef void handler(struct call *c, char *const *arg);

#define DUMP_QUERY      "decode oddities group fields format"

#define OF_VMX(INSTEAD) .kind = ABI_STATE_VMX, .instead = (INSTEAD)
#define OF_SVM(INSTEAD) .kind = ABI_STATE_SVM, .instead = (INSTEAD)

struct method {
    handler *handler;
    const char *query; /* the parameters that it knows, as words; NULL: none; "*": any */
};

/* "*" stands for a segment that is passed on. Roles: what reading and changing need; ROLE_READ
 * if not given. */
static const struct route {
    const char *path[SEGMENTS_MAX];
    struct method get, post, put, patch, delete;
    uint32_t look, change;
    bool open; /* reading needs no token */
    /* On machines of another kind: 501, with what to use instead. ABI_STATE_NONE: of all. */
    enum abi_state_kind kind;
    const char *instead;
} routes[] = {
    {.path = {NULL}, .get = {get_page, "*"}, .open = true},
    {.path = {"page", "*"}, .get = {get_page_file, "*"}, .open = true},
    {.path = {"openapi.json"}, .get = {.handler = get_openapi}, .open = true},
    {.path = {"healthz"}, .get = {get_healthz, "format"}, .open = true}, /* says nothing else */
    {.path = {"metrics"}, .get = {.handler = get_metrics}},
    {.path = {"v1", "whoami"}, .get = {get_whoami, "format"}},
    {.path = {"v1", "config"}, .get = {get_config, "format"}, .look = ROLE_ADMIN},
    {.path = {"v1", "events"}, .get = {get_events, "from follow format"}},
    {.path = {"v1", "host"}, .get = {get_host, "format"}},
    {.path = {"v1", "host", "actions"}, .post = {post_host_action, "format"}, .change = ROLE_ADMIN},
    {.path = {"v1", "log"}, .get = {get_log, "from follow time format"}},
    {.path = {"v1", "images"}, .get = {get_images, "format"}},
    {.path = {"v1", "images", "*"},
     .get = {get_image, "format"},
     .put = {put_image, "format"},
     .delete = {delete_image, "format"},
     .change = ROLE_ADMIN},
    {.path = {"v1", "guests"},
     .get = {get_guests, "format"},
     .post = {post_guests, "format"},
     .change = ROLE_ADMIN},
    {.path = {"v1", "guests", "*"},
     .get = {get_guest, "format"},
     .delete = {delete_guest, "format"},
     .change = ROLE_ADMIN},
    {.path = {"v1", "guests", "*", "console"},
     .get = {get_console, "from follow format"},
     .post = {post_console, "format"},
     .change = ROLE_OPERATE},
    {.path = {"v1", "guests", "*", "history"}, .get = {get_history, "format"}},
    {.path = {"v1", "guests", "*", "memory"},
     .get = {get_memory, "from length"},
     .look = ROLE_ADMIN},
    {.path = {"v1", "guests", "*", "terminal"},
     .get = {.handler = get_terminal},
     .look = ROLE_OPERATE},
    {.path = {"v1", "guests", "*", "actions"},
     .post = {post_action, "format"},
     .change = ROLE_OPERATE},
    {.path = {"v1", "guests", "*", "vcpus", "*", "exits"}, .get = {get_exits, "n reason format"}},
    {.path = {"v1", "guests", "*", "vcpus", "*", "vmcs"},
     .get = {get_vmcs, DUMP_QUERY},
     .patch = {patch_vmcs, "format"},
     .change = ROLE_OPERATE,
     OF_VMX(".../vmcb")},
    {.path = {"v1", "guests", "*", "vcpus", "*", "vmcs", "snapshots"},
     .get = {get_snapshots, "format"},
     .post = {post_snapshot, DUMP_QUERY},
     .change = ROLE_OPERATE,
     OF_VMX(".../vmcb")},
    {.path = {"v1", "guests", "*", "vcpus", "*", "vmcs", "snapshots", "*"},
     .get = {get_snapshot, DUMP_QUERY},
     OF_VMX(".../vmcb")},
    {.path = {"v1", "guests", "*", "vcpus", "*", "vmcs", "diff"},
     .get = {get_diff, "from to volatile format"},
     OF_VMX(".../vmcb")},
    {.path = {"v1", "guests", "*", "vcpus", "*", "vmcs", "check"},
     .get = {get_check, "format"},
     OF_VMX(".../vmcb")},
    {.path = {"v1", "guests", "*", "vcpus", "*", "vmcb"},
     .get = {get_vmcs, DUMP_QUERY},
     .patch = {patch_vmcs, "format"},
     .change = ROLE_OPERATE,
     OF_SVM(".../vmcs")},
    {.path = {"v1", "guests", "*", "vcpus", "*", "vmcb", "snapshots"},
     .get = {get_snapshots, "format"},
     .post = {post_snapshot, DUMP_QUERY},
     .change = ROLE_OPERATE,
     OF_SVM(".../vmcs")},
    {.path = {"v1", "guests", "*", "vcpus", "*", "vmcb", "snapshots", "*"},
     .get = {get_snapshot, DUMP_QUERY},
     OF_SVM(".../vmcs")},
    {.path = {"v1", "guests", "*", "vcpus", "*", "vmcb", "diff"},
     .get = {get_diff, "from to volatile format"},
     OF_SVM(".../vmcs")},
    {.path = {"v1", "guests", "*", "vcpus", "*", "vmcb", "check"},
     .get = {get_check, "format"},
     OF_SVM(".../vmcs")},
    {.path = {"v1", "vmx", "capabilities"},
     .get = {get_capabilities, "decode format"},
     OF_VMX("/v1/svm/capabilities")},
    {.path = {"v1", "vmx", "layout"},
     .get = {get_layout, "format"},
     OF_VMX("/v1/compare: a VMCB's layout is public")},
    {.path = {"v1", "vmx", "decode"}, /* changes nothing */
     .post = {post_decode, DUMP_QUERY},
     OF_VMX(".../vmcb: a VMCB needs no layout to be found")},
    {.path = {"v1", "svm", "capabilities"},
     .get = {get_svm_capabilities, "decode format"},
     OF_SVM("/v1/vmx/capabilities")},
    {.path = {"v1", "compare"}, .get = {get_compare, "format"}},
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

static const struct method *method_of(const struct route *t, unsigned method)
{
    switch (method) {
    case HTTP_GET:
    case HTTP_HEAD:
        return &t->get;
    case HTTP_POST:
        return &t->post;
    case HTTP_PUT:
        return &t->put;
    case HTTP_PATCH:
        return &t->patch;
    case HTTP_DELETE:
        return &t->delete;
    default:
        return NULL;
    }
}

static void say_allowed(const struct route *t, char *buf, size_t size)
{
    const struct {
        handler *handler;
        const char *names;
    } methods[] = {{t->get.handler, "GET, HEAD"},
                   {t->post.handler, "POST"},
                   {t->put.handler, "PUT"},
                   {t->patch.handler, "PATCH"},
                   {t->delete.handler, "DELETE"}};
    size_t n = 0;

    for (size_t i = 0; i < ARRAY_LEN(methods); i++)
        if (methods[i].handler)
            n += fmt(buf + n, size - n, "%s%s", n ? ", " : "", methods[i].names);
}

uint64_t route_ms(const struct api_view *v)
{
    uint64_t ticks_per_ms = v->host->tsc_hz / 1000;

    return ticks_per_ms ? v->tsc() / ticks_per_ms : 0;
}

/* Each token has its own budget of lines, so that one cannot hide what others did. */
static uint64_t token_key(const char *name)
{
    uint64_t h = 0xcbf29ce484222325ull; /* FNV-1a */

    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 0x100000001b3ull;
    return h;
}

static struct audit_event change_by(const struct http_request *r, const struct auth_identity *who,
                                    const char *what, unsigned status)
{
    return (struct audit_event){
        .source = token_key(who->name),
        .from = r->from,
        .name = who->name,
        .method = llhttp_method_name(r->method),
        .target = r->target,
        .what = what,
        .status = status,
    };
}

void route_note_change(const struct api_view *v, const struct http_request *r,
                       const struct auth_identity *who, const char *what, unsigned status)
{
    const struct audit_event e = change_by(r, who, what, status);

    audit_change(v->audit, &e, route_ms(v), v->note);
}

void route_note_left(const struct api_view *v, const struct http_request *r,
                     const struct api_response *out)
{
    const struct audit_event e = change_by(r, &out->who, "", 0);

    if (out->audit)
        audit_end(&e, out->audit, v->note);
}

/* A call that has been answered, or that now waits, or waits again. */
static void note_call(struct call *c)
{
    const struct audit_event e = change_by(c->r, &c->who, c->what, c->out->status);

    if (c->out->wait && !c->waited) {
        c->out->audit = audit_wait(c->v->audit, &e, route_ms(c->v), c->v->note);
    } else if (!c->out->wait && !c->waited) {
        audit_change(c->v->audit, &e, route_ms(c->v), c->v->note);
    } else if (!c->out->wait && c->out->audit) {
        audit_end(&e, c->out->audit, c->v->note);
        c->out->audit = 0;
    }
}

void route_note_refusal(const struct api_view *v, const struct http_request *r,
                        const struct auth_identity *who, unsigned status)
{
    const struct audit_event e = {
        .source = r->client.high ^ r->client.low,
        .from = r->from,
        .name = who->name,
        .role = who->role == ROLE_NONE ? NULL : auth_role_name(who->role),
        .method = llhttp_method_name(r->method),
        .target = r->target,
        .what = "",
        .status = status,
    };

    audit_refusal(v->audit, &e, route_ms(v), v->note);
}

/* Browsers cannot send an Authorization field with a WebSocket: a subprotocol carries the token. */
static const char *shown_token(const struct http_request *r)
{
    const struct websocket_offer *o = &r->websocket;

    if (r->authorization[0] || !o->websocket)
        return auth_bearer(r->authorization);
    return o->long_token ? "?" : o->token[0] ? o->token : NULL;
}

/* `name` and `suffix` are in lower case; `s` may have any case. */
static bool is_name(const char *s, size_t n, const char *name, const char *suffix)
{
    size_t k = strlen(name);

    if (n != k + strlen(suffix))
        return false;
    for (size_t i = 0; i < n; i++) {
        char ch = s[i] >= 'A' && s[i] <= 'Z' ? (char)(s[i] | 0x20) : s[i];

        if (ch != (i < k ? name[i] : suffix[i - k]))
            return false;
    }
    return true;
}

/* A host, perhaps with a port, that a browser sends only if its user really asked for us: an
 * address, or a name that no foreign name server answers for. */
static bool is_our_host(const struct service_config *m, const char *host)
{
    bool digits = true;
    size_t n = 0;

    if (host[0] == '[' || !host[0]) /* a client that sends none is not a browser */
        return true;
    for (; host[n] && host[n] != ':'; n++)
        digits &= (host[n] >= '0' && host[n] <= '9') || host[n] == '.';
    return digits || is_name(host, n, m->hostname, "") || is_name(host, n, m->hostname, ".local") ||
           is_name(host, n, "localhost", "");
}

static bool admit(const struct api_view *v, const struct http_request *r, uint32_t role,
                  struct route_guard *g)
{
    const struct service_config *m = &v->config->management.service;

    *g = (struct route_guard){.status = 401};
    /* Without tokens and certificates, a page of another site whose name resolves to us would count
     * as our own (DNS rebinding). */
    if (m->auth == AUTH_NONE && m->http == PORT80_PLAIN && !is_our_host(m, r->host)) {
        g->status = 421;
        (void)fmt(g->why, sizeof(g->why), "without tokens Host must be an address, %s or %s.local",
                  m->hostname, m->hostname);
        return false;
    }
    switch (auth_check(v->auth, m, v->random_token, shown_token(r), &r->client, route_ms(v),
                       &g->who, &g->retry_s)) {
    case AUTH_KNOWN:
        if (g->who.role >= role)
            return true;
        g->status = 403;
        (void)fmt(g->why, sizeof(g->why), "this needs the role %s; the token's is %s",
                  auth_role_name(role), auth_role_name(g->who.role));
        break;
    case AUTH_NO_KEY:
        g->status = 503;
        (void)str_copy(g->why, sizeof(g->why),
                       "the API is closed: this CPU can make no token; configure tokens in "
                       "guests.json");
        break;
    case AUTH_SLOWED:
        g->status = 429;
        (void)str_copy(g->why, sizeof(g->why),
                       "this token is not known, and too many wrong ones came from this address");
        break;
    case AUTH_ABSENT:
        (void)str_copy(g->why, sizeof(g->why), "a token is needed: Authorization: Bearer TOKEN");
        break;
    case AUTH_WRONG:
        (void)str_copy(g->why, sizeof(g->why), "this token is not known");
        break;
    }
    return false;
}

bool route_admit(const struct api_view *v, const struct http_request *r, uint32_t role,
                 struct route_guard *g)
{
    bool admitted = admit(v, r, role, g);

    if (!admitted && (g->status == 401 || g->status == 403 || g->status == 429))
        route_note_refusal(v, r, &g->who, g->status);
    return admitted;
}

static bool is_look(const struct call *c)
{
    return c->r->method == HTTP_GET || c->r->method == HTTP_HEAD;
}

/* A client that is not admitted learns nothing, not even which resources exist. */
static bool is_admitted(struct call *c, const struct route *t)
{
    uint32_t role = !t ? 0 : is_look(c) ? t->look : t->change;
    struct route_guard g;

    if (t && t->open && is_look(c)) {
        c->out->known = c->v->config->management.service.auth == AUTH_NONE; /* none is needed */
        c->out->who.role = c->out->known ? ROLE_ADMIN : ROLE_NONE;
        return true;
    }
    if (c->waited) { /* it was admitted before it waited */
        c->who = c->out->who;
        return true;
    }
    if (c->r->streaming) { /* the upload was admitted when it began, however long it took */
        c->who = ((const struct upload *)c->r->sink_ctx)->who;
        c->out->known = true;
        c->out->who = c->who;
        return true;
    }
    if (route_admit(c->v, c->r, role ? role : (uint32_t)ROLE_READ, &g)) {
        c->who = g.who;
        c->out->known = true;
        c->out->who = c->who;
        return true;
    }
    call_fail(c, g.status, g.why);
    c->out->challenge = g.status == 401;
    c->out->retry_s = g.retry_s;
    return false;
}

static void call_handler(struct call *c, const struct route *t, char *const *arg)
{
    const struct method *m = method_of(t, c->r->method);
    const char *stranger = m && m->query && m->query[0] == '*'
                               ? NULL
                               : target_stranger(&c->target, m && m->query ? m->query : "");

    if (!m || !m->handler) {
        char allowed[sizeof(c->out->allow)] = "";

        say_allowed(t, allowed, sizeof(allowed));
        call_failf(c, 405, "this resource takes %s", allowed);
        memcpy(c->out->allow, allowed, sizeof(allowed));
    } else if (c->r->cross_origin && !is_look(c)) {
        route_note_refusal(c->v, c->r, &c->who, 403);
        call_fail(c, 403, "sent by a page of another site (Origin is not Host)");
    } else if (stranger) {
        call_failf(c, 400, "%s: this resource has no such parameter", stranger);
    } else if (c->bad_format) {
        call_fail(c, 400, "format: must be json or text");
    } else if (t->kind && t->kind != call_table(c)->kind) {
        call_failf(c, 501, "this machine has %s: there is no such resource; use %s",
                   call_table(c)->extension, t->instead);
    } else {
        m->handler(c, arg);
        if (!is_look(c) && t->change)
            note_call(c);
    }
}

void route_call(struct call *c)
{
    char *arg[ARGS_MAX];
    const struct route *found = NULL;

    for (unsigned i = 0; !found && i < ARRAY_LEN(routes); i++)
        if (matches(&routes[i], c->target.segments, c->target.segment_count, arg))
            found = &routes[i];
    if (!is_admitted(c, found))
        return;
    if (found)
        call_handler(c, found, arg);
    else
        call_fail(c, 404, "there is no such resource; GET /openapi.json lists them");
}

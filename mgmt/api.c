#include "mgmt/api.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/words.h"
#include "mgmt/api_call.h"
#include "mgmt/explain.h"
#include "mgmt/route.h"

#define JSON_TYPE "application/json"
#define TEXT_TYPE "text/plain; charset=utf-8"

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

void api_error_at(struct api_response *out, char *buf, size_t size, bool text, unsigned status,
                  const char *pointer, const char *message)
{
    struct json_out *j = &out->body;

    /* Drops everything from the answer so far, and what was told to another client. */
    *out = (struct api_response){.status = status,
                                 .type = text ? TEXT_TYPE : JSON_TYPE,
                                 .known = out->known,
                                 .who = out->who,
                                 .audit = out->audit};
    json_begin(j, buf, size, text);
    json_object(j, NULL);
    json_object(j, "error");
    json_u64(j, "status", status);
    json_str(j, "reason", http_reason(status));
    json_str(j, "message", message);
    if (pointer)
        json_str(j, "pointer", pointer);
    json_end(j);
    json_end(j);
}

void api_error(struct api_response *out, char *buf, size_t size, bool text, unsigned status,
               const char *message)
{
    api_error_at(out, buf, size, text, status, NULL, message);
}

void call_fail_at(struct call *c, unsigned status, const char *pointer, const char *message)
{
    api_error_at(c->out, c->buf, c->size, c->text, status, pointer, message);
}

void call_no_content(struct call *c)
{
    (void)call_begin(c);
    c->out->status = 204;
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

const char *call_query(const struct call *c, const char *name)
{
    return target_value(&c->target, name);
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
    const char *value = call_query(c, name);

    if (!value || parse_u64(value, v))
        return true;
    call_failf(c, 400, "%s: must be a whole number", name);
    return false;
}

bool call_query_bool(struct call *c, const char *name, bool *v)
{
    const char *value = call_query(c, name);

    if (!value)
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
    explain_guest(c->v, number, g);
    return g->state != ABI_GUEST_EMPTY;
}

int call_guest(struct call *c, const char *name, struct abi_guest *g)
{
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        const struct abi_guest *live = c->v->guest(i);

        /* Copies all of it only if it may be the one. */
        if (live && strncmp(live->config.name, name, sizeof(live->config.name)) == 0 &&
            call_copy_guest(c, i, g) && strcmp(g->config.name, name) == 0)
            return (int)i;
    }
    call_fail(c, 404, "there is no guest of this name; GET /v1/guests lists them");
    return -E_NOENT;
}

bool call_vcpu(struct call *c, char *const *arg, struct abi_guest *g, struct api_vcpu *id)
{
    int number = call_guest(c, arg[0], g);
    uint64_t n;

    if (number < 0)
        return false;
    if (!parse_u64(arg[1], &n) || n >= g->vcpu_count) {
        call_fail(c, 404, "there is no vCPU of this number");
        return false;
    }
    *id = (struct api_vcpu){(unsigned)number, (unsigned)n};
    return true;
}

void call_stream(struct call *c, const char *type,
                 size_t (*more)(const struct api_view *v, struct api_stream *s, char *buf,
                                size_t size),
                 uint64_t next, unsigned guest)
{
    (void)call_begin_raw(c, type);
    c->out->stream = (struct api_stream){.more = more, .next = next, .guest = guest};
}

const char *guest_state_name(uint32_t state)
{
    return words_say(words_guest_state, state);
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
                     .came = waited ? out->wait : API_WAIT_NONE,
                     .text = accept_is_text(&r->accept)};
    const char *format, *wrong = target_parse(&c.target, r->target);

    *out = waited ? (struct api_response){.status = 200,
                                          .known = out->known,
                                          .who = out->who,
                                          .wait_for = out->wait_for,
                                          .wait_sequence = out->wait_sequence,
                                          .audit = out->audit}
                  : (struct api_response){.status = 200};
    format = call_query(&c, "format");
    if (format) {
        c.text = strcmp(format, "text") == 0;
        c.bad_format = !c.text && strcmp(format, "json") != 0;
    }
    if (wrong)
        call_fail(&c, 400, wrong);
    else
        route_call(&c);
    if (out->body.overflow)
        call_fail(&c, 500, "the answer does not fit its buffer");
}

void call_put_capabilities(struct call *c, capabilities_of_core *put)
{
    const struct abi_host *h = c->v->host;
    bool decode = c->text;
    struct json_out *j;

    if (!call_query_bool(c, "decode", &decode))
        return;
    j = call_begin(c);
    json_object(j, NULL);
    json_str(j, "cpu", h->cpu_brand);
    json_hex(j, "cpu_signature", h->cpu_signature, 1);
    if (h->state_kind == ABI_STATE_VMX)
        json_hex(j, "vmcs_revision", h->vmcs_revision, 1);
    json_array(j, "cores");
    for (unsigned i = 0; i < h->core_count && i < ABI_CORES_MAX; i++)
        put(j, c, i, decode);
    json_end(j);
    json_end(j);
}

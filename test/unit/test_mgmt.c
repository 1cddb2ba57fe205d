/* SOURCES: @mgmt @llhttp */
#include "arch/x86/inspect/decode_fields.h"
#include "hv/fmt.h"
#include "mgmt/api.h"
#include "third_party.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <mbedtls/sha256.h>

static struct auth_table auth;
static struct audit audit;
static char noted[400];
static void note(const char *text)
{
    strcpy(noted, text);
}
static struct config config = {.management.service = {.auth = AUTH_NONE, .http = PORT80_OFF}};
static struct abi_host host = {.core_count = 1, .tsc_hz = 1000000, .guests = 3, .build_id = "0123"};
static struct abi_guest guests[2];
static struct abi_vcpu vcpus[2][2]; /* guest 1 has both if a test says so */
static struct abi_snapshot snapshots[2][2][ABI_SNAPSHOTS];
static struct abi_exit exit_ring[ABI_EXITS];
static bool kept;
static struct abi_ring *log_ring, *console_ring;
static struct http_request request;
static struct api_response response;
static char body[1 << 18];
static uint8_t typed[64];
static size_t typed_len;

static const struct abi_guest *guest(unsigned n)
{
    return n < 2 ? &guests[n] : NULL;
}
static const struct abi_vcpu *vcpu(struct api_vcpu id)
{
    assert_true(id.guest < 2 && id.vcpu < guests[id.guest].vcpu_count);
    return &vcpus[id.guest][id.vcpu];
}
static const struct abi_snapshot *snapshot(struct api_vcpu id, unsigned slot)
{
    assert_true(id.guest < 2 && id.vcpu < guests[id.guest].vcpu_count);
    return &snapshots[id.guest][id.vcpu][slot];
}
static const struct abi_exit *exits(struct api_vcpu id)
{
    (void)id;
    return exit_ring;
}
static uint8_t bitmap_pages[ABI_BITMAPS_SIZE];
static struct abi_caps caps[ABI_CORES_MAX];
static struct abi_thread threads[ABI_THREADS_MAX];
static const uint8_t *bitmaps(unsigned n)
{
    (void)n;
    return bitmap_pages;
}
static const struct abi_ring *console(unsigned n)
{
    (void)n;
    return console_ring;
}
static int64_t take_snapshot(struct api_vcpu id, bool keep)
{
    kept = keep;
    return guests[id.guest].state == ABI_GUEST_RUNNING ? 9 : -E_STATE;
}
static int64_t probe(unsigned row)
{
    return row % 3 ? (int64_t)(8 + 8 * row) | 8 << 16 | 1ll << 32 : -E_NOENT;
}
static struct abi_controls asked;
static int64_t controls_result = 3;
static int64_t controls(struct api_vcpu id, const struct abi_controls *c)
{
    asked = *c;
    return id.guest < 2 ? controls_result : -E_STATE;
}
static int64_t type(unsigned n, const uint8_t *bytes, size_t len)
{
    assert_int_equal(n, 1);
    typed_len = len < sizeof(typed) ? len : sizeof(typed);
    memcpy(typed, bytes, typed_len);
    return (int64_t)typed_len;
}
static unsigned host_acted;
static int64_t host_act(unsigned action)
{
    host_acted = action;
    return 0;
}

static int64_t memory_result;
static int64_t memory(unsigned n, uint64_t address, uint8_t *bytes)
{
    assert_int_equal(n, 1);
    assert_int_equal(address % ABI_MEMORY_BYTES, 0);
    for (unsigned i = 0; i < ABI_MEMORY_BYTES; i++)
        bytes[i] = (uint8_t)((address + i) * 5 + (address + i) / 256);
    return memory_result;
}

static int64_t act(unsigned n, unsigned action)
{
    return n == 0 && action == ABI_ACTION_STOP ? -E_PERM : 0;
}
static uint64_t tsc(void)
{
    return 5000000;
}

static struct abi_events events;
static struct api_answered answered[API_STATUSES_MAX];
static struct clock wall;
static struct api_view view = {
    .clock = &wall,
    .host = &host,
    .config = &config,
    .config_whole = true,
    .guest = guest,
    .vcpu = vcpu,
    .snapshot = snapshot,
    .exits = exits,
    .bitmaps = bitmaps,
    .caps = caps,
    .threads = threads,
    .console = console,
    .take_snapshot = take_snapshot,
    .probe = probe,
    .controls = controls,
    .type = type,
    .act = act,
    .host_act = host_act,
    .memory = memory,
    .tsc = tsc,
    .answered = answered,
    .auth = &auth,
    .audit = &audit,
    .note = note,
    .random_token = "secret",
    .events = &events,
};

static struct abi_ring *make_ring(uint32_t size)
{
    struct abi_ring *r = calloc(1, sizeof(*r) + size);

    r->size = size;
    return r;
}

static void write_ring(struct abi_ring *r, const char *s)
{
    for (; *s; s++)
        r->data[r->written++ % r->size] = (uint8_t)*s;
}

static int setup(void **state)
{
    (void)state;
    memset(guests, 0, sizeof(guests));
    memset(vcpus, 0, sizeof(vcpus));
    memset(snapshots, 0, sizeof(snapshots));
    memset(exit_ring, 0, sizeof(exit_ring));
    strcpy(guests[0].config.name, "mgmt");
    strcpy(guests[1].config.name, "hog");
    guests[0].state = guests[1].state = ABI_GUEST_RUNNING;
    guests[0].flags = ABI_GUEST_MANAGEMENT;
    guests[0].vcpu_count = guests[1].vcpu_count = 1;
    vcpus[1][0].exits[10] = 7;
    view.log = log_ring = make_ring(ABI_LOG_RING_SIZE);
    console_ring = make_ring(64);
    http_init(&request, NULL, NULL);
    strcpy(request.from, "10.0.2.2");
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(log_ring);
    free(console_ring);
    return 0;
}

/* The request a byte at a time: how it is split must not matter. */
static enum http_state feed(const char *s)
{
    for (size_t n = strlen(s); n > 0 && request.state == HTTP_MORE; n--, s++)
        (void)http_feed(&request, s, 1);
    return request.state;
}

static unsigned get(const char *text)
{
    http_next(&request);
    assert_int_equal(feed(text), HTTP_READY);
    api_handle(&view, &request, body, sizeof(body), &response, false, false);
    body[response.body.len] = 0;
    return response.status;
}

#define GET(path) get("GET " path " HTTP/1.1\r\nHost: x\r\n\r\n")
#define POST(path, n, data)                                                                        \
    get("POST " path " HTTP/1.1\r\nHost: x\r\nContent-Length: " #n "\r\n\r\n" data)

/* What runs where, and what became of the other threads. */
static void topology(void **state)
{
    const struct abi_host saved = host;

    (void)state;
    host.topology = (struct abi_topology){.packages = 2, .cores = 2, .threads = 4, .nodes = 2};
    threads[0] = (struct abi_thread){.apic_id = 0, .state = ABI_THREAD_RUNS};
    threads[1] = (struct abi_thread){.apic_id = 1, .thread = 1, .state = ABI_THREAD_SIBLING};
    threads[2] = (struct abi_thread){
        .apic_id = 300, .package = 1, .core = 22, .node = 1, .number = 1, .state = ABI_THREAD_RUNS};
    threads[3] = (struct abi_thread){.apic_id = 301, .state = ABI_THREAD_STATES};
    host.core_count = 2;
    host.cores[1] = (struct abi_core){.id = 1, .apic_id = 300};
    assert_int_equal(GET("/v1/host"), 200);
    assert_non_null(strstr(body, "{\"id\":1,\"apic_id\":300,\"package\":1,\"physical_core\":22,"
                                 "\"thread\":0,\"node\":1,"));
    assert_non_null(strstr(body, "\"topology\":{\"packages\":2,\"physical_cores\":2,\"threads\":4,"
                                 "\"nodes\":2,\"smt\":\"off\",\"unused_threads\":[{\"apic_id\":1,"
                                 "\"package\":0,\"physical_core\":0,\"thread\":1,\"node\":0,"
                                 "\"state\":\"sibling\"}]}"));
    assert_int_equal(GET("/metrics"), 200);
    assert_non_null(strstr(body, "bulkhead_threads{state=\"runs\"} 2\n"));
    assert_non_null(strstr(body, "bulkhead_threads{state=\"sibling\"} 1\n"));
    host.options.smt = 1;
    host.topology.threads = UINT32_MAX;
    assert_int_equal(GET("/v1/host"), 200);
    assert_non_null(strstr(body, "\"smt\":\"on\""));
    host.options.smt = SMT_ONE_NETWORK;
    assert_int_equal(GET("/v1/host"), 200);
    assert_non_null(strstr(body, "\"smt\":\"guests-of-one-network\""));
    host = saved;
    memset(threads, 0, sizeof(threads));
}

static void resources(void **state)
{
    (void)state;
    assert_int_equal(GET("/healthz"), 200);
    assert_string_equal(body, "{\"status\":\"ok\"}\n");
    assert_int_equal(GET("/v1/host"), 200);
    assert_non_null(strstr(body, "\"cores\":[{\"id\":0"));
#define PART(name, version, package)                                                               \
    assert_non_null(strstr(body, "{\"name\":\"" name "\",\"version\":\"" version                   \
                                 "\",\"package\":\"" package "\"}"));
    THIRD_PARTY_EACH(PART)
#undef PART
    assert_int_equal(GET("/v1/guests"), 200);
    assert_non_null(strstr(body, "{\"name\":\"mgmt\",\"state\":\"running\",\"management\":true"));
    assert_int_equal(GET("/v1/guests/hog"), 200);
    assert_non_null(strstr(body, "\"exits\":{\"CPUID\":7}"));
    assert_int_equal(GET("/"), 200);
    assert_non_null(strstr(response.type, "text/html"));
    assert_memory_equal(response.file, "<!doctype html>", 15);
    assert_int_equal(GET("/page/app.js"), 200);
    assert_string_equal(response.etag, "0123");
    assert_int_equal(get("GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"01\"\r\n\r\n"), 200);
    assert_int_equal(get("GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"0123\"\r\n\r\n"), 304);
    assert_int_equal(get("GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n\r\n"), 304);
    assert_int_equal(get("GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: \"a,\" , \"b\"\r\n"
                         "If-None-Match: W/\"0123\"\r\n\r\n"),
                     304);
    for (unsigned i = 0; i < 5; i++) {
        static const char *const other[] = {"\"a0123\"", "\"0123", "0123", "W/0123", "\"*\""};
        char text[100];

        (void)snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: x\r\nIf-None-Match: %s\r\n\r\n",
                       other[i]);
        assert_int_equal(get(text), 200);
    }
    assert_int_equal(GET("/page/none.js"), 404);
    assert_null(response.file);
}

static void text_form(void **state)
{
    (void)state;
    assert_int_equal(GET("/v1/guests?format=text"), 200);
    assert_non_null(strstr(body, "name: hog"));
    assert_null(strchr(body, '{'));
    get("GET /v1/guests HTTP/1.1\r\nHost: x\r\naCCepT: text/plain\r\n\r\n");
    assert_string_equal(response.type, "text/plain; charset=utf-8");
    assert_int_equal(GET("/v1/guests?format=json"), 200);
    assert_string_equal(response.type, "application/json");
    get("GET /v1/guests HTTP/1.1\r\nHost: x\r\n"
        "Accept: application/json, text/plain, */*\r\n\r\n");
    assert_string_equal(response.type, "application/json");
    /* Several lines are one field. */
    get("GET /v1/guests HTTP/1.1\r\nHost: x\r\nAccept: application/json;q=0.5\r\n"
        "Accept: text/plain\r\n\r\n");
    assert_string_equal(response.type, "text/plain; charset=utf-8");
}

/* What does not fit is ignored, with all of the range that was cut. */
static void long_accept(void **state)
{
    char text[1024] = "GET /v1/guests HTTP/1.1\r\nHost: x\r\nAccept: text/plain;q=0.5,";

    (void)state;
    for (unsigned i = 0; i < 29; i++)
        strcat(text, "image/png;q=0.1,");
    strcat(text, "application/json;q=0.12345678\r\n\r\n");
    (void)get(text);
    assert_string_equal(response.type, "text/plain; charset=utf-8");
}

/* Escapes are decoded, in the path and in the query, after these have been taken apart. */
static void percent_encoding(void **state)
{
    (void)state;
    assert_int_equal(GET("/v1/guests/%68og"), 200);
    assert_non_null(strstr(body, "\"name\":\"hog\""));
    assert_int_equal(GET("/v1/guests/hog%2Fvcpus"), 404);
    assert_int_equal(GET("/v1/%67uests?%66ormat=t%65xt"), 200);
    assert_string_equal(response.type, "text/plain; charset=utf-8");
    assert_int_equal(GET("/v1/guests/%6"), 400);
    assert_int_equal(GET("/v1/guests/hog%00"), 400);
    assert_int_equal(GET("/v1/guests?format=%zz"), 400);
}

static void unknown_parameters(void **state)
{
    (void)state;
    typed_len = 0;
    assert_int_equal(GET("/v1/guests?fromat=text"), 400);
    assert_non_null(strstr(body, "\"message\":\"fromat: this resource has no such parameter\""));
    assert_int_equal(GET("/v1/host?from=1"), 400);
    assert_int_equal(GET("/metrics?format=json"), 400);
    assert_int_equal(GET("/v1/log?from=0&from=0"), 400);
    assert_int_equal(POST("/v1/guests/hog/console?x=1", 1, "a"), 400);
    assert_int_equal(typed_len, 0);
    assert_int_equal(GET("/nowhere?x"), 404);
    assert_int_equal(POST("/v1/host?x", 0, ""), 405);
    assert_int_equal(GET("/?anything"), 200); /* files have no parameters to mistake */
    assert_int_equal(GET("/page/app.js?v=1"), 200);
}

static void absolute_target(void **state)
{
    (void)state;
    assert_int_equal(get("GET http://y/v1/guests/hog?format=text HTTP/1.1\r\nHost: x\r\n\r\n"),
                     200);
    assert_string_equal(request.target, "/v1/guests/hog?format=text");
    assert_string_equal(request.host, "y");
    /* Its host counts, not Host. */
    (void)get("GET http://y:8/ HTTP/1.1\r\nHost: x\r\nOrigin: http://y:8\r\n\r\n");
    assert_false(request.cross_origin);
    (void)get("GET http://y:8/ HTTP/1.1\r\nHost: x\r\nOrigin: http://x\r\n\r\n");
    assert_true(request.cross_origin);
    http_next(&request);
    assert_int_equal(feed("GET http://u@y/ HTTP/1.1\r\nHost: x\r\n\r\n"), HTTP_BAD);
    assert_int_equal(request.status, 400);
    http_next(&request);
    assert_int_equal(feed("GET http://y/ HTTP/1.1\r\n\r\n"), HTTP_BAD); /* Host is needed anyway */
}

/* Strings of a body are decoded; what is none of an action is refused. */
static void escaped_actions(void **state)
{
    (void)state;
    assert_int_equal(POST("/v1/guests/hog/actions", 21, "{\"action\":\"n\\u006di\"}"), 202);
    assert_int_equal(POST("/v1/guests/hog/actions", 26, "{\"\\u0061ction\":\"\\u006emi\"}"), 202);
    assert_int_equal(POST("/v1/guests/hog/actions", 23, "{\"action\":\"nmi\\u0000\"} "), 400);
    assert_int_equal(POST("/v1/guests/hog/actions", 15, "{\"action\":\"n\xff\"}"), 400);
    assert_non_null(strstr(body, "1:13: the body is not JSON: a string is not UTF-8"));
}

/* A body that is not what it stands for is not taken for it. */
static void coded_bodies(void **state)
{
    static const struct {
        const char *field;
        unsigned status;
    } bodies[] = {{"Content-Range: bytes 0-1/2", 400},
                  {"Content-Encoding: gzip", 415},
                  {"content-encoding: br", 415},
                  {"Content-Encoding: identity", 0},
                  {"Transfer-Encoding: gzip, chunked", 501}};
    static const char *const methods[] = {"PUT", "POST", "PATCH"};
    char text[200];

    (void)state;
    for (unsigned i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
        for (unsigned b = 0; b < sizeof(bodies) / sizeof(bodies[0]); b++) {
            (void)snprintf(text, sizeof(text), "%s / HTTP/1.1\r\nHost: x\r\n%s\r\n%s\r\n",
                           methods[i], bodies[b].field, b < 4 ? "Content-Length: 0\r\n" : "");
            http_next(&request);
            assert_int_equal(feed(text), bodies[b].status ? HTTP_BAD : HTTP_READY);
            assert_int_equal(request.status, bodies[b].status);
        }
    assert_int_equal(get("GET / HTTP/1.1\r\nHost: x\r\nContent-Range: bytes 0-1/2\r\n\r\n"), 200);
}

static void errors(void **state)
{
    (void)state;
    assert_int_equal(GET("/x"), 404);
    assert_int_equal(GET("/v1"), 404);
    assert_int_equal(GET("/v1/guests/nobody"), 404);
    assert_int_equal(GET("/v1/guests/hog/x"), 404);
    assert_int_equal(GET("/v1/guests/hog/vcpus/1/vmcs"), 404);
    assert_int_equal(GET("/v1/guests/hog/vcpus/99999999999999999999/vmcs"), 404);
    assert_int_equal(GET("/v1/a/b/c/d/e/f/g/h/i/j/k"), 404);
    assert_int_equal(GET("/v1/log?from=-1"), 400);
    assert_int_equal(GET("/v1/host?format=yaml"), 400);
    assert_int_equal(POST("/v1/host", 0, ""), 405);
    assert_string_equal(response.allow, "GET, HEAD");
    assert_int_equal(GET("/v1/guests/hog/actions"), 405);
    assert_string_equal(response.allow, "POST");
    assert_int_equal(get("OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n"), 400);
}

static void http_limits(void **state)
{
    char text[8192] = "GET /";

    (void)state;
    memset(text + 5, 'a', 400);
    strcpy(text + 405, " HTTP/1.1\r\n\r\n");
    assert_int_equal(feed(text), HTTP_BAD);
    assert_int_equal(request.status, 414);
    http_next(&request);
    strcpy(text, "GET / HTTP/1.1\r\nA: ");
    memset(text + 19, 'b', 5000);
    strcpy(text + 5019, "\r\n\r\n");
    assert_int_equal(feed(text), HTTP_BAD);
    assert_int_equal(request.status, 431);
    http_next(&request);
    assert_int_equal(feed("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 9000\r\n\r\n"), HTTP_BAD);
    assert_int_equal(request.status, 413);
    http_next(&request);
    assert_int_equal(feed("GET / HTTP/1.1\r\nHost x\r\n\r\n"), HTTP_BAD);
    assert_int_equal(request.status, 400);
    http_next(&request);
    assert_int_equal(feed("GET /\r\n\r\n"), HTTP_BAD); /* HTTP/0.9 */
    assert_int_equal(request.status, 400);
}

/* Whether a client that sent this gets 100 Continue. */
static bool told_to_go_on(const char *text)
{
    bool told;

    http_next(&request);
    (void)feed(text);
    told = http_take_continue(&request);
    assert_false(http_take_continue(&request)); /* once */
    return told;
}

static void going_on(void **state)
{
    (void)state;
    assert_true(told_to_go_on("POST / HTTP/1.1\r\nHost: x\r\neXPECT: 100-Continue\r\n"
                              "Content-Length: 2\r\n\r\n"));
    assert_true(told_to_go_on("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
                              "Expect: 100-continue\r\n\r\n"));
    assert_false(told_to_go_on("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                               "Content-Length: 2\r\n")); /* the request's head is not complete */
    assert_false(told_to_go_on("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
                               "Content-Length: 2\r\n\r\na"));
    assert_false(told_to_go_on("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n"));
    assert_false(told_to_go_on("POST / HTTP/1.0\r\nExpect: 100-continue\r\n"
                               "Content-Length: 2\r\n\r\n"));
    assert_false(told_to_go_on("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continued\r\n"
                               "Content-Length: 2\r\n\r\n"));
    assert_false(told_to_go_on("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n"));
}

static void pipelining(void **state)
{
    static const char two[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\nGET /b HTTP/1.0\r\n\r\n";
    size_t used = http_feed(&request, two, sizeof(two) - 1);

    (void)state;
    assert_int_equal(request.state, HTTP_READY);
    assert_string_equal(request.target, "/a");
    assert_true(request.keep_alive);
    http_next(&request);
    assert_int_equal(used + http_feed(&request, two + used, sizeof(two) - 1 - used),
                     sizeof(two) - 1);
    assert_int_equal(request.state, HTTP_READY);
    assert_string_equal(request.target, "/b");
    assert_false(request.keep_alive);
}

static struct abi_snapshot *put(unsigned slot, uint64_t sequence)
{
    struct abi_snapshot *s = &snapshots[1][0][slot];

    s->sequence = sequence;
    s->count = VMCS_ROWS;
    s->tsc = 1000 * sequence;
    s->cause = ABI_CAUSE_REQUEST;
    s->kind = ABI_STATE_VMX;
    vmcs_set(&s->vmcs, VMCS_ROW_VPID, 0x1f);
    return s;
}

static void snapshots_kept(void **state)
{
    struct abi_snapshot *s;

    (void)state;
    put(ABI_SNAPSHOT_LAUNCH, 1)->cause = ABI_CAUSE_LAUNCH;
    s = put(ABI_SNAPSHOT_RING, 3);
    vmcs_set(&s->vmcs, VMCS_ROW_GUEST_RIP, 0x1000);
    vmcs_set(&s->vmcs, VMCS_ROW_VPID, 0x2f);
    s->exit = (struct abi_exit){.tsc = 5, .reason = 12, .rip = 0x77};
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/vmcs/snapshots"), 200);
    assert_non_null(strstr(body, "\"sequence\":1,\"cause\":\"launch\""));
    assert_non_null(strstr(body, "\"exit\":null"));
    assert_non_null(strstr(body, "\"sequence\":3,\"cause\":\"request\""));
    assert_non_null(strstr(body, "{\"reason\":\"HLT\",\"number\":12,\"rip\":\"0x77\""));
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/vmcs/snapshots/3"), 200);
    assert_non_null(strstr(body, "\"value\":\"0x0000000000001000\""));
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/vmcs/snapshots/2"), 404);
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/vmcs/snapshots/x"), 404);
    assert_int_equal(GET("/v1/guests/hog/vcpus/1/vmcs/snapshots"), 404);
    /* Fields that appear and that change; with volatile=0 only those that do not change by
     * themselves. */
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/vmcs/diff?from=1&to=3"), 200);
    assert_string_equal(body,
                        "{\"from\":1,\"to\":3,\"ticks_between\":2000,\"fields\":["
                        "{\"encoding\":\"0x0000\",\"name\":\"VPID\",\"volatility\":\"setup\","
                        "\"from\":\"0x001f\",\"to\":\"0x002f\"},"
                        "{\"encoding\":\"0x681e\",\"name\":\"GUEST_RIP\",\"volatility\":\"run\","
                        "\"from\":null,\"to\":\"0x0000000000001000\"}]}\n");
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/vmcs/diff?from=1&to=3&volatile=0"), 200);
    assert_null(strstr(body, "GUEST_RIP"));
    assert_non_null(strstr(body, "VPID"));
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/vmcs/diff?to=1"), 400);
    assert_non_null(strstr(body, "from: "));
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/vmcs/diff?from=-1&to=3"), 400);
    assert_non_null(strstr(body, "from: "));
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/vmcs/diff?from=1&to=3&volatile=maybe"), 400);
    assert_non_null(strstr(body, "volatile: "));
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/vmcs/diff?from=1&to=4"), 404);
    /* Taking a snapshot to keep. */
    assert_int_equal(POST("/v1/guests/hog/vcpus/0/vmcs/snapshots", 0, ""), 200);
    assert_true(response.wait && kept);
    put(ABI_SNAPSHOT_RING + 1, 9);
    api_handle(&view, &request, body, sizeof(body), &response, true, false);
    assert_int_equal(response.status, 201);
    guests[1].state = ABI_GUEST_STOPPED;
    assert_int_equal(POST("/v1/guests/hog/vcpus/0/vmcs/snapshots", 0, ""), 409);
}

static void flight_recorder(void **state)
{
    static const char *const refused[] = {
        "reason=UNDEFINED", "reason=35", "reason=4294967326", "reason=", "n=0", "n=257", "n=x"};
    char ask[120];
    struct abi_exit *e;

    (void)state;
    for (unsigned i = 0; i < 300; i++) {
        e = &exit_ring[i % ABI_EXITS];
        *e = (struct abi_exit){.tsc = 100 * i, .entry_tsc = 100 * i + 7, .rip = i % 3};
        e->reason = i % 2 ? 30 : 31;
        if (i % 2)
            e->qualification = 0x3f8ull << 16;
        else
            e->detail = 0xc0000080;
    }
    vcpus[1][0].entries = 300;
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/exits"), 200);
    assert_non_null(strstr(body, "\"ports\":[{\"port\":\"0x3f8\",\"exits\":127}]"));
    assert_non_null(strstr(body, "\"msrs\":[{\"msr\":\"0xc0000080\",\"exits\":127}]"));
    assert_non_null(strstr(body, "\"rips\":[{\"rip\":\"0x0\",\"exits\":85},{\"rip\":\"0x1\""));
    assert_non_null(strstr(body, "\"pages\":[]"));
    /* While it runs, the oldest may be being overwritten and the newest be incomplete. */
    assert_null(strstr(body, "\"sequence\":44,"));
    assert_non_null(strstr(body, "\"sequence\":45,"));
    assert_null(strstr(body, "\"sequence\":299,"));
    assert_non_null(strstr(body, "\"root_ticks\":7"));
    guests[1].state = ABI_GUEST_CRASHED;
    exit_ring[299 % ABI_EXITS].entry_tsc = 0;
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/exits"), 200);
    assert_non_null(strstr(body, "\"sequence\":44,"));
    assert_non_null(strstr(body, "\"sequence\":299,"));
    assert_non_null(strstr(body, "\"root_ticks\":null"));
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/exits?format=text"), 200);
    assert_non_null(strstr(body, "IO_INSTRUCTION"));
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/exits?n=2"), 200);
    assert_null(strstr(body, "\"sequence\":297,"));
    assert_non_null(strstr(body, "\"sequence\":298,"));
    assert_non_null(strstr(body, "\"sequence\":299,"));
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/exits?reason=rdmsr&n=2"), 200);
    assert_non_null(strstr(body, "\"ports\":[],\"msrs\":[{\"msr\":\"0xc0000080\",\"exits\":2}]"));
    assert_non_null(strstr(body, "\"exits\":[{\"sequence\":296,"));
    assert_null(strstr(body, "\"sequence\":297,"));
    assert_non_null(strstr(body, "\"sequence\":298,"));
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/exits?reason=30"), 200);
    assert_null(strstr(body, "\"reason\":\"RDMSR\""));
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/exits?reason=CPUID"), 200);
    assert_non_null(strstr(body, "\"exits\":[]"));
    for (unsigned i = 0; i < ARRAY_LEN(refused); i++) {
        snprintf(ask, sizeof(ask),
                 "GET /v1/guests/hog/vcpus/0/exits?%s HTTP/1.1\r\nHost: x\r\n\r\n", refused[i]);
        assert_int_equal(get(ask), 400);
    }
    assert_int_equal(GET("/v1/guests/hog"), 200);
    assert_non_null(strstr(body, "\"last_exit\":{\"reason\":\"IO_INSTRUCTION\""));
    vcpus[1][0].entries = 0;
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/exits"), 200);
    assert_non_null(strstr(body, "\"exits\":[]"));
    assert_int_equal(GET("/v1/guests/hog"), 200);
    assert_non_null(strstr(body, "\"last_exit\":null"));
}

static void vmcs(void **state)
{
    (void)state;
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/vmcs"), 200);
    assert_true(response.wait);
    assert_int_equal(response.wait_for.guest, 1);
    assert_false(api_ready(&view, &response));
    assert_false(kept);
    snapshots[1][0][ABI_SNAPSHOT_LAUNCH] =
        (struct abi_snapshot){.sequence = 1, .kind = ABI_STATE_VMX};
    assert_false(api_ready(&view, &response)); /* an old one is not enough */
    put(ABI_SNAPSHOT_LIVE, 9);
    assert_true(api_ready(&view, &response));
    api_handle(&view, &request, body, sizeof(body), &response, true, false);
    body[response.body.len] = 0;
    assert_false(response.wait);
    assert_non_null(strstr(body, "{\"encoding\":\"0x0000\",\"name\":\"VPID\",\"group\":\"control\","
                                 "\"width\":\"16\",\"value\":\"0x001f\"}"));
    assert_non_null(strstr(body, "\"value\":null,\"reason\":\""));
    api_handle(&view, &request, body, sizeof(body), &response, true, true);
    assert_int_equal(response.status, 503);
}

static void rings(void **state)
{
    (void)state;
    write_ring(log_ring, "one \"line\"\n");
    assert_int_equal(GET("/v1/log"), 200);
    assert_string_equal(body, "{\"from\":0,\"next\":11,\"text\":\"one \\\"line\\\"\\n\"}\n");
    assert_int_equal(GET("/v1/log?from=4&format=text"), 200);
    assert_string_equal(body, "\"line\"\n");
    for (int i = 0; i < 10; i++)
        write_ring(console_ring, "0123456789");
    assert_int_equal(GET("/v1/guests/hog/console"), 200);
    assert_int_equal(response.body.len, 64);
    assert_true(response.has_next);
    assert_int_equal(response.next, 100);
    assert_int_equal(GET("/v1/guests/hog/console?from=98"), 200);
    assert_string_equal(body, "89");
    assert_int_equal(GET("/v1/guests/hog/console?from=100"), 200);
    assert_int_equal(response.body.len, 0);
    /* A position from another boot: everything there is. */
    assert_int_equal(GET("/v1/guests/hog/console?from=101"), 200);
    assert_int_equal(response.body.len, 64);
    assert_int_equal(response.next, 100);
}

static size_t stream_on(char *text, size_t size)
{
    size_t n = response.stream.more(&view, &response.stream, text, size);

    assert_true(n < size);
    text[n] = 0;
    return n;
}

static void log_with_times(void **state)
{
    static const char *const lines = "2001-09-09T01:46:41.500000Z core 0: one\n"
                                     "2001-09-09T01:46:52.000007Z core 1: two\nbare\n";
    char text[256];

    (void)state;
    write_ring(log_ring, "[    1.500000] core 0: one\n[   12.000007] core 1: two\nbare\n[ 13.0");
    assert_int_equal(GET("/v1/log?time=1&format=text"), 200);
    assert_memory_equal(body, "[    1.500000] core 0: one\n", 27); /* the time is unknown */
    clock_set(&wall, &host, 0, 1000000000ull * 1000000);
    assert_int_equal(GET("/v1/log?time=1&format=text"), 200);
    assert_string_equal(body, lines);
    assert_int_equal(response.next, 59); /* before the unfinished line */
    assert_int_equal(GET("/v1/log?time=1&from=4&format=text"), 200);
    assert_memory_equal(body, " 1.500000] core 0: one\n2001-", 28);
    assert_int_equal(GET("/v1/log?time=1"), 200);
    assert_non_null(
        strstr(body, "\"next\":59,\"text\":\"2001-09-09T01:46:41.500000Z core 0: one\\n"));
    assert_int_equal(GET("/v1/log?time=1&follow=1"), 200);
    assert_int_equal(stream_on(text, sizeof(text)), strlen(lines));
    assert_string_equal(text, lines);
    assert_int_equal(stream_on(text, sizeof(text)), 0);
    write_ring(log_ring, "00000] core 0: three\n");
    assert_true(stream_on(text, sizeof(text)) > 0);
    assert_string_equal(text, "2001-09-09T01:46:53.000000Z core 0: three\n");
    assert_int_equal(GET("/v1/log?time=2"), 400);
    wall = (struct clock){0};
}

/* A page of another site can read nothing, and must change nothing either. */
static void other_sites(void **state)
{
    static const struct {
        const char *headers;
        unsigned status;
    } cases[] = {
        {"Host: 10.0.2.15\r\n", 202},
        {"Host: 10.0.2.15\r\nOrigin: http://10.0.2.15\r\n", 202},
        {"origin: https://b.local:8080\r\nhost: b.local:8080\r\n", 202},
        {"Host: 10.0.2.15\r\nOrigin: http://evil.example\r\n", 403},
        {"Host: 10.0.2.15\r\nOrigin: http://10.0.2.15.evil.example\r\n", 403},
        {"Host: 10.0.2.15:80\r\nOrigin: http://10.0.2.15:8\r\n", 403},
        {"Host: 10.0.2.15\r\nOrigin: null\r\n", 403},
        {"Host: 10.0.2.15\r\nOrigin:\r\n", 403},
        {"Host: 10.0.2.15\r\nOrigin: http://evil\r\nOrigin: http://10.0.2.15\r\n", 403},
        {"Host:\r\nOrigin: http://10.0.2.15\r\n", 403},
    };
    char text[512];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof(text),
                 "POST /v1/guests/hog/actions HTTP/1.1\r\n%sContent-Length: 18\r\n\r\n"
                 "{\"action\": \"stop\"}",
                 cases[i].headers);
        assert_int_equal(get(text), cases[i].status);
    }
    assert_int_equal(get("GET /healthz HTTP/1.1\r\nHost: a\r\nOrigin: http://b\r\n\r\n"), 200);
}

/* A request with these fields; 0: it is answered by the API. */
static unsigned refused(const char *fields)
{
    char text[1024];

    http_next(&request);
    snprintf(text, sizeof(text), "GET /healthz HTTP/1.1\r\n%s\r\n", fields);
    return feed(text) == HTTP_BAD ? request.status : 0;
}

static void host_field(void **state)
{
    char longest[400] = "Host: ";

    (void)state;
    assert_int_equal(refused("Host: x\r\n"), 0);
    assert_int_equal(refused("Host:\r\n"), 0);
    assert_int_equal(refused("Host: \t x \t \r\nAuthorization: Bearer a \t\r\n"), 0);
    assert_string_equal(request.host, "x");
    assert_string_equal(request.authorization, "Bearer a");
    assert_int_equal(refused(""), 400);
    assert_string_equal(request.why, "Host: must be there, once");
    assert_int_equal(refused("Host: x\r\nHost: x\r\n"), 400);
    memset(longest + 6, 'a', 200);
    strcat(longest, "\r\n");
    assert_int_equal(refused(longest), 400);
    http_next(&request);
    assert_int_equal(feed("GET /healthz HTTP/1.0\r\n\r\n"), HTTP_READY);
    http_next(&request);
    assert_int_equal(feed("GET /healthz HTTP/1.0\r\nHost: x\r\nHost: y\r\n\r\n"), HTTP_BAD);
}

/* Without tokens, a foreign host name that resolves to this address is refused. */
static void whose_host(void **state)
{
    static const struct {
        const char *host;
        bool ours;
    } cases[] = {{"10.0.2.15", true},
                 {"10.0.2.15:8080", true},
                 {"[fe80::1]:80", true},
                 {"kettle", true},
                 {"KETTLE.local", true},
                 {"kettle.local:80", true},
                 {"localhost:8080", true},
                 {"", true},
                 {"evil.example", false},
                 {"kettle.evil.example", false},
                 {"kettle.local.evil.example", false},
                 {"kettl", false},
                 {"kettle2", false},
                 {"1.2.3.evil", false}};
    char text[200];

    (void)state;
    strcpy(config.management.service.hostname, "kettle");
    config.management.service.http = PORT80_PLAIN;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(text, sizeof(text), "GET /v1/whoami HTTP/1.1\r\nHost: %s\r\n\r\n", cases[i].host);
        assert_int_equal(get(text), cases[i].ours ? 200 : 421);
        snprintf(text, sizeof(text), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", cases[i].host);
        assert_int_equal(get(text), 200);
    }
    config.management.service.http = PORT80_OFF;
    assert_int_equal(get("GET /v1/whoami HTTP/1.1\r\nHost: evil.example\r\n\r\n"), 200);
    config.management.service.http = PORT80_PLAIN;
    config.management.service.auth = AUTH_RANDOM;
    assert_int_equal(get("GET /v1/whoami HTTP/1.1\r\nHost: evil.example\r\n"
                         "Authorization: Bearer secret\r\n\r\n"),
                     200);
    config.management.service.auth = AUTH_NONE;
    config.management.service.http = PORT80_OFF;
}

/* A token for guests is not enough to take the API away from others. */
static void management_stays(void **state)
{
    static const char as[] = "POST /v1/guests/%s/actions HTTP/1.1\r\nHost: x\r\n"
                             "Authorization: Bearer %s\r\nContent-Length: %zu\r\n\r\n%s";
    static const struct {
        const char *guest, *token, *action;
        unsigned status;
    } cases[] = {
        {"mgmt", "do", "reset", 403}, {"mgmt", "all", "reset", 202}, {"hog", "do", "reset", 202},
        {"mgmt", "do", "stop", 409},  {"mgmt", "all", "stop", 409},  {"hog", "do", "nmi", 202},
    };
    static const char *const tokens[] = {"do", "all"};
    char text[400], json[40];

    (void)state;
    config.management.service.auth = AUTH_TOKENS;
    config.management.service.token_count = 2;
    for (unsigned i = 0; i < 2; i++) {
        struct service_token *t = &config.management.service.tokens[i];
        uint8_t bytes[TOKEN_SALT_SIZE + 8] = {0};

        t->role = ROLE_OPERATE + i;
        strcpy(t->name, tokens[i]);
        strcpy((char *)bytes + TOKEN_SALT_SIZE, tokens[i]);
        (void)mbedtls_sha256(bytes, TOKEN_SALT_SIZE + strlen(tokens[i]), t->sha256, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        memset(&audit, 0, sizeof(audit));
        (void)snprintf(json, sizeof(json), "{\"action\":\"%s\"}", cases[i].action);
        (void)snprintf(text, sizeof(text), as, cases[i].guest, cases[i].token, strlen(json), json);
        assert_int_equal(get(text), cases[i].status);
        /* The audit line names the client, the request and its outcome. */
        (void)snprintf(text, sizeof(text), "%s%s from 10.0.2.2: POST /v1/guests/%s/actions %s: %u",
                       cases[i].status == 403 ? "refused: " : "", cases[i].token, cases[i].guest,
                       cases[i].action, cases[i].status);
        if (cases[i].status != 403)
            assert_string_equal(noted, text);
    }
    guests[0].flags = ABI_GUEST_MANAGEMENT;
    assert_int_equal(get("PATCH /v1/guests/mgmt/vcpus/0/vmcs HTTP/1.1\r\nHost: x\r\n"
                         "Authorization: Bearer all\r\nContent-Length: 24\r\n\r\n"
                         "{\"exit_profile\": \"most\"}"),
                     409);
    guests[0].flags = 0;
    assert_non_null(strstr(body, "management guest"));
    config.management.service.auth = AUTH_NONE;
}

#define PATCH(body)                                                                                \
    get("PATCH /v1/guests/hog/vcpus/0/vmcs HTTP/1.1\r\nHost: x\r\nContent-Length: "                \
        "24\r\n\r\n" body)

static unsigned patch_goes_on(void)
{
    api_handle(&view, &request, body, sizeof(body), &response, true, false);
    body[response.body.len] = 0;
    return response.status;
}

/* A snapshot is checked before the root is asked, and the root gets what the client wanted. */
static void patched(void **state)
{
    (void)state;
    caps[0] = (struct abi_caps){
        .pin = ~0ull << 32, .cpu1 = ~0ull << 32, .cpu2 = ~0ull << 32, .entry = ~0ull << 32};
    memset(&asked, 0, sizeof(asked));
    memset(&audit, 0, sizeof(audit));
    memset(request.body, 'x', sizeof(request.body)); /* an earlier request's */
    (void)PATCH("{\"exit_profile\": \"most\"}");
    assert_int_equal(response.wait, API_WAIT_SNAPSHOT);
    assert_non_null(strstr(noted, "/v1/guests/hog/vcpus/0/vmcs {\"exit_profile\":?\"most\"}: 202, "
                                  "request 1 waits"));
    assert_false(api_ready(&view, &response));
    vmcs_set(&put(ABI_SNAPSHOT_LIVE, 9)->vmcs, VMCS_ROW_GUEST_ACTIVITY_STATE, 9);
    assert_int_equal(patch_goes_on(), 409);
    assert_non_null(strstr(body, "not changed: VM entry would fail: guest.activity"));
    assert_int_equal(asked.mask[ABI_CONTROL_CPU1], 0);
    assert_non_null(strstr(noted, "vmcs {\"exit_profile\":?\"most\"}: 409, request 1 waited"));
    vmcs_set(&put(ABI_SNAPSHOT_LIVE, 10)->vmcs, VMCS_ROW_GUEST_ACTIVITY_STATE, 0);
    (void)PATCH("{\"exit_profile\": \"most\"}");
    assert_int_equal(response.wait, API_WAIT_CONTROLS);
    assert_non_null(strstr(noted, ": 202, request 2 waits"));
    assert_true(asked.mask[ABI_CONTROL_CPU1]);
    assert_false(api_ready(&view, &response));
    vcpus[1][0].controls.sequence = 3;
    assert_true(api_ready(&view, &response));
    assert_int_equal(patch_goes_on(), 200);
    assert_int_equal(response.wait, API_WAIT_NONE);
    assert_non_null(strstr(body, "\"HLT_EXITING\":true"));
    assert_non_null(strstr(noted, ": 200, request 2 waited"));
    /* The root decides. */
    vcpus[1][0].controls.result = -E_STATE;
    (void)PATCH("{\"exit_profile\": \"most\"}");
    assert_int_equal(response.status, 409);
    assert_non_null(strstr(body, "not changed: the guest is not running"));
    memset(&vcpus[1][0].controls, 0, sizeof(vcpus[1][0].controls));
    memset(caps, 0, sizeof(caps));
}

/* Whole or not at all; the log says once who reads. */
static void memory_of_a_guest(void **state)
{
    static const char *const wrong[] = {"from=x",
                                        "from=0x",
                                        "from=-1",
                                        "length=0",
                                        "length=",
                                        "length=131073",
                                        "from=0xg",
                                        "from=1x",
                                        "from=0x10000000000000000",
                                        "from=18446744073709551615"};
    char text[128];

    (void)state;
    memory_result = 0;
    memset(&audit, 0, sizeof(audit));
    guests[1].state = ABI_GUEST_CRASHED;
    noted[0] = 0;
    assert_int_equal(GET("/v1/guests/hog/memory?from=0x1ff&length=1026"), 200);
    assert_string_equal(response.type, "application/octet-stream");
    assert_int_equal(response.body.len, 1026);
    for (unsigned i = 0; i < 1026; i++)
        assert_int_equal((uint8_t)body[i], (uint8_t)((0x1ff + i) * 5 + (0x1ff + i) / 256));
    assert_string_equal(noted, "(anybody) from 10.0.2.2: GET /v1/guests/hog/memory: 200");
    noted[0] = 0;
    assert_int_equal(GET("/v1/guests/hog/memory"), 200);
    assert_int_equal(response.body.len, 131072);
    assert_string_equal(noted, "");
    guests[1].stopped_tsc++; /* another life */
    assert_int_equal(GET("/v1/guests/hog/memory?from=4096&length=1"), 200);
    assert_int_equal(response.body.len, 1);
    assert_non_null(strstr(noted, "/memory: 200"));
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        (void)snprintf(text, sizeof(text),
                       "GET /v1/guests/hog/memory?%s HTTP/1.1\r\nHost: x\r\n\r\n", wrong[i]);
        assert_int_equal(get(text), 400);
    }
    memory_result = -E_RANGE;
    assert_int_equal(GET("/v1/guests/hog/memory?from=0x4000"), 400);
    assert_non_null(strstr(body, "the guest has no memory at 0x4000"));
    memory_result = -E_PERM;
    assert_int_equal(GET("/v1/guests/hog/memory"), 409);
    assert_non_null(strstr(body, "memory_dump"));
    memory_result = -E_STATE;
    guests[1].state = ABI_GUEST_RUNNING;
    assert_int_equal(GET("/v1/guests/hog/memory"), 409);
    assert_non_null(strstr(body, "the guest is running; pause or stop it"));
}

static void happen(const char *name, uint32_t state, const char *why)
{
    uint64_t n = ++events.newest;
    struct abi_event *e = &events.ring[(n - 1) % ABI_EVENTS];

    *e = (struct abi_event){.sequence = n, .tsc = 1000 * n, .state = state};
    strcpy(e->name, name);
    strcpy(e->why, why);
}

static void what_happened(void **state)
{
    static char text[1 << 16];
    size_t n;

    (void)state;
    assert_int_equal(GET("/v1/events?follow=0&from=0"), 200);
    assert_string_equal(body, "{\"events\":[]}\n");
    happen("hog", ABI_GUEST_RUNNING, "");
    happen("hog", ABI_GUEST_CRASHED, "triple \"fault\"\n");
    assert_int_equal(GET("/v1/events?follow=0"), 200);
    assert_non_null(strstr(body, "{\"events\":[{\"id\":1,\"uptime_ms\":1,"
                                 "\"time\":\"1970-01-01T00:00:00.001000Z\",\"guest\":\"hog\","
                                 "\"state\":\"running\",\"why\":\"\",\"restarts\":0,"
                                 "\"by\":null,\"role\":null,\"from\":null},{\"id\":2,"));
    assert_int_equal(GET("/v1/events?from=2"), 200);
    assert_string_equal(response.type, "text/event-stream");
    assert_true(stream_on(text, sizeof(text)) > 0);
    assert_string_equal(text, "id: 2\nevent: state\ndata: {\"id\":2,\"uptime_ms\":2,"
                              "\"time\":\"1970-01-01T00:00:00.002000Z\",\"guest\":\"hog\","
                              "\"state\":\"crashed\",\"why\":\"triple \\\"fault\\\"\\n\","
                              "\"restarts\":0,\"by\":null,\"role\":null,\"from\":null}\n\n");
    assert_int_equal(stream_on(text, sizeof(text)), 0);
    happen("hog", ABI_GUEST_RUNNING, "");
    assert_true(stream_on(text, sizeof(text)) > 0);
    assert_memory_equal(text, "id: 3\n", 6);
    /* A returning client says which events it has seen. */
    assert_int_equal(get("GET /v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 2\r\n\r\n"), 200);
    assert_true(stream_on(text, sizeof(text)) > 0);
    assert_memory_equal(text, "id: 3\n", 6);
    /* The oldest ones are gone. With little room, they come in parts. */
    for (unsigned i = 0; i < ABI_EVENTS; i++)
        happen("hog", ABI_GUEST_STOPPED, "stopped by request");
    assert_int_equal(GET("/v1/events?from=1"), 200);
    n = stream_on(text, 1024);
    assert_true(n > 0 && n < 1024);
    assert_memory_equal(text, "id: 4\n", 6);
    while (stream_on(text, 1024) > 0)
        ;
    assert_int_equal(response.stream.next, ABI_EVENTS + 4);
    assert_int_equal(GET("/v1/events?from=x"), 400);
    assert_int_equal(GET("/v1/events?follow=2"), 400);
    n = (size_t)events.newest;
    snprintf(text, sizeof(text), "GET /v1/events?follow=0&from=%zu HTTP/1.1\r\nHost: x\r\n\r\n",
             n + 1);
    assert_int_equal(get(text), 200);
    assert_string_equal(body, "{\"events\":[]}\n");
    /* An id from another boot: all from the oldest on. */
    assert_int_equal(GET("/v1/events?from=999999999999&follow=0"), 200);
    assert_non_null(strstr(body, "{\"id\":4,"));
    assert_int_equal(get("GET /v1/events HTTP/1.1\r\nHost: x\r\nLast-Event-ID: 99999\r\n\r\n"),
                     200);
    assert_true(stream_on(text, sizeof(text)) > 0);
    assert_memory_equal(text, "id: 4\n", 6);
}

static void followed(void **state)
{
    char text[128];

    (void)state;
    write_ring(console_ring, "abc");
    assert_int_equal(GET("/v1/guests/hog/console?follow=1"), 200);
    assert_int_equal(stream_on(text, sizeof(text)), 3);
    assert_string_equal(text, "abc");
    assert_int_equal(stream_on(text, sizeof(text)), 0);
    write_ring(console_ring, "def");
    assert_int_equal(stream_on(text, sizeof(text)), 3);
    assert_string_equal(text, "def");
    assert_false(response.stream.over);
    /* Text is overwritten before it was read: the stream ends. */
    for (int i = 0; i < 10; i++)
        write_ring(console_ring, "0123456789");
    assert_int_equal(stream_on(text, sizeof(text)), 0);
    assert_true(response.stream.over);
    assert_int_equal(GET("/v1/guests/hog/console?follow=1&from=2"), 200);
    assert_int_equal(response.next, 106 - 64);
    assert_int_equal(stream_on(text, sizeof(text)), 64);
    /* Another guest has its number, or none does. */
    strcpy(guests[1].config.name, "other");
    write_ring(console_ring, "secret");
    assert_int_equal(stream_on(text, sizeof(text)), 0);
    assert_true(response.stream.over);
    strcpy(guests[1].config.name, "hog");
    assert_int_equal(GET("/v1/guests/hog/console?follow=1&from=5000"), 200);
    assert_int_equal(response.next, 112 - 64);
    guests[1].state = ABI_GUEST_EMPTY;
    assert_int_equal(stream_on(text, sizeof(text)), 0);
    assert_true(response.stream.over);
    guests[1].state = ABI_GUEST_RUNNING;
    assert_int_equal(GET("/v1/guests/hog/console?follow=yes"), 400);
    assert_int_equal(GET("/v1/log?follow=1&from=x"), 400);
    assert_int_equal(GET("/v1/guests/hog/console?follow=0"), 200);
    assert_null(response.stream.more);
}

/* Each vCPU has its own counters, exits and snapshots; the guest's figures are their sums. */
static void several_vcpus(void **state)
{
    (void)state;
    guests[1].vcpu_count = 2;
    guests[1].core = 5;
    guests[1].ended_by = ABI_END_REQUEST;
    for (unsigned i = 0; i < 2; i++) {
        vcpus[1][i].run_ticks = 100 + i;
        vcpus[1][i].entries = 30 + i;
        vcpus[1][i].activity = ABI_HALTED;
        vcpus[1][i].core = 5 + i;
        snapshots[1][i][ABI_SNAPSHOT_LAUNCH] =
            (struct abi_snapshot){.sequence = 1 + 6 * i, .kind = ABI_STATE_VMX, .vcpu = i};
    }
    assert_int_equal(GET("/v1/guests"), 200);
    assert_non_null(strstr(body, "\"ended_by\":\"request\""));
    assert_non_null(
        strstr(body, "\"run_ticks\":201,\"entries\":61,\"halted\":true,\"cores\":[5,6]}"));
    vcpus[1][0].activity = ABI_ACTIVE;
    vcpus[1][1].core = 5;
    assert_int_equal(GET("/v1/guests"), 200);
    assert_non_null(strstr(body, "\"halted\":false,\"cores\":[5]}"));
    vcpus[1][1].core = 6;
    assert_int_equal(GET("/v1/guests/hog"), 200);
    assert_non_null(strstr(body, "{\"id\":0,\"core\":5,"));
    assert_non_null(strstr(body, "{\"id\":1,\"core\":6,"));
    assert_int_equal(GET("/v1/guests/hog/vcpus/1/vmcs/snapshots/7"), 200);
    assert_non_null(strstr(body, "\"vcpu\":1,\"sequence\":7"));
    assert_int_equal(GET("/v1/guests/hog/vcpus/0/vmcs/snapshots/7"), 404);
    assert_int_equal(GET("/v1/guests/hog/vcpus/1/vmcs"), 200);
    assert_int_equal(response.wait_for.vcpu, 1);
    assert_int_equal(GET("/v1/guests/hog/vcpus/2/vmcs"), 404);
    assert_int_equal(GET("/metrics"), 200);
    assert_non_null(
        strstr(body, "vcpu_seconds_total{guest=\"hog\",vcpu=\"1\",mode=\"run\"} 0.000101"));
    /* A dump of another kind is not mistaken for a VMCS. */
    snapshots[1][1][ABI_SNAPSHOT_LAUNCH].kind = ABI_STATE_KINDS;
    assert_int_equal(GET("/v1/guests/hog/vcpus/1/vmcs/snapshots/7"), 404);
}

/* Prometheus's text format: a family's samples follow its HELP and TYPE together; histograms are
 * cumulative. */
static void metrics(void **state)
{
    (void)state;
    answered[0] = (struct api_answered){200, 5};
    answered[1] = (struct api_answered){404, 1};
    vcpus[1][0].run_ticks = 2500001; /* at 1 MHz */
    guests[1].restarts = 3;
    host.console_lost[1] = 17;
    abi_histogram_add(&vcpus[1][0].wake_late, 0);
    abi_histogram_add(&vcpus[1][0].wake_late, 63);
    abi_histogram_add(&vcpus[1][0].wake_late, 64);
    abi_histogram_add(&vcpus[1][0].wake_late, UINT32_MAX);
    assert_int_equal(GET("/metrics"), 200);
    assert_non_null(strstr(response.type, "version=0.0.4"));
    assert_non_null(strstr(body, "# TYPE bulkhead_guest_restarts_total counter\n"
                                 "bulkhead_guest_restarts_total{guest=\"mgmt\"} 0\n"
                                 "bulkhead_guest_restarts_total{guest=\"hog\"} 3\n# HELP"));
    assert_non_null(strstr(body, "# TYPE bulkhead_guest_serial_lost_bytes_total counter\n"
                                 "bulkhead_guest_serial_lost_bytes_total{guest=\"mgmt\"} 0\n"
                                 "bulkhead_guest_serial_lost_bytes_total{guest=\"hog\"} 17\n"));
    assert_non_null(strstr(body,
                           "bulkhead_vcpu_seconds_total{guest=\"hog\",vcpu=\"0\",mode=\"run\"} "
                           "2.500001000\n"));
    assert_non_null(strstr(body,
                           "bulkhead_vcpu_exits_total{guest=\"hog\",vcpu=\"0\",reason=\"CPUID\"} "
                           "7\n"));
    assert_non_null(
        strstr(body, "_lateness_seconds_bucket{guest=\"hog\",vcpu=\"0\",le=\"0.000064000\"} 2\n"));
    assert_non_null(
        strstr(body, "_lateness_seconds_bucket{guest=\"hog\",vcpu=\"0\",le=\"0.000128000\"} 3\n"));
    assert_non_null(
        strstr(body, "_lateness_seconds_bucket{guest=\"hog\",vcpu=\"0\",le=\"+Inf\"} 4\n"));
    assert_non_null(strstr(body, "_lateness_seconds_count{guest=\"hog\",vcpu=\"0\"} 4\n"));
    assert_non_null(strstr(body, "bulkhead_guest_state{guest=\"hog\",state=\"running\"} 1\n"));
    assert_non_null(strstr(body, "bulkhead_http_requests_total{code=\"404\"} 1\n"));
    memset(answered, 0, sizeof(answered));
}

/* ---- a machine of the largest kind, whose counters fit no buffer ---- */

static struct abi_guest crowd[ABI_GUESTS_MAX];
static struct abi_vcpu busy_vcpu;

static const struct abi_guest *crowd_guest(unsigned n)
{
    return &crowd[n];
}

static const struct abi_vcpu *crowd_vcpu(struct api_vcpu id)
{
    assert_true(id.vcpu < crowd[id.guest].vcpu_count);
    return &busy_vcpu;
}

static void make_crowd(void)
{
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        crowd[i] = guests[1];
        (void)fmt(crowd[i].config.name, ABI_NAME_MAX, "a-guest-with-a-long-name-number-%u", i);
        crowd[i].vcpu_count = ABI_VCPUS_MAX;
        crowd[i].config.devices = DEV_NET;
    }
    crowd[3].state = ABI_GUEST_EMPTY;
    crowd[7].vcpu_count = 1;
    for (unsigned i = 0; i < ABI_EXIT_REASONS; i++)
        busy_vcpu.exits[i] = UINT64_MAX;
    for (unsigned i = 0; i < ABI_HISTOGRAM_BUCKETS; i++)
        busy_vcpu.wake_late.count[i] = UINT64_MAX / 16;
    host.core_count = ABI_CORES_MAX;
    host.topology = (struct abi_topology){.threads = ABI_THREADS_MAX};
    for (unsigned i = 0; i < ABI_THREADS_MAX; i++) {
        threads[i].apic_id = 2 * i;
        threads[i].number = (uint16_t)i;
        threads[i].state = i < ABI_CORES_MAX ? ABI_THREAD_RUNS : ABI_THREAD_SURPLUS;
    }
    view.guest = crowd_guest;
    view.vcpu = crowd_vcpu;
}

/* It comes as a stream with an end, in whole lines, and nothing is missing or there twice. */
static void metrics_of_a_crowd(void **state)
{
    static char whole[4 << 20], parts[4 << 20];
    const struct api_view saved_view = view;
    const struct abi_host saved = host;
    size_t got;

    (void)state;
    make_crowd();
    assert_int_equal(GET("/v1/host"), 200);
    http_next(&request);
    assert_int_equal(feed("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n"), HTTP_READY);
    api_handle(&view, &request, whole, sizeof(whole), &response, false, false);
    assert_null(response.stream.more);
    assert_true(response.body.len > 2 * sizeof(body));
    whole[response.body.len] = 0;
    for (size_t size = 24 << 10; size <= 96 << 10; size *= 2) {
        assert_int_equal(GET("/metrics"), 200);
        assert_non_null(strstr(response.type, "version=0.0.4"));
        assert_non_null(response.stream.more);
        assert_int_equal(response.body.len, 0);
        for (got = 0; !response.stream.over;) {
            size_t n = stream_on(parts + got, size);

            assert_true(n > 0 && parts[got + n - 1] == '\n');
            got += n;
        }
        assert_int_equal(stream_on(parts + got, size), 0);
        assert_string_equal(parts, whole);
    }
    view = saved_view;
    host = saved;
    memset(threads, 0, sizeof(threads));
}

static void network_card(void **state)
{
    (void)state;
    assert_int_equal(GET("/v1/host"), 200);
    assert_non_null(strstr(body, "\"cards\":[]"));
    assert_int_equal(GET("/metrics"), 200);
    assert_null(strstr(body, "bulkhead_nic_"));
    host.nics[0] = (struct abi_nic){.name = "82574L",
                                    .driver = "e1000e",
                                    .place = 0x20000 | 0x11 << 8 | 3 << 3 | 1,
                                    .mac = {0x52, 0x54, 0, 0x12, 0x34, 0x56},
                                    .roles = ABI_NIC_MANAGEMENT | ABI_NIC_GUESTS,
                                    .irq = ABI_NIC_MSIX,
                                    .link_up = 1,
                                    .full_duplex = 1,
                                    .mbits = 1000,
                                    .interrupts = 4,
                                    .rx_frames = 5,
                                    .rx_dropped = 6,
                                    .tx_frames = 7,
                                    .tx_dropped = 8,
                                    .became = {[NET_PASSED] = 1, [NET_DROP_RATE] = 9}};
    assert_int_equal(GET("/v1/host"), 200);
    assert_non_null(strstr(
        body,
        "\"refused\":{\"rate\":9},\"cards\":[{\"name\":\"82574L\",\"driver\":\"e1000e\",\"pci\":"
        "\"0002:11:03.1\",\"mac\":\"52:54:00:12:34:56\",\"roles\":[\"management\",\"guests\"],"
        "\"interrupt\":\"msi-x\",\"link_up\":true,"
        "\"interrupts\":4,\"full_duplex\":true,\"mbits\":1000,"
        "\"received\":5,\"received_dropped\":6,\"sent\":7,\"sent_dropped\":8,"
        "\"refused\":{\"rate\":9}}]"));
    assert_int_equal(GET("/metrics"), 200);
#define CARD "card=\"0002:11:03.1\""
    assert_non_null(strstr(body, "bulkhead_nic_info{" CARD ",name=\"82574L\",driver=\"e1000e\","
                                 "interrupt=\"msi-x\",users=\"all\"} 1\n"));
    assert_non_null(strstr(body, "bulkhead_nic_link_up{" CARD "} 1\n"));
    assert_non_null(strstr(body, "bulkhead_nic_link_bytes_per_second{" CARD "} 125000000\n"));
    assert_non_null(strstr(body, "bulkhead_nic_frames_total{" CARD ",direction=\"transmit\"} 7\n"));
    assert_non_null(
        strstr(body, "bulkhead_nic_dropped_frames_total{" CARD ",direction=\"receive\"} 6\n"));
    assert_non_null(
        strstr(body, "bulkhead_uplink_refused_frames_total{" CARD ",reason=\"rate\"} 9\n"));
    /* Beside one that is not used, about which there is no more to say. */
    host.nics[1] = host.nics[0];
    host.nics[0].roles = 0;
    host.nics[0].place = 0;
    host.nics[1].roles = ABI_NIC_GUESTS;
    assert_int_equal(GET("/v1/host"), 200);
    assert_non_null(strstr(body, "\"roles\":[],\"interrupt\":null,\"link_up\":null,"));
    assert_non_null(strstr(body, "\"roles\":[\"guests\"],\"interrupt\":\"msi-x\","));
    assert_non_null(strstr(body, "\"refused\":{\"rate\":18},\"cards\""));
    assert_int_equal(GET("/metrics"), 200);
    assert_non_null(strstr(body, "bulkhead_nic_info{card=\"0000:00:00.0\",name=\"82574L\","));
    assert_non_null(strstr(body, "interrupt=\"none\",users=\"none\"} 1\n"));
    assert_non_null(strstr(body, "users=\"guests\"} 1\n"));
    assert_null(strstr(body, "bulkhead_nic_link_up{card=\"0000:00:00.0\"}"));
    assert_non_null(strstr(body, "bulkhead_nic_link_up{" CARD "} 1\n"));
    memset(host.nics, 0, sizeof(host.nics));
}

static void typing_and_actions(void **state)
{
    (void)state;
    assert_int_equal(POST("/v1/guests/hog/console", 3, "abc"), 200);
    assert_string_equal(body, "{\"accepted\":3}\n");
    assert_memory_equal(typed, "abc", 3);
    assert_int_equal(POST("/v1/guests/hog/actions", 18, "{\"action\": \"stop\"}"), 202);
    assert_int_equal(POST("/v1/guests/mgmt/actions", 18, "{\"action\": \"stop\"}"), 409);
    assert_int_equal(POST("/v1/guests/hog/actions", 18, "{\"action\": \"fly!\"}"), 400);
    assert_int_equal(POST("/v1/guests/hog/actions", 0, ""), 400);
}

static void host_actions(void **state)
{
    (void)state;
    host_acted = 0;
    assert_int_equal(POST("/v1/host/actions", 17, "{\"action\": \"stop\"}"), 400);
    assert_int_equal(POST("/v1/host/actions", 0, ""), 400);
    assert_int_equal(POST("/v1/host/actions", 18, "{\"action\": \"reset\"}"), 400);
    assert_int_equal(GET("/v1/host/actions"), 405);
    assert_int_equal(host_acted, 0);
    assert_int_equal(POST("/v1/host/actions", 20, "{\"action\": \"reboot\"}"), 202);
    assert_string_equal(body, "{\"action\":\"reboot\",\"status\":\"accepted\"}\n");
    assert_int_equal(host_acted, ABI_HOST_REBOOT);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(resources),
        TEST(topology),
        TEST(text_form),
        TEST(errors),
        TEST(http_limits),
        TEST(going_on),
        TEST(pipelining),
        TEST(snapshots_kept),
        TEST(several_vcpus),
        TEST(flight_recorder),
        TEST(vmcs),
        TEST(rings),
        TEST(typing_and_actions),
        TEST(management_stays),
        TEST(host_actions),
        TEST(other_sites),
        TEST(metrics),
        TEST(metrics_of_a_crowd),
        TEST(network_card),
        TEST(what_happened),
        TEST(followed),
        TEST(host_field),
        TEST(whose_host),
        TEST(log_with_times),
        TEST(patched),
        TEST(memory_of_a_guest),
        TEST(long_accept),
        TEST(percent_encoding),
        TEST(unknown_parameters),
        TEST(absolute_target),
        TEST(coded_bodies),
        TEST(escaped_actions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

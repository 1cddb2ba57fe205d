/* SOURCES: @mgmt @llhttp */
/* The API on a machine with SVM: the same resources over a VMCB. */
#include "arch/x86/inspect/decode_fields.h"
#include "arch/x86/svm/svm.h"
#include "mgmt/api.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct auth_table auth;
static struct audit audit;
static struct config config = {.management.service = {.auth = AUTH_NONE, .http = PORT80_OFF}};
static struct abi_host host = {.core_count = 2,
                               .tsc_hz = 1000000,
                               .guests = 1,
                               .state_kind = ABI_STATE_SVM,
                               .cpu_brand = "EPYC"};
static struct abi_guest one = {.state = ABI_GUEST_RUNNING, .vcpu_count = 1, .config.name = "hog"};
static struct abi_vcpu stats;
static struct abi_snapshot snapshots[ABI_SNAPSHOTS];
static struct abi_exit ring[ABI_EXITS];
static struct abi_caps caps[ABI_CORES_MAX];
static struct abi_controls asked;
static struct http_request request;
static struct api_response response;
static char body[1 << 18];

static void note(const char *text)
{
    (void)text;
}
static const struct abi_guest *guest(unsigned n)
{
    return n == 0 ? &one : NULL;
}
static const struct abi_vcpu *vcpu(struct api_vcpu id)
{
    (void)id;
    return &stats;
}
static const struct abi_snapshot *snapshot(struct api_vcpu id, unsigned slot)
{
    (void)id;
    return &snapshots[slot];
}
static const struct abi_exit *exits(struct api_vcpu id)
{
    (void)id;
    return ring;
}
static const uint8_t *bitmaps(unsigned n)
{
    static uint8_t pages[ABI_BITMAPS_SIZE];

    (void)n;
    memset(pages, 0xff, sizeof(pages));
    pages[0x800 + 0x100 / 4] = 0xfd; /* WRMSR 0xc0000100 does not exit */
    return pages;
}
static int64_t take_snapshot(struct api_vcpu id, bool keep)
{
    (void)id;
    (void)keep;
    return 1;
}
static int64_t controls(struct api_vcpu id, const struct abi_controls *c)
{
    (void)id;
    asked = *c;
    stats.controls.sequence = 1;
    return 1;
}
static uint64_t tsc(void)
{
    return 5000000;
}
static struct abi_events events;
static struct api_answered answered[API_STATUSES_MAX];
static struct clock wall;
static const struct api_view view = {
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
    .take_snapshot = take_snapshot,
    .controls = controls,
    .tsc = tsc,
    .answered = answered,
    .auth = &auth,
    .audit = &audit,
    .note = note,
    .random_token = "secret",
    .events = &events,
};

static unsigned send(const char *method, const char *target, const char *sent)
{
    char text[600];
    int n =
        snprintf(text, sizeof(text), "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %zu\r\n\r\n%s",
                 method, target, strlen(sent), sent);

    http_init(&request, NULL, NULL);
    (void)http_feed(&request, text, (size_t)n);
    assert_int_equal(request.state, HTTP_READY);
    memset(&response, 0, sizeof(response));
    api_handle(&view, &request, body, sizeof(body), &response, false, false);
    for (int i = 0; response.wait && i < 3; i++) {
        assert_true(api_ready(&view, &response));
        api_handle(&view, &request, body, sizeof(body), &response, true, false);
    }
    body[response.body.len] = 0;
    return response.status;
}

#define GET(target) send("GET", target, "")
#define VCPU        "/v1/guests/hog/vcpus/0"

static int setup(void **state)
{
    static const uint8_t zeros[VMCB_SIZE];
    static const struct {
        unsigned row;
        uint64_t value;
    } values[] = {{VMCB_ROW_INTERCEPT_MISC1, INTERCEPT_HLT | INTERCEPT_IOIO_PROT},
                  {VMCB_ROW_INTERCEPT_MISC2, INTERCEPT_VMRUN},
                  {VMCB_ROW_GUEST_ASID, 1},
                  {VMCB_ROW_EFER, 0x1000},
                  {VMCB_ROW_EXITCODE, SVM_EXIT_IOIO},
                  {VMCB_ROW_EXITINFO1, 0x03f80010},
                  {VMCB_ROW_RIP, 0x7c00}};

    (void)state;
    memset(snapshots, 0, sizeof(snapshots));
    memset(&stats, 0, sizeof(stats));
    memset(&asked, 0, sizeof(asked));
    memset(ring, 0, sizeof(ring));
    for (unsigned i = 0; i < 2; i++)
        caps[i] = (struct abi_caps){.present = 1,
                                    .address_widths = 0x3028,
                                    .svm_revision = 1,
                                    .svm_asids = 16,
                                    .svm_features = 1};
    for (unsigned i = 0; i < 2; i++) {
        struct abi_snapshot *s = &snapshots[i];

        *s = (struct abi_snapshot){
            .sequence = i + 1, .kind = ABI_STATE_SVM, .cause = ABI_CAUSE_REQUEST, .tsc = i};
        vmcb_read_fields(zeros, &caps[0], &s->vmcs);
        for (unsigned k = 0; k < sizeof(values) / sizeof(values[0]); k++)
            vmcs_set(&s->vmcs, values[k].row, values[k].value + (k == 6 ? i : 0));
    }
    stats.wanted[ABI_SVM_INTERCEPT_MISC1] = INTERCEPT_HLT | INTERCEPT_IOIO_PROT;
    return 0;
}

static void dumped(void **state)
{
    (void)state;
    assert_int_equal(GET(VCPU "/vmcb?decode=1"), 200);
    assert_non_null(strstr(body, "\"exit_profile\":\"default\""));
    assert_non_null(
        strstr(body, "{\"offset\":\"0x578\",\"name\":\"RIP\",\"group\":\"guest\",\"width\":\"64\","
                     "\"value\":\"0x0000000000007c00\",\"belongs_to\":\"guest\","
                     "\"volatility\":\"run\"}"));
    /* Where an intercept comes from, and whether it can be changed. */
    assert_non_null(strstr(body, "{\"bits\":\"24\",\"name\":\"HLT\",\"value\":\"0x1\","
                                 "\"meaning\":\"HLT: exit\",\"wanted\":true,\"forced\":null,"
                                 "\"changeable\":false}"));
    assert_non_null(strstr(body, "\"name\":\"NRIP\",\"group\":\"control\",\"width\":\"64\","
                                 "\"value\":null,\"reason\":\"no next RIP at exits"));
    assert_non_null(strstr(body, "\"ports_that_exit\":[{\"first\":\"0x0\",\"last\":\"0xffff\","));
    assert_non_null(strstr(body, "\"msr_writes_without_exit\":[{\"first\":\"0xc0000100\","
                                 "\"last\":\"0xc0000100\",\"names\":[\"IA32_FS_BASE\"]}]"));
    assert_non_null(strstr(body, "\"msr_reads_without_exit\":[]"));
    assert_int_equal(GET(VCPU "/vmcb?decode=1&fields=IOPM_BASE_PA"), 200);
    assert_non_null(strstr(body, "bitmaps"));
    assert_int_equal(GET(VCPU "/vmcb?decode=1&fields=RIP"), 200);
    assert_null(strstr(body, "bitmaps"));
    assert_int_equal(GET(VCPU "/vmcb?format=text&fields=EXITINFO1,0x4d0"), 200);
    assert_non_null(strstr(body, "0x078  EXITINFO1"));
    assert_non_null(strstr(body, "in the control area"));
    assert_non_null(strstr(body, "OUT, 8 bits"));
    assert_non_null(strstr(body, "SVME"));
    assert_int_equal(GET(VCPU "/vmcb?fields=GUEST_RIP"), 400);
    assert_non_null(strstr(body, "neither a field's name nor its offset"));
    assert_int_equal(GET(VCPU "/vmcb?group=read-only"), 200);
    assert_non_null(strstr(body, "EXITCODE"));
    assert_null(strstr(body, "\"RIP\""));
}

static void compared_and_checked(void **state)
{
    (void)state;
    assert_int_equal(GET(VCPU "/vmcb/snapshots"), 200);
    assert_non_null(strstr(body, "\"sequence\":2"));
    assert_int_equal(GET(VCPU "/vmcb/diff?from=1&to=2"), 200);
    assert_non_null(strstr(body, "\"fields\":[{\"offset\":\"0x578\",\"name\":\"RIP\","
                                 "\"volatility\":\"run\",\"from\":\"0x0000000000007c00\","
                                 "\"to\":\"0x0000000000007c01\"}]"));
    assert_int_equal(GET(VCPU "/vmcb/check"), 200);
    assert_non_null(strstr(body, "\"enters\":true"));
    vmcs_set(&snapshots[0].vmcs, VMCB_ROW_GUEST_ASID, 0);
    assert_int_equal(GET(VCPU "/vmcb/check"), 200);
    assert_non_null(strstr(body, "{\"rule\":\"control.asid.zero\",\"field\":\"GUEST_ASID\","
                                 "\"offset\":\"0x058\",\"value\":\"0x00000000\",\"allowed\":"
                                 "\"ASID 0 is the host's\",\"stage\":\"VMRUN\",\"section\":"
                                 "\"Canonicalization and Consistency Checks\"}"));
}

static void exits_shown(void **state)
{
    (void)state;
    ring[0] = (struct abi_exit){.tsc = 10,
                                .entry_tsc = 15,
                                .rip = 0x7c00,
                                .reason = SVM_EXIT_IOIO,
                                .qualification = 0x03f80010};
    ring[1] = (struct abi_exit){
        .tsc = 20, .entry_tsc = 25, .rip = 1, .reason = SVM_EXIT_NPF, .detail = 0xfee00300};
    stats.entries = 3;
    stats.exits[SVM_EXIT_IOIO] = 7;
    stats.exits[abi_svm_exit(SVM_EXIT_NPF)] = 8;
    stats.exits[abi_svm_exit(SVM_EXIT_INVALID)] = 9;
    assert_int_equal(GET(VCPU "/exits"), 200);
    assert_non_null(strstr(body, "\"ports\":[{\"port\":\"0x3f8\",\"exits\":1}]"));
    assert_non_null(strstr(body, "\"pages\":[{\"page\":\"0xfee00000\",\"exits\":1}]"));
    assert_non_null(strstr(body, "\"reason\":\"IOIO\",\"number\":123,\"rip\":\"0x7c00\","
                                 "\"exitinfo1\":\"0x3f80010\""));
    assert_non_null(strstr(body, "\"reason\":\"NPF\",\"number\":1024"));
    assert_non_null(strstr(body, "\"guest_physical\":\"0xfee00300\""));
    assert_int_equal(GET(VCPU "/exits?reason=npf"), 200);
    assert_null(strstr(body, "IOIO"));
    assert_int_equal(GET(VCPU "/exits?reason=1024"), 200);
    assert_int_equal(GET(VCPU "/exits?reason=EPT_VIOLATION"), 400);
    assert_int_equal(GET("/v1/guests/hog"), 200);
    assert_non_null(strstr(body, "\"exits\":{\"IOIO\":7,\"NPF\":8,\"OTHER\":9}"));
    assert_int_equal(GET("/metrics"), 200);
    assert_non_null(strstr(body, "reason=\"NPF\"} 8\n"));
}

static void changed(void **state)
{
    (void)state;
    assert_int_equal(send("PATCH", VCPU "/vmcb",
                          "{\"fields\": {\"intercept_misc1\": {\"rdtsc\": true}, "
                          "\"INTERCEPT_MISC2\": {\"RDTSCP\": true}}}"),
                     200);
    assert_int_equal(asked.mask[ABI_SVM_INTERCEPT_MISC1], INTERCEPT_RDTSC);
    assert_int_equal(asked.value[ABI_SVM_INTERCEPT_MISC2], INTERCEPT_RDTSCP);
    assert_non_null(strstr(body, "\"changed\":{\"intercept_misc1\":{\"RDTSC\":true},"
                                 "\"intercept_misc2\":{\"RDTSCP\":true}}"));
    assert_int_equal(send("PATCH", VCPU "/vmcb", "{\"exit_profile\": \"most\"}"), 200);
    assert_true(asked.value[ABI_SVM_INTERCEPT_MISC1] & INTERCEPT_PAUSE);
    /* What isolation rests on is refused before the root is asked. */
    memset(&asked, 0, sizeof(asked));
    assert_int_equal(
        send("PATCH", VCPU "/vmcb", "{\"fields\": {\"intercept_misc1\": {\"IOIO_PROT\": false}}}"),
        409);
    assert_non_null(strstr(body, "INTERCEPT_MISC1, IOIO_PROT: ports belong to the root"));
    assert_int_equal(
        send("PATCH", VCPU "/vmcb", "{\"fields\": {\"intercept_misc2\": {\"VMRUN\": false}}}"),
        409);
    assert_int_equal(asked.mask[ABI_SVM_INTERCEPT_MISC1], 0);
    assert_int_equal(
        send("PATCH", VCPU "/vmcb", "{\"fields\": {\"pin_controls\": {\"NMI\": true}}}"), 400);
    assert_non_null(strstr(body, "intercept_misc3"));
    assert_int_equal(
        send("PATCH", VCPU "/vmcb", "{\"fields\": {\"intercept_misc1\": {\"NO\": true}}}"), 400);
}

/* Resources of the other vendor say what to use instead, after the token was checked. */
static void other_vendor(void **state)
{
    static const char *const vmx[] = {VCPU "/vmcs", VCPU "/vmcs/snapshots", VCPU "/vmcs/check",
                                      "/v1/vmx/capabilities", "/v1/vmx/layout"};
    static const char *const svm[] = {VCPU "/vmcb", VCPU "/vmcb/diff?from=1",
                                      VCPU "/vmcb/snapshots/1", "/v1/svm/capabilities"};

    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(GET(vmx[i]), 501);
        assert_non_null(strstr(body, "this machine has AMD-V: there is no such resource; use "));
    }
    assert_int_equal(GET(svm[0]), 200);
    host.state_kind = ABI_STATE_VMX;
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal(GET(svm[i]), 501);
        assert_non_null(strstr(body, "this machine has VT-x: there is no such resource; use "));
    }
    /* A VMCB is not mistaken for a VMCS. */
    assert_int_equal(GET(VCPU "/vmcs/snapshots/1"), 404);
    host.state_kind = ABI_STATE_SVM;
    config.management.service.auth = AUTH_RANDOM;
    assert_int_equal(GET(vmx[0]), 401);
    config.management.service.auth = AUTH_NONE;
}

static void machine(void **state)
{
    (void)state;
    assert_int_equal(GET("/v1/host"), 200);
    assert_non_null(strstr(body, "\"virtualization\":\"AMD-V\",\"vmcs_revision\":null"));
    assert_int_equal(GET("/v1/svm/capabilities?decode=1"), 200);
    assert_non_null(strstr(body, "\"asids\":16"));
    assert_non_null(strstr(body, "{\"bit\":0,\"name\":\"NP\",\"present\":true"));
    assert_non_null(strstr(body, "{\"bit\":3,\"name\":\"NRIPS\",\"present\":false"));
    assert_non_null(strstr(body, "\"core\":1,\"svm\":true,\"inside_a_hypervisor\":false,"
                                 "\"like_core_0\":true"));
}

static void side_by_side(void **state)
{
    (void)state;
    assert_int_equal(GET("/v1/compare"), 200);
    assert_non_null(strstr(body, "\"vmcs\":{\"encoding\":\"0x681e\",\"name\":\"GUEST_RIP\","
                                 "\"width\":\"natural\",\"belongs_to\":\"guest\"},\"vmcb\":"
                                 "{\"offset\":\"0x578\",\"name\":\"RIP\",\"width\":\"64\","
                                 "\"belongs_to\":\"guest\"},\"note\":\"\"}"));
    assert_non_null(strstr(body, "\"vmcs\":null,\"vmcb\":{\"offset\":\"0x05c\""));
    assert_non_null(strstr(body, "\"bit\":\"HLT_EXITING\""));
    assert_int_equal(GET("/v1/compare?format=text"), 200);
    assert_non_null(strstr(body, "== The host =="));
    assert_non_null(strstr(body, "0x4002 PRIMARY_PROCESSOR_CONTROLS.HLT_EXITING"));
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(dumped),       TEST(compared_and_checked), TEST(exits_shown),
        TEST(changed),      TEST(other_vendor),         TEST(machine),
        TEST(side_by_side),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

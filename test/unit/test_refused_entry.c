/* SOURCES: @mgmt @llhttp */
/* What the management guest knows about VM entries that the CPU would refuse, or has refused. */
#include "arch/x86/inspect/decode_fields.h"
#include "arch/x86/vmx/vmx.h"
#include "mgmt/controls.h"
#include "mgmt/explain.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct abi_guest guests[2];
static struct abi_snapshot snapshots[2];
static struct abi_caps caps[ABI_CORES_MAX];
static struct abi_thread threads[ABI_THREADS_MAX];
static struct abi_events events;
static struct explain explained;
static unsigned notes;
static char noted[400];

static const struct abi_guest *guest(unsigned n)
{
    return n < 2 ? &guests[n] : NULL;
}
static struct abi_vcpu vcpus[2];
static const struct abi_vcpu *vcpu(struct api_vcpu id)
{
    assert_int_equal(id.vcpu, 0);
    return &vcpus[id.guest];
}
static const struct abi_snapshot *snapshot(struct api_vcpu id, unsigned slot)
{
    assert_int_equal(id.vcpu, 0);
    return slot == ABI_SNAPSHOT_DEATH ? &snapshots[id.guest] : NULL;
}
static void note(const char *text)
{
    notes++;
    strcpy(noted, text);
}

static const struct api_view view = {.guest = guest,
                                     .vcpu = vcpu,
                                     .snapshot = snapshot,
                                     .caps = caps,
                                     .threads = threads,
                                     .events = &events,
                                     .explain = &explained,
                                     .note = note};

static int setup(void **state)
{
    (void)state;
    memset(guests, 0, sizeof(guests));
    memset(snapshots, 0, sizeof(snapshots));
    memset(&events, 0, sizeof(events));
    memset(&explained, 0, sizeof(explained));
    guests[0].vcpu_count = guests[1].vcpu_count = 1;
    notes = 0;
    caps[0] = (struct abi_caps){.pin = ~0ull << 32,
                                .cpu1 = (~0ull << 32 & ~((uint64_t)CPU1_INVLPG_EXITING << 32)) |
                                        CPU1_CR3_LOAD_EXITING,
                                .cpu2 = ~0ull << 32,
                                .exit = ~0ull << 32,
                                .entry = ~0ull << 32,
                                .misc = 1u << 6};
    return 0;
}

/* ---- before a change ---- */

static struct abi_vmcs vmcs;

static int judge(unsigned word, uint32_t mask, uint32_t value, struct abi_controls_result *r,
                 char *why)
{
    struct abi_controls c = {0};

    c.mask[word] = mask;
    c.value[word] = value;
    return controls_judge(&state_vmcs, &vmcs, &caps[0], &c, r, why, ABI_TEXT_MAX);
}

static void a_change(void **state)
{
    struct abi_controls_result r;
    char why[ABI_TEXT_MAX];

    (void)state;
    memset(&vmcs, 0, sizeof(vmcs));
    vmcs.value[VMCS_ROW_PRIMARY_PROCESSOR_CONTROLS] = CPU1_CR3_LOAD_EXITING;
    assert_int_equal(judge(ABI_CONTROL_CPU1, CPU1_HLT_EXITING, CPU1_HLT_EXITING, &r, why), 0);
    /* The isolation mask: a bit that keeps its value is not a change. */
    assert_int_equal(judge(ABI_CONTROL_PIN, PIN_PREEMPTION_TIMER, 0, &r, why), 0);
    assert_int_equal(judge(ABI_CONTROL_PIN, PIN_PREEMPTION_TIMER, PIN_PREEMPTION_TIMER, &r, why),
                     -E_PERM);
    assert_int_equal(r.control, ABI_CONTROL_PIN);
    assert_int_equal(r.bits, PIN_PREEMPTION_TIMER);
    assert_string_equal(why, "nothing else ends the guest's slice");
    assert_int_equal(judge(ABI_CONTROL_EXIT, 1u << 9, 1u << 9, &r, why), -E_PERM);
    assert_non_null(strstr(why, "kept apart"));
    assert_int_equal(judge(ABI_CONTROL_CPU2, 1u << 14, 1u << 14, &r, why), -E_PERM);
    assert_non_null(strstr(why, "structure"));
    /* The CPU: must be 0, must be 1. */
    assert_int_equal(judge(ABI_CONTROL_CPU1, CPU1_INVLPG_EXITING, CPU1_INVLPG_EXITING, &r, why),
                     -E_INVAL);
    assert_int_equal(r.bits, CPU1_INVLPG_EXITING);
    assert_int_equal(judge(ABI_CONTROL_CPU1, CPU1_CR3_LOAD_EXITING, 0, &r, why), -E_INVAL);
    assert_int_equal(r.bits, CPU1_CR3_LOAD_EXITING);
    assert_non_null(strstr(why, "capability"));
    /* SDM 3C "Checks on Guest Non-Register State": there are four activity states. */
    vmcs_set(&vmcs, VMCS_ROW_GUEST_ACTIVITY_STATE, 9);
    assert_int_equal(judge(ABI_CONTROL_CPU1, CPU1_HLT_EXITING, CPU1_HLT_EXITING, &r, why),
                     -E_INVAL);
    assert_int_equal(r.bits, 0);
    assert_memory_equal(why, "guest.activity", 14);
}

/* Which profile the words amount to. What the CPU forces does not count: CR3 loads exit in each,
 * and INVLPG in none. */
static void a_profile(void **state)
{
    const uint32_t most = CPU1_HLT_EXITING | CPU1_RDTSC_EXITING | CPU1_CR3_LOAD_EXITING |
                          CPU1_CR3_STORE_EXITING | CPU1_MOV_DR_EXITING | CPU1_PAUSE_EXITING;

    (void)state;
    memset(&vmcs, 0, sizeof(vmcs));
    vmcs.value[VMCS_ROW_PRIMARY_PROCESSOR_CONTROLS] = CPU1_CR3_LOAD_EXITING;
    assert_int_equal(controls_profile(&state_vmcs, &vmcs, &caps[0]), ABI_EXITS_LEAST);
    vmcs.value[VMCS_ROW_PRIMARY_PROCESSOR_CONTROLS] |= CPU1_HLT_EXITING | CPU1_USE_IO_BITMAPS;
    assert_int_equal(controls_profile(&state_vmcs, &vmcs, &caps[0]), ABI_EXITS_DEFAULT);
    vmcs.value[VMCS_ROW_PRIMARY_PROCESSOR_CONTROLS] = most;
    assert_int_equal(controls_profile(&state_vmcs, &vmcs, &caps[0]), -1);
    vmcs.value[VMCS_ROW_SECONDARY_PROCESSOR_CONTROLS] = CPU2_RDRAND_EXITING | CPU2_RDSEED_EXITING;
    assert_int_equal(controls_profile(&state_vmcs, &vmcs, &caps[0]), ABI_EXITS_MOST);
}

/* ---- after a death ---- */

static void happen(unsigned number, uint32_t state, uint64_t tsc, const char *why)
{
    uint64_t n = events.newest + 1;
    struct abi_event *e = &events.ring[(n - 1) % ABI_EVENTS];

    *e = (struct abi_event){.sequence = n, .tsc = tsc, .guest = number, .state = state};
    snprintf(e->name, sizeof(e->name), "g%u", number);
    strcpy(e->why, why);
    strcpy(guests[number].why, why);
    guests[number].state = state;
    if (state == ABI_GUEST_CRASHED)
        guests[number].stopped_tsc = tsc;
    events.newest = n;
}

static void die(uint64_t tsc)
{
    memset(&snapshots[1].vmcs, 0, sizeof(snapshots[1].vmcs));
    vmcs_set(&snapshots[1].vmcs, VMCS_ROW_GUEST_ACTIVITY_STATE, 9);
    snapshots[1].tsc = tsc;
}

static const char failed[] = ABI_WHY_ENTRY_FAILED ": VM entry with invalid (error 7)";

static void a_death(void **state)
{
    struct abi_event e;
    struct abi_guest g;

    (void)state;
    happen(0, ABI_GUEST_RUNNING, 10, "");
    happen(1, ABI_GUEST_CRASHED, 20, failed);
    happen(0, ABI_GUEST_CRASHED, 30, "triple fault");
    /* Its snapshot is not there yet: this event and those after it are not shown. */
    assert_int_equal(explain_newest(&view), 1);
    g = guests[1];
    explain_guest(&view, 1, &g);
    assert_string_equal(g.why, failed);
    die(25);
    assert_int_equal(explain_newest(&view), 3);
    assert_int_equal(notes, 1);
    assert_non_null(
        strstr(noted, "guest g1: the check that its VM entry did not pass: guest.activity"));
    e = events.ring[1];
    explain_event(&view, &e);
    assert_memory_equal(e.why, failed, sizeof(failed) - 1);
    assert_memory_equal(e.why + sizeof(failed) - 1, ": guest.activity", 16);
    g = guests[1];
    explain_guest(&view, 1, &g);
    assert_string_equal(g.why, e.why);
    e = events.ring[2];
    explain_event(&view, &e);
    assert_string_equal(e.why, "triple fault");
    explain_poll(&view);
    assert_int_equal(notes, 1);
    /* A snapshot without a failure says so, too. */
    memset(&snapshots[1].vmcs, 0, sizeof(snapshots[1].vmcs));
    g = guests[1];
    explain_guest(&view, 1, &g);
    assert_non_null(strstr(g.why, ": no check of the SDM fails"));
}

/* Of VMRUN. */
static void a_refused_vmrun(void **state)
{
    struct abi_guest g;

    (void)state;
    guests[1].state = ABI_GUEST_CRASHED;
    snapshots[1] = (struct abi_snapshot){.sequence = 1, .kind = ABI_STATE_SVM, .tsc = 1};
    strcpy(guests[1].why, failed);
    vmcs_set(&snapshots[1].vmcs, VMCB_ROW_GUEST_ASID, 0);
    g = guests[1];
    explain_guest(&view, 1, &g);
    assert_non_null(strstr(g.why, ": control.asid.zero 0x0 (ASID 0 is the host's)"));
    vmcs_set(&snapshots[1].vmcs, VMCB_ROW_GUEST_ASID, 1);
    g = guests[1];
    explain_guest(&view, 1, &g);
    assert_non_null(strstr(g.why, ": no check of the APM fails"));
}

/* Snapshots of a later life explain nothing, and a snapshot that cannot come is not waited for. */
static void another_life(void **state)
{
    (void)state;
    happen(1, ABI_GUEST_CRASHED, 20, failed);
    happen(1, ABI_GUEST_RUNNING, 30, "");
    happen(1, ABI_GUEST_STOPPED, 40, "stopped by request");
    die(41);
    assert_int_equal(explain_newest(&view), 3);
    assert_int_equal(notes, 0);
    happen(1, ABI_GUEST_RUNNING, 50, "");
    happen(1, ABI_GUEST_CRASHED, 60, failed);
    assert_int_equal(explain_newest(&view), 4);
    happen(1, ABI_GUEST_DELETING, 70, "deleted by request"); /* its snapshots are zeroed */
    snapshots[1].tsc = 0;
    assert_int_equal(explain_newest(&view), 6);
    /* More events than are kept. */
    for (unsigned i = 0; i < 2 * ABI_EVENTS; i++)
        happen(0, ABI_GUEST_STOPPED, 100 + i, "");
    assert_int_equal(explain_newest(&view), 6 + 2 * ABI_EVENTS);
    assert_int_equal(notes, 0);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(a_change), TEST(a_profile), TEST(a_death),
                                       TEST(a_refused_vmrun), TEST(another_life)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

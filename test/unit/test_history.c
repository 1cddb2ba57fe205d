/* SOURCES: @mgmt @llhttp */
/* The samples of a guest's last hour. */
#include "mgmt/history.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HZ  20000000ull
#define HOG 3u

static struct abi_host host;
static struct abi_guest guests[ABI_GUESTS_MAX];
static struct abi_vcpu vcpus[2];
static struct history history;
static uint64_t tsc;

static const struct abi_guest *guest(unsigned n)
{
    return n < ABI_GUESTS_MAX ? &guests[n] : NULL;
}
static const struct abi_vcpu *vcpu(struct api_vcpu id)
{
    assert_int_equal(id.guest, HOG);
    return &vcpus[id.vcpu];
}
static uint64_t now(void)
{
    return tsc;
}

static const struct api_view view = {
    .host = &host, .guest = guest, .vcpu = vcpu, .tsc = now, .history = &history};
static struct history_guest *const hog = &history.guests[HOG];

static int setup(void **state)
{
    (void)state;
    memset(&history, 0, sizeof(history));
    memset(vcpus, 0, sizeof(vcpus));
    memset(&host, 0, sizeof(host));
    host.tsc_hz = HZ;
    host.boot_tsc = tsc = 5 * HZ;
    host.guests = 1u << HOG;
    guests[HOG].vcpu_count = 2;
    guests[HOG].core = 1;
    strcpy(guests[HOG].config.name, "hog");
    return 0;
}

static void pass(uint64_t seconds)
{
    tsc += seconds * HZ;
    history_poll(&view);
}

static void samples(void **state)
{
    const struct history_sample *s = hog->ring;

    (void)state;
    history_poll(&view);
    assert_int_equal(hog->count, 0);
    vcpus[0].entries = 15 * 700;
    vcpus[1].entries = 15 * 300;
    vcpus[0].run_ticks = 15 * HZ / 2;
    vcpus[1].run_ticks = 15 * HZ;
    abi_histogram_add(&vcpus[0].wake_late, 100); /* 5 us */
    abi_histogram_add(&vcpus[1].wake_late, 300);
    pass(14);
    assert_int_equal(hog->count, 0);
    pass(1);
    assert_int_equal(hog->count, 1);
    assert_int_equal(s->exits, 1000);
    assert_int_equal(s->run, 1500);
    assert_int_equal(s->timer_mean, 10000);
    assert_int_equal(s->timer_most, 512 * 50);
    assert_int_equal(s->slice_mean, HISTORY_NONE);
    /* Nothing more happens; then a slice ends late on its core. */
    pass(15);
    assert_int_equal(s[1].exits, 0);
    assert_int_equal(s[1].timer_mean, HISTORY_NONE);
    abi_histogram_add(&host.cores[0].slice_late, 9000);
    abi_histogram_add(&host.cores[1].slice_late, 64);
    pass(15);
    assert_int_equal(s[2].slice_mean, 64 * 50);
    assert_int_equal(s[2].slice_most, 128 * 50);
}

/* The ring is bounded, a new guest of the number begins anew, and counters that go back leave a
 * gap.
 */
static void ring(void **state)
{
    (void)state;
    for (unsigned i = 0; i <= HISTORY_SAMPLES + 7; i++) {
        vcpus[0].entries += 15 * i;
        pass(15);
    }
    assert_int_equal(hog->count, HISTORY_SAMPLES + 7);
    assert_int_equal(hog->ring[6].exits, HISTORY_SAMPLES + 7);
    assert_int_equal(hog->ring[7].exits, 8);
    memset(vcpus, 0, sizeof(vcpus));
    pass(15);
    assert_int_equal(hog->ring[7].exits, HISTORY_NONE);
    strcpy(guests[HOG].config.name, "echo");
    pass(15);
    assert_int_equal(hog->count, 0);
    pass(15);
    assert_int_equal(hog->count, 1);
    host.guests = 0;
    pass(15);
    host.guests = 1u << HOG;
    pass(15);
    assert_int_equal(hog->count, 0);
    /* A look that comes late counts for the time that it was late, and is not made up for. */
    vcpus[0].entries += 3000;
    pass(30);
    assert_int_equal(hog->count, 1);
    assert_int_equal(hog->ring[0].exits, 100);
    pass(14);
    assert_int_equal(hog->count, 1);
}

#define TEST(f) cmocka_unit_test_setup(f, setup)

int main(void)
{
    const struct CMUnitTest tests[] = {TEST(samples), TEST(ring)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SOURCES: hv/gmem.c arch/x86/guest/kvm_clock.c hv/lib.c */
/* KVM's clock, read as a guest reads it: Linux kernel documentation "KVM-specific MSRs". */
#include "arch/x86/guest/kvm_clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MEMORY 0x2000u
#define HZ     2400000000ull
#define EPOCH  1700000000ull

static struct gmem mem;
static struct kvm_clock clock_of_vcpu;
static struct kvm_clock_env env;

static int setup(void **state)
{
    (void)state;
    /* Exactly as large as the guest, so that the sanitizer sees an access beyond it. */
    mem = (struct gmem){.base = aligned_alloc(4096, MEMORY), .size = MEMORY};
    memset(mem.base, 0, MEMORY);
    clock_of_vcpu = (struct kvm_clock){0, 0};
    env = (struct kvm_clock_env){HZ, 5000, EPOCH};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(mem.base);
    return 0;
}

static bool write_msr(uint32_t msr, uint64_t value)
{
    return kvm_clock_write(&clock_of_vcpu, &mem, msr, value, &env);
}

/* The formula of the documentation, in 128 bits. */
static uint64_t time_at(uint64_t at, uint64_t tsc)
{
    struct kvm_system_time t;
    uint64_t delta;

    memcpy(&t, mem.base + at, sizeof(t));
    assert_int_equal(t.version % 2, 0);
    assert_int_not_equal(t.version, 0);
    assert_int_equal(t.flags, 1);
    delta = tsc - t.tsc;
    delta = t.shift < 0 ? delta >> -t.shift : delta << t.shift;
    return t.time + (uint64_t)((unsigned __int128)delta * t.multiplier >> 32);
}

static void time_follows_the_tsc(void **state)
{
    static const uint64_t hz[] = {1000000,       20000000,     999999999,  1000000000,
                                  1000000001,    2000000000,   2400000000, 3500000000u,
                                  5200000001ull, 7999999999ull};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(hz); i++) {
        env.tsc_hz = hz[i];
        assert_true(write_msr(MSR_KVM_SYSTEM_TIME, 0x100 | 1));
        assert_int_equal(time_at(0x100, 5000), 0);
        for (uint64_t seconds = 1; seconds < 1000000; seconds *= 10) {
            uint64_t ns = seconds * 1000000000ull, is = time_at(0x100, 5000 + seconds * hz[i]);

            /* The multiplier has 31 bits or more. */
            assert_true(is <= ns && ns - is <= 200 + ns / 2000000000ull);
        }
    }
    assert_int_equal(kvm_clock_read(&clock_of_vcpu, MSR_KVM_SYSTEM_TIME), 0x101);
}

/* It has the same time behind a change of the TSC. */
static void tsc_written(void **state)
{
    uint64_t before, after;

    (void)state;
    assert_true(write_msr(MSR_KVM_SYSTEM_TIME, 0x100 | 1));
    before = time_at(0x100, 5000 + HZ);
    env.power_on -= 5000 + HZ; /* it became 0 then */
    kvm_clock_update(&clock_of_vcpu, &mem, &env);
    after = time_at(0x100, 0);
    assert_int_equal(before, after);
    /* Switched off, nothing is written. */
    assert_true(write_msr(MSR_KVM_SYSTEM_TIME, 0));
    memset(mem.base, 0, MEMORY);
    kvm_clock_update(&clock_of_vcpu, &mem, &env);
    for (unsigned i = 0; i < MEMORY; i++)
        assert_int_equal(mem.base[i], 0);
}

static void wall_clock(void **state)
{
    struct kvm_wall_clock w;

    (void)state;
    assert_true(write_msr(MSR_KVM_WALL_CLOCK, 0x200));
    memcpy(&w, mem.base + 0x200, sizeof(w));
    assert_int_equal(w.version % 2, 0);
    assert_int_equal(w.seconds, EPOCH);
    assert_int_equal(w.nanoseconds, 0);
    assert_int_equal(kvm_clock_read(&clock_of_vcpu, MSR_KVM_WALL_CLOCK), 0x200);
    assert_int_equal(mem.base[0x200 + sizeof(w)], 0);
}

/* A reader must see that something has changed. */
static void versions(void **state)
{
    static const uint32_t before[] = {0, 1, 2, 0x7fffffff, 0xfffffffd, 0xfffffffe, 0xffffffff};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(before); i++) {
        uint32_t after;

        memcpy(mem.base + 0x100, &before[i], 4);
        assert_true(write_msr(MSR_KVM_SYSTEM_TIME, 0x101));
        memcpy(&after, mem.base + 0x100, 4);
        assert_int_equal(after % 2, 0);
        assert_int_not_equal(after, before[i]);
    }
}

static void hostile_addresses(void **state)
{
    static const uint64_t bad[] = {MEMORY,
                                   MEMORY - 4,
                                   MEMORY - 28,
                                   UINT64_MAX & ~3ull,
                                   1ull << 63,
                                   UINT64_MAX & ~31ull,
                                   (UINT64_MAX >> 1) & ~3ull,
                                   0xffffffffffffffe4ull};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_false(write_msr(MSR_KVM_SYSTEM_TIME, bad[i] | 1));
        assert_int_equal(clock_of_vcpu.time, 0);
        if (bad[i] == MEMORY - 28)
            continue;
        assert_false(write_msr(MSR_KVM_WALL_CLOCK, bad[i]));
    }
    assert_true(write_msr(MSR_KVM_SYSTEM_TIME, (MEMORY - 32) | 1));
    assert_true(write_msr(MSR_KVM_WALL_CLOCK, MEMORY - 12));
    /* Not aligned. */
    assert_false(write_msr(MSR_KVM_SYSTEM_TIME, 0x103));
    assert_false(write_msr(MSR_KVM_SYSTEM_TIME, 0x102));
    assert_false(write_msr(MSR_KVM_WALL_CLOCK, 0x101));
    /* An address counts only when it is switched on. */
    assert_true(write_msr(MSR_KVM_SYSTEM_TIME, 1ull << 40));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(time_follows_the_tsc), TEST(tsc_written), TEST(wall_clock), TEST(versions),
        TEST(hostile_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SOURCES: hv/job.c arch/x86/cpu/stack.c arch/x86/cpu/stack_switch.asm hv/lib.c */
/* Work that stops and resumes, on the root's stacks. */
#include "hv/job.h"

#include "hv/arch.h"
#include "hv/lib.h"
#include "hv/panic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static unsigned core;

unsigned arch_core_self(void)
{
    return core;
}

_Noreturn void panic(const char *format, ...)
{
    fail_msg("%s", format);
    abort();
}

static unsigned done[2];

static void count_to_three(void *ctx)
{
    unsigned *n = ctx, mine = 0;

    while (mine < 3) {
        mine++;
        *n = mine;
        job_rest();
    }
}

/* Without time, a job gets from one rest to the next; two jobs do not disturb each other. */
static void in_turns(void **state)
{
    struct job a = {0}, b = {0};

    (void)state;
    assert_false(job_is_there(&a));
    job_begin(&a, 0, count_to_three, &done[0]);
    job_begin(&b, 1, count_to_three, &done[1]);
    assert_true(job_is_there(&a));
    assert_int_equal(done[0] + done[1], 0);
    for (unsigned i = 1; i <= 3; i++) {
        assert_false(job_go_on(&a, 0));
        assert_false(job_go_on(&b, 0));
        assert_int_equal(done[0], i);
        assert_int_equal(done[1], i);
    }
    assert_true(job_go_on(&a, 0));
    assert_false(job_is_there(&a));
    assert_true(job_is_there(&b));
    assert_true(job_go_on(&b, 0));
}

/* A job does not rest as long as it has time. */
static void at_one_go(void **state)
{
    struct job a = {0};

    (void)state;
    job_begin(&a, ARCH_STACKS - 1, count_to_three, &done[0]);
    assert_true(job_go_on(&a, NEVER));
    assert_int_equal(done[0], 3);
    job_begin(&a, ARCH_STACKS - 1, count_to_three, &done[0]);
    assert_false(job_go_on(&a, 0));
    assert_true(job_go_on(&a, NEVER));
    assert_int_equal(done[0], 3);
}

/* An abandoned job is overwritten when another uses its stack. */
static void another(void **state)
{
    struct job a = {0};

    (void)state;
    job_begin(&a, 3, count_to_three, &done[0]);
    assert_false(job_go_on(&a, 0));
    job_begin(&a, 3, count_to_three, &done[1]);
    assert_true(job_go_on(&a, NEVER));
    assert_int_equal(done[0], 1);
    assert_int_equal(done[1], 3);
}

static void rest_of_core_1(void *ctx)
{
    (void)ctx;
    core = 1;
    job_rest(); /* that core is not in a job */
    core = 0;
    done[0] = 7;
}

/* Outside a job a rest does nothing, whatever other cores do. */
static void rests_alone(void **state)
{
    struct job a = {0};

    (void)state;
    job_rest();
    job_begin(&a, 0, rest_of_core_1, NULL);
    assert_true(job_go_on(&a, 0));
    assert_int_equal(done[0], 7);
}

static uint8_t from[2 * PAGE_SIZE + 5], to[sizeof(from) + 1];

static void copy(void *ctx)
{
    (void)ctx;
    job_copy(to, from, sizeof(from));
}

static void clear(void *ctx)
{
    (void)ctx;
    job_clear(to, sizeof(from));
}

static unsigned turns_of(void (*work)(void *ctx))
{
    struct job a = {0};
    unsigned n = 0;

    job_begin(&a, 0, work, NULL);
    while (!job_go_on(&a, 0))
        n++;
    return n;
}

static void long_memory(void **state)
{
    static const uint8_t zeros[sizeof(from)];

    (void)state;
    for (size_t i = 0; i < sizeof(from); i++)
        from[i] = (uint8_t)(i * 7 + i / 256);
    to[sizeof(from)] = 0x5a;
    assert_int_equal(turns_of(copy), 3);
    assert_memory_equal(to, from, sizeof(from));
    assert_int_equal(turns_of(clear), 3);
    assert_memory_equal(to, zeros, sizeof(from));
    assert_int_equal(to[sizeof(from)], 0x5a);
}

/* Deep in its stack each job keeps its data, and a stack is aligned as after a call. */
static void deep(void *ctx)
{
    unsigned *n = ctx;
    volatile uint8_t here[8000];
    long double aligned[2] = {1, 2};

    assert_int_equal((uintptr_t)aligned % 16, 0);
    for (unsigned i = 0; i < sizeof(here); i++)
        here[i] = (uint8_t)(i + *n);
    job_rest();
    for (unsigned i = 0; i < sizeof(here); i++)
        assert_int_equal(here[i], (uint8_t)(i + *n));
    *n = 100;
}

static void stacks_are_apart(void **state)
{
    struct job jobs[ARCH_STACKS] = {0};
    unsigned n[ARCH_STACKS];

    (void)state;
    for (unsigned i = 0; i < ARCH_STACKS; i++) {
        n[i] = i;
        job_begin(&jobs[i], i, deep, &n[i]);
        assert_false(job_go_on(&jobs[i], 0));
    }
    for (unsigned i = 0; i < ARCH_STACKS; i++) {
        assert_true(job_go_on(&jobs[i], 0));
        assert_int_equal(n[i], 100);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(in_turns),    cmocka_unit_test(at_one_go),
        cmocka_unit_test(another),     cmocka_unit_test(rests_alone),
        cmocka_unit_test(long_memory), cmocka_unit_test(stacks_are_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

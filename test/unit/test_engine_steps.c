/* SOURCES: @engine */
/*
 * What one core leaves for another, with the other core's passes between any two instructions of
 * it: the CPU stops the sender after each (EFLAGS.TF, SDM 3B "Single-Step Exception Condition"),
 * and at the one that is tried a vCPU on the other core, inside its run until then, halts. Nothing
 * may stay behind that no core looks at.
 */
#define _GNU_SOURCE /* ucontext_t */
#include "test/unit/engine.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <ucontext.h>

#define GUEST     1u
#define PASSES    200u /* more than the ration of requests needs to open again */
#define STEPS_MAX 100000u
#define TRAP_FLAG (1ull << 8)

static struct vcpu *target; /* on core 1 */
static bool waits;          /* the next time it runs */
static sem_t begins, is_inside, may_leave, is_out, sent, ends;

static enum deed halts_when_told(struct vcpu *v)
{
    if (v == target && waits) {
        waits = false;
        (void)sem_post(&is_inside);
        (void)sem_wait(&may_leave);
    }
    return HALTS;
}

static void *other_core(void *nothing)
{
    (void)nothing;
    for (;;) {
        (void)sem_wait(&begins);
        for (unsigned i = 0; i < PASSES; i++)
            pass(1);
        (void)sem_post(&is_out);
        (void)sem_wait(&sent);
        for (unsigned i = 0; i < PASSES; i++)
            pass(1);
        (void)sem_post(&ends);
    }
    return NULL;
}

static volatile unsigned step, tried;
static void on_step(int number, siginfo_t *info, void *context)
{
    ucontext_t *c = context;

    (void)number;
    (void)info;
    if (step++ != tried)
        return;
    c->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    (void)sem_post(&may_leave);
    (void)sem_wait(&is_out);
}

/* False: it has fewer instructions than those tried. */
static bool sent_in_steps(void (*send)(void))
{
    step = 0;
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() | TRAP_FLAG);
    send();
    __builtin_ia32_writeeflags_u64(__builtin_ia32_readeflags_u64() & ~TRAP_FLAG);
    return step > tried;
}

/* ---- what is sent ---- */

static void send_kick(void)
{
    core_kick_vcpu(target);
}

static void send_nmi(void)
{
    vcpu_post(target, PLATFORM_NMI, 0);
}

static void send_question(void)
{
    core_ask(&target->entity, VCPU_REQ_KEEP);
}

static bool try_at(unsigned at, void (*send)(void))
{
    bool stopped;

    tried = at;
    send_nmi(); /* so that it runs */
    waits = threads = true;
    (void)sem_post(&begins);
    (void)sem_wait(&is_inside);
    stopped = sent_in_steps(send);
    if (!stopped) {
        (void)sem_post(&may_leave);
        (void)sem_wait(&is_out);
    }
    (void)sem_post(&sent);
    (void)sem_wait(&ends);
    threads = false;
    return stopped;
}

static void nothing_stays_behind(void **state)
{
    static void (*const senders[])(void) = {send_kick, send_nmi, send_question};
    const struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
    struct guest_config c = config_of("two", 0);
    pthread_t other;

    (void)state;
    assert_int_equal(sigaction(SIGTRAP, &action, NULL), 0);
    engine_begin();
    others = halts_when_told;
    spread(&c, 2);
    assert_int_equal(deploy(&c), GUEST);
    settle();
    target = &guest_get(GUEST)->vcpus[1];
    settle();
    assert_false(target->parked);
    assert_int_equal(pthread_create(&other, NULL, other_core, NULL), 0);
    for (unsigned i = 0; i < ARRAY_LEN(senders); i++)
        for (unsigned at = 0; try_at(at, senders[i]); at++) {
            assert_true(at < STEPS_MAX);
            assert_int_equal(target->entity.requests | target->entity.asked, 0);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_stays_behind)};

    sem_t *const all[] = {&begins, &is_inside, &may_leave, &is_out, &sent, &ends};

    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        (void)sem_init(all[i], 0, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

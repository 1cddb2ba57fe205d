/* SOURCES: @engine */
/*
 * What one core leaves for another, with the other core's passes between any two instructions of
 * it: the CPU stops the sender after each (EFLAGS.TF, SDM 3B "Single-Step Exception Condition"),
 * and at the one that is tried a vCPU on the other core, inside its run until then, halts. Nothing
 * may stay behind that no core looks at. With posted interrupts its CPU takes a notification there,
 * if one has been sent, and the vCPU halts then or later.
 */
#define _GNU_SOURCE /* ucontext_t */
#include "test/unit/engine.h"

#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <ucontext.h>

#define GUEST     1u
#define PASSES    200u /* more than the ration of requests needs to open again */
#define FEW       10u  /* enough for what has no ration */
#define STRIDE    7u   /* instructions: fewer than from one atomic access to the next, with ASan */
#define STEPS_MAX 100000u
#define TRAP_FLAG (1ull << 8)

static struct vcpu *target; /* on core 1 */
static unsigned passes = PASSES;
static bool waits;         /* the next time it runs */
static bool stays, stayed; /* it halts only when everything is sent; it has done so */
static uint64_t handled;   /* bits: vectors from VECTORS on whose interrupts it has taken */
static sem_t begins, is_inside, may_leave, is_out, sent, ends;

#define VECTORS 0x40u

/* SDM 3C "Posted-Interrupt Processing". */
static void take_notification(struct lapic *l)
{
    if (!__atomic_exchange_n(&notifications[1], 0, __ATOMIC_SEQ_CST))
        return;
    (void)__atomic_fetch_and(&lapic_descriptor(l)->control, ~LAPIC_ON, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < 8; i++) {
        uint64_t half = i % 2 ? ~(uint64_t)UINT32_MAX : UINT32_MAX;
        uint64_t all =
            __atomic_fetch_and(&lapic_descriptor(l)->vectors[i / 2], ~half, __ATOMIC_SEQ_CST);

        l->regs[LAPIC_IRR / 4 + i * 4] |= (uint32_t)((all & half) >> i % 2 * 32);
    }
    (void)lapic_update(l); /* as if it delivered them at once */
}

static void handle(struct vcpu *v, uint8_t vector)
{
    assert_ptr_equal(v, target);
    handled |= 1ull << (vector - VECTORS);
    lapic_mmio_write(irqchip_lapic(v->platform, v->number), LAPIC_EOI, 4, 0, 0);
}

static enum deed halts_when_told(struct vcpu *v)
{
    if (v != target)
        return HALTS;
    if (waits) {
        waits = false;
        (void)sem_post(&is_inside);
        (void)sem_wait(&may_leave);
        take_notification(irqchip_lapic(v->platform, v->number));
        if (stays) {
            (void)sem_post(&is_out);
            (void)sem_wait(&sent);
            take_notification(irqchip_lapic(v->platform, v->number));
            stayed = true;
        }
    }
    (void)take_events(v);
    return HALTS;
}

static void *other_core(void *nothing)
{
    (void)nothing;
    for (;;) {
        (void)sem_wait(&begins);
        for (unsigned i = 0; i < passes; i++)
            pass(1);
        if (!stayed) {
            (void)sem_post(&is_out);
            (void)sem_wait(&sent);
        }
        stayed = false;
        for (unsigned i = 0; i < passes; i++)
            pass(1);
        (void)sem_post(&ends);
    }
    return NULL;
}

static volatile unsigned step, tried;
static void (*meanwhile)(void); /* instead of the other core's passes */
static void on_step(int number, siginfo_t *info, void *context)
{
    ucontext_t *c = context;

    (void)number;
    (void)info;
    if (step++ != tried)
        return;
    c->uc_mcontext.gregs[REG_EFL] &= ~(greg_t)TRAP_FLAG;
    if (meanwhile) {
        meanwhile();
        return;
    }
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

static void post(unsigned vector)
{
    assert_int_equal(irqchip_msi(target->platform, LAPIC_BASE | 1u << 12, vector), 0);
}

static void send_interrupt(void)
{
    if (lapic_post(&target->platform->lapic[1], VECTORS, false) == LAPIC_NOTIFY)
        core_notify_vcpu(target);
}

static bool try_at(unsigned at, void (*send)(void), bool another)
{
    bool stopped;

    tried = at;
    send_nmi(); /* so that it runs */
    waits = threads = true;
    (void)sem_post(&begins);
    (void)sem_wait(&is_inside);
    if (another)
        post(VECTORS + 1); /* its notification is on its way */
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
        for (unsigned at = 0; try_at(at, senders[i], false); at++) {
            assert_true(at < STEPS_MAX);
            assert_int_equal(target->entity.requests | target->entity.asked, 0);
        }
}

/* The pair of the interrupt that is sent in steps, alone or after another, and when it halts. */
static void posted_interrupts_are_taken(void **state)
{
    struct lapic *l = &target->platform->lapic[1];

    (void)state;
    lapic_mmio_write(l, LAPIC_SVR, 4, 0x1ff, 0);
    l->posting = true;
    target->waits = false;
    handler = handle;
    passes = FEW;
    for (unsigned how = 0; how < 4; how++)
        for (unsigned at = 0, more = true; more; at++) {
            assert_true(at < STEPS_MAX);
            handled = notifications[1] = 0;
            stays = how & 2;
            more = try_at(at, send_interrupt, how & 1);
            assert_int_equal(handled, how & 1 ? 3 : 1);
            assert_int_equal(lapic_descriptor(l)->control | lapic_descriptor(l)->vectors[1], 0);
            assert_int_equal(target->entity.requests, 0);
        }
}

/* The other way: the core takes in steps what was posted, and another one is posted meanwhile. */
static enum lapic_news news;
static void post_another(void)
{
    news = lapic_post(&target->platform->lapic[1], VECTORS, false);
}

static void take(void)
{
    lapic_take_posted(&target->platform->lapic[1]);
}

static void posted_while_others_are_taken(void **state)
{
    struct lapic *l = &target->platform->lapic[1];

    (void)state;
    meanwhile = post_another;
    tried = 0;
    for (bool more = true; more; tried += STRIDE) {
        bool taken;

        assert_int_equal(lapic_post(l, VECTORS + 1, false), LAPIC_NOTIFY);
        news = LAPIC_LOOK;
        more = sent_in_steps(take);
        taken = lapic_reg(l, LAPIC_IRR + VECTORS / 2) & 1;
        assert_true(lapic_reg(l, LAPIC_IRR + VECTORS / 2) & 2);
        /* It is there, or the core will look, and the CPU will if it runs. */
        assert_int_equal(news, !more                          ? LAPIC_LOOK
                               : lapic_descriptor(l)->control ? LAPIC_NOTIFY
                                                              : news);
        if (more && !taken) {
            assert_int_equal(lapic_descriptor(l)->control, LAPIC_ON);
            assert_true(*l->signals & LAPIC_IN_CPU);
        }
        handled = 0;
        while (irqchip_pending(target->platform, 1))
            handle(target, irqchip_ack(target->platform, 1));
        assert_int_equal(handled, more ? 3 : 2);
    }
    meanwhile = NULL;
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(nothing_stays_behind),
                                       cmocka_unit_test(posted_interrupts_are_taken),
                                       cmocka_unit_test(posted_while_others_are_taken)};

    sem_t *const all[] = {&begins, &is_inside, &may_leave, &is_out, &sent, &ends};

    for (unsigned i = 0; i < ARRAY_LEN(all); i++)
        (void)sem_init(all[i], 0, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}

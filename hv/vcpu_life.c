/* How a vCPU is made, held, resumed and ended: on its own core, as its guest's life orders. */
#include "hv/vcpu.h"

#include "hv/core.h"
#include "hv/guest.h"
#include "hv/guest_life.h"
#include "hv/job.h"
#include "hv/lib.h"
#include "hv/pc/irqchip.h"
#include "hv/virt.h"

/* Measured, in ticks: the longest step. */
#define STEP_TICKS 1800u

/* For VCPU_GONE this is the last use of the vCPU: its guest may be another one afterwards, and the
 * life checks by itself. */
static void become(struct vcpu *v, enum vcpu_phase phase)
{
    struct entity *life = &v->guest->life.entity;
    uint32_t order = __atomic_load_n(&v->guest->life.order, __ATOMIC_ACQUIRE);

    v->step = 0;
    __atomic_store_n(&v->phase, phase, __ATOMIC_RELEASE);
    if ((order & ORDER_PHASE) != phase)
        return;
    __atomic_store_n(&v->obeyed, order, __ATOMIC_RELEASE);
    if (phase != VCPU_GONE)
        core_request(life, GUEST_REQ_VCPU);
}

/* Takes a pause, in which its clock stood still, from its TSC. */
static void catch_up(struct vcpu *v)
{
    uint64_t shift = v->guest->life.shift;

    if (shift != v->shift)
        virt_backend()->shift_tsc(v, shift - v->shift);
    v->shift = shift;
}

/* ---- what other vCPUs send. SDM 3A "Multiple-Processor (MP) Initialization" ---- */

/* INIT discards what came before it; a second SIPI is ignored, as the first has started the vCPU by
 * then. */
void vcpu_post(struct vcpu *v, enum platform_ipi kind, uint8_t vector)
{
    uint32_t was = __atomic_load_n(&v->ipi, __ATOMIC_RELAXED), next;

    do {
        if (kind == PLATFORM_INIT)
            next = VCPU_IPI_INIT | (was & VCPU_IPI_TAKING);
        else if (kind == PLATFORM_NMI)
            next = was | VCPU_IPI_NMI;
        else
            next = was & VCPU_IPI_SIPI ? was : was | VCPU_IPI_SIPI | vector;
    } while (!__atomic_compare_exchange_n(&v->ipi, &was, next, false, __ATOMIC_SEQ_CST,
                                          __ATOMIC_RELAXED));
    core_request(&v->entity, VCPU_REQ_IPI);
}

static void park(struct vcpu *v, bool parked)
{
    __atomic_store_n(&v->parked, parked, __ATOMIC_SEQ_CST);
    v->stats->activity = parked ? ABI_WAITS_FOR_SIPI : ABI_ACTIVE;
}

static void init(struct vcpu *v)
{
    irqchip_init(v->platform, v->number);
    virt_backend()->vcpu_reset(v);
    vcpu_leave_halt(v);
    v->nmi = false;
    park(v, true);
}

void vcpu_take_nmi(struct vcpu *v)
{
    if (v->parked)
        return; /* it has no handler */
    v->nmi = true;
    if (!v->nmi_blocked)
        __atomic_store_n(&v->deaf, false, __ATOMIC_SEQ_CST);
}

void vcpu_take_ipis(struct vcpu *v)
{
    uint32_t ipi;

    if (v->phase != VCPU_LIVE)
        return;
    ipi = __atomic_exchange_n(&v->ipi, VCPU_IPI_TAKING, __ATOMIC_SEQ_CST);
    if (ipi & VCPU_IPI_INIT)
        init(v);
    if ((ipi & VCPU_IPI_SIPI) && v->parked) {
        virt_backend()->vcpu_start(v, ipi & VCPU_IPI_VECTOR);
        park(v, false);
    }
    if (ipi & VCPU_IPI_NMI)
        vcpu_take_nmi(v);
    __atomic_fetch_and(&v->ipi, ~VCPU_IPI_TAKING, __ATOMIC_SEQ_CST);
}

/* It can never go on by itself. What was posted counts as life, until its core has acted on it. */
static bool is_dead(const struct vcpu *v)
{
    return !__atomic_load_n(&v->ipi, __ATOMIC_SEQ_CST) &&
           (__atomic_load_n(&v->deaf, __ATOMIC_SEQ_CST) ||
            __atomic_load_n(&v->parked, __ATOMIC_SEQ_CST));
}

/* If two do this at once, at least one of them sees both. */
bool vcpu_halt_deaf(struct vcpu *v)
{
    __atomic_store_n(&v->deaf, true, __ATOMIC_SEQ_CST);
    FOR_EACH_VCPU (other, v->guest)
        if (!is_dead(other))
            return true;
    return false;
}

static void go(struct vcpu *v)
{
    catch_up(v);
    __atomic_store_n(&v->ran, true, __ATOMIC_RELEASE);
    v->put_off = 0;
    become(v, VCPU_LIVE);
    vcpu_take_ipis(v); /* that came while it was held */
}

void vcpu_obey(struct vcpu *v)
{
    enum vcpu_phase order = guest_ordered(v->guest);

    if (v->phase == order || v->phase == VCPU_GONE)
        become(v, v->phase);
    else if (order == VCPU_GONE)
        become(v, VCPU_GONE);
    else if (order == VCPU_NONE && v->phase != VCPU_ENDING)
        become(v, VCPU_ENDING);
    else if (order == VCPU_HELD && v->phase == VCPU_LIVE)
        become(v, VCPU_HELD);
    else if (order == VCPU_HELD && v->phase == VCPU_NONE)
        become(v, VCPU_MAKING);
    else if (order == VCPU_LIVE && v->phase == VCPU_HELD)
        go(v);
}

static void begin_making(struct vcpu *v)
{
    memset(&v->regs, 0, sizeof(v->regs));
    vcpu_leave_halt(v);
    v->nmi = false;
    v->wake_late = NEVER;
    v->stuck = (struct stuck){0};
    v->shift = 0;
    __atomic_store_n(&v->ran, false, __ATOMIC_RELEASE);
    park(v, v->number > 0);
    __atomic_store_n(&v->ipi, 0, __ATOMIC_RELAXED);
    __atomic_store_n(&v->stop, false, __ATOMIC_RELAXED);
}

void vcpu_snapshot(struct vcpu *v, unsigned slot, enum abi_cause cause)
{
    struct abi_snapshot *s = &v->snapshots[slot];

    __atomic_fetch_add(&s->lock, 1, __ATOMIC_ACQ_REL);
    s->tsc = arch_tsc();
    s->cause = cause;
    s->exit = *v->exit;
    memcpy(s->registers, &v->regs, sizeof(s->registers));
    virt_backend()->read_state(v, s);
    s->ticks = arch_tsc() - s->tsc;
    __atomic_store_n(&s->sequence, v->snapshot_sequence + 1, __ATOMIC_RELEASE);
    __atomic_fetch_add(&s->lock, 1, __ATOMIC_RELEASE);
    __atomic_store_n(&v->snapshot_sequence, s->sequence, __ATOMIC_RELEASE);
}

/* The backend has made it. */
#define MADE UINT32_MAX

static void make_step(struct vcpu *v)
{
    int rc;

    if (v->step == MADE) {
        vcpu_snapshot(v, ABI_SNAPSHOT_LAUNCH, ABI_CAUSE_LAUNCH);
        become(v, VCPU_HELD);
        return;
    }
    if (v->step == 0)
        begin_making(v);
    rc = virt_backend()->vcpu_init(v, &v->guest->plan.start, v->step++);
    if (rc == 0) {
        v->step = MADE;
    } else if (rc != -E_AGAIN) {
        (void)guest_end(v->guest, ABI_GUEST_FAILED, "its vCPU cannot be set up");
        become(v, VCPU_ENDING);
    }
}

static void end_step(struct vcpu *v)
{
    if (v->step++ == 0) {
        if (v->ran)
            vcpu_snapshot(v, ABI_SNAPSHOT_DEATH, ABI_CAUSE_DEATH);
        return;
    }
    if (v->backend)
        virt_backend()->vcpu_free(v);
    __atomic_store_n(&v->ran, false, __ATOMIC_RELEASE);
    vcpu_leave_halt(v);
    park(v, false);
    become(v, VCPU_NONE);
}

void vcpu_step(struct vcpu *v)
{
    if (v->phase == VCPU_MAKING)
        make_step(v);
    else if (v->phase == VCPU_ENDING)
        end_step(v);
}

void vcpu_advance(struct vcpu *v, uint64_t until)
{
    const struct core *c = core_get(v->entity.core);

    while ((v->phase == VCPU_MAKING || v->phase == VCPU_ENDING) && arch_tsc() < until) {
        if (core_has_time(c, STEP_TICKS, &v->put_off))
            vcpu_step(v);
        else
            __builtin_ia32_pause(); /* another entity is about to run */
    }
}

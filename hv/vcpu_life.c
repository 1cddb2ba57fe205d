/* How a vCPU is made, held, resumed and ended: on its own core, as its guest's life orders. */
#include "hv/vcpu.h"

#include "hv/core.h"
#include "hv/guest.h"
#include "hv/guest_life.h"
#include "hv/job.h"
#include "hv/lib.h"
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

static void go(struct vcpu *v)
{
    catch_up(v);
    v->ran = true;
    v->put_off = 0;
    become(v, VCPU_LIVE);
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
    v->halted = false;
    v->nmi = false;
    v->wake_late = NEVER;
    v->stuck = (struct stuck){0};
    v->shift = 0;
    v->ran = false;
    __atomic_store_n(&v->stop, false, __ATOMIC_RELAXED);
}

/* The backend has made it. */
#define MADE UINT32_MAX

static void make_step(struct vcpu *v)
{
    int rc;

    if (v->step == MADE) {
        virt_backend()->snapshot(v, ABI_SNAPSHOT_LAUNCH, ABI_CAUSE_LAUNCH);
        become(v, VCPU_HELD);
        return;
    }
    if (v->step == 0)
        begin_making(v);
    rc = virt_backend()->vcpu_init(v, &v->guest->plan.start, v->step++);
    if (rc == 0) {
        v->step = MADE;
    } else if (rc != -E_AGAIN) {
        guest_end(v->guest, ABI_GUEST_FAILED, "its virtual CPU cannot be set up");
        become(v, VCPU_ENDING);
    }
}

static void end_step(struct vcpu *v)
{
    if (v->step++ == 0) {
        if (v->ran)
            virt_backend()->snapshot(v, ABI_SNAPSHOT_DEATH, ABI_CAUSE_DEATH);
        return;
    }
    if (v->backend)
        virt_backend()->vcpu_free(v);
    v->ran = false;
    v->halted = false;
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

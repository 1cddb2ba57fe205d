#include "hv/guest_life.h"

#include "hv/core.h"
#include "hv/exit.h"
#include "hv/fmt.h"
#include "hv/guest_pages.h"
#include "hv/lib.h"
#include "hv/log.h"

void guest_enter_phase(struct guest *g, enum guest_phase phase)
{
    guest_set_phase(g, phase);
    g->life.step = 0;
}

void guest_order(struct guest *g, enum vcpu_phase phase)
{
    uint32_t number = (g->life.order & ~ORDER_PHASE) + ORDER_PHASE + 1;

    __atomic_store_n(&g->life.order, number | phase, __ATOMIC_RELEASE);
    FOR_EACH_VCPU (v, g)
        core_request(&v->entity, VCPU_REQ_OBEY);
}

bool guest_all_obey(const struct guest *g)
{
    FOR_EACH_VCPU (v, g) {
        if (__atomic_load_n(&v->obeyed, __ATOMIC_ACQUIRE) != g->life.order)
            return false;
    }
    return true;
}

void guest_fail(struct guest *g, const char *why)
{
    if (!g->complete)
        g->status->flags |= ABI_GUEST_HUSK;
    guest_set_state(g, ABI_GUEST_FAILED, why);
    guest_set_phase(g, GUEST_IDLE);
    log_guest_warn(g, "not started: %s", why);
}

void guest_hold_back(struct guest *g, uint64_t at)
{
    char why[ABI_TEXT_MAX];

    (void)str_copy(why, sizeof(why), g->status->why);
    g->status->next_start_tsc = at;
    guest_set_phase(g, GUEST_HELD_BACK);
    guest_set_state(g, ABI_GUEST_RESTARTING, why);
}

static bool say_end(struct guest *g, enum abi_guest_state state, const char *format, va_list ap)
{
    struct guest_life *l = &g->life;
    uint32_t not_yet = END_NOT;

    if (!__atomic_compare_exchange_n(&l->end, &not_yet, END_BEING_SAID, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return false;
    l->end_state = state;
    (void)fmt_v(l->end_why, sizeof(l->end_why), format, ap);
    __atomic_store_n(&l->end, END_SAID, __ATOMIC_RELEASE);
    FOR_EACH_VCPU (v, g)
        __atomic_store_n(&v->stop, true, __ATOMIC_RELAXED);
    core_request(&l->entity, GUEST_REQ_END);
    return true;
}

bool guest_end(struct guest *g, enum abi_guest_state state, const char *format, ...)
{
    va_list ap;
    bool first;

    va_start(ap, format);
    first = say_end(g, state, format, ap);
    va_end(ap);
    return first;
}

void vcpu_stop(struct vcpu *v, enum abi_guest_state state, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    (void)say_end(v->guest, state, format, ap);
    va_end(ap);
}

/* Flushes of a guest's translations that cores have cached. */
#include "hv/arch.h"
#include "hv/core.h"
#include "hv/guest.h"
#include "hv/job.h"
#include "hv/virt.h"

void vcpu_flush(struct vcpu *v)
{
    uint32_t translations = __atomic_load_n(&v->guest->translations, __ATOMIC_ACQUIRE);

    virt_backend()->flush(v);
    __atomic_store_n(&v->flushed, translations, __ATOMIC_RELEASE);
}

uint32_t guest_flush(struct guest *g)
{
    uint32_t translations = __atomic_add_fetch(&g->translations, 1, __ATOMIC_ACQ_REL);

    FOR_EACH_VCPU (v, g) {
        if (v->entity.core == arch_core_self())
            vcpu_flush(v);
        else
            core_request(&v->entity, VCPU_REQ_FLUSH);
    }
    return translations;
}

/* A vCPU that does not exist has nothing cached: it is flushed when it is made. */
bool guest_is_flushed(const struct guest *g, uint32_t translations)
{
    FOR_EACH_VCPU (v, g) {
        enum vcpu_phase phase = __atomic_load_n(&v->phase, __ATOMIC_ACQUIRE);
        uint32_t flushed = __atomic_load_n(&v->flushed, __ATOMIC_ACQUIRE);

        if (phase != VCPU_NONE && phase != VCPU_GONE && (int32_t)(flushed - translations) < 0)
            return false;
    }
    return true;
}

int guest_unmap(struct guest *g, gpa_t gpa, uint64_t size)
{
    int rc = virt_backend()->unmap(g, gpa, size);
    uint32_t translations = guest_flush(g);

    while (!guest_is_flushed(g, translations)) {
        job_rest();
        __builtin_ia32_pause();
    }
    return rc;
}

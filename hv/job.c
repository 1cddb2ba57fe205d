#include "hv/job.h"

#include "hv/arch.h"
#include "hv/lib.h"
#include "hv/panic.h"

/* The job that each core is running. */
static struct job *running[ARCH_CORES_MAX];

static _Noreturn void run(void)
{
    struct job *j = running[arch_core_self()];

    j->work(j->ctx);
    j->work = NULL;
    arch_stack_switch(&j->here, j->there);
    panic("a job continues after its end");
}

void job_begin(struct job *j, unsigned stack, void (*work)(void *ctx), void *ctx)
{
    j->work = work;
    j->ctx = ctx;
    j->here = arch_stack_begin(stack, run);
}

bool job_go_on(struct job *j, uint64_t until)
{
    struct job **slot = &running[arch_core_self()];

    j->until = until;
    *slot = j;
    arch_stack_switch(&j->there, j->here);
    *slot = NULL;
    return !j->work;
}

void job_rest(void)
{
    struct job *j = running[arch_core_self()];

    if (j && arch_tsc() >= j->until)
        arch_stack_switch(&j->here, j->there);
}

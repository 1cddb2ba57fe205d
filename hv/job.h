/*
 * Work that takes longer than a slice may be late. It is written as if it had the core for itself,
 * on a stack of its own, and says job_rest() wherever it could stop: once its time is over it does,
 * and its core goes on with it in a later slice. So what lies between two rests, and nothing else,
 * is what others may have to wait for; no lock may be held there.
 *
 * Each guest has room for one job, which stays on the guest's core.
 */
#pragma once

#include "hv/types.h"

struct job {
    void (*work)(void *ctx); /* NULL: there is none */
    void *ctx;
    uintptr_t here, there; /* where its stack stands, and where that of whoever goes on with it */
    uint64_t until;        /* absolute ticks */
};

static inline bool job_is_there(const struct job *j)
{
    return j->work;
}

/* Of guest number `stack`; there is none so far. Nothing of it is done yet. */
void job_begin(struct job *j, unsigned stack, void (*work)(void *ctx), void *ctx);

/* Goes on with it to its first rest after `until`. True: it is done, and there is none any more.
 * Owning core, not from within a job. */
bool job_go_on(struct job *j, uint64_t until);

/* Anywhere: outside of a job it does nothing. Likewise in the other programs that share sources
 * with the root. */
void job_rest(void);

/* memcpy() and memset() with rests. */
void job_copy(void *dst, const void *src, size_t n);
void job_clear(void *p, size_t n);

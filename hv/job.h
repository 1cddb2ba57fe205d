/*
 * Work that takes longer than a slice may be late. It is written as if it had the core to itself,
 * runs on its own stack, and calls job_rest() wherever it can pause. Once its time is over it
 * pauses there, and its core resumes it in a later slice. So other entities wait at most for what
 * lies between two rests. No lock may be held at a rest.
 *
 * Each guest has room for one job, which stays on the guest's core.
 */
#pragma once

#include "hv/types.h"

struct job {
    void (*work)(void *ctx); /* NULL: there is none */
    void *ctx;
    uintptr_t here, there; /* stack pointers: the job's, and its caller's */
    uint64_t until;        /* absolute ticks */
};

static inline bool job_is_there(const struct job *j)
{
    return j->work;
}

/* Prepares a job for guest number `stack`, which has none. Runs nothing yet. */
void job_begin(struct job *j, unsigned stack, void (*work)(void *ctx), void *ctx);

/* Runs the job to its first rest after `until`. True: it is done, and the job is gone. Owning core,
 * not from within a job. */
bool job_go_on(struct job *j, uint64_t until);

/* May be called anywhere. Outside a job, and in other programs that share sources with the root, it
 * does nothing. */
void job_rest(void);

/* memcpy() and memset() with rests. */
void job_copy(void *dst, const void *src, size_t n);
void job_clear(void *p, size_t n);

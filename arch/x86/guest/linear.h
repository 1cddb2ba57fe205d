/*
 * A guest's memory by linear address, for what the root does in place of the CPU: operands, and
 * the tables that a task switch reads. Pure; the guest may write to the memory meanwhile.
 */
#pragma once

#include "arch/x86/guest/paging.h"
#include "arch/x86/guest/segment.h"

enum linear_result {
    LINEAR_DONE,
    LINEAR_FAULT,  /* *f is the guest's page fault; nothing was done */
    LINEAR_OUTSIDE /* f->address is guest-physical and not in its memory; nothing was done */
};

/* At most a page of bytes; all of them can be reached before any is copied. */
enum linear_result linear_read(const struct paging *p, const struct gmem *m, uint64_t linear,
                               void *to, size_t size, struct guest_fault *f);
enum linear_result linear_write(const struct paging *p, const struct gmem *m, uint64_t linear,
                                const void *from, size_t size, struct guest_fault *f);
/* What such a write would return; copies nothing, but sets accessed and dirty bits as a write does.
 */
enum linear_result linear_can_write(const struct paging *p, const struct gmem *m, uint64_t linear,
                                    size_t size, struct guest_fault *f);

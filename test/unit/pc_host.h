/* What is around a PC, for tests and fuzzers: pc_host ignores all that comes from it. A test copies
 * it, and replaces the functions whose calls it looks at. */
#pragma once

#include "hv/pc/platform.h"

static inline void pc_ignore_byte(void *ctx, uint8_t byte)
{
    (void)ctx;
    (void)byte;
}

static inline void pc_ignore_text(void *ctx, const char *how)
{
    (void)ctx;
    (void)how;
}

static inline void pc_ignore_code(void *ctx, uint32_t code)
{
    (void)ctx;
    (void)code;
}

static inline void pc_ignore_kick(void *ctx, unsigned vcpu)
{
    (void)ctx;
    (void)vcpu;
}

static inline void pc_ignore_ipi(void *ctx, unsigned vcpu, enum platform_ipi kind, uint8_t vector)
{
    (void)ctx;
    (void)vcpu;
    (void)kind;
    (void)vector;
}

static const struct platform_host pc_host = {.console = pc_ignore_byte,
                                             .reset = pc_ignore_text,
                                             .power_off = pc_ignore_text,
                                             .exit = pc_ignore_code,
                                             .kick = pc_ignore_kick,
                                             .notify = pc_ignore_kick,
                                             .ipi = pc_ignore_ipi};

/* All steps of a power-on, see platform.h. */
static inline int platform_init(struct platform *p, uint32_t devices, uint64_t now, uint64_t tsc_hz,
                                uint64_t epoch, uint64_t memory, const struct platform_host *host)
{
    int rc = 0;

    platform_disconnect(p);
    for (unsigned i = 0; i < platform_slots() && rc == 0; i++)
        rc = platform_connect(p, devices, i);
    platform_reset(p, devices, now, tsc_hz, epoch, memory, host);
    for (unsigned i = 0; i < platform_slots() && rc == 0; i++)
        platform_plug(p, i);
    return rc;
}

/*
 * What the CPU, or the hypervisor below it, tells about the TSC's frequency. Pure: reads through
 * callbacks, and never a CPUID leaf above the maximum (CPUs answer those with other leaves' data).
 */
#pragma once

#include "arch/x86/cpu/calibrate.h"
#include "arch/x86/cpu/cpuid.h"

struct told_ops {
    struct cpuid_regs (*cpuid)(void *ctx, uint32_t leaf);
    /* 0, or negative: there is no such MSR. */
    int (*rdmsr)(void *ctx, uint32_t msr, uint64_t *v);
    void *ctx;
};

/* Fills the told sources of hz[]; 0: nothing, or nothing possible, was told. */
void told_tsc_hz(const struct told_ops *o, uint64_t hz[CALIBRATE_SOURCES]);

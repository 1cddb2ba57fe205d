/*
 * Which package, core and thread an APIC id stands for, and which threads run guests. Pure. SDM 3A
 * "Detecting Hardware Multi-Threading Support and Topology", APM 3 "CPUID Fn8000_001E".
 */
#pragma once

#include "arch/x86/cpu/cpuid.h"
#include "hv/arch.h"

/* CPUID as the processor in question answers it. */
typedef struct cpuid_regs (*topology_cpuid)(void *ctx, uint32_t leaf, uint32_t subleaf);

/* An APIC id is, from its lowest bit: thread within core, core within package, package. */
struct topology_shape {
    uint8_t thread_bits;   /* 0..32 */
    uint8_t package_shift; /* thread_bits..32 */
};

/* A processor that tells nothing is a package of its own. */
struct topology_shape topology_read(topology_cpuid execute, void *ctx);

/* Fills in package, core and thread of the thread with `apic_id`. */
void topology_place(struct topology_shape s, uint32_t apic_id, struct abi_thread *out);

/* Decides which of the threads that wait (ABI_THREAD_IDLE) run guests, and numbers them in their
 * order: the first of each physical core, or all with `smt`, at most `most`. The first of all is
 * number 0. Returns how many. */
unsigned topology_choose(struct abi_thread *threads, unsigned count, bool smt, unsigned most);

/* The lowest number of a core on the physical core of one that has a number. */
unsigned topology_physical(const struct abi_thread *threads, const struct abi_thread *t);

void topology_count(const struct abi_thread *threads, unsigned count, struct abi_topology *out);

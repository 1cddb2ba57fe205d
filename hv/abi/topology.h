/* The machine's hardware threads, the memory near them and its clock, as the root and management
 * see them. */
#pragma once

#include "hv/types.h"

#define ABI_THREADS_MAX 1024u

/* What became of a hardware thread. */
enum abi_thread_state {
    ABI_THREAD_IDLE,        /* started; nothing has been decided */
    ABI_THREAD_RUNS,        /* it is core `number`: guests can run on it */
    ABI_THREAD_SIBLING,     /* parked: guests run on another thread of its physical core */
    ABI_THREAD_SURPLUS,     /* parked: guests run on as many cores as the build allows */
    ABI_THREAD_SILENT,      /* did not answer: it is where firmware left it */
    ABI_THREAD_UNREACHABLE, /* the same: its APIC id needs x2APIC mode, which the CPU lacks */
    ABI_THREAD_NO_MEMORY,   /* the same: no memory for its stacks */
    ABI_THREAD_STATES
};

struct abi_thread {
    uint32_t apic_id;
    uint32_t package;
    uint32_t core;   /* physical, within the package */
    uint32_t thread; /* within that core */
    uint32_t node;   /* NUMA node, from 0 */
    uint16_t number; /* of the core, if ABI_THREAD_RUNS */
    uint16_t state;  /* enum abi_thread_state */
};

/* Memory of one node. */
struct abi_near {
    uint64_t base, size;
    uint32_t node, reserved;
};

/* How many the machine has; `running` of its threads run guests. */
struct abi_topology {
    uint32_t packages, cores, threads, nodes, running, reserved;
};

/* What one source says about the TSC's frequency. */
enum abi_tsc_flags {
    ABI_TSC_MEASURED = 1u << 0, /* against a clock; otherwise told by the CPU */
    ABI_TSC_TAKEN = 1u << 1,
    ABI_TSC_AGREES = 1u << 2, /* with the one taken */
};
#define ABI_TSC_SOURCES_MAX 12
struct abi_tsc_source {
    char name[24]; /* "PIT", "CPUID 0x15"; empty: no more */
    uint64_t hz;   /* 0: it says nothing */
    uint32_t flags, pad;
};

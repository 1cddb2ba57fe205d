/*
 * What belongs to one core: its descriptor tables, its stacks, and its state when a panic stopped
 * it. GS base points at struct cpu.
 */
#pragma once

#include "arch/x86/cpu/desc.h"
#include "arch/x86/cpu/topology.h"
#include "hv/arch.h"
#include "hv/types.h"

#define CPU_PARKED UINT32_MAX /* as a number: no guest runs on it */

struct cpu {
    struct cpu *self; /* gs:0 */
    uint32_t number;  /* gs:8: the core's, or CPU_PARKED */
    uint32_t apic_id;
    struct topology_shape shape; /* of its APIC id, as it says itself */
    uint32_t online;             /* set by the core itself, last */
    uint32_t in_panic; /* this core is printing a dump: a second fault must not start another */
    uint64_t tsc_sample;
    /* Written by the core when a panic stops it. */
    struct {
        uint64_t rip, rsp, rflags, cr3;
        uint32_t done;
    } stopped;
    uint64_t gdt[GDT_ENTRIES];
    struct tss tss;
};

#define CORE_STACK_SIZE  16384u
#define CORE_ISTACK_SIZE 4096u

/* One core's memory. Each guard page is unmapped: running off the low end of a stack faults at once
 * instead of overwriting something else. start.asm knows the offset of the first stack. */
struct core_block {
    union {
        struct cpu cpu;
        uint8_t page[4096];
    };
    uint8_t guard_stack[4096];
    uint8_t stack[CORE_STACK_SIZE];
    uint8_t guard_nmi[4096];
    uint8_t nmi[CORE_ISTACK_SIZE];
    uint8_t guard_double_fault[4096];
    uint8_t double_fault[CORE_ISTACK_SIZE];
    uint8_t guard_machine_check[4096];
    uint8_t machine_check[CORE_ISTACK_SIZE];
} __attribute__((aligned(4096)));
_Static_assert(offsetof(struct core_block, guard_nmi) == 6 * 4096, "start.asm");

/* The boot core's block, in the kernel's .bss. */
extern struct core_block boot_core_block;

static inline struct cpu *cpu_self(void)
{
    struct cpu *c;

    __asm__ volatile("movq %%gs:0, %0" : "=r"(c));
    return c;
}

/* NULL beyond arch_core_count(). */
struct cpu *cpu_get(unsigned number);
/* Before it starts: it has no number yet. Boot core. */
void cpu_prepare(struct cpu *c, uint32_t apic_id);
/* It has started. Boot core. */
void cpu_add(struct cpu *c);
/* All that have started, parked ones too, the boot core first. NULL beyond the last. */
struct cpu *cpu_started(unsigned i);
/* Gives it the next number of a core. Boot core, before arch_cores_start(). */
void cpu_number(struct cpu *c);

/* CR0, CR4, EFER, PAT of the calling core, its machine checks, its errata, and what keeps guests
 * from learning of others. The boot core first. */
void cpu_setup(void);

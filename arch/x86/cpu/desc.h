/* Descriptor tables: one GDT and TSS a core, one IDT for all. SDM 3A "Protected-Mode Memory Management", "Task Management". */
#pragma once

#include "hv/types.h"

#define SEL_CODE 0x08u
#define SEL_DATA 0x10u
#define SEL_TSS  0x18u

/* What a VMCS host-state area needs of a core. */
struct cpu_desc {
    uint64_t gdt_base, idt_base, tss_base;
    uint64_t gs_base; /* the per-core area */
    uint16_t cs, ss, tr;
};

void cpu_desc_get(unsigned core, struct cpu_desc *d);

/* Loads the calling core's tables. `ist` are the tops of three stacks: NMI, double fault, machine check. */
void desc_load(unsigned core, const uint64_t ist[3]);
#define IST_NMI           1u
#define IST_DOUBLE_FAULT  2u
#define IST_MACHINE_CHECK 3u

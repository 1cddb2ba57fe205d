/* Descriptor tables: one GDT and TSS per core, one IDT for all. SDM 3A "Protected-Mode Memory
 * Management", "Task Management". */
#pragma once

#include "hv/types.h"

#define SEL_CODE          0x08u
#define SEL_DATA          0x10u
#define SEL_TSS           0x18u

/* Interrupt stack table slots, for events that must be handled whatever the state of the normal
 * stack. */
#define IST_NMI           1u
#define IST_DOUBLE_FAULT  2u
#define IST_MACHINE_CHECK 3u

#define GDT_ENTRIES       5u /* null, code, data, TSS (two) */

/* SDM 3A "64-Bit Mode Task State Segment". */
struct tss {
    uint32_t reserved0;
    uint64_t rsp[3];
    uint64_t reserved1;
    uint64_t ist[7];
    uint64_t reserved2;
    uint16_t reserved3;
    uint16_t io_map_base;
} __attribute__((packed));
_Static_assert(sizeof(struct tss) == 104, "hardware layout");

/* What a VMCS host-state area needs from a core. A VM exit sets the limits of GDTR and IDTR to
 * 0xffff: harmless, since nothing loads a selector beyond our table. */
struct cpu_desc {
    uint64_t gdt_base, idt_base, tss_base;
    uint64_t gs_base; /* the per-core area */
    uint16_t cs, ss, tr;
};

/* Any core; constant once the core is online. */
void cpu_desc_get(unsigned core, struct cpu_desc *d);

struct cpu;
/* Builds and loads GDT, TSS, IDT and GS base of the calling core, whose area is `c`. */
void desc_load(struct cpu *c);
/* Fills the IDT. Once, boot core, before the first desc_load(). */
void desc_init_idt(void);

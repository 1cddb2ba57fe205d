/* Descriptor tables: one GDT and one TSS per core, one IDT for all. */
#pragma once

#include "hv/types.h"

#define SEL_CODE    0x08u
#define SEL_DATA    0x10u
#define SEL_TSS     0x18u

/* Interrupt-stack-table slots: these must work whatever the normal stack looks like. */
#define IST_NMI     1u
#define IST_DF      2u
#define IST_MC      3u
#define IST_COUNT   3u

#define TSS_SIZE    104u
#define GDT_ENTRIES 5u /* null, code, data, TSS (two) */

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
_Static_assert(sizeof(struct tss) == TSS_SIZE, "hardware layout");

/* What VMX writes into the host-state area of a core's VMCSs. After a VM exit the CPU sets GDTR's
 * and IDTR's limits to 0xffff; that is harmless here: nothing loads a selector past our tables. */
struct cpu_desc {
    uint64_t gdt_base, idt_base, tss_base;
    uint64_t gs_base; /* the per-CPU area */
    uint16_t cs, ss, ds, tr;
};

/* Any core; constant once the core is online. */
struct cpu_desc cpu_desc_get(unsigned core);

/* Builds and loads GDT, TSS and IDT of the calling core, whose area is `c`. */
struct cpu;
void desc_load(struct cpu *c);
/* Fills the IDT. Once, boot core, before the first desc_load(). */
void desc_init_idt(void);

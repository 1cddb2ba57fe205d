#include "arch/x86/cpu/desc.h"

#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/percpu.h"
#include "arch/x86/cpu/trap.h"
#include "hv/lib.h"

#define GDT_CODE      0x00af9b000000ffffull /* 64-bit, present, accessed */
#define GDT_DATA      0x00cf93000000ffffull
#define GDT_TSS       (0x89ull << 40) /* available 64-bit TSS, present */
#define IDT_INTERRUPT 0x8e00u         /* interrupt gate, present, ring 0 */

#define VECTOR_COUNT  256u

/* SDM 3A "64-Bit Mode IDT". */
struct gate {
    uint16_t offset_low, selector;
    uint16_t flags; /* bits 0-2: IST */
    uint16_t offset_middle;
    uint32_t offset_high, reserved;
};

static struct gate idt[VECTOR_COUNT] __attribute__((aligned(4096)));

/* isr.asm: one entry per vector. */
extern const uint64_t isr_table[VECTOR_COUNT];
/* isr.asm. Loads GDT, data segments, TR and IDT. */
void desc_load_registers(const void *gdtr, const void *idtr);

struct descriptor_register {
    uint16_t limit;
    uint64_t base;
} __attribute__((packed));

static uint16_t ist_of(unsigned vector)
{
    switch (vector) {
    case TRAP_NMI:
        return IST_NMI;
    case TRAP_DOUBLE_FAULT:
        return IST_DOUBLE_FAULT;
    case TRAP_MACHINE_CHECK:
        return IST_MACHINE_CHECK;
    default:
        return 0;
    }
}

void desc_init_idt(void)
{
    for (unsigned i = 0; i < VECTOR_COUNT; i++)
        idt[i] = (struct gate){
            .offset_low = (uint16_t)isr_table[i],
            .selector = SEL_CODE,
            .flags = (uint16_t)(IDT_INTERRUPT | ist_of(i)),
            .offset_middle = (uint16_t)(isr_table[i] >> 16),
            .offset_high = (uint32_t)(isr_table[i] >> 32),
        };
}

static void build_gdt(struct cpu *c)
{
    uint64_t base = (uintptr_t)&c->tss, limit = sizeof(c->tss) - 1;

    c->gdt[0] = 0;
    c->gdt[SEL_CODE / 8] = GDT_CODE;
    c->gdt[SEL_DATA / 8] = GDT_DATA;
    c->gdt[SEL_TSS / 8] = GDT_TSS | limit | (base & 0xffffff) << 16 | (base >> 24 & 0xff) << 56;
    c->gdt[SEL_TSS / 8 + 1] = base >> 32;
}

void desc_load(struct cpu *c)
{
    struct core_block *b = container_of(c, struct core_block, cpu);
    struct descriptor_register gdtr = {sizeof(c->gdt) - 1, (uintptr_t)c->gdt};
    struct descriptor_register idtr = {sizeof(idt) - 1, (uintptr_t)idt};

    memset(&c->tss, 0, sizeof(c->tss));
    c->tss.io_map_base = sizeof(c->tss);
    c->tss.ist[IST_NMI - 1] = (uintptr_t)(b->nmi + sizeof(b->nmi));
    c->tss.ist[IST_DOUBLE_FAULT - 1] = (uintptr_t)(b->double_fault + sizeof(b->double_fault));
    c->tss.ist[IST_MACHINE_CHECK - 1] = (uintptr_t)(b->machine_check + sizeof(b->machine_check));
    build_gdt(c);
    desc_load_registers(&gdtr, &idtr);
    /* After the segment registers: loading GS clears its base. */
    wrmsr(MSR_IA32_GS_BASE, (uintptr_t)c);
}

void cpu_desc_get(unsigned core, struct cpu_desc *d)
{
    const struct cpu *c = cpu_get(core);

    *d = (struct cpu_desc){
        .gdt_base = (uintptr_t)c->gdt,
        .idt_base = (uintptr_t)idt,
        .tss_base = (uintptr_t)&c->tss,
        .gs_base = (uintptr_t)c,
        .cs = SEL_CODE,
        .ss = SEL_DATA,
        .tr = SEL_TSS,
    };
}

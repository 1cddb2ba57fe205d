/* A small PC kernel that the sample guests share: start-up, interrupts through the 8259 pair, the
 * UART, the PIT, ways to end. */
#pragma once

#include "arch/x86/cpu/regs.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "hv/types.h"
#include "iso/sdk/include/bulkhead/pc.h"
#include "mgmt/pc/pc.h"

#define PIT_HZ   1193182u
#define IRQ_PIT  0u
#define IRQ_UART 4u

/* Defined by each guest. Interrupts are off. */
void guest_main(const char *cmdline);

/* What it finds if it was started by PVH. Xen "HVM start info structure". */
#define PVH_MAGIC 0x336ec578u
struct pvh_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline, rsdp, map;
    uint32_t map_count, reserved;
};
struct pvh_module {
    uint64_t start, size, cmdline, reserved;
};
struct pvh_area {
    uint64_t base, size;
    uint32_t type, reserved;
};
/* NULL: it was started by multiboot2. */
const struct pvh_info *guest_pvh_info(void);

/* Its first module, or NULL. */
const uint8_t *guest_module(uint32_t *size);

/* printf on the UART; each '\n' goes out as CR LF. */
void say(const char *format, ...) PRINTF(1, 2);
void put_byte(uint8_t c);

/* Calls handler() on each interrupt of this line, and unmasks it. */
void irq_handle(unsigned irq, void (*handler)(void));
/* The frame pushed for the last interrupt. */
extern struct guest_frame irq_frame;
/* Calls handler(frame) on this exception instead of ending the guest with a message. */
void exception_handle(unsigned vector, void (*handler)(struct guest_frame *f));

/* Channel 0 of the PIT, mode 2: one interrupt every `count` PIT ticks. */
void pit_periodic(uint16_t count);
/* Channel 0 of the PIT, mode 0: one interrupt in `count` PIT ticks. */
void pit_once(uint16_t count);

/* Ends the guest through its exit port. */
_Noreturn void guest_exit(uint32_t code);

/* TSC ticks per second, from CPUID leaf 0x15. */
uint64_t tsc_hz(void);

static inline uint64_t tsc(void)
{
    return __builtin_ia32_rdtsc();
}

/* Sleeps until the next interrupt, which is not lost if it comes just before. Interrupts off before
 * and after. */
static inline void sleep_until_irq(void)
{
    __asm__ volatile("sti; hlt; cli" ::: "memory");
}

/*
 * The services of the CPU and the board for hv/ and net/ (arch/x86/cpu implements them). hv/
 * reaches the architecture only through this header and hv/virt.h.
 *
 * Host address space: all physical memory is identity-mapped read-write, never executable; only the
 * kernel's text is executable and it is read-only. Interrupts are off in root operation, except
 * inside arch_idle() and arch_irq_window().
 */
#pragma once

#include "hv/abi/topology.h"
#include "hv/types.h"

/* A build-time limit on cores that run guests: all vCPUs that there can be have one each. More are
 * parked and reported. */
#define ARCH_CORES_MAX 128

static inline void *arch_ptr(hpa_t a)
{
    return (void *)(uintptr_t)a.v;
}

static inline hpa_t arch_hpa(const void *p)
{
    return hpa((uintptr_t)p);
}

/* Time-stamp counter of this core; the TSCs of all cores are in step (checked at start-up). */
#ifdef ARCH_TEST_CLOCK /* a host test may supply the clock */
__attribute__((weak)) uint64_t arch_test_clock(void);
static inline uint64_t arch_tsc(void)
{
    return arch_test_clock ? arch_test_clock() : __builtin_ia32_rdtsc();
}
#else
static inline uint64_t arch_tsc(void)
{
    return __builtin_ia32_rdtsc();
}
#endif

/* Ticks per second, determined at start-up. What was measured beats what the CPU tells. */
uint64_t arch_tsc_hz(void);

/* Where that figure comes from: each source's own value. */
void arch_tsc_sources(struct abi_tsc_source out[ABI_TSC_SOURCES_MAX]);
/* "agreed", "alone", "outvoted" or "disputed". */
const char *arch_tsc_verdict(void);

/* Cores are the hardware threads that run guests, numbered 0..arch_core_count()-1 in the order of
 * the MADT, the boot core first. All others are parked, or did not answer, and have no number. */
unsigned arch_core_count(void);
unsigned arch_core_self(void);
uint32_t arch_core_apic_id(unsigned core);

/* Numbers the cores: one thread of each physical core, or with `smt` every thread, at most
 * ARCH_CORES_MAX. Until then only core 0 has a number. Once, boot core. */
void arch_cores_choose(bool smt);
/* All hardware threads, core 0 first; NULL beyond the last. Constant after arch_cores_choose(). */
const struct abi_thread *arch_thread(unsigned i);
unsigned arch_thread_count(void);
unsigned arch_core_node(unsigned core);
/* Cores that are threads of one physical core have the same. */
unsigned arch_core_physical(unsigned core);
/* The memory of the nodes, range by range; NULL beyond the last. None if all is of one node. */
const struct abi_near *arch_near_memory(unsigned i);
struct abi_topology arch_topology(void);

/* Runs main(core) on every other core, in parallel; returns at once. The calling (boot) core then
 * does its own part. */
void arch_cores_start(void (*main)(unsigned core));

/* Makes `core` leave its guest or its idle HLT soon (a fixed IPI). A hint: cores also come back on
 * their own at each deadline. */
void arch_kick(unsigned core);
/* The same by the interrupt that makes a CPU take what is in the descriptor (lapic.h) of the vCPU
 * that it runs, without an exit. */
void arch_notify(unsigned core);

/* HLT until an interrupt arrives or the TSC reaches `deadline` (NEVER: an interrupt alone). Own
 * core, interrupts off on entry and return.
 * `*wake` is read with interrupts off just before halting; if it is nonzero the call returns at
 * once (no lost wake-up). */
void arch_idle(uint64_t deadline, const uint32_t *wake);

/* Lets pending interrupts in for an instant (their handlers run), then masks them again. Own core.
 */
void arch_irq_window(void);

/* Separate stacks for work that pauses midway. Interrupts off; a stack stays on one core. _begin()
 * prepares stack `n` to start in entry(), which never returns, and returns its stack pointer;
 * _switch() stores the present stack pointer and continues on another stack. */
#define ARCH_STACKS 16u
uintptr_t arch_stack_begin(unsigned n, void (*entry)(void));
void arch_stack_switch(uintptr_t *from, uintptr_t to);

/* Writes to the serial port and the screen at once. Only while nothing else runs. On the serial
 * line ' ' becomes CR LF. */
void arch_console_write(const char *s, size_t n);
/* Sends what the serial port accepts now, without waiting. Returns the number of bytes (all of them
 * if there is no port). Bounded. One core. */
size_t arch_serial_send(const char *s, size_t n);
/* Where it is: "COM1", "port 0x2f8 (SPCR)", or "" if there is none. */
const char *arch_serial_name(void);
/* Queues text for the screen. arch_screen_poll() draws a bounded part of it; false: all of it is
 * shown. One core. */
void arch_screen_write(const char *s, size_t n);
bool arch_screen_poll(void);

/* Stops the other cores, sends what is queued for the serial line and resets the machine: by the
 * FADT's reset register, port 0xcf9, the keyboard controller or, last, a triple fault. Any core. */
_Noreturn void arch_reboot(void);
/* From now on the machine resets this long after a panic's report; 0: never, as before the first
 * call. Boot core. */
void arch_panic_reboot(uint32_t seconds);

/* 64 random bits for MAC addresses and hash seeds: RDRAND where it exists, otherwise derived from
 * the TSC. Not for keys. */
uint64_t arch_random(void);

/* `size` bytes for a key, from RDSEED or RDRAND alone. -E_NOENT: the CPU has neither, or it does
 * not answer. */
int arch_random_key(uint8_t *out, size_t size) MUST_CHECK;

/* PCI configuration space, by aligned doublewords. `bdf` is segment << 16 | bus << 8 | device << 3
 * | function. Since start-up no endpoint masters the bus or asks for a legacy interrupt: its driver
 * switches that on. */
uint32_t arch_pci_read(uint32_t bdf, uint16_t offset);
void arch_pci_write(uint32_t bdf, uint16_t offset, uint32_t value);
/* Advances *bdf to the first function at or after it. Returns device << 16 | vendor; all ones:
 * none. */
uint32_t arch_pci_next(uint32_t *bdf);
/* Sets bits of the command register. */
void arch_pci_enable(uint32_t bdf, uint32_t bits);
/* The address of a memory BAR of 32 or 64 bits. -E_RANGE: it has no such BAR, -E_NOTSUP: it is in
 * I/O space, -E_IO: firmware gave it no address. */
int arch_pci_bar(uint32_t bdf, unsigned bar, uint64_t *base) MUST_CHECK;

/* How a PCI function interrupts. */
enum arch_irq { ARCH_IRQ_NONE, ARCH_IRQ_LINE, ARCH_IRQ_MSI, ARCH_IRQ_MSIX };

/* Has the function's interrupt call handler(ctx) on `core` (on another, if a device cannot reach
 * that), with interrupts off: by MSI-X (entry 0
 * of its table), else MSI, else its interrupt line. Returns which. ARCH_IRQ_NONE: by none of them;
 * it must be polled. Start-up only, after arch_pci_enable() of memory access and bus mastering. */
enum arch_irq arch_pci_interrupt(uint32_t bdf, unsigned core, void (*handler)(void *ctx),
                                 void *ctx) MUST_CHECK;

/* Maps device registers uncacheable into the identity map. Start-up only, boot core. NULL if it
 * cannot. */
void *arch_map_mmio(hpa_t base, size_t length) MUST_CHECK;

/* Firmware's memory map and boot modules, as found in the multiboot2 information (copied out of it
 * at start-up). */
struct arch_module {
    const uint8_t *data;
    size_t size;
    const char *name; /* the module's string in grub.cfg, NUL-terminated */
};

#define ARCH_MODULES_MAX 64
unsigned arch_module_count(void);
const struct arch_module *arch_module(unsigned i);

/* Wall-clock time at start-up from the CMOS RTC, seconds since 1970-01-01 (UTC assumed). */
uint64_t arch_boot_epoch(void);

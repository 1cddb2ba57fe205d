#include "arch/x86/cpu/board.h"

#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/cpu/io.h"
#include "arch/x86/cpu/regs.h"
#include "hv/arch.h"
#include "hv/log.h"

#define RESET_CONTROL   0xcf9u
#define RESET_PREPARE   0x02u
#define RESET_FULL      0x06u
#define KEYBOARD_STATUS 0x64u /* and command */
#define KEYBOARD_FULL   0x02u
#define KEYBOARD_RESET  0xfeu
#define NOBODY          0xffu /* no controller answers */
#define KEYBOARD_TRIES  100000u
#define RDRAND_TRIES    10u
#define RDSEED_TRIES    100u
#define SETTLE_LOOPS    10000000u

/* The FADT's RESET_REG and RESET_VALUE. */
static struct {
    bool known;
    uint8_t space, value; /* enum acpi_space */
    uint64_t address;
    volatile uint8_t *memory;
} reset;

void board_init(const struct acpi_info *a)
{
    reset.known = a->have_reset;
    reset.space = a->reset_space;
    reset.address = a->reset_address;
    reset.value = a->reset_value;
    if (a->have_reset && a->reset_space == ACPI_SPACE_MEMORY) {
        reset.memory = arch_map_mmio(hpa(a->reset_address), 1);
        reset.known = reset.memory != NULL;
    }
}

static void settle(void)
{
    for (unsigned i = 0; i < SETTLE_LOOPS; i++)
        __builtin_ia32_pause();
}

static void reset_by_acpi(void)
{
    uint64_t a = reset.address;
    uint16_t bdf = (uint16_t)((a >> 32 & 0x1f) << 3 | (a >> 16 & 7));
    unsigned shift = (unsigned)(a & 3) * 8;
    uint32_t v;

    switch (reset.space) {
    case ACPI_SPACE_MEMORY:
        *reset.memory = reset.value;
        break;
    case ACPI_SPACE_IO:
        outb((uint16_t)a, reset.value);
        break;
    default: /* PCI configuration space of bus 0: device, function, offset */
        v = arch_pci_read(bdf, (uint16_t)a) & ~(0xffu << shift);
        arch_pci_write(bdf, (uint16_t)a, v | (uint32_t)reset.value << shift);
        break;
    }
}

_Noreturn void board_triple_fault(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) no_idt = {0, 0};

    for (;;)
        __asm__ volatile("lidt %0; ud2" ::"m"(no_idt) : "memory");
}

/* On older boards the keyboard controller pulls INIT, which is blocked in VMX operation (SDM 3C
 * "Restrictions on VMX Operation"). CR4.VMXE is set together with VMXON. */
static void reset_by_keyboard(void)
{
    if (read_cr4() & CR4_VMXE)
        __asm__ volatile("vmxoff" ::: "memory", "cc");
    if (inb(KEYBOARD_STATUS) == NOBODY)
        return;
    for (unsigned i = 0; i < KEYBOARD_TRIES && inb(KEYBOARD_STATUS) & KEYBOARD_FULL; i++)
        __builtin_ia32_pause();
    outb(KEYBOARD_STATUS, KEYBOARD_RESET);
}

_Noreturn void board_reset(void)
{
    irq_off();
    if (reset.known) {
        reset_by_acpi();
        settle();
    }
    outb(RESET_CONTROL, RESET_PREPARE);
    outb(RESET_CONTROL, RESET_FULL);
    settle();
    reset_by_keyboard();
    settle();
    board_triple_fault();
}

/* Spreads a weak source's entropy over all bits (the finaliser of SplitMix64). */
static uint64_t mix(uint64_t v)
{
    v = (v ^ v >> 30) * 0xbf58476d1ce4e5b9ull;
    v = (v ^ v >> 27) * 0x94d049bb133111ebull;
    return v ^ v >> 31;
}

uint64_t arch_random(void)
{
    static uint64_t state;
    uint64_t v;

    if (cpuid(1, 0).ecx & CPUID_1_ECX_RDRAND)
        for (unsigned i = 0; i < RDRAND_TRIES; i++)
            if (cpu_rdrand(&v))
                return v;
    v = __atomic_add_fetch(&state, 0x9e3779b97f4a7c15ull, __ATOMIC_RELAXED);
    return mix(v ^ mix(arch_tsc()));
}

/* SDM 1 "Random Number Generator Instructions": RDSEED may be exhausted for a while, RDRAND hardly
 * ever. */
static bool random_word(uint64_t *v)
{
    bool seed = cpuid(0, 0).eax >= 7 && (cpuid(7, 0).ebx & CPUID_7_EBX_RDSEED);
    bool rand = cpuid(1, 0).ecx & CPUID_1_ECX_RDRAND;
    bool good = false;

    for (unsigned i = 0; seed && !good && i < RDSEED_TRIES; i++)
        good = cpu_rdseed(v);
    for (unsigned i = 0; rand && !good && i < RDRAND_TRIES; i++)
        good = cpu_rdrand(v);
    return good;
}

int arch_random_key(uint8_t *out, size_t size)
{
    uint64_t v = 0;

    for (size_t i = 0; i < size; i++) {
        if (i % sizeof(v) == 0 && !random_word(&v))
            return -E_NOENT;
        out[i] = (uint8_t)(v >> 8 * (i % sizeof(v)));
    }
    return 0;
}

#include "mgmt/port.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "lwip/sys.h"

#include <stdlib.h>

#define PIC1        0x20u
#define PIC2        0xa0u
#define VECTOR_BASE 32u
#define PIC_EOI     0x20u
#define TICK_PIT    11932u /* 100 Hz */
#define EXIT_PORT   0xf4u
#define EXIT_DIED   1u

struct gate {
    uint16_t low, selector, flags, middle;
    uint32_t high, reserved;
};

extern const uint64_t mgmt_vectors[48];
void mgmt_irq(void);
_Noreturn void mgmt_exception(unsigned vector, uint64_t rip);

static struct gate idt[48];

uint32_t port_ms(void)
{
    const struct abi_host *h = abi_host();

    return (uint32_t)((port_tsc() - h->boot_tsc) / (h->tsc_hz / 1000));
}

u32_t sys_now(void)
{
    return port_ms();
}

void port_log(const char *format, ...)
{
    char line[256];
    va_list ap;
    size_t n;

    va_start(ap, format);
    n = fmt_v(line, sizeof(line), format, ap);
    va_end(ap);
    (void)abi_call(ABI_CALL_LOG, (uintptr_t)line, n < sizeof(line) ? n : sizeof(line) - 1, 0);
}

_Noreturn void mgmt_die(const char *why)
{
    port_log("died: %s", why);
    outb(EXIT_PORT, EXIT_DIED);
    for (;;)
        __asm__ volatile("cli; hlt");
}

_Noreturn void abort(void)
{
    mgmt_die("abort");
}

_Noreturn void mgmt_exception(unsigned vector, uint64_t rip)
{
    char text[64];

    (void)fmt(text, sizeof(text), "exception %u at 0x%lx", vector, rip);
    mgmt_die(text);
}

/* Sequence numbers and ports, not keys: xorshift seeded by the TSC. */
uint32_t mgmt_random(void)
{
    static uint64_t s;

    s ^= port_tsc();
    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    return (uint32_t)(s >> 16);
}

int atoi(const char *s)
{
    return (int)strtol(s, NULL, 10);
}

/* Never called (see stdlib.h in include/): memory that is not there. */
void *malloc(size_t n)
{
    (void)n;
    return NULL;
}

void free(void *p)
{
    (void)p;
}

long strtol(const char *s, char **end, int base)
{
    long v = 0;

    while (*s >= '0' && *s <= '9')
        v = v * base + (*s++ - '0');
    if (end)
        memcpy(end, &s, sizeof(s));
    return v;
}

void mgmt_irq(void)
{

    outb(PIC2, PIC_EOI);
    outb(PIC1, PIC_EOI);
}

static void start_pic(void)
{
    outb(PIC1, 0x11);
    outb(PIC2, 0x11);
    outb(PIC1 + 1, VECTOR_BASE);
    outb(PIC2 + 1, VECTOR_BASE + 8);
    outb(PIC1 + 1, 4);
    outb(PIC2 + 1, 2);
    outb(PIC1 + 1, 1);
    outb(PIC2 + 1, 1);
    /* Tick, cascade, control events; virtio-net on the slave. */
    outb(PIC1 + 1, (uint8_t) ~(1u << 0 | 1u << 2 | 1u << ABI_EVENT_IRQ));
    outb(PIC2 + 1, (uint8_t) ~(1u << 3));
}

void port_start(void)
{
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) pointer = {sizeof(idt) - 1, (uintptr_t)idt};

    for (unsigned i = 0; i < ARRAY_LEN(idt); i++) {
        uint64_t a = mgmt_vectors[i];

        idt[i] =
            (struct gate){(uint16_t)a, 0x08, 0x8e00, (uint16_t)(a >> 16), (uint32_t)(a >> 32), 0};
    }
    __asm__ volatile("lidt %0" ::"m"(pointer));
    start_pic();
    outb(0x43, 0x34);
    outb(0x40, (uint8_t)TICK_PIT);
    outb(0x40, (uint8_t)(TICK_PIT >> 8));
}

void port_sleep(void)
{
    /* Interrupts are on only here, so an interrupt between the check of everything and HLT cannot
     * be lost. */
    __asm__ volatile("sti; hlt; cli" ::: "memory");
}

#include "mgmt/port.h"

#include "hv/dev/virtio_net.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "lwip/sys.h"

#include <stdlib.h>

#define IRQ_PIT   0u
#define TICK_PIT  11932u /* 100 Hz */
#define EXIT_PORT 0xf4u
#define EXIT_DIED 1u

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

/* Interrupts only wake the main loop, which polls. */
void guest_interrupt(uint64_t vector, struct guest_frame *f)
{
    char text[64];

    if (vector >= PC_EXCEPTIONS) {
        pc_eoi((unsigned)vector - PC_EXCEPTIONS);
        return;
    }
    (void)fmt(text, sizeof(text), "exception %lu at 0x%lx", vector, f->rip);
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

void port_start(void)
{
    pc_start();
    pc_unmask(IRQ_PIT);
    pc_unmask(ABI_EVENT_IRQ);
    pc_unmask(VIRTIO_NET_IRQ);
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

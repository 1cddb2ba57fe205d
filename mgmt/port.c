#include "mgmt/port.h"

#include "hv/pc/virtio_net.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "lwip/sys.h"
#include "mgmt/netif.h"
#include "mgmt/pc/cpu.h"
#include "mgmt/tls_port.h"

#define IRQ_PIT      0u
#define TICK_PIT     11932u /* 100 Hz */
#define EXIT_PORT    0xf4u
#define EXIT_DIED    1u
#define HEARTBEAT_MS 250u
#define PATIENCE_MS  10000u

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
    char line[512];
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

/* Until then the timer sends the heartbeat; 0: no computation is under way. */
static volatile uint32_t work_until;
/* An interrupt came while interrupts were on outside of port_sleep(). */
static volatile bool interrupted;

/* Interrupts only wake the main loop, which polls; while it computes, they send its heartbeat. */
void guest_interrupt(uint64_t vector, struct guest_frame *f)
{
    char text[64];

    if (vector >= PC_EXCEPTIONS) {
        if (vector == PC_EXCEPTIONS + VIRTIO_NET_IRQ)
            vnet_quiet();
        pc_eoi((unsigned)vector - PC_EXCEPTIONS);
        interrupted = true;
        if (work_until && (int32_t)(work_until - port_ms()) > 0)
            port_beat();
        return;
    }
    (void)fmt(text, sizeof(text), "exception %lu at 0x%lx", vector, f->rip);
    mgmt_die(text);
}

/* For identifiers, ports and the sequence numbers' key. Before there is a generator, or if the CPU
 * has none: xorshift seeded by the TSC. */
uint32_t mgmt_random(void)
{
    static uint64_t s;
    uint32_t drawn;

    if (tls_port_draw(&drawn, sizeof(drawn)))
        return drawn;
    s ^= port_tsc();
    s ^= s << 13;
    s ^= s >> 7;
    s ^= s << 17;
    return (uint32_t)(s >> 16);
}

void port_start(void)
{
    cpu_allow_xmm(); /* for hashes and ciphers */
    pc_start();
    pc_unmask(IRQ_PIT);
    pc_unmask(ABI_EVENT_IRQ);
    pc_unmask(VIRTIO_NET_IRQ);
    outb(0x43, 0x34);
    outb(0x40, (uint8_t)TICK_PIT);
    outb(0x40, (uint8_t)(TICK_PIT >> 8));
}

void port_beat(void)
{
    static uint32_t last;
    static bool beaten;
    uint32_t now = port_ms();

    if (beaten && now - last < HEARTBEAT_MS)
        return;
    (void)abi_call(ABI_CALL_HEARTBEAT, 0, 0, 0);
    last = now;
    beaten = true;
}

void port_work_long(void)
{
    port_beat();
    work_until = (port_ms() + PATIENCE_MS) | 1;
    __asm__ volatile("sti" ::: "memory");
}

void port_work_done(void)
{
    __asm__ volatile("cli" ::: "memory");
    work_until = 0;
}

void port_sleep(void)
{
    /* Interrupts are off between the last check and HLT, so none is lost; an earlier one may have
     * been about something that was checked before. */
    port_work_done();
    if (!interrupted)
        __asm__ volatile("sti; hlt; cli" ::: "memory");
    interrupted = false;
}

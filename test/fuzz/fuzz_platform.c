/* SOURCES: hv/gmem.c @pc hv/lib.c */
#include "hv/pc/irqchip.h"

#include "test/unit/pc_host.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static unsigned calls;

static void on_console(void *ctx, uint8_t byte)
{
    (void)ctx;
    (void)byte;
    calls++;
}

static void on_reset(void *ctx, const char *how)
{
    (void)ctx;
    if (!how)
        abort();
    calls++;
}

static void on_exit_port(void *ctx, uint32_t code)
{
    (void)ctx;
    (void)code;
    calls++;
}

static void check(const struct platform *p)
{
    /* It must not be late: too early only costs a check. */
    if (p->next_event > platform_deadline(p))
        abort();
    if (!(p->devices & DEV_PIC) && p->pic.intr)
        abort();
    if (!(p->devices & (DEV_PIT | DEV_RTC | DEV_ACPI | DEV_HPET)) && p->next_event != NEVER)
        abort();
    if (p->rtc.reg_c & 0x0f)
        abort();
}

static void access_memory(struct platform *p, const uint8_t *d)
{
    static const uint16_t at[16] = {0x000, 0x010, 0x020, 0x0f0, 0x0f4, 0x100, 0x104, 0x108,
                                    0x10c, 0x120, 0x128, 0x140, 0x148, 0x012, 0x3fc, 0x2a};
    unsigned width = 1u << (d[1] >> 2 & 3);
    uint64_t v = d[2] * 0x01010101u, where = PC_HPET + at[d[0] & 15];

    if (!(p->devices & DEV_HPET))
        return;
    if (d[1] & 0x10)
        v &= 0xff0f;
    if (d[0] & 0x10 ? !mmio_read(&p->bus, where, width, &v) : !mmio_write(&p->bus, where, width, v))
        abort();
    p->next_event = platform_deadline(p);
}

static void access(struct platform *p, const uint8_t *d)
{
    static const uint16_t ports[32] = {0x20,  0x21,  0xa0,  0xa1,  0x4d0, 0x4d1,  0x40,  0x41,
                                       0x42,  0x43,  0x61,  0x70,  0x71,  0x71,   0x3f8, 0x3f9,
                                       0x3fa, 0x3fb, 0x3fc, 0x3fd, 0x3fe, 0x3ff,  0x64,  0xcf9,
                                       0xf4,  0x80,  0x60,  0xcf8, 0xfff, 0x1000, 0x70,  0xffff};
    static const uint16_t more[16] = {0x600, 0x601, 0x602, 0x603, 0x604, 0x605, 0x606, 0x608,
                                      0x609, 0x60b, 0x60c, 0x92,  0x90,  0x60,  0x64,  0x5fe};
    uint16_t port = d[1] & 0x80 ? more[d[0] & 15] : ports[d[0] & 31];
    unsigned width = 1u << (d[1] % 3);
    uint32_t v = d[2] * 0x01010101u;

    if (d[0] & 0x20) {
        v = io_in(&p->bus, port, width);
        if ((width == 1 && v > 0xff) || (width == 2 && v > 0xffff))
            abort();
        return;
    }
    calls = 0;
    io_out(&p->bus, port, width, v);
    p->next_event = platform_deadline(p);
    if (calls > 1)
        abort();
}

/* A byte selects the devices, then come triples: an operation and its values. The network device is
 * left out: it has its own fuzzer. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct platform p;
    static uint32_t apic_registers[LAPIC_PAGE / 4];
    struct platform_host host = pc_host;

    host.console = on_console;
    host.reset = host.power_off = on_reset;
    host.exit = on_exit_port;
    p.vcpus = 1;
    p.lapic[0].regs = apic_registers;
    if (size < 1 || platform_init(&p, (data[0] | ~0xffu) & DEV_DEFAULT, 12345, 2400000123ull,
                                  1700000000, 1u << 24, &host))
        return 0;
    for (size_t i = 1; i + 2 < size; i += 3) {
        switch (data[i] >> 6) {
        case 0:
        case 1:
            access(&p, data + i);
            break;
        case 2:
            p.clock.now += ((uint64_t)data[i + 2] + 1) << (data[i + 1] & 31);
            if (p.clock.now >= p.next_event)
                platform_timers(&p);
            if (p.next_event <= p.clock.now)
                abort(); /* the run loop would spin */
            break;
        default:
            if (data[i] & 0x20)
                access_memory(&p, data + i);
            else if (data[i] & 1)
                irqchip_pulse(&p, data[i + 1]);
            else if (data[i] & 2)
                (void)platform_console_input(&p, data[i + 1]);
            else if (irqchip_pending(&p, 0))
                (void)irqchip_ack(&p, 0);
            break;
        }
        check(&p);
    }
    return 0;
}

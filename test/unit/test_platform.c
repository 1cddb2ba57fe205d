/* SOURCES: hv/gmem.c @pc hv/lib.c */
#include "hv/pc/irqchip.h"

#include "hv/lib.h"
#include "test/unit/pc_host.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define TSC_HZ 3000000000ull
#define START  5000000000ull

static struct platform p;
static uint32_t apic_registers[LAPIC_PAGE / 4];
static char console[32];
static unsigned console_len, resets, power_offs;
static uint32_t exit_code;

static void on_console(void *ctx, uint8_t byte)
{
    (void)ctx;
    console[console_len++ % sizeof(console)] = (char)byte;
}

static void on_reset(void *ctx, const char *how)
{
    (void)ctx;
    (void)how;
    resets++;
}

static void on_power_off(void *ctx, const char *how)
{
    (void)ctx;
    (void)how;
    power_offs++;
}

static void on_exit_port(void *ctx, uint32_t code)
{
    (void)ctx;
    exit_code = code;
}

static unsigned kicks;
static void on_kick(void *ctx, unsigned vcpu)
{
    (void)ctx;
    assert_int_equal(vcpu, 0);
    kicks++;
}

static void start(uint32_t devices)
{
    struct platform_host host = pc_host;

    host.console = on_console;
    host.reset = on_reset;
    host.power_off = on_power_off;
    host.exit = on_exit_port;
    host.kick = on_kick;
    memset(&p, 0xa5, sizeof(p)); /* power-on does not depend on old contents */
    p.timer_ticks = TICKS_MERGE;
    memset(&p.bus, 0, sizeof(p.bus));
    p.vcpus = 1;
    memset(p.disks, 0, sizeof(p.disks));
    memset(p.shared, 0, sizeof(p.shared));
    console_len = resets = power_offs = kicks = 0;
    p.lapic[0].regs = apic_registers;
    exit_code = 0;
    assert_int_equal(platform_init(&p, devices, START, TSC_HZ, 0, 16ull << 20, &host), 0);
}

static int setup(void **state)
{
    (void)state;
    start(DEV_DEFAULT);
    return 0;
}

/* Whatever vCPU 0 may have seen meanwhile, it is kicked for what is earlier. */
static void rests(void **state)
{
    static const struct {
        uint64_t before, meanwhile, after;
        unsigned kicks;
    } rows[] = {{9, 0, 9, 0}, {9, 0, 8, 1}, {9, 0, 10, 0}, {9, 20, 15, 1}, {9, 20, 20, 0}};

    (void)state;
    p.vcpus = 2;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        kicks = 0;
        p.next_event = rows[i].before;
        platform_lock(&p, START);
        p.next_event = rows[i].meanwhile;
        platform_rest(&p, START + 7);
        assert_int_equal(p.clock.now, START + 7);
        p.next_event = rows[i].after;
        platform_unlock(&p, 1);
        assert_int_equal(kicks, rows[i].kicks);
    }
}

/* A write as the run loop does it. */
static void out(unsigned port, unsigned v)
{
    io_out(&p.bus, (uint16_t)port, 1, v);
    p.next_event = platform_deadline(&p);
}

static unsigned in(unsigned port)
{
    return io_in(&p.bus, (uint16_t)port, 1);
}

static void pass(uint64_t ticks)
{
    p.clock.now += ticks;
    if (p.clock.now >= p.next_event)
        platform_timers(&p);
}

static void init_pics(void)
{
    static const uint8_t steps[][2] = {{0x20, 0x11}, {0x21, 0x20}, {0x21, 4}, {0x21, 1},
                                       {0xa0, 0x11}, {0xa1, 0x28}, {0xa1, 2}, {0xa1, 1},
                                       {0x21, 0},    {0xa1, 0}};

    for (unsigned i = 0; i < ARRAY_LEN(steps); i++)
        out(steps[i][0], steps[i][1]);
}

static void expect(unsigned vector)
{
    assert_true(irqchip_pending(&p, 0));
    assert_int_equal(irqchip_ack(&p, 0), vector);
    if (vector >= 0x28)
        out(0xa0, 0x20);
    out(0x20, 0x20);
}

static void power_on(void **state)
{
    (void)state;
    assert_true(p.next_event == NEVER);
    assert_false(irqchip_pending(&p, 0));
    pass(100 * TSC_HZ);
    assert_false(irqchip_pending(&p, 0));
    assert_int_equal(in(0x80), 0xff);
    out(0x80, 1);
    assert_int_equal(in(0x60), 0);
    /* The PCI bus has its host bridge alone: no card is among the default devices. */
    for (uint32_t slot = 0; slot < PCI_SLOTS; slot++) {
        io_out(&p.bus, 0xcf8, 4, 0x80000000 | slot << 11);
        assert_true(io_in(&p.bus, 0xcf8, 4) == (0x80000000 | slot << 11));
        assert_true((io_in(&p.bus, 0xcfc, 4) == 0xffffffff) == (slot > 0));
    }
    assert_int_equal(in(0x4d0) | in(0x4d1) << 8, PCI_GSI_MASK | 1u << PC_SCI);
}

/* Each device answers exactly if its bit is set, and no other does. */
static void device_mask(void **state)
{
    static const struct {
        uint32_t device;
        uint16_t port;
    } at[] = {{DEV_PIC, 0x21},   {DEV_PIC, 0xa1},   {DEV_PIC, 0x4d0},  {DEV_PIT, 0x40},
              {DEV_PIT, 0x61},   {DEV_RTC, 0x71},   {DEV_UART, 0x3f8}, {DEV_UART, 0x3ff},
              {DEV_RESET, 0x60}, {DEV_RESET, 0x64}, {DEV_RESET, 0x92}, {DEV_RESET | DEV_PCI, 0xcf9},
              {DEV_EXIT, 0xf4},  {DEV_ACPI, 0x600}, {DEV_ACPI, 0x605}, {DEV_ACPI, 0x60b},
              {DEV_PCI, 0xcfc}};

    uint64_t value;

    (void)state;
    for (uint32_t mask = 0; mask <= DEV_DEFAULT; mask++) {
        if (mask & ~(uint32_t)DEV_DEFAULT)
            continue;
        start(mask);
        for (unsigned i = 0; i < ARRAY_LEN(at); i++)
            assert_int_equal(p.bus.index[at[i].port] != 0, (mask & at[i].device) != 0);
        assert_int_equal(mmio_read(&p.bus, PC_ECAM, 4, &value), (mask & DEV_PCI) != 0);
        assert_int_equal(mmio_read(&p.bus, PC_HPET, 8, &value), (mask & DEV_HPET) != 0);
        assert_int_equal(mmio_read(&p.bus, IOAPIC_BASE, 4, &value), (mask & DEV_APIC) != 0);
        out(0xcf9, 6);
        assert_int_equal(resets, (mask & DEV_RESET) != 0);
        io_out(&p.bus, 0xcf8, 4, 0x80000000);
        assert_true((io_in(&p.bus, 0xcfc, 4) != 0xffffffff) == ((mask & DEV_PCI) != 0));
        assert_int_equal(platform_console_input(&p, 'x'), (mask & DEV_UART) != 0);
    }
}

/* platform_deadline() names the devices of `timers`. */
static void deadlines(void **state)
{
    (void)state;
    for (unsigned i = 0; i < PLATFORM_TIMERS; i++) {
        assert_non_null(p.timers[i].device);
        assert_true(platform_deadline(&p) == NEVER);
        *p.timers[i].deadline = 5 + i;
        assert_int_equal(platform_deadline(&p), 5 + i);
        *p.timers[i].deadline = NEVER;
    }
}

static void timer_interrupts(void **state)
{
    (void)state;
    init_pics();
    out(0x43, 0x34);
    assert_true(p.next_event == NEVER);
    out(0x40, 1193 & 0xff);
    out(0x40, 1193 >> 8);
    assert_in_range(p.next_event - START, TSC_HZ / 1000 - 3000, TSC_HZ / 1000 + 3000);
    for (unsigned i = 0; i < 100; i++) {
        uint64_t due = p.next_event;

        pass(due - p.clock.now - 1);
        assert_false(irqchip_pending(&p, 0));
        pass(1);
        expect(0x20);
        assert_false(irqchip_pending(&p, 0));
        assert_true(p.next_event > due);
    }
    pass(50 * TSC_HZ / 1000); /* the guest has no core for 50 ms */
    expect(0x20);
    assert_false(irqchip_pending(&p, 0));
    out(0x43, 0x34);
    assert_true(p.next_event == NEVER);
}

/* A guest that has no core for 50 of its ticks gets them all, each after it has taken the one
 * before; with IRQ 0 masked, or after the PIT is programmed again, none. */
static void ticks_are_made_up(void **state)
{
    unsigned n = 0;

    (void)state;
    p.timer_ticks = TICKS_CATCH_UP;
    platform_reset(&p, DEV_DEFAULT, START, TSC_HZ, 0, 16ull << 20, &p.host);
    init_pics();
    out(0x43, 0x34);
    out(0x40, 1193 & 0xff);
    out(0x40, 1193 >> 8);
    pass(50 * TSC_HZ / 1000 + TSC_HZ / 10000);
    for (; irqchip_pending(&p, 0) && p.clock.now < START + 54 * TSC_HZ / 1000; n++) {
        expect(0x20);
        pass(p.next_event - p.clock.now);
    }
    assert_int_equal(n, 54); /* a period is 0.99985 ms */
    /* While it does not take one, no more come, and none is lost. */
    pass(TSC_HZ / 100);
    pass(TSC_HZ / 100);
    n = 0;
    while (p.clock.now < START + 80 * TSC_HZ / 1000) {
        if (irqchip_pending(&p, 0)) {
            expect(0x20);
            n++;
        }
        pass(p.next_event - p.clock.now);
    }
    assert_in_range(n, 26, 27);
    out(0x21, 0xff);
    pass(TSC_HZ / 20);
    out(0x21, 0);
    expect(0x20);
    pass(TSC_HZ / 10000);
    assert_false(irqchip_pending(&p, 0));
    pass(TSC_HZ / 20);
    out(0x43, 0x34);
    expect(0x20);
    pass(TSC_HZ);
    assert_false(irqchip_pending(&p, 0));
}

/* The RTC's periodic interrupt likewise, by its register C. */
static void ticks_of_the_clock(void **state)
{
    unsigned n = 0;

    (void)state;
    p.timer_ticks = TICKS_CATCH_UP;
    platform_reset(&p, DEV_DEFAULT, START, TSC_HZ, 0, 16ull << 20, &p.host);
    init_pics();
    out(0x70, 0x0b);
    out(0x71, 0x42); /* 1024 Hz */
    out(0x70, 0x0c);
    pass(TSC_HZ / 8); /* 128 of them */
    while (p.clock.now < START + TSC_HZ / 4) {
        if (irqchip_pending(&p, 0)) {
            expect(0x28);
            assert_int_equal(in(0x71) & 0xc0, 0xc0);
            n++;
        }
        pass(p.next_event - p.clock.now);
    }
    assert_in_range(n, 255, 257);
    pass(TSC_HZ);
    out(0x70, 0x0b);
    out(0x71, 0x02); /* nobody asks any more */
    assert_int_equal(p.rtc.deadline, NEVER);
    out(0x70, 0x0c);
    (void)in(0x71);
    pass(TSC_HZ);
    assert_int_equal(p.rtc.ticks.owed, 0);
}

/* A wake that is prepared and taken back, then prepared again and taken: each time the state is as
 * if it had come by itself. */
static void a_wake_made_ready(void **state)
{
    static struct platform before, came;
    struct irqchip_wake w;
    uint64_t due;

    (void)state;
    init_pics();
    assert_int_equal(irqchip_prepare_wake(&p, 0, NEVER, &w), -1); /* no timer */
    out(0x43, 0x34);
    out(0x40, 1193 & 0xff);
    out(0x40, 1193 >> 8);
    due = p.next_event;
    before = p;
    assert_int_equal(irqchip_prepare_wake(&p, 0, NEVER, &w), 0x20);
    assert_true(w.due == due);
    assert_true(p.next_event > due);
    assert_false(irqchip_pending(&p, 0));
    came = p;
    irqchip_undo_wake(&p, 0, &w);
    assert_memory_equal(&p, &before, sizeof(p));
    pass(due - p.clock.now);
    assert_int_equal(irqchip_ack(&p, 0), 0x20);
    assert_memory_equal(&p, &came, sizeof(p));
    /* In service, without an EOI: the next one must wait, and no wake can be prepared. */
    before = p;
    assert_int_equal(irqchip_prepare_wake(&p, 0, NEVER, &w), -1);
    assert_memory_equal(&p, &before, sizeof(p));
    out(0x20, 0x20);
    /* The RTC is earlier than the PIT, so the PIT is not what wakes. */
    out(0x43, 0x30);
    out(0x40, 0xff);
    out(0x40, 0xff);
    out(0x70, 0x0b);
    out(0x71, 0x42);
    before = p;
    assert_int_equal(irqchip_prepare_wake(&p, 0, NEVER, &w), -1);
    assert_memory_equal(&p, &before, sizeof(p));
    /* An interrupt waits: HLT would not have waited at all. */
    out(0x71, 0x02);
    irqchip_pulse(&p, 5);
    assert_true(irqchip_pending(&p, 0));
    assert_int_equal(irqchip_prepare_wake(&p, 0, NEVER, &w), -1);
    /* Masked: nothing would wake. */
    expect(0x25);
    out(0x21, 0xff);
    before = p;
    assert_int_equal(irqchip_prepare_wake(&p, 0, NEVER, &w), -1);
    assert_memory_equal(&p, &before, sizeof(p));
}

static void clock_and_timer(void **state)
{
    (void)state;
    init_pics();
    out(0x70, 0x0b);
    out(0x71, 0x42); /* 1024 Hz */
    assert_in_range(p.next_event - START, TSC_HZ / 1024 - 1, TSC_HZ / 1024 + 2);
    out(0x43, 0x30); /* the PIT earlier than that */
    out(0x40, 100);
    out(0x40, 0);
    assert_true(p.next_event == p.pit.deadline);
    pass(p.next_event - p.clock.now);
    expect(0x20);
    assert_true(p.next_event == p.rtc.deadline);
    pass(p.next_event - p.clock.now);
    expect(0x28);
    pass(p.next_event - p.clock.now);
    assert_false(irqchip_pending(&p, 0)); /* register C was not read: no new edge */
    out(0x70, 0x0c);
    assert_int_equal(in(0x71), 0xc0);
    pass(p.next_event - p.clock.now);
    expect(0x28);
}

/* A read that finds an interrupt due raises it, and next_event is never late. */
static void reads_do_not_lose_interrupts(void **state)
{
    (void)state;
    init_pics();
    out(0x43, 0x34);
    out(0x40, 0xe8);
    out(0x40, 0x03);
    p.clock.now = p.next_event;
    out(0x43, 0xc2);
    (void)in(0x40);
    assert_true(irqchip_pending(&p, 0));
    assert_true(p.next_event <= platform_deadline(&p));
    expect(0x20);
    platform_timers(&p);
    assert_false(irqchip_pending(&p, 0));
    assert_true(p.next_event == platform_deadline(&p));
}

static void console_both_ways(void **state)
{
    (void)state;
    init_pics();
    out(0x3fc, 0x0b);
    out(0x3fa, 0x07);
    out(0x3f9, 0x01);
    out(0x3f8, 'h');
    out(0x3f8, 'i');
    assert_int_equal(console_len, 2);
    assert_memory_equal(console, "hi", 2);
    assert_true(platform_console_input(&p, 'A'));
    expect(0x24);
    assert_int_equal(in(0x3f8), 'A');
    assert_false(irqchip_pending(&p, 0));
    for (unsigned i = 0; i < 16; i++)
        assert_true(platform_console_input(&p, 'x'));
    assert_false(platform_console_input(&p, 'y'));
}

/* What is typed goes to the virtio console while its driver is ready. */
static void console_by_virtio(void **state)
{
    const uint16_t window = PCI_PORTS + VIRTIO_CONSOLE_SLOT * PCI_SLOT_PORTS;
    uint8_t memory[64];
    const struct gmem mem = {.base = memory, .size = sizeof(memory)};

    (void)state;
    virtio_console_init(&p.console, &mem);
    assert_int_equal(platform_init(&p, DEV_DEFAULT | DEV_CONSOLE, START, TSC_HZ, 0, 16ull << 20,
                                   &(const struct platform_host){.console = on_console}),
                     0);
    assert_true(platform_console_input(&p, 'a'));
    assert_int_equal(p.uart.count, 1);
    io_out(&p.bus, 0xcf8, 4, 0x80000004u | VIRTIO_CONSOLE_SLOT << 11);
    io_out(&p.bus, 0xcfc, 2, 7); /* it may use memory */
    io_out(&p.bus, window + VIRTIO_DRIVER_FEATURE_SELECT, 4, 1);
    io_out(&p.bus, window + VIRTIO_DRIVER_FEATURE, 4, 1);
    io_out(&p.bus, window + VIRTIO_STATUS, 1, 11);
    io_out(&p.bus, window + VIRTIO_STATUS, 1, 15);
    p.next_event = NEVER;
    assert_true(platform_console_input(&p, 'b'));
    assert_int_equal(p.uart.count, 1);
    assert_true(p.next_event == 0 && p.console.typed_head == 1);
    platform_timers(&p); /* nothing to do: the driver has no buffers */
    assert_true(p.next_event != 0);
    io_out(&p.bus, window + VIRTIO_CONFIG + 8, 4, '!');
    assert_int_equal(console[console_len - 1], '!');
    io_out(&p.bus, window + VIRTIO_STATUS, 1, 0);
    assert_false(platform_console_input(&p, 'c')); /* the UART has one byte, without its FIFO */
}

static void pulses(void **state)
{
    (void)state;
    init_pics();
    for (unsigned i = 0; i < 3; i++) {
        irqchip_pulse(&p, 5);
        irqchip_pulse(&p, 5); /* coalesce until taken */
        expect(0x25);
        assert_false(irqchip_pending(&p, 0));
    }
    irqchip_pulse(&p, 2);
    irqchip_pulse(&p, 99);
    assert_false(irqchip_pending(&p, 0));
    start(DEV_UART);
    irqchip_pulse(&p, 5);
    assert_false(irqchip_pending(&p, 0));
}

static void add_card(struct platform *to)
{
    static struct virtio_net_frame ring[VIRTIO_NET_RX_RING];
    static const uint8_t mac[6] = {2};
    static const struct virtio_net_host host;
    const struct virtio_net_memory memory = {.rx_ring = ring, .pairs = 1};
    static struct gmem mem;

    virtio_net_init(&to->net, &mem, mac, &memory, &host);
}

/* On the PCI bus, with a level-triggered line, and again in each life. */
static void network_line(void **state)
{
    const struct platform_host host = {
        .console = on_console, .reset = on_reset, .exit = on_exit_port};

    (void)state;
    for (unsigned life = 0; life < 2; life++) {
        add_card(&p);
        assert_int_equal(
            platform_init(&p, DEV_DEFAULT | DEV_NET, START, TSC_HZ, 0, 16ull << 20, &host), 0);
        init_pics();
        io_out(&p.bus, 0xcf8, 4, 0x80000000 | VIRTIO_NET_SLOT << 11);
        assert_true(io_in(&p.bus, 0xcfc, 4) == 0x10411af4);
        assert_int_equal(in(PCI_PORTS + VIRTIO_NET_SLOT * PCI_SLOT_PORTS + VIRTIO_CONFIG), 2);
        pci_intx(&p.net.virtio.pci, true);
        expect(0x2b);
        expect(0x2b);
        pci_intx(&p.net.virtio.pci, false);
        assert_false(irqchip_pending(&p, 0));
        assert_true(p.next_event == NEVER);
        platform_frames_wait(&p);
        platform_timers(&p);
        assert_true(p.next_event == NEVER); /* there is no driver */
    }
}

static void ways_out(void **state)
{
    (void)state;
    out(0x64, 0xfe);
    out(0xcf9, 0x06);
    assert_int_equal(resets, 2);
    out(0xf4, 0x31);
    assert_int_equal(exit_code, 0x31);
    io_out(&p.bus, 0x604, 2, 0x2000);
    assert_int_equal(power_offs, 1);
}

/* As on a PC: an index and its datum, or both bytes of a count, at once. */
static void words(void **state)
{
    (void)state;
    init_pics();
    io_out(&p.bus, 0x70, 2, 0x5a0f); /* CMOS byte 0x0f */
    out(0x70, 0x0f);
    assert_int_equal(in(0x71), 0x5a);
    io_out(&p.bus, 0x20, 2, 0xa50a); /* OCW3, and the mask */
    assert_int_equal(in(0x21), 0xa5);
    assert_int_equal(io_in(&p.bus, 0x20, 2), 0xa500);
    assert_int_equal(io_in(&p.bus, 0x3fd, 4) & 0xff0000ff, 0xff000060); /* 0x400 is unclaimed */
    io_out(&p.bus, 0xcf8, 4, 0x80000600);                               /* PCI's, see reset.c */
    assert_int_equal(resets, 0);
    io_out(&p.bus, 0xcf8, 2, 0x0600);
    assert_int_equal(resets, 1);
    io_out(&p.bus, 0xf4, 4, 0x12345678);
    assert_int_equal(exit_code, 0x12345678);
}

/* Ports are released, the watchdog's too, and can all be claimed again. */
static void put_together_again(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal(platform_watch(&p, 1000), 0);
        assert_int_equal(in(WATCHDOG_PORT), 0);
        assert_int_not_equal(platform_watch(&p, 1000), 0);
        platform_disconnect(&p);
        for (unsigned port = 0; port < IO_DIRECT; port++)
            assert_int_equal(p.bus.index[port], 0);
        assert_null(p.bus.mmio[0].ops);
        for (unsigned slot = 0; slot < platform_slots(); slot++)
            assert_int_equal(platform_connect(&p, DEV_DEFAULT | DEV_NET, slot), 0);
    }
}

/* A shift in time: deadlines move with it. */
static void time_stands_still(void **state)
{
    uint64_t due;

    (void)state;
    init_pics();
    out(0x43, 0x30);
    out(0x40, 0xff);
    out(0x40, 0xff);
    due = p.next_event;
    platform_shift(&p, 12345);
    assert_int_equal(p.next_event, due + 12345);
}

static void nobody_takes_messages(void **state)
{
    (void)state;
    start(DEV_DEFAULT & ~(uint32_t)DEV_APIC);
    init_pics();
    assert_int_equal(irqchip_msi(&p, 0xfee00000, 0x4041), -E_NOTSUP);
    assert_false(irqchip_pending(&p, 0));
    irqchip_pulse(&p, 5);
    assert_true(irqchip_pending(&p, 0));
    assert_false(irqchip_pending(&p, 1)); /* the PICs know one vCPU */
    assert_true(irqchip_next_deadline(&p, 1) == NEVER);
    assert_true(irqchip_next_deadline(&p, 0) == p.next_event);
}

/* HPET Specification, "LegacyReplacement Route": the PIT and the RTC are cut off. */
static void legacy_replacement(void **state)
{
    (void)state;
    init_pics();
    assert_true(mmio_write(&p.bus, PC_HPET + 0x10, 4, 3));
    out(0x43, 0x34);
    out(0x40, 100);
    out(0x40, 0);
    out(0x70, 0x0b);
    out(0x71, 0x42);
    pass(TSC_HZ / 100);
    assert_false(irqchip_pending(&p, 0));
    assert_true(mmio_write(&p.bus, PC_HPET + 0x100, 4, 4));
    assert_true(mmio_write(&p.bus, PC_HPET + 0x108, 8, 2000000)); /* 20 ms */
    p.next_event = platform_deadline(&p);
    pass(TSC_HZ / 50);
    expect(0x20);
    assert_true(mmio_write(&p.bus, PC_HPET + 0x10, 4, 1));
    pass(TSC_HZ / 100);
    expect(0x20); /* the PIT's again */
}

static void set_legacy(bool on)
{
    assert_true(mmio_write(&p.bus, PC_HPET + 0x10, 4, on ? 3 : 1));
}

/* ... and each has its line at its own level again when the HPET gives it back; the HPET begins
 * with its own. */
static void legacy_replacement_ends(void **state)
{
    (void)state;
    init_pics();
    out(0x43, 0x30); /* mode 0: its output rises once */
    out(0x40, 100);
    out(0x40, 0);
    out(0x70, 0x05); /* an alarm, as soon as the clock updates */
    out(0x71, 0xff);
    out(0x70, 0x03);
    out(0x71, 0xff);
    out(0x70, 0x01);
    out(0x71, 0xff);
    out(0x70, 0x0b);
    out(0x71, 0x22);
    set_legacy(true);
    pass(2 * TSC_HZ);
    assert_false(irqchip_pending(&p, 0));
    set_legacy(false);
    expect(0x20);
    expect(0x28);
    assert_false(irqchip_pending(&p, 0));
    out(0x70, 0x0c); /* the alarm's level falls, and rises again */
    assert_int_equal(in(0x71) & 0xa0, 0xa0);
    pass(2 * TSC_HZ);
    assert_true(irqchip_pending(&p, 0));
    set_legacy(true);
    assert_false(irqchip_pending(&p, 0));
}

/* Nobody waits for the ticks of a timer that is cut off: none is made up for. */
static void legacy_replacement_owes_nothing(void **state)
{
    unsigned ticks = 0;

    (void)state;
    p.pit.ticks.merge = p.rtc.ticks.merge = false;
    init_pics();
    set_legacy(true);
    out(0x43, 0x34);
    out(0x40, 0xa9); /* 1 kHz */
    out(0x40, 0x04);
    out(0x70, 0x0b);
    out(0x71, 0x42); /* 1024 Hz */
    for (unsigned i = 0; i < 1000; i++)
        pass(TSC_HZ / 1000);
    set_legacy(false);
    out(0x70, 0x0c);
    for (unsigned i = 0; i < 100; i++) { /* for 10 ms */
        pass(TSC_HZ / 10000);
        while (irqchip_pending(&p, 0)) {
            uint8_t vector = irqchip_ack(&p, 0);

            ticks++;
            out(0xa0, 0x20);
            out(0x20, 0x20);
            assert_true(vector == 0x20 || vector == 0x28);
        }
        (void)in(0x71);
    }
    assert_in_range(ticks, 18, 22);
}

/* A timer without a PIC causes no interrupt. */
static void no_pic(void **state)
{
    (void)state;
    start(DEV_PIT | DEV_RTC | DEV_UART);
    out(0x43, 0x34);
    out(0x40, 100);
    out(0x40, 0);
    out(0x70, 0x0b);
    out(0x71, 0x72);
    out(0x3fc, 0x08);
    out(0x3f9, 0x0f);
    pass(TSC_HZ);
    assert_false(irqchip_pending(&p, 0));
}

static void shared_out(unsigned vcpu, uint64_t now, uint16_t port, uint32_t value)
{
    platform_enter(&p, now);
    io_out(&p.bus, port, 1, value);
    platform_timers(&p);
    platform_leave(&p, vcpu);
}

/* With several vCPUs the core of vCPU 0 looks after deadlines, and gets the interrupts of the
 * 8259s: it is kicked if another vCPU's access makes it look earlier. */
static void several_vcpus(void **state)
{
    static struct platform before;
    struct irqchip_wake w;

    (void)state;
    p.vcpus = 2;
    init_pics();
    shared_out(1, START, 0x43, 0x34); /* a timer, begun by vCPU 1 */
    shared_out(1, START, 0x40, 0);
    assert_int_equal(kicks, 0);
    shared_out(1, START, 0x40, 0x10);
    assert_int_equal(kicks, 1);
    shared_out(1, START + 10, 0x40, 0xff); /* later: that core comes in vain */
    shared_out(1, START + 10, 0x40, 0xff);
    assert_int_equal(kicks, 1);
    shared_out(0, START + 20, 0x40, 0); /* vCPU 0 looks anyway */
    shared_out(0, START + 20, 0x40, 0x08);
    assert_int_equal(kicks, 1);
    /* A PC that is ahead of time is not for others' eyes. */
    before = p;
    assert_int_equal(irqchip_prepare_wake(&p, 0, NEVER, &w), -1);
    assert_memory_equal(&p, &before, sizeof(p));
    /* An interrupt that vCPU 1 raises, once. */
    shared_out(1, START + 30, 0x3fc, 0x08);
    shared_out(1, START + 30, 0x3f9, 0x02);
    assert_true(irqchip_pending(&p, 0));
    assert_false(irqchip_pending(&p, 1));
    assert_int_equal(kicks, 2);
    assert_int_equal(irqchip_next_deadline(&p, 1), NEVER);
    assert_int_equal(irqchip_ack(&p, 0), 0x24);
    /* Time does not go back, whichever core was first. */
    platform_enter(&p, START + 100);
    platform_leave(&p, 0);
    platform_enter(&p, START + 90);
    assert_int_equal(p.clock.now, START + 100);
    platform_leave(&p, 1);
    assert_int_equal(p.lock.next, p.lock.served);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(power_on, setup),
        cmocka_unit_test_setup(device_mask, setup),
        cmocka_unit_test_setup(deadlines, setup),
        cmocka_unit_test_setup(timer_interrupts, setup),
        cmocka_unit_test_setup(ticks_are_made_up, setup),
        cmocka_unit_test_setup(ticks_of_the_clock, setup),
        cmocka_unit_test_setup(a_wake_made_ready, setup),
        cmocka_unit_test_setup(clock_and_timer, setup),
        cmocka_unit_test_setup(reads_do_not_lose_interrupts, setup),
        cmocka_unit_test_setup(console_both_ways, setup),
        cmocka_unit_test_setup(console_by_virtio, setup),
        cmocka_unit_test_setup(pulses, setup),
        cmocka_unit_test_setup(network_line, setup),
        cmocka_unit_test_setup(ways_out, setup),
        cmocka_unit_test_setup(no_pic, setup),
        cmocka_unit_test_setup(legacy_replacement, setup),
        cmocka_unit_test_setup(legacy_replacement_ends, setup),
        cmocka_unit_test_setup(legacy_replacement_owes_nothing, setup),
        cmocka_unit_test_setup(words, setup),
        cmocka_unit_test_setup(put_together_again, setup),
        cmocka_unit_test_setup(time_stands_still, setup),
        cmocka_unit_test_setup(nobody_takes_messages, setup),
        cmocka_unit_test_setup(several_vcpus, setup),
        cmocka_unit_test_setup(rests, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

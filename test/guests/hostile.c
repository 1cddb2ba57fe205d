/*
 * A neighbour that wants the core for longer than its slice. The command line says by what means:
 *   loop      never gives the core away
 *   insl      reads strings from a port, at an odd address
 *   outsl     the same the other way
 *   uart      strings of typed bytes out of its UART, to which a line ends each other byte
 *   chains    virtio chains as long as the queue, of descriptors that say nothing, in all queues;
 * the commands among them are as long as they may be frames    broadcasts of full length, as many
 * as go timers    interrupts from both clocks at their highest rates die       ends by a triple
 * fault as soon as it is there
 */
#include "test/guests/lib/guest.h"
#include "test/guests/lib/vnet.h"

#define VECTOR_NMI   2u
#define ENTRIES      256u
#define STRING_BYTES 0x10000u
#define UNCLAIMED    0x80u
#define RTC_INDEX    0x70u
#define RTC_DATA     0x71u
#define RTC_A_FAST   0x23u /* 8192 Hz */
#define RTC_B_RATE   0x42u
#define IRQ_RTC      8u
#define SHORTEST     2u /* PIT ticks */

static uint8_t text[STRING_BYTES + 4096] __attribute__((aligned(4096)));

static struct long_queue {
    VIRTQUEUE(ENTRIES);
} chains[VIRTIO_NET_QUEUES];

/* Continues after a pause, a stop or an NMI. */
static void on_nmi(struct guest_frame *f)
{
    (void)f;
}

static void on_tick(void)
{
}

static void on_rtc(void)
{
    outb(RTC_INDEX, 0x0c);
    (void)inb(RTC_DATA);
}

static _Noreturn void loop(void)
{
    for (;;)
        __asm__ volatile("" ::: "memory");
}

/* At an odd address: one element in a thousand crosses a page boundary. */
static _Noreturn void insl(void)
{
    for (;;) {
        void *to = text + 1;
        size_t n = STRING_BYTES / 4;

        __asm__ volatile("rep insl" : "+D"(to), "+c"(n) : "d"(UNCLAIMED) : "memory");
    }
}

static _Noreturn void outsl(void)
{
    for (;;) {
        const void *from = text + 1;
        size_t n = STRING_BYTES / 4;

        __asm__ volatile("rep outsl" : "+S"(from), "+c"(n) : "d"(UNCLAIMED) : "memory");
    }
}

static _Noreturn void uart(void)
{
    for (size_t i = 0; i < STRING_BYTES; i++)
        text[i] = i % 2 ? '\n' : 'x';
    for (;;) {
        const void *from = text;
        size_t n = STRING_BYTES;

        __asm__ volatile("rep outsb" : "+S"(from), "+c"(n) : "d"(UART) : "memory");
    }
}

static void start_long_queue(uint16_t number)
{
    struct long_queue *q = &chains[number];
    uint16_t written = number == VIRTIO_NET_RX ? DESC_WRITE : 0;

    for (unsigned i = 0; i < ENTRIES; i++)
        q->desc[i] = (struct desc){(uintptr_t)text, 0,
                                   (uint16_t)(written | (i + 1 < ENTRIES ? DESC_NEXT : 0)),
                                   (uint16_t)(i + 1)};
    set_queue(number, ENTRIES, (uintptr_t)q->desc, (uintptr_t)&q->avail, (uintptr_t)&q->used);
}

/* A table of as many addresses as fit, and all of it before the last descriptors. */
static void make_long_command(void)
{
    static uint8_t command[VIRTIO_NET_COMMAND + 1] = {1};
    struct desc *d = chains[VIRTIO_NET_CONTROL].desc;

    command[6] = VIRTIO_NET_ADDRESSES;
    d[ENTRIES - 2] = (struct desc){(uintptr_t)command, VIRTIO_NET_COMMAND, DESC_NEXT, ENTRIES - 1};
    d[ENTRIES - 1] = (struct desc){(uintptr_t)(command + VIRTIO_NET_COMMAND), 1, DESC_WRITE, 0};
}

static _Noreturn void long_chains(void)
{
    vnet_features |= VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX;
    reset_device();
    for (unsigned i = 0; i < ARRAY_LEN(chains); i++)
        start_long_queue((uint16_t)i);
    make_long_command();
    outb(REG(VIRTIO_STATUS), STATUS_READY | VIRTIO_DRIVER_OK);
    for (;;) {
        for (unsigned i = 0; i < ARRAY_LEN(chains); i++) {
            struct long_queue *q = &chains[i];
            uint16_t used = __atomic_load_n(&q->used.index, __ATOMIC_ACQUIRE);

            __atomic_store_n(&q->avail.index, (uint16_t)(used + ENTRIES), __ATOMIC_RELEASE);
            outw(REG(VIRTIO_NOTIFY), (uint16_t)i);
        }
    }
}

static _Noreturn void frames(void)
{
    static uint8_t frame[BUFFER];

    irq_handle(VIRTIO_NET_IRQ, on_net);
    start_device(true);
    for (uint16_t i = 0; i < QUEUE; i++) {
        uint8_t *f = tx.buffers[i] + VIRTIO_NET_HEADER;

        memset(tx.buffers[i], 0, BUFFER);
        memset(f, 0xff, 6);
        memcpy(f + 6, mac, 6);
        f[12] = 0x88;
        f[13] = 0xb5;
        tx.desc[i].length = VIRTIO_NET_HEADER + 1514;
    }
    for (;;) {
        uint16_t used = used_index(&tx);

        for (uint16_t i = 0; i < QUEUE; i++)
            tx.avail.ring[i] = i;
        __atomic_store_n(&tx.avail.index, (uint16_t)(used + QUEUE), __ATOMIC_RELEASE);
        outw(REG(VIRTIO_NOTIFY), 1);
        while (receive_frame(frame))
            ;
    }
}

static _Noreturn void timers(void)
{
    irq_handle(IRQ_PIT, on_tick);
    irq_handle(IRQ_RTC, on_rtc);
    outb(RTC_INDEX, 0x0a);
    outb(RTC_DATA, RTC_A_FAST);
    outb(RTC_INDEX, 0x0b);
    outb(RTC_DATA, RTC_B_RATE);
    pit_periodic(SHORTEST);
    for (;;)
        sleep_until_irq();
}

static _Noreturn void die(void)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) nothing = {0, 0};

    __asm__ volatile("lidt %0; ud2" ::"m"(nothing));
    loop();
}

void guest_main(const char *cmdline)
{
    static const struct {
        const char *name;
        void (*act)(void);
    } acts[] = {{"loop", loop},          {"insl", insl},     {"outsl", outsl},   {"uart", uart},
                {"chains", long_chains}, {"frames", frames}, {"timers", timers}, {"die", die}};

    exception_handle(VECTOR_NMI, on_nmi);
    for (unsigned i = 0; i < ARRAY_LEN(acts); i++)
        if (strcmp(cmdline, acts[i].name) == 0)
            acts[i].act();
    say("hostile: \"%s\" is nothing that it does\n", cmdline);
    guest_exit(1);
}

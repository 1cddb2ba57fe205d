/*
 * Frames from guest to guest, over a small virtio-net driver. The command line gives its role:
 * "listen" answers and reports, "talk" checks the answers, "spoof" sends from addresses that are
 * not its own, "break" gives the device broken rings and then commands, "flood" broadcasts without
 * end once a byte is typed, "sink" takes batches of frames, and "stream" sends them and measures.
 * These two take their interrupts as drivers of such cards do: as messages.
 */
#include "test/guests/lib/guest.h"
#include "test/guests/lib/msix.h"
#include "test/guests/lib/vnet.h"

#define DESC_INDIRECT 4u
#define NOWHERE       0xd0000000ull

/* A frame: Ethernet header with the type for local experiments, a tag, its number, and bytes that
 * derive from the number. */
#define TYPE_HIGH     0x88u
#define TYPE_LOW      0xb5u
#define TAG           14u
#define NUMBER        15u
#define FILLING       16u
#define TAG_HELLO     'H'
#define TAG_TALK      'T'
#define TAG_REPLY     'R'
#define TAG_SPOOF     'S'
#define TAG_END       'E'
#define TAG_FLOOD     'F'
#define TAG_BATCH     'B'
#define TAG_GROUP     'G' /* a wish: a frame to the group that it names, then an answer */
#define TAG_GROUPED   'g'
#define TICK_COUNT    11932u /* PIT ticks: 100 Hz */
#define PATIENCE      5u     /* ticks until a frame is sent again */
#define STREAM_FRAME  1514u
#define STREAM_RUNS   50u
#define VECTOR        0x50u
#define APIC_LINT0    0x350u
#define EXTINT        0x700u

static const uint8_t everybody[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
static uint8_t peer[6];
static volatile uint32_t ticks;

static void on_tick(void)
{
    ticks++;
}

static void on_uart(void)
{
}

/* ---- frames ---- */

static uint8_t *make_frame(const uint8_t *to, const uint8_t *from, uint8_t tag, uint8_t number,
                           size_t len)
{
    uint8_t *buffer = tx.buffers[0], *f = buffer + VIRTIO_NET_HEADER;

    memset(buffer, 0, VIRTIO_NET_HEADER);
    for (size_t i = FILLING; i < len; i++)
        f[i] = (uint8_t)(number + i * 7);
    memcpy(f, to, 6);
    memcpy(f + 6, from, 6);
    f[12] = TYPE_HIGH;
    f[13] = TYPE_LOW;
    f[TAG] = tag;
    f[NUMBER] = number;
    return buffer;
}

/* Sends the first buffer in up to three pieces, the first two `a` and `b` bytes long, and waits
 * until the device returns them. */
static void send_pieces(size_t len, size_t a, size_t b)
{
    uintptr_t at = (uintptr_t)tx.buffers[0];
    size_t total = VIRTIO_NET_HEADER + len;
    uint16_t used = used_index(&tx);

    if (a == 0) {
        tx.desc[0] = (struct desc){at, (uint32_t)total, 0, 0};
    } else {
        tx.desc[0] = (struct desc){at, (uint32_t)a, DESC_NEXT, 7};
        tx.desc[7] = (struct desc){at + a, (uint32_t)b, DESC_NEXT, 3};
        tx.desc[3] = (struct desc){at + a + b, (uint32_t)(total - a - b), 0, 0};
    }
    publish(&tx, 0);
    outw(REG(VIRTIO_NOTIFY), 1);
    while (used_index(&tx) == used)
        ;
}

static void send(const uint8_t *to, const uint8_t *from, uint8_t tag, uint8_t number, size_t len)
{
    (void)make_frame(to, from, tag, number, len);
    send_pieces(len, 0, 0);
}

static bool ours(const uint8_t *f, size_t len)
{
    return len >= FILLING && f[12] == TYPE_HIGH && f[13] == TYPE_LOW;
}

static bool intact(const uint8_t *f, size_t len)
{
    for (size_t i = FILLING; i < len; i++)
        if (f[i] != (uint8_t)(f[NUMBER] + i * 7))
            return false;
    return true;
}

/* Copies the next of our frames to `frame`; returns its length, or 0. */
static size_t receive(uint8_t *frame)
{
    size_t len;

    do
        len = receive_frame(frame);
    while (len && !ours(frame, len));
    return len;
}

/* Waits for a frame with this tag and number until `patience` ticks have passed. */
static size_t await(uint8_t *frame, uint8_t tag, uint8_t number)
{
    uint32_t begun = ticks;

    while (ticks - begun < PATIENCE) {
        size_t len = receive(frame);

        if (len && frame[TAG] == tag && frame[NUMBER] == number)
            return len;
        if (!len)
            sleep_until_irq();
    }
    return 0;
}

/* ---- parts ---- */

static void report(const uint8_t *f, size_t len)
{
    say("net: %c %u from %02x:%02x:%02x:%02x:%02x:%02x, %zu bytes%s\n", f[TAG], f[NUMBER], f[6],
        f[7], f[8], f[9], f[10], f[11], len, intact(f, len) ? "" : ", BROKEN");
}

static void listen(void)
{
    static uint8_t f[BUFFER];

    for (;;) {
        size_t len = receive(f);

        if (!len) {
            sleep_until_irq();
            continue;
        }
        if (f[TAG] == TAG_FLOOD || f[TAG] == TAG_REPLY)
            continue;
        if (f[TAG] == TAG_GROUP) {
            send(f + FILLING, mac, TAG_GROUPED, f[NUMBER], 60);
            send(f + 6, mac, TAG_REPLY, f[NUMBER], 60);
            continue;
        }
        report(f, len);
        if (f[TAG] == TAG_HELLO || f[TAG] == TAG_TALK)
            send(f + 6, mac, TAG_REPLY, f[NUMBER], len);
    }
}

/* Sends a frame until it is answered; returns the answer's length. */
static size_t ask(const uint8_t *to, uint8_t tag, uint8_t number, size_t len, uint8_t *answer)
{
    static const size_t cuts[3][2] = {{0, 0}, {12, 14}, {5, 1}};
    size_t n = 0;

    while (n == 0) {
        (void)make_frame(to, mac, tag, number, len);
        send_pieces(len, cuts[number % 3][0], cuts[number % 3][1]);
        n = await(answer, TAG_REPLY, number);
    }
    return n;
}

static void find_listener(void)
{
    static uint8_t f[BUFFER];

    (void)ask(everybody, TAG_HELLO, 0, 60, f);
    memcpy(peer, f + 6, sizeof(peer));
}

static void talk_round(void)
{
    static const size_t sizes[] = {16, 17, 60, 64, 511, 512, 1000, 1513, 1514, 1518};
    static uint8_t f[BUFFER];
    unsigned good = 0;

    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        size_t len = ask(peer, TAG_TALK, (uint8_t)(i + 1), sizes[i], f);

        if (len == sizes[i] && intact(f, len) && memcmp(f, mac, 6) == 0 &&
            memcmp(f + 6, peer, 6) == 0)
            good++;
    }
    say("net: talk done, %u of %zu good\n", good, ARRAY_LEN(sizes));
}

static void wait_for_byte(void)
{
    irq_handle(IRQ_UART, on_uart);
    outb(UART + 1, 1);
    while (!(inb(UART + UART_LSR) & UART_DATA_READY))
        sleep_until_irq();
    (void)inb(UART);
}

static void talk(void)
{
    find_listener();
    for (;;) {
        talk_round();
        wait_for_byte();
    }
}

/* Sends from every guest's address, a group's and an unused one, to the listener and to all. Then
 * from its own. */
static void spoof(void)
{
    static uint8_t f[BUFFER];
    uint8_t from[6];

    find_listener();
    for (uint8_t i = 0; i < 18; i++) {
        memcpy(from, mac, sizeof(from));
        from[5] = i;
        if (i == 16)
            memcpy(from, everybody, sizeof(from));
        else if (i == 17)
            memset(from, 0, sizeof(from));
        if (memcmp(from, mac, sizeof(mac)) == 0)
            continue;
        send(peer, from, TAG_SPOOF, i, 60);
        send(everybody, from, TAG_SPOOF, i, 60);
    }
    send(peer, mac, TAG_END, 0, 60);
    say("net: spoof done\n");
    for (;;) {
        size_t len = receive(f);

        if (len && !(f[0] & 1) && memcmp(f, mac, sizeof(mac)) != 0)
            say("net: STOLEN\n");
        if (!len)
            sleep_until_irq();
    }
}

static void flood(void)
{
    wait_for_byte();
    say("net: flood\n");
    for (;;)
        send(everybody, mac, TAG_FLOOD, 0, 1514);
}

void apic_interrupt(uint64_t vector)
{
    (void)vector;
    apic_write(APIC_EOI, 0);
}

/* The PIT's still come through the 8259s. */
static void take_messages(void)
{
    msix_start(VIRTIO_NET_SLOT, VECTOR);
    apic_write(APIC_LINT0, EXTINT);
    pc_unmask(IRQ_PIT);
    vnet_messages = true;
    start_device(true);
}

/* Answers the last frame of each batch. */
static void sink(void)
{
    size_t len = 0;

    take_messages();
    for (;;) {
        const uint8_t *f = next_frame(&len);

        if (!f) {
            sleep_until_irq();
            continue;
        }
        if (ours(f, len) &&
            (f[TAG] == TAG_HELLO || (f[TAG] == TAG_BATCH && f[NUMBER] == QUEUE - 1)))
            send(f + 6, mac, TAG_REPLY, f[NUMBER], 60);
        give_back(f);
    }
}

/* A batch of full frames, offered at once, and the answer to it: ticks. */
static uint64_t stream_batch(void)
{
    static uint8_t f[BUFFER];
    uint16_t used = used_index(&tx);
    uint64_t before = tsc();

    for (uint16_t i = 0; i < QUEUE; i++)
        publish(&tx, i);
    outw(REG(VIRTIO_NOTIFY), 1);
    while (!await(f, TAG_REPLY, QUEUE - 1))
        ;
    while (used_index(&tx) != (uint16_t)(used + QUEUE))
        ;
    return tsc() - before;
}

static void stream(void)
{
    uint64_t least = UINT64_MAX;

    take_messages();
    find_listener();
    for (uint16_t i = 0; i < QUEUE; i++) {
        (void)make_frame(peer, mac, TAG_BATCH, (uint8_t)i, STREAM_FRAME);
        memcpy(tx.buffers[i], tx.buffers[0], VIRTIO_NET_HEADER + STREAM_FRAME);
        tx.desc[i] =
            (struct desc){(uintptr_t)tx.buffers[i], VIRTIO_NET_HEADER + STREAM_FRAME, 0, 0};
    }
    tx.buffers[0][VIRTIO_NET_HEADER + NUMBER] = 0;
    for (unsigned i = 0; i < STREAM_RUNS; i++) {
        uint64_t took = stream_batch();

        least = took < least ? took : least;
    }
    say("bench: net-batch %lu\n", least);
    guest_exit(0);
}

/* ---- broken rings ---- */

static bool device_broken(void)
{
    return inb(REG(VIRTIO_STATUS)) & VIRTIO_NEEDS_RESET;
}

/* Chains: descriptors from 0 on, the head, by how much the index moves. */
static const struct broken_chain {
    const char *name;
    bool breaks; /* the device stops; otherwise the chain is dropped */
    uint16_t head, publish;
    struct desc desc[3];
} broken_chains[] = {
    {"next is itself", true, 0, 1, {{0, 64, DESC_NEXT, 0}}},
    {"next is the one before", true, 0, 1, {{0, 64, DESC_NEXT, 1}, {0, 64, DESC_NEXT, 0}}},
    {"empty pieces in a loop", true, 0, 1, {{0, 0, DESC_NEXT, 1}, {0, 0, DESC_NEXT, 0}}},
    {"next is no descriptor", true, 0, 1, {{0, 64, DESC_NEXT, QUEUE}}},
    {"next is far away", true, 0, 1, {{0, 64, DESC_NEXT, 0xffff}}},
    {"head is no descriptor", true, QUEUE, 1, {{0, 64, 0, 0}}},
    {"head is far away", true, 0xffff, 1, {{0, 64, 0, 0}}},
    {"more than there are", true, 0, QUEUE + 1, {{0, 64, 0, 0}}},
    {"half the numbers there are", true, 0, 0x8000, {{0, 64, 0, 0}}},
    {"indirect", true, 0, 1, {{0, 64, DESC_INDIRECT, 0}}},
    {"outside", true, 0, 1, {{NOWHERE, 64, 0, 0}}},
    {"address wraps", true, 0, 1, {{~0ull - 31, 64, 0, 0}}},
    {"longer than memory", true, 0, 1, {{0, 0xffffffff, 0, 0}}},
    {"second outside", true, 0, 1, {{0, 64, DESC_NEXT, 1}, {1ull << 40, 64, 0, 0}}},
    {"writable", false, 0, 1, {{0, 72, DESC_WRITE, 0}}},
    {"second writable", false, 0, 1, {{0, 12, DESC_NEXT, 1}, {12, 60, DESC_WRITE, 0}}},
    {"a byte too long", false, 0, 1, {{0, 12 + 1519, 0, 0}}},
    {"much too long", false, 0, 1, {{0, 2048, DESC_NEXT, 1}, {0, 0x10000, 0, 0}}},
    {"nothing", false, 0, 1, {{0, 0, 0, 0}}},
    {"half a header", false, 0, 1, {{0, 5, 0, 0}}},
    {"only a header", false, 0, 1, {{0, 12, 0, 0}}},
    {"a byte too short", false, 0, 1, {{0, 12 + 13, 0, 0}}},
    {"header and nothing", false, 0, 1, {{0, 12, DESC_NEXT, 1}, {0, 0, 0, 0}}},
};

/* Addresses below NOWHERE are offsets into the first buffer. */
static struct desc placed(struct desc d, const struct queue *q)
{
    if (d.address < NOWHERE)
        d.address += (uintptr_t)q->buffers[0];
    return d;
}

static unsigned failed(const char *name, bool ok)
{
    say("net: %s: %s\n", name, ok ? "ok" : "WRONG");
    return !ok;
}

static unsigned try_chain(const struct broken_chain *b)
{
    uint16_t expected = b->breaks ? 0 : 1;

    start_device(true);
    (void)make_frame(peer, mac, TAG_SPOOF, 0, 60);
    for (unsigned i = 0; i < ARRAY_LEN(b->desc); i++)
        tx.desc[i] = placed(b->desc[i], &tx);
    tx.avail.ring[0] = b->head;
    __atomic_store_n(&tx.avail.index, b->publish, __ATOMIC_RELEASE);
    outw(REG(VIRTIO_NOTIFY), 1);
    return failed(b->name, device_broken() == b->breaks && used_index(&tx) == expected);
}

/* Receive buffers; the test requests a frame for them. */
static const struct broken_chain broken_buffers[] = {
    {"receive: loop", true, 0, 1, {{0, 4, DESC_WRITE | DESC_NEXT, 0}}},
    {"receive: outside", true, 0, 1, {{NOWHERE, 2048, DESC_WRITE, 0}}},
    {"receive: head is no descriptor", true, QUEUE, 1, {{0, 2048, DESC_WRITE, 0}}},
    {"receive: read-only", false, 0, 1, {{0, 2048, 0, 0}}},
    {"receive: too small", false, 0, 1, {{0, 8, DESC_WRITE, 0}}},
    {"receive: header only", false, 0, 1, {{0, 12, DESC_WRITE, 0}}},
};

static unsigned try_buffer(const struct broken_chain *b)
{
    start_device(false);
    rx.desc[0] = placed(b->desc[0], &rx);
    rx.avail.ring[0] = b->head;
    __atomic_store_n(&rx.avail.index, b->publish, __ATOMIC_RELEASE);
    send(peer, mac, TAG_HELLO, 1, 60);
    while (!device_broken() && used_index(&rx) == 0)
        ;
    return failed(b->name,
                  device_broken() == b->breaks && (b->breaks || rx.used.ring[0].length == 0));
}

static unsigned try_place(const char *name, uint16_t size, uint64_t desc, uint64_t avail,
                          uint64_t used)
{
    reset_device();
    set_queue(1, size, desc, avail, used);
    outb(REG(VIRTIO_STATUS), STATUS_READY | VIRTIO_DRIVER_OK);
    outw(REG(VIRTIO_NOTIFY), 1);
    return failed(name, device_broken());
}

static unsigned try_places(void)
{
    uint64_t d = (uintptr_t)tx.desc, a = (uintptr_t)&tx.avail, u = (uintptr_t)&tx.used;

    return try_place("queue of 0", 0, d, a, u) + try_place("queue of 3", 3, d, a, u) +
           try_place("queue of 512", 512, d, a, u) + try_place("queue of 65535", 0xffff, d, a, u) +
           try_place("descriptors not aligned", QUEUE, d + 8, a, u) +
           try_place("available ring not aligned", QUEUE, d, a + 1, u) +
           try_place("used ring not aligned", QUEUE, d, a, u + 2) +
           try_place("descriptors outside", QUEUE, NOWHERE, a, u) +
           try_place("available ring outside", QUEUE, d, NOWHERE, u) +
           try_place("used ring outside", QUEUE, d, a, NOWHERE) +
           try_place("used ring wraps", QUEUE, d, a, ~0ull - 3);
}

/* ---- commands ---- */

enum { CLASS_RX, CLASS_MAC, CLASS_OFFLOADS = 5 };
enum { ANSWER_OK, ANSWER_ERR };

/* Returns the answer. */
static uint8_t command(uint8_t class, uint8_t number, const void *data, size_t len)
{
    uint8_t *c = commands.buffers[0], *answer = commands.buffers[1];
    uint16_t used = used_index(&commands);

    c[0] = class;
    c[1] = number;
    memcpy(c + 2, data, len);
    *answer = 0xff;
    commands.desc[0] = (struct desc){(uintptr_t)c, 2, DESC_NEXT, 1};
    commands.desc[1] = (struct desc){(uintptr_t)(c + 2), (uint32_t)len, DESC_NEXT, 2};
    commands.desc[2] = (struct desc){(uintptr_t)answer, 1, DESC_WRITE, 0};
    publish(&commands, 0);
    outw(REG(VIRTIO_NOTIFY), VIRTIO_NET_CONTROL);
    while (used_index(&commands) == used)
        ;
    return *(volatile uint8_t *)answer;
}

/* Has a frame sent to the group. Frames of one sender keep their order: when the answer is there,
 * the frame would be. */
static bool hears(const uint8_t *group)
{
    static uint8_t f[BUFFER], number;
    bool heard = false;

    number++;
    for (;;) {
        uint8_t *wish = make_frame(peer, mac, TAG_GROUP, number, 60) + VIRTIO_NET_HEADER;
        uint32_t begun = ticks;

        memcpy(wish + FILLING, group, 6);
        send_pieces(60, 0, 0);
        while (ticks - begun < PATIENCE) {
            if (!receive(f)) {
                sleep_until_irq();
                continue;
            }
            heard |= f[NUMBER] == number && f[TAG] == TAG_GROUPED;
            if (f[NUMBER] == number && f[TAG] == TAG_REPLY)
                return heard;
        }
    }
}

static unsigned try_commands(void)
{
    static const uint8_t one[] = {1, 0, 0x5e, 0, 0, 1}, two[] = {0x33, 0x33, 0xff, 1, 2, 3};
    static const uint8_t on = 1, off = 0, table[] = {0, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0x5e, 0, 0, 1};
    static const uint64_t csum = VIRTIO_NET_F_GUEST_CSUM, tso = VIRTIO_NET_F_GUEST_TSO4;
    unsigned wrong = 0;

    vnet_features |= VIRTIO_NET_F_CTRL_VQ | VIRTIO_NET_F_CTRL_RX | VIRTIO_NET_F_GUEST_CSUM |
                     VIRTIO_NET_F_CTRL_GUEST_OFFLOADS;
    start_device(true);
    wrong += failed("all groups at first", hears(one) && hears(two) && hears(everybody));
    wrong += failed("not promiscuous", command(CLASS_RX, 0, &off, 1) == ANSWER_OK);
    wrong += failed("no group", !hears(one) && hears(everybody));
    wrong += failed("a table", command(CLASS_MAC, 0, table, sizeof(table)) == ANSWER_OK);
    wrong += failed("its group", hears(one) && !hears(two));
    wrong += failed("all groups", command(CLASS_RX, 1, &on, 1) == ANSWER_OK && hears(two));
    wrong += failed("an offload", command(CLASS_OFFLOADS, 0, &csum, sizeof(csum)) == ANSWER_OK);
    wrong += failed("not its own", command(CLASS_OFFLOADS, 0, &tso, sizeof(tso)) == ANSWER_ERR);
    wrong += failed("another address", command(CLASS_MAC, 1, mac, sizeof(mac)) == ANSWER_ERR);
    wrong += failed("no such class", command(9, 0, &on, 1) == ANSWER_ERR);
    wrong += failed("a table's half", command(CLASS_MAC, 0, table, 13) == ANSWER_ERR);
    return wrong;
}

static void break_device(void)
{
    unsigned wrong = 0;

    find_listener();
    for (size_t i = 0; i < ARRAY_LEN(broken_chains); i++)
        wrong += try_chain(&broken_chains[i]);
    for (size_t i = 0; i < ARRAY_LEN(broken_buffers); i++)
        wrong += try_buffer(&broken_buffers[i]);
    wrong += try_places() + try_commands();
    start_device(true);
    find_listener();
    send(peer, mac, TAG_END, 1, 60);
    say("net: break done, %u wrong\n", wrong);
    guest_exit(wrong);
}

void guest_main(const char *cmdline)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } parts[] = {{"listen", listen}, {"talk", talk}, {"spoof", spoof},  {"break", break_device},
                 {"flood", flood},   {"sink", sink}, {"stream", stream}};

    irq_handle(VIRTIO_NET_IRQ, on_net);
    irq_handle(IRQ_PIT, on_tick);
    pit_periodic(TICK_COUNT);
    start_device(true);
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (strcmp(cmdline, parts[i].name) == 0)
            parts[i].run();
    say("net: what? \"%s\"\n", cmdline);
    guest_exit(2);
}

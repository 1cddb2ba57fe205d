/* SOURCES: net/vmxnet3.c hv/lib.c */
/* vmxnet3, over a card made of C. */
#include "net/vmxnet3.h"
#include "test/unit/nic_model.h"

#define LINK_UP (1000u << 16 | 1)
#define CQ_EOP  0x3000u
#define INTS    2u

static struct {
    bool dead, refuses, active, sends;
    uint32_t link, mac_low;
    unsigned resets, rxprods, txprods;
    bool masked[INTS], pending[INTS];
    unsigned raised[INTS];
    /* Entries that it has used, in each ring. */
    unsigned rx, rx_done, tx, tx_done, sent;
    uint8_t last[NIC_BUFFER];
    size_t last_len;
} card;

static struct vmxnet3_memory *memory(void)
{
    return (struct vmxnet3_memory *)(void *)model_memory;
}

static const struct vmxnet3_shared *shared(void)
{
    return (const struct vmxnet3_shared *)(uintptr_t)(model_get(1, VMXNET3_DSAL) |
                                                      (uint64_t)model_get(1, VMXNET3_DSAH) << 32);
}

static void raise_interrupt(unsigned i)
{
    card.pending[i] = true;
    if (card.masked[i] || (shared()->interrupt_control & 1))
        return;
    card.pending[i] = false;
    card.raised[i]++;
    if (model_nic.irq == ARCH_IRQ_LINE)
        model_set(1, VMXNET3_ICR, 1);
    else
        card.masked[i] = shared()->auto_mask;
}

static void reset(void)
{
    card.active = false;
    memset(card.masked, true, sizeof(card.masked));
    memset(card.pending, false, sizeof(card.pending));
    card.rx = card.rx_done = card.tx = card.tx_done = 0;
    card.resets++;
}

/* As the card reads them. */
static bool good_queue(const struct vmxnet3_queue *q, unsigned size)
{
    model_dma(q->ring, size * sizeof(struct vmxnet3_desc));
    model_dma(q->done_ring, size * sizeof(struct vmxnet3_done));
    return q->ring % 512 == 0 && q->done_ring % 512 == 0 && q->size == size &&
           q->done_size == size && q->second_size == 0 &&
           q->interrupt < (model_nic.irq == ARCH_IRQ_MSIX ? INTS : 1);
}

static uint32_t activate(void)
{
    const struct vmxnet3_shared *s = shared();
    const struct vmxnet3_queue *q;

    model_dma((uintptr_t)s, sizeof(*s));
    model_dma(s->queues, 512);
    q = (const struct vmxnet3_queue *)(uintptr_t)s->queues;
    assert_int_equal(s->magic, VMXNET3_MAGIC);
    assert_true((uintptr_t)q % 128 == 0 && (uintptr_t)s % 8 == 0 && s->queues_size == 512);
    assert_true(s->tx_queues == 1 && s->rx_queues == 1 && s->mtu == 1500);
    assert_true(good_queue(&q[0], VMXNET3_TX_COUNT) && good_queue(&q[1], VMXNET3_RX_COUNT));
    card.active = !card.refuses;
    return card.refuses;
}

static uint32_t result(uint32_t command)
{
    switch (command) {
    case VMXNET3_ACTIVATE_DEV:
        return activate();
    case VMXNET3_RESET_DEV:
        assert_false(card.active); /* quiesced before */
        reset();
        return 0;
    case VMXNET3_QUIESCE_DEV:
        card.active = false;
        return 0;
    case VMXNET3_GET_LINK:
        return card.link;
    case VMXNET3_GET_PERM_MAC_LO:
        return card.mac_low;
    case VMXNET3_GET_PERM_MAC_HI:
        return 0x5634;
    default:
        fail_msg("command %#x", command);
        return 0;
    }
}

static void send_all(void)
{
    for (;; card.tx++) {
        struct vmxnet3_desc *d = &memory()->tx[card.tx % VMXNET3_TX_COUNT];
        struct vmxnet3_done *done = &memory()->tx_done[card.tx_done % VMXNET3_TX_COUNT];
        uint32_t round = ~(card.tx / VMXNET3_TX_COUNT) & 1, len = d->length & 0x3fff;

        if ((d->length >> 14 & 1) != round)
            return;
        assert_int_equal(d->length, len | round << 14);
        assert_int_equal(d->flags, CQ_EOP);
        model_dma(d->address, len);
        memcpy(card.last, (void *)(uintptr_t)d->address, len);
        card.last_len = len;
        card.sent++;
        done->what = card.tx % VMXNET3_TX_COUNT;
        done->flags = (~(card.tx_done / VMXNET3_TX_COUNT) & 1) << 31;
        card.tx_done++;
        raise_interrupt(memory()->tx_queue.interrupt);
    }
}

static void on_read(unsigned bar, uint32_t at, unsigned size)
{
    assert_true(bar == 1 && size == 4);
    if (at == VMXNET3_ICR && !card.dead)
        model_set(1, at, 0);
}

static void on_queue_write(uint32_t at, uint32_t v)
{
    switch (at) {
    case VMXNET3_IMR:
        card.masked[0] = v;
        if (!v && card.pending[0])
            raise_interrupt(0);
        break;
    case VMXNET3_RXPROD:
        assert_true(card.active && v < VMXNET3_RX_COUNT);
        card.rxprods++;
        break;
    case VMXNET3_TXPROD:
        assert_true(card.active && v < VMXNET3_TX_COUNT);
        card.txprods++;
        if (card.sends)
            send_all();
        break;
    default:
        fail_msg("register %#x", at);
    }
}

static void on_write(unsigned bar, uint32_t at, unsigned size, uint32_t v)
{
    assert_int_equal(size, 4);
    if (card.dead) /* nobody answers */
        memset(model.bars[1], 0xff, sizeof(model.bars[1]));
    else if (bar == 0)
        on_queue_write(at, v);
    else if (at == VMXNET3_CMD)
        model_set(1, at, result(v));
    else if (at == VMXNET3_ECR)
        memory()->shared.events &= ~v;
    else
        assert_in_range(at, VMXNET3_VRRS, VMXNET3_DSAH);
}

static int setup(void **state)
{
    (void)state;
    model_setup(&vmxnet3_driver);
    memset(&card, 0, sizeof(card));
    card.sends = true;
    card.link = LINK_UP;
    card.mac_low = 0x12005452;
    model_set(1, VMXNET3_VRRS, 7); /* versions 1 to 3 */
    model_set(1, VMXNET3_UVRS, 1);
    model_nic.irq = ARCH_IRQ_MSIX;
    model.on_read = on_read;
    model.on_write = on_write;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    model_teardown();
    return 0;
}

static void start(void)
{
    assert_int_equal(vmxnet3_driver.probe(&model_nic), 0);
    assert_int_equal(vmxnet3_driver.start(&model_nic, model_memory), 0);
    card.rxprods = card.txprods = 0;
}

static unsigned poll(unsigned budget)
{
    return vmxnet3_driver.receive(&model_nic, budget);
}

static uint32_t interrupt(void)
{
    return vmxnet3_driver.interrupt(&model_nic);
}

static void complete(uint32_t what, uint32_t length)
{
    struct vmxnet3_done *d = &memory()->rx_done[card.rx_done % VMXNET3_RX_COUNT];

    d->what = what;
    d->hash = 0x12345678;
    d->length = length;
    d->flags = (~(card.rx_done / VMXNET3_RX_COUNT) & 1) << 31 | 0x03ffffff;
    card.rx_done++;
    raise_interrupt(0);
}

/* Fills the next buffer, `tag` first. False: the card has none. */
static bool arrive_as(unsigned tag, uint32_t what, uint32_t length)
{
    const struct vmxnet3_desc *d = &memory()->rx[card.rx % VMXNET3_RX_COUNT];
    uint32_t round = ~(card.rx / VMXNET3_RX_COUNT) & 1;

    if (d->length >> 31 != round)
        return false;
    assert_int_equal(d->length, NIC_BUFFER | round << 31);
    assert_int_equal(d->flags, 0);
    model_dma(d->address, NIC_BUFFER);
    memset((void *)(uintptr_t)d->address, 0, NIC_BUFFER);
    memcpy((void *)(uintptr_t)d->address, &tag, sizeof(tag));
    complete(what | card.rx % VMXNET3_RX_COUNT, length);
    card.rx++;
    return true;
}

static bool arrive(unsigned tag, unsigned len)
{
    return arrive_as(tag, 0xc000, len);
}

static void test_start(void **state)
{
    const struct vmxnet3_shared *s;

    (void)state;
    start();
    s = shared();
    assert_true(card.active);
    assert_memory_equal(model_nic.mac, ((uint8_t[]){0x52, 0x54, 0x00, 0x12, 0x34, 0x56}), 6);
    assert_int_equal(model_get(1, VMXNET3_VRRS), 1);
    assert_int_equal(model_get(1, VMXNET3_UVRS), 1);
    assert_int_equal(model_get(0, VMXNET3_RXPROD), VMXNET3_RX_COUNT - 1);
    assert_true(s->version == 1 && s->upt_version == 1 && s->features == 0 && s->rx_descs == 1);
    assert_int_equal(s->vlans[0] & s->vlans[127], UINT32_MAX); /* tags are the guests' business */
    assert_int_equal(s->interrupt_control, 1); /* whose interrupts no core takes yet */
    assert_true(card.masked[0] && card.masked[1]);
    /* One more would look like none. */
    for (unsigned i = 0; i < VMXNET3_RX_COUNT - 1; i++)
        assert_true(arrive(i, 60));
    assert_false(arrive(0, 60));
}

static void test_filters(void **state)
{
    (void)state;
    model_nic.hear_count = 1;
    memcpy(model_nic.hears[0], (uint8_t[]){0x52, 0x54, 0x00, 0x12, 0x34, 0x56}, 6);
    start();
    assert_int_equal(shared()->rx_mode, 0xd); /* its own address, broadcasts, all multicasts */
    memcpy(model_nic.hears[1], (uint8_t[]){2, 0x42, 0, 0, 0, 1}, 6);
    model_nic.hear_count = 2;
    start();
    assert_int_equal(shared()->rx_mode, 0x1d);
}

static void test_start_fails(void **state)
{
    (void)state;
    for (unsigned bar = 0; bar < 2; bar++) {
        model.no_bar = 1u << bar;
        assert_int_equal(vmxnet3_driver.probe(&model_nic), -E_IO);
    }
    model.no_bar = 0;
    model_set(1, VMXNET3_VRRS, 6); /* not version 1 */
    assert_int_equal(vmxnet3_driver.probe(&model_nic), -E_IO);
    model_set(1, VMXNET3_VRRS, 1);
    card.mac_low = 1; /* a group's */
    assert_int_equal(vmxnet3_driver.probe(&model_nic), -E_IO);
    card.mac_low = 2;
    assert_int_equal(vmxnet3_driver.probe(&model_nic), 0);
    card.refuses = true;
    card.resets = 0;
    assert_int_equal(vmxnet3_driver.start(&model_nic, model_memory), -E_IO);
    assert_int_equal(card.resets, 1);
    card.dead = true;
    assert_int_equal(vmxnet3_driver.start(&model_nic, model_memory), -E_IO);
    assert_int_equal(vmxnet3_driver.probe(&model_nic), -E_IO);
}

/* One interrupt for all frames until receive() has seen that there are no more. */
static void test_interrupt_msix(void **state)
{
    static const uint8_t frame[60];

    (void)state;
    start();
    assert_true(arrive('a', 60));
    assert_int_equal(card.raised[0], 0);
    vmxnet3_driver.listen(&model_nic);
    assert_int_equal(card.raised[0], 1); /* for the one that had arrived */
    assert_int_equal(interrupt(), NIC_EVENT_FRAMES);
    assert_true(arrive('b', 60) && arrive('c', 60));
    assert_int_equal(card.raised[0], 1);
    assert_int_equal(poll(2), 2);
    assert_true(card.masked[0]);
    assert_int_equal(poll(2), 1);
    assert_int_equal(card.raised[0], 2); /* b and c: it does not know that they were seen */
    assert_int_equal(interrupt(), NIC_EVENT_FRAMES);
    assert_int_equal(poll(2), 0);
    assert_false(card.masked[0]);
    assert_int_equal(card.raised[0], 2);
    assert_int_equal(poll(2), 0); /* and no register is touched */
    model.accesses = 0;
    assert_int_equal(poll(2), 0);
    assert_int_equal(model.accesses, 0);
    /* What was sent raises another one, which nobody hears. */
    assert_true(vmxnet3_driver.send(&model_nic, frame, sizeof(frame)));
    assert_true(card.pending[1]);
    assert_int_equal(card.raised[1], 0);
}

static void test_interrupt_line(void **state)
{
    (void)state;
    model_nic.irq = ARCH_IRQ_LINE;
    start();
    assert_int_equal(shared()->interrupts, 1);
    vmxnet3_driver.listen(&model_nic);
    assert_int_equal(interrupt(), 0); /* another device's on a shared line */
    assert_false(card.masked[0]);
    assert_true(arrive('a', 60));
    assert_int_equal(model_get(1, VMXNET3_ICR), 1);
    assert_int_equal(interrupt(), NIC_EVENT_FRAMES);
    assert_int_equal(model_get(1, VMXNET3_ICR), 0);
    assert_true(card.masked[0]);
    assert_int_equal(poll(2), 1);
    assert_false(card.masked[0]);
    card.dead = true;
    model_set(1, VMXNET3_ICR, UINT32_MAX);
    assert_int_equal(interrupt(), 0);
}

static void test_link(void **state)
{
    struct nic_link l;

    (void)state;
    start();
    vmxnet3_driver.listen(&model_nic);
    l = vmxnet3_driver.link(&model_nic);
    assert_true(l.up && l.full_duplex && l.mbits == 1000);
    card.link = 0;
    memory()->shared.events |= 4;
    raise_interrupt(0);
    assert_int_equal(interrupt(), NIC_EVENT_FRAMES | NIC_EVENT_LINK);
    assert_int_equal(memory()->shared.events, 0);
    assert_false(vmxnet3_driver.link(&model_nic).up);
    memory()->shared.events |= 8; /* something else */
    assert_int_equal(interrupt(), NIC_EVENT_FRAMES);
    assert_int_equal(memory()->shared.events, 0);
    card.link = UINT32_MAX; /* the card has gone */
    assert_false(vmxnet3_driver.link(&model_nic).up);
}

static void test_budget(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 100; i++)
        assert_true(arrive('x', 60));
    assert_int_equal(poll(64), 64);
    assert_int_equal(card.rxprods, 0);
    memory()->rx_queue.update_rxprod = 1; /* now it wants to be told */
    assert_int_equal(poll(64), 36);
    assert_int_equal(card.rxprods, 1);
    assert_int_equal(model_get(0, VMXNET3_RXPROD), 99);
    assert_int_equal(poll(64), 0);
    assert_int_equal(card.rxprods, 1);
    assert_int_equal(model.frames, 100);
}

/* Many times around the rings, even when they are full. */
static void test_ring(void **state)
{
    unsigned n = 0;

    (void)state;
    start();
    for (unsigned round = 0; round < 5; round++) {
        while (arrive(n, 60))
            n++;
        assert_int_equal(n, (round + 1) * (VMXNET3_RX_COUNT - 1));
        while (poll(64))
            ;
        assert_int_equal(model.frames, n);
        assert_memory_equal(model.last, &(unsigned){n - 1}, sizeof(unsigned));
    }
    assert_int_equal(model_nic.rx_dropped, 0);
}

static void test_bad_frames(void **state)
{
    (void)state;
    start();
    assert_true(arrive_as(0, 0xc000, 60 | 1u << 14)); /* an error, such as a cut end */
    assert_true(arrive(0, 0));
    assert_true(arrive(0, NIC_BUFFER + 1));
    assert_true(arrive(0, 0x3fff));
    assert_true(arrive_as(0, 0x8000, 60));  /* only its beginning */
    assert_true(arrive_as(0, 0x4000, 60));  /* only its end */
    assert_true(arrive_as(0, 0x1c000, 60)); /* of the second ring, which there is not */
    assert_int_equal(poll(64), 7);
    assert_int_equal(model.frames, 0);
    assert_int_equal(model_nic.rx_dropped, 7);
    assert_true(arrive_as('c', 0x4000c000, NIC_BUFFER | 5u << 16)); /* checksums: the guest's */
    assert_int_equal(poll(64), 1);
    assert_int_equal(model.frames, 1);
    assert_int_equal(model.last[0], 'c');
    assert_int_equal(model.last_len, NIC_BUFFER);
}

/* Completions of descriptors that the card does not have give nothing back. */
static void test_bad_index(void **state)
{
    (void)state;
    start();
    complete(0xc000 | VMXNET3_RX_COUNT, 60);
    complete(0xc000 | 0xfff, 60);
    complete(0xc000 | (VMXNET3_RX_COUNT - 1), 60); /* the free one */
    assert_int_equal(poll(64), 3);
    assert_int_equal(model_nic.rx_dropped, 3);
    assert_true(arrive('a', 60));
    assert_int_equal(poll(64), 1);
    assert_int_equal(model.frames, 1);
    complete(0xc000 | 0, 60); /* the same again */
    assert_int_equal(poll(64), 1);
    assert_int_equal(model_nic.rx_dropped, 4);
}

/* A card may pass over descriptors: it gets them back with the one that it took. */
static void test_passed_over(void **state)
{
    unsigned n = 0;

    (void)state;
    start();
    card.rx += 5;
    assert_true(arrive('a', 60));
    assert_int_equal(poll(64), 1);
    assert_int_equal(model.last[0], 'a');
    while (arrive('b', 60))
        n++;
    assert_int_equal(n, VMXNET3_RX_COUNT - 1);
    while (poll(64))
        ;
    assert_int_equal(model.frames, VMXNET3_RX_COUNT);
    assert_int_equal(model_nic.rx_dropped, 0);
}

static void test_send(void **state)
{
    uint8_t bytes[NET_FRAME_MAX];

    (void)state;
    start();
    for (unsigned n = 0; n < 3 * VMXNET3_TX_COUNT; n++) {
        memset(bytes, (int)n, sizeof(bytes));
        assert_true(vmxnet3_driver.send(&model_nic, bytes, 60 + n));
        assert_int_equal(card.sent, n + 1);
        assert_int_equal(card.txprods, n + 1);
        assert_int_equal(model_get(0, VMXNET3_TXPROD), (n + 1) % VMXNET3_TX_COUNT);
        assert_int_equal(card.last_len, 60 + n);
        assert_memory_equal(card.last, bytes, card.last_len);
    }
}

/* A slow card: senders do not wait, and a full ring does not look empty. */
static void test_send_full(void **state)
{
    uint8_t bytes[60] = {0};
    unsigned taken = 0;

    (void)state;
    start();
    for (unsigned round = 1; round < 4; round++) {
        card.sends = false;
        for (unsigned i = 0; i < 2 * VMXNET3_TX_COUNT; i++)
            taken += vmxnet3_driver.send(&model_nic, bytes, sizeof(bytes));
        assert_int_equal(taken, round * (VMXNET3_TX_COUNT - 1));
        send_all();
        assert_int_equal(card.sent, taken);
    }
}

/* A card that says it has sent what it was never given. */
static void test_sent_too_much(void **state)
{
    uint8_t bytes[60] = {0};
    unsigned taken = 0;

    (void)state;
    start();
    card.sends = false;
    for (unsigned i = 0; i < VMXNET3_TX_COUNT; i++)
        memory()->tx_done[i].flags = 1u << 31;
    for (unsigned i = 0; i < 4 * VMXNET3_TX_COUNT; i++)
        taken += vmxnet3_driver.send(&model_nic, bytes, sizeof(bytes));
    /* Those of the first round, and then a full ring. */
    assert_int_equal(taken, 2 * VMXNET3_TX_COUNT - 1);
}

int main(void)
{
#define ONE(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        ONE(test_start),          ONE(test_filters),        ONE(test_start_fails),
        ONE(test_interrupt_msix), ONE(test_interrupt_line), ONE(test_link),
        ONE(test_budget),         ONE(test_ring),           ONE(test_bad_frames),
        ONE(test_bad_index),      ONE(test_passed_over),    ONE(test_send),
        ONE(test_send_full),      ONE(test_sent_too_much),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

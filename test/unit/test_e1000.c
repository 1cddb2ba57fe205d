/* SOURCES: net/e1000.c hv/lib.c */
#include "net/e1000.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* A simulated card. */
static struct {
    uint32_t regs[0x8000];
    uint16_t eeprom[3];
    bool has_eerd, stuck, sends;
    unsigned tdt_writes, rdt_writes;
    uint32_t rx_at;
} card;
static struct e1000 e;
static uint8_t *memory;
static unsigned frames;
static uint8_t last[E1000_BUFFER];
static size_t last_len;

static uint32_t reg_read(void *ctx, uint32_t reg)
{
    uint32_t v;

    assert_ptr_equal(ctx, &card);
    assert_true(reg / 4 < 0x8000 && reg % 4 == 0);
    v = card.regs[reg / 4];
    if (reg == E1000_ICR)
        card.regs[reg / 4] = 0;
    return v;
}

static void send_all(void)
{
    struct e1000_tx_desc *d = (void *)(uintptr_t)card.regs[E1000_TDBAL / 4];
    uint32_t *head = &card.regs[E1000_TDH / 4];

    d = (void *)((uintptr_t)d | (uintptr_t)card.regs[E1000_TDBAH / 4] << 32);
    while (*head != card.regs[E1000_TDT / 4]) {
        assert_false(d[*head].status & E1000_TX_DONE);
        frames++;
        last_len = d[*head].length;
        memcpy(last, (void *)(uintptr_t)d[*head].address, last_len);
        d[*head].status |= E1000_TX_DONE;
        *head = (*head + 1) % E1000_TX_COUNT;
    }
}

static void reg_write(void *ctx, uint32_t reg, uint32_t v)
{
    assert_ptr_equal(ctx, &card);
    assert_true(reg / 4 < 0x8000 && reg % 4 == 0);
    card.regs[reg / 4] = v;
    if (reg == E1000_CTRL && (v & E1000_CTRL_RST)) {
        uint32_t left = card.stuck ? v : 0;

        if (!card.has_eerd) {
            card.regs[E1000_RAL0 / 4] = 0x12005452;
            card.regs[E1000_RAH0 / 4] = E1000_RAH_VALID | 0x5634;
        }
        card.regs[E1000_CTRL / 4] = left;
    }
    if (reg == E1000_EERD && (v & E1000_EERD_GO) && card.has_eerd) {
        assert_in_range(v >> 8, 0, 2);
        card.regs[reg / 4] = E1000_EERD_DONE | (uint32_t)card.eeprom[v >> 8] << 16;
    }
    if (reg == E1000_RDT)
        card.rdt_writes++;
    if (reg == E1000_TDT) {
        card.tdt_writes++;
        if (card.sends)
            send_all();
    }
}

static const struct e1000_bus bus = {reg_read, reg_write, &card};

static int setup(void **state)
{
    (void)state;
    memset(&card, 0, sizeof(card));
    card.has_eerd = card.sends = true;
    card.eeprom[0] = 0x5452;
    card.eeprom[1] = 0x1200;
    card.eeprom[2] = 0x5634;
    memory = aligned_alloc(4096, (E1000_MEMORY + 4095) & ~4095u);
    memset(memory, 0, E1000_MEMORY);
    frames = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(memory);
    return 0;
}

static void start(void)
{
    assert_int_equal(e1000_start(&e, &bus, memory), 0);
    card.rdt_writes = card.tdt_writes = 0;
}

/* The card fills one buffer, `tag` first. False: it owns no descriptor. */
static bool arrive(unsigned tag, unsigned len, unsigned status, unsigned errors)
{
    struct e1000_rx_desc *d = &e.rx[card.rx_at];

    if (card.rx_at == card.regs[E1000_RDT / 4])
        return false;
    memset((void *)(uintptr_t)d->address, 0, E1000_BUFFER);
    memcpy((void *)(uintptr_t)d->address, &tag, sizeof(tag));
    d->length = (uint16_t)len;
    d->errors = (uint8_t)errors;
    d->status = (uint8_t)(status | E1000_RX_DONE);
    card.rx_at = (card.rx_at + 1) % E1000_RX_COUNT;
    card.regs[E1000_ICR / 4] |= 0x80;
    return true;
}

static void on_frame(void *ctx, const uint8_t *frame, size_t len)
{
    assert_ptr_equal(ctx, &frames);
    memcpy(last, frame, len);
    last_len = len;
    frames++;
}

static bool poll(unsigned budget)
{
    return e1000_poll(&e, budget, on_frame, &frames);
}

static void test_start(void **state)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

    (void)state;
    start();
    assert_memory_equal(e.mac, mac, 6);
    assert_int_equal(card.regs[E1000_RAL0 / 4], 0x12005452);
    assert_int_equal(card.regs[E1000_RAH0 / 4], E1000_RAH_VALID | 0x5634);
    assert_int_equal(card.regs[E1000_RDLEN / 4], 16 * E1000_RX_COUNT);
    assert_int_equal(card.regs[E1000_RDT / 4], E1000_RX_COUNT - 1);
    assert_int_equal(card.regs[E1000_TDLEN / 4], 16 * E1000_TX_COUNT);
    assert_true(card.regs[E1000_RCTL / 4] & 2);
    /* MPE: frames to groups (multicast DNS, neighbour discovery) come in too. */
    assert_true(card.regs[E1000_RCTL / 4] & 0x10);
    assert_true(card.regs[E1000_TCTL / 4] & 2);
    assert_int_equal(card.regs[E1000_IMS / 4], 0); /* whose interrupts no core takes yet */
    e1000_interrupts_on(&e);
    assert_true(card.regs[E1000_IMS / 4] & 0x80);
    for (unsigned i = 0; i < E1000_RX_COUNT; i++) {
        uint64_t at = e.rx[i].address - (uintptr_t)memory;

        assert_in_range(at, 16 * (E1000_RX_COUNT + E1000_TX_COUNT), E1000_MEMORY - E1000_BUFFER);
    }
    assert_int_equal(e.tx[E1000_TX_COUNT - 1].address - (uintptr_t)memory,
                     E1000_MEMORY - E1000_BUFFER);
}

static void test_start_without_eerd(void **state)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

    (void)state;
    card.has_eerd = false;
    start();
    assert_memory_equal(e.mac, mac, 6);
}

static void test_start_fails(void **state)
{
    (void)state;
    card.stuck = true;
    assert_int_equal(e1000_start(&e, &bus, memory), -E_IO);
    card.stuck = false;
    memset(card.eeprom, 0, sizeof(card.eeprom));
    assert_int_equal(e1000_start(&e, &bus, memory), -E_IO);
    card.eeprom[0] = 0x0001; /* a group address */
    assert_int_equal(e1000_start(&e, &bus, memory), -E_IO);
    assert_int_equal(card.regs[E1000_IMS / 4], 0);
    assert_int_equal(card.regs[E1000_RCTL / 4], 0);
}

static void test_stop(void **state)
{
    (void)state;
    start();
    e1000_stop(&e);
    assert_int_equal(card.regs[E1000_IMC / 4], UINT32_MAX);
    assert_int_equal(card.regs[E1000_RCTL / 4], 0);
    assert_int_equal(card.regs[E1000_TCTL / 4], 0);
}

static void test_interrupt(void **state)
{
    (void)state;
    start();
    assert_false(e1000_interrupt(&e)); /* another device's on a shared line */
    assert_false(e.asked);
    assert_true(arrive('x', 60, E1000_RX_EOP, 0));
    assert_true(e1000_interrupt(&e));
    assert_true(e.asked);
    assert_false(e1000_interrupt(&e));
    assert_false(poll(64));
    assert_false(e.asked);
    assert_int_equal(frames, 1);
}

static void test_budget(void **state)
{
    (void)state;
    start();
    for (unsigned i = 0; i < 100; i++)
        assert_true(arrive('x', 60, E1000_RX_EOP, 0));
    assert_true(poll(64));
    assert_true(e.asked);
    assert_int_equal(frames, 64);
    assert_int_equal(card.rdt_writes, 1);
    assert_int_equal(card.regs[E1000_RDT / 4], 63);
    assert_false(poll(64));
    assert_false(e.asked);
    assert_int_equal(frames, 100);
    assert_false(poll(64));
    assert_int_equal(card.rdt_writes, 2); /* no frame arrived, so nothing is written */
}

/* Many times around the ring, even when it is full. */
static void test_ring(void **state)
{
    unsigned n = 0;

    (void)state;
    start();
    for (unsigned round = 0; round < 5; round++) {
        while (arrive(n, 60, E1000_RX_EOP, 0))
            n++;
        assert_int_equal(n, (round + 1) * (E1000_RX_COUNT - 1));
        while (poll(64))
            ;
        assert_int_equal(frames, n);
        assert_memory_equal(last, &(unsigned){n - 1}, sizeof(unsigned));
    }
    assert_int_equal(e.rx_frames, n);
    assert_int_equal(e.rx_dropped, 0);
}

static void test_bad_frames(void **state)
{
    (void)state;
    start();
    assert_true(arrive(0, 60, E1000_RX_EOP, 1));
    assert_true(arrive(0, 0, E1000_RX_EOP, 0));
    assert_true(arrive(0, E1000_BUFFER + 1, E1000_RX_EOP, 0));
    assert_true(arrive(0, 0xffff, E1000_RX_EOP, 0));
    poll(64);
    assert_int_equal(frames, 0);
    assert_int_equal(e.rx_dropped, 4);
    assert_true(arrive(0, E1000_BUFFER, E1000_RX_EOP, 0));
    poll(64);
    assert_int_equal(frames, 1);
    assert_int_equal(last_len, E1000_BUFFER);
}

/* The rest of a frame that took several buffers is not delivered as a frame. */
static void test_long_frame(void **state)
{
    (void)state;
    start();
    assert_true(arrive('a', E1000_BUFFER, 0, 0));
    assert_true(arrive('b', E1000_BUFFER, 0, 0));
    poll(64);
    assert_true(arrive('c', 100, E1000_RX_EOP, 0));
    assert_true(arrive('d', 60, E1000_RX_EOP, 0));
    poll(64);
    assert_int_equal(frames, 1);
    assert_int_equal(last[0], 'd');
    assert_int_equal(e.rx_dropped, 3);
}

static void test_send(void **state)
{
    uint8_t bytes[1518];

    (void)state;
    start();
    for (unsigned n = 0; n < 3 * E1000_TX_COUNT; n++) {
        memset(bytes, (int)n, sizeof(bytes));
        e1000_send(&e, bytes, 60 + n);
        assert_int_equal(frames, n + 1);
        assert_int_equal(last_len, 60 + n);
        assert_memory_equal(last, bytes, last_len);
    }
    assert_int_equal(e.tx_frames, frames);
    e1000_send(&e, bytes, 0);
    e1000_send(&e, bytes, E1000_BUFFER + 1);
    assert_int_equal(e.tx_dropped, 2);
    assert_int_equal(e.tx_frames, frames);
}

/* A slow card: senders do not wait, and sending resumes when the card can take more. A full ring
 * must not look empty. */
static void test_send_full(void **state)
{
    uint8_t bytes[60] = {0};

    (void)state;
    start();
    for (unsigned round = 1; round < 4; round++) {
        card.sends = false;
        for (unsigned i = 0; i < 2 * E1000_TX_COUNT; i++)
            e1000_send(&e, bytes, sizeof(bytes));
        assert_int_not_equal(card.regs[E1000_TDT / 4], card.regs[E1000_TDH / 4]);
        assert_int_equal(e.tx_frames, round * (E1000_TX_COUNT - 1));
        assert_int_equal(e.tx_dropped, round * (E1000_TX_COUNT + 1));
        assert_int_equal(e.tx_lock.served, e.tx_lock.next);
        send_all();
        assert_int_equal(frames, e.tx_frames);
    }
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_start), TEST(test_start_without_eerd), TEST(test_start_fails),
        TEST(test_stop),  TEST(test_interrupt),          TEST(test_budget),
        TEST(test_ring),  TEST(test_bad_frames),         TEST(test_long_frame),
        TEST(test_send),  TEST(test_send_full),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

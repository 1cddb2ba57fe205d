/* SOURCES: hv/gmem.c hv/pc/virtqueue.c hv/lib.c */
#include "hv/pc/virtqueue.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "test/unit/virtqueue_chain.h"

#define MEMORY 0x10000u
#define SIZE   8u
#define DESC   0x1000u
#define AVAIL  0x2000u
#define USED   0x3000u
#define DATA   0x4000u
#define NEXT   1u
#define WRITE  2u
#define INDIR  4u

static struct gmem mem;
static struct virtqueue q;
static struct whole_chain c;

static void put(uint64_t at, const void *p, size_t n)
{
    assert_true(at + n <= MEMORY);
    memcpy(mem.base + at, p, n);
}

static void put16(uint64_t at, unsigned v)
{
    uint16_t x = (uint16_t)v;

    put(at, &x, sizeof(x));
}

static uint32_t get(uint64_t at, size_t n)
{
    uint32_t v = 0;

    memcpy(&v, mem.base + at, n);
    return v;
}

static void desc(unsigned i, uint64_t address, uint32_t length, unsigned flags, unsigned next)
{
    put(DESC + 16ull * i, &address, 8);
    put(DESC + 16ull * i + 8, &length, 4);
    put16(DESC + 16ull * i + 12, flags);
    put16(DESC + 16ull * i + 14, next);
}

/* The driver makes chains available; `heads` fill the ring from `from` on. */
static void offer(unsigned from, unsigned n, const unsigned *heads)
{
    for (unsigned i = 0; i < n; i++)
        put16(AVAIL + 4 + 2ull * ((from + i) % SIZE), heads[i]);
    put16(AVAIL + 2, from + n);
}

static int setup(void **state)
{
    (void)state;
    /* Exactly as large as the guest, so that the sanitizer sees an access beyond it. */
    mem = (struct gmem){.base = aligned_alloc(4096, MEMORY), .size = MEMORY};
    memset(mem.base, 0, MEMORY);
    virtqueue_reset(&q);
    q.size = SIZE;
    q.desc = DESC;
    q.avail = AVAIL;
    q.used = USED;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(mem.base);
    return 0;
}

static void enable(void)
{
    assert_int_equal(virtqueue_enable(&q, &mem), 0);
    assert_true(q.ready);
}

static void test_reset(void **state)
{
    (void)state;
    q.ready = q.broken = true;
    q.last_avail = 5;
    virtqueue_reset(&q);
    assert_int_equal(q.size, VIRTQUEUE_MAX);
    assert_false(q.ready);
    assert_false(q.broken);
    assert_int_equal(q.last_avail, 0);
    assert_int_equal(q.used_index, 0);
}

static void refused(uint64_t d, uint64_t a, uint64_t u, unsigned size)
{
    q.desc = d;
    q.avail = a;
    q.used = u;
    q.size = (uint16_t)size;
    assert_int_equal(virtqueue_enable(&q, &mem), -E_INVAL);
    assert_false(q.ready);
}

static void test_enable(void **state)
{
    (void)state;
    refused(DESC, AVAIL, USED, 0);
    refused(DESC, AVAIL, USED, 3);
    refused(DESC, AVAIL, USED, 2 * VIRTQUEUE_MAX);
    refused(DESC, AVAIL, USED, 0x8000);
    refused(DESC + 8, AVAIL, USED, SIZE);
    refused(DESC, AVAIL + 1, USED, SIZE);
    refused(DESC, AVAIL, USED + 2, SIZE);
    refused(MEMORY - 16 * SIZE + 16, AVAIL, USED, SIZE);
    refused(DESC, MEMORY - 4 - 2 * SIZE + 2, USED, SIZE);
    refused(DESC, AVAIL, MEMORY - 4 - 8 * SIZE + 4, SIZE);
    refused(UINT64_MAX - 15, AVAIL, USED, SIZE);
    refused(DESC, UINT64_MAX - 1, USED, SIZE);
    refused(DESC, AVAIL, UINT64_MAX - 3, SIZE);
    refused(1ull << 63, AVAIL, USED, SIZE);
    q.event_index = true; /* 16 bits more at the end */
    refused(DESC, MEMORY - 4 - 2 * SIZE, USED, SIZE);
    refused(DESC, AVAIL, MEMORY - 4 - 8 * SIZE, SIZE);
    q.event_index = false;
    /* The last places that fit. */
    q.desc = MEMORY - 16 * SIZE;
    q.avail = 0x2000;
    q.used = 0x3000;
    q.size = SIZE;
    enable();
    virtqueue_reset(&q);
    q.desc = DESC;
    q.size = SIZE;
    q.avail = MEMORY - 4 - 2 * SIZE;
    q.used = 0x3000;
    enable();
    virtqueue_reset(&q);
    q.desc = DESC;
    q.size = SIZE;
    q.avail = AVAIL;
    q.used = MEMORY - 4 - 8 * SIZE;
    enable();
}

static void test_nothing(void **state)
{
    (void)state;
    desc(0, DATA, 10, 0, 0);
    offer(0, 1, (unsigned[]){0});
    assert_false(virtqueue_waits(&q, &mem));
    assert_int_equal(next_whole(&q, &mem, &c), 0); /* not ready */
    put16(AVAIL + 2, 0);
    enable();
    assert_int_equal(next_whole(&q, &mem, &c), 0);
}

static void test_chain(void **state)
{
    (void)state;
    enable();
    desc(3, DATA, 12, NEXT, 7);
    desc(7, DATA + 100, 0, NEXT, 0);
    desc(0, DATA + 200, 60, WRITE, 5);
    offer(0, 1, (unsigned[]){3});
    assert_int_equal(next_whole(&q, &mem, &c), 1);
    assert_int_equal(c.head, 3);
    assert_int_equal(c.count, 3);
    assert_int_equal(c.pieces[0].address.v, DATA);
    assert_int_equal(c.pieces[0].length, 12);
    assert_false(c.pieces[0].writable);
    assert_int_equal(c.pieces[1].length, 0);
    assert_int_equal(c.pieces[2].address.v, DATA + 200);
    assert_true(c.pieces[2].writable);
    assert_int_equal(next_whole(&q, &mem, &c), 0);
    assert_int_equal(get(USED + 2, 2), 0);
    virtqueue_done(&q, &mem, 3, 60);
    assert_int_equal(get(USED + 2, 2), 1);
    assert_int_equal(get(USED + 4, 4), 3);
    assert_int_equal(get(USED + 8, 4), 60);
}

/* Both indices run over 65535, the rings over their ends. */
static void test_wrap(void **state)
{
    (void)state;
    enable();
    for (unsigned i = 0; i < SIZE; i++)
        desc(i, DATA + i, i + 1, 0, 0);
    for (unsigned i = 0; i < 70000; i++) {
        unsigned head = i * 5 % SIZE;

        offer(i, 1, &head);
        assert_int_equal(next_whole(&q, &mem, &c), 1);
        assert_int_equal(c.head, head);
        assert_int_equal(c.pieces[0].length, head + 1);
        virtqueue_done(&q, &mem, c.head, i);
        assert_int_equal(get(USED + 2, 2), (i + 1) & 0xffff);
        assert_int_equal(get(USED + 4 + 8ull * (i % SIZE), 4), head);
        assert_int_equal(get(USED + 8 + 8ull * (i % SIZE), 4), i);
    }
    assert_false(q.broken);
}

/* Takes the next chain, which must be this one. */
static void takes_single(bool writable, unsigned head, uint64_t address, uint32_t length)
{
    struct virtqueue_single s;

    assert_int_equal(virtqueue_next_single(&q, &mem, writable, length, length, &s), 1);
    assert_int_equal(s.head, head);
    assert_int_equal(s.length, length);
    assert_ptr_equal(s.at, mem.base + address);
}

/* The next chain stays for virtqueue_next(), whose result is `rc`. */
static void leaves_single(bool writable, size_t least, size_t most, int rc)
{
    uint16_t before = q.last_avail;
    struct virtqueue_single s;

    assert_int_equal(virtqueue_next_single(&q, &mem, writable, least, most, &s), -E_NOENT);
    assert_int_equal(q.last_avail, before);
    assert_int_equal(next_whole(&q, &mem, &c), rc);
}

static void test_single(void **state)
{
    struct virtqueue_single s;
    unsigned offered = 0;

    (void)state;
    desc(1, DATA, 100, 0, 5);
    desc(2, MEMORY - 60, 60, WRITE, 0);
    desc(3, DATA, 12, NEXT, 1);
    offer(offered++, 1, (unsigned[]){1});
    assert_int_equal(virtqueue_next_single(&q, &mem, false, 0, 100, &s), -E_NOENT); /* not ready */
    enable();
    takes_single(false, 1, DATA, 100);
    assert_int_equal(virtqueue_next_single(&q, &mem, false, 0, 100, &s), 0);
    offer(offered++, 1, (unsigned[]){2});
    takes_single(true, 2, MEMORY - 60, 60);
    /* What it does not take. */
    offer(offered, 5, (unsigned[]){1, 1, 1, 2, 3});
    leaves_single(true, 0, UINT32_MAX, 1);
    leaves_single(false, 101, UINT32_MAX, 1);
    leaves_single(false, 0, 99, 1);
    leaves_single(false, 0, UINT32_MAX, 1);
    leaves_single(false, 0, UINT32_MAX, 1);
    assert_int_equal(c.count, 2);
}

/* Nor what breaks the ring; nor anything of a broken one. */
static void test_single_bad(void **state)
{
    static const struct {
        uint64_t address;
        uint32_t length;
    } outside[] = {{MEMORY, 1}, {MEMORY - 1, 2}, {0, UINT32_MAX}, {UINT64_MAX, 1}, {1ull << 63, 4}};

    for (unsigned i = 0; i < ARRAY_LEN(outside); i++) {
        assert_int_equal((teardown(state), setup(state)), 0);
        enable();
        desc(0, outside[i].address, outside[i].length, 0, 0);
        offer(0, 1, (unsigned[]){0});
        leaves_single(false, 0, UINT32_MAX, -E_FORMAT);
        leaves_single(false, 0, UINT32_MAX, 0);
    }
    for (unsigned index = 0; index < 2; index++) {
        assert_int_equal((teardown(state), setup(state)), 0);
        enable();
        desc(0, DATA, 1, INDIR, 0);
        offer(0, 1, (unsigned[]){index ? SIZE : 0});
        leaves_single(false, 0, UINT32_MAX, -E_FORMAT);
    }
    assert_int_equal((teardown(state), setup(state)), 0);
    enable();
    desc(0, DATA, 1, 0, 0);
    put16(AVAIL + 2, SIZE + 1);
    leaves_single(false, 0, UINT32_MAX, -E_FORMAT);
}

/* What lies beyond the first range is left, and found by virtqueue_next(). */
static void test_single_far(void **state)
{
    struct virtqueue_single s;

    (void)state;
    mem.size = MEMORY / 2;
    mem.more[0] = (struct gmem_range){MEMORY / 2, MEMORY / 2, mem.base + MEMORY / 2};
    mem.more_count = 1;
    enable();
    desc(0, MEMORY / 2, 8, 0, 0);
    desc(1, MEMORY / 2 - 8, 8, 0, 0);
    desc(2, MEMORY / 2 - 4, 8, 0, 0);
    offer(0, 3, (unsigned[]){0, 1, 2});
    leaves_single(false, 0, UINT32_MAX, 1);
    takes_single(false, 1, MEMORY / 2 - 8, 8);
    leaves_single(false, 0, UINT32_MAX, 1);
    /* The rings themselves. */
    virtqueue_reset(&q);
    q.size = SIZE;
    q.desc = DESC;
    q.avail = MEMORY / 2 - 8;
    q.used = USED;
    enable();
    put16(MEMORY / 2 - 6, 1);
    put16(MEMORY / 2 - 4, 1);
    assert_int_equal(virtqueue_next_single(&q, &mem, false, 0, 100, &s), -E_NOENT);
    assert_int_equal(next_whole(&q, &mem, &c), 1);
    assert_int_equal(c.head, 1);
}

static void test_full_ring(void **state)
{
    static const unsigned heads[SIZE] = {7, 6, 5, 4, 3, 2, 1, 0};

    (void)state;
    enable();
    for (unsigned i = 0; i < SIZE; i++)
        desc(i, DATA, 1, 0, 0);
    offer(0, SIZE, heads);
    for (unsigned i = 0; i < SIZE; i++) {
        assert_true(virtqueue_waits(&q, &mem));
        assert_int_equal(next_whole(&q, &mem, &c), 1);
        assert_int_equal(c.head, heads[i]);
    }
    assert_false(virtqueue_waits(&q, &mem));
    assert_int_equal(next_whole(&q, &mem, &c), 0);
}

static void breaks(void)
{
    assert_int_equal(next_whole(&q, &mem, &c), -E_FORMAT);
    assert_true(q.broken);
    /* It stays broken, whatever the rings contain now. */
    desc(0, DATA, 1, 0, 0);
    put16(AVAIL + 4 + 2, 0);
    assert_int_equal(next_whole(&q, &mem, &c), 0);
    assert_int_equal(get(USED + 2, 2), 0);
}

static void test_index_too_far(void **state)
{
    (void)state;
    enable();
    put16(AVAIL + 2, SIZE + 1);
    breaks();
}

static void test_index_backwards(void **state)
{
    (void)state;
    enable();
    put16(AVAIL + 2, 0xffff);
    breaks();
}

static void test_head_outside(void **state)
{
    (void)state;
    enable();
    offer(0, 1, (unsigned[]){SIZE});
    breaks();
}

static void test_next_outside(void **state)
{
    (void)state;
    enable();
    desc(0, DATA, 1, NEXT, 0xffff);
    offer(0, 1, (unsigned[]){0});
    breaks();
}

static void test_loop(void **state)
{
    (void)state;
    enable();
    desc(0, DATA, 1, NEXT, 1);
    desc(1, DATA, 1, NEXT, 0);
    offer(0, 1, (unsigned[]){0});
    breaks();
}

static void test_self_loop(void **state)
{
    (void)state;
    enable();
    desc(2, DATA, 1, NEXT, 2);
    offer(0, 1, (unsigned[]){2});
    breaks();
}

static void test_indirect(void **state)
{
    (void)state;
    enable();
    desc(0, DATA, 16, INDIR, 0);
    offer(0, 1, (unsigned[]){0});
    breaks();
}

static void bad_piece(uint64_t address, uint32_t length)
{
    virtqueue_reset(&q);
    q.size = SIZE;
    q.desc = DESC;
    q.avail = AVAIL;
    q.used = USED;
    enable();
    desc(0, DATA, 1, NEXT, 1);
    desc(1, address, length, WRITE, 0);
    offer(0, 1, (unsigned[]){0});
    breaks();
}

static void test_pieces_outside(void **state)
{
    (void)state;
    bad_piece(MEMORY, 1);
    bad_piece(MEMORY - 1, 2);
    bad_piece(MEMORY + 1, 0);
    bad_piece(0, MEMORY + 1);
    bad_piece(0, UINT32_MAX);
    bad_piece(UINT64_MAX, 1);
    bad_piece(UINT64_MAX, 0);
    bad_piece(UINT64_MAX - 10, 100);
    bad_piece(1ull << 63, 4);
}

/* A chain of all descriptors, and one that never ends. */
static void test_length(void **state)
{
    (void)state;
    q.size = 64;
    q.avail = 0x2000;
    enable();
    for (unsigned i = 0; i < 64; i++)
        desc(i, DATA, 1, i == 63 ? 0 : NEXT, i + 1);
    put16(AVAIL + 4, 0);
    put16(AVAIL + 6, 1);
    put16(AVAIL + 2, 2);
    assert_int_equal(next_whole(&q, &mem, &c), 1);
    assert_int_equal(c.count, 64);
    desc(63, DATA, 1, NEXT, 0);
    assert_int_equal(next_whole(&q, &mem, &c), -E_FORMAT);
    assert_true(q.broken);
}

static void test_interrupt_flag(void **state)
{
    (void)state;
    enable();
    assert_true(virtqueue_wants_irq(&q, &mem));
    put16(AVAIL, 1);
    assert_false(virtqueue_wants_irq(&q, &mem));
    put16(AVAIL, 2);
    assert_true(virtqueue_wants_irq(&q, &mem));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_reset),         TEST(test_enable),
        TEST(test_nothing),       TEST(test_chain),
        TEST(test_wrap),          TEST(test_full_ring),
        TEST(test_index_too_far), TEST(test_index_backwards),
        TEST(test_head_outside),  TEST(test_next_outside),
        TEST(test_loop),          TEST(test_self_loop),
        TEST(test_indirect),      TEST(test_pieces_outside),
        TEST(test_length),        TEST(test_interrupt_flag),
        TEST(test_single),        TEST(test_single_bad),
        TEST(test_single_far),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

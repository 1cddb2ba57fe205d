/* SOURCES: hv/gmem.c arch/x86/guest/string_io.c arch/x86/guest/segment.c arch/x86/guest/paging.c
 * hv/pc/bus.c hv/lib.c */
#include "arch/x86/guest/string_io.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"

#define MEMORY    0x40000u
#define PORT      0x300u
#define DATA_RW   0x93u /* present, data, read and write, accessed */
#define DATA_RO   0x91u
#define DATA_DOWN 0x97u
#define CODE_RX   0x9bu
#define CODE_X    0x99u
#define DB        SEGMENT_RIGHTS_DB
#define L         SEGMENT_RIGHTS_L
#define NULL_SEG  SEGMENT_RIGHTS_NULL
#define GP        13
#define SS        12
#define PF        14
#define AC        17
#define P         1ull
#define W         2ull
#define U         4ull

static struct gmem mem;
static struct io_bus bus;
static struct string_io s;
static struct guest_fault fault;
static uint64_t reg, count;
static uint32_t next_in, last_out;
static unsigned ins, outs;

static uint32_t port_in(void *dev, uint16_t port, unsigned size)
{
    (void)dev;
    assert_int_equal(port, PORT);
    assert_int_equal(size, s.size);
    ins++;
    return next_in;
}

static void port_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    (void)dev;
    assert_int_equal(port, PORT);
    assert_int_equal(size, s.size);
    outs++;
    last_out = value;
}

/* 32-bit protected mode, no paging, flat segments. */
static int setup(void **state)
{
    static const struct io_ops ops = {port_in, port_out, 4};

    (void)state;
    /* Exactly as large as the guest, so that the sanitizer sees an access beyond it. */
    mem = (struct gmem){.base = aligned_alloc(4096, MEMORY), .size = MEMORY};
    memset(mem.base, 0, MEMORY);
    memset(&bus, 0, sizeof(bus));
    assert_int_equal(io_claim(&bus, PORT, PORT + 3, &ops, NULL), 0);
    s = (struct string_io){
        .port = PORT,
        .size = 1,
        .in = true,
        .address_bytes = 4,
        .segment_id = SEGMENT_ES,
        .mode = SEGMENT_PROTECTED,
        .segment = {0, UINT32_MAX, DATA_RW | DB},
        .paging = {.cr0 = CR0_PE, .physical_width = 40},
        .mem = &mem,
        .bus = &bus,
    };
    reg = count = 0;
    next_in = 0x11223344;
    last_out = 0;
    ins = outs = 0;
    fault = (struct guest_fault){0};
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(mem.base);
    return 0;
}

static enum string_io_result step(void)
{
    return string_io_element(&s, &reg, &count, &fault);
}

/* Nothing happened except the fault. */
static void faults(unsigned vector, uint64_t offset)
{
    reg = offset;
    count = 5;
    s.at = NULL;
    assert_int_equal(step(), STRING_IO_FAULT);
    assert_int_equal(fault.vector, vector);
    if (vector != PF)
        assert_int_equal(fault.error, 0);
    assert_true(reg == offset);
    assert_int_equal(count, 5);
    assert_int_equal(ins, 0);
    assert_int_equal(outs, 0);
}

static void passes(uint64_t offset)
{
    reg = offset;
    s.at = NULL;
    s.rep = false;
    assert_int_equal(step(), STRING_IO_DONE);
    assert_int_equal(ins + outs, 1);
    ins = outs = 0;
}

static uint32_t get(uint64_t at, size_t n)
{
    uint32_t v = 0;

    memcpy(&v, mem.base + at, n);
    return v;
}

static void put(uint64_t at, uint64_t v)
{
    memcpy(mem.base + at, &v, sizeof(v));
}

static void test_elements(void **state)
{
    (void)state;
    s.size = 4;
    s.rep = true;
    reg = 0x1000;
    count = 0x900000003; /* 32-bit: the upper halves do not count, and are cleared */
    assert_int_equal(step(), STRING_IO_MORE);
    assert_int_equal(get(0x1000, 4), 0x11223344);
    assert_true(reg == 0x1004 && count == 2);
    next_in = 0xaabbccdd;
    assert_int_equal(step(), STRING_IO_MORE);
    assert_int_equal(step(), STRING_IO_DONE);
    assert_int_equal(get(0x1008, 4), 0xaabbccdd);
    assert_true(reg == 0x100c && count == 0);
    assert_int_equal(step(), STRING_IO_DONE);
    assert_int_equal(ins, 3);
    s.in = s.rep = false;
    s.down = true;
    assert_int_equal(step(), STRING_IO_DONE);
    assert_int_equal(outs, 1);
    assert_int_equal(last_out, 0);
    assert_true(reg == 0x1008 && count == 0);
    assert_int_equal(step(), STRING_IO_DONE);
    assert_int_equal(last_out, 0xaabbccdd);
    s.size = 2;
    reg = 0x1000;
    assert_int_equal(step(), STRING_IO_DONE);
    assert_int_equal(last_out, 0x3344);
}

/* 16-bit registers wrap within themselves and keep what is above. */
static void test_16_bits(void **state)
{
    (void)state;
    s.address_bytes = 2;
    s.mode = SEGMENT_REAL;
    s.segment = (struct segment){0x10000, 0xffff, DATA_RO};
    s.rep = true;
    reg = 0xabcd0000ffffull;
    count = 0x123400020002ull;
    assert_int_equal(step(), STRING_IO_MORE);
    assert_int_equal(mem.base[0x1ffff], 0x44);
    assert_true(reg == 0xabcd00000000ull && count == 0x123400020001ull);
    assert_int_equal(step(), STRING_IO_DONE);
    assert_int_equal(mem.base[0x10000], 0x44);
}

/* SDM 3A "Limit Checking". */
static void test_limits(void **state)
{
    (void)state;
    s.segment = (struct segment){0x8000, 0xf, DATA_RW | DB};
    passes(0xf);
    faults(GP, 0x10);
    s.size = 4;
    passes(0xc);
    faults(GP, 0xd);
    faults(GP, UINT32_MAX); /* it would end at the segment's start */
    s.segment_id = SEGMENT_SS;
    s.in = false;
    faults(SS, 0xd);
    s.mode = SEGMENT_REAL;
    faults(SS, 0xd);
    s.segment_id = SEGMENT_DS;
    faults(GP, 0xd);
    s.segment = (struct segment){0, UINT32_MAX, DATA_RW | DB};
    faults(GP, 0xfffffffd);
}

static void test_expand_down(void **state)
{
    (void)state;
    s.segment = (struct segment){0x8000, 0xfff, DATA_DOWN};
    faults(GP, 0);
    faults(GP, 0xfff);
    passes(0x1000);
    passes(0xffff);
    faults(GP, 0x10000);
    s.size = 2;
    faults(GP, 0xffff);
    faults(GP, 0xfff);
    s.segment.rights |= DB; /* up to 4 GB */
    passes(0x10000);
    faults(GP, UINT32_MAX);
}

/* SDM 3A "Type Checking": data may be read, and written if it says so; code may be read if it says
 * so, and never be written. */
static void test_types(void **state)
{
    static const struct {
        uint32_t rights;
        bool read, write;
    } kinds[] = {{DATA_RW, true, true},  {DATA_RO, true, false}, {DATA_RW | NULL_SEG, false, false},
                 {CODE_RX, true, false}, {CODE_X, false, false}, {NULL_SEG, false, false}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        s.segment.rights = kinds[i].rights | DB;
        for (unsigned in = 0; in < 2; in++) {
            s.in = in;
            s.mode = SEGMENT_PROTECTED;
            if (in ? kinds[i].write : kinds[i].read)
                passes(0x2000);
            else
                faults(GP, 0x2000);
            s.mode = SEGMENT_REAL; /* types do not matter there */
            passes(0x2000);
        }
    }
}

static void test_long_mode(void **state)
{
    static const uint64_t bad[] = {1ull << 47, 1ull << 48, 1ull << 63, 0xffff7fffffffffffull,
                                   0xfffe800000000000ull};

    (void)state;
    s.address_bytes = 8;
    s.mode = SEGMENT_LONG;
    s.segment = (struct segment){0x123456, 0, NULL_SEG}; /* nothing of it counts */
    passes(0x2000);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        s.segment_id = SEGMENT_ES;
        faults(GP, bad[i]);
        s.segment_id = SEGMENT_SS; /* a prefix without meaning */
        faults(GP, bad[i]);
    }
    s.size = 4;
    faults(GP, (1ull << 47) - 2);
    s.segment_id = SEGMENT_GS;
    s.segment.base = 0x3000;
    passes(0x10);
    assert_int_equal(get(0x3010, 4), 0x11223344);
    s.segment.base = 1ull << 46;
    faults(GP, 1ull << 46);
}

static void test_modes(void **state)
{
    const uint64_t pe = CR0_PE, lma = EFER_LMA;

    (void)state;
    assert_int_equal(segment_mode_of(0, 0, 0, 0), SEGMENT_REAL);
    assert_int_equal(segment_mode_of(pe, 0, RFLAGS_VM, 0), SEGMENT_REAL);
    assert_int_equal(segment_mode_of(pe, 0, 0, L), SEGMENT_PROTECTED);
    assert_int_equal(segment_mode_of(pe, lma, 0, DB), SEGMENT_PROTECTED);
    assert_int_equal(segment_mode_of(pe, lma, 0, L), SEGMENT_LONG);
}

/* 32-bit paging: linear 0 to 4 MB by the table at 0x2000. */
static void pages(void)
{
    s.paging.cr0 = CR0_PE | CR0_PG;
    s.paging.cr3 = 0x1000;
    for (unsigned i = 0; i < 1024; i++)
        memcpy(mem.base + 0x2000 + 4 * i, &(uint32_t){0}, 4);
    memcpy(mem.base + 0x1000, &(uint32_t){0x2000 | P | W | U}, 4);
}

static void map(unsigned page, uint32_t entry)
{
    memcpy(mem.base + 0x2000 + 4 * page, &entry, 4);
}

static void test_page_faults(void **state)
{
    (void)state;
    pages();
    map(5, 0x8000 | P | W | U);
    map(7, 0x9000 | P | U);
    s.size = 4;
    passes(0x5ffc);
    assert_int_equal(get(0x8ffc, 4), 0x11223344);
    /* The second page decides too, before the first is touched. */
    faults(PF, 0x5ffe);
    assert_true(fault.address == 0x6000);
    assert_int_equal(fault.error, 2);
    assert_int_equal(get(0x8ffc, 4), 0x11223344);
    s.in = false;
    faults(PF, 0x5fff);
    assert_int_equal(fault.error, 0);
    s.in = true;
    s.paging.cpl = 3;
    faults(PF, 0x7000);
    assert_true(fault.address == 0x7000);
    assert_int_equal(fault.error, 7);
    map(6, 0xc000 | P | W | U);
    passes(0x5ffe);
    assert_int_equal(get(0x8ffe, 2), 0x3344);
    assert_int_equal(get(0xc000, 2), 0x1122);
}

/* A page is looked up once per exit. */
static void test_one_walk_a_page(void **state)
{
    (void)state;
    pages();
    map(5, 0x8000 | P | W);
    map(6, 0x9000 | P | W);
    s.rep = true;
    reg = 0x5ffe;
    count = 4;
    assert_int_equal(step(), STRING_IO_MORE);
    map(5, 0);
    assert_int_equal(step(), STRING_IO_MORE);
    assert_int_equal(step(), STRING_IO_MORE);
    map(6, 0);
    assert_int_equal(step(), STRING_IO_DONE);
    assert_int_equal(get(0x8ffe, 2), 0x4444);
    assert_int_equal(get(0x9000, 2), 0x4444);
}

/* SDM 3A "Alignment Check Exception": at CPL 3, asked for by both flags; after a page fault. */
static void test_alignment(void **state)
{
    (void)state;
    pages();
    map(5, 0x8000 | P | W | U);
    s.size = 4;
    s.paging.cr0 |= CR0_AM;
    s.paging.ac = true;
    s.paging.cpl = 3;
    faults(AC, 0x5002);
    faults(PF, 0x6002);
    passes(0x5004);
    s.paging.ac = false;
    passes(0x5002);
    s.paging.ac = true;
    s.paging.cpl = 0;
    passes(0x5002);
    s.paging.cpl = 3;
    s.paging.cr0 &= ~CR0_AM;
    passes(0x5002);
    s.size = 1;
    s.paging.cr0 |= CR0_AM;
    passes(0x5003);
}

static void outside(uint64_t offset, uint64_t address)
{
    reg = offset;
    s.at = NULL;
    assert_int_equal(step(), STRING_IO_OUTSIDE);
    assert_true(fault.address == address);
    assert_int_equal(ins + outs, 0);
}

/* Without memory at the address, an MOV ends the guest: so does this, with the same message. */
static void test_outside(void **state)
{
    (void)state;
    outside(MEMORY, MEMORY);
    outside(0xfffff123, 0xfffff123);
    pages();
    map(5, 0x80000000u | P | W);
    outside(0x5123, 0x80000123);
    put(0x1000, 0x7fff000 | P | W);
    outside(0x5123, 0x7fff000 + 4 * 5);
    /* The linear address of 32 bits wraps. */
    s.paging.cr0 = CR0_PE;
    s.segment.base = 0xffff0000;
    passes(0x18000);
    assert_int_equal(mem.base[0x8000], 0x44);
}

static void test_segment_by_address(void **state)
{
    struct segment all[6] = {{0x1000, 0, 0}, {0x2000, 0, 0}, {0x3000, 0, 0},
                             {0x1000, 0, 0}, {0x4000, 0, 0}, {0xffffff00, 0, 0}};

    (void)state;
    assert_int_equal(string_io_segment(all, 0x50, 0x1050), SEGMENT_DS);
    assert_int_equal(string_io_segment(all, 0x50, 0x2050), SEGMENT_CS);
    assert_int_equal(string_io_segment(all, 0x50, 0x3050), SEGMENT_SS);
    assert_int_equal(string_io_segment(all, 0x50, 0x4050), SEGMENT_FS);
    assert_int_equal(string_io_segment(all, 0x150, 0x50), SEGMENT_GS);
    assert_int_equal(string_io_segment(all, 0x50, 0x9999), SEGMENT_DS);
    all[SEGMENT_DS].base = 0x7000;
    assert_int_equal(string_io_segment(all, 0x50, 0x1050), SEGMENT_ES);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_elements),    TEST(test_16_bits),     TEST(test_limits),
        TEST(test_expand_down), TEST(test_types),       TEST(test_long_mode),
        TEST(test_modes),       TEST(test_page_faults), TEST(test_one_walk_a_page),
        TEST(test_alignment),   TEST(test_outside),     TEST(test_segment_by_address),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

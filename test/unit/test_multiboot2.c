/* SOURCES: arch/x86/boot/multiboot2.c hv/lib.c */
#include "arch/x86/boot/multiboot2.h"

#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static uint8_t bytes[16384];
static size_t length;
static struct mb2_info info;

static void put32(size_t at, uint32_t v)
{
    memcpy(bytes + at, &v, sizeof(v));
}

static void put64(size_t at, uint64_t v)
{
    memcpy(bytes + at, &v, sizeof(v));
}

static int begin(void **state)
{
    (void)state;
    memset(bytes, 0, sizeof(bytes));
    length = 8;
    return 0;
}

/* Appends a tag of `size` bytes, header included; returns where it is. */
static size_t tag(uint32_t type, size_t size)
{
    size_t at = length;

    put32(at, type);
    put32(at + 4, (uint32_t)size);
    length = (at + size + 7) & ~(size_t)7;
    return at;
}

/* Parses a copy of exactly that size, so that the sanitizer sees any read beyond it. */
static int parse_sized(size_t size)
{
    static uint8_t *copy;
    int rc;

    free(copy); /* the previous copy: info pointed into it until now */
    copy = malloc(size ? size : 1);
    assert_non_null(copy);
    memcpy(copy, bytes, size);
    rc = mb2_parse(copy, size, &info);
    return rc;
}

static int parse(void)
{
    (void)tag(0, 8);
    put32(0, (uint32_t)length);
    return parse_sized(length);
}

static void module(uint32_t start, uint32_t end, const char *name)
{
    size_t at = tag(3, 16 + strlen(name) + 1);

    put32(at + 8, start);
    put32(at + 12, end);
    memcpy(bytes + at + 16, name, strlen(name) + 1);
}

static void test_everything(void **state)
{
    size_t at;

    (void)state;
    at = tag(1, 8 + sizeof("quiet"));
    memcpy(bytes + at + 8, "quiet", sizeof("quiet"));
    module(0x100000, 0x100003, "guests.json");
    module(0x200000, 0x200000, "empty");
    at = tag(6, 16 + 2 * 24);
    put32(at + 8, 24);
    put64(at + 16, 0x1000);
    put64(at + 24, 0x9e000);
    put32(at + 32, 1);
    put64(at + 40, 0xf0000);
    put64(at + 48, 0x10000);
    put32(at + 56, 2);
    at = tag(8, 32);
    put64(at + 8, 0x80000000);
    put32(at + 16, 4096);
    put32(at + 20, 1024);
    put32(at + 24, 768);
    bytes[at + 28] = 32;
    bytes[at + 29] = 1;
    (void)tag(12, 16);
    assert_int_equal(parse(), 0);
    assert_string_equal(info.cmdline, "quiet");
    assert_int_equal(info.module_count, 2);
    assert_int_equal(info.modules[0].start, 0x100000);
    assert_int_equal(info.modules[0].end, 0x100003);
    assert_string_equal(info.modules[0].string, "guests.json");
    assert_int_equal(info.range_count, 2);
    assert_true(mb2_range(&info, 0).ram && mb2_range(&info, 0).base == 0x1000 &&
                mb2_range(&info, 0).size == 0x9e000);
    assert_true(!mb2_range(&info, 1).ram && mb2_range(&info, 1).base == 0xf0000);
    assert_int_equal(info.framebuffer.address, 0x80000000);
    assert_int_equal(info.framebuffer.pitch, 4096);
    assert_int_equal(info.framebuffer.width, 1024);
    assert_int_equal(info.framebuffer.height, 768);
    assert_int_equal(info.framebuffer.bpp, 32);
    assert_int_equal(info.framebuffer.type, 1);
    assert_true(info.efi);
    assert_int_equal(info.dropped, 0);
}

static void test_nothing(void **state)
{
    (void)state;
    assert_int_equal(parse(), 0);
    assert_string_equal(info.cmdline, "");
    assert_false(info.efi);
    assert_null(info.rsdp_new.data);
    assert_null(info.rsdp_old.data);
    assert_int_equal(info.range_count + info.module_count + info.dropped, 0);
}

static void test_both_rsdps_in_either_order(void **state)
{
    for (unsigned i = 0; i < 2; i++) {
        (void)begin(state);
        bytes[tag(i ? 15 : 14, i ? 44 : 28) + 8] = i ? 'N' : 'O';
        bytes[tag(i ? 14 : 15, i ? 28 : 44) + 8] = i ? 'O' : 'N';
        assert_int_equal(parse(), 0);
        assert_int_equal(info.rsdp_new.data[0], 'N');
        assert_int_equal(info.rsdp_new.size, 36);
        assert_int_equal(info.rsdp_old.data[0], 'O');
        assert_int_equal(info.rsdp_old.size, 20);
    }
}

static void test_malformed_tags_are_dropped(void **state)
{
    size_t at;

    (void)state;
    at = tag(1, 12); /* command line without an end */
    memset(bytes + at + 8, 'x', 4);
    (void)tag(14, 27);        /* RSDP too short */
    (void)tag(6, 12);         /* memory map without entry size */
    put32(tag(6, 64) + 8, 8); /* entries too small */
    (void)tag(3, 16);         /* module without a string */
    module(0x3000, 0x2000, "ends before it starts");
    (void)tag(8, 20);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.dropped, 7);
    assert_string_equal(info.cmdline, "");
    assert_null(info.rsdp_old.data);
    assert_int_equal(info.range_count, 0);
    assert_int_equal(info.module_count, 0);
    assert_int_equal(info.framebuffer.address, 0);
}

static void test_limits(void **state)
{
    size_t at;

    (void)state;
    at = tag(6, 16 + 500 * 24); /* as UEFI may have */
    put32(at + 8, 24);
    put64(at + 16 + 499 * 24, 0x7000);
    for (unsigned i = 0; i < MB2_MODULES_MAX + 2; i++)
        module(i, i, "m");
    assert_int_equal(parse(), 0);
    assert_int_equal(info.range_count, 500);
    assert_int_equal(mb2_range(&info, 499).base, 0x7000);
    assert_int_equal(info.module_count, MB2_MODULES_MAX);
    assert_int_equal(info.dropped, 2);
}

static void test_larger_entries_and_a_cut_one(void **state)
{
    size_t at = tag(6, 16 + 32 + 32 + 8);

    (void)state;
    put32(at + 8, 32);
    put64(at + 16 + 32, 0x5000);
    assert_int_equal(parse(), 0);
    assert_int_equal(info.range_count, 2);
    assert_int_equal(mb2_range(&info, 1).base, 0x5000);
}

static void test_broken_structure(void **state)
{
    static const uint32_t sizes[] = {0, 7, 4096, UINT32_MAX, UINT32_MAX - 6};

    for (unsigned i = 0; i < ARRAY_LEN(sizes); i++) {
        (void)begin(state);
        put32(tag(1, 16) + 4, sizes[i]);
        assert_int_equal(parse(), -E_FORMAT);
    }
    (void)begin(state);
    (void)tag(1, 16);
    put32(0, (uint32_t)length);
    assert_int_equal(parse_sized(length), -E_FORMAT); /* no end tag */
    put32(0, (uint32_t)length + 1);
    assert_int_equal(parse_sized(length), -E_FORMAT); /* claims more than there is */
    put32(0, 8);
    assert_int_equal(parse_sized(length), -E_FORMAT);
}

static void test_every_truncation(void **state)
{
    size_t whole;

    (void)state;
    module(1, 2, "name");
    put32(tag(6, 64) + 8, 24);
    assert_int_equal(parse(), 0);
    whole = length;
    for (size_t n = 0; n < whole; n++) {
        assert_int_equal(parse_sized(n), -E_FORMAT);
        put32(0, (uint32_t)n); /* and with a total size that agrees */
        if (n > whole - 8)     /* only the end tag's size is missing; it is not read */
            continue;
        assert_int_equal(parse_sized(n), -E_FORMAT);
        put32(0, (uint32_t)whole);
    }
}

/* grub-core/lib/cmdline.c of GRUB 2.06 and 2.12: what it does with an argument of module2. */
static void test_unquote(void **state)
{
    static const struct {
        const char *s, *out;
    } cases[] = {
        {"plain.elf", "plain.elf"},
        {"", ""},
        {"\"with a blank\"", "with a blank"},
        {"it\\'s", "it's"},
        {"say-\\\"x\\\"", "say-\"x\""},
        {"back\\\\slash", "back\\slash"},
        {"\"a b\\\"c\\\\\"", "a b\"c\\"},
        {"keeps\\x41", "keeps\\x41"},
        {"\\\\\\x41", "\\\\x41"},
        {"of another loader\\n", "of another loader\\n"},
        {"\"", "\""},
        {"\"\"", ""},
        {"ends\\", "ends\\"},
    };
    char out[32];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        assert_true(mb2_unquote(cases[i].s, out, sizeof(out)));
        assert_string_equal(out, cases[i].out);
    }
    assert_true(mb2_unquote("\"7 chars\"", out, 8));
    assert_false(mb2_unquote("\"8 chars!\"", out, 8));
    assert_string_equal(out, "8 chars");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_everything, begin),
        cmocka_unit_test_setup(test_nothing, begin),
        cmocka_unit_test_setup(test_both_rsdps_in_either_order, begin),
        cmocka_unit_test_setup(test_malformed_tags_are_dropped, begin),
        cmocka_unit_test_setup(test_limits, begin),
        cmocka_unit_test_setup(test_larger_entries_and_a_cut_one, begin),
        cmocka_unit_test_setup(test_broken_structure, begin),
        cmocka_unit_test_setup(test_every_truncation, begin),
        cmocka_unit_test(test_unquote),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SOURCES: hv/gmem.c @load hv/lib.c hv/fmt.c */
/* Images without a header run like a boot sector. */
#include "test/unit/load_fixture.h"

#define MOST (512u << 10)

static void like_a_boot_sector(void **state)
{
    static const size_t sizes[] = {1, 511, 512, MOST};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        fixture_begin(sizes[i]);
        memset(image.bytes, 0xf4, image.size);
        request.kind = KIND_FLAT;
        request.image.args = "not for it";
        assert_loads("flat");
        assert_int_equal(out.mode, LOAD_REAL16);
        assert_int_equal(out.rip, 0x7c00);
        assert_int_equal(out.rsp, 0x7c00);
        assert_int_equal(out.rdx, 0x80); /* the first disk */
        assert_int_equal(out.rax | out.rbx | out.rcx | out.rsi | out.rdi | out.rbp, 0);
        assert_int_equal(out.gdt_base | out.gdt_limit | out.cs | out.ds, 0);
        assert_guest_filled(0x500, 0x7c00 - 0x500, 0);
        assert_guest_filled(0x7c00, sizes[i], 0xf4);
        assert_guest_filled(0x7c00 + sizes[i], 0x1000, 0);
        assert_guest_filled(LOAD_LOW_END, 0xc00, 0);
    }
}

static void impossible_sizes(void **state)
{
    (void)state;
    fixture_begin(0);
    request.kind = KIND_FLAT;
    assert_refused(-E_FORMAT, "flat: a flat binary has 1 to 524288 bytes, not 0");
    fixture_begin(MOST + 1);
    request.kind = KIND_FLAT;
    assert_refused(-E_FORMAT, "flat: a flat binary has 1 to 524288 bytes, not 524289");
}

/* A text, a boot sector or a compressed kernel must not run as one by mistake. The first bytes of
 * compressed files: RFC 1952, the .xz file format, RFC 8878, bzip2 and LZ4 frame format. */
static void only_when_asked_for(void **state)
{
    static const struct {
        const char *begins;
        size_t size;
        const char *why;
    } cases[] = {
        {"# a text\n", 9, NULL},
        {"\xeb\x3c\x90", 3, NULL},
        {"", 0, NULL},
        {"\x1f\x8b\x08", 3, "the image is compressed by gzip: unpack it first"},
        {"\xfd"
         "7zXZ\0",
         6, "the image is compressed by xz: unpack it first"},
        {"\x28\xb5\x2f\xfd", 4, "the image is compressed by zstd: unpack it first"},
        {"BZh9", 4, "the image is compressed by bzip2: unpack it first"},
        {"\x04\x22\x4d\x18", 4, "the image is compressed by lz4: unpack it first"},
        {"\x02\x21\x4c\x18", 4, "the image is compressed by lz4: unpack it first"},
        {"\x5d\0\0\x80", 4, "the image is compressed by lzma: unpack it first"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        fixture_begin(i == 2 ? 0 : 512);
        memcpy(image.bytes, cases[i].begins, cases[i].size);
        assert_refused(-E_FORMAT,
                       cases[i].why
                           ? cases[i].why
                           : "neither a Linux kernel nor a multiboot or PVH image; if it is a "
                             "flat binary for real mode at 0x7c00, say \"kind\": \"flat\"");
        if (cases[i].size) {
            request.kind = KIND_FLAT;
            assert_loads("flat");
        }
    }
}

static void no_modules(void **state)
{
    static const uint8_t module[1] = {1};

    (void)state;
    fixture_begin(512);
    request.kind = KIND_FLAT;
    request.modules[0] = (struct load_blob){module, sizeof(module), NULL, NULL};
    request.module_count = 1;
    assert_refused(-E_NOTSUP, "flat: a flat binary cannot be given modules (1 are)");
}

static void too_little_memory(void **state)
{
    (void)state;
    fixture_begin(512);
    mem.size = 0x1ff000;
    assert_refused(-E_INVAL, "0x1ff000 bytes of guest memory are less than 2 MiB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(like_a_boot_sector),  cmocka_unit_test(impossible_sizes),
        cmocka_unit_test(only_when_asked_for), cmocka_unit_test(no_modules),
        cmocka_unit_test(too_little_memory),
    };

    return cmocka_run_group_tests(tests, NULL, fixture_end);
}

/* SOURCES: hv/load/load.c hv/load/place.c hv/load/plan.c hv/load/elf.c hv/load/multiboot1.c
 * hv/load/multiboot2.c hv/load/multiboot2_info.c hv/load/linux.c hv/lib.c hv/fmt.c */
/* Images that say nothing about themselves run like a boot sector. */
#include "test/unit/load_fixture.h"

#define MOST (512u << 10)

static void like_a_boot_sector(void **state)
{
    static const size_t sizes[] = {1, 511, 512, MOST};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        fixture_begin(sizes[i]);
        memset(image.bytes, 0xf4, image.size);
        request.image.args = "not for it";
        assert_loads("flat");
        assert_int_equal(out.mode, LOAD_REAL16);
        assert_int_equal(out.rip, 0x7c00);
        assert_int_equal(out.rsp, 0x7c00);
        assert_int_equal(out.rdx, 0x80); /* the first disk */
        assert_int_equal(out.rax | out.rbx | out.rcx | out.rsi | out.rdi | out.rbp, 0);
        assert_int_equal(out.gdt_base | out.gdt_limit | out.cs | out.ds, 0);
        assert_guest_filled(0, 0x7c00, 0);
        assert_guest_filled(0x7c00, sizes[i], 0xf4);
        assert_guest_filled(0x7c00 + sizes[i], 0x1000, 0);
        assert_guest_filled(LOAD_LOW_END, 0x1000, 0);
    }
}

static void impossible_sizes(void **state)
{
    (void)state;
    fixture_begin(0);
    assert_refused(-E_FORMAT, "not an image that can be loaded: no multiboot header, no Linux "
                              "kernel, and as a flat binary its 0 bytes are not between 1 and "
                              "524288");
    fixture_begin(MOST + 1);
    assert_refused(-E_FORMAT, "not an image that can be loaded: no multiboot header, no Linux "
                              "kernel, and as a flat binary its 524289 bytes are not between 1 and "
                              "524288");
}

static void no_modules(void **state)
{
    static const uint8_t module[1] = {1};

    (void)state;
    fixture_begin(512);
    request.modules[0] = (struct load_blob){module, sizeof(module), NULL};
    request.module_count = 1;
    assert_refused(-E_NOTSUP, "flat: a flat binary cannot be given modules (1 are)");
}

static void too_little_memory(void **state)
{
    (void)state;
    fixture_begin(512);
    mem.size = 0x1ff000;
    assert_refused(-E_INVAL, "0x1ff000 bytes of guest memory are less than 2 MB");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(like_a_boot_sector),
        cmocka_unit_test(impossible_sizes),
        cmocka_unit_test(no_modules),
        cmocka_unit_test(too_little_memory),
    };

    return cmocka_run_group_tests(tests, NULL, fixture_end);
}

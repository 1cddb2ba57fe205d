/* SOURCES: hv/gmem.c @load hv/lib.c hv/fmt.c */
/* Linux documentation "The Linux/x86 Boot Protocol". */
#include "test/unit/load_fixture.h"

#define SETUP  0x400u /* one sector after the boot sector */
#define KERNEL 0x200000u

static const uint8_t initrd[6000] = {[0] = 0x1f, [5999] = 0x8b};

/* A bzImage of protocol 2.15: a setup part of two sectors, 0x600 bytes of kernel. */
static void begin(void)
{
    fixture_begin(SETUP + 0x600);
    memset(image.bytes, 0xee, SETUP);
    memset(image.bytes + SETUP, 0xaa, 0x600);
    put(0x1f1, 1, 1);
    put(0x1fe, 0xaa55, 2);
    put(0x200, 0x6aeb, 2); /* a jump over the header, which ends at 0x26c */
    put32(0x202, 0x53726448);
    put(0x206, 0x020f, 2);
    put(0x210, 0, 1);
    put(0x211, 1, 1); /* LOADED_HIGH */
    put32(0x22c, 0x7fffffff);
    put32(0x230, 0x200000);
    put(0x234, 1, 1);
    put32(0x238, 2047);
    put(0x258, KERNEL, 8);
    put32(0x260, 0x10000);
}

static void handover(void **state)
{
    uint64_t zero;

    (void)state;
    begin();
    request.image.args = "console=ttyS0";
    request.modules[0] = (struct load_blob){initrd, sizeof(initrd), NULL, NULL};
    request.module_count = 1;
    assert_loads("linux");
    /* "32-bit Boot Protocol": __BOOT_CS, __BOOT_DS, esi = boot_params, ebp = edi = ebx = 0. */
    assert_protected_mode(KERNEL, 0x10);
    assert_int_equal(out.rax | out.rbx, 0);
    assert_true(out.rsp > 0x1000 && out.rsp <= LOAD_LOW_END);
    assert_guest_filled(out.rsp - 4096, 4096, 0);
    assert_guest_filled(KERNEL, 0x600, 0xaa);
    assert_guest_filled(KERNEL + 0x600, 0x600, 0);
    zero = out.rsi;
    assert_int_equal(zero % 4096, 0);
    assert_true(zero >= 0x1000 && zero < LOAD_LOW_END);
    /* Fields that the loader fills in. */
    assert_int_equal(guest_get_value(zero + 0x210, 1), 0xff);
    assert_int_equal(guest_get_value(zero + 0x211, 1), 0x81);
    assert_int_equal(guest32(zero + 0x214), KERNEL);
    assert_int_equal(guest32(zero + 0x218), MEMORY - 0x2000);
    assert_int_equal(guest32(zero + 0x21c), sizeof(initrd));
    assert_memory_equal(mem.base + MEMORY - 0x2000, initrd, sizeof(initrd));
    assert_int_equal(guest_get_value(zero + 0x224, 2), 0xe000);
    assert_int_equal(guest_get_value(zero + 0x226, 2), 0xeeee); /* not ours */
    assert_guest_string(guest32(zero + 0x228), "console=ttyS0");
    /* The kernel's own fields. */
    assert_int_equal(guest_get_value(zero + 0x1f1, 1), 1);
    assert_int_equal(guest_get_value(zero + 0x1fe, 2), 0xaa55);
    assert_int_equal(guest32(zero + 0x202), 0x53726448);
    assert_int_equal(guest_get_value(zero + 0x206, 2), 0x020f);
    assert_int_equal(guest64(zero + 0x258), KERNEL);
    assert_int_equal(guest32(zero + 0x260), 0x10000);
    assert_guest_filled(zero + 0x264, 4, 0xee);
    /* And nothing else of the image. */
    assert_guest_filled(zero, 0x1e8, 0);
    assert_guest_filled(zero + 0x1e9, 8, 0);
    assert_guest_filled(zero + 0x268, 0x2d0 - 0x268, 0);
    assert_guest_filled(zero + 0x2d0 + 80, 4096 - 0x2d0 - 80, 0);
}

static void e820(void **state)
{
    static const uint64_t base[] = {0, 0x9f000, 0xf0000, 0x100000};
    static const uint64_t size[] = {0x9f000, 0x1000, 0x10000, MEMORY - 0x100000};
    static const uint32_t type[] = {1, 2, 2, 1};

    (void)state;
    begin();
    assert_loads("linux");
    assert_int_equal(guest_get_value(out.rsi + 0x1e8, 1), 4);
    for (unsigned i = 0; i < 4; i++) {
        uint64_t at = out.rsi + 0x2d0 + 20ull * i;

        assert_int_equal(guest64(at), base[i]);
        assert_int_equal(guest64(at + 8), size[i]);
        assert_int_equal(guest32(at + 16), type[i]);
    }
    /* No initrd, no command line. */
    assert_int_equal(guest32(out.rsi + 0x218), 0);
    assert_int_equal(guest32(out.rsi + 0x21c), 0);
    assert_guest_string(guest32(out.rsi + 0x228), "");
}

static void initrd_below_its_limit(void **state)
{
    (void)state;
    begin();
    put32(0x22c, 0x37ffff);
    request.modules[0] = (struct load_blob){initrd, sizeof(initrd), NULL, NULL};
    request.module_count = 1;
    assert_loads("linux");
    assert_int_equal(guest32(out.rsi + 0x218), 0x37e000);
    put32(0x22c, 0xffffffff); /* plus one is 4 GB, not 0 */
    assert_loads("linux");
    assert_int_equal(guest32(out.rsi + 0x218), MEMORY - 0x2000);
    /* It avoids the memory that the kernel needs for itself. */
    put32(0x260, 0x200000);
    assert_loads("linux");
    assert_int_equal(guest32(out.rsi + 0x218), 0x1fe000);
    put32(0x22c, 0x100fff);
    assert_refused(-E_NOSPC,
                   "module: no free place for 0x1770 bytes in 0x400000 bytes of guest memory");
    put32(0x22c, 0xffffffff);
    request.modules[0].size = MEMORY;
    assert_refused(-E_NOSPC,
                   "module: no free place for 0x400000 bytes in 0x400000 bytes of guest memory");
    request.module_count = 2;
    assert_refused(-E_FORMAT, "Linux: 2 modules; one (the initrd) at most");
}

static void command_line(void **state)
{
    static char args[64]; /* the request outlives this test */

    (void)state;
    memset(args, 'x', sizeof(args));
    args[63] = 0;
    begin();
    request.image.args = args;
    put32(0x238, 63);
    assert_loads("linux");
    assert_guest_string(guest32(out.rsi + 0x228), args);
    put32(0x238, 62);
    assert_refused(-E_FORMAT, "Linux: the command line is longer than the kernel's limit of 62");
}

static void versions(void **state)
{
    (void)state;
    begin();
    put(0x206, 0x020c, 2);
    assert_loads("linux");
    put(0x206, 0x020b, 2);
    assert_refused(-E_FORMAT, "Linux: boot protocol 2.11 is older than 2.12");
    put(0x206, 0, 2);
    assert_refused(-E_FORMAT, "Linux: boot protocol 0.00 is older than 2.12");
    begin();
    put(0x211, 0, 1);
    assert_refused(-E_FORMAT, "Linux: a zImage; only bzImage loads");
    begin();
    put(0x201, 0x65, 1);
    assert_refused(-E_FORMAT, "Linux: the setup header ends at 0x267, before 0x268");
    put(0x201, 0x66, 1);
    assert_loads("linux");
    /* Without either signature it is not a Linux image. */
    begin();
    put32(0x202, 0);
    assert_int_equal(load(), -E_FORMAT);
    assert_non_null(strstr(error.text, "neither a Linux kernel nor a multiboot or PVH image"));
    begin();
    put(0x1fe, 0, 2);
    request.kind = KIND_FLAT;
    assert_loads("flat");
}

static void truncated(void **state)
{
    (void)state;
    begin();
    for (image.size = 0x206; image.size < 0x268; image.size++) {
        assert_int_equal(load(), -E_FORMAT);
        assert_non_null(strstr(error.text, "Linux: the setup header (0x268 bytes) ends after the"));
    }
    image.size = 0x267;
    assert_refused(-E_FORMAT, "Linux: the setup header (0x268 bytes) ends after the image (0x267)");
    image.size = SETUP;
    assert_refused(-E_FORMAT, "Linux: the setup part (0x400 bytes) ends after the image (0x400)");
    image.size++;
    assert_loads("linux");
    assert_guest_filled(KERNEL, 1, 0xaa);
    assert_guest_filled(KERNEL + 1, 16, 0);
    put(0x1f1, 0xff, 1);
    assert_refused(-E_FORMAT, "Linux: the setup part (0x20000 bytes) ends after the image (0x401)");
    put(0x1f1, 0, 1); /* stands for 4 */
    assert_refused(-E_FORMAT, "Linux: the setup part (0xa00 bytes) ends after the image (0x401)");
}

/* A kernel moves itself to its preferred address if it is loaded below, so room elsewhere does not
 * help, relocatable or not. */
static void hostile_addresses(void **state)
{
    static const struct {
        uint64_t preferred;
        uint32_t init_size;
        const char *why;
    } cases[] = {
        {0x1000000, 0x10000,
         "Linux kernel: 0x1000000+0x10000 does not fit: the guest has 4 MiB of memory and needs at "
         "least 18"},
        {KERNEL, 0x200001,
         "Linux kernel: 0x200000+0x200001 does not fit: the guest has 4 MiB of memory and needs at "
         "least 6"},
        {KERNEL, UINT32_MAX,
         "Linux kernel: 0x200000+0xffffffff is not usable memory (0..0x9f000, 0x100000..0x400000)"},
        {MEMORY - 0x5ff, 0,
         "Linux kernel: 0x3ffa01+0x600 does not fit: the guest has 4 MiB of memory and needs at "
         "least 6"},
        {UINT64_MAX, 0x10000,
         "Linux kernel: 0xffffffffffffffff+0x10000 is not usable memory (0..0x9f000, "
         "0x100000..0x400000)"},
        {0x9f000, 0x1000,
         "Linux kernel: 0x9f000+0x1000 is not usable memory (0..0x9f000, 0x100000..0x400000)"},
    };

    (void)state;
    for (unsigned i = 0; i < 2 * ARRAY_LEN(cases); i++) {
        begin();
        put(0x234, i & 1, 1);
        put(0x258, cases[i / 2].preferred, 8);
        put32(0x260, cases[i / 2].init_size);
        assert_refused(-E_NOSPC, cases[i / 2].why);
    }
    begin();
    put32(0x260, 0); /* less than the image itself */
    put(0x258, MEMORY - 0x600, 8);
    assert_loads("linux");
    assert_guest_filled(MEMORY - 0x600, 0x600, 0xaa);
    /* A kernel that fills low memory leaves no room for the boot parameters. */
    begin();
    put(0x258, 0, 8);
    put32(0x260, 0x9f000);
    assert_refused(-E_NOSPC,
                   "command line: no free place for 0x1 bytes in 0x400000 bytes of guest memory");
    put32(0x260, 0x9e000);
    assert_refused(
        -E_NOSPC,
        "boot parameters: no free place for 0x1000 bytes in 0x400000 bytes of guest memory");
    put32(0x260, 0x9d000);
    assert_refused(-E_NOSPC,
                   "stack: no free place for 0x1000 bytes in 0x400000 bytes of guest memory");
    put32(0x260, 0x9c000);
    assert_loads("linux");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(handover),
        cmocka_unit_test(e820),
        cmocka_unit_test(initrd_below_its_limit),
        cmocka_unit_test(command_line),
        cmocka_unit_test(versions),
        cmocka_unit_test(truncated),
        cmocka_unit_test(hostile_addresses),
    };

    return cmocka_run_group_tests(tests, NULL, fixture_end);
}

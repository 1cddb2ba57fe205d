/* SOURCES: hv/gmem.c @load hv/lib.c hv/fmt.c */
/* Headers of both versions, and the boot information for the guest. Multiboot Specification 0.6.96
 * "Boot information format", Multiboot2 Specification 2.0 "Boot information format". */
#include "test/unit/load_fixture.h"

#include "hv/fmt.h"

#define HEADER 0x200u
#define CODE   0x1000u
#define KB8    8192u
#define KB32   32768u

static const uint8_t module_a[5000] = {[0] = 0xa1, [4999] = 0xa2};
static const uint8_t module_b[1] = {0xb1};

/* An ELF file whose one segment goes to 1 MB. */
static void begin(bool is64)
{
    fixture_begin(0x2000);
    put_elf(is64, 0x100010, 1);
    memset(image.bytes + CODE, 0xaa, 0x100);
    if (is64)
        put_segment64(0, CODE, 0x100000, 0x100, 0x200);
    else
        put_segment32(0, CODE, 0x100000, 0x100, 0x200);
}

static void begin1(uint32_t flags)
{
    begin(false);
    put_multiboot1(HEADER, flags);
}

static void begin2(uint32_t length)
{
    begin(true);
    put_multiboot2(HEADER, length);
    put_tag(HEADER + length - 8, 0, 0, 8);
}

static void add_modules(void)
{
    request.modules[0] = (struct load_blob){module_a, sizeof(module_a), "first module", NULL};
    request.modules[1] = (struct load_blob){module_b, sizeof(module_b), NULL, NULL};
    request.modules[2] = (struct load_blob){NULL, 0, "", NULL};
    request.module_count = 3;
}

/* "... too long for the boot information (N bytes)" */
static const char *too_long(void)
{
    static char text[160];

    (void)fmt(text, sizeof(text),
              "multiboot2: command lines and section headers are too long for the boot information "
              "(%zu bytes)",
              room_for_loaders());
    return text;
}

/* ---- version 1 ---- */

static void info1(void **state)
{
    uint64_t info, map, modules;

    (void)state;
    begin1(3);
    request.image.args = "kernel a=1";
    add_modules();
    assert_loads("multiboot1");
    assert_protected_mode(0x100010, 0x08);
    assert_int_equal(out.rax, 0x2badb002);
    assert_int_equal(out.rsi | out.rsp, 0);
    assert_guest_filled(0x100000, 0x100, 0xaa);
    info = out.rbx;
    assert_true(info >= 0x1000 && info < LOAD_LOW_END);
    assert_int_equal(guest32(info), 1u << 0 | 1u << 2 | 1u << 3 | 1u << 6 | 1u << 9);
    assert_int_equal(guest32(info + 4), 0x9f000 / 1024);
    assert_int_equal(guest32(info + 8), (MEMORY - 0x100000) / 1024);
    assert_int_equal(guest32(info + 12), 0);
    assert_guest_string(guest32(info + 16), "kernel a=1");
    assert_int_equal(guest32(info + 20), 3);
    modules = guest32(info + 24);
    assert_guest_filled(info + 28, 16, 0); /* no symbols */
    assert_int_equal(guest32(info + 44), 4 * 24);
    map = guest32(info + 48);
    assert_guest_filled(info + 52, 12, 0); /* no drives, no configuration table */
    assert_guest_string(guest32(info + 64), "Bulkhead");
    for (unsigned i = 0; i < 4; i++) {
        static const uint64_t base[] = {0, 0x9f000, 0xf0000, 0x100000};
        static const uint64_t length[] = {0x9f000, 0x1000, 0x10000, MEMORY - 0x100000};
        static const uint32_t type[] = {1, 2, 2, 1};

        assert_int_equal(guest32(map + 24ull * i), 20); /* the size field does not count itself */
        assert_int_equal(guest64(map + 24ull * i + 4), base[i]);
        assert_int_equal(guest64(map + 24ull * i + 12), length[i]);
        assert_int_equal(guest32(map + 24ull * i + 20), type[i]);
    }
    /* Behind the image, one after the other, as GRUB puts them. */
    assert_int_equal(guest32(modules), 0x101000);
    assert_int_equal(guest32(modules + 4), 0x101000 + 5000);
    assert_guest_string(guest32(modules + 8), "first module");
    assert_int_equal(guest32(modules + 12), 0);
    assert_memory_equal(mem.base + guest32(modules), module_a, sizeof(module_a));
    assert_int_equal(guest32(modules + 16), 0x103000);
    assert_int_equal(guest32(modules + 20), 0x103000 + 1);
    assert_guest_string(guest32(modules + 24), "");
    assert_int_equal(mem.base[0x103000], 0xb1);
    assert_int_equal(guest32(modules + 32), 0x104000);
    assert_int_equal(guest32(modules + 36), 0x104000);
}

static void without_arguments1(void **state)
{
    (void)state;
    begin1(0);
    assert_loads("multiboot1");
    assert_guest_string(guest32(out.rbx + 16), "");
    assert_int_equal(guest32(out.rbx + 20), 0);
}

static void elf64_in_version1(void **state)
{
    (void)state;
    begin(true);
    put_multiboot1(HEADER, 0);
    assert_loads("multiboot1");
    assert_protected_mode(0x100010, 0x08);
}

static void place_of_header1(void **state)
{
    static const char *const none = "ELF without a multiboot1 header (first 8 KiB), multiboot2 "
                                    "header (first 32 KiB) or PVH note";

    (void)state;
    begin(false);
    image.size = 0x4000;
    put_multiboot1(KB8 - 12, 0); /* the last place where it is complete */
    assert_loads("multiboot1");
    begin(false);
    image.size = 0x4000;
    put_multiboot1(KB8 - 8, 0);
    assert_refused(-E_FORMAT, none);
    begin(false);
    put_multiboot1(HEADER + 2, 0); /* not aligned to 4 */
    assert_refused(-E_FORMAT, none);
    begin(false);
    put_multiboot1(image.size - 12, 0);
    assert_loads("multiboot1");
    image.size--; /* the checksum is cut */
    assert_refused(-E_FORMAT, none);
}

static void checksum1(void **state)
{
    (void)state;
    begin1(0);
    put32(HEADER + 8, 0);
    assert_refused(-E_FORMAT, "multiboot1: the header at 0x200 has a wrong checksum");
    /* A number that looks like a header does not hide the real one after it. */
    put_multiboot1(HEADER + 16, 0);
    assert_loads("multiboot1");
    /* A damaged header, in a file that is not ELF. */
    fixture_begin(512);
    put32(4, 0x1badb002);
    assert_refused(-E_FORMAT, "multiboot1: the header at 0x4 has a wrong checksum");
    /* A flat binary may have the number as a constant. */
    request.kind = KIND_FLAT;
    assert_loads("flat");
}

static void required_flags1(void **state)
{
    (void)state;
    begin1(0x0008);
    assert_refused(-E_NOTSUP,
                   "multiboot1: the header requires features (flags 0x8) that are not offered");
    begin1(0x8000);
    assert_refused(-E_NOTSUP,
                   "multiboot1: the header requires features (flags 0x8000) that are not offered");
    begin1(0xfffe0007); /* the upper half is optional */
    assert_loads("multiboot1");
}

/* The five address fields; the image is no ELF file. */
static void begin_address1(size_t at, uint32_t header, uint32_t load_at, uint32_t end, uint32_t bss,
                           uint32_t entry)
{
    fixture_begin(0x2000);
    memset(image.bytes, 0xcc, image.size);
    put_multiboot1(at, 1u << 16);
    put32(at + 12, header);
    put32(at + 16, load_at);
    put32(at + 20, end);
    put32(at + 24, bss);
    put32(at + 28, entry);
}

static void address_fields1(void **state)
{
    (void)state;
    /* 0x800 bytes from 0x100 of the file on, then 0x800 of zeros. */
    begin_address1(0x200, 0x180100, 0x180000, 0x180800, 0x181000, 0x180020);
    assert_loads("multiboot1");
    assert_protected_mode(0x180020, 0x08);
    assert_guest_filled(0x180000, 0x100, 0xcc);
    assert_int_equal(guest32(0x180100), 0x1badb002);
    assert_guest_filled(0x180120, 0x6e0, 0xcc);
    assert_guest_filled(0x180800, 0x800, 0);
    /* No end address: all of the file. */
    begin_address1(0, 0x180000, 0x180000, 0, 0, 0x181fff);
    assert_loads("multiboot1");
    assert_guest_filled(0x181000, 0x1000, 0xcc);
    assert_guest_filled(0x182000, 0x10, 0);
}

static void hostile_address_fields1(void **state)
{
    static const struct {
        uint32_t header, load, end, bss, entry;
        int rc;
        const char *why;
    } cases[] = {
        {0x17ffff, 0x180000, 0, 0, 0x180000, E_FORMAT,
         "multiboot1: header address 0x17ffff and load address 0x180000 contradict the header's "
         "place in the image (0x200)"},
        {0x180201, 0x180000, 0, 0, 0x180000, E_FORMAT,
         "multiboot1: header address 0x180201 and load address 0x180000 contradict the header's "
         "place in the image (0x200)"},
        {0x180200, 0x180000, 0x182001, 0, 0x180000, E_FORMAT,
         "multiboot1: load address 0x180000, end 0x182001, bss end 0x0 do not fit the image "
         "(0x2000 bytes)"},
        {0x180200, 0x180000, 0x17ffff, 0, 0x180000, E_FORMAT,
         "multiboot1: load address 0x180000, end 0x17ffff, bss end 0x0 do not fit the image "
         "(0x2000 bytes)"},
        {0x180200, 0x180000, 0x181000, 0x180fff, 0x180000, E_FORMAT,
         "multiboot1: load address 0x180000, end 0x181000, bss end 0x180fff do not fit the image "
         "(0x2000 bytes)"},
        {0x180200, 0x180000, 0x181000, 0x100000, 0x180000, E_FORMAT,
         "multiboot1: load address 0x180000, end 0x181000, bss end 0x100000 do not fit the image "
         "(0x2000 bytes)"},
        {0x180200, 0x180000, 0x180000, 0x180000, 0x180000, E_FORMAT,
         "multiboot1 image: nothing to load at 0x180000"},
        {0x180200, 0x180000, 0, 0xffffffff, 0x180000, E_NOSPC,
         "multiboot1 image: 0x180000+0xffe7ffff is not usable memory (0..0x9f000, "
         "0x100000..0x400000)"},
        {0xffffff00, 0xfffffe00, 0, 0, 0xfffffe00, E_NOSPC,
         "multiboot1 image: 0xfffffe00+0x1f00 is not usable memory (0..0x9f000, "
         "0x100000..0x400000)"},
        {0x180200, 0x180000, 0, 0, 0x182000, E_FORMAT,
         "multiboot1: the entry point 0x182000 lies outside of what the image loads"},
        {0x180200, 0x180000, 0, 0, 0, E_FORMAT,
         "multiboot1: the entry point 0x0 lies outside of what the image loads"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin_address1(0x200, cases[i].header, cases[i].load, cases[i].end, cases[i].bss,
                       cases[i].entry);
        assert_refused(-cases[i].rc, cases[i].why);
    }
    begin_address1(0x200, 0x180200, 0x180000, 0, 0, 0x180000);
    image.size = 0x200 + 31;
    assert_refused(-E_FORMAT,
                   "multiboot1: the header 0x200+0x20 ends after the image (0x21f bytes)");
    image.size++;
    assert_loads("multiboot1");
    fixture_begin(0x2000);
    put_multiboot1(0, 0);
    assert_refused(-E_FORMAT, "multiboot1: neither ELF nor address fields in the header");
}

/* ---- both versions ---- */

static void begin_version(unsigned version)
{
    if (version == 1)
        begin1(0);
    else
        begin2(24);
}

static void modules_that_do_not_fit(void **state)
{
    uint8_t *large = calloc(1, MEMORY);

    (void)state;
    assert_non_null(large);
    for (unsigned version = 1; version <= 2; version++) {
        begin_version(version);
        request.modules[0] = (struct load_blob){large, MEMORY - 0x100000, NULL, NULL};
        request.module_count = 1;
        assert_refused(
            -E_NOSPC, "module: no free place for 0x300000 bytes in 0x400000 bytes of guest memory");
        request.modules[0].size = UINT64_MAX;
        assert_refused(-E_NOSPC, "module: no free place for 0xffffffffffffffff bytes in 0x400000 "
                                 "bytes of guest memory");
        /* As large as all memory above the image's last page. */
        request.modules[0].size = MEMORY - 0x101000;
        assert_loads(version == 1 ? "multiboot1" : "multiboot2");
        request.module_count = 2;
        request.modules[1] = (struct load_blob){module_b, 1, NULL, NULL};
        fixture_end(NULL);
        mem.base = calloc(1, MEMORY);
        assert_refused(-E_NOSPC,
                       "module: no free place for 0x1 bytes in 0x400000 bytes of guest memory");
        request.module_count = LOAD_MODULES_MAX + 1;
        assert_refused(-E_INVAL, "9 modules are more than 8");
        request.module_count = UINT32_MAX;
        assert_refused(-E_INVAL, "4294967295 modules are more than 8");
    }
    free(large);
}

static void most_modules(void **state)
{
    (void)state;
    for (unsigned version = 1; version <= 2; version++) {
        begin_version(version);
        request.module_count = LOAD_MODULES_MAX;
        for (unsigned i = 0; i < LOAD_MODULES_MAX; i++)
            request.modules[i] = (struct load_blob){module_a, sizeof(module_a), "x", NULL};
        assert_loads(version == 1 ? "multiboot1" : "multiboot2");
        for (unsigned i = 1; i <= LOAD_MODULES_MAX; i++)
            assert_memory_equal(mem.base + 0x101000 + 0x2000ull * (i - 1), module_a,
                                sizeof(module_a));
    }
}

static void long_command_lines(void **state)
{
    char *args = malloc(0x9f001);

    (void)state;
    assert_non_null(args);
    memset(args, 'x', 0x9f000);
    args[0x9f000] = 0;
    begin1(0);
    request.image.args = args;
    assert_refused(
        -E_NOSPC,
        "command line: no free place for 0x9f001 bytes in 0x400000 bytes of guest memory");
    begin2(24);
    request.image.args = args;
    assert_refused(-E_FORMAT, too_long());
    request.image.args = "";
    request.modules[0] =
        (struct load_blob){module_b, 1, args + 0x9f000 - room_for_loaders() + 92, NULL};
    request.module_count = 1;
    assert_refused(-E_FORMAT, too_long());
    request.modules[0].args = args + 0x9f000 - 7800;
    assert_loads("multiboot2");
    free(args);
}

static void too_little_memory(void **state)
{
    (void)state;
    for (unsigned version = 1; version <= 2; version++) {
        begin_version(version);
        mem.size = 0x1fffff;
        assert_refused(-E_INVAL, "0x1fffff bytes of guest memory are less than 2 MiB");
        mem.size = 0;
        assert_refused(-E_INVAL, "0x0 bytes of guest memory are less than 2 MiB");
        mem.size = 0x200000;
        assert_loads(version == 1 ? "multiboot1" : "multiboot2");
    }
}

/* ---- version 2 ---- */

static void info2(void **state)
{
    uint64_t at, end;

    (void)state;
    begin2(24);
    request.image.args = "kernel a=1";
    add_modules();
    assert_loads("multiboot2");
    assert_protected_mode(0x100010, 0x08);
    assert_int_equal(out.rax, 0x36d76289);
    assert_int_equal(out.rsi | out.rsp, 0);
    at = out.rbx;
    assert_int_equal(at % 8, 0);
    end = at + guest32(at);
    assert_int_equal(guest32(at + 4), 0);
    at += 8;
    /* Tag: type, size, contents; the next begins at a multiple of 8. */
    assert_int_equal(guest32(at), 1);
    assert_int_equal(guest32(at + 4), 8 + 11);
    assert_guest_string(at + 8, "kernel a=1");
    assert_guest_filled(at + 19, 5, 0);
    at += 24;
    assert_int_equal(guest32(at), 2);
    assert_int_equal(guest32(at + 4), 8 + 9);
    assert_guest_string(at + 8, "Bulkhead");
    at += 24;
    assert_int_equal(guest32(at), 4);
    assert_int_equal(guest32(at + 4), 16);
    assert_int_equal(guest32(at + 8), 0x9f000 / 1024);
    assert_int_equal(guest32(at + 12), (MEMORY - 0x100000) / 1024);
    at += 16;
    assert_int_equal(guest32(at), 6);
    assert_int_equal(guest32(at + 4), 16 + 4 * 24);
    assert_int_equal(guest32(at + 8), 24);
    assert_int_equal(guest32(at + 12), 0);
    for (unsigned i = 0; i < 4; i++) {
        static const uint64_t base[] = {0, 0x9f000, 0xf0000, 0x100000};
        static const uint64_t length[] = {0x9f000, 0x1000, 0x10000, MEMORY - 0x100000};
        static const uint32_t type[] = {1, 2, 2, 1};

        assert_int_equal(guest64(at + 16 + 24ull * i), base[i]);
        assert_int_equal(guest64(at + 24 + 24ull * i), length[i]);
        assert_int_equal(guest32(at + 32 + 24ull * i), type[i]);
        assert_int_equal(guest32(at + 36 + 24ull * i), 0);
    }
    at += 16 + 4 * 24;
    assert_int_equal(guest32(at), 3);
    assert_int_equal(guest32(at + 4), 16 + 13);
    assert_int_equal(guest32(at + 8), 0x101000);
    assert_int_equal(guest32(at + 12), 0x101000 + 5000);
    assert_guest_string(at + 16, "first module");
    assert_memory_equal(mem.base + guest32(at + 8), module_a, sizeof(module_a));
    at += 32;
    assert_int_equal(guest32(at), 3);
    assert_int_equal(guest32(at + 4), 16 + 1);
    assert_int_equal(guest32(at + 8), 0x103000);
    assert_int_equal(guest32(at + 12), 0x103000 + 1);
    assert_int_equal(mem.base[0x103000], 0xb1);
    at += 24;
    assert_int_equal(guest32(at), 3);
    assert_int_equal(guest32(at + 8), 0x104000);
    assert_int_equal(guest32(at + 12), 0x104000);
    at += 24;
    assert_int_equal(guest64(at), 8ull << 32); /* the end */
    assert_int_equal(at + 8, end);
}

static void elf32_in_version2(void **state)
{
    (void)state;
    begin(false);
    put_multiboot2(HEADER, 24);
    put_tag(HEADER + 16, 0, 0, 8);
    assert_loads("multiboot2");
    assert_protected_mode(0x100010, 0x08);
}

static void version2_goes_first(void **state)
{
    (void)state;
    begin2(24);
    put_multiboot1(HEADER - 0x40, 0);
    assert_loads("multiboot2");
}

static void place_of_header2(void **state)
{
    static const char *const none = "ELF without a multiboot1 header (first 8 KiB), multiboot2 "
                                    "header (first 32 KiB) or PVH note";

    (void)state;
    begin(true);
    image.size = 0x9000;
    put_multiboot2(KB32 - 24, 24);
    put_tag(KB32 - 8, 0, 0, 8);
    assert_loads("multiboot2");
    begin(true);
    image.size = 0x9000;
    put_multiboot2(KB32 - 16, 24); /* its end tag is beyond */
    put_tag(KB32, 0, 0, 8);
    assert_refused(-E_FORMAT, "multiboot2: the header 0x7ff0+0x18 ends after the image (0x9000 "
                              "bytes) or 32 KiB");
    begin(true);
    image.size = 0x9000;
    put_multiboot2(KB32, 24);
    put_tag(KB32 + 16, 0, 0, 8);
    assert_refused(-E_FORMAT, none);
    begin(true);
    put_multiboot2(HEADER + 4, 24); /* not aligned to 8 */
    assert_refused(-E_FORMAT, none);
    begin(true);
    put_multiboot2(image.size - 16, 24);
    assert_refused(-E_FORMAT, "multiboot2: the header 0x1ff0+0x18 ends after the image (0x2000 "
                              "bytes) or 32 KiB");
    image.size--;
    assert_refused(-E_FORMAT, none);
}

static void damaged_header2(void **state)
{
    (void)state;
    begin2(24);
    put32(HEADER + 12, 1);
    assert_refused(-E_FORMAT, "multiboot2: the header at 0x200 has a wrong checksum");
    begin2(24);
    put32(HEADER + 4, 4); /* MIPS */
    put32(HEADER + 12, 0u - 0xe85250d6u - 24 - 4);
    assert_refused(-E_FORMAT, "multiboot2: the header at 0x200 is not for x86");
    /* The first of several reasons is reported. */
    put_multiboot1(HEADER + 32, 0);
    put32(HEADER + 40, 1);
    assert_refused(-E_FORMAT, "multiboot2: the header at 0x200 is not for x86");
    begin2(24);
    put_multiboot2(HEADER, 15);
    assert_refused(-E_FORMAT, "multiboot2: the header 0x200+0xf ends after the image (0x2000 "
                              "bytes) or 32 KiB");
    put_multiboot2(HEADER, 0xfffffff0);
    assert_refused(-E_FORMAT, "multiboot2: the header 0x200+0xfffffff0 ends after the image "
                              "(0x2000 bytes) or 32 KiB");
    put_multiboot2(HEADER, 16);
    assert_refused(-E_FORMAT, "multiboot2: the header 0x200+0x10 has no end tag");
    put_multiboot2(HEADER, 23);
    assert_refused(-E_FORMAT, "multiboot2: the header 0x200+0x17 has no end tag");
}

static void hostile_tags(void **state)
{
    static const struct {
        uint16_t type, flags;
        uint32_t size, word;
        int rc;
        const char *why;
    } cases[] = {
        {11, 0, 24, 0, E_NOTSUP,
         "multiboot2: the image requires header tag 11, which is not offered"},
        {10, 0, 23, 0, E_FORMAT, "multiboot2: the relocatable tag has 23 bytes instead of 24"},
        {0xffff, 0xfffe, 8, 0, E_NOTSUP,
         "multiboot2: the image requires header tag 65535, which is not offered"},
        {1, 0, 12, 22, E_NOTSUP,
         "multiboot2: the image requires boot information 22, which is not offered"},
        {1, 0, 12, 0xffffffff, E_NOTSUP,
         "multiboot2: the image requires boot information 4294967295, which is not offered"},
        {2, 0, 23, 0, E_FORMAT, "multiboot2: the address tag has 23 bytes instead of 24"},
        {3, 0, 11, 0, E_FORMAT, "multiboot2: the entry address tag has 11 bytes instead of 12"},
        {6, 0, 7, 0, E_FORMAT, "multiboot2: the header tag at 0x210 has an impossible size, 0x7"},
        {6, 0, 0, 0, E_FORMAT, "multiboot2: the header tag at 0x210 has an impossible size, 0x0"},
        {6, 0, 33, 0, E_FORMAT, "multiboot2: the header tag at 0x210 has an impossible size, 0x21"},
        {6, 0, 0xffffffff, 0, E_FORMAT,
         "multiboot2: the header tag at 0x210 has an impossible size, 0xffffffff"},
        {6, 0, 32, 0, E_FORMAT, "multiboot2: the header 0x200+0x30 has no end tag"},
        {6, 0, 25, 0, E_FORMAT, "multiboot2: the header 0x200+0x30 has no end tag"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin2(16 + 24 + 8);
        put_tag(HEADER + 16, cases[i].type, cases[i].flags, cases[i].size);
        put32(HEADER + 24, cases[i].word);
        assert_refused(-cases[i].rc, cases[i].why);
    }
}

static void optional_tags(void **state)
{
    (void)state;
    begin2(16 + 16 + 16 + 8 + 8);
    put_tag(HEADER + 16, 5, 1, 12); /* framebuffer */
    put_tag(HEADER + 32, 1, 1, 16); /* information that does not exist */
    put32(HEADER + 40, 22);
    put_tag(HEADER + 48, 6, 0, 8);
    assert_loads("multiboot2");
    put_tag(HEADER + 32, 1, 0, 16); /* information that exists */
    put32(HEADER + 40, 6);
    put32(HEADER + 44, 3);
    assert_loads("multiboot2");
}

static void entry_tag(void **state)
{
    (void)state;
    begin2(16 + 16 + 8);
    put_tag(HEADER + 16, 3, 0, 12);
    put32(HEADER + 24, 0x100044);
    assert_loads("multiboot2");
    assert_int_equal(out.rip, 0x100044);
    put32(HEADER + 24, 0x100200);
    assert_refused(-E_FORMAT,
                   "multiboot2: the entry point 0x100200 lies outside of what the image loads");
    /* The block of information is no valid entry point either. */
    put32(HEADER + 24, 0x1000);
    assert_refused(-E_FORMAT,
                   "multiboot2: the entry point 0x1000 lies outside of what the image loads");
}

static void begin_address2(uint32_t header, uint32_t load_at, uint32_t end, uint32_t bss,
                           uint32_t entry)
{
    fixture_begin(0x2000);
    memset(image.bytes, 0xcc, image.size);
    put_multiboot2(HEADER, 16 + 24 + 16 + 8);
    put_tag(HEADER + 16, 2, 0, 24);
    put32(HEADER + 24, header);
    put32(HEADER + 28, load_at);
    put32(HEADER + 32, end);
    put32(HEADER + 36, bss);
    put_tag(HEADER + 40, 3, 0, 12);
    put32(HEADER + 48, entry);
    put_tag(HEADER + 56, 0, 0, 8);
}

static void address_tag(void **state)
{
    (void)state;
    begin_address2(0x180100, 0x180000, 0x180800, 0x181000, 0x180020);
    assert_loads("multiboot2");
    assert_protected_mode(0x180020, 0x08);
    assert_guest_filled(0x180000, 0x100, 0xcc);
    assert_int_equal(guest32(0x180100), 0xe85250d6);
    assert_guest_filled(0x180140, 0x6c0, 0xcc);
    assert_guest_filled(0x180800, 0x800, 0);
    begin_address2(0x180200, 0x180000, 0, 0, 0x181fff);
    assert_loads("multiboot2");
    assert_guest_filled(0x181000, 0x1000, 0xcc);
    put_tag(HEADER + 40, 6, 0, 16);
    assert_refused(-E_FORMAT, "multiboot2: an address tag without an entry address tag");
    put_tag(HEADER + 16, 6, 0, 24);
    assert_refused(-E_FORMAT, "multiboot2: neither ELF nor an address tag");
}

static void hostile_address_tag(void **state)
{
    static const struct {
        uint32_t header, load, end, bss, entry;
        int rc;
        const char *why;
    } cases[] = {
        {0x17ffff, 0x180000, 0, 0, 0x180000, E_FORMAT,
         "multiboot2: header address 0x17ffff and load address 0x180000 contradict the header's "
         "place in the image (0x200)"},
        {0x180201, 0x180000, 0, 0, 0x180000, E_FORMAT,
         "multiboot2: header address 0x180201 and load address 0x180000 contradict the header's "
         "place in the image (0x200)"},
        {0x1ff, 0xffffffff, 0, 0, 0x180000, E_FORMAT,
         "multiboot2: header address 0x1ff and load address 0xffffffff contradict the header's "
         "place in the image (0x200)"},
        {0x180200, 0x180000, 0x182001, 0, 0x180000, E_FORMAT,
         "multiboot2: load address 0x180000, end 0x182001, bss end 0x0 do not fit the image "
         "(0x2000 bytes)"},
        {0x180200, 0x180000, 1, 0, 0x180000, E_FORMAT,
         "multiboot2: load address 0x180000, end 0x1, bss end 0x0 do not fit the image (0x2000 "
         "bytes)"},
        {0x180200, 0x180000, 0x181000, 0x180fff, 0x180000, E_FORMAT,
         "multiboot2: load address 0x180000, end 0x181000, bss end 0x180fff do not fit the image "
         "(0x2000 bytes)"},
        {0x180200, 0x180000, 0x181000, 0x17ffff, 0x180000, E_FORMAT,
         "multiboot2: load address 0x180000, end 0x181000, bss end 0x17ffff do not fit the image "
         "(0x2000 bytes)"},
        {0x180200, 0x180000, 0x180000, 0x180000, 0x180000, E_FORMAT,
         "multiboot2 image: nothing to load at 0x180000"},
        {0x180200, 0x180000, 0, 0xffffffff, 0x180000, E_NOSPC,
         "multiboot2 image: 0x180000+0xffe7ffff is not usable memory (0..0x9f000, "
         "0x100000..0x400000)"},
        {0x180200, 0x180000, 0, 0, 0x182000, E_FORMAT,
         "multiboot2: the entry point 0x182000 lies outside of what the image loads"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin_address2(cases[i].header, cases[i].load, cases[i].end, cases[i].bss, cases[i].entry);
        assert_refused(-cases[i].rc, cases[i].why);
    }
}

/* Header tags that GRUB accepts on a PC without EFI, and all boot information in the specification:
 * no image is refused for them. Multiboot2 Specification 2.0, 3.1. */
static void what_grub_takes(void **state)
{
    static const struct {
        uint16_t type;
        uint32_t size, word;
    } tags[] = {{4, 12, 3}, {5, 20, 1024}, {7, 8, 0}, {8, 12, 0x100000}, {9, 12, 0x100000}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(tags); i++) {
        begin2(16 + 24 + 8);
        put_tag(HEADER + 16, tags[i].type, 0, tags[i].size);
        put32(HEADER + 24, tags[i].word);
        put_tag(HEADER + 16 + align_up(tags[i].size, 8), 0, 0, 8);
        assert_loads("multiboot2");
        assert_int_equal(out.rip, 0x100010); /* EFI's entry points are for EFI */
    }
    for (uint32_t want = 0; want <= 21; want++) {
        begin2(16 + 16 + 8);
        put_tag(HEADER + 16, 1, 0, 12);
        put32(HEADER + 24, want);
        assert_loads("multiboot2");
    }
}

/* The tag of boot information of this type, or 0. */
static uint64_t find_info(uint32_t type)
{
    uint64_t at = out.rbx + 8, end = out.rbx + guest32(out.rbx);

    for (; at < end; at += align_up(guest32(at + 4), 8))
        if (guest32(at) == type)
            return at;
    return 0;
}

#define SECTIONS 0x1400u

static void put_section64(unsigned i, uint32_t type, uint64_t addr, uint64_t offset, uint64_t size)
{
    size_t at = SECTIONS + 64 * (size_t)i;

    put32(at + 4, type);
    put(at + 16, addr, 8);
    put(at + 24, offset, 8);
    put(at + 32, size, 8);
}

static void begin_sections(uint16_t flags)
{
    begin2(16 + 16 + 8);
    put_tag(HEADER + 16, 1, flags, 12);
    put32(HEADER + 24, 9);
    put(40, SECTIONS, 8); /* e_shoff, e_shentsize, e_shnum, e_shstrndx */
    put(58, 64, 2);
    put(60, 5, 2);
    put(62, 4, 2);
    put_section64(1, 1, 0x100000, CODE, 0x100); /* loaded */
    put_section64(2, 8, 0, 0x100, 0x200);       /* no bytes */
    put_section64(3, 2, 0, 0x1800, 0x30);       /* symbols */
    put_section64(4, 3, 0, 0x1900, 0x40);       /* strings */
    memset(image.bytes + 0x1800, 0x5b, 0x30);
    memset(image.bytes + 0x1900, 0x57, 0x40);
}

/* Multiboot2 Specification 2.0, "ELF-Symbols": the headers, with the addresses of sections that no
 * segment loaded. */
static void elf_sections(void **state)
{
    uint64_t tag, headers, symbols, strings;

    (void)state;
    for (uint16_t flags = 0; flags <= 1; flags++) {
        begin_sections(flags);
        assert_loads("multiboot2");
        tag = find_info(9);
        assert_true(tag);
        assert_int_equal(guest32(tag + 4), 20 + 5 * 64);
        assert_int_equal(guest32(tag + 8), 5);
        assert_int_equal(guest32(tag + 12), 64);
        assert_int_equal(guest32(tag + 16), 4);
        headers = tag + 20;
        assert_int_equal(guest64(headers + 64 + 16), 0x100000);
        assert_int_equal(guest64(headers + 2 * 64 + 16), 0);
        symbols = guest64(headers + 3 * 64 + 16);
        strings = guest64(headers + 4 * 64 + 16);
        assert_guest_filled(symbols, 0x30, 0x5b);
        assert_guest_filled(strings, 0x40, 0x57);
        assert_true(symbols >= 0x100200);
    }
    begin_sections(0);
    put(40, image.size - 5 * 64 + 1, 8); /* not within the image */
    assert_loads("multiboot2");
    assert_int_equal(find_info(9), 0);
    begin2(24); /* not requested */
    put(40, SECTIONS, 8);
    put(58, 64, 2);
    put(60, 5, 2);
    assert_loads("multiboot2");
    assert_int_equal(find_info(9), 0);
}

/* More headers than fit: an error if the image requires them, else they are left out. */
static void too_many_sections(void **state)
{
    (void)state;
    for (uint16_t flags = 0; flags <= 1; flags++) {
        begin_sections(flags);
        image.size = 0x8000;
        put(60, 200, 2);
        if (flags == 0) {
            assert_refused(-E_FORMAT, too_long());
        } else {
            assert_loads("multiboot2");
            assert_int_equal(find_info(9), 0);
        }
    }
}

static void begin_relocatable(uint32_t min, uint32_t max, uint32_t align, uint32_t preference)
{
    begin2(16 + 24 + 8);
    put_tag(HEADER + 16, 10, 0, 24);
    put32(HEADER + 24, min);
    put32(HEADER + 28, max);
    put32(HEADER + 32, align);
    put32(HEADER + 36, preference);
}

/* Multiboot2 Specification 2.0, "Relocatable header tag". */
static void relocatable(void **state)
{
    static const struct {
        uint32_t min, max, align, preference;
        uint64_t base;
    } cases[] = {
        {0x100000, 0xffffffff, 4096, 0, 0x100000}, /* where it was linked to */
        {0, 0xffffffff, 0, 2, 0x100000},
        {0x200000, 0xffffffff, 4096, 1, 0x200000}, /* not allowed there: the lowest */
        {0x200000, 0xffffffff, 4096, 2, 0x3ff000}, /* the highest */
        {0x200000, 0xffffffff, 4096, 0, 0x3ff000},
        {0x200001, 0x300000, 0x10000, 1, 0x210000},
        {0, 0xffffffff, 0x200000, 1, 0x200000}, /* not aligned there */
        {0x2000, 0x9f000, 0x1000, 1, 0x2000},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        uint64_t base = cases[i].base;

        begin_relocatable(cases[i].min, cases[i].max, cases[i].align, cases[i].preference);
        assert_loads("multiboot2");
        assert_int_equal(out.rip, base + 0x10);
        assert_guest_filled(base, 0x100, 0xaa);
        assert_true(find_info(21));
        assert_int_equal(guest32(find_info(21) + 4), 12);
        assert_int_equal(guest32(find_info(21) + 8), base);
    }
    begin_relocatable(0x200000, 0x2001ff, 1, 0);
    assert_refused(-E_FORMAT, "multiboot2: no free place for the 0x200 bytes of the image between "
                              "0x200000 and 0x2001ff, where its relocatable tag wants it");
    begin_relocatable(0x200000, 0x300000, 3, 0);
    assert_refused(-E_FORMAT,
                   "multiboot2: the relocatable tag's alignment 0x3 is not a power of two");
}

/* The header's offset in the file determines where the file's start goes. */
static void address_of_the_beginning(void **state)
{
    (void)state;
    begin_address2(0x180200, 0xffffffff, 0, 0x183000, 0x180300);
    assert_loads("multiboot2");
    assert_int_equal(out.rip, 0x180300);
    assert_guest_filled(0x180000, HEADER, 0xcc);
    assert_guest_filled(0x182000, 0x1000, 0);
    begin_address2(0x180200, 0xffffffff, 0x181000, 0, 0x180300);
    assert_loads("multiboot2");
    assert_guest_filled(0x180400, 0xc00, 0xcc);
    assert_guest_filled(0x181000, 0x1000, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(info1),
        cmocka_unit_test(without_arguments1),
        cmocka_unit_test(elf64_in_version1),
        cmocka_unit_test(place_of_header1),
        cmocka_unit_test(checksum1),
        cmocka_unit_test(required_flags1),
        cmocka_unit_test(address_fields1),
        cmocka_unit_test(hostile_address_fields1),
        cmocka_unit_test(modules_that_do_not_fit),
        cmocka_unit_test(most_modules),
        cmocka_unit_test(long_command_lines),
        cmocka_unit_test(too_little_memory),
        cmocka_unit_test(info2),
        cmocka_unit_test(elf32_in_version2),
        cmocka_unit_test(version2_goes_first),
        cmocka_unit_test(place_of_header2),
        cmocka_unit_test(damaged_header2),
        cmocka_unit_test(hostile_tags),
        cmocka_unit_test(optional_tags),
        cmocka_unit_test(entry_tag),
        cmocka_unit_test(address_tag),
        cmocka_unit_test(hostile_address_tag),
        cmocka_unit_test(what_grub_takes),
        cmocka_unit_test(elf_sections),
        cmocka_unit_test(too_many_sections),
        cmocka_unit_test(relocatable),
        cmocka_unit_test(address_of_the_beginning),
    };

    return cmocka_run_group_tests(tests, NULL, fixture_end);
}

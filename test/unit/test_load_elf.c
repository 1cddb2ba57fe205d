/* SOURCES: hv/gmem.c @load hv/lib.c hv/fmt.c */
/* ELF files as such, and the list of occupied ranges. */
#include "test/unit/load_fixture.h"

#define HEADER 0x800u /* of multiboot, in all images here */
#define CODE   0x1000u

static struct elf_image elf;
static struct place place;

/* One segment: 0x100 bytes at CODE go to 1 MB, with 0x200 bytes in memory. */
static void begin(bool is64, unsigned segments)
{
    fixture_begin(0x2000);
    put_elf(is64, 0x100010, segments);
    put_multiboot1(HEADER, 0);
    memset(image.bytes + CODE, 0xaa, 0x100);
    memset(image.bytes + CODE + 0x100, 0xbb, 0x100);
    if (is64)
        put_segment64(0, CODE, 0x100000, 0x100, 0x200);
    else
        put_segment32(0, CODE, 0x100000, 0x100, 0x200);
}

static void begin64(void)
{
    begin(true, 1);
}

static void both_classes(void **state)
{
    (void)state;
    for (unsigned is64 = 0; is64 < 2; is64++) {
        begin(is64, 1);
        assert_loads("multiboot1");
        assert_int_equal(out.rip, 0x100010);
        assert_guest_filled(0x100000, 0x100, 0xaa);
        assert_guest_filled(0x100100, 0x100, 0);
    }
}

static void parsed_fields(void **state)
{
    struct load_blob b;

    (void)state;
    begin(true, 3);
    put_segment64(1, 0x20, 0x200000, 0, 0); /* nothing to load */
    put_segment64(2, CODE + 1, 0x300000, 7, 9);
    b = (struct load_blob){image.bytes, image.size, NULL, NULL};
    assert_true(elf_is(&b));
    assert_int_equal(elf_parse(&b, &elf, &error), 0);
    assert_true(elf.is64);
    assert_int_equal(elf.entry, 0x100010);
    assert_int_equal(elf.count, 2);
    assert_int_equal(elf.segments[0].offset, CODE);
    assert_int_equal(elf.segments[0].filesz, 0x100);
    assert_int_equal(elf.segments[0].memsz, 0x200);
    assert_int_equal(elf.segments[1].offset, CODE + 1);
    assert_int_equal(elf.segments[1].paddr, 0x300000);
    assert_int_equal(elf.segments[1].filesz, 7);
    assert_int_equal(elf.segments[1].memsz, 9);
}

/* Segments other than PT_LOAD may hold anything. */
static void other_program_headers(void **state)
{
    (void)state;
    begin(true, 2);
    put_segment64(1, UINT64_MAX, UINT64_MAX, UINT64_MAX, UINT64_MAX);
    put(64 + 56, 4, 4); /* PT_NOTE */
    assert_loads("multiboot1");
}

static void larger_program_headers(void **state)
{
    (void)state;
    begin(true, 2);
    put(54, 64, 2);
    put_segment64(1, 0, 0, 0, 0);
    put(64 + 56, 0, 4);
    put(64 + 64, 1, 4);
    put(64 + 64 + 8, CODE, 8);
    put(64 + 64 + 24, 0x200000, 8);
    put(64 + 64 + 32, 0x10, 8);
    put(64 + 64 + 40, 0x10, 8);
    assert_loads("multiboot1");
    assert_guest_filled(0x200000, 0x10, 0xaa);
}

/* A kernel that is linked high and loaded low: the header's entry point is virtual. */
static void virtual_entry(void **state)
{
    (void)state;
    begin64();
    put(64 + 16, 0xffffffff80100000, 8);
    put(24, 0xffffffff80100010, 8);
    assert_loads("multiboot1");
    assert_int_equal(out.rip, 0x100010);
}

static void entry_outside(void **state)
{
    static const struct {
        uint64_t entry;
        const char *why;
    } cases[] = {
        {0xfffff, "multiboot1: the entry point 0xfffff lies outside of what the image loads"},
        {0x100200, "multiboot1: the entry point 0x100200 lies outside of what the image loads"},
        {UINT64_MAX,
         "multiboot1: the entry point 0xffffffffffffffff lies outside of what the image "
         "loads"},
        {0, "multiboot1: the entry point 0x0 lies outside of what the image loads"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin64();
        put(24, cases[i].entry, 8);
        assert_refused(-E_FORMAT, cases[i].why);
    }
    /* The last byte of a segment's zero-filled part is inside memory. */
    begin64();
    put(24, 0x1001ff, 8);
    assert_loads("multiboot1");
}

static void truncated(void **state)
{
    struct load_blob b;

    (void)state;
    begin64();
    /* Every file shorter than the header and program header is refused, and nothing past its end is
     * read: the copy ends there. */
    for (size_t n = 4; n < 64 + 56; n++) {
        uint8_t *copy = malloc(n);

        assert_non_null(copy);
        memcpy(copy, image.bytes, n);
        b = (struct load_blob){copy, n, NULL, NULL};
        error.text[0] = 0;
        assert_int_equal(elf_parse(&b, &elf, &error), -E_FORMAT);
        assert_non_null(strstr(error.text, "not within the image"));
        free(copy);
    }
    b = (struct load_blob){image.bytes, 63, NULL, NULL};
    assert_int_equal(elf_parse(&b, &elf, &error), -E_FORMAT);
    assert_string_equal(error.text, "ELF: header 0x0+0x40 not within the image (0x3f bytes)");
    b.size = 119;
    assert_int_equal(elf_parse(&b, &elf, &error), -E_FORMAT);
    assert_string_equal(error.text,
                        "ELF: program headers 0x40+0x38 not within the image (0x77 bytes)");
    b.size = CODE + 0xff;
    assert_int_equal(elf_parse(&b, &elf, &error), -E_FORMAT);
    assert_string_equal(
        error.text, "ELF segment 0: file range 0x1000+0x100 ends after the image (0x10ff bytes)");
    b.size++;
    assert_int_equal(elf_parse(&b, &elf, &error), 0);
    b.size = 3;
    assert_false(elf_is(&b));
}

static void hostile_headers(void **state)
{
    static const struct {
        size_t at, n;
        uint64_t value;
        const char *why;
    } cases[] = {
        {4, 1, 3, "ELF: neither 32- nor 64-bit little-endian"},
        {4, 1, 0, "ELF: neither 32- nor 64-bit little-endian"},
        {5, 1, 2, "ELF: neither 32- nor 64-bit little-endian"},
        {16, 2, 4, "ELF: not an executable (object files do not load)"},
        {16, 2, 1, "ELF: not an executable (object files do not load)"},
        {18, 2, 183, "ELF: not for x86"},
        {32, 8, 0x2000, "ELF: program headers 0x2000+0x38 not within the image (0x2000 bytes)"},
        {32, 8, UINT64_MAX,
         "ELF: program headers 0xffffffffffffffff+0x38 not within the image (0x2000 bytes)"},
        {32, 8, UINT64_MAX - 0x37,
         "ELF: program headers 0xffffffffffffffc8+0x38 not within the image (0x2000 bytes)"},
        {54, 2, 55, "ELF: program headers of 55 bytes are too small"},
        {54, 2, 0, "ELF: program headers of 0 bytes are too small"},
        {54, 2, 0xffff, "ELF: program headers 0x40+0xffff not within the image (0x2000 bytes)"},
        {56, 2, 0xffff, "ELF: program headers 0x40+0x37ffc8 not within the image (0x2000 bytes)"},
        {56, 2, 0, "ELF: nothing to load"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin64();
        put(cases[i].at, cases[i].value, cases[i].n);
        assert_refused(-E_FORMAT, cases[i].why);
    }
}

static void hostile_segments(void **state)
{
    static const struct {
        uint64_t offset, paddr, filesz, memsz;
        int rc;
        const char *why;
    } cases[] = {
        {CODE, 0x100000, 0x101, 0x100, E_FORMAT,
         "ELF segment 0: file size 0x101 exceeds memory size 0x100"},
        {0x2000, 0x100000, 1, 1, E_FORMAT,
         "ELF segment 0: file range 0x2000+0x1 ends after the image (0x2000 bytes)"},
        {CODE, 0x100000, 0x1001, 0x1001, E_FORMAT,
         "ELF segment 0: file range 0x1000+0x1001 ends after the image (0x2000 bytes)"},
        {UINT64_MAX, 0x100000, 2, 2, E_FORMAT,
         "ELF segment 0: file range 0xffffffffffffffff+0x2 ends after the image (0x2000 bytes)"},
        {CODE, 0x100000, UINT64_MAX - CODE + 1, UINT64_MAX, E_FORMAT,
         "ELF segment 0: file range 0x1000+0xfffffffffffff000 ends after the image (0x2000 bytes)"},
        {CODE, 0x100000, 0x10, 0x300001, E_NOSPC,
         "ELF segment: 0x100000+0x300001 does not fit: the guest has 4 MiB of memory and needs at "
         "least 6"},
        {CODE, 0x100000, 0x10, UINT64_MAX, E_NOSPC,
         "ELF segment: 0x100000+0xffffffffffffffff is not usable memory (0..0x9f000, "
         "0x100000..0x400000)"},
        {CODE, 0x3ffff1, 0x10, 0x10, E_NOSPC,
         "ELF segment: 0x3ffff1+0x10 does not fit: the guest has 4 MiB of memory and needs at "
         "least "
         "6"},
        {CODE, 0xfffffffffffff000, 0x10, 0x1000, E_NOSPC,
         "ELF segment: 0xfffffffffffff000+0x1000 is not usable memory (0..0x9f000, "
         "0x100000..0x400000)"},
        {CODE, 0xfffffffffffff000, 0x10, 0x2000, E_NOSPC,
         "ELF segment: 0xfffffffffffff000+0x2000 is not usable memory (0..0x9f000, "
         "0x100000..0x400000)"},
        {CODE, 0x9efff, 2, 2, E_NOSPC,
         "ELF segment: 0x9efff+0x2 is not usable memory (0..0x9f000, 0x100000..0x400000)"},
        {CODE, 0xfffff, 1, 1, E_NOSPC,
         "ELF segment: 0xfffff+0x1 is not usable memory (0..0x9f000, 0x100000..0x400000)"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin64();
        put_segment64(0, cases[i].offset, cases[i].paddr, cases[i].filesz, cases[i].memsz);
        assert_refused(-cases[i].rc, cases[i].why);
    }
    /* To the last byte. */
    begin64();
    put_segment64(0, CODE, 0x100000, 0x100, 0x300000);
    assert_loads("multiboot1");
}

/* A sum that would wrap in 32 bits is still too large. */
static void wraps_in_32_bits(void **state)
{
    (void)state;
    begin(false, 1);
    put_segment32(0, CODE, 0xfffff000, 0x100, 0x2000);
    assert_refused(-E_NOSPC, "ELF segment: 0xfffff000+0x2000 is not usable memory (0..0x9f000, "
                             "0x100000..0x400000)");
    put_segment32(0, 0xffffff00, 0x100000, 0x200, 0x200);
    assert_refused(-E_FORMAT, "ELF segment 0: file range 0xffffff00+0x200 ends after the image "
                              "(0x2000 bytes)");
}

static void overlapping_segments(void **state)
{
    (void)state;
    begin(true, 2);
    put_segment64(1, CODE, 0x1001ff, 0x10, 0x10);
    assert_refused(-E_FORMAT, "ELF segment: 0x1001ff+0x10 overlaps ELF segment at "
                              "0x100000..0x100200");
    put_segment64(1, CODE, 0x100200, 0x10, 0x10); /* adjacent ranges do not overlap */
    assert_loads("multiboot1");
    assert_guest_filled(0x100200, 0x10, 0xaa);
}

static void number_of_segments(void **state)
{
    (void)state;
    begin(true, 64);
    put32(HEADER, 0); /* the program headers reach there */
    put_multiboot1(0xf00, 0);
    for (unsigned i = 1; i < 65; i++)
        put_segment64(i, CODE, 0x100000 + 0x1000ull * i, 0x10, 0x10);
    assert_loads("multiboot1");
    assert_guest_filled(0x13f000, 0x10, 0xaa);
    assert_guest_filled(0x140000, 0x10, 0);
    put(56, 65, 2);
    assert_refused(-E_FORMAT, "ELF segment 64: more than 64 segments to load");
}

/* GRUB loads these too: position-independent code, at its link address; and segments of zeros only,
 * whose file offset means nothing (System V gABI "Program Header": p_filesz may be zero). */
static void like_grub(void **state)
{
    (void)state;
    begin(true, 2);
    put(16, 3, 2); /* ET_DYN */
    put_segment64(1, 0x200000, 0x102000, 0, 0x1000);
    assert_loads("multiboot1");
    assert_guest_filled(0x102000, 0x1000, 0);
    begin(false, 2);
    put_segment32(1, 0xfffff000, 0x102000, 0, 0x1000);
    assert_loads("multiboot1");
}

static void without_multiboot(void **state)
{
    (void)state;
    begin64();
    put32(HEADER, 0);
    assert_refused(-E_FORMAT, "ELF without a multiboot1 header (first 8 KiB), multiboot2 header "
                              "(first 32 KiB) or PVH note");
}

/* ---- place.c ---- */

static void place_begin(void)
{
    fixture_begin(0);
    place_init(&place, mem.size);
    error.text[0] = 0;
}

static void place_fixed_limits(void **state)
{
    (void)state;
    place_begin();
    assert_int_equal(place_fixed(&place, 0, 0x9f000, "low", &error), 0);
    assert_int_equal(place_fixed(&place, 0x100000, MEMORY - 0x100000, "high", &error), 0);
    assert_int_equal(place_fixed(&place, 0x9f000, 1, "gdt", &error), -E_NOSPC);
    assert_int_equal(place_fixed(&place, 0x9e000, 0x100000, "across", &error), -E_NOSPC);
    assert_int_equal(place_fixed(&place, UINT64_MAX, 1, "end", &error), -E_NOSPC);
    assert_int_equal(place_fixed(&place, 1, UINT64_MAX, "all", &error), -E_NOSPC);
    assert_int_equal(place_fixed(&place, 0x9efff, 1, "twice", &error), -E_FORMAT);
    assert_string_equal(error.text, "twice: 0x9efff+0x1 overlaps low at 0x0..0x9f000");
    assert_int_equal(place.count, 2);
    assert_true(place_covers(&place, 0x9efff));
    assert_false(place_covers(&place, 0x9f000));
    assert_true(place_covers(&place, MEMORY - 1));
    assert_false(place_covers(&place, MEMORY));
    assert_false(place_covers(&place, UINT64_MAX));
}

static void place_any_finds_gaps(void **state)
{
    uint64_t at;

    (void)state;
    place_begin();
    assert_int_equal(place_fixed(&place, 0x3ff000, 0x800, "top", &error), 0);
    assert_int_equal(place_fixed(&place, 0x3fd000, 0x1000, "below", &error), 0);
    /* Pages: the one between them, then the one below both. */
    assert_int_equal(place_any(&place, 0x1000, 0x1000, NEVER, false, "a", &at, &error), 0);
    assert_int_equal(at, 0x3fe000);
    assert_int_equal(place_any(&place, 0x1000, 0x1000, NEVER, false, "b", &at, &error), 0);
    assert_int_equal(at, 0x3fc000);
    /* A small range still fits at the top. */
    assert_int_equal(place_any(&place, 0x100, 0x10, NEVER, false, "c", &at, &error), 0);
    assert_int_equal(at, 0x3fff00);
    /* Below a limit that is not aligned. */
    assert_int_equal(place_any(&place, 0x1000, 0x1000, 0x200fff, false, "d", &at, &error), 0);
    assert_int_equal(at, 0x1ff000);
    /* From the bottom. An empty range takes a byte, so that two never share an address. */
    assert_int_equal(place_any(&place, 0, 16, 0, true, "e", &at, &error), 0);
    assert_int_equal(at, 0x1000);
    assert_int_equal(place_any(&place, 5, 16, 0, true, "f", &at, &error), 0);
    assert_int_equal(at, 0x1010);
}

static void place_any_refuses(void **state)
{
    static const uint64_t sizes[] = {MEMORY - 0x100000 + 1, MEMORY, UINT64_MAX, UINT64_MAX - 0xfff};
    uint64_t at;

    (void)state;
    place_begin();
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        assert_int_equal(place_any(&place, sizes[i], 4096, NEVER, false, "x", &at, &error),
                         -E_NOSPC);
        assert_int_equal(place_any(&place, sizes[i], 16, 0, true, "x", &at, &error), -E_NOSPC);
    }
    assert_int_equal(place_any(&place, 1, 4096, 0x100000, false, "x", &at, &error), -E_NOSPC);
    assert_int_equal(place_any(&place, 0x9e001, 16, 0, true, "low", &at, &error), -E_NOSPC);
    assert_string_equal(error.text,
                        "low: no free place for 0x9e001 bytes in 0x400000 bytes of guest memory");
    assert_int_equal(place.count, 0);
    assert_int_equal(place_any(&place, 0x9e000, 16, 0, true, "low", &at, &error), 0);
    assert_int_equal(place_any(&place, 1, 16, 0, true, "low", &at, &error), -E_NOSPC);
    assert_int_equal(place_any(&place, MEMORY - 0x100000, 4096, NEVER, false, "high", &at, &error),
                     0);
    assert_int_equal(at, 0x100000);
}

static void place_is_full(void **state)
{
    uint64_t at;

    (void)state;
    place_begin();
    for (unsigned i = 0; i < PLACE_MAX; i++)
        assert_int_equal(place_any(&place, 1, 4096, NEVER, i & 1, "piece", &at, &error), 0);
    assert_int_equal(place_any(&place, 1, 4096, NEVER, false, "last", &at, &error), -E_NOSPC);
    assert_string_equal(error.text, "last: too many pieces to place");
    assert_int_equal(place_fixed(&place, 0x200000, 1, "last", &error), -E_NOSPC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_classes),
        cmocka_unit_test(parsed_fields),
        cmocka_unit_test(other_program_headers),
        cmocka_unit_test(larger_program_headers),
        cmocka_unit_test(virtual_entry),
        cmocka_unit_test(entry_outside),
        cmocka_unit_test(truncated),
        cmocka_unit_test(hostile_headers),
        cmocka_unit_test(hostile_segments),
        cmocka_unit_test(wraps_in_32_bits),
        cmocka_unit_test(overlapping_segments),
        cmocka_unit_test(number_of_segments),
        cmocka_unit_test(like_grub),
        cmocka_unit_test(without_multiboot),
        cmocka_unit_test(place_fixed_limits),
        cmocka_unit_test(place_any_finds_gaps),
        cmocka_unit_test(place_any_refuses),
        cmocka_unit_test(place_is_full),
    };

    return cmocka_run_group_tests(tests, NULL, fixture_end);
}

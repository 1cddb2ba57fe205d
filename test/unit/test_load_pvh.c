/* SOURCES: hv/gmem.c @load hv/lib.c hv/fmt.c */
/* PVH (Xen "x86/HVM direct boot ABI"), images of several kinds, and what all kinds share: the
 * memory map and command lines. */
#include "test/unit/load_fixture.h"

#include "hv/abi/memory.h"
#include "mgmt/load/map.h"

#define NOTES  0x300u
#define HEADER 0x400u
#define CODE   0x1000u
#define GB     (1ull << 30)

static const uint8_t module_a[5000] = {[0] = 0xa1, [4999] = 0xa2};

/* A note, and in *at the place of the next one. */
static void put_note(size_t *at, const char *name, uint32_t type, const void *content,
                     uint32_t size)
{
    uint32_t name_size = (uint32_t)strlen(name) + 1;

    put32(*at, name_size);
    put32(*at + 4, size);
    put32(*at + 8, type);
    memcpy(image.bytes + *at + 12, name, name_size);
    *at += 12 + align_up(name_size, 4);
    memcpy(image.bytes + *at, content, size);
    *at += align_up(size, 4);
}

static void put_notes_segment(bool is64, size_t end)
{
    if (is64) {
        put_segment64(1, NOTES, 0, end - NOTES, 0);
        put(64 + 56, 4, 4); /* PT_NOTE */
    } else {
        put_segment32(1, NOTES, 0, (uint32_t)end - NOTES, 0);
        put(52 + 32, 4, 4);
    }
}

/* Built for `address`; the note names an entry point 0x20 bytes into it, the ELF header another. */
static void begin_at(bool is64, uint64_t address)
{
    uint64_t entry = address + 0x20;
    size_t end = NOTES;

    fixture_begin(0x2000);
    put_elf(is64, address + 0x10, 2);
    memset(image.bytes + CODE, 0xaa, 0x100);
    if (is64)
        put_segment64(0, CODE, address, 0x100, 0x200);
    else
        put_segment32(0, CODE, (uint32_t)address, 0x100, 0x200);
    put_note(&end, "GNU", 18, "1234", 4);
    put_note(&end, "Xen", 6, "linux", 6);
    put_note(&end, "Xen", 18, &entry, is64 ? 8 : 4);
    put_notes_segment(is64, end);
}

static void begin(bool is64)
{
    begin_at(is64, 0x100000);
}

static void add_relocatable(const void *words, uint32_t size)
{
    uint64_t entry = 0x1000020;
    size_t end = NOTES;

    begin_at(true, 0x1000000); /* 16 MB, and the guest has 4 */
    put_note(&end, "Xen", 18, &entry, 8);
    put_note(&end, "Xen", 19, words, size);
    put_notes_segment(true, end);
}

static void start_info(void **state)
{
    uint64_t info, modules, map;

    (void)state;
    for (unsigned is64 = 0; is64 < 2; is64++) {
        begin(is64);
        request.image.args = "console=ttyS0";
        request.modules[0] = (struct load_blob){module_a, sizeof(module_a), "first", NULL};
        request.modules[1] = (struct load_blob){module_a, 1, NULL, NULL};
        request.module_count = 2;
        assert_loads("pvh");
        assert_protected_mode(0x100020, 0x08);
        assert_int_equal(out.rax | out.rsi | out.rsp, 0);
        assert_guest_filled(0x100000, 0x100, 0xaa);
        info = out.rbx;
        assert_true(info >= 0x1000 && info < LOAD_LOW_END);
        assert_int_equal(guest32(info), 0x336ec578);
        assert_int_equal(guest32(info + 4), 1);
        assert_int_equal(guest32(info + 8), 0);
        assert_int_equal(guest32(info + 12), 2);
        modules = guest64(info + 16);
        assert_guest_string(guest64(info + 24), "console=ttyS0");
        assert_int_equal(guest64(info + 32), 0); /* no ACPI tables */
        map = guest64(info + 40);
        assert_int_equal(guest32(info + 48), 4);
        assert_int_equal(guest32(info + 52), 0);
        assert_int_equal(guest64(modules + 8), sizeof(module_a));
        assert_memory_equal(mem.base + guest64(modules), module_a, sizeof(module_a));
        assert_guest_string(guest64(modules + 16), "first");
        assert_int_equal(guest64(modules + 24), 0);
        assert_int_equal(guest64(modules + 32 + 8), 1);
        assert_guest_string(guest64(modules + 32 + 16), "");
        assert_int_equal(guest64(map), 0);
        assert_int_equal(guest64(map + 8), LOAD_LOW_END);
        assert_int_equal(guest32(map + 16), 1);
        assert_int_equal(guest64(map + 24), LOAD_LOW_END);
        assert_int_equal(guest32(map + 24 + 16), 2);
        assert_int_equal(guest64(map + 48), 0xf0000);
        assert_int_equal(guest32(map + 48 + 16), 2);
        assert_int_equal(guest64(map + 72), 0x100000);
        assert_int_equal(guest64(map + 72 + 8), MEMORY - 0x100000);
        assert_int_equal(guest32(map + 72 + 16), 1);
    }
}

static void without_note(void **state)
{
    static const char none[] = "ELF without a multiboot1 header (first 8 KiB), multiboot2 header "
                               "(first 32 KiB) or PVH note";
    uint64_t entry = 0x100020;
    size_t end = NOTES;

    (void)state;
    begin(true);
    put(64 + 56, 0, 4); /* PT_NULL */
    assert_refused(-E_FORMAT, none);
    begin(true);
    put_note(&end, "xen", 18, &entry, 8);
    put_notes_segment(true, end);
    assert_refused(-E_FORMAT, none);
    end = NOTES;
    put_note(&end, "Xen", 18, &entry, 6); /* neither 4 nor 8 bytes */
    put_notes_segment(true, end);
    assert_refused(-E_FORMAT, none);
    request.kind = KIND_PVH;
    assert_refused(-E_FORMAT, "the image is not of \"kind\": \"pvh\"");
}

/* Notes that end after their segment, or after the image, are not read. */
static void hostile_notes(void **state)
{
    static const uint32_t huge[] = {0xffffffff, 0x80000000, 0xfffffff4, 0x2000};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(huge); i++) {
        for (size_t word = 0; word < 2; word++) {
            begin(true);
            put32(NOTES + 4 * word, huge[i]);
            assert_int_equal(load(), -E_FORMAT);
        }
        begin(true);
        put(64 + 56 + 8, 0x2000 - 8, 8); /* the segment's last note is cut off */
        put(64 + 56 + 32, 8, 8);
        assert_int_equal(load(), -E_FORMAT);
        put(64 + 56 + 32, huge[i], 8);
        assert_int_equal(load(), -E_FORMAT);
        put(64 + 56 + 8, UINT64_MAX - 4, 8);
        assert_int_equal(load(), -E_FORMAT);
    }
    begin(true);
    put(NOTES + 12 + 4 + 4 + 12 + 4 + 8 + 12 + 4, 0x200000, 8);
    assert_refused(-E_FORMAT, "pvh: the entry point 0x200000 lies outside of what the image loads");
}

/* With the second note of newer kernels it goes where there is memory. */
static void relocatable(void **state)
{
    uint32_t words[] = {0x1000, 0x180000, 0x1fffff}, odd[] = {3, 0, UINT32_MAX};

    (void)state;
    add_relocatable("", 0);
    assert_loads("pvh");
    assert_int_equal(out.rip, 0x200020); /* aligned to 2 MB */
    assert_guest_filled(0x200000, 0x100, 0xaa);
    add_relocatable(words, sizeof(words));
    assert_loads("pvh");
    assert_int_equal(out.rip, 0x180020);
    words[1] = 0x1ffff0; /* no room between the limits */
    add_relocatable(words, sizeof(words));
    assert_refused(-E_NOSPC, "ELF segment: 0x1000000+0x200 does not fit: the guest has 4 MiB of "
                             "memory and needs at least 18");
    add_relocatable(odd, sizeof(odd));
    assert_int_equal(load(), -E_NOSPC);
    begin_at(true, 0x1000000);
    assert_int_equal(load(), -E_NOSPC);
}

/* ---- images of several kinds ---- */

static void order_of_kinds(void **state)
{
    (void)state;
    begin(true);
    put_multiboot1(HEADER, 0);
    assert_loads("multiboot1");
    put_multiboot2(HEADER + 0x20, 24);
    put_tag(HEADER + 0x30, 0, 0, 8);
    assert_loads("multiboot2");
    request.kind = KIND_MULTIBOOT1;
    assert_loads("multiboot1");
    request.kind = KIND_PVH;
    assert_loads("pvh");
    assert_int_equal(out.rip, 0x100020);
    request.kind = KIND_LINUX;
    assert_refused(-E_FORMAT, "the image is not of \"kind\": \"linux\"");
}

/* What the newer header requires may be missing, and the older one still served. */
static void falls_back(void **state)
{
    (void)state;
    begin(false);
    put_multiboot1(HEADER, 0);
    put_multiboot2(HEADER + 0x20, 32);
    put_tag(HEADER + 0x30, 77, 0, 8);
    put_tag(HEADER + 0x38, 0, 0, 8);
    assert_loads("multiboot1");
    assert_int_equal(out.rax, 0x2badb002);
    /* Nothing that the first loader placed is in the way. */
    assert_int_equal(out.rip, 0x100010);
    put_multiboot1(HEADER, 8);
    assert_loads("pvh");
    put(52 + 32, 0, 4);
    assert_refused(-E_NOTSUP, "multiboot2: the image requires header tag 77, which is not offered");
    request.kind = KIND_MULTIBOOT1;
    assert_refused(-E_NOTSUP, "multiboot1: the header requires features (flags 0x8) that are not "
                              "offered");
}

/* ---- command lines ---- */

static void with_name(void **state)
{
    static const struct {
        const char *name, *args, *line;
    } cases[] = {{"k.elf", "a b", "k.elf a b"},
                 {"k.elf", "", "k.elf"},
                 {"k.elf", NULL, "k.elf"},
                 {NULL, "a b", "a b"},
                 {NULL, NULL, ""}};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        begin(true);
        put_multiboot1(HEADER, 0);
        request.image.name = cases[i].name;
        request.image.args = cases[i].args;
        request.modules[0] = (struct load_blob){module_a, 1, cases[i].args, cases[i].name};
        request.module_count = 1;
        assert_loads("multiboot1");
        assert_guest_string(guest32(out.rbx + 16), cases[i].line);
        assert_guest_string(guest32(guest32(out.rbx + 24) + 8), cases[i].line);
        put_multiboot2(HEADER, 24);
        put_tag(HEADER + 0x10, 0, 0, 8);
        assert_loads("multiboot2");
        assert_int_equal(guest32(out.rbx + 8), 1);
        assert_int_equal(guest32(out.rbx + 12), 8 + strlen(cases[i].line) + 1);
        assert_guest_string(out.rbx + 16, cases[i].line);
    }
}

/* ---- memory above the hole ---- */

/* The plan's own bytes at an address. */
static const uint8_t *planned(uint64_t at)
{
    for (unsigned i = 0; i < plan.piece_count; i++) {
        const struct load_piece *p = &plan.pieces[i];

        if (p->source == LOAD_FROM_BYTES && at >= p->address && at - p->address < p->size)
            return plan.bytes + p->offset + (at - p->address);
    }
    fail_msg("nothing is written to 0x%lx", at);
    return NULL;
}

static void load_large(uint64_t memory)
{
    request.image.data = image.bytes;
    request.image.size = image.size;
    request.memory = memory;
    assert_int_equal(load_guest(&request, &plan, &error), 0);
    out = plan.start;
}

static void map_with_hole(void **state)
{
    struct load_area a[LOAD_AREAS_MAX];

    (void)state;
    assert_int_equal(load_map(3 * GB, a), 4);
    assert_int_equal(a[3].base + a[3].size, 3 * GB);
    assert_int_equal(load_map(3 * GB + PAGE_SIZE_2M, a), 5);
    assert_int_equal(a[3].base + a[3].size, 3 * GB);
    assert_int_equal(a[4].base, 4 * GB);
    assert_int_equal(a[4].size, PAGE_SIZE_2M);
    assert_int_equal(a[4].type, 1);
    assert_int_equal(load_map(64 * GB, a), 5);
    assert_int_equal(a[4].base + a[4].size, 65 * GB);
}

/* Every kind describes it, and loads nothing there. */
static void above_the_hole(void **state)
{
    uint64_t at, v[2];
    uint32_t w;

    (void)state;
    begin(true);
    request.modules[0] = (struct load_blob){module_a, sizeof(module_a), NULL, NULL};
    request.module_count = 1;
    load_large(6 * GB);
    memcpy(&at, planned(out.rbx + 40), 8);
    memcpy(&w, planned(out.rbx + 48), 4);
    assert_int_equal(w, 5);
    memcpy(v, planned(at + 96), 16);
    assert_int_equal(v[0], 4 * GB);
    assert_int_equal(v[1], 3 * GB);
    for (unsigned i = 0; i < plan.piece_count; i++)
        assert_true(plan.pieces[i].address + plan.pieces[i].size <= 3 * GB);

    put_multiboot1(HEADER, 0);
    load_large(6 * GB);
    memcpy(&w, planned(out.rbx + 8), 4);
    assert_int_equal(w, (3 * GB - 0x100000) >> 10); /* up to the first hole */
    memcpy(&w, planned(out.rbx + 44), 4);
    assert_int_equal(w, 5 * 24);
    memcpy(&w, planned(out.rbx + 48), 4);
    memcpy(v, planned(w + 96ull + 4), 16);
    assert_int_equal(v[0], 4 * GB);
    assert_int_equal(v[1], 3 * GB);

    put_multiboot2(HEADER, 24);
    put_tag(HEADER + 0x10, 0, 0, 8);
    load_large(6 * GB);
    for (at = out.rbx + 8; memcpy(&w, planned(at), 4), w != 6;) {
        memcpy(&w, planned(at + 4), 4);
        at += align_up(w, 8);
    }
    memcpy(&w, planned(at + 4), 4);
    assert_int_equal(w, 16 + 5 * 24);
    memcpy(v, planned(at + 16 + 96), 16);
    assert_int_equal(v[0], 4 * GB);
    assert_int_equal(v[1], 3 * GB);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(start_info),     cmocka_unit_test(without_note),
        cmocka_unit_test(hostile_notes),  cmocka_unit_test(relocatable),
        cmocka_unit_test(order_of_kinds), cmocka_unit_test(falls_back),
        cmocka_unit_test(with_name),      cmocka_unit_test(map_with_hole),
        cmocka_unit_test(above_the_hole),
    };

    return cmocka_run_group_tests(tests, NULL, fixture_end);
}

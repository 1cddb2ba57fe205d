/* Builds the multiboot2 boot information. */
#include "hv/abi/memory.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/load/firmware.h"
#include "mgmt/load/map.h"
#include "mgmt/load/multiboot2.h"

#define LOAD_LIMIT 0xfffff000ull

/* The information is built in place, in the plan's own bytes. */
struct builder {
    uint8_t *bytes;
    size_t len, room;
    bool full;
};

/* Room for n bytes, or NULL. */
static uint8_t *add_room(struct builder *i, size_t n)
{
    uint8_t *at = i->bytes + i->len;

    if (n > i->room - i->len) {
        i->full = true;
        return NULL;
    }
    i->len += n;
    return at;
}

static void add(struct builder *i, const void *bytes, size_t n)
{
    uint8_t *at = n ? add_room(i, n) : NULL;

    if (at)
        memcpy(at, bytes, n);
}

static void align(struct builder *i)
{
    static const uint8_t zeros[8];

    add(i, zeros, (8 - i->len % 8) % 8);
}

/* A tag of fixed words, followed by a command line or nothing. */
static void add_tag(struct builder *i, uint32_t type, const uint32_t *words, size_t count,
                    const struct load_blob *args)
{
    size_t tail = args ? load_args_size(args) : 0;
    const uint32_t head[2] = {type, (uint32_t)(8 + 4 * count + tail)};

    add(i, head, sizeof(head));
    add(i, words, 4 * count);
    if (args) {
        const char *name = args->name ? args->name : "", *text = args->args ? args->args : "";

        add(i, name, strlen(name));
        if (name[0] && text[0])
            add(i, " ", 1);
        add(i, text, strlen(text) + 1);
    }
    align(i);
}

struct map_entry {
    uint64_t base, size;
    uint32_t type, reserved;
};

static void add_memory(struct builder *i, uint64_t memory)
{
    const uint32_t basic[2] = {LOAD_LOW_END >> 10,
                               (uint32_t)((memory_below(memory) - 0x100000) >> 10)};
    struct load_area areas[LOAD_AREAS_MAX];
    unsigned n = load_map(memory, areas);
    const uint32_t head[4] = {MULTIBOOT2_INFO_MMAP,
                              (uint32_t)(sizeof(head) + n * sizeof(struct map_entry)),
                              sizeof(struct map_entry), 0};

    add_tag(i, MULTIBOOT2_INFO_BASIC_MEMORY, basic, 2, NULL);
    add(i, head, sizeof(head));
    for (unsigned k = 0; k < n; k++) {
        const struct map_entry e = {areas[k].base, areas[k].size, areas[k].type, 0};

        add(i, &e, sizeof(e));
    }
}

/* Copies of the root pointer, in the form of ACPI 1.0 and in the present one. */
static void add_acpi(struct builder *i, const struct loader *l)
{
    uint32_t rsdp[FIRMWARE_RSDP_SIZE / 4];

    if (!firmware_rsdp(l, rsdp))
        return;
    add_tag(i, MULTIBOOT2_INFO_ACPI_OLD, rsdp, FIRMWARE_RSDP_OLD_SIZE / 4, NULL);
    add_tag(i, MULTIBOOT2_INFO_ACPI_NEW, rsdp, ARRAY_LEN(rsdp), NULL);
}

/* Symbols and the like: bytes in the file that no segment loads. */
static bool is_unloaded(const struct load_blob *b, const struct elf_section *s)
{
    return s->addr == 0 && s->size > 0 && s->type != ELF_SECTION_EMPTY && s->offset <= b->size &&
           s->size <= b->size - s->offset;
}

/* Places all of them as one piece, from the first to the end of the last. If there is no room, they
 * have no address, as before. */
static void place_unloaded(struct loader *l, const struct elf_image *elf, uint8_t *headers)
{
    const struct load_blob *b = &l->request->image;
    uint64_t first = UINT64_MAX, end = 0, start;
    struct elf_section s;

    for (unsigned i = 0; i < elf->section_count; i++) {
        elf_section(b, elf, i, &s);
        if (!is_unloaded(b, &s))
            continue;
        first = min_u64(first, s.offset);
        end = max_u64(end, s.offset + s.size);
    }
    if (end == 0 || !place_find(&l->place, end - first, PAGE_SIZE, 0, LOAD_LIMIT, false, &start) ||
        loader_put(l, start, first, end - first, end - first, "ELF sections"))
        return;
    for (unsigned i = 0; i < elf->section_count; i++) {
        elf_section(b, elf, i, &s);
        if (is_unloaded(b, &s))
            elf_section_set_address(elf, headers + (size_t)i * elf->section_size,
                                    start + s.offset - first);
    }
}

/* For the tags that follow. */
#define SPARE 32u

static void add_sections(struct loader *l, struct builder *i, const struct elf_image *elf,
                         bool needed)
{
    size_t size = (size_t)elf->section_size * elf->section_count;
    const uint32_t head[5] = {MULTIBOOT2_INFO_ELF_SECTIONS, (uint32_t)(sizeof(head) + size),
                              elf->section_count, elf->section_size, elf->section_names};
    uint8_t *headers;

    if (size == 0 || (!needed && sizeof(head) + size + SPARE > i->room - i->len))
        return;
    add(i, head, sizeof(head));
    headers = add_room(i, size);
    if (!headers)
        return;
    memcpy(headers, l->request->image.data + elf->sections_at, size);
    place_unloaded(l, elf, headers);
    align(i);
}

static int add_modules(struct loader *l, struct builder *i)
{
    const struct load_request *r = l->request;

    for (unsigned k = 0; k < r->module_count; k++) {
        uint64_t start = 0;
        uint32_t range[2];
        int rc = loader_put_module(l, k, LOAD_LIMIT, false, &start);

        if (rc)
            return rc;
        range[0] = (uint32_t)start;
        range[1] = (uint32_t)(start + r->modules[k].size);
        add_tag(i, MULTIBOOT2_INFO_MODULE, range, 2, &r->modules[k]);
    }
    return 0;
}

static const struct load_blob loader_name = {.args = "Bulkhead"};

int multiboot2_put_info(struct loader *l, const struct elf_image *elf, uint64_t load_base,
                        uint32_t wanted, uint32_t needed)
{
    const struct load_request *r = l->request;
    struct builder i = {.bytes = loader_bytes(l), .room = loader_room(l)};
    const uint32_t base = (uint32_t)load_base;
    uint32_t total[2] = {0};
    uint64_t at;
    int rc;

    add(&i, total, sizeof(total));
    add_tag(&i, MULTIBOOT2_INFO_CMDLINE, NULL, 0, &r->image);
    add_tag(&i, MULTIBOOT2_INFO_NAME, NULL, 0, &loader_name);
    add_memory(&i, r->memory);
    add_acpi(&i, l);
    rc = add_modules(l, &i);
    if (rc)
        return rc;
    if (wanted >> MULTIBOOT2_INFO_ELF_SECTIONS & 1)
        add_sections(l, &i, elf, needed >> MULTIBOOT2_INFO_ELF_SECTIONS & 1);
    if (wanted >> MULTIBOOT2_INFO_LOAD_BASE & 1)
        add_tag(&i, MULTIBOOT2_INFO_LOAD_BASE, &base, 1, NULL);
    add_tag(&i, MULTIBOOT2_INFO_END, NULL, 0, NULL);
    if (i.full) {
        (void)fmt(l->error->text, sizeof(l->error->text),
                  "multiboot2: command lines and section headers are too long for the boot "
                  "information (%zu bytes)",
                  i.room);
        return -E_FORMAT;
    }
    rc = place_any(&l->place, i.len, 16, 0, true, "multiboot2 information", &at, l->error);
    if (rc)
        return rc;
    total[0] = (uint32_t)i.len;
    memcpy(i.bytes, total, sizeof(total));
    l->out->rbx = at;
    return loader_put_bytes(l, at, i.len);
}

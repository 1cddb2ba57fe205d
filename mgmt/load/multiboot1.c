/* Multiboot Specification version 0.6.96, the boot loader's side. */
#include "hv/abi/memory.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/load/loader.h"
#include "mgmt/load/map.h"

#define MAGIC         0x1badb002u
#define BOOT_MAGIC    0x2badb002u
#define SEARCH        8192u
#define FLAG_ADDRESS  (1u << 16)
#define FLAGS_KNOWN   0x10007u /* page-aligned modules, memory, video (ignored), address fields */
#define REQUIRED_MASK 0xffffu
#define INFO_MEMORY   (1u << 0)
#define INFO_CMDLINE  (1u << 2)
#define INFO_MODULES  (1u << 3)
#define INFO_MMAP     (1u << 6)
#define INFO_NAME     (1u << 9)
#define LOAD_LIMIT    0xfffff000ull

struct header {
    uint32_t magic, flags, checksum;
    uint32_t header_addr, load_addr, load_end_addr, bss_end_addr, entry_addr;
};
struct info {
    uint32_t flags, mem_lower, mem_upper, boot_device, cmdline, mods_count, mods_addr;
    uint32_t syms[4], mmap_length, mmap_addr, drives_length, drives_addr, config_table, name;
};
struct module {
    uint32_t start, end, string, reserved;
};
struct mmap {
    uint32_t size;
    uint64_t base, length;
    uint32_t type;
} __attribute__((packed));

/* Everything that the loader writes for the guest, in one low block. */
struct block {
    struct info info;
    struct mmap mmap[LOAD_AREAS_MAX];
    struct module modules[LOAD_MODULES_MAX];
    char name[12];
};

static bool find_header(struct loader *l, struct header *h, size_t *at)
{
    const struct load_blob *b = &l->request->image;
    uint32_t w[3];

    for (*at = 0; *at + sizeof(w) <= min_u64(SEARCH, b->size); *at += 4) {
        memcpy(w, b->data + *at, sizeof(w));
        if (w[0] != MAGIC)
            continue;
        if (w[0] + w[1] + w[2] != 0) {
            loader_note_damage(l, "multiboot1", *at, "has a wrong checksum");
            continue;
        }
        memset(h, 0, sizeof(*h));
        memcpy(h, b->data + *at, min_u64(sizeof(*h), b->size - *at));
        return true;
    }
    return false;
}

/* The address fields of the header say what to load (for images that are not ELF). */
static int put_by_address(struct loader *l, const struct header *h, size_t at)
{
    const struct load_blob *b = &l->request->image;
    uint64_t skip, offset, filesz, memsz;

    skip = h->header_addr - (uint64_t)h->load_addr;
    if (b->size < at + sizeof(*h)) {
        (void)fmt(l->error->text, sizeof(l->error->text),
                  "multiboot1: the header 0x%zx+0x%zx ends after the image (0x%zx bytes)", at,
                  sizeof(*h), b->size);
        return -E_FORMAT;
    }
    if (h->header_addr < h->load_addr || skip > at) {
        (void)fmt(l->error->text, sizeof(l->error->text),
                  "multiboot1: header address 0x%x and load address 0x%x contradict the header's "
                  "place in the image (0x%zx)",
                  h->header_addr, h->load_addr, at);
        return -E_FORMAT;
    }
    offset = at - skip;
    filesz = h->load_end_addr ? h->load_end_addr - (uint64_t)h->load_addr : b->size - offset;
    memsz = h->bss_end_addr ? h->bss_end_addr - (uint64_t)h->load_addr : filesz;
    if ((h->load_end_addr && h->load_end_addr < h->load_addr) ||
        (h->bss_end_addr && h->bss_end_addr < h->load_addr) || filesz > b->size - offset ||
        memsz < filesz) {
        (void)fmt(l->error->text, sizeof(l->error->text),
                  "multiboot1: load address 0x%x, end 0x%x, bss end 0x%x do not fit the image "
                  "(0x%zx bytes)",
                  h->load_addr, h->load_end_addr, h->bss_end_addr, b->size);
        return -E_FORMAT;
    }
    return loader_put(l, h->load_addr, offset, filesz, memsz, "multiboot1 image");
}

/* Returns its length in bytes. */
static uint32_t fill_map(uint64_t memory, struct mmap *map)
{
    struct load_area areas[LOAD_AREAS_MAX];
    unsigned n = load_map(memory, areas);

    for (unsigned i = 0; i < n; i++)
        map[i] = (struct mmap){sizeof(*map) - sizeof(map->size), areas[i].base, areas[i].size,
                               areas[i].type};
    return (uint32_t)(n * sizeof(*map));
}

static int put_info(struct loader *l)
{
    const struct load_request *r = l->request;
    struct block b = {.name = "Bulkhead"};
    uint64_t at;
    int rc = place_any(&l->place, sizeof(b), 16, 0, true, "multiboot1 information", &at, l->error);

    if (rc == 0)
        rc = loader_put_args(l, &r->image, &b.info.cmdline);
    for (unsigned i = 0; rc == 0 && i < r->module_count; i++) {
        uint64_t start;

        rc = loader_put_module(l, i, LOAD_LIMIT, false, &start);
        if (rc)
            break;
        b.modules[i].start = (uint32_t)start;
        b.modules[i].end = (uint32_t)(start + r->modules[i].size);
        rc = loader_put_args(l, &r->modules[i], &b.modules[i].string);
    }
    if (rc)
        return rc;
    b.info.flags = INFO_MEMORY | INFO_CMDLINE | INFO_MODULES | INFO_MMAP | INFO_NAME;
    b.info.mem_lower = LOAD_LOW_END >> 10;
    b.info.mem_upper = (uint32_t)((memory_below(r->memory) >> 10) - 1024);
    b.info.mods_count = r->module_count;
    b.info.mods_addr = (uint32_t)(at + offsetof(struct block, modules));
    b.info.mmap_length = fill_map(r->memory, b.mmap);
    b.info.mmap_addr = (uint32_t)(at + offsetof(struct block, mmap));
    b.info.name = (uint32_t)(at + offsetof(struct block, name));
    l->out->rax = BOOT_MAGIC;
    l->out->rbx = at;
    return loader_write(l, at, &b, sizeof(b));
}

int load_multiboot1(struct loader *l)
{
    struct elf_image elf;
    struct header h;
    size_t at;
    int rc;

    if (!find_header(l, &h, &at))
        return 0;
    if (h.flags & REQUIRED_MASK & ~FLAGS_KNOWN) {
        (void)fmt(l->error->text, sizeof(l->error->text),
                  "multiboot1: the header requires features (flags 0x%x) that are not offered",
                  h.flags);
        return -E_NOTSUP;
    }
    loader_name_kind(l, "multiboot1");
    if (h.flags & FLAG_ADDRESS) {
        rc = put_by_address(l, &h, at);
        l->out->rip = h.entry_addr;
    } else if (elf_is(&l->request->image)) {
        rc = elf_parse(&l->request->image, &elf, l->error);
        if (rc == 0)
            rc = loader_put_elf(l, &elf, 0);
        l->out->rip = elf.entry;
    } else {
        (void)fmt(l->error->text, sizeof(l->error->text),
                  "multiboot1: neither ELF nor address fields in the header");
        rc = -E_FORMAT;
    }
    if (rc == 0)
        rc = loader_check_entry(l, l->out->rip);
    if (rc == 0)
        rc = put_info(l);
    if (rc == 0)
        rc = loader_protected_mode(l, 0x08, 0x18);
    return rc ? rc : 1;
}

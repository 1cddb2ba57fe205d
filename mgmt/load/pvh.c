/* PVH: the entry point that an ELF note names, in 32-bit protected mode. Xen "x86/HVM direct boot
 * ABI" and "HVM start info structure". */
#include "hv/abi/memory.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/load/firmware.h"
#include "mgmt/load/map.h"

/* Xen "ELF notes". */
#define NOTE_NAME        "Xen"
#define NOTE_ENTRY       18u /* XEN_ELFNOTE_PHYS32_ENTRY */
#define NOTE_RELOCATABLE 19u /* XEN_ELFNOTE_PHYS32_RELOC */

#define MAGIC            0x336ec578u
#define VERSION          1u /* with a memory map */
#define LOAD_LIMIT       0xfffff000ull
#define ALIGN_DEFAULT    PAGE_SIZE_2M

struct start_info {
    uint32_t magic, version, flags, module_count;
    uint64_t modules, cmdline, rsdp, map;
    uint32_t map_count, reserved;
};
struct module {
    uint64_t start, size, cmdline, reserved;
};
struct map_entry {
    uint64_t base, size;
    uint32_t type, reserved;
};

/* Everything that the loader writes for the guest, in one low block. */
struct block {
    struct start_info info;
    struct module modules[LOAD_MODULES_MAX];
    struct map_entry map[LOAD_AREAS_MAX];
};

static bool find_entry(const struct loader *l, const struct elf_image *elf, uint64_t *entry)
{
    uint32_t size;
    const uint8_t *at = elf_note(&l->request->image, elf, NOTE_NAME, NOTE_ENTRY, &size);

    *entry = 0;
    if (!at || (size != 4 && size != 8))
        return false;
    memcpy(entry, at, size);
    return true;
}

/* The note's three words: alignment, lowest and highest address. Without them the defaults hold. */
static bool may_move(const struct loader *l, const struct elf_image *elf, struct loader_limits *to)
{
    uint32_t size, words[3] = {ALIGN_DEFAULT, 0, UINT32_MAX};
    const uint8_t *at = elf_note(&l->request->image, elf, NOTE_NAME, NOTE_RELOCATABLE, &size);

    if (!at)
        return false;
    memcpy(words, at, min_u64(size, sizeof(words)));
    *to = (struct loader_limits){words[1], words[2] + 1ull, words[0] ? words[0] : 1, true};
    return (to->align & (to->align - 1)) == 0;
}

static int put_image(struct loader *l, const struct elf_image *elf, uint64_t *delta)
{
    struct loader_limits limits;
    uint64_t size, base = elf_base(elf, &size);

    *delta = 0;
    /* If it fits nowhere, placing it at its own address says why. */
    if (may_move(l, elf, &limits))
        (void)loader_choose(l, &limits, base, size, delta);
    return loader_put_elf(l, elf, *delta);
}

static int put_module(struct loader *l, unsigned i, struct module *m)
{
    uint32_t args = 0;
    int rc = loader_put_module(l, i, LOAD_LIMIT, false, &m->start);

    if (rc == 0)
        rc = loader_put_args(l, &l->request->modules[i], &args);
    m->size = l->request->modules[i].size;
    m->cmdline = args;
    return rc;
}

static unsigned fill_map(const struct loader *l, struct map_entry *map)
{
    struct load_area areas[LOAD_AREAS_MAX];
    unsigned n = load_map(l->request->memory, areas);

    for (unsigned i = 0; i < n; i++)
        map[i] = (struct map_entry){areas[i].base, areas[i].size, areas[i].type, 0};
    return n;
}

static int put_info(struct loader *l)
{
    struct block b = {.info = {.magic = MAGIC, .version = VERSION}};
    uint32_t cmdline = 0;
    uint64_t at;
    int rc = place_any(&l->place, sizeof(b), 16, 0, true, "PVH start information", &at, l->error);

    if (rc == 0)
        rc = loader_put_args(l, &l->request->image, &cmdline);
    for (unsigned i = 0; rc == 0 && i < l->request->module_count; i++)
        rc = put_module(l, i, &b.modules[i]);
    if (rc)
        return rc;
    b.info.cmdline = cmdline;
    b.info.module_count = l->request->module_count;
    b.info.modules = at + offsetof(struct block, modules);
    if (l->request->devices & DEV_ACPI)
        b.info.rsdp = FIRMWARE_RSDP;
    b.info.map = at + offsetof(struct block, map);
    b.info.map_count = fill_map(l, b.map);
    l->out->rbx = at;
    return loader_write(l, at, &b, sizeof(b));
}

int load_pvh(struct loader *l)
{
    uint64_t entry, delta;
    struct elf_image elf;
    int rc;

    if (!elf_is(&l->request->image))
        return 0;
    rc = elf_parse(&l->request->image, &elf, l->error);
    if (rc)
        return rc;
    if (!find_entry(l, &elf, &entry))
        return 0;
    loader_name_kind(l, "pvh");
    rc = put_image(l, &elf, &delta);
    l->out->rip = entry + delta;
    if (rc == 0)
        rc = loader_check_entry(l, l->out->rip);
    if (rc == 0)
        rc = put_info(l);
    if (rc == 0)
        rc = loader_protected_mode(l, 0x08, 0x18);
    return rc ? rc : 1;
}

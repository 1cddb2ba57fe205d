#include "mgmt/load/load.h"

#include "hv/abi/memory.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/load/firmware.h"

#define FLAT_ADDRESS 0x7c00u
#define FLAT_MAX     (512u << 10)
#define FLAT_STACK   0x7c00u
#define FIRST_DISK   0x80u

/* Flat 4 GiB segments; selectors 0x08 and 0x10 are code, 0x18 data (Linux's __BOOT_CS and __BOOT_DS
 * are 0x10 and 0x18). */
static const uint64_t gdt[] = {0, 0x00cf9b000000ffff, 0x00cf9b000000ffff, 0x00cf93000000ffff};

static int add_piece(struct loader *l, const struct load_piece *piece)
{
    struct load_plan *p = l->plan;

    if (piece->size == 0)
        return 0;
    if (p->piece_count == LOAD_PIECES_MAX) {
        (void)fmt(l->error->text, sizeof(l->error->text), "the image has too many pieces");
        return -E_NOSPC;
    }
    p->pieces[p->piece_count++] = *piece;
    return 0;
}

size_t loader_room(const struct loader *l)
{
    return LOAD_BYTES_MAX - l->plan->byte_count;
}

uint8_t *loader_bytes(struct loader *l)
{
    return l->plan->bytes + l->plan->byte_count;
}

int loader_put_bytes(struct loader *l, uint64_t address, size_t n)
{
    struct load_plan *p = l->plan;
    const struct load_piece piece = {address, n, p->byte_count, LOAD_FROM_BYTES, 0};

    p->byte_count += (uint32_t)n;
    return add_piece(l, &piece);
}

static int say_no_room(const struct loader *l)
{
    (void)fmt(l->error->text, sizeof(l->error->text),
              "command lines and boot information exceed %u bytes", LOAD_BYTES_MAX);
    return -E_NOSPC;
}

int loader_write(struct loader *l, uint64_t address, const void *bytes, size_t n)
{
    if (n > loader_room(l))
        return say_no_room(l);
    memcpy(loader_bytes(l), bytes, n);
    return loader_put_bytes(l, address, n);
}

void loader_name_kind(struct loader *l, const char *kind)
{
    (void)str_copy(l->out->kind, sizeof(l->out->kind), kind);
}

void loader_note_damage(struct loader *l, const char *kind, size_t at, const char *what)
{
    if (l->damaged)
        return;
    (void)fmt(l->error->text, sizeof(l->error->text), "%s: the header at 0x%zx %s", kind, at, what);
    l->damaged = true;
}

int loader_put(struct loader *l, uint64_t address, uint64_t offset, uint64_t filesz, uint64_t memsz,
               const char *what)
{
    int rc;

    if (memsz == 0) {
        (void)fmt(l->error->text, sizeof(l->error->text), "%s: nothing to load at 0x%lx", what,
                  address);
        return -E_FORMAT;
    }
    rc = place_fixed(&l->place, address, memsz, what, l->error);
    if (rc)
        return rc;
    return add_piece(l, &(struct load_piece){address, filesz, offset, LOAD_FROM_IMAGE, 0});
}

int loader_check_entry(struct loader *l, uint64_t entry)
{
    if (place_covers(&l->place, entry))
        return 0;
    (void)fmt(l->error->text, sizeof(l->error->text),
              "%s: the entry point 0x%lx lies outside of what the image loads", l->out->kind,
              entry);
    return -E_FORMAT;
}

int loader_put_elf(struct loader *l, const struct elf_image *elf, uint64_t delta)
{
    int rc = 0;

    for (unsigned i = 0; rc == 0 && i < elf->count; i++) {
        const struct elf_segment *s = &elf->segments[i];

        rc = loader_put(l, s->paddr + delta, s->offset, s->filesz, s->memsz, "ELF segment");
    }
    return rc;
}

bool loader_choose(const struct loader *l, const struct loader_limits *to, uint64_t base,
                   uint64_t size, uint64_t *delta)
{
    uint64_t start;

    if (base < to->min || base + size > to->max || base % to->align ||
        !place_find(&l->place, size, 1, base, base + size, true, &start)) {
        if (!place_find(&l->place, size, to->align, to->min, to->max, to->low, &start))
            return false;
    }
    *delta = start - base;
    return true;
}

int loader_put_args(struct loader *l, const struct load_blob *b, uint32_t *address)
{
    const char *name = b->name ? b->name : "", *args = b->args ? b->args : "";
    size_t n = load_args_size(b);
    char *to = (char *)loader_bytes(l);
    uint64_t at;
    int rc = place_any(&l->place, n, 16, 0, true, "command line", &at, l->error);

    if (rc)
        return rc;
    if (n > loader_room(l))
        return say_no_room(l);
    (void)fmt(to, n, "%s%s%s", name, name[0] && args[0] ? " " : "", args);
    *address = (uint32_t)at;
    return loader_put_bytes(l, at, n);
}

int loader_put_module(struct loader *l, unsigned i, uint64_t limit, bool high, uint64_t *start)
{
    const struct load_blob *m = &l->request->modules[i];
    int rc = high
                 ? place_any(&l->place, m->size, PAGE_SIZE, limit, false, "module", start, l->error)
                 : place_behind(&l->place, m->size, PAGE_SIZE, limit, "module", start, l->error);

    if (rc)
        return rc;
    return add_piece(l, &(struct load_piece){*start, m->size, 0, LOAD_FROM_MODULE + i, 0});
}

int loader_protected_mode(struct loader *l, uint16_t cs, uint16_t ds)
{
    l->out->mode = LOAD_PROT32;
    l->out->gdt_base = LOAD_LOW_END;
    l->out->gdt_limit = sizeof(gdt) - 1;
    l->out->cs = cs;
    l->out->ds = ds;
    /* Memory has at least LOAD_MEMORY_MIN: the page is there. */
    return loader_write(l, LOAD_LOW_END, gdt, sizeof(gdt));
}

int load_flat(struct loader *l)
{
    const struct load_blob *image = &l->request->image;
    int rc;

    if (image->size == 0 || image->size > FLAT_MAX) {
        (void)fmt(l->error->text, sizeof(l->error->text),
                  "flat: a flat binary has 1 to %u bytes, not %zu", FLAT_MAX, image->size);
        return -E_FORMAT;
    }
    if (l->request->module_count) {
        (void)fmt(l->error->text, sizeof(l->error->text),
                  "flat: a flat binary cannot be given modules (%u are)", l->request->module_count);
        return -E_NOTSUP;
    }
    rc = loader_put(l, FLAT_ADDRESS, 0, image->size, image->size, "flat binary");
    if (rc)
        return rc;
    loader_name_kind(l, "flat");
    l->out->mode = LOAD_REAL16;
    l->out->rip = FLAT_ADDRESS;
    l->out->rsp = FLAT_STACK;
    l->out->rdx = FIRST_DISK;
    return 1;
}

/* The beginnings of files that are often tried but cannot be loaded as they are. */
static const struct foreign {
    const char *bytes;
    size_t size;
    const char *what;
} foreign[] = {
    {"\x1f\x8b", 2, "compressed by gzip"},
    {"\xfd"
     "7zXZ",
     5, "compressed by xz"},
    {"\x28\xb5\x2f\xfd", 4, "compressed by zstd"},
    {"BZh", 3, "compressed by bzip2"},
    {"\x04\x22\x4d\x18", 4, "compressed by lz4"},
    {"\x02\x21\x4c\x18", 4, "compressed by lz4"},
    {"\x5d\x00\x00", 3, "compressed by lzma"},
};

/* No loader recognises the image. A damaged header is the likeliest reason. */
static int refuse(const struct loader *l)
{
    const struct load_blob *b = &l->request->image;
    struct load_error *e = l->error;

    if (l->damaged)
        return -E_FORMAT;
    if (elf_is(b)) {
        (void)fmt(e->text, sizeof(e->text),
                  "ELF without a multiboot1 header (first 8 KiB), multiboot2 header (first 32 KiB) "
                  "or PVH "
                  "note");
        return -E_FORMAT;
    }
    for (size_t i = 0; i < ARRAY_LEN(foreign); i++) {
        if (b->size < foreign[i].size || memcmp(b->data, foreign[i].bytes, foreign[i].size) != 0)
            continue;
        (void)fmt(e->text, sizeof(e->text), "the image is %s: unpack it first", foreign[i].what);
        return -E_FORMAT;
    }
    (void)fmt(e->text, sizeof(e->text),
              "neither a Linux kernel nor a multiboot or PVH image; if it is a flat binary for "
              "real mode at "
              "0x7c00, say \"kind\": \"flat\"");
    return -E_FORMAT;
}

static int check_request(const struct load_request *r, struct load_error *e)
{
    if (r->module_count > LOAD_MODULES_MAX)
        (void)fmt(e->text, sizeof(e->text), "%u modules are more than %d", r->module_count,
                  LOAD_MODULES_MAX);
    else if (r->memory < LOAD_MEMORY_MIN)
        (void)fmt(e->text, sizeof(e->text), "0x%lx bytes of guest memory are less than 2 MiB",
                  r->memory);
    else
        return 0;
    return -E_INVAL;
}

/* In the order in which they are tried. Linux first: its header is at a fixed place, while the
 * others' must be searched for. Then as GRUB's users know them, the newer one first. */
static const struct {
    enum config_kind kind;
    const char *name;
    int (*load)(struct loader *l);
} loaders[] = {
    {KIND_LINUX, "linux", load_linux},
    {KIND_MULTIBOOT2, "multiboot2", load_multiboot2},
    {KIND_MULTIBOOT1, "multiboot1", load_multiboot1},
    {KIND_PVH, "pvh", load_pvh},
    {KIND_FLAT, "flat", load_flat},
};

/* From the beginning: an earlier loader may have placed something before it gave up. */
static int try_loader(struct loader *l, int (*load)(struct loader *l))
{
    int rc;

    memset(&l->plan->start, 0, sizeof(l->plan->start));
    l->plan->piece_count = l->plan->byte_count = 0;
    place_init(&l->place, memory_below(l->request->memory));
    rc = firmware_put(l);
    return rc ? rc : load(l);
}

/* If several loaders recognise the image, the first that can load it does. 1; or the first one's
 * error; or 0: none recognises it. */
static int try_loaders(struct loader *l)
{
    enum config_kind wanted = l->request->kind;
    struct load_error first;
    int failed = 0;

    for (size_t i = 0; i < ARRAY_LEN(loaders); i++) {
        int rc;

        if (wanted == KIND_AUTO ? loaders[i].kind == KIND_FLAT : loaders[i].kind != wanted)
            continue;
        rc = try_loader(l, loaders[i].load);
        if (rc > 0)
            return rc;
        if (rc < 0 && !failed) {
            first = *l->error;
            failed = rc;
        }
    }
    if (failed)
        *l->error = first;
    return failed;
}

static int refuse_kind(const struct loader *l)
{
    for (size_t i = 0; i < ARRAY_LEN(loaders) && !l->damaged; i++)
        if (loaders[i].kind == l->request->kind)
            (void)fmt(l->error->text, sizeof(l->error->text),
                      "the image is not of \"kind\": \"%s\"", loaders[i].name);
    return -E_FORMAT;
}

int load_guest(const struct load_request *r, struct load_plan *plan, struct load_error *e)
{
    struct loader l = {.request = r, .plan = plan, .out = &plan->start, .error = e};
    int rc;

    memset(&plan->start, 0, sizeof(plan->start));
    plan->piece_count = plan->byte_count = 0;
    memset(e, 0, sizeof(*e));
    rc = check_request(r, e);
    if (rc == 0)
        rc = try_loaders(&l);
    if (rc == 0)
        rc = r->kind == KIND_AUTO ? refuse(&l) : refuse_kind(&l);
    if (rc < 0 && !e->text[0])
        (void)fmt(e->text, sizeof(e->text), "the image does not fit the guest's memory");
    if (rc < 0)
        return rc;
    e->text[0] = 0;
    return 0;
}

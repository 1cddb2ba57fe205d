#include "hv/load/load.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "hv/load/loader.h"

#define FLAT_ADDRESS 0x7c00u
#define FLAT_MAX     (512u << 10)
#define FLAT_STACK   0x7c00u
#define FIRST_DISK   0x80u

/* Flat 4 GB segments; selectors 0x08 and 0x10 are code, 0x18 data (Linux's __BOOT_CS and __BOOT_DS
 * are 0x10 and 0x18). */
static const uint64_t gdt[] = {0, 0x00cf9b000000ffff, 0x00cf9b000000ffff, 0x00cf93000000ffff};

int loader_put(struct loader *l, uint64_t address, const uint8_t *bytes, uint64_t filesz,
               uint64_t memsz, const char *what)
{
    int rc = place_fixed(&l->place, address, memsz, what, l->error);

    if (rc)
        return rc;
    return gmem_write(l->mem, gpa(address), bytes, filesz);
}

int loader_put_elf(struct loader *l, struct elf_image *elf)
{
    int rc = elf_parse(&l->request->image, elf, l->error);

    for (unsigned i = 0; rc == 0 && i < elf->count; i++) {
        const struct elf_segment *s = &elf->segments[i];

        rc = loader_put(l, s->paddr, l->request->image.data + s->offset, s->filesz, s->memsz,
                        "ELF segment");
    }
    return rc;
}

int loader_put_module(struct loader *l, unsigned i, uint64_t limit, uint64_t *start)
{
    const struct load_blob *m = &l->request->modules[i];
    int rc = place_any(&l->place, m->size, PAGE_SIZE, limit, false, "module", start, l->error);

    if (rc)
        return rc;
    return gmem_write(l->mem, gpa(*start), m->data, m->size);
}

void loader_protected_mode(struct loader *l, uint16_t cs, uint16_t ds)
{
    /* Memory has at least 2 MB: the page is there. */
    (void)!gmem_write(l->mem, gpa(LOAD_LOW_END), gdt, sizeof(gdt));
    l->out->mode = LOAD_PROT32;
    l->out->gdt_base = LOAD_LOW_END;
    l->out->gdt_limit = sizeof(gdt) - 1;
    l->out->cs = cs;
    l->out->ds = ds;
}

int load_flat(struct loader *l)
{
    const struct load_blob *image = &l->request->image;
    int rc;

    if (image->size == 0 || image->size > FLAT_MAX) {
        (void)fmt(l->error->text, sizeof(l->error->text),
                  "not an image that can be loaded: no multiboot header, no Linux kernel, and as a "
                  "flat binary its %zu bytes are not between 1 and %u",
                  image->size, FLAT_MAX);
        return -E_FORMAT;
    }
    rc = loader_put(l, FLAT_ADDRESS, image->data, image->size, image->size, "flat binary");
    if (rc)
        return rc;
    l->out->kind = "flat";
    l->out->mode = LOAD_REAL16;
    l->out->rip = FLAT_ADDRESS;
    l->out->rsp = FLAT_STACK;
    l->out->rdx = FIRST_DISK;
    return 1;
}

int load_guest(const struct load_request *r, const struct gmem *m, struct load_result *out,
               struct load_error *e)
{
    struct loader l = {.request = r, .mem = m, .out = out, .error = e};
    int rc;

    memset(out, 0, sizeof(*out));
    memset(e, 0, sizeof(*e));
    place_init(&l.place, m);
    if (r->module_count > LOAD_MODULES_MAX) {
        (void)fmt(e->text, sizeof(e->text), "more than %d modules", LOAD_MODULES_MAX);
        return -E_INVAL;
    }
    rc = load_multiboot2(&l);
    if (rc == 0)
        rc = load_multiboot1(&l);
    if (rc == 0)
        rc = load_linux(&l);
    if (rc == 0 && elf_is(&r->image)) {
        (void)fmt(e->text, sizeof(e->text), "ELF without a multiboot1 or multiboot2 header");
        return -E_FORMAT;
    }
    if (rc == 0)
        rc = load_flat(&l);
    if (rc < 0 && !e->text[0])
        (void)fmt(e->text, sizeof(e->text), "the image does not fit the guest's memory");
    return rc < 0 ? rc : 0;
}

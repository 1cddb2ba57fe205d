#include "mgmt/load/elf.h"

#include "hv/fmt.h"
#include "hv/lib.h"

#define PT_LOAD   1u
#define PT_NOTE   4u
#define CLASS32   1u
#define CLASS64   2u
#define DATA_LSB  1u
#define ET_EXEC   2u
#define ET_DYN    3u
#define EM_386    3u
#define EM_X86_64 62u

struct ehdr32 {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version, entry, phoff, shoff, flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct ehdr64 {
    uint8_t ident[16];
    uint16_t type, machine;
    uint32_t version;
    uint64_t entry, phoff, shoff;
    uint32_t flags;
    uint16_t ehsize, phentsize, phnum, shentsize, shnum, shstrndx;
};
struct phdr32 {
    uint32_t type, offset, vaddr, paddr, filesz, memsz, flags, align;
};
struct phdr64 {
    uint32_t type, flags;
    uint64_t offset, vaddr, paddr, filesz, memsz, align;
};

struct shdr32 {
    uint32_t name, type, flags, addr, offset, size, link, info, addralign, entsize;
};
struct shdr64 {
    uint32_t name, type;
    uint64_t flags, addr, offset, size;
    uint32_t link, info;
    uint64_t addralign, entsize;
};

struct table {
    uint64_t offset;
    uint16_t entry_size, count;
};

bool elf_is(const struct load_blob *b)
{
    return b->size >= 4 && memcmp(b->data, "\177ELF", 4) == 0;
}

static int bad(struct load_error *e, const char *what)
{
    (void)fmt(e->text, sizeof(e->text), "ELF: %s", what);
    return -E_FORMAT;
}

static int ends(struct load_error *e, const char *what, uint64_t at, uint64_t size,
                const struct load_blob *b)
{
    (void)fmt(e->text, sizeof(e->text), "ELF: %s 0x%lx+0x%lx not within the image (0x%zx bytes)",
              what, at, size, b->size);
    return -E_FORMAT;
}

/* Sections are for the guest alone: errors in them do not matter to the loader. */
static void note_sections(const struct load_blob *b, struct elf_image *out, const struct table *t,
                          uint16_t names)
{
    size_t size = out->is64 ? sizeof(struct shdr64) : sizeof(struct shdr32);

    if (t->entry_size < size || t->offset > b->size ||
        (uint64_t)t->entry_size * t->count > b->size - t->offset)
        return;
    out->sections_at = t->offset;
    out->section_size = t->entry_size;
    out->section_count = t->count;
    out->section_names = names;
}

static int parse_header(const struct load_blob *b, struct elf_image *out, struct table *t,
                        struct load_error *e)
{
    uint16_t type, machine, names;
    struct table sections;
    size_t size;

    if (b->size < 16)
        return ends(e, "header", 0, 16, b);
    out->is64 = b->data[4] == CLASS64;
    if ((!out->is64 && b->data[4] != CLASS32) || b->data[5] != DATA_LSB)
        return bad(e, "neither 32- nor 64-bit little-endian");
    size = out->is64 ? sizeof(struct ehdr64) : sizeof(struct ehdr32);
    if (b->size < size)
        return ends(e, "header", 0, size, b);
    if (out->is64) {
        struct ehdr64 h;

        memcpy(&h, b->data, sizeof(h));
        type = h.type;
        machine = h.machine;
        names = h.shstrndx;
        out->entry = h.entry;
        *t = (struct table){h.phoff, h.phentsize, h.phnum};
        sections = (struct table){h.shoff, h.shentsize, h.shnum};
    } else {
        struct ehdr32 h;

        memcpy(&h, b->data, sizeof(h));
        type = h.type;
        machine = h.machine;
        names = h.shstrndx;
        out->entry = h.entry;
        *t = (struct table){h.phoff, h.phentsize, h.phnum};
        sections = (struct table){h.shoff, h.shentsize, h.shnum};
    }
    note_sections(b, out, &sections, names);
    if (type != ET_EXEC && type != ET_DYN)
        return bad(e, "not an executable (object files do not load)");
    if (machine != EM_386 && machine != EM_X86_64)
        return bad(e, "not for x86");
    return 0;
}

static int add_segment(const struct load_blob *b, struct elf_image *out, unsigned number,
                       const struct elf_segment *s, struct load_error *e)
{
    if (s->memsz == 0)
        return 0;
    if (s->filesz > s->memsz) {
        (void)fmt(e->text, sizeof(e->text),
                  "ELF segment %u: file size 0x%lx exceeds memory size 0x%lx", number, s->filesz,
                  s->memsz);
        return -E_FORMAT;
    }
    /* The offset of a segment without bytes in the file is meaningless. */
    if (s->filesz && (s->offset > b->size || s->filesz > b->size - s->offset)) {
        (void)fmt(e->text, sizeof(e->text),
                  "ELF segment %u: file range 0x%lx+0x%lx ends after the image (0x%zx bytes)",
                  number, s->offset, s->filesz, b->size);
        return -E_FORMAT;
    }
    if (out->count == ARRAY_LEN(out->segments)) {
        (void)fmt(e->text, sizeof(e->text), "ELF segment %u: more than %zu segments to load",
                  number, ARRAY_LEN(out->segments));
        return -E_FORMAT;
    }
    out->segments[out->count++] = *s;
    return 0;
}

/* Notes outside of the image are ignored: most programs have none that matter here. */
static void add_note(const struct load_blob *b, struct elf_image *out, const struct elf_segment *s,
                     uint64_t alignment)
{
    if (out->note_count == ARRAY_LEN(out->notes) || s->offset > b->size ||
        s->filesz > b->size - s->offset)
        return;
    out->notes[out->note_count].offset = s->offset;
    out->notes[out->note_count].size = s->filesz;
    out->notes[out->note_count].align = alignment == 8 ? 8 : 4;
    out->note_count++;
}

/* The header has a virtual address, but the guest starts without paging. */
static void find_entry(struct elf_image *out)
{
    for (unsigned i = 0; i < out->count; i++) {
        const struct elf_segment *s = &out->segments[i];

        if (out->entry >= s->vaddr && out->entry - s->vaddr < s->memsz) {
            out->entry = s->paddr + (out->entry - s->vaddr);
            return;
        }
    }
}

int elf_parse(const struct load_blob *b, struct elf_image *out, struct load_error *e)
{
    struct table t;
    size_t size;
    int rc;

    *out = (struct elf_image){0};
    rc = parse_header(b, out, &t, e);
    if (rc)
        return rc;
    size = out->is64 ? sizeof(struct phdr64) : sizeof(struct phdr32);
    if (t.entry_size < size) {
        (void)fmt(e->text, sizeof(e->text), "ELF: program headers of %u bytes are too small",
                  t.entry_size);
        return -E_FORMAT;
    }
    if (t.offset > b->size || (uint64_t)t.entry_size * t.count > b->size - t.offset)
        return ends(e, "program headers", t.offset, (uint64_t)t.entry_size * t.count, b);
    for (unsigned i = 0; i < t.count; i++) {
        const uint8_t *at = b->data + t.offset + (size_t)i * t.entry_size;
        struct elf_segment s;
        uint64_t alignment;
        uint32_t type;

        if (out->is64) {
            struct phdr64 h;

            memcpy(&h, at, sizeof(h));
            type = h.type;
            alignment = h.align;
            s = (struct elf_segment){h.offset, h.filesz, h.paddr, h.vaddr, h.memsz};
        } else {
            struct phdr32 h;

            memcpy(&h, at, sizeof(h));
            type = h.type;
            alignment = h.align;
            s = (struct elf_segment){h.offset, h.filesz, h.paddr, h.vaddr, h.memsz};
        }
        if (type == PT_NOTE)
            add_note(b, out, &s, alignment);
        rc = type == PT_LOAD ? add_segment(b, out, i, &s, e) : 0;
        if (rc)
            return rc;
    }
    find_entry(out);
    return out->count ? 0 : bad(e, "nothing to load");
}

uint64_t elf_base(const struct elf_image *elf, uint64_t *size)
{
    uint64_t base = UINT64_MAX, end = 0;

    for (unsigned i = 0; i < elf->count; i++) {
        base = min_u64(base, elf->segments[i].paddr);
        end = max_u64(end, elf->segments[i].paddr + elf->segments[i].memsz);
    }
    *size = end - base;
    return base;
}

/* System V gABI "Note Section". */
struct note {
    uint32_t name_size, size, type;
};

static const uint8_t *find_note(const uint8_t *at, uint64_t left, uint64_t align, const char *name,
                                uint32_t type, uint32_t *size)
{
    size_t name_size = strlen(name) + 1;
    struct note n;

    while (left >= sizeof(n)) {
        uint64_t start, next;

        memcpy(&n, at, sizeof(n));
        start = align_up(sizeof(n) + (uint64_t)n.name_size, align);
        next = align_up(start + n.size, align);
        if (start > left || n.size > left - start)
            return NULL;
        if (n.type == type && n.name_size == name_size &&
            memcmp(at + sizeof(n), name, name_size) == 0) {
            *size = n.size;
            return at + start;
        }
        if (next > left)
            return NULL;
        at += next;
        left -= next;
    }
    return NULL;
}

const uint8_t *elf_note(const struct load_blob *b, const struct elf_image *elf, const char *name,
                        uint32_t type, uint32_t *size)
{
    for (unsigned i = 0; i < elf->note_count; i++) {
        const uint8_t *found = find_note(b->data + elf->notes[i].offset, elf->notes[i].size,
                                         elf->notes[i].align, name, type, size);

        if (found)
            return found;
    }
    return NULL;
}

void elf_section(const struct load_blob *b, const struct elf_image *elf, unsigned n,
                 struct elf_section *out)
{
    const uint8_t *at = b->data + elf->sections_at + (size_t)n * elf->section_size;

    if (elf->is64) {
        struct shdr64 h;

        memcpy(&h, at, sizeof(h));
        *out = (struct elf_section){h.type, h.addr, h.offset, h.size};
    } else {
        struct shdr32 h;

        memcpy(&h, at, sizeof(h));
        *out = (struct elf_section){h.type, h.addr, h.offset, h.size};
    }
}

void elf_section_set_address(const struct elf_image *elf, uint8_t *header, uint64_t address)
{
    size_t at = elf->is64 ? offsetof(struct shdr64, addr) : offsetof(struct shdr32, addr);

    memcpy(header + at, &address, elf->is64 ? 8 : 4);
}

/* Multiboot2 Specification version 2.0, the boot loader's side. */
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/load/multiboot2.h"

#define MAGIC       0xe85250d6u
#define BOOT_MAGIC  0x36d76289u
#define SEARCH      32768u
#define HEADER_SIZE 16u

/* Header tags. Those for EFI, its entry points and consoles describe machines with these; a guest's
 * PC has none. GRUB accepts them on such a PC too. */
enum {
    HEADER_END = 0,
    HEADER_INFORMATION = 1,
    HEADER_ADDRESS = 2,
    HEADER_ENTRY = 3,
    HEADER_CONSOLE = 4,
    HEADER_FRAMEBUFFER = 5,
    HEADER_MODULE_ALIGN = 6,
    HEADER_EFI_BOOT_SERVICES = 7,
    HEADER_EFI_ENTRY_32 = 8,
    HEADER_EFI_ENTRY_64 = 9,
    HEADER_RELOCATABLE = 10,
};
#define HEADER_OPTIONAL 1u
#define PREFER_LOW      1u /* in the relocatable tag */

struct header_tags {
    bool address, entry, relocatable;
    uint32_t header_addr, load_addr, load_end, bss_end, entry_addr;
    uint32_t min, max, align, preference;
    uint32_t wanted, needed; /* bits of boot information: all requests, required ones */
};

/* Where the image is: it was built for `base`, and is loaded `delta` above it (modulo 2^64). */
struct position {
    uint64_t base, size, delta;
};

static bool find_header(struct loader *l, size_t *at, uint32_t *length)
{
    const struct load_blob *b = &l->request->image;
    uint32_t w[4];

    for (*at = 0; *at + HEADER_SIZE <= min_u64(SEARCH, b->size); *at += 8) {
        memcpy(w, b->data + *at, sizeof(w));
        if (w[0] != MAGIC)
            continue;
        *length = w[2];
        if (w[0] + w[1] + w[2] + w[3] != 0)
            loader_note_damage(l, "multiboot2", *at, "has a wrong checksum");
        else if (w[1] != 0)
            loader_note_damage(l, "multiboot2", *at, "is not for x86");
        else
            return true;
    }
    return false;
}

static int PRINTF(2, 3) refuse(struct loader *l, const char *format, ...)
{
    static const char prefix[] = "multiboot2: ";
    va_list ap;

    memcpy(l->error->text, prefix, sizeof(prefix));
    va_start(ap, format);
    (void)fmt_v(l->error->text + sizeof(prefix) - 1, sizeof(l->error->text) - sizeof(prefix) + 1,
                format, ap);
    va_end(ap);
    return -E_FORMAT;
}

/* Like GRUB, accepts requests for everything in the specification, and provides what exists: an
 * image that asks for ACPI tables or a framebuffer must check whether it got them. */
static int parse_request(struct loader *l, const uint8_t *tag, uint32_t size, bool optional,
                         struct header_tags *t)
{
    for (uint32_t at = 8; at + 4 <= size; at += 4) {
        uint32_t want = get_le32(tag + at);

        if (want <= MULTIBOOT2_INFO_LAST) {
            t->wanted |= 1u << want;
            t->needed |= optional ? 0 : 1u << want;
        } else if (!optional) {
            (void)refuse(l, "the image requires boot information %u, which is not offered", want);
            return -E_NOTSUP;
        }
    }
    return 0;
}

static int parse_address(struct loader *l, const uint8_t *tag, uint32_t size, struct header_tags *t)
{
    if (size < 24)
        return refuse(l, "the address tag has %u bytes instead of 24", size);
    t->address = true;
    t->header_addr = get_le32(tag + 8);
    t->load_addr = get_le32(tag + 12);
    t->load_end = get_le32(tag + 16);
    t->bss_end = get_le32(tag + 20);
    return 0;
}

static int parse_relocatable(struct loader *l, const uint8_t *tag, uint32_t size,
                             struct header_tags *t)
{
    if (size < 24)
        return refuse(l, "the relocatable tag has %u bytes instead of 24", size);
    t->relocatable = true;
    t->min = get_le32(tag + 8);
    t->max = get_le32(tag + 12);
    t->align = get_le32(tag + 16) ? get_le32(tag + 16) : 1;
    t->preference = get_le32(tag + 20);
    if (t->align & (t->align - 1))
        return refuse(l, "the relocatable tag's alignment 0x%x is not a power of two", t->align);
    return 0;
}

static int parse_tag(struct loader *l, const uint8_t *tag, uint32_t size, struct header_tags *t)
{
    unsigned type = tag[0] | (unsigned)tag[1] << 8, flags = tag[2];

    switch (type) {
    case HEADER_ADDRESS:
        return parse_address(l, tag, size, t);
    case HEADER_ENTRY:
        if (size < 12)
            return refuse(l, "the entry address tag has %u bytes instead of 12", size);
        t->entry = true;
        t->entry_addr = get_le32(tag + 8);
        return 0;
    case HEADER_INFORMATION:
        return parse_request(l, tag, size, flags & HEADER_OPTIONAL, t);
    case HEADER_RELOCATABLE:
        return parse_relocatable(l, tag, size, t);
    case HEADER_CONSOLE:
    case HEADER_FRAMEBUFFER:
    case HEADER_MODULE_ALIGN:
    case HEADER_EFI_BOOT_SERVICES:
    case HEADER_EFI_ENTRY_32:
    case HEADER_EFI_ENTRY_64:
        return 0;
    default:
        if (flags & HEADER_OPTIONAL)
            return 0;
        (void)fmt(l->error->text, sizeof(l->error->text),
                  "multiboot2: the image requires header tag %u, which is not offered", type);
        return -E_NOTSUP;
    }
}

static int parse_header(struct loader *l, size_t at, uint32_t length, struct header_tags *t)
{
    const struct load_blob *b = &l->request->image;
    size_t pos = HEADER_SIZE;

    if (length < HEADER_SIZE || length > min_u64(SEARCH, b->size) - at)
        return refuse(l, "the header 0x%zx+0x%x ends after the image (0x%zx bytes) or 32 KiB", at,
                      length, b->size);
    while (length - pos >= 8) {
        const uint8_t *tag = b->data + at + pos;
        uint32_t size = get_le32(tag + 4);
        int rc;

        if (get_le32(tag) << 16 == HEADER_END && size == 8)
            return 0;
        if (size < 8 || size > length - pos)
            return refuse(l, "the header tag at 0x%zx has an impossible size, 0x%x", at + pos,
                          size);
        rc = parse_tag(l, tag, size, t);
        if (rc)
            return rc;
        pos += align_up(size, 8);
        if (pos > length)
            break;
    }
    return refuse(l, "the header 0x%zx+0x%x has no end tag", at, length);
}

/* The address that the image was built for, if allowed and free; otherwise any that is. */
static int choose_position(struct loader *l, const struct header_tags *t, struct position *p)
{
    const struct loader_limits limits = {t->min, t->max, t->align, t->preference == PREFER_LOW};

    p->delta = 0;
    if (!t->relocatable || loader_choose(l, &limits, p->base, p->size, &p->delta))
        return 0;
    return refuse(l,
                  "no free place for the 0x%lx bytes of the image between 0x%x and 0x%x, where its "
                  "relocatable tag wants it",
                  p->size, t->min, t->max);
}

/* A load address of all ones means that the file is loaded from its beginning. */
static int put_by_address(struct loader *l, const struct header_tags *t, size_t at,
                          struct position *p)
{
    const struct load_blob *b = &l->request->image;
    uint32_t load = t->load_addr == UINT32_MAX ? t->header_addr - (uint32_t)at : t->load_addr;
    uint64_t skip = t->header_addr - (uint64_t)load, offset, filesz, memsz;
    int rc;

    if (t->header_addr < load || skip > at)
        return refuse(l,
                      "header address 0x%x and load address 0x%x contradict the header's place in "
                      "the image (0x%zx)",
                      t->header_addr, t->load_addr, at);
    offset = at - skip;
    filesz = t->load_end ? t->load_end - (uint64_t)load : b->size - offset;
    memsz = t->bss_end ? t->bss_end - (uint64_t)load : filesz;
    if ((t->load_end && t->load_end < load) || (t->bss_end && t->bss_end < load) ||
        filesz > b->size - offset || memsz < filesz)
        return refuse(
            l, "load address 0x%x, end 0x%x, bss end 0x%x do not fit the image (0x%zx bytes)",
            t->load_addr, t->load_end, t->bss_end, b->size);
    *p = (struct position){.base = load, .size = memsz};
    rc = choose_position(l, t, p);
    return rc ? rc : loader_put(l, load + p->delta, offset, filesz, memsz, "multiboot2 image");
}

static int put_by_elf(struct loader *l, const struct header_tags *t, struct elf_image *elf,
                      struct position *p)
{
    int rc = elf_parse(&l->request->image, elf, l->error);

    if (rc)
        return rc;
    p->base = elf_base(elf, &p->size);
    rc = choose_position(l, t, p);
    return rc ? rc : loader_put_elf(l, elf, p->delta);
}

int load_multiboot2(struct loader *l)
{
    struct header_tags t = {0};
    struct elf_image elf = {0};
    struct position p;
    uint32_t length;
    size_t at;
    int rc;

    if (!find_header(l, &at, &length))
        return 0;
    rc = parse_header(l, at, length, &t);
    if (rc)
        return rc;
    loader_name_kind(l, "multiboot2");
    if (t.address && !t.entry)
        return refuse(l, "an address tag without an entry address tag");
    if (t.address)
        rc = put_by_address(l, &t, at, &p);
    else if (elf_is(&l->request->image))
        rc = put_by_elf(l, &t, &elf, &p);
    else
        return refuse(l, "neither ELF nor an address tag");
    if (rc)
        return rc;
    l->out->rip = (t.entry ? t.entry_addr : elf.entry) + p.delta;
    rc = loader_check_entry(l, l->out->rip);
    t.wanted |= t.relocatable ? 1u << MULTIBOOT2_INFO_LOAD_BASE : 0;
    if (rc == 0)
        rc = multiboot2_put_info(l, &elf, p.base + p.delta, t.wanted, t.needed);
    l->out->rax = BOOT_MAGIC;
    if (rc == 0)
        rc = loader_protected_mode(l, 0x08, 0x18);
    return rc ? rc : 1;
}

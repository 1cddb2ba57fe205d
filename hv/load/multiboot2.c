/* Multiboot2 Specification version 2.0, the boot loader's side. */
#include "hv/fmt.h"
#include "hv/lib.h"
#include "hv/load/loader.h"

#define MAGIC       0xe85250d6u
#define BOOT_MAGIC  0x36d76289u
#define SEARCH      32768u
#define HEADER_SIZE 16u
#define LOAD_LIMIT  0xfffff000ull
#define INFO_MAX    4096u

enum {
    HEADER_END = 0,
    HEADER_INFORMATION = 1,
    HEADER_ADDRESS = 2,
    HEADER_ENTRY = 3,
    HEADER_MODULE_ALIGN = 6
};
#define HEADER_OPTIONAL 1u
enum {
    TAG_END = 0,
    TAG_CMDLINE = 1,
    TAG_NAME = 2,
    TAG_MODULE = 3,
    TAG_BASIC_MEMORY = 4,
    TAG_MMAP = 6
};

struct header_tags {
    bool address, entry;
    uint32_t header_addr, load_addr, load_end, bss_end, entry_addr;
};

/* The information that is built for the guest. */
struct builder {
    uint8_t bytes[INFO_MAX];
    size_t len;
    bool full;
};

static uint32_t get32(const uint8_t *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof(v));
    return v;
}

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

static int parse_tag(struct loader *l, const uint8_t *tag, uint32_t size, struct header_tags *t)
{
    unsigned type = tag[0] | (unsigned)tag[1] << 8, flags = tag[2];

    switch (type) {
    case HEADER_ADDRESS:
        if (size < 24)
            return refuse(l, "the address tag has %u bytes instead of 24", size);
        t->address = true;
        t->header_addr = get32(tag + 8);
        t->load_addr = get32(tag + 12);
        t->load_end = get32(tag + 16);
        t->bss_end = get32(tag + 20);
        return 0;
    case HEADER_ENTRY:
        if (size < 12)
            return refuse(l, "the entry address tag has %u bytes instead of 12", size);
        t->entry = true;
        t->entry_addr = get32(tag + 8);
        return 0;
    case HEADER_INFORMATION:
        for (uint32_t at = 8; at + 4 <= size && !(flags & HEADER_OPTIONAL); at += 4) {
            uint32_t want = get32(tag + at);

            if (want > TAG_MMAP || want == 5) {
                (void)refuse(l, "the image requires boot information %u, which is not offered",
                             want);
                return -E_NOTSUP;
            }
        }
        return 0;
    case HEADER_MODULE_ALIGN:
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
        return refuse(l, "the header 0x%zx+0x%x ends after the image (0x%zx bytes) or 32 KB", at,
                      length, b->size);
    while (length - pos >= 8) {
        const uint8_t *tag = b->data + at + pos;
        uint32_t size = get32(tag + 4);
        int rc;

        if (get32(tag) << 16 == HEADER_END && size == 8)
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

static int put_by_address(struct loader *l, const struct header_tags *t, size_t at)
{
    const struct load_blob *b = &l->request->image;
    uint64_t skip = t->header_addr - (uint64_t)t->load_addr, offset, filesz, memsz;

    if (t->load_addr == UINT32_MAX || t->header_addr < t->load_addr || skip > at)
        return refuse(l,
                      "header address 0x%x and load address 0x%x contradict the header's place in "
                      "the image (0x%zx)",
                      t->header_addr, t->load_addr, at);
    offset = at - skip;
    filesz = t->load_end ? t->load_end - (uint64_t)t->load_addr : b->size - offset;
    memsz = t->bss_end ? t->bss_end - (uint64_t)t->load_addr : filesz;
    if ((t->load_end && t->load_end < t->load_addr) || (t->bss_end && t->bss_end < t->load_addr) ||
        filesz > b->size - offset || memsz < filesz)
        return refuse(
            l, "load address 0x%x, end 0x%x, bss end 0x%x do not fit the image (0x%zx bytes)",
            t->load_addr, t->load_end, t->bss_end, b->size);
    return loader_put(l, t->load_addr, offset, filesz, memsz, "multiboot2 image");
}

static void add(struct builder *i, const void *bytes, size_t n)
{
    if (n > sizeof(i->bytes) - i->len) {
        i->full = true;
        return;
    }
    if (n)
        memcpy(i->bytes + i->len, bytes, n);
    i->len += n;
}

/* A tag of fixed words followed by a string or nothing. */
static void add_tag(struct builder *i, uint32_t type, const uint32_t *words, size_t count,
                    const char *string)
{
    size_t tail = string ? strlen(string) + 1 : 0;
    const uint32_t head[2] = {type, (uint32_t)(8 + 4 * count + tail)};
    static const uint8_t zeros[8];

    add(i, head, sizeof(head));
    add(i, words, 4 * count);
    add(i, string ? string : "", tail);
    add(i, zeros, (8 - i->len % 8) % 8);
}

static void add_memory(struct builder *i, uint64_t size)
{
    const uint64_t above = size - 0x100000;
    const uint32_t basic[2] = {LOAD_LOW_END >> 10, (uint32_t)(above >> 10)};
    const uint32_t map[2 + 18] = {
        24,
        0, /* entry size, version */
        0,
        0,
        LOAD_LOW_END,
        0,
        1,
        0,
        LOAD_LOW_END,
        0,
        0x100000 - LOAD_LOW_END,
        0,
        2,
        0,
        0x100000,
        0,
        (uint32_t)above,
        (uint32_t)(above >> 32),
        1,
        0,
    };

    add_tag(i, TAG_BASIC_MEMORY, basic, 2, NULL);
    add_tag(i, TAG_MMAP, map, ARRAY_LEN(map), NULL);
}

static int put_info(struct loader *l)
{
    const struct load_request *r = l->request;
    struct builder i = {.len = 8};
    uint64_t at;
    uint32_t total;
    int rc = 0;

    add_tag(&i, TAG_CMDLINE, NULL, 0, r->image.args ? r->image.args : "");
    add_tag(&i, TAG_NAME, NULL, 0, "Bulkhead");
    add_memory(&i, l->request->memory);
    for (unsigned k = 0; rc == 0 && k < r->module_count; k++) {
        uint64_t start = 0;

        rc = loader_put_module(l, k, LOAD_LIMIT, &start);
        if (rc == 0) {
            const uint32_t range[2] = {(uint32_t)start, (uint32_t)(start + r->modules[k].size)};

            add_tag(&i, TAG_MODULE, range, 2, r->modules[k].args ? r->modules[k].args : "");
        }
    }
    add_tag(&i, TAG_END, NULL, 0, NULL);
    if (rc == 0 && i.full)
        rc = refuse(l, "command lines are too long for the boot information (%u bytes)", INFO_MAX);
    if (rc == 0)
        rc = place_any(&l->place, i.len, 16, 0, true, "multiboot2 information", &at, l->error);
    if (rc)
        return rc;
    total = (uint32_t)i.len;
    memcpy(i.bytes, &total, sizeof(total));
    l->out->rax = BOOT_MAGIC;
    l->out->rbx = at;
    return loader_write(l, at, i.bytes, i.len);
}

int load_multiboot2(struct loader *l)
{
    struct header_tags t = {0};
    struct elf_image elf = {0};
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
        rc = put_by_address(l, &t, at);
    else if (elf_is(&l->request->image))
        rc = loader_put_elf(l, &elf);
    else
        return refuse(l, "neither ELF nor an address tag");
    l->out->rip = t.entry ? t.entry_addr : elf.entry;
    if (rc == 0)
        rc = loader_check_entry(l, l->out->rip);
    if (rc == 0)
        rc = put_info(l);
    if (rc == 0)
        rc = loader_protected_mode(l, 0x08, 0x18);
    return rc ? rc : 1;
}

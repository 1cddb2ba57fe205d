#include "arch/x86/boot/multiboot2.h"

#include "hv/lib.h"

#define TAG_END         0u
#define TAG_CMDLINE     1u
#define TAG_MODULE      3u
#define TAG_MMAP        6u
#define TAG_FRAMEBUFFER 8u
#define TAG_EFI32       11u
#define TAG_EFI64       12u
#define TAG_ACPI_OLD    14u
#define TAG_ACPI_NEW    15u

#define TAG_HEADER      8u
#define MMAP_HEADER     16u
#define MMAP_ENTRY_MIN  24u
#define MODULE_HEADER   16u
#define FRAMEBUFFER_MIN 30u
#define RSDP1_SIZE      20u

/* The string in [p, p + n), or NULL if it does not end there. */
static const char *get_string(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] == 0)
            return (const char *)p;
    return NULL;
}

static void parse_mmap(const uint8_t *tag, size_t size, struct mb2_info *out)
{
    size_t entry;

    if (size < MMAP_HEADER || (entry = get_le32(tag + 8)) < MMAP_ENTRY_MIN) {
        out->dropped++;
        return;
    }
    out->ranges = tag + MMAP_HEADER;
    out->range_size = entry;
    out->range_count = (unsigned)((size - MMAP_HEADER) / entry);
}

struct mb2_range mb2_range(const struct mb2_info *info, unsigned i)
{
    const uint8_t *e = info->ranges + i * info->range_size;

    return (struct mb2_range){get_le64(e), get_le64(e + 8), get_le32(e + 16) == 1};
}

static void parse_module(const uint8_t *tag, size_t size, struct mb2_info *out)
{
    struct mb2_module m = {0};

    if (size > MODULE_HEADER) {
        m.start = get_le32(tag + 8);
        m.end = get_le32(tag + 12);
        m.string = get_string(tag + MODULE_HEADER, size - MODULE_HEADER);
    }
    if (!m.string || m.end < m.start || out->module_count == MB2_MODULES_MAX)
        out->dropped++;
    else
        out->modules[out->module_count++] = m;
}

static void parse_framebuffer(const uint8_t *tag, size_t size, struct mb2_info *out)
{
    if (size < FRAMEBUFFER_MIN) {
        out->dropped++;
        return;
    }
    out->framebuffer = (struct mb2_framebuffer){
        .address = get_le64(tag + 8),
        .pitch = get_le32(tag + 16),
        .width = get_le32(tag + 20),
        .height = get_le32(tag + 24),
        .bpp = tag[28],
        .type = tag[29],
    };
}

static void parse_tag(uint32_t type, const uint8_t *tag, size_t size, struct mb2_info *out)
{
    const char *s;

    switch (type) {
    case TAG_CMDLINE:
        s = get_string(tag + TAG_HEADER, size - TAG_HEADER);
        if (s)
            out->cmdline = s;
        else
            out->dropped++;
        break;
    case TAG_MODULE:
        parse_module(tag, size, out);
        break;
    case TAG_MMAP:
        parse_mmap(tag, size, out);
        break;
    case TAG_FRAMEBUFFER:
        parse_framebuffer(tag, size, out);
        break;
    case TAG_EFI32:
    case TAG_EFI64:
        out->efi = true;
        break;
    case TAG_ACPI_OLD:
    case TAG_ACPI_NEW:
        if (size - TAG_HEADER < RSDP1_SIZE)
            out->dropped++;
        else if (type == TAG_ACPI_NEW) {
            out->rsdp_new.data = tag + TAG_HEADER;
            out->rsdp_new.size = size - TAG_HEADER;
        } else {
            out->rsdp_old.data = tag + TAG_HEADER;
            out->rsdp_old.size = size - TAG_HEADER;
        }
        break;
    default:
        break;
    }
}

int mb2_parse(const uint8_t *info, size_t size, struct mb2_info *out)
{
    size_t total, at = 8;

    memset(out, 0, sizeof(*out));
    out->cmdline = "";
    if (size < 16 || (total = get_le32(info)) < 16 || total > size)
        return -E_FORMAT;
    while (total - at >= TAG_HEADER) {
        uint32_t type = get_le32(info + at), length = get_le32(info + at + 4);

        if (type == TAG_END)
            return 0;
        if (length < TAG_HEADER || length > total - at)
            return -E_FORMAT;
        parse_tag(type, info + at, length, out);
        at += align_up(length, 8);
        if (at > total)
            break;
    }
    return -E_FORMAT; /* no end tag */
}

static bool is_hex(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

/* The character that a backslash at s escapes, or 0: a plain backslash. */
static char escaped(const char *s)
{
    if (s[0] != '\\' || (s[1] == 'x' && is_hex(s[2]) && is_hex(s[3])))
        return 0;
    return s[1] == '\\' || s[1] == '"' || s[1] == '\'' ? s[1] : 0;
}

bool mb2_unquote(const char *s, char *out, size_t size)
{
    size_t n = 0, end = strlen(s);
    bool quoted = end >= 2 && s[0] == '"' && s[end - 1] == '"';
    size_t i = quoted ? 1 : 0;

    end -= quoted ? 1 : 0;
    for (; i < end && n + 1 < size; i++) {
        char c = escaped(s + i);

        out[n++] = c ? c : s[i];
        i += c ? 1 : 0;
    }
    out[n] = 0;
    return i >= end;
}

/* The multiboot2 boot information (Multiboot2 specification, "Boot information format"). Pure:
 * bytes in, facts out; every size is checked. */
#pragma once

#include "hv/types.h"

#define MB2_MODULES_MAX 64

struct mb2_range {
    uint64_t base, size;
    bool ram; /* type 1 */
};

struct mb2_module {
    uint64_t start, end;
    const char *string; /* in the information, NUL-terminated; as the boot loader quotes it */
};

struct mb2_framebuffer {
    uint64_t address;
    uint32_t pitch, width, height;
    uint8_t bpp, type; /* type 1: RGB, 2: EGA text */
};

struct mb2_info {
    const char *cmdline;   /* in the information; "" if there is none */
    const uint8_t *ranges; /* the memory map's entries, see mb2_range(); UEFI gives hundreds */
    size_t range_size;     /* of one */
    unsigned range_count;
    struct mb2_module modules[MB2_MODULES_MAX];
    unsigned module_count;
    unsigned dropped;                   /* modules beyond the limit, and malformed tags */
    struct mb2_framebuffer framebuffer; /* address 0: none */
    bool efi;                           /* started by EFI firmware: there is no text mode */
    struct {
        const uint8_t *data; /* a copy of the RSDP; NULL: none */
        size_t size;
    } rsdp_new, rsdp_old; /* firmware may have both */
};

/* Range i of range_count. */
struct mb2_range mb2_range(const struct mb2_info *info, unsigned i);

/* `size` bounds all reads; the information's own total_size may only be less. 0 or -E_FORMAT. */
int mb2_parse(const uint8_t *info, size_t size, struct mb2_info *out) MUST_CHECK;

/*
 * A module's string as written in grub.cfg, if it is one argument. GRUB puts an argument with a
 * blank in double quotes and a backslash before each quote and backslash, except in \xHH. Text that
 * is not quoted like this stays unchanged. False: cut at `size`.
 */
bool mb2_unquote(const char *s, char *out, size_t size) MUST_CHECK;

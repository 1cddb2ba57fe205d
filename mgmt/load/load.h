/*
 * Guest loaders: from an image's bytes to a plan of how it is placed in a guest's memory and
 * started. Pure. The image is hostile: every offset, size and address is checked before use, and
 * every refusal has a reason.
 */
#pragma once

#include "hv/load_plan.h"

struct load_blob {
    const uint8_t *data;
    size_t size;
    const char *args; /* NUL-terminated; the command line */
};

struct load_request {
    struct load_blob image; /* args = the kernel command line */
    struct load_blob modules[LOAD_MODULES_MAX];
    unsigned module_count;
    bool flat;       /* the image is a flat binary, whatever it looks like */
    uint64_t tsc_hz; /* for loaders that pass it on */
    uint64_t memory; /* bytes of the guest's RAM, all zero when the plan is carried out */
};

struct load_error {
    char text[160]; /* "ELF segment 2: file range 0x1000+0x9000 ends after the image (0x8000 bytes)"
                     */
};

/* The memory map that a guest gets: usable [0, 0x9f000) and [1 MB, size); [0x9f000, 1 MB) reserved.
 */
#define LOAD_LOW_END    0x9f000u

/* The least memory to load a guest: the first megabyte is mostly reserved. */
#define LOAD_MEMORY_MIN PAGE_SIZE_2M

/* Recognises the kind (Linux bzImage, multiboot2 header, multiboot1 header; a flat binary of at
 * most 512 KB only if the request says so) and plans it. Anything else is refused, by name if its
 * format is known. 0 or -E_FORMAT, -E_NOSPC, -E_NOTSUP, -E_INVAL (the request itself) with *e
 * filled. */
int load_guest(const struct load_request *r, struct load_plan *plan,
               struct load_error *e) MUST_CHECK;

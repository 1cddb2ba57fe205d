/*
 * Guest loaders: from an image's bytes to a plan of how it is placed in a guest's memory and
 * started. Pure. The image is hostile: every offset, size and address is checked before use, and
 * every refusal has a reason.
 */
#pragma once

#include "hv/abi/guest_config.h"
#include "hv/lib.h"
#include "hv/load_plan.h"

struct load_blob {
    const uint8_t *data;
    size_t size;
    const char *args; /* NUL-terminated; the command line */
    const char *name; /* the same; a multiboot command line's first word. NULL: it has only args */
};

/* The bytes of the name and the arguments as one command line, with its NUL. */
static inline size_t load_args_size(const struct load_blob *b)
{
    size_t name = b->name ? strlen(b->name) : 0, args = b->args ? strlen(b->args) : 0;

    return name + (name && args) + args + 1;
}

struct load_request {
    struct load_blob image; /* args = the kernel command line */
    struct load_blob modules[LOAD_MODULES_MAX];
    unsigned module_count;
    enum config_kind kind; /* KIND_AUTO: what the image's headers say */
    uint64_t tsc_hz;       /* for loaders that pass it on */
    uint64_t memory;       /* bytes of the guest's RAM, all zero when the plan is carried out */
    /* For firmware's tables. */
    uint32_t devices;    /* DEV_* */
    uint32_t mmio_slots; /* bits: slots of virtio devices that are memory-mapped */
    unsigned vcpus;      /* 0: one */
    const char *name;    /* the guest's; NULL: none */
};

/* The slots of a guest's virtio devices, if these are memory-mapped. */
uint32_t load_mmio_slots(const struct guest_config *g);

struct load_error {
    char text[160]; /* "ELF segment 2: file range 0x1000+0x9000 ends after the image (0x8000 bytes)"
                     */
};

/* Usable memory below 1 MiB ends here, see map.h. */
#define LOAD_LOW_END    0x9f000u

/* The least memory to load a guest: the first megabyte is mostly reserved. */
#define LOAD_MEMORY_MIN PAGE_SIZE_2M

/* Recognises the kind and plans it. If the image is of several kinds, the first that can be loaded
 * is taken: Linux bzImage, multiboot2 header, multiboot1 header, PVH note. A flat binary of at most
 * 512 KiB only if the request says so. Anything else is refused, by name if its format is known. 0
 * or -E_FORMAT, -E_NOSPC, -E_NOTSUP, -E_INVAL (the request itself) with *e filled. */
int load_guest(const struct load_request *r, struct load_plan *plan,
               struct load_error *e) MUST_CHECK;

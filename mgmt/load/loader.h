/* Shared by the loaders only. Other code uses load_guest() in load.h. */
#pragma once

#include "mgmt/load/elf.h"
#include "mgmt/load/place.h"

/* A loader's working state. */
struct loader {
    const struct load_request *request;
    struct place place;
    struct load_plan *plan;
    struct load_result *out; /* &plan->start */
    struct load_error *error;
    bool damaged; /* a header's magic was found, but the header is invalid: *error says why */
};

/* Notes that an invalid header was found. This only matters if no loader recognises the image. */
void loader_note_damage(struct loader *l, const char *kind, size_t at, const char *what);
/* Places a piece of the image (`filesz` bytes from `offset`, which the caller has checked) at
 * `address`. Refuses an empty one. */
int loader_put(struct loader *l, uint64_t address, uint64_t offset, uint64_t filesz, uint64_t memsz,
               const char *what) MUST_CHECK;
/* Writes our own bytes to a range that was taken before. */
int loader_write(struct loader *l, uint64_t address, const void *bytes, size_t n) MUST_CHECK;
/* The same for data too large for the stack: write it to loader_bytes(), at most loader_room() of
 * it, then put it with its size. */
size_t loader_room(const struct loader *l);
uint8_t *loader_bytes(struct loader *l);
int loader_put_bytes(struct loader *l, uint64_t address, size_t n) MUST_CHECK;
/* Loads all segments of an ELF image, each `delta` above its physical address (modulo 2^64). */
int loader_put_elf(struct loader *l, const struct elf_image *elf, uint64_t delta) MUST_CHECK;
/* Where an image may be moved: between min and max, aligned; low: as low as possible. */
struct loader_limits {
    uint64_t min, max, align;
    bool low;
};
/* Chooses where to load an image that was built for [base, base + size): there, if allowed and
 * free, else at another place; *delta is the distance (modulo 2^64). False: there is no such place.
 */
bool loader_choose(const struct loader *l, const struct loader_limits *to, uint64_t base,
                   uint64_t size, uint64_t *delta);
/* Refuses an entry point outside of what has been placed. */
int loader_check_entry(struct loader *l, uint64_t entry) MUST_CHECK;
/* Places module i at a page boundary below `limit`: as high as possible, where Linux wants its
 * initrd, or else as low as possible, where GRUB puts modules (seL4 uses the memory behind the last
 * one). */
int loader_put_module(struct loader *l, unsigned i, uint64_t limit, bool high,
                      uint64_t *start) MUST_CHECK;
/* Writes a command line to low memory: the name if one is wanted, then the arguments. */
int loader_put_args(struct loader *l, const struct load_blob *b, uint32_t *address) MUST_CHECK;
/* Starts the guest in flat protected mode with the GDT in the reserved page at LOAD_LOW_END. */
int loader_protected_mode(struct loader *l, uint16_t cs, uint16_t ds) MUST_CHECK;
void loader_name_kind(struct loader *l, const char *kind);

/* Each: 1 loaded, 0 not of this kind, or an error. */
int load_multiboot2(struct loader *l) MUST_CHECK;
int load_multiboot1(struct loader *l) MUST_CHECK;
int load_pvh(struct loader *l) MUST_CHECK;
int load_linux(struct loader *l) MUST_CHECK;
int load_flat(struct loader *l) MUST_CHECK;

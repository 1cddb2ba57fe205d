/* What the loaders share among themselves. load_guest() in load.h is for everybody else. */
#pragma once

#include "hv/load/elf.h"
#include "hv/load/place.h"

/* A loader's working state. */
struct loader {
    const struct load_request *request;
    const struct gmem *mem;
    struct place place;
    struct load_result *out;
    struct load_error *error;
};

/* Puts a piece of the image where it wants to be. */
int loader_put(struct loader *l, uint64_t address, const uint8_t *bytes, uint64_t filesz,
               uint64_t memsz, const char *what) MUST_CHECK;
/* Loads all segments of an ELF image. */
int loader_put_elf(struct loader *l, struct elf_image *elf) MUST_CHECK;
/* Puts module i at a page boundary below `limit`. */
int loader_put_module(struct loader *l, unsigned i, uint64_t limit, uint64_t *start) MUST_CHECK;
/* Flat protected mode with the GDT in the reserved page at LOAD_LOW_END. */
void loader_protected_mode(struct loader *l, uint16_t cs, uint16_t ds);

/* Each: 1 loaded, 0 not of this kind, or an error. */
int load_multiboot2(struct loader *l) MUST_CHECK;
int load_multiboot1(struct loader *l) MUST_CHECK;
int load_linux(struct loader *l) MUST_CHECK;
int load_flat(struct loader *l) MUST_CHECK;

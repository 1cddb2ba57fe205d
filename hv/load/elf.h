/* ELF program headers of a hostile image, 32- and 64-bit. Pure. System V gABI "Program Header". */
#pragma once

#include "hv/load/load.h"

struct elf_segment {
    uint64_t offset, filesz, paddr, vaddr, memsz;
};

struct elf_image {
    bool is64;
    uint64_t entry; /* physical, if a segment holds it at its virtual address */
    unsigned count;
    struct elf_segment segments[16]; /* PT_LOAD with a size only */
};

/* True when the bytes begin like an ELF file. */
bool elf_is(const struct load_blob *b);
/* Checks everything that does not depend on the guest's memory. -E_FORMAT, -E_NOTSUP. */
int elf_parse(const struct load_blob *b, struct elf_image *out, struct load_error *e) MUST_CHECK;

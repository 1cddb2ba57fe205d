/* ELF program headers of a hostile image, 32- and 64-bit. Pure. System V gABI "Program Header". */
#pragma once

#include "mgmt/load/load.h"

struct elf_segment {
    uint64_t offset, filesz, paddr, vaddr, memsz;
};

/* What a section header says. */
struct elf_section {
    uint32_t type; /* ELF_SECTION_* */
    uint64_t addr, offset, size;
};
#define ELF_SECTION_EMPTY 8u /* SHT_NOBITS: no bytes in the file */

struct elf_image {
    bool is64;
    uint64_t entry; /* physical, if a segment contains it at its virtual address */
    unsigned count;
    struct elf_segment segments[64]; /* PT_LOAD with a size only */
    struct {
        uint64_t offset, size, align;
    } notes[8]; /* PT_NOTE within the image */
    unsigned note_count;
    /* The section headers; section_count is 0 if there are none, or if they are not within the
     * image. */
    uint64_t sections_at;
    uint16_t section_size, section_count, section_names;
};

/* True if the bytes begin like an ELF file. */
bool elf_is(const struct load_blob *b);
/* Checks everything that does not depend on the guest's memory. -E_FORMAT, -E_NOTSUP. */
int elf_parse(const struct load_blob *b, struct elf_image *out, struct load_error *e) MUST_CHECK;
/* The lowest physical address of what is loaded, and in *size the bytes from there to the end. */
uint64_t elf_base(const struct elf_image *elf, uint64_t *size);
/* The content of the first note with this name and type, or NULL; *size bytes. */
const uint8_t *elf_note(const struct load_blob *b, const struct elf_image *elf, const char *name,
                        uint32_t type, uint32_t *size);
/* Section header n < section_count of the image that `elf` was parsed from. */
void elf_section(const struct load_blob *b, const struct elf_image *elf, unsigned n,
                 struct elf_section *out);
/* Writes the address of a section into its header's bytes. */
void elf_section_set_address(const struct elf_image *elf, uint8_t *header, uint64_t address);

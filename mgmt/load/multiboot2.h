/* The interface between the two halves of the multiboot2 loader. Multiboot2 Specification 2.0,
 * "Boot information format". */
#pragma once

#include "mgmt/load/loader.h"

/* Types of boot information. */
enum {
    MULTIBOOT2_INFO_END = 0,
    MULTIBOOT2_INFO_CMDLINE = 1,
    MULTIBOOT2_INFO_NAME = 2,
    MULTIBOOT2_INFO_MODULE = 3,
    MULTIBOOT2_INFO_BASIC_MEMORY = 4,
    MULTIBOOT2_INFO_MMAP = 6,
    MULTIBOOT2_INFO_ELF_SECTIONS = 9,
    MULTIBOOT2_INFO_ACPI_OLD = 14,
    MULTIBOOT2_INFO_ACPI_NEW = 15,
    MULTIBOOT2_INFO_LOAD_BASE = 21,
    MULTIBOOT2_INFO_LAST = MULTIBOOT2_INFO_LOAD_BASE,
};

/* Places modules and boot information and makes RBX point there. `elf` has no sections if the image
 * is not an ELF file. `wanted`: bits of the types that are given only on request; `needed`: those
 * of them that the image requires. */
int multiboot2_put_info(struct loader *l, const struct elf_image *elf, uint64_t load_base,
                        uint32_t wanted, uint32_t needed) MUST_CHECK;

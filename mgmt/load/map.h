/* The map of a guest's memory, as its image is told of it. Pure. */
#pragma once

#include "mgmt/load/load.h"

/* Types of an area, the same in e820, multiboot and PVH. ACPI "System Address Map Interfaces". */
enum { AREA_RAM = 1, AREA_RESERVED = 2 };

struct load_area {
    uint64_t base, size;
    uint32_t type; /* AREA_* */
};
#define LOAD_AREAS_MAX 5u

/* As on a PC: the extended BIOS data area up to 640 KiB and the BIOS's segment below 1 MiB, where
 * firmware's tables are, are reserved, and the map does not mention what lies between them. There
 * is RAM, where a PC has video memory and ROMs of cards.
 *
 * Fills in the map of a guest with `memory` bytes of RAM, in ascending order. Returns the number of
 * areas. */
unsigned load_map(uint64_t memory, struct load_area areas[LOAD_AREAS_MAX]);

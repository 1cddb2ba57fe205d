/* The map of a guest's memory, as its image is told of it. Pure. */
#pragma once

#include "mgmt/load/load.h"

/* Types of an area, the same in e820, multiboot and PVH. ACPI "System Address Map Interfaces". */
enum { AREA_RAM = 1, AREA_RESERVED = 2 };

struct load_area {
    uint64_t base, size;
    uint32_t type; /* AREA_* */
};
#define LOAD_AREAS_MAX 4u

/* Fills in the map of a guest with `memory` bytes of RAM, in ascending order. Returns the number of
 * areas. */
unsigned load_map(uint64_t memory, struct load_area areas[LOAD_AREAS_MAX]);

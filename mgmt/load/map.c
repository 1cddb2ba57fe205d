#include "mgmt/load/map.h"

#include "hv/abi/memory.h"
#include "mgmt/load/firmware.h"

#define MB1   0x100000ull
#define VIDEO 0xa0000u

unsigned load_map(uint64_t memory, struct load_area areas[LOAD_AREAS_MAX])
{
    uint64_t below = memory_below(memory);
    unsigned n = 0;

    areas[n++] = (struct load_area){0, LOAD_LOW_END, AREA_RAM};
    areas[n++] = (struct load_area){LOAD_LOW_END, VIDEO - LOAD_LOW_END, AREA_RESERVED};
    areas[n++] = (struct load_area){FIRMWARE_ROM, FIRMWARE_ROM_SIZE, AREA_RESERVED};
    areas[n++] = (struct load_area){MB1, below - MB1, AREA_RAM};
    if (memory > below)
        areas[n++] = (struct load_area){MEMORY_ABOVE, memory - below, AREA_RAM};
    return n;
}

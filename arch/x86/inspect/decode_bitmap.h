/*
 * What the I/O and MSR bitmaps of VT-x and the permission maps of AMD-V say: ranges that exit, and
 * names for the ports and MSRs in them. SDM 3C "I/O-Bitmap Addresses", "MSR-Bitmap Address"; APM
 * vol. 2 "I/O Intercepts", "MSR Intercepts". Pure.
 */
#pragma once

#include "hv/types.h"

typedef void (*range_emit)(void *arg, uint32_t first, uint32_t last);

/* Calls emit() for each run of bits that are 1 (`set`) or 0, first and last inclusive, offset by
 * `base`. Reads count / 8 bytes. emit may be NULL. Returns the number of runs. */
unsigned bitmap_ranges(const uint8_t *bitmap, uint32_t base, uint32_t count, bool set,
                       range_emit emit, void *arg);

enum exit_map { EXIT_MAP_PORTS, EXIT_MAP_MSR_READS, EXIT_MAP_MSR_WRITES, EXIT_MAPS };

/* What is listed of each map, ports that exit and MSRs that do not, and its name in the API. */
extern const struct exit_map_list {
    const char *name; /* "ports_that_exit" */
    bool exits;
} exit_map_lists[EXIT_MAPS];

/* `count` ports or MSRs from `first` on: `stride` bits each, from bit `at` of ABI_BITMAPS_GPA. */
struct exit_map_part {
    uint32_t first, count, at, stride;
};

#define EXIT_MAP_PARTS 3u

/* One vendor's. A port or MSR in none of a map's parts always exits. */
struct exit_maps {
    uint32_t size; /* bytes */
    struct exit_map_part parts[EXIT_MAPS][EXIT_MAP_PARTS];
};
extern const struct exit_maps exit_maps_vmx, exit_maps_svm;

/* Ports or MSRs that exit (`exits`), or that do not. `bytes`: all maps. Like bitmap_ranges(). */
unsigned exit_map_ranges(const struct exit_maps *m, const uint8_t *bytes, enum exit_map map,
                         bool exits, range_emit emit, void *arg);
/* The reverse: sets or clears the bits of a range. False: it is not in one part of the map. */
bool exit_map_mark(const struct exit_maps *m, uint8_t *bytes, enum exit_map map, uint64_t first,
                   uint64_t last, bool exits);

struct named_range {
    uint32_t first, last;
    const char *name;
};

/* "8259 PIC, master", "IA32_EFER"; "" if we know none. */
const char *io_port_name(uint16_t port);
const char *msr_name(uint32_t msr);
/* Entry n (0, 1, ...) of the named ranges that share something with first..last, sorted; NULL
 * beyond. */
const struct named_range *io_port_named(uint32_t first, uint32_t last, unsigned n);
const struct named_range *msr_named(uint32_t first, uint32_t last, unsigned n);

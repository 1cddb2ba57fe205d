/*
 * The management guest's image: flat, with a header, which test/tools/mkiso.py makes from its ELF
 * file. The root examines no other image, and of this one only the header. Pure.
 */
#pragma once

#include "hv/load_plan.h"
#include "hv/types.h"

#define FLAT_MAGIC "BULKFLAT"
#define FLAT_GROUP 64u

/* All numbers little-endian. What follows the header goes to `load`, the rest of the memory is
 * zero; the guest starts at `entry` in protected mode with flat segments, paging and interrupts
 * off. */
struct flat_header {
    char magic[8];
    uint64_t load, entry; /* guest-physical */
    uint64_t file_size;   /* bytes that follow, a multiple of FLAT_GROUP */
    uint64_t memory_size; /* bytes from `load` on that the image needs */
    uint64_t checksum;    /* flat_checksum() of what follows */
};

/* Makes *plan from an image for a guest of `memory` bytes. 0; or -E_FORMAT, with the reason in
 * *why. Rests (hv/job.h) on the way. */
int flat_plan(const uint8_t *data, uint64_t size, uint64_t memory, struct load_plan *plan,
              const char **why) MUST_CHECK;
/* The checksum of `size` bytes, a multiple of FLAT_GROUP: for each group the sum is rotated left by
 * one, then the group's eight 64-bit words are added. */
uint64_t flat_checksum(const uint8_t *data, uint64_t size);

/*
 * What the I/O and MSR bitmaps of a VMCS say: ranges that exit, and names for the ports and MSRs in
 * them. SDM 3C "I/O-Bitmap Addresses", "MSR-Bitmap Address". Pure.
 */
#pragma once

#include "hv/types.h"

#define IO_BITMAP_BYTES  4096u /* A: ports 0..0x7fff, B: ports 0x8000..0xffff */
#define MSR_BITMAP_BYTES 4096u

enum msr_bitmap_part { MSR_READ_LOW, MSR_READ_HIGH, MSR_WRITE_LOW, MSR_WRITE_HIGH };

typedef void (*range_emit)(void *arg, uint32_t first, uint32_t last);

/* Calls emit() for each run of bits that are 1 (`set`) or 0, first and last inclusive, offset by
 * `base`. Reads count / 8 bytes. emit may be NULL. Returns the number of runs. */
unsigned bitmap_ranges(const uint8_t *bitmap, uint32_t base, uint32_t count, bool set,
                       range_emit emit, void *arg);
/* Ports that exit (`exits`), or that do not. A run may extend from bitmap A into B. */
unsigned io_bitmap_ranges(const uint8_t *a, const uint8_t *b, bool exits, range_emit emit,
                          void *arg);
/* MSRs (0..0x1fff or 0xc0000000..0xc0001fff) whose RDMSR or WRMSR exits, or does not. All other
 * MSRs always exit. `page`: the whole page. */
unsigned msr_bitmap_ranges(const uint8_t *page, enum msr_bitmap_part part, bool exits,
                           range_emit emit, void *arg);

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

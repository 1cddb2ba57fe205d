/*
 * A guest's memory and registers as a core file: ELF, with a thread for each vCPU, and the guest's
 * virtual addresses, as gdb takes it. Pure: memory is read by a function.
 *
 * The file: head, notes and segments below DUMP_MEMORY_AT, from there on the guest's memory.
 */
#pragma once

#include "hv/types.h"

#define DUMP_MEMORY_AT  (1ull << 20)
#define DUMP_VCPUS_MAX  64u
#define DUMP_RANGES_MAX 16384u
/* Guest-physical: RAM ends here and goes on there. */
#define DUMP_HOLE       (3ull << 30)
#define DUMP_HIGH       (4ull << 30)

struct dump_vcpu {
    uint64_t rip, rsp, rflags, rax, rbx, rcx, rdx, rsi, rdi, rbp, r[8]; /* r: R8 to R15 */
    uint64_t cs, ss, ds, es, fs, gs, fs_base, gs_base;
    uint64_t cr0, cr3, cr4, efer;
};

/* `size` bytes that are the guest's virtual memory from `at` on, and lie at `gpa`. */
struct dump_range {
    uint64_t at, gpa, size;
};

struct dump_file {
    uint64_t memory; /* the size of the guest's RAM */
    unsigned vcpu_count;
    struct dump_vcpu vcpus[DUMP_VCPUS_MAX];
    bool is_long; /* 64-bit: the first vCPU is in long mode, or its memory needs it */
    unsigned range_count;
    bool cut; /* its page tables have more ranges, or go on for ever */
    struct dump_range ranges[DUMP_RANGES_MAX];
};

/* Copies 8 bytes from guest-physical memory. False: there is none. */
typedef bool dump_read(void *ctx, uint64_t gpa, uint64_t *word);

/* Where an address of RAM is in the memory that is written, one piece after the other. */
static inline uint64_t dump_offset(uint64_t gpa)
{
    return gpa < DUMP_HOLE ? gpa : gpa - (DUMP_HIGH - DUMP_HOLE);
}

/* Sets the ranges and the kind: by the page tables of the first vCPU, or without paging by RAM. */
void dump_find_ranges(struct dump_file *f, dump_read *read, void *ctx);
/* Writes what is below DUMP_MEMORY_AT into `out`, which has that size. */
void dump_put_head(const struct dump_file *f, uint8_t *out);

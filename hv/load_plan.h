/*
 * A loader's result: which bytes of an image go where in the guest's memory, and the state to start
 * in. Pure. The management guest makes the plans of all other guests, ABI_CALL_CREATE hands them
 * over, and the root checks them here as hostile input.
 */
#pragma once

#include "hv/types.h"

#define LOAD_MODULES_MAX 8
/* Sources: the image, the modules, and bytes of the plan itself. */
#define LOAD_FROM_IMAGE  0u
#define LOAD_FROM_MODULE 1u /* + number of the module */
#define LOAD_FROM_BYTES  (LOAD_FROM_MODULE + LOAD_MODULES_MAX)
#define LOAD_PIECES_MAX  80u
#define LOAD_BYTES_MAX   12288u

/* The state in which the first instruction runs. Paging is off in LOAD_PROT32; LOAD_REAL16 is cs:ip
 * = 0:entry with segments 0. */
enum load_mode { LOAD_REAL16, LOAD_PROT32 };

struct load_result {
    uint32_t mode; /* enum load_mode */
    uint16_t cs, ds;
    uint64_t rip, rsp;
    uint64_t rax, rbx, rcx, rdx, rsi, rdi, rbp;
    uint64_t gdt_base; /* PROT32: a GDT placed in guest memory: 0x08 code, 0x10 code (Linux's
                          __BOOT_CS), 0x18 data (__BOOT_DS), flat */
    uint32_t gdt_limit;
    char kind[12]; /* "multiboot1", "multiboot2", "linux", "flat" */
};

/* `size` bytes from `offset` of the source go to guest-physical `address`. */
struct load_piece {
    uint64_t address, size, offset;
    uint32_t source, reserved;
};

struct load_plan {
    struct load_result start;
    uint32_t piece_count, byte_count;
    struct load_piece pieces[LOAD_PIECES_MAX];
    uint8_t bytes[LOAD_BYTES_MAX];
};

/* The size of each source, by source number, without LOAD_FROM_BYTES. */
struct load_sizes {
    uint64_t size[LOAD_FROM_BYTES];
};

/* Checks that every piece lies within its source and within that part of `memory` bytes of guest
 * memory that is below the hole, and
 * that a loader could have made the state. 0, or -E_INVAL with the reason in *what. */
int load_plan_check(const struct load_plan *p, const struct load_sizes *sizes, uint64_t memory,
                    const char **what) MUST_CHECK;

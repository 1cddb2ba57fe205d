/*
 * Finds a memory operand, and checks that its segment allows the access: for the few instructions
 * that the root emulates for a guest. SDM 3A "Limit Checking", "Type Checking", "Segmentation in
 * IA-32e Mode". Pure.
 */
#pragma once

#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "hv/types.h"

enum segment_id {
    SEGMENT_ES,
    SEGMENT_CS,
    SEGMENT_SS,
    SEGMENT_DS,
    SEGMENT_FS,
    SEGMENT_GS,
    SEGMENT_LDTR, /* has no part in finding an operand */
    SEGMENT_TR,
};
#define SEGMENTS 8u

/* A segment register's hidden part. `rights` as in bytes 5 and 6 of a descriptor, and bit 16:
 * unusable (the null selector was loaded). */
struct segment {
    uint64_t base;
    uint32_t limit; /* in bytes */
    uint32_t rights;
};

#define SEGMENT_TYPE_WRITE  (1u << 1) /* of data: may be written; of code: may be read */
#define SEGMENT_TYPE_DOWN   (1u << 2) /* of data: expands down */
#define SEGMENT_TYPE_CODE   (1u << 3)
#define SEGMENT_RIGHTS_L    (1u << 13)
#define SEGMENT_RIGHTS_DB   (1u << 14)
#define SEGMENT_RIGHTS_NULL (1u << 16)

/* How segments are interpreted. */
enum segment_mode {
    SEGMENT_REAL,      /* real-address and virtual-8086 mode: limits alone */
    SEGMENT_PROTECTED, /* compatibility mode too */
    SEGMENT_LONG       /* 64-bit mode */
};
static inline enum segment_mode segment_mode_of(uint64_t cr0, uint64_t efer, uint64_t rflags,
                                                uint32_t cs_rights)
{
    if (!(cr0 & CR0_PE) || (rflags & RFLAGS_VM))
        return SEGMENT_REAL;
    return (efer & EFER_LMA) && (cs_rights & SEGMENT_RIGHTS_L) ? SEGMENT_LONG : SEGMENT_PROTECTED;
}

#define VECTOR_DE  0u
#define VECTOR_DB  1u
#define VECTOR_NMI 2u
#define VECTOR_UD  6u
#define VECTOR_DF  8u
#define VECTOR_TS  10u
#define VECTOR_NP  11u
#define VECTOR_SS  12u
#define VECTOR_GP  13u
#define VECTOR_PF  14u
#define VECTOR_AC  17u

/* SDM 3A "Canonical Addressing", with 48 bits. */
static inline bool address_is_canonical(uint64_t linear)
{
    uint64_t top = linear >> 47;

    return top == 0 || top == 0x1ffff;
}

/* An exception for the guest. */
struct guest_fault {
    uint8_t vector;
    uint32_t error;   /* if the vector has one */
    uint64_t address; /* #PF: CR2 */
};

/* The linear address of `size` bytes (1 to 8) at `offset`. False: the access faults instead, #GP(0)
 * or #SS(0). */
bool segment_reach(const struct segment *s, enum segment_id id, enum segment_mode mode,
                   uint64_t offset, unsigned size, bool write, uint64_t *linear,
                   struct guest_fault *f) MUST_CHECK;

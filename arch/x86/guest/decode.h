/*
 * Decodes one instruction: its length, prefixes and operands, for those that the root emulates and
 * those whose length the CPU does not report. SDM 2A "Instruction Format", SDM 2D "Opcode Map".
 * Pure.
 */
#pragma once

#include "arch/x86/guest/segment.h"
#include "hv/types.h"

#define DECODE_MAX         15u /* bytes of the longest instruction; a longer one faults */
#define DECODE_WINDOW      40u
#define DECODE_NO_REGISTER 0xffu /* no base, no index */
#define DECODE_RIP         0xfeu /* base: the address of the next instruction */

#define DECODE_REX_B       1u
#define DECODE_REX_X       2u
#define DECODE_REX_R       4u
#define DECODE_REX_W       8u

enum decode_map {
    DECODE_ONE_BYTE,
    DECODE_0F,
    DECODE_0F38,
    DECODE_0F3A,
    DECODE_VECTOR /* VEX, EVEX and XOP: the length alone */
};

struct instruction {
    uint8_t length;
    uint8_t map; /* enum decode_map */
    uint8_t opcode;
    uint8_t operand_bytes; /* 2, 4 or 8, by mode and prefixes */
    uint8_t address_bytes; /* 2, 4 or 8 */
    uint8_t rex;           /* 0: none */
    bool lock, rep, repne;
    bool long_mode;          /* 64-bit code */
    bool modrm, memory;      /* it has a ModRM byte; which names memory */
    uint8_t reg, rm;         /* of ModRM, with REX's bits; rm only if it is a register */
    uint8_t base, index;     /* register numbers, DECODE_NO_REGISTER, DECODE_RIP */
    uint8_t scale;           /* shift of the index */
    enum segment_id segment; /* of the memory operand; of a string instruction's source */
    uint64_t displacement;   /* sign-extended; or the address of a MOV without ModRM */
    uint64_t immediate;      /* sign-extended */
};

/*
 * `window`: the bytes at RIP, of which `have` are known (at most DECODE_MAX); the others are 0.
 * `code_bytes`: 2, 4 or 8, of 16-bit, 32-bit and 64-bit code. 0; -E_AGAIN: more than `have` bytes
 * are needed; -E_RANGE: longer than DECODE_MAX; -E_NOTSUP: no such instruction, or none that is
 * known here.
 */
int decode(struct instruction *in, const uint8_t window[DECODE_WINDOW], unsigned have,
           unsigned code_bytes) MUST_CHECK;

/*
 * Which instructions are emulated when their memory operand has no memory: those that compilers and
 * kernels use for device registers. SDM 2, each instruction's page. Pure.
 */
#pragma once

#include "arch/x86/guest/alu.h"
#include "arch/x86/guest/decode.h"
#include "hv/types.h"

#define EMULATE_ACCUMULATOR 0u /* the register's number */

enum emulate_kind {
    EMULATE_NONE,
    EMULATE_ALU,     /* memory is the first operand; or the second, with to_register */
    EMULATE_BIT,     /* the number of the bit in a register reaches beyond the operand */
    EMULATE_STORE,   /* MOV to memory */
    EMULATE_LOAD,    /* MOV from memory, zero-extended */
    EMULATE_LOAD_SX, /* sign-extended */
    EMULATE_XCHG,
    EMULATE_XADD,
    EMULATE_CMPXCHG,
    EMULATE_STOS,
    EMULATE_MOVS,
};

struct emulation {
    enum emulate_kind kind;
    enum alu_operation operation;
    bool to_register; /* the destination is the register, the source is memory */
    bool immediate;   /* the other operand is the immediate, else the register */
    bool selector;    /* the register is a segment register (enum segment_id) */
    bool writes;      /* memory is written */
    uint8_t reg;      /* the register operand's number */
    uint8_t bytes;    /* of the memory operand */
    uint8_t reg_bytes;
};

/* False: it is not emulated: it has no memory operand, a LOCK prefix that it must not have, or is
 * another instruction. */
bool emulate_choose(const struct instruction *in, struct emulation *e) MUST_CHECK;

/*
 * The arithmetic of the instructions that are emulated, with their flags: SDM 1 "EFLAGS
 * Cross-Reference". Pure.
 */
#pragma once

#include "hv/types.h"

/* The first eight as opcodes and ModRM number them. */
enum alu_operation {
    ALU_ADD,
    ALU_OR,
    ALU_ADC,
    ALU_SBB,
    ALU_AND,
    ALU_SUB,
    ALU_XOR,
    ALU_CMP, /* the result is not written */
    ALU_TEST,
    ALU_INC, /* one operand from here on */
    ALU_DEC,
    ALU_NEG,
    ALU_NOT,
    ALU_BT, /* `b` is the number of the bit, modulo the operand's size */
    ALU_BTS,
    ALU_BTR,
    ALU_BTC,
};

/* Operands of 1, 2, 4 or 8 bytes: bits above those are ignored, and 0 in the result. Changes the
 * flags that the instruction defines; clears AF where it is undefined after logic. */
uint64_t alu(enum alu_operation operation, uint64_t a, uint64_t b, unsigned bytes, uint64_t *flags);

static inline uint64_t alu_mask(unsigned bytes)
{
    return bytes >= 8 ? UINT64_MAX : (1ull << (8 * bytes)) - 1;
}

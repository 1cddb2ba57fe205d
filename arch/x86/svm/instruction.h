/* The instruction that an exit is about, from the guest's memory: the CPU reports neither its bytes
 * nor its operands. */
#pragma once

#include "arch/x86/guest/vcpu_state.h"

#define OP_GROUP7 0x01u /* behind 0FH */

static inline void svm_operand_space(struct vcpu *v, struct operand_space *s)
{
    uint64_t rflags = vcpu_get_rflags(v);

    x86_read_paging(v, rflags, &s->paging);
    s->mode = segment_mode_of(s->paging.cr0, s->paging.efer, rflags, vcpu_get_cs_rights(v));
    s->mem = &v->guest->mem;
}

static inline const struct instruction *svm_instruction(const struct vcpu *v)
{
    return &vcpu_x86(v)->decoded.in;
}

/* EXIT_SKIP: it is svm_instruction(v), and its length is in the record. */
static inline enum exit_action svm_fetch(struct vcpu *v)
{
    struct operand_space s;

    svm_operand_space(v, &s);
    return x86_fetch(v, &s);
}

/* For an instruction whose length is in the record. */
static inline enum exit_action svm_decoded(enum exit_action a)
{
    return a >= EXIT_SKIP && a <= EXIT_HALT ? (enum exit_action)(a + EXIT_DECODED) : a;
}

static inline bool svm_is_0f(const struct instruction *in, unsigned opcode)
{
    return in->map == DECODE_0F && in->opcode == opcode;
}

/* 0FH 01H with this ModRM byte, which names registers. */
static inline bool svm_is_group7(const struct instruction *in, unsigned reg, unsigned rm)
{
    return svm_is_0f(in, OP_GROUP7) && !in->memory && in->reg == reg && in->rm == rm;
}

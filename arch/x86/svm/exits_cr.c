/* Instructions that read and write control registers. APM vol. 3 "System Instruction Reference".
 * The guest may have changed the instruction since it exited: what it is then counts. */
#include "arch/x86/svm/instruction.h"
#include "arch/x86/svm/svm.h"

#define CR_MASK        0xfu
#define MSW_BYTES      2u
#define LMSW_MASK      0xfull

/* Opcodes behind 0FH. */
#define OP_CLTS        0x06u
#define OP_MOV_FROM_CR 0x20u
#define OP_MOV_TO_CR   0x22u
#define GROUP7_SMSW    4u
#define GROUP7_LMSW    6u

static bool is_msw(const struct instruction *in, unsigned reg)
{
    return svm_is_0f(in, OP_GROUP7) && (in->reg & 7) == reg;
}

/* The memory operand of LMSW and SMSW has 16 bits, whatever the operand size. EXIT_SKIP: *o is it.
 */
static enum exit_action reach_msw(struct vcpu *v, bool write, struct operand *o)
{
    const struct instruction *in = svm_instruction(v);
    const struct segment segment = vcpu_get_segment(v, in->segment);
    struct operand_page page = {.known = false};
    struct operand_space s;
    struct guest_fault f;
    enum operand_result r;

    svm_operand_space(v, &s);
    r = operand_reach(o, &s, &segment, in->segment, x86_operand_offset(v, in), MSW_BYTES, write,
                      &page, &f);
    if (r != OPERAND_REACHED)
        return r == OPERAND_FAULT ? x86_raise_fault(v, &f) : x86_outside(v, "read from", f.address);
    if (x86_watches(v))
        x86_watch_memory(v, o->linear, o->size, write);
    return EXIT_SKIP;
}

static enum exit_action lmsw(struct vcpu *v)
{
    const struct instruction *in = svm_instruction(v);
    uint64_t msw, shown = svm_read_cr0(v);
    enum exit_action a = EXIT_SKIP;
    struct operand o;

    if (!in->memory)
        msw = x86_read_gpr(v, in->rm);
    else if ((a = reach_msw(v, false, &o)) == EXIT_SKIP)
        a = x86_load(v, &o, &msw);
    if (a != EXIT_SKIP)
        return a;
    /* It cannot clear PE. */
    return x86_write_cr(v, 0, (shown & ~LMSW_MASK) | (msw & LMSW_MASK) | (shown & CR0_PE));
}

static enum exit_action smsw(struct vcpu *v)
{
    const struct instruction *in = svm_instruction(v);
    uint64_t value = svm_read_cr0(v);
    struct operand o;

    if (in->memory) {
        enum exit_action a = reach_msw(v, true, &o);

        if (a == EXIT_SKIP)
            a = x86_store(v, &o, (uint16_t)value);
        return a == EXIT_SKIP ? EXIT_DONE : a;
    }
    if (in->operand_bytes == 2)
        value = (x86_read_gpr(v, in->rm) & ~0xffffull) | (uint16_t)value;
    x86_write_gpr(v, in->rm, in->operand_bytes == 4 ? (uint32_t)value : value);
    return EXIT_SKIP;
}

enum exit_action svm_on_cr_write(struct vcpu *v)
{
    const struct instruction *in = svm_instruction(v);
    unsigned cr = v->exit->reason & CR_MASK;
    enum exit_action a = svm_fetch(v);

    if (a != EXIT_SKIP)
        return a;
    v->exit->qualification = cr;
    if (svm_is_0f(in, OP_CLTS))
        return svm_decoded(x86_write_cr(v, 0, svm_read_cr0(v) & ~CR0_TS));
    if (is_msw(in, GROUP7_LMSW))
        return svm_decoded(lmsw(v));
    if (!svm_is_0f(in, OP_MOV_TO_CR))
        return x86_crash(v, "unsupported write of a control register");
    return svm_decoded(x86_write_cr(v, cr, x86_read_operand(v, in->rm)));
}

static uint64_t value_of(const struct vcpu *v, unsigned cr)
{
    return cr == 0 ? svm_read_cr0(v) : cr == 4 ? svm_read_cr4(v) : svm_save(v)->cr2;
}

/* Which register, the instruction says: QEMU reports CR0 for all. */
enum exit_action svm_on_cr_read(struct vcpu *v)
{
    const struct instruction *in = svm_instruction(v);
    enum exit_action a = svm_fetch(v);
    unsigned cr = in->lock ? 8 : in->reg; /* LOCK MOV reaches CR8 outside of 64-bit mode */
    uint64_t value;

    if (a != EXIT_SKIP)
        return a;
    if (is_msw(in, GROUP7_SMSW))
        return svm_decoded(smsw(v));
    if (!svm_is_0f(in, OP_MOV_FROM_CR) || cr > 8)
        return x86_crash(v, "unsupported read of a control register");
    if (vcpu_get_cpl(v) != 0) /* it was an SMSW, which any program may execute */
        return x86_raise_gp(v);
    v->exit->qualification = cr;
    if (cr == 3 || cr == 8)
        return svm_decoded(x86_read_cr(v, cr, in->rm));
    value = value_of(v, cr);
    x86_write_gpr(v, in->rm, x86_in_64bit_mode(v) ? value : (uint32_t)value);
    return EXIT_SKIP_DECODED;
}

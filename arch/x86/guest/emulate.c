#include "arch/x86/guest/emulate.h"

static bool choose_alu(struct emulation *e, enum alu_operation operation)
{
    e->kind = EMULATE_ALU;
    e->operation = operation;
    e->writes = !e->to_register && operation != ALU_CMP && operation != ALU_TEST;
    return true;
}

static bool choose(struct emulation *e, enum emulate_kind kind, bool writes)
{
    e->kind = kind;
    e->writes = writes;
    return true;
}

/* Group 3: TEST, TEST, NOT, NEG; multiplication and division are not emulated. */
static bool choose_group_3(struct emulation *e, unsigned number)
{
    if (number > 3)
        return false;
    e->immediate = number < 2;
    return choose_alu(e, number < 2 ? ALU_TEST : number == 2 ? ALU_NOT : ALU_NEG);
}

/* MOV between the accumulator and an absolute address. */
static bool choose_absolute(struct emulation *e, bool store)
{
    e->reg = EMULATE_ACCUMULATOR;
    return choose(e, store ? EMULATE_STORE : EMULATE_LOAD, store);
}

static bool choose_one_byte(const struct instruction *in, struct emulation *e)
{
    unsigned group = in->reg & 7;

    switch (in->opcode) {
    case 0x00 ... 0x3b: /* eight operations: to memory, to a register; others have no ModRM */
        e->to_register = in->opcode & 2;
        return choose_alu(e, (enum alu_operation)(in->opcode >> 3));
    case 0x63: /* MOVSXD; ARPL in other code */
        e->bytes = 4;
        return in->long_mode && in->operand_bytes != 2 && choose(e, EMULATE_LOAD_SX, false);
    case 0x80 ... 0x83:
        e->immediate = true;
        return choose_alu(e, (enum alu_operation)group);
    case 0x84:
    case 0x85:
        return choose_alu(e, ALU_TEST);
    case 0x86:
    case 0x87:
        return choose(e, EMULATE_XCHG, true);
    case 0x88:
    case 0x89:
        return choose(e, EMULATE_STORE, true);
    case 0x8a:
    case 0x8b:
        return choose(e, EMULATE_LOAD, false);
    case 0x8c:
        e->bytes = 2;
        e->selector = true;
        return group <= SEGMENT_GS && choose(e, EMULATE_STORE, true);
    case 0xa0:
    case 0xa1:
        return choose_absolute(e, false);
    case 0xa2:
    case 0xa3:
        return choose_absolute(e, true);
    case 0xa4:
    case 0xa5:
        return choose(e, EMULATE_MOVS, true);
    case 0xaa:
    case 0xab:
        return choose(e, EMULATE_STOS, true);
    case 0xc6:
    case 0xc7:
        e->immediate = true;
        return group == 0 && choose(e, EMULATE_STORE, true);
    case 0xf6:
    case 0xf7:
        return choose_group_3(e, group);
    case 0xfe:
    case 0xff:
        return group < 2 && choose_alu(e, group == 0 ? ALU_INC : ALU_DEC);
    default:
        return false;
    }
}

static bool choose_bit(const struct instruction *in, struct emulation *e, unsigned number,
                       bool immediate)
{
    e->bytes = e->reg_bytes = in->operand_bytes;
    e->kind = EMULATE_BIT;
    e->operation = (enum alu_operation)(ALU_BT + number);
    e->immediate = immediate;
    e->writes = number != 0;
    return true;
}

static bool choose_two_byte(const struct instruction *in, struct emulation *e)
{
    switch (in->opcode) {
    case 0xa3:
    case 0xab:
    case 0xb3:
    case 0xbb:
        return choose_bit(in, e, in->opcode >> 3 & 3, false);
    case 0xba:
        return (in->reg & 4) && choose_bit(in, e, in->reg & 3, true);
    case 0xb0:
    case 0xb1:
        return choose(e, EMULATE_CMPXCHG, true);
    case 0xb6: /* MOVZX */
    case 0xb7:
    case 0xbe: /* MOVSX */
    case 0xbf:
        e->bytes = in->opcode & 1 ? 2 : 1;
        e->reg_bytes = in->operand_bytes;
        return choose(e, in->opcode < 0xb8 ? EMULATE_LOAD : EMULATE_LOAD_SX, false);
    case 0xc0:
    case 0xc1:
        return choose(e, EMULATE_XADD, true);
    case 0xc3: /* MOVNTI */
        e->bytes = e->reg_bytes = in->operand_bytes;
        return in->operand_bytes != 2 && choose(e, EMULATE_STORE, true);
    default:
        return false;
    }
}

/* SDM 2A "LOCK": only with a read-modify-write of memory. */
static bool may_lock(const struct emulation *e)
{
    switch (e->kind) {
    case EMULATE_ALU:
    case EMULATE_BIT:
        return e->writes;
    case EMULATE_XCHG:
    case EMULATE_XADD:
    case EMULATE_CMPXCHG:
        return true;
    default:
        return false;
    }
}

bool emulate_choose(const struct instruction *in, struct emulation *e)
{
    bool known = false;

    *e = (struct emulation){.reg = in->reg};
    e->bytes = e->reg_bytes = in->opcode & 1 ? in->operand_bytes : 1;
    if (in->map == DECODE_ONE_BYTE)
        known = choose_one_byte(in, e);
    else if (in->map == DECODE_0F)
        known = choose_two_byte(in, e);
    if (!known || (in->lock && !may_lock(e)))
        return false;
    return in->memory || e->kind == EMULATE_STOS || e->kind == EMULATE_MOVS;
}

/* Shared by entry_check*.c only. */
#pragma once

#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/inspect/entry_check.h"
#include "arch/x86/inspect/decode_fields.h"

/* What host and guest state have in common. Bits of registers: SDM 4 "Model-Specific Registers". */
#define ENTRY_UPPER_HALF     0xffffffff00000000ull
#define CR0_UNCHECKED        (CR0_NW | CR0_CD) /* neither entry nor exit changes them */
#define EFER_RESERVED        (~(EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE))
#define S_CET_RESERVED       (0xfull << 6)
#define S_CET_BOTH           (3ull << 10) /* SUPPRESS and TRACKER */
#define SSP_ALIGN            3ull
#define FRED_CONFIG_RESERVED (1ull << 2 | 3ull << 4 | 1ull << 11)
#define FRED_RSP_ALIGN       0x3full
#define FRED_SSP_ALIGN       7ull

/* The control words, as the CPU takes them: 0 where the bit that activates a word is 0. */
enum entry_word {
    WORD_ALWAYS, /* is 1: the gate of unconditional checks */
    WORD_PIN,
    WORD_CPU1,
    WORD_CPU2,
    WORD_CPU3,
    WORD_EXIT,
    WORD_EXIT2,
    WORD_ENTRY,
    WORD_VMFUNC,
    WORDS
};

struct entry_ctx {
    const struct abi_vmcs *v;
    const struct abi_caps *caps;
    const struct entry_cpu *cpu;
    void (*failed)(void *arg, const struct entry_rule_failure *f);
    void *arg;
    unsigned count;
    uint64_t word[WORDS];
    uint32_t injection; /* VM-entry interruption information; 0 when not valid */
};

enum entry_kind {
    KIND_ZERO,      /* the bits of `mask` must be 0 */
    KIND_ADDRESS,   /* and those beyond the physical-address width */
    KIND_CANONICAL, /* without the bits of `mask` */
    KIND_NONZERO,
    KIND_PAT,
};

/* One field, checked when all bits of `gate` are 1 in `word`. */
struct entry_row_check {
    uint8_t rule, row, word, kind;
    uint64_t gate, mask;
};
_Static_assert(ENTRY_RULES <= 256 && VMCS_ROWS <= 256, "rule and row fit in a byte");

/* When all bits of `gate` are 1 in `word`, `bits` of `target` must be `value`. */
struct entry_implication {
    uint8_t rule, word, target;
    bool value;
    uint64_t gate, bits;
};

static inline bool entry_has(const struct entry_ctx *c, unsigned row)
{
    return vmcs_has(c->v, row);
}

static inline uint64_t entry_get(const struct entry_ctx *c, unsigned row)
{
    return vmcs_has(c->v, row) ? c->v->value[row] : 0;
}

static inline bool entry_on(const struct entry_ctx *c, enum entry_word word, uint64_t bits)
{
    return (c->word[word] & bits) == bits;
}

/* The bits from `width` upwards. */
static inline uint64_t entry_beyond(unsigned width)
{
    return width < 64 ? ~0ull << width : 0;
}

/* Writes the sentence of a failure to text[ENTRY_SENTENCE_MAX]: "bit 5 must be 0: reserved". `bits`
 * 0: only `allowed`. */
#define ENTRY_SENTENCE_MAX 160
void entry_sentence(char *text, uint64_t bits, const char *must, const char *allowed);

bool entry_pat_valid(uint64_t pat);
bool entry_canonical(const struct entry_ctx *c, uint64_t address);
/* Width of the addresses that a VMCS holds. */
unsigned entry_address_bits(const struct entry_ctx *c);

/* Each does nothing if the field does not exist. */
void entry_require(struct entry_ctx *c, bool ok, enum entry_rule_id rule, unsigned row);
/* `wrong`: the bits that are 1 and must be 0, or are 0 and must be 1. */
void entry_zeros(struct entry_ctx *c, uint64_t wrong, enum entry_rule_id rule, unsigned row);
void entry_ones(struct entry_ctx *c, uint64_t wrong, enum entry_rule_id rule, unsigned row);
void entry_rows(struct entry_ctx *c, const struct entry_row_check *table, unsigned count);
void entry_implications(struct entry_ctx *c, const struct entry_implication *table, unsigned count);

void entry_check_controls(struct entry_ctx *c);
void entry_check_injection(struct entry_ctx *c);
void entry_check_host(struct entry_ctx *c);
void entry_check_guest(struct entry_ctx *c);
void entry_check_segments(struct entry_ctx *c);

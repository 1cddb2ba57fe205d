/* SDM 3C "VM Entries", section "Checks on Guest Segment Registers". */
#include "arch/x86/inspect/entry_check_impl.h"
#include "arch/x86/vmx/vmx.h"

#define AR_RESERVED        0xfffe0f00u
#define TYPE_ACCESSED      1u
#define TYPE_READABLE      2u
#define TYPE_CODE          8u
#define TYPE_CONFORMING    4u
#define TYPE_DATA          3u /* read, write, accessed */
#define TYPE_EXPAND_DOWN   7u /* the same, expanding down */
#define TYPE_LDT           2u
#define TYPE_TSS_BUSY_16   3u
#define TYPE_TSS_BUSY      11u
#define TYPE_NONCONFORMING 11u /* the last type that is not a conforming code segment */
#define V86_RIGHTS         0xf3u
#define V86_LIMIT          0xffffu
#define SELECTOR_RPL       3u
#define SELECTOR_TI        4u
#define LIMIT_LOW          0xfffu
#define LIMIT_HIGH         0xfff00000u

/* The SDM's order, like the rows of the table. */
enum segment { ES, CS, SS, DS, FS, GS, LDTR, TR, SEGMENTS };
_Static_assert(VMCS_ROW_GUEST_TR_SELECTOR - VMCS_ROW_GUEST_ES_SELECTOR == TR &&
                   VMCS_ROW_GUEST_TR_BASE - VMCS_ROW_GUEST_ES_BASE == TR &&
                   VMCS_ROW_GUEST_TR_LIMIT - VMCS_ROW_GUEST_ES_LIMIT == TR &&
                   VMCS_ROW_GUEST_TR_ACCESS_RIGHTS - VMCS_ROW_GUEST_ES_ACCESS_RIGHTS == TR,
               "rows of the segment registers");

struct segment_values {
    uint32_t selector, limit, rights, type, dpl, rpl;
    uint64_t base;
    bool usable;
};

static unsigned rights_row(enum segment i)
{
    return VMCS_ROW_GUEST_ES_ACCESS_RIGHTS + (unsigned)i;
}

static unsigned selector_row(enum segment i)
{
    return VMCS_ROW_GUEST_ES_SELECTOR + (unsigned)i;
}

static void load_segment(const struct entry_ctx *c, enum segment i, struct segment_values *s)
{
    s->selector = (uint32_t)entry_get(c, selector_row(i));
    s->base = entry_get(c, VMCS_ROW_GUEST_ES_BASE + (unsigned)i);
    s->limit = (uint32_t)entry_get(c, VMCS_ROW_GUEST_ES_LIMIT + (unsigned)i);
    s->rights = (uint32_t)entry_get(c, rights_row(i));
    s->type = s->rights & AR_TYPE_MASK;
    s->dpl = (s->rights & AR_DPL_MASK) >> AR_DPL_SHIFT;
    s->rpl = s->selector & SELECTOR_RPL;
    s->usable = !(s->rights & AR_UNUSABLE);
}

static void check_v86(struct entry_ctx *c, enum segment i, const struct segment_values *s)
{
    entry_require(c, s->base == (uint64_t)s->selector << 4, ENTRY_RULE_V86_BASE,
                  VMCS_ROW_GUEST_ES_BASE + (unsigned)i);
    entry_require(c, s->limit == V86_LIMIT, ENTRY_RULE_V86_LIMIT,
                  VMCS_ROW_GUEST_ES_LIMIT + (unsigned)i);
    entry_require(c, s->rights == V86_RIGHTS, ENTRY_RULE_V86_RIGHTS, rights_row(i));
}

static void check_base(struct entry_ctx *c, enum segment i, const struct segment_values *s)
{
    unsigned row = VMCS_ROW_GUEST_ES_BASE + (unsigned)i;

    if (i == FS || i == GS || i == TR || (i == LDTR && s->usable))
        entry_require(c, entry_canonical(c, s->base), ENTRY_RULE_BASE_CANONICAL, row);
    if (i == CS || ((i == SS || i == DS || i == ES) && s->usable))
        entry_zeros(c, s->base & ENTRY_UPPER_HALF, ENTRY_RULE_BASE_32, row);
}

/* Checks that G fits the limit. */
static void check_granularity(struct entry_ctx *c, enum segment i, const struct segment_values *s,
                              enum entry_rule_id rule)
{
    bool pages = s->rights & AR_G;
    bool bytes_needed = (s->limit & LIMIT_LOW) != LIMIT_LOW;
    bool pages_needed = (s->limit & LIMIT_HIGH) != 0;

    entry_require(c, !(bytes_needed && pages) && !(pages_needed && !pages), rule, rights_row(i));
}

static void check_cs(struct entry_ctx *c, const struct segment_values *s, bool unrestricted,
                     bool ia32e)
{
    uint64_t ss = entry_get(c, rights_row(SS));
    uint32_t ss_dpl = (uint32_t)(ss & AR_DPL_MASK) >> AR_DPL_SHIFT;
    unsigned row = rights_row(CS);
    bool code = s->type & TYPE_CODE;

    entry_require(c, (code && s->type & TYPE_ACCESSED) || (unrestricted && s->type == TYPE_DATA),
                  ENTRY_RULE_CS_TYPE, row);
    if (s->type == TYPE_DATA)
        entry_zeros(c, s->rights & AR_DPL_MASK, ENTRY_RULE_CS_DPL_DATA, row);
    else if (code && s->type & TYPE_CONFORMING)
        entry_require(c, s->dpl <= ss_dpl, ENTRY_RULE_CS_DPL_CONFORMING, row);
    else if (code)
        entry_require(c, s->dpl == ss_dpl, ENTRY_RULE_CS_DPL_NONCONFORMING, row);
    if (ia32e && s->rights & AR_L)
        entry_zeros(c, s->rights & AR_DB, ENTRY_RULE_CS_DB, row);
}

/* DPL and RPL count whether or not SS is usable. */
static void check_ss(struct entry_ctx *c, const struct segment_values *s, bool unrestricted)
{
    uint64_t cs_rights = entry_get(c, rights_row(CS));
    uint64_t cs_selector = entry_get(c, selector_row(CS));
    bool real = !(entry_get(c, VMCS_ROW_GUEST_CR0) & CR0_PE);

    if (s->usable)
        entry_require(c, s->type == TYPE_DATA || s->type == TYPE_EXPAND_DOWN, ENTRY_RULE_SS_TYPE,
                      rights_row(SS));
    if (!unrestricted) {
        entry_require(c, s->rpl == (cs_selector & SELECTOR_RPL), ENTRY_RULE_SS_RPL,
                      selector_row(SS));
        entry_require(c, s->dpl == s->rpl, ENTRY_RULE_SS_DPL_RPL, rights_row(SS));
    }
    if (real || (cs_rights & AR_TYPE_MASK) == TYPE_DATA)
        entry_zeros(c, s->rights & AR_DPL_MASK, ENTRY_RULE_SS_DPL_0, rights_row(SS));
}

static void check_data(struct entry_ctx *c, enum segment i, const struct segment_values *s,
                       bool unrestricted)
{
    unsigned row = rights_row(i);

    if (!s->usable)
        return;
    entry_ones(c, ~s->type & TYPE_ACCESSED, ENTRY_RULE_DATA_ACCESSED, row);
    if (s->type & TYPE_CODE)
        entry_ones(c, ~s->type & TYPE_READABLE, ENTRY_RULE_DATA_READABLE, row);
    if (!unrestricted && s->type <= TYPE_NONCONFORMING)
        entry_require(c, s->dpl >= s->rpl, ENTRY_RULE_DATA_DPL, row);
}

/* The checks that CS to GS share outside virtual-8086 mode. */
static void check_code_or_data(struct entry_ctx *c, enum segment i, const struct segment_values *s)
{
    bool unrestricted = entry_on(c, WORD_CPU2, CPU2_UNRESTRICTED_GUEST);

    if (i == CS)
        check_cs(c, s, unrestricted, entry_on(c, WORD_ENTRY, ENTRY_IA32E_MODE_GUEST));
    else if (i == SS)
        check_ss(c, s, unrestricted);
    else
        check_data(c, i, s, unrestricted);
    if (i != CS && !s->usable)
        return;
    entry_ones(c, ~s->rights & AR_S, ENTRY_RULE_SEGMENT_S, rights_row(i));
    entry_ones(c, ~s->rights & AR_P, ENTRY_RULE_SEGMENT_P, rights_row(i));
    entry_zeros(c, s->rights & AR_RESERVED, ENTRY_RULE_SEGMENT_RESERVED, rights_row(i));
    check_granularity(c, i, s, ENTRY_RULE_SEGMENT_G);
}

static void check_tr(struct entry_ctx *c, const struct segment_values *s)
{
    bool ia32e = entry_on(c, WORD_ENTRY, ENTRY_IA32E_MODE_GUEST);

    entry_zeros(c, s->selector & SELECTOR_TI, ENTRY_RULE_TR_TI, selector_row(TR));
    entry_require(c, s->type == TYPE_TSS_BUSY || (!ia32e && s->type == TYPE_TSS_BUSY_16),
                  ENTRY_RULE_TR_TYPE, rights_row(TR));
    entry_zeros(c, s->rights & AR_S, ENTRY_RULE_TR_S, rights_row(TR));
    entry_ones(c, ~s->rights & AR_P, ENTRY_RULE_TR_P, rights_row(TR));
    entry_zeros(c, s->rights & AR_RESERVED, ENTRY_RULE_TR_RESERVED, rights_row(TR));
    entry_zeros(c, s->rights & AR_UNUSABLE, ENTRY_RULE_TR_USABLE, rights_row(TR));
    check_granularity(c, TR, s, ENTRY_RULE_TR_G);
}

static void check_ldtr(struct entry_ctx *c, const struct segment_values *s)
{
    if (!s->usable)
        return;
    entry_zeros(c, s->selector & SELECTOR_TI, ENTRY_RULE_LDTR_TI, selector_row(LDTR));
    entry_require(c, s->type == TYPE_LDT, ENTRY_RULE_LDTR_TYPE, rights_row(LDTR));
    entry_zeros(c, s->rights & AR_S, ENTRY_RULE_LDTR_S, rights_row(LDTR));
    entry_ones(c, ~s->rights & AR_P, ENTRY_RULE_LDTR_P, rights_row(LDTR));
    entry_zeros(c, s->rights & AR_RESERVED, ENTRY_RULE_LDTR_RESERVED, rights_row(LDTR));
    check_granularity(c, LDTR, s, ENTRY_RULE_LDTR_G);
}

void entry_check_segments(struct entry_ctx *c)
{
    bool v86 = entry_get(c, VMCS_ROW_GUEST_RFLAGS) & RFLAGS_VM;
    struct segment_values s;

    for (unsigned i = 0; i < SEGMENTS; i++) {
        load_segment(c, (enum segment)i, &s);
        check_base(c, (enum segment)i, &s);
        if (i == TR)
            check_tr(c, &s);
        else if (i == LDTR)
            check_ldtr(c, &s);
        else if (v86)
            check_v86(c, (enum segment)i, &s);
        else
            check_code_or_data(c, (enum segment)i, &s);
    }
}

#include "arch/x86/inspect/entry_check.h"
#include "arch/x86/inspect/entry_check_impl.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/lib.h"

#define ENTRY_SECTION(id, stage, title) static const char title_##id[] = title;
#include "arch/x86/inspect/entry_rules.def"
#undef ENTRY_SECTION

enum section_stage {
#define ENTRY_SECTION(id, stage, title) STAGE_OF_##id = ENTRY_STAGE_##stage,
#include "arch/x86/inspect/entry_rules.def"
#undef ENTRY_SECTION
};

static const struct entry_rule rules[] = {
#define ENTRY_RULE(id, name, section, allowed)                                                     \
    {ENTRY_RULE_##id, STAGE_OF_##section, name, title_##section, allowed},
#include "arch/x86/inspect/entry_rules.def"
#undef ENTRY_RULE
};
_Static_assert(ARRAY_LEN(rules) == ENTRY_RULES, "a row for each rule");

const struct entry_rule *entry_rule(unsigned id)
{
    return id < ARRAY_LEN(rules) ? &rules[id] : NULL;
}

const struct entry_rule *entry_rule_by_name(const char *name)
{
    for (unsigned i = 0; i < ARRAY_LEN(rules); i++)
        if (strcmp(rules[i].name, name) == 0)
            return &rules[i];
    return NULL;
}

/* ---- the sentence of a failure ---- */

static void append(char *text, const char *more)
{
    size_t used = strlen(text);

    (void)str_copy(text + used, ENTRY_SENTENCE_MAX - used, more);
}

static void append_number(char *text, uint64_t v, unsigned base)
{
    char digits[24];
    size_t at = sizeof(digits) - 1;

    digits[at] = 0;
    do {
        digits[--at] = "0123456789abcdef"[v % base];
        v /= base;
    } while (v);
    append(text, digits + at);
}

/* "bit 5", "bits 31:17", "bits 0x8028". */
static void append_bits(char *text, uint64_t bits)
{
    unsigned low = (unsigned)__builtin_ctzll(bits);
    unsigned high = 63 - (unsigned)__builtin_clzll(bits);

    append(text, low == high ? "bit " : "bits ");
    if (bits >> low != ~0ull >> (63 - high + low)) {
        append(text, "0x");
        append_number(text, bits, 16);
        return;
    }
    append_number(text, high, 10);
    if (low != high) {
        append(text, ":");
        append_number(text, low, 10);
    }
}

void entry_sentence(char *text, uint64_t bits, const char *must, const char *allowed)
{
    text[0] = 0;
    if (bits) {
        append_bits(text, bits);
        append(text, must);
    }
    append(text, allowed);
}

static void fail(struct entry_ctx *c, enum entry_rule_id rule, unsigned row, uint64_t bits,
                 const char *must)
{
    char text[ENTRY_SENTENCE_MAX];
    struct entry_rule_failure f = {
        .rule = &rules[rule],
        .encoding = vmcs_field(row)->encoding,
        .value = entry_get(c, row),
        .bits = bits,
        .allowed = text,
    };

    c->count++;
    if (!c->failed)
        return;
    entry_sentence(text, bits, must, rules[rule].allowed);
    c->failed(c->arg, &f);
}

void entry_require(struct entry_ctx *c, bool ok, enum entry_rule_id rule, unsigned row)
{
    if (!ok && entry_has(c, row))
        fail(c, rule, row, 0, "");
}

void entry_zeros(struct entry_ctx *c, uint64_t wrong, enum entry_rule_id rule, unsigned row)
{
    if (wrong && entry_has(c, row))
        fail(c, rule, row, wrong, " must be 0: ");
}

void entry_ones(struct entry_ctx *c, uint64_t wrong, enum entry_rule_id rule, unsigned row)
{
    if (wrong && entry_has(c, row))
        fail(c, rule, row, wrong, " must be 1: ");
}

/* ---- checks that are rows of a table ---- */

bool entry_canonical(const struct entry_ctx *c, uint64_t address)
{
    uint64_t sign = entry_beyond(c->cpu->linear_bits - 1u);

    return (address & sign) == 0 || (address & sign) == sign;
}

unsigned entry_address_bits(const struct entry_ctx *c)
{
    return c->caps->basic & VMX_BASIC_32_BIT_ADDRESSES ? 32 : c->cpu->physical_bits;
}

/* The memory types 2 and 3 do not exist, nor do those above 7. */
bool entry_pat_valid(uint64_t pat)
{
    for (unsigned i = 0; i < 8; i++) {
        uint8_t type = (uint8_t)(pat >> 8 * i);

        if (type > 7 || type == 2 || type == 3)
            return false;
    }
    return true;
}

static void check_row(struct entry_ctx *c, const struct entry_row_check *k)
{
    uint64_t value = entry_get(c, k->row);
    enum entry_rule_id rule = (enum entry_rule_id)k->rule;

    switch ((enum entry_kind)k->kind) {
    case KIND_ZERO:
        entry_zeros(c, value & k->mask, rule, k->row);
        break;
    case KIND_ADDRESS:
        entry_zeros(c, value & (k->mask | entry_beyond(entry_address_bits(c))), rule, k->row);
        break;
    case KIND_CANONICAL:
        entry_require(c, entry_canonical(c, value & ~k->mask), rule, k->row);
        break;
    case KIND_NONZERO:
        entry_require(c, value != 0, rule, k->row);
        break;
    case KIND_PAT:
        entry_require(c, entry_pat_valid(value), rule, k->row);
        break;
    }
}

void entry_rows(struct entry_ctx *c, const struct entry_row_check *table, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        if (entry_on(c, (enum entry_word)table[i].word, table[i].gate))
            check_row(c, &table[i]);
}

static const uint8_t word_row[WORDS] = {
    [WORD_PIN] = VMCS_ROW_PIN_BASED_CONTROLS,
    [WORD_CPU1] = VMCS_ROW_PRIMARY_PROCESSOR_CONTROLS,
    [WORD_CPU2] = VMCS_ROW_SECONDARY_PROCESSOR_CONTROLS,
    [WORD_CPU3] = VMCS_ROW_TERTIARY_PROCESSOR_CONTROLS,
    [WORD_EXIT] = VMCS_ROW_PRIMARY_VM_EXIT_CONTROLS,
    [WORD_EXIT2] = VMCS_ROW_SECONDARY_VM_EXIT_CONTROLS,
    [WORD_ENTRY] = VMCS_ROW_VM_ENTRY_CONTROLS,
    [WORD_VMFUNC] = VMCS_ROW_VM_FUNCTION_CONTROLS,
};

/* A missing word counts as 0, and can still break an implication. */
void entry_implications(struct entry_ctx *c, const struct entry_implication *table, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        const struct entry_implication *k = &table[i];
        uint64_t word = c->word[k->target];
        uint64_t wrong = (k->value ? ~word : word) & k->bits;

        if (wrong && entry_on(c, (enum entry_word)k->word, k->gate))
            fail(c, (enum entry_rule_id)k->rule, word_row[k->target], wrong,
                 k->value ? " must be 1: " : " must be 0: ");
    }
}

/* ---- the whole ---- */

static void load_words(struct entry_ctx *c)
{
    uint64_t cpu1 = entry_get(c, VMCS_ROW_PRIMARY_PROCESSOR_CONTROLS);
    uint64_t exit = entry_get(c, VMCS_ROW_PRIMARY_VM_EXIT_CONTROLS);
    uint64_t info = entry_get(c, VMCS_ROW_VM_ENTRY_INTERRUPTION_INFO);

    c->word[WORD_ALWAYS] = 1;
    c->word[WORD_PIN] = entry_get(c, VMCS_ROW_PIN_BASED_CONTROLS);
    c->word[WORD_CPU1] = cpu1;
    if (cpu1 & CPU1_ACTIVATE_SECONDARY_CONTROLS)
        c->word[WORD_CPU2] = entry_get(c, VMCS_ROW_SECONDARY_PROCESSOR_CONTROLS);
    if (cpu1 & CPU1_ACTIVATE_TERTIARY_CONTROLS)
        c->word[WORD_CPU3] = entry_get(c, VMCS_ROW_TERTIARY_PROCESSOR_CONTROLS);
    c->word[WORD_EXIT] = exit;
    if (exit & EXITC_ACTIVATE_SECONDARY)
        c->word[WORD_EXIT2] = entry_get(c, VMCS_ROW_SECONDARY_VM_EXIT_CONTROLS);
    c->word[WORD_ENTRY] = entry_get(c, VMCS_ROW_VM_ENTRY_CONTROLS);
    if (c->word[WORD_CPU2] & CPU2_ENABLE_VM_FUNCTIONS)
        c->word[WORD_VMFUNC] = entry_get(c, VMCS_ROW_VM_FUNCTION_CONTROLS);
    if (info & INTR_INFO_VALID)
        c->injection = (uint32_t)info;
}

static void (*const parts[ENTRY_PARTS])(struct entry_ctx *c) = {
    entry_check_controls, entry_check_injection, entry_check_host,
    entry_check_guest,    entry_check_segments,
};

unsigned vmcs_entry_check_part(unsigned part, const struct abi_vmcs *v, const struct abi_caps *caps,
                               const struct entry_cpu *cpu,
                               void (*failed)(void *arg, const struct entry_rule_failure *f),
                               void *arg)
{
    struct entry_ctx c = {.v = v, .caps = caps, .cpu = cpu, .failed = failed, .arg = arg};

    load_words(&c);
    parts[part](&c);
    return c.count;
}

unsigned vmcs_entry_check(const struct abi_vmcs *v, const struct abi_caps *caps,
                          const struct entry_cpu *cpu,
                          void (*failed)(void *arg, const struct entry_rule_failure *f), void *arg)
{
    unsigned count = 0;

    for (unsigned i = 0; i < ENTRY_PARTS; i++)
        count += vmcs_entry_check_part(i, v, caps, cpu, failed, arg);
    return count;
}

#include "arch/x86/inspect/entry_check_vmrun.h"

#include "arch/x86/inspect/entry_check_impl.h"
#include "arch/x86/inspect/decode_fields.h"
#include "arch/x86/svm/svm.h"
#include "hv/lib.h"

#define VMRUN_SECTION(id, title) static const char title_##id[] = title;
#include "arch/x86/inspect/vmrun_rules.def"
#undef VMRUN_SECTION

static const struct entry_rule rules[] = {
#define VMRUN_RULE(id, name, section, allowed)                                                     \
    {VMRUN_RULE_##id, ENTRY_STAGE_VMRUN, name, title_##section, allowed},
#include "arch/x86/inspect/vmrun_rules.def"
#undef VMRUN_RULE
};
_Static_assert(ARRAY_LEN(rules) == VMRUN_RULES, "a row for each rule");

const struct entry_rule *vmrun_rule(unsigned id)
{
    return id < ARRAY_LEN(rules) ? &rules[id] : NULL;
}

struct check {
    const struct abi_vmcs *v;
    const struct abi_caps *caps;
    void (*failed)(void *arg, const struct entry_rule_failure *f);
    void *arg;
    unsigned count;
};

#define IOPM_SIZE    0x3000u
#define MSRPM_SIZE   0x2000u
#define PAGE_MASK    0xfffull
/* APM 2 "Extended Feature Enable Register (EFER)": SCE, LME, LMA, NXE, SVME, LMSLE, FFXSR, TCE,
 * MCOMMIT, INTWB, UAIE, AIBRSE; bits 7:1 are reserved, but need not be 0. */
#define EFER_DEFINED 0x36fdffull
/* APM 2 "CR4 Register": bits 11:0, LA57, FSGSBASE, PCIDE, OSXSAVE, SMEP, SMAP, PKE, CET. */
#define CR4_DEFINED  0xf71fffull
#define ATTRIB_L     (1ull << 9)
#define ATTRIB_DB    (1ull << 10)
/* APM 2 "Event Injection". */
#define INJECT_VALID (1ull << 31)
enum { TYPE_INTERRUPT = 0, TYPE_NMI = 2, TYPE_EXCEPTION = 3, TYPE_SOFTWARE = 4, VECTOR_NMI = 2 };

static uint64_t get(const struct check *c, unsigned row)
{
    return vmcs_has(c->v, row) ? c->v->value[row] : 0;
}

static void fail(struct check *c, enum vmrun_rule_id rule, unsigned row, uint64_t bits,
                 const char *must)
{
    char text[ENTRY_SENTENCE_MAX];
    struct entry_rule_failure f = {
        .rule = &rules[rule],
        .encoding = vmcb_field(row)->offset,
        .value = get(c, row),
        .bits = bits,
        .allowed = text,
    };

    c->count++;
    if (!c->failed)
        return;
    entry_sentence(text, bits, must, rules[rule].allowed);
    c->failed(c->arg, &f);
}

static void require(struct check *c, bool ok, enum vmrun_rule_id rule, unsigned row)
{
    if (!ok && vmcs_has(c->v, row))
        fail(c, rule, row, 0, "");
}

/* `wrong`: the bits that are 1 and must be 0. */
static void zeros(struct check *c, uint64_t wrong, enum vmrun_rule_id rule, unsigned row)
{
    if (wrong && vmcs_has(c->v, row))
        fail(c, rule, row, wrong, " must be 0: ");
}

static void one(struct check *c, uint64_t bit, enum vmrun_rule_id rule, unsigned row)
{
    if (vmcs_has(c->v, row) && !(get(c, row) & bit))
        fail(c, rule, row, bit, " must be 1: ");
}

/* Bits of an address that is not in memory: above bit 51, and beyond the CPU's width. */
static uint64_t beyond(const struct check *c)
{
    unsigned width = c->caps->address_widths & 0xff;

    return entry_beyond(width && width < 52 ? width : 52);
}

/* The whole map must be within the address space; the low 12 bits of its address are ignored. */
static void check_map(struct check *c, enum vmrun_rule_id rule, unsigned row, uint32_t size)
{
    uint64_t last = (get(c, row) & ~PAGE_MASK) + size - 1;

    require(c, last >= size - 1 && !(last & beyond(c)), rule, row);
}

static void check_injection(struct check *c)
{
    uint64_t event = get(c, VMCB_ROW_EVENTINJ), type = event >> 8 & 7, vector = event & 0xff;

    if (!(event & INJECT_VALID))
        return;
    require(c,
            type == TYPE_INTERRUPT || type == TYPE_NMI || type == TYPE_EXCEPTION ||
                type == TYPE_SOFTWARE,
            VMRUN_RULE_INJECT_TYPE, VMCB_ROW_EVENTINJ);
    require(c, type != TYPE_EXCEPTION || (vector < 32 && vector != VECTOR_NMI),
            VMRUN_RULE_INJECT_VECTOR, VMCB_ROW_EVENTINJ);
}

static void check_controls(struct check *c)
{
    bool nested = get(c, VMCB_ROW_NESTED_CTL) & NP_ENABLE;
    uint64_t asids = c->caps->svm_asids;

    one(c, INTERCEPT_VMRUN, VMRUN_RULE_INTERCEPT, VMCB_ROW_INTERCEPT_MISC2);
    require(c, get(c, VMCB_ROW_GUEST_ASID) != 0, VMRUN_RULE_ASID, VMCB_ROW_GUEST_ASID);
    require(c, !asids || get(c, VMCB_ROW_GUEST_ASID) < asids, VMRUN_RULE_ASID_COUNT,
            VMCB_ROW_GUEST_ASID);
    check_map(c, VMRUN_RULE_IOPM, VMCB_ROW_IOPM_BASE_PA, IOPM_SIZE);
    check_map(c, VMRUN_RULE_MSRPM, VMCB_ROW_MSRPM_BASE_PA, MSRPM_SIZE);
    check_injection(c);
    if (nested && vmcs_has(c->v, VMCB_ROW_N_CR3))
        zeros(c, get(c, VMCB_ROW_N_CR3) & beyond(c), VMRUN_RULE_N_CR3, VMCB_ROW_N_CR3);
    else if (nested)
        fail(c, VMRUN_RULE_NO_NESTED_PAGING, VMCB_ROW_NESTED_CTL, NP_ENABLE, " must be 0: ");
}

static void check_long_mode(struct check *c)
{
    uint64_t cr0 = get(c, VMCB_ROW_CR0), cr4 = get(c, VMCB_ROW_CR4);
    uint64_t both = ATTRIB_L | ATTRIB_DB;

    if (!(get(c, VMCB_ROW_EFER) & EFER_LME) || !(cr0 & CR0_PG))
        return;
    one(c, CR4_PAE, VMRUN_RULE_LME_PAE, VMCB_ROW_CR4);
    one(c, CR0_PE, VMRUN_RULE_LME_PE, VMCB_ROW_CR0);
    zeros(c, get(c, VMCB_ROW_CR3) & beyond(c), VMRUN_RULE_CR3, VMCB_ROW_CR3);
    require(c, !(cr4 & CR4_PAE) || (get(c, VMCB_ROW_CS_ATTRIB) & both) != both, VMRUN_RULE_CS_L_D,
            VMCB_ROW_CS_ATTRIB);
}

static void check_state(struct check *c)
{
    uint64_t cr0 = get(c, VMCB_ROW_CR0), cr4 = get(c, VMCB_ROW_CR4);

    one(c, EFER_SVME, VMRUN_RULE_SVME, VMCB_ROW_EFER);
    zeros(c, get(c, VMCB_ROW_EFER) & ~EFER_DEFINED, VMRUN_RULE_EFER, VMCB_ROW_EFER);
    require(c, !(cr0 & CR0_NW) || (cr0 & CR0_CD), VMRUN_RULE_NW, VMCB_ROW_CR0);
    zeros(c, cr0 & ENTRY_UPPER_HALF, VMRUN_RULE_CR0, VMCB_ROW_CR0);
    zeros(c, cr4 & ~CR4_DEFINED, VMRUN_RULE_CR4, VMCB_ROW_CR4);
    zeros(c, get(c, VMCB_ROW_DR6) & ENTRY_UPPER_HALF, VMRUN_RULE_DR6, VMCB_ROW_DR6);
    zeros(c, get(c, VMCB_ROW_DR7) & ENTRY_UPPER_HALF, VMRUN_RULE_DR7, VMCB_ROW_DR7);
    check_long_mode(c);
    if (get(c, VMCB_ROW_NESTED_CTL) & NP_ENABLE)
        require(c, entry_pat_valid(get(c, VMCB_ROW_G_PAT)), VMRUN_RULE_PAT, VMCB_ROW_G_PAT);
    require(c, !(cr4 & CR4_CET) || (cr0 & CR0_WP), VMRUN_RULE_CET_WP, VMCB_ROW_CR4);
    zeros(c, get(c, VMCB_ROW_S_CET) & S_CET_RESERVED, VMRUN_RULE_S_CET, VMCB_ROW_S_CET);
}

unsigned vmrun_check(const struct abi_vmcs *v, const struct abi_caps *caps,
                     void (*failed)(void *arg, const struct entry_rule_failure *f), void *arg)
{
    struct check c = {.v = v, .caps = caps, .failed = failed, .arg = arg};

    check_controls(&c);
    check_state(&c);
    return c.count;
}

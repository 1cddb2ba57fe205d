/* SDM 3C "VM Entries", section "Checks on the Guest State Area": everything but segments. */
#include "arch/x86/inspect/entry_check_impl.h"
#include "arch/x86/vmx/vmx.h"

#define TABLE_LIMIT_RESERVED 0xffff0000ull
#define UINV_RESERVED        0xff00ull
#define BNDCFGS_RESERVED     0xffcull
#define BNDCFGS_FLAGS        0xfffull
/* LBR, BTF, bus-lock, TR to RTM_DEBUG. */
#define DEBUGCTL_RESERVED    (~0xffc7ull)
#define DEBUGCTL_BTF         (1ull << 1)
#define DEBUGCTL_BUS_LOCK    (1ull << 2)
/* Bits that no CPU has; CPUID leaf 14H can exclude more. */
#define RTIT_CTL_RESERVED    (1ull << 18 | 1ull << 23 | 7ull << 28 | 0x7full << 48 | ~0ull << 57)
#define LBR_CTL_RESERVED     (~0x7f000full)
#define CR3_LAM              (3ull << 61)
#define RFLAGS_RESERVED      (1ull << 3 | 1ull << 5 | 1ull << 15 | ~0ull << 22)
#define PDPTE_PRESENT        1ull
#define PDPTE_RESERVED       0x1e6ull
#define LINK_NONE            UINT64_MAX
#define LINK_SHADOW          (1u << 31)
#define BLOCKING_RESERVED    (~0x1full)
#define PENDING_RESERVED     (0xffull << 4 | 1ull << 13 | 1ull << 15 | ~0ull << 17)
#define VECTOR_DB            1u
#define VECTOR_MC            18u

#define ROW(rule, row, word, kind, gate, mask)                                                     \
    {                                                                                              \
        ENTRY_RULE_##rule, VMCS_ROW_GUEST_##row, WORD_##word, KIND_##kind, gate, mask              \
    }
#define CANONICAL(rule, row)        ROW(rule, row, ALWAYS, CANONICAL, 1, 0)
#define CET(rule, row, kind, mask)  ROW(rule, row, ENTRY, kind, ENTRY_LOAD_CET_STATE, mask)
#define FRED(rule, row, kind, mask) ROW(rule, row, ENTRY, kind, ENTRY_LOAD_IA32_FRED, mask)

static const struct entry_row_check rows[] = {
    ROW(DR7, DR7, ENTRY, ZERO, ENTRY_LOAD_DEBUG_CONTROLS, ENTRY_UPPER_HALF),
    CANONICAL(SYSENTER, IA32_SYSENTER_ESP),
    CANONICAL(SYSENTER, IA32_SYSENTER_EIP),
    ROW(PAT, IA32_PAT, ENTRY, PAT, ENTRY_LOAD_IA32_PAT, 0),
    ROW(EFER_RESERVED, IA32_EFER, ENTRY, ZERO, ENTRY_LOAD_IA32_EFER, EFER_RESERVED),
    ROW(BNDCFGS_RESERVED, IA32_BNDCFGS, ENTRY, ZERO, ENTRY_LOAD_IA32_BNDCFGS, BNDCFGS_RESERVED),
    ROW(BNDCFGS_CANONICAL, IA32_BNDCFGS, ENTRY, CANONICAL, ENTRY_LOAD_IA32_BNDCFGS, BNDCFGS_FLAGS),
    ROW(RTIT_CTL, IA32_RTIT_CTL, ENTRY, ZERO, ENTRY_LOAD_IA32_RTIT_CTL, RTIT_CTL_RESERVED),
    CET(CET_RESERVED, IA32_S_CET, ZERO, S_CET_RESERVED),
    CET(CET_CANONICAL, IA32_S_CET, CANONICAL, 0),
    CET(CET_CANONICAL, IA32_INTERRUPT_SSP_TABLE_ADDR, CANONICAL, 0),
    CET(SSP_ALIGNED, SSP, ZERO, SSP_ALIGN),
    ROW(LBR_CTL, IA32_LBR_CTL, ENTRY, ZERO, ENTRY_LOAD_IA32_LBR_CTL, LBR_CTL_RESERVED),
    ROW(PKRS, IA32_PKRS, ENTRY, ZERO, ENTRY_LOAD_PKRS, ENTRY_UPPER_HALF),
    ROW(UINV, UINV, ENTRY, ZERO, ENTRY_LOAD_UINV, UINV_RESERVED),
    FRED(FRED_CONFIG, IA32_FRED_CONFIG, ZERO, FRED_CONFIG_RESERVED),
    FRED(FRED_RSP, IA32_FRED_RSP1, ZERO, FRED_RSP_ALIGN),
    FRED(FRED_RSP, IA32_FRED_RSP2, ZERO, FRED_RSP_ALIGN),
    FRED(FRED_RSP, IA32_FRED_RSP3, ZERO, FRED_RSP_ALIGN),
    FRED(FRED_SSP, IA32_FRED_SSP1, ZERO, FRED_SSP_ALIGN),
    FRED(FRED_SSP, IA32_FRED_SSP2, ZERO, FRED_SSP_ALIGN),
    FRED(FRED_SSP, IA32_FRED_SSP3, ZERO, FRED_SSP_ALIGN),
    FRED(FRED_CANONICAL, IA32_FRED_CONFIG, CANONICAL, 0),
    FRED(FRED_CANONICAL, IA32_FRED_RSP1, CANONICAL, 0),
    FRED(FRED_CANONICAL, IA32_FRED_RSP2, CANONICAL, 0),
    FRED(FRED_CANONICAL, IA32_FRED_RSP3, CANONICAL, 0),
    FRED(FRED_CANONICAL, IA32_FRED_SSP1, CANONICAL, 0),
    FRED(FRED_CANONICAL, IA32_FRED_SSP2, CANONICAL, 0),
    FRED(FRED_CANONICAL, IA32_FRED_SSP3, CANONICAL, 0),
    CANONICAL(TABLE_BASE, GDTR_BASE),
    CANONICAL(TABLE_BASE, IDTR_BASE),
    ROW(TABLE_LIMIT, GDTR_LIMIT, ALWAYS, ZERO, 1, TABLE_LIMIT_RESERVED),
    ROW(TABLE_LIMIT, IDTR_LIMIT, ALWAYS, ZERO, 1, TABLE_LIMIT_RESERVED),
};

static void check_control_registers(struct entry_ctx *c, bool ia32e)
{
    const struct abi_caps *k = c->caps;
    uint64_t cr0 = entry_get(c, VMCS_ROW_GUEST_CR0), cr4 = entry_get(c, VMCS_ROW_GUEST_CR4);
    uint64_t cr3 = entry_get(c, VMCS_ROW_GUEST_CR3), free = CR0_UNCHECKED;

    if (entry_on(c, WORD_CPU2, CPU2_UNRESTRICTED_GUEST))
        free |= CR0_PE | CR0_PG;
    entry_ones(c, k->cr0_fixed0 & ~cr0 & ~free, ENTRY_RULE_CR0_1, VMCS_ROW_GUEST_CR0);
    entry_zeros(c, cr0 & ~k->cr0_fixed1 & ~CR0_UNCHECKED, ENTRY_RULE_CR0_0, VMCS_ROW_GUEST_CR0);
    if (cr0 & CR0_PG)
        entry_ones(c, ~cr0 & CR0_PE, ENTRY_RULE_CR0_PE, VMCS_ROW_GUEST_CR0);
    entry_ones(c, k->cr4_fixed0 & ~cr4, ENTRY_RULE_CR4_1, VMCS_ROW_GUEST_CR4);
    entry_zeros(c, cr4 & ~k->cr4_fixed1, ENTRY_RULE_CR4_0, VMCS_ROW_GUEST_CR4);
    if (cr4 & CR4_CET)
        entry_ones(c, ~cr0 & CR0_WP, ENTRY_RULE_CET_WP, VMCS_ROW_GUEST_CR0);
    if (ia32e) {
        entry_ones(c, ~cr0 & CR0_PG, ENTRY_RULE_CR0_PG, VMCS_ROW_GUEST_CR0);
        entry_ones(c, ~cr4 & CR4_PAE, ENTRY_RULE_CR4_PAE, VMCS_ROW_GUEST_CR4);
    } else {
        entry_zeros(c, cr4 & CR4_PCIDE, ENTRY_RULE_CR4_PCIDE, VMCS_ROW_GUEST_CR4);
        entry_zeros(c, cr4 & CR4_FRED, ENTRY_RULE_CR4_FRED, VMCS_ROW_GUEST_CR4);
    }
    if (c->cpu->lam)
        cr3 &= ~CR3_LAM;
    entry_zeros(c, cr3 & entry_beyond(c->cpu->physical_bits), ENTRY_RULE_CR3, VMCS_ROW_GUEST_CR3);
}

static void check_msrs(struct entry_ctx *c, bool ia32e)
{
    uint64_t efer = entry_get(c, VMCS_ROW_GUEST_IA32_EFER);
    uint64_t s_cet = entry_get(c, VMCS_ROW_GUEST_IA32_S_CET);
    uint64_t debugctl = entry_get(c, VMCS_ROW_GUEST_IA32_DEBUGCTL);
    bool paging = entry_get(c, VMCS_ROW_GUEST_CR0) & CR0_PG, lma = efer & EFER_LMA;

    if (entry_on(c, WORD_ENTRY, ENTRY_LOAD_DEBUG_CONTROLS))
        entry_zeros(c, debugctl & (DEBUGCTL_RESERVED | (c->cpu->bus_lock ? 0 : DEBUGCTL_BUS_LOCK)),
                    ENTRY_RULE_DEBUGCTL, VMCS_ROW_GUEST_IA32_DEBUGCTL);
    if (entry_on(c, WORD_ENTRY, ENTRY_LOAD_PERF_GLOBAL_CTRL) && c->cpu->perf_global)
        entry_zeros(c, entry_get(c, VMCS_ROW_GUEST_IA32_PERF_GLOBAL_CTRL) & ~c->cpu->perf_global,
                    ENTRY_RULE_PERF, VMCS_ROW_GUEST_IA32_PERF_GLOBAL_CTRL);
    if (entry_on(c, WORD_ENTRY, ENTRY_LOAD_IA32_EFER)) {
        entry_require(c, lma == ia32e, ENTRY_RULE_EFER_LMA, VMCS_ROW_GUEST_IA32_EFER);
        if (paging)
            entry_require(c, !!(efer & EFER_LME) == lma, ENTRY_RULE_EFER_LME,
                          VMCS_ROW_GUEST_IA32_EFER);
    }
    if (entry_on(c, WORD_ENTRY, ENTRY_LOAD_CET_STATE))
        entry_require(c, (s_cet & S_CET_BOTH) != S_CET_BOTH, ENTRY_RULE_CET_TRACKER,
                      VMCS_ROW_GUEST_IA32_S_CET);
}

/* An instruction or shadow-stack pointer: the bits beyond the linear-address width only have to be
 * equal, unlike in a canonical address. */
static void check_pointer(struct entry_ctx *c, unsigned row, bool wide, enum entry_rule_id rule_32,
                          enum entry_rule_id rule_64)
{
    uint64_t v = entry_get(c, row), beyond = entry_beyond(c->cpu->linear_bits);

    if (wide)
        entry_require(c, (v & beyond) == 0 || (v & beyond) == beyond, rule_64, row);
    else
        entry_zeros(c, v & ENTRY_UPPER_HALF, rule_32, row);
}

static void check_rip(struct entry_ctx *c, bool ia32e)
{
    static const unsigned row = VMCS_ROW_GUEST_RFLAGS;
    uint64_t rflags = entry_get(c, row);
    bool protected = entry_get(c, VMCS_ROW_GUEST_CR0) & CR0_PE;
    bool wide = ia32e && entry_get(c, VMCS_ROW_GUEST_CS_ACCESS_RIGHTS) & AR_L;

    check_pointer(c, VMCS_ROW_GUEST_RIP, wide, ENTRY_RULE_RIP_32, ENTRY_RULE_RIP_64);
    if (entry_on(c, WORD_ENTRY, ENTRY_LOAD_CET_STATE))
        check_pointer(c, VMCS_ROW_GUEST_SSP, wide, ENTRY_RULE_SSP_32, ENTRY_RULE_SSP_64);
    entry_zeros(c, rflags & RFLAGS_RESERVED, ENTRY_RULE_RFLAGS_RESERVED, row);
    entry_ones(c, ~rflags & RFLAGS_FIXED, ENTRY_RULE_RFLAGS_FIXED, row);
    if (ia32e || !protected)
        entry_zeros(c, rflags & RFLAGS_VM, ENTRY_RULE_RFLAGS_VM, row);
    if (c->injection && (c->injection & INTR_INFO_TYPE_MASK) == INTR_INFO_EXTERNAL)
        entry_ones(c, ~rflags & RFLAGS_IF, ENTRY_RULE_RFLAGS_IF, row);
}

/* True if the event may be injected into a guest in HLT. */
static bool hlt_takes(uint32_t type, uint32_t vector)
{
    return type == INTR_INFO_EXTERNAL || type == INTR_INFO_NMI ||
           (type == INTR_INFO_HARD_EXCEPTION && (vector == VECTOR_DB || vector == VECTOR_MC)) ||
           (type == INTR_INFO_OTHER_EVENT && vector == 0);
}

static void check_activity(struct entry_ctx *c, uint64_t blocking)
{
    static const unsigned row = VMCS_ROW_GUEST_ACTIVITY_STATE;
    uint64_t state = entry_get(c, row);
    uint32_t type = c->injection & INTR_INFO_TYPE_MASK;
    uint32_t vector = c->injection & INTR_INFO_VECTOR_MASK;

    entry_require(c,
                  state == ACTIVITY_ACTIVE ||
                      (state <= ACTIVITY_WAIT_FOR_SIPI &&
                       c->caps->misc & VMX_MISC_ACTIVITY_HLT << (state - ACTIVITY_HLT)),
                  ENTRY_RULE_ACTIVITY, row);
    if (state == ACTIVITY_HLT)
        entry_require(c, !(entry_get(c, VMCS_ROW_GUEST_SS_ACCESS_RIGHTS) & AR_DPL_MASK),
                      ENTRY_RULE_ACTIVITY_HLT, row);
    if (blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS))
        entry_require(c, state == ACTIVITY_ACTIVE, ENTRY_RULE_ACTIVITY_BLOCKING, row);
    if (entry_on(c, WORD_ENTRY, ENTRY_TO_SMM))
        entry_require(c, state != ACTIVITY_WAIT_FOR_SIPI, ENTRY_RULE_ACTIVITY_SMM, row);
    if (!c->injection)
        return;
    if (state == ACTIVITY_HLT)
        entry_require(c, hlt_takes(type, vector), ENTRY_RULE_ACTIVITY_HLT_EVENT, row);
    if (state == ACTIVITY_SHUTDOWN)
        entry_require(
            c, type == INTR_INFO_NMI || (type == INTR_INFO_HARD_EXCEPTION && vector == VECTOR_MC),
            ENTRY_RULE_ACTIVITY_SHUTDOWN_EVENT, row);
    entry_require(c, state != ACTIVITY_WAIT_FOR_SIPI, ENTRY_RULE_ACTIVITY_SIPI_EVENT, row);
}

static void check_interruptibility(struct entry_ctx *c, uint64_t blocking)
{
    static const unsigned row = VMCS_ROW_GUEST_INTERRUPTIBILITY_STATE;
    uint64_t sti = blocking & BLOCKING_BY_STI, mov_ss = blocking & BLOCKING_BY_MOV_SS;
    uint32_t type = c->injection & INTR_INFO_TYPE_MASK;

    entry_zeros(c, blocking & BLOCKING_RESERVED, ENTRY_RULE_BLOCKING_RESERVED, row);
    entry_require(c, !sti || !mov_ss, ENTRY_RULE_BLOCKING_BOTH, row);
    if (!(entry_get(c, VMCS_ROW_GUEST_RFLAGS) & RFLAGS_IF))
        entry_zeros(c, sti, ENTRY_RULE_BLOCKING_STI_IF, row);
    if (c->injection && type == INTR_INFO_EXTERNAL)
        entry_zeros(c, sti | mov_ss, ENTRY_RULE_BLOCKING_INTERRUPT, row);
    if (c->injection && type == INTR_INFO_NMI) {
        entry_zeros(c, mov_ss, ENTRY_RULE_BLOCKING_NMI_MOV_SS, row);
        entry_zeros(c, sti, ENTRY_RULE_BLOCKING_NMI_STI, row);
        if (entry_on(c, WORD_PIN, PIN_VIRTUAL_NMIS))
            entry_zeros(c, blocking & BLOCKING_BY_NMI, ENTRY_RULE_BLOCKING_VIRTUAL_NMI, row);
    }
    if (!c->cpu->smm)
        entry_zeros(c, blocking & BLOCKING_BY_SMI, ENTRY_RULE_BLOCKING_SMI, row);
    /* Outside of SMM, entry to SMM is refused before this could matter. */
    if (c->cpu->smm && entry_on(c, WORD_ENTRY, ENTRY_TO_SMM))
        entry_ones(c, ~blocking & BLOCKING_BY_SMI, ENTRY_RULE_BLOCKING_SMI_SMM, row);
    if (!c->cpu->sgx || mov_ss)
        entry_zeros(c, blocking & ENCLAVE_INTERRUPTION, ENTRY_RULE_BLOCKING_ENCLAVE, row);
}

static void check_pending_debug(struct entry_ctx *c, uint64_t blocking)
{
    static const unsigned row = VMCS_ROW_GUEST_PENDING_DEBUG_EXCEPTIONS;
    uint64_t pending = entry_get(c, row), bs = pending & PENDING_DEBUG_BS;
    bool single_step = entry_get(c, VMCS_ROW_GUEST_RFLAGS) & RFLAGS_TF &&
                       !(entry_get(c, VMCS_ROW_GUEST_IA32_DEBUGCTL) & DEBUGCTL_BTF);
    bool waits = blocking & (BLOCKING_BY_STI | BLOCKING_BY_MOV_SS) ||
                 entry_get(c, VMCS_ROW_GUEST_ACTIVITY_STATE) == ACTIVITY_HLT;

    entry_zeros(c,
                pending & (PENDING_RESERVED & ~(c->cpu->bus_lock ? PENDING_DEBUG_BUS_LOCK : 0ull)),
                ENTRY_RULE_PENDING_RESERVED, row);
    if (waits && single_step)
        entry_ones(c, bs ^ PENDING_DEBUG_BS, ENTRY_RULE_PENDING_BS_1, row);
    if (waits && !single_step)
        entry_zeros(c, bs, ENTRY_RULE_PENDING_BS_0, row);
    if (!(pending & PENDING_DEBUG_RTM))
        return;
    entry_require(c, pending == (PENDING_DEBUG_RTM | PENDING_DEBUG_ENABLED), ENTRY_RULE_PENDING_RTM,
                  row);
    if (!c->cpu->rtm || blocking & BLOCKING_BY_MOV_SS)
        entry_zeros(c, PENDING_DEBUG_RTM, ENTRY_RULE_PENDING_RTM_CPU, row);
}

static void check_link_pointer(struct entry_ctx *c)
{
    static const unsigned row = VMCS_ROW_VMCS_LINK_POINTER;
    uint64_t link = entry_get(c, row);
    uint64_t reserved = (PAGE_SIZE - 1) | entry_beyond(entry_address_bits(c));
    bool shadowing = entry_on(c, WORD_CPU2, CPU2_VMCS_SHADOWING);

    if (link == LINK_NONE)
        return;
    entry_zeros(c, link & reserved, ENTRY_RULE_LINK_ADDRESS, row);
    if (c->cpu->link_known) {
        uint32_t word = c->cpu->link_word;

        entry_require(c, ((word ^ c->caps->basic) & VMX_BASIC_REVISION_MASK) == 0,
                      ENTRY_RULE_LINK_REVISION, row);
        entry_require(c, !!(word & LINK_SHADOW) == shadowing, ENTRY_RULE_LINK_SHADOW, row);
    }
    if (c->cpu->current_vmcs && (!c->cpu->smm || entry_on(c, WORD_ENTRY, ENTRY_TO_SMM)))
        entry_require(c, link != c->cpu->current_vmcs, ENTRY_RULE_LINK_CURRENT, row);
}

/* Without EPT they are in the guest's memory, at CR3, and not in the VMCS. */
static void check_pdptes(struct entry_ctx *c, bool ia32e)
{
    uint64_t reserved = PDPTE_RESERVED | entry_beyond(c->cpu->physical_bits);

    if (ia32e || !entry_on(c, WORD_CPU2, CPU2_ENABLE_EPT) ||
        !(entry_get(c, VMCS_ROW_GUEST_CR0) & CR0_PG) ||
        !(entry_get(c, VMCS_ROW_GUEST_CR4) & CR4_PAE))
        return;
    for (unsigned row = VMCS_ROW_GUEST_PDPTE0; row <= VMCS_ROW_GUEST_PDPTE3; row++)
        if (entry_get(c, row) & PDPTE_PRESENT)
            entry_zeros(c, entry_get(c, row) & reserved, ENTRY_RULE_PDPTE, row);
}

void entry_check_guest(struct entry_ctx *c)
{
    bool ia32e = entry_on(c, WORD_ENTRY, ENTRY_IA32E_MODE_GUEST);
    uint64_t blocking = entry_get(c, VMCS_ROW_GUEST_INTERRUPTIBILITY_STATE);

    check_control_registers(c, ia32e);
    check_msrs(c, ia32e);
    entry_rows(c, rows, ARRAY_LEN(rows));
    check_rip(c, ia32e);
    check_activity(c, blocking);
    check_interruptibility(c, blocking);
    check_pending_debug(c, blocking);
    check_link_pointer(c);
    check_pdptes(c, ia32e);
}

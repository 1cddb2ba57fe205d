/* SDM 3C "VM Entries", section "Checks on VMX Controls and Host-State Area": the host's state. */
#include "arch/x86/inspect/entry_check_impl.h"
#include "arch/x86/vmx/vmx.h"

#define RPL_TI               7ull

#define CANONICAL(rule, row) ROW(rule, row, ALWAYS, CANONICAL, 1, 0)
#define ROW(rule, row, word, kind, gate, mask)                                                     \
    {                                                                                              \
        ENTRY_RULE_##rule, VMCS_ROW_##row, WORD_##word, KIND_##kind, gate, mask                    \
    }
#define SELECTOR(row)               ROW(HOST_SELECTOR, row, ALWAYS, ZERO, 1, RPL_TI)
#define CET(rule, row, kind, mask)  ROW(rule, row, EXIT, kind, EXITC_LOAD_CET_STATE, mask)
#define FRED(rule, row, kind, mask) ROW(rule, row, EXIT2, kind, EXITC2_LOAD_IA32_FRED, mask)

static const struct entry_row_check rows[] = {
    CANONICAL(HOST_SYSENTER, HOST_IA32_SYSENTER_ESP),
    CANONICAL(HOST_SYSENTER, HOST_IA32_SYSENTER_EIP),
    ROW(HOST_PAT, HOST_IA32_PAT, EXIT, PAT, EXITC_LOAD_IA32_PAT, 0),
    ROW(HOST_EFER_RESERVED, HOST_IA32_EFER, EXIT, ZERO, EXITC_LOAD_IA32_EFER, EFER_RESERVED),
    CET(HOST_CET_RESERVED, HOST_IA32_S_CET, ZERO, S_CET_RESERVED),
    CET(HOST_CET_CANONICAL, HOST_IA32_S_CET, CANONICAL, 0),
    CET(HOST_CET_CANONICAL, HOST_SSP, CANONICAL, 0),
    CET(HOST_CET_CANONICAL, HOST_IA32_INTERRUPT_SSP_TABLE_ADDR, CANONICAL, 0),
    CET(HOST_SSP, HOST_SSP, ZERO, SSP_ALIGN),
    ROW(HOST_PKRS, HOST_IA32_PKRS, EXIT, ZERO, EXITC_LOAD_PKRS, ENTRY_UPPER_HALF),
    FRED(HOST_FRED_CONFIG, HOST_IA32_FRED_CONFIG, ZERO, FRED_CONFIG_RESERVED),
    FRED(HOST_FRED_RSP, HOST_IA32_FRED_RSP1, ZERO, FRED_RSP_ALIGN),
    FRED(HOST_FRED_RSP, HOST_IA32_FRED_RSP2, ZERO, FRED_RSP_ALIGN),
    FRED(HOST_FRED_RSP, HOST_IA32_FRED_RSP3, ZERO, FRED_RSP_ALIGN),
    FRED(HOST_FRED_SSP, HOST_IA32_FRED_SSP1, ZERO, FRED_SSP_ALIGN),
    FRED(HOST_FRED_SSP, HOST_IA32_FRED_SSP2, ZERO, FRED_SSP_ALIGN),
    FRED(HOST_FRED_SSP, HOST_IA32_FRED_SSP3, ZERO, FRED_SSP_ALIGN),
    FRED(HOST_FRED_CANONICAL, HOST_IA32_FRED_CONFIG, CANONICAL, 0),
    FRED(HOST_FRED_CANONICAL, HOST_IA32_FRED_RSP1, CANONICAL, 0),
    FRED(HOST_FRED_CANONICAL, HOST_IA32_FRED_RSP2, CANONICAL, 0),
    FRED(HOST_FRED_CANONICAL, HOST_IA32_FRED_RSP3, CANONICAL, 0),
    FRED(HOST_FRED_CANONICAL, HOST_IA32_FRED_SSP1, CANONICAL, 0),
    FRED(HOST_FRED_CANONICAL, HOST_IA32_FRED_SSP2, CANONICAL, 0),
    FRED(HOST_FRED_CANONICAL, HOST_IA32_FRED_SSP3, CANONICAL, 0),
    SELECTOR(HOST_ES_SELECTOR),
    SELECTOR(HOST_CS_SELECTOR),
    SELECTOR(HOST_SS_SELECTOR),
    SELECTOR(HOST_DS_SELECTOR),
    SELECTOR(HOST_FS_SELECTOR),
    SELECTOR(HOST_GS_SELECTOR),
    SELECTOR(HOST_TR_SELECTOR),
    ROW(HOST_CS, HOST_CS_SELECTOR, ALWAYS, NONZERO, 1, 0),
    ROW(HOST_TR, HOST_TR_SELECTOR, ALWAYS, NONZERO, 1, 0),
    CANONICAL(HOST_BASE, HOST_FS_BASE),
    CANONICAL(HOST_BASE, HOST_GS_BASE),
    CANONICAL(HOST_BASE, HOST_TR_BASE),
    CANONICAL(HOST_BASE, HOST_GDTR_BASE),
    CANONICAL(HOST_BASE, HOST_IDTR_BASE),
};

static const struct entry_implication implications[] = {
    {ENTRY_RULE_HOST_SIZE_GUEST, WORD_ENTRY, WORD_EXIT, true, ENTRY_IA32E_MODE_GUEST,
     EXITC_HOST_ADDRESS_SPACE_SIZE},
};

static void check_registers(struct entry_ctx *c, bool wide)
{
    const struct abi_caps *k = c->caps;
    uint64_t cr0 = entry_get(c, VMCS_ROW_HOST_CR0), cr4 = entry_get(c, VMCS_ROW_HOST_CR4);
    uint64_t efer = entry_get(c, VMCS_ROW_HOST_IA32_EFER);
    uint64_t s_cet = entry_get(c, VMCS_ROW_HOST_IA32_S_CET);

    entry_ones(c, k->cr0_fixed0 & ~cr0 & ~CR0_UNCHECKED, ENTRY_RULE_HOST_CR0_1, VMCS_ROW_HOST_CR0);
    entry_zeros(c, cr0 & ~k->cr0_fixed1 & ~CR0_UNCHECKED, ENTRY_RULE_HOST_CR0_0, VMCS_ROW_HOST_CR0);
    entry_ones(c, k->cr4_fixed0 & ~cr4, ENTRY_RULE_HOST_CR4_1, VMCS_ROW_HOST_CR4);
    entry_zeros(c, cr4 & ~k->cr4_fixed1, ENTRY_RULE_HOST_CR4_0, VMCS_ROW_HOST_CR4);
    if (cr4 & CR4_CET)
        entry_ones(c, ~cr0 & CR0_WP, ENTRY_RULE_HOST_CET_WP, VMCS_ROW_HOST_CR0);
    entry_zeros(c, entry_get(c, VMCS_ROW_HOST_CR3) & entry_beyond(c->cpu->physical_bits),
                ENTRY_RULE_HOST_CR3, VMCS_ROW_HOST_CR3);
    if (entry_on(c, WORD_EXIT, EXITC_LOAD_PERF_GLOBAL_CTRL) && c->cpu->perf_global)
        entry_zeros(c, entry_get(c, VMCS_ROW_HOST_IA32_PERF_GLOBAL_CTRL) & ~c->cpu->perf_global,
                    ENTRY_RULE_HOST_PERF, VMCS_ROW_HOST_IA32_PERF_GLOBAL_CTRL);
    if (entry_on(c, WORD_EXIT, EXITC_LOAD_IA32_EFER)) {
        entry_require(c, !!(efer & EFER_LMA) == wide, ENTRY_RULE_HOST_EFER_LMA,
                      VMCS_ROW_HOST_IA32_EFER);
        entry_require(c, !!(efer & EFER_LME) == wide, ENTRY_RULE_HOST_EFER_LME,
                      VMCS_ROW_HOST_IA32_EFER);
    }
    if (entry_on(c, WORD_EXIT, EXITC_LOAD_CET_STATE))
        entry_require(c, (s_cet & S_CET_BOTH) != S_CET_BOTH, ENTRY_RULE_HOST_CET_TRACKER,
                      VMCS_ROW_HOST_IA32_S_CET);
}

/* An exit to 32-bit mode: everything must fit in 32 bits. */
static void check_narrow(struct entry_ctx *c)
{
    uint64_t cr4 = entry_get(c, VMCS_ROW_HOST_CR4);

    entry_require(c, entry_get(c, VMCS_ROW_HOST_SS_SELECTOR) != 0, ENTRY_RULE_HOST_SS,
                  VMCS_ROW_HOST_SS_SELECTOR);
    entry_zeros(c, cr4 & CR4_PCIDE, ENTRY_RULE_HOST_SIZE_PCIDE, VMCS_ROW_HOST_CR4);
    entry_zeros(c, cr4 & CR4_FRED, ENTRY_RULE_HOST_SIZE_FRED, VMCS_ROW_HOST_CR4);
    entry_zeros(c, entry_get(c, VMCS_ROW_HOST_RIP) & ENTRY_UPPER_HALF, ENTRY_RULE_HOST_SIZE_RIP,
                VMCS_ROW_HOST_RIP);
    if (!entry_on(c, WORD_EXIT, EXITC_LOAD_CET_STATE))
        return;
    entry_zeros(c, entry_get(c, VMCS_ROW_HOST_IA32_S_CET) & ENTRY_UPPER_HALF,
                ENTRY_RULE_HOST_SIZE_CET, VMCS_ROW_HOST_IA32_S_CET);
    entry_zeros(c, entry_get(c, VMCS_ROW_HOST_SSP) & ENTRY_UPPER_HALF, ENTRY_RULE_HOST_SIZE_CET,
                VMCS_ROW_HOST_SSP);
}

void entry_check_host(struct entry_ctx *c)
{
    static const unsigned exit_row = VMCS_ROW_PRIMARY_VM_EXIT_CONTROLS;
    uint64_t size = c->word[WORD_EXIT] & EXITC_HOST_ADDRESS_SPACE_SIZE;

    check_registers(c, size != 0);
    entry_rows(c, rows, ARRAY_LEN(rows));
    if (c->cpu->ia32e)
        entry_ones(c, size ^ EXITC_HOST_ADDRESS_SPACE_SIZE, ENTRY_RULE_HOST_SIZE_1, exit_row);
    else
        entry_zeros(c, size, ENTRY_RULE_HOST_SIZE_0, exit_row);
    entry_implications(c, implications, ARRAY_LEN(implications));
    if (!size) {
        check_narrow(c);
        return;
    }
    entry_ones(c, ~entry_get(c, VMCS_ROW_HOST_CR4) & CR4_PAE, ENTRY_RULE_HOST_SIZE_PAE,
               VMCS_ROW_HOST_CR4);
    entry_require(c, entry_canonical(c, entry_get(c, VMCS_ROW_HOST_RIP)), ENTRY_RULE_HOST_RIP,
                  VMCS_ROW_HOST_RIP);
}

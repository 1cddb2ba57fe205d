#include "arch/x86/inspect/decode_vmcb.h"
#include "arch/x86/inspect/decode_vmcb_impl.h"

#include "arch/x86/inspect/fields.h"
#include "arch/x86/inspect/vmcb_fields.h"
#include "hv/fmt.h"
#include "hv/lib.h"

/* The rest of the control area, and the save area. APM 2 appendix B "Layout of VMCB". */

static const char *const tlb_controls[] = {
    [0] = "VMRUN flushes nothing",
    [1] = "VMRUN flushes the whole TLB, of all ASIDs, global translations too",
    [3] = "VMRUN flushes the translations of this ASID",
    [7] = "VMRUN flushes the translations of this ASID that are not global",
};
static const struct decode_bit tlb_bits[] = {
    BITS_ONE_OF(7, 0, "TLB_CONTROL", "TLB control", tlb_controls, .either = true),
};

static const struct decode_bit v_intr_bits[] = {
    BITS(7, 0, "V_TPR", "virtual TPR"),
    BIT(8, "V_IRQ", "virtual interrupt", "none is pending", "a virtual interrupt is pending"),
    BIT(9, "V_GIF", "virtual GIF", "virtual interrupts are masked",
        "virtual interrupts are not masked"),
    BIT(11, "V_NMI_PENDING", "virtual NMI", "none is pending", "a virtual NMI is pending"),
    BIT(12, "V_NMI_MASK", "virtual NMI mask", "virtual NMIs are not masked",
        "virtual NMIs are masked"),
    BITS(19, 16, "V_INTR_PRIO", "priority"),
    BIT(20, "V_IGN_TPR", "ignore TPR", "the virtual TPR counts", "the virtual TPR is ignored"),
    BIT(24, "V_INTR_MASKING", "virtual interrupt masking",
        "RFLAGS.IF of the guest masks physical interrupts too",
        "RFLAGS.IF of the guest masks virtual interrupts; that of the host masks physical ones"),
    BIT(25, "V_GIF_ENABLE", "enable virtual GIF", "STGI and CLGI change the GIF",
        "STGI and CLGI of the guest change the virtual GIF"),
    BIT(26, "V_NMI_ENABLE", "enable virtual NMI", "NMIs are injected by EVENTINJ",
        "the CPU delivers virtual NMIs"),
    BIT(30, "X2AVIC_ENABLE", "enable x2AVIC", "no x2APIC mode of AVIC", "x2APIC mode of AVIC"),
    BIT(31, "AVIC_ENABLE", "enable AVIC", "the CPU emulates no local APIC",
        "the CPU emulates the local APIC"),
    BITS(39, 32, "V_INTR_VECTOR", "vector"),
};
static const struct decode_bit shadow_bits[] = {
    BIT(0, "INTERRUPT_SHADOW", "interrupt shadow", "no",
        "interrupts wait for one instruction (STI, MOV SS and POP SS are not told apart)"),
    BIT(1, "GUEST_INTERRUPT_MASK", "guest's interrupt flag", "RFLAGS.IF was 0 (SEV-ES)",
        "RFLAGS.IF was 1 (SEV-ES)"),
};
static const struct decode_bit nested_bits[] = {
    BIT(0, "NP_ENABLE", "nested paging", "guest-physical addresses are host-physical addresses",
        "nested tables translate guest-physical addresses"),
    BIT(1, "SEV_ENABLE", "SEV", "the guest's memory is not encrypted",
        "the guest's memory is encrypted"),
    BIT(2, "SEV_ES_ENABLE", "SEV-ES", "the guest's state is in the VMCB",
        "the guest's state is in an encrypted save area"),
    BIT(3, "GMET_ENABLE", "guest mode execute trap", "off",
        "supervisor mode may not execute pages that nested tables give to user mode"),
    BIT(4, "SSS_CHECK_ENABLE", "supervisor shadow stack check", "off", "on"),
    BIT(5, "VIRTUAL_TRANSPARENT_ENCRYPTION", "virtual transparent encryption", "off", "on"),
    BIT(6, "READ_ONLY_GUEST_PAGE_TABLES", "read-only guest page tables", "off", "on"),
    BIT(7, "INVLPGB_ENABLE", "INVLPGB and TLBSYNC", "they cause #UD in the guest",
        "the guest may execute them"),
};
static const struct decode_bit extension_bits[] = {
    BIT(0, "LBR_VIRTUALIZATION_ENABLE", "LBR virtualization",
        "branch records are shared with the host",
        "VMRUN and exits switch branch records and DBGCTL"),
    BIT(1, "VIRTUALIZED_VMLOAD_VMSAVE", "virtualized VMLOAD and VMSAVE", "off", "on"),
    BIT(2, "IBS_VIRTUALIZATION_ENABLE", "IBS virtualization", "off", "on"),
    BIT(3, "PMC_VIRTUALIZATION_ENABLE", "PMC virtualization", "off", "on"),
};
#define CLEAN(n, NAME, WHAT) BIT(n, NAME, WHAT, WHAT ": read from memory", WHAT ": may be cached")
static const struct decode_bit clean_bits[] = {
    CLEAN(0, "I", "intercepts, TSC offset, PAUSE filter"),
    CLEAN(1, "IOPM", "permission maps"),
    CLEAN(2, "ASID", "ASID"),
    CLEAN(3, "TPR", "V_INTR"),
    CLEAN(4, "NP", "nested paging, G_PAT"),
    CLEAN(5, "CRX", "CR0, CR3, CR4, EFER"),
    CLEAN(6, "DRX", "DR6, DR7"),
    CLEAN(7, "DT", "GDTR, IDTR"),
    CLEAN(8, "SEG", "CS, DS, SS, ES, CPL"),
    CLEAN(9, "CR2", "CR2"),
    CLEAN(10, "LBR", "DBGCTL and branch records"),
    CLEAN(11, "AVIC", "AVIC"),
    CLEAN(12, "CET", "shadow stacks"),
};

static const struct decode_bit attrib_bits[] = {
    BITS_SAY(3, 0, "TYPE", "type", decode_say_segment_type),
    BIT(4, "S", "code or data", "system segment", "code or data segment"),
    BITS(6, 5, "DPL", "DPL"),
    BIT(7, "P", "present", "not present", "present"),
    BIT(8, "AVL", "AVL", "for system software: 0", "for system software: 1"),
    BIT(9, "L", "64-bit", "no 64-bit code segment", "64-bit code segment"),
    BIT(10, "DB", "32-bit", "16-bit segment (or 64-bit)", "32-bit segment"),
    BIT(11, "G", "4-KByte granularity", "the limit counts bytes", "the limit counts 4-KByte pages"),
};
static const struct decode_bit efer_bits[] = {
    BIT(0, "SCE", "SYSCALL enable", "SYSCALL and SYSRET cause #UD", "SYSCALL and SYSRET work"),
    BIT(8, "LME", "long mode enable", "paging will not activate long mode",
        "paging activates long mode"),
    BIT(10, "LMA", "long mode active", "long mode is not active", "long mode is active"),
    BIT(11, "NXE", "no-execute enable", "bit 63 of page-table entries is reserved",
        "bit 63 of page-table entries forbids execution"),
    BIT(12, "SVME", "SVM enable", "VMRUN would be refused", "SVM is on, as VMRUN demands"),
    BIT(13, "LMSLE", "long mode segment limit enable", "no segment limits in 64-bit mode",
        "data segments have limits in 64-bit mode"),
    BIT(14, "FFXSR", "fast FXSAVE/FXRSTOR", "FXSAVE saves XMM registers always",
        "FXSAVE leaves out XMM registers at CPL 0 of 64-bit mode"),
    BIT(15, "TCE", "translation cache extension", "INVLPG drops all upper-level entries",
        "INVLPG drops only entries for its address"),
    BIT(17, "MCOMMIT", "MCOMMIT enable", "MCOMMIT causes #UD", "MCOMMIT works"),
    BIT(18, "INTWB", "interruptible WBINVD", "WBINVD cannot be interrupted",
        "WBINVD can be interrupted"),
    BIT(20, "UAIE", "upper address ignore", "bits 63:57 of addresses count",
        "bits 63:57 of addresses are ignored"),
    BIT(21, "AIBRSE", "automatic IBRS", "off", "on"),
};
static const struct decode_bit dbgctl_bits[] = {
    BIT(0, "LBR", "last branch records", "branches are not recorded", "branches are recorded"),
    BIT(1, "BTF", "single-step on branches", "RFLAGS.TF steps instructions",
        "RFLAGS.TF steps branches"),
    BITS(5, 2, "PB", "performance monitor pins"),
    BIT(6, "BLCKDB", "bus lock trap", "bus locks cause no #DB", "bus locks cause #DB above CPL 0"),
    BIT(11, "FLBRI", "freeze LBRs on PMI", "no", "yes"),
    BIT(12, "FPCI", "freeze counters on PMI", "no", "yes"),
};
static const struct decode_bit dr6_bits[] = {
    BIT(0, "B0", "breakpoint 0", "not met", "met"),
    BIT(1, "B1", "breakpoint 1", "not met", "met"),
    BIT(2, "B2", "breakpoint 2", "not met", "met"),
    BIT(3, "B3", "breakpoint 3", "not met", "met"),
    BIT(13, "BD", "debug register access", "no", "MOV DR with general detect enabled"),
    BIT(14, "BS", "single step", "no", "single step"),
    BIT(15, "BT", "task switch", "no", "switch to a task with the T bit"),
};
static const struct decode_bit cpl_bits[] = {BITS(7, 0, "CPL", "privilege level")};

static const char *say_asid(const struct decode_say *s)
{
    return s->value ? "tags the guest's cached translations" : "the host's own: VMRUN refuses it";
}
static const struct decode_bit asid_bits[] = {BITS_SAY(31, 0, "ASID", "ASID", say_asid)};

#define FLAGS(name, ...)                                                                           \
    static const struct decode_format name = DECODE_FORMAT(name##_bits, __VA_ARGS__)
FLAGS(tlb, .prose = true);
FLAGS(v_intr, .prose = true);
FLAGS(shadow, .ones = 0);
FLAGS(nested, .ones = 0);
FLAGS(extension, .ones = 0);
FLAGS(clean, .ones = 0);
FLAGS(attrib, .prose = true);
FLAGS(efer, .ones = 0);
FLAGS(dbgctl, .ones = 0);
FLAGS(dr6, .ones = 0xffff0ff0);
FLAGS(cpl, .prose = true);
FLAGS(asid, .prose = true);

static const struct {
    uint16_t row;
    uint16_t like; /* the VMCS field with the same format, if `format` is NULL */
    const struct decode_format *format;
} rows[] = {
    {VMCB_ROW_TSC_OFFSET, VMCS_TSC_OFFSET, NULL},
    {VMCB_ROW_GUEST_ASID, 0, &asid},
    {VMCB_ROW_TLB_CONTROL, 0, &tlb},
    {VMCB_ROW_V_INTR, 0, &v_intr},
    {VMCB_ROW_INTERRUPT_SHADOW, 0, &shadow},
    {VMCB_ROW_NESTED_CTL, 0, &nested},
    {VMCB_ROW_N_CR3, VMCS_HOST_CR3, NULL},
    {VMCB_ROW_VIRT_EXT, 0, &extension},
    {VMCB_ROW_VMCB_CLEAN, 0, &clean},
    {VMCB_ROW_ES_SELECTOR, VMCS_GUEST_ES_SELECTOR, NULL},
    {VMCB_ROW_CS_SELECTOR, VMCS_GUEST_CS_SELECTOR, NULL},
    {VMCB_ROW_SS_SELECTOR, VMCS_GUEST_SS_SELECTOR, NULL},
    {VMCB_ROW_DS_SELECTOR, VMCS_GUEST_DS_SELECTOR, NULL},
    {VMCB_ROW_FS_SELECTOR, VMCS_GUEST_FS_SELECTOR, NULL},
    {VMCB_ROW_GS_SELECTOR, VMCS_GUEST_GS_SELECTOR, NULL},
    {VMCB_ROW_LDTR_SELECTOR, VMCS_GUEST_LDTR_SELECTOR, NULL},
    {VMCB_ROW_TR_SELECTOR, VMCS_GUEST_TR_SELECTOR, NULL},
    {VMCB_ROW_ES_ATTRIB, 0, &attrib},
    {VMCB_ROW_CS_ATTRIB, 0, &attrib},
    {VMCB_ROW_SS_ATTRIB, 0, &attrib},
    {VMCB_ROW_DS_ATTRIB, 0, &attrib},
    {VMCB_ROW_FS_ATTRIB, 0, &attrib},
    {VMCB_ROW_GS_ATTRIB, 0, &attrib},
    {VMCB_ROW_LDTR_ATTRIB, 0, &attrib},
    {VMCB_ROW_TR_ATTRIB, 0, &attrib},
    {VMCB_ROW_CPL, 0, &cpl},
    {VMCB_ROW_EFER, 0, &efer},
    {VMCB_ROW_CR4, VMCS_GUEST_CR4, NULL},
    {VMCB_ROW_CR3, VMCS_GUEST_CR3, NULL},
    {VMCB_ROW_CR0, VMCS_GUEST_CR0, NULL},
    {VMCB_ROW_DR7, VMCS_GUEST_DR7, NULL},
    {VMCB_ROW_DR6, 0, &dr6},
    {VMCB_ROW_RFLAGS, VMCS_GUEST_RFLAGS, NULL},
    {VMCB_ROW_S_CET, VMCS_GUEST_IA32_S_CET, NULL},
    {VMCB_ROW_SYSENTER_CS, VMCS_GUEST_IA32_SYSENTER_CS, NULL},
    {VMCB_ROW_G_PAT, VMCS_GUEST_IA32_PAT, NULL},
    {VMCB_ROW_DBGCTL, 0, &dbgctl},
    {VMCB_ROW_SPEC_CTRL, VMCS_IA32_SPEC_CTRL_SHADOW, NULL},
};

const struct decode_format *decode_vmcb_state(unsigned row, struct vmcb_context *c)
{
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++)
        if (rows[i].row == row)
            return rows[i].format ? rows[i].format : decode_find(rows[i].like, &c->decode);
    return NULL;
}

/* ---- CPUID ---- */

#define FEATURE(n, NAME, TITLE) BIT(n, NAME, TITLE, "not there", "there")
static const struct decode_bit feature_bits[] = {
    FEATURE(0, "NP", "nested paging"),
    FEATURE(1, "LBR_VIRT", "LBR virtualization"),
    FEATURE(2, "SVML", "SVM lock"),
    FEATURE(3, "NRIPS", "next RIP at exits"),
    FEATURE(4, "TSC_RATE_MSR", "TSC ratio"),
    FEATURE(5, "VMCB_CLEAN", "VMCB clean bits"),
    FEATURE(6, "FLUSH_BY_ASID", "flush by ASID"),
    FEATURE(7, "DECODE_ASSISTS", "decode assists"),
    FEATURE(8, "PMC_VIRT", "PMC virtualization"),
    FEATURE(10, "PAUSE_FILTER", "PAUSE filter"),
    FEATURE(12, "PAUSE_FILTER_THRESHOLD", "PAUSE filter threshold"),
    FEATURE(13, "AVIC", "AVIC"),
    FEATURE(15, "VMSAVE_VIRT", "virtualized VMLOAD and VMSAVE"),
    FEATURE(16, "VGIF", "virtual GIF"),
    FEATURE(17, "GMET", "guest mode execute trap"),
    FEATURE(18, "X2AVIC", "x2AVIC"),
    FEATURE(19, "SSS_CHECK", "supervisor shadow stack check"),
    FEATURE(20, "SPEC_CTRL", "SPEC_CTRL virtualization"),
    FEATURE(21, "ROGPT", "read-only guest page tables"),
    FEATURE(23, "HOST_MCE_OVERRIDE", "host machine checks override the guest's"),
    FEATURE(24, "TLBI_CTL", "INVLPGB and TLBSYNC for guests"),
    FEATURE(25, "VNMI", "virtual NMI"),
    FEATURE(26, "IBS_VIRT", "IBS virtualization"),
    FEATURE(27, "EXT_LVT_AVIC_ACCESS_CHG", "extended LVT with AVIC"),
    FEATURE(28, "NESTED_VIRT_VMCB_ADDR_CHK", "check of nested VMCB addresses"),
    FEATURE(29, "BUS_LOCK_THRESHOLD", "bus lock threshold"),
    FEATURE(30, "IDLE_HLT_INTERCEPT", "intercept of idle HLT"),
    FEATURE(31, "ENHANCED_SHUTDOWN_INTERCEPT", "enhanced intercept of shutdown"),
};
static const struct decode_format features = DECODE_FORMAT(feature_bits, .ones = 0);

unsigned svm_features_decode(uint64_t edx, decode_emit emit, void *arg)
{
    static const struct decode_context none;

    return decode_format(&features, edx, &none, emit, arg);
}

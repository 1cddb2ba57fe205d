#include "arch/x86/inspect/decode.h"

#include "arch/x86/inspect/decode_format.h"
#include "arch/x86/inspect/fields.h"
#include "hv/lib.h"

/* SDM 3C "VM-Execution Control Fields", "VM-Exit Control Fields", "VM-Entry Control Fields". */

static const struct decode_bit pin[] = {
    BIT(0, "EXTERNAL_INTERRUPT_EXITING", "External-interrupt exiting",
        "external interrupts go through the guest's IDT", "external interrupts exit"),
    BIT(3, "NMI_EXITING", "NMI exiting", "NMIs go through the guest's IDT", "NMIs exit"),
    BIT(5, "VIRTUAL_NMIS", "Virtual NMIs", "IRET of the guest unblocks NMIs",
        "NMIs are never blocked; blocking by NMI means virtual NMIs"),
    BIT(6, "ACTIVATE_VMX_PREEMPTION_TIMER", "Activate VMX-preemption timer",
        "the VMX-preemption timer does not count",
        "the VMX-preemption timer counts down in the guest and exits at 0"),
    BIT(7, "PROCESS_POSTED_INTERRUPTS", "Process posted interrupts",
        "the notification vector is an interrupt like any other",
        "an interrupt with the notification vector updates the virtual APIC"),
};

static const struct decode_bit primary[] = {
    BIT(2, "INTERRUPT_WINDOW_EXITING", "Interrupt-window exiting", "no exit at an interrupt window",
        "exit as soon as RFLAGS.IF is 1 and nothing blocks interrupts"),
    BIT(3, "USE_TSC_OFFSETTING", "Use TSC offsetting", "the guest reads the TSC as it is",
        "the guest reads the TSC plus the TSC offset"),
    BIT(7, "HLT_EXITING", "HLT exiting", "HLT does not exit", "HLT exits"),
    BIT(9, "INVLPG_EXITING", "INVLPG exiting", "INVLPG does not exit", "INVLPG exits"),
    BIT(10, "MWAIT_EXITING", "MWAIT exiting", "MWAIT does not exit", "MWAIT exits"),
    BIT(11, "RDPMC_EXITING", "RDPMC exiting", "RDPMC does not exit", "RDPMC exits"),
    BIT(12, "RDTSC_EXITING", "RDTSC exiting", "RDTSC and RDTSCP do not exit",
        "RDTSC and RDTSCP exit"),
    BIT(15, "CR3_LOAD_EXITING", "CR3-load exiting", "MOV to CR3 does not exit",
        "MOV to CR3 exits, except for the CR3-target values"),
    BIT(16, "CR3_STORE_EXITING", "CR3-store exiting", "MOV from CR3 does not exit",
        "MOV from CR3 exits"),
    BIT(17, "ACTIVATE_TERTIARY_CONTROLS", "Activate tertiary controls",
        "all tertiary controls count as 0", "the tertiary controls are used"),
    BIT(19, "CR8_LOAD_EXITING", "CR8-load exiting", "MOV to CR8 does not exit", "MOV to CR8 exits"),
    BIT(20, "CR8_STORE_EXITING", "CR8-store exiting", "MOV from CR8 does not exit",
        "MOV from CR8 exits"),
    BIT(21, "USE_TPR_SHADOW", "Use TPR shadow", "CR8 is the TPR of the real APIC",
        "CR8 is the TPR of the virtual-APIC page"),
    BIT(22, "NMI_WINDOW_EXITING", "NMI-window exiting", "no exit at an NMI window",
        "exit as soon as nothing blocks virtual NMIs"),
    BIT(23, "MOV_DR_EXITING", "MOV-DR exiting", "MOV DR does not exit", "MOV DR exits"),
    BIT(24, "UNCONDITIONAL_IO_EXITING", "Unconditional I/O exiting",
        "I/O instructions do not exit (unless I/O bitmaps are used)",
        "all I/O instructions exit (unless I/O bitmaps are used)"),
    BIT(25, "USE_IO_BITMAPS", "Use I/O bitmaps",
        "no bitmap is asked: unconditional I/O exiting decides for *all* ports",
        "the I/O bitmaps decide port by port; unconditional I/O exiting is ignored"),
    BIT(27, "MONITOR_TRAP_FLAG", "Monitor trap flag", "no exit after each instruction",
        "exit after each instruction"),
    BIT(28, "USE_MSR_BITMAPS", "Use MSR bitmaps", "*all* RDMSR and WRMSR exit",
        "the MSR bitmaps decide MSR by MSR"),
    BIT(29, "MONITOR_EXITING", "MONITOR exiting", "MONITOR does not exit", "MONITOR exits"),
    BIT(30, "PAUSE_EXITING", "PAUSE exiting", "PAUSE does not exit (unless PAUSE-loop exiting)",
        "PAUSE exits"),
    BIT(31, "ACTIVATE_SECONDARY_CONTROLS", "Activate secondary controls",
        "all secondary controls count as 0", "the secondary controls are used"),
};

static const struct decode_bit secondary[] = {
    BIT(0, "VIRTUALIZE_APIC_ACCESSES", "Virtualize APIC accesses",
        "the APIC-access page is memory like any other",
        "accesses to the APIC-access page are virtualized or exit"),
    BIT(1, "ENABLE_EPT", "Enable EPT", "guest-physical addresses are host-physical addresses",
        "EPT translates guest-physical addresses"),
    BIT(2, "DESCRIPTOR_TABLE_EXITING", "Descriptor-table exiting",
        "LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT and STR do not exit",
        "LGDT, LIDT, LLDT, LTR, SGDT, SIDT, SLDT and STR exit"),
    BIT(3, "ENABLE_RDTSCP", "Enable RDTSCP", "RDTSCP causes #UD",
        "RDTSCP works as the other controls say"),
    BIT(4, "VIRTUALIZE_X2APIC_MODE", "Virtualize x2APIC mode",
        "RDMSR and WRMSR of 800H-8FFH are not virtualized",
        "RDMSR and WRMSR of x2APIC MSRs reach the virtual-APIC page"),
    BIT(5, "ENABLE_VPID", "Enable VPID", "VM entries and exits flush linear mappings",
        "cached translations are tagged with the VPID and stay"),
    BIT(6, "WBINVD_EXITING", "WBINVD exiting", "WBINVD and WBNOINVD do not exit",
        "WBINVD and WBNOINVD exit"),
    BIT(7, "UNRESTRICTED_GUEST", "Unrestricted guest", "the guest needs CR0.PE and CR0.PG",
        "the guest may run without paging and in real mode"),
    BIT(8, "APIC_REGISTER_VIRTUALIZATION", "APIC-register virtualization",
        "most reads of APIC registers exit",
        "reads of APIC registers come from the virtual-APIC page; writes exit after they are made"),
    BIT(9, "VIRTUAL_INTERRUPT_DELIVERY", "Virtual-interrupt delivery",
        "the CPU does not evaluate virtual interrupts",
        "the CPU delivers virtual interrupts and emulates the registers for it"),
    BIT(10, "PAUSE_LOOP_EXITING", "PAUSE-loop exiting", "loops of PAUSE do not exit",
        "a loop of PAUSE at CPL 0 exits, as PLE_gap and PLE_window say"),
    BIT(11, "RDRAND_EXITING", "RDRAND exiting", "RDRAND does not exit", "RDRAND exits"),
    BIT(12, "ENABLE_INVPCID", "Enable INVPCID", "INVPCID causes #UD",
        "INVPCID works, and exits if INVLPG exits"),
    BIT(13, "ENABLE_VM_FUNCTIONS", "Enable VM functions", "VMFUNC causes #UD",
        "VMFUNC works as the VM-function controls say, or exits"),
    BIT(14, "VMCS_SHADOWING", "VMCS shadowing", "VMREAD and VMWRITE exit",
        "VMREAD and VMWRITE may reach a shadow VMCS, as their bitmaps say"),
    BIT(15, "ENABLE_ENCLS_EXITING", "Enable ENCLS exiting", "ENCLS does not exit",
        "the ENCLS-exiting bitmap decides leaf by leaf"),
    BIT(16, "RDSEED_EXITING", "RDSEED exiting", "RDSEED does not exit", "RDSEED exits"),
    BIT(17, "ENABLE_PML", "Enable PML", "writes are not logged",
        "a write that sets an EPT dirty flag is logged in the page-modification log"),
    BIT(18, "EPT_VIOLATION_VE", "EPT-violation #VE", "every EPT violation exits",
        "EPT violations that the EPT entry marks cause #VE in the guest"),
    BIT(19, "CONCEAL_VMX_FROM_PT", "Conceal VMX from PT",
        "Intel PT shows that the processor is in VMX non-root operation",
        "Intel PT does not show VMX non-root operation"),
    BIT(20, "ENABLE_XSAVES_XRSTORS", "Enable XSAVES/XRSTORS", "XSAVES and XRSTORS cause #UD",
        "XSAVES and XRSTORS work, and exit as the XSS-exiting bitmap says"),
    BIT(21, "PASID_TRANSLATION", "PASID translation", "ENQCMD and ENQCMDS use the guest's PASID",
        "PASIDs of ENQCMD and ENQCMDS are translated"),
    BIT(22, "MODE_BASED_EXECUTE_CONTROL_FOR_EPT", "Mode-based execute control for EPT",
        "one EPT bit allows execution in every mode",
        "EPT has an execute bit for supervisor-mode and one for user-mode addresses"),
    BIT(23, "SUB_PAGE_WRITE_PERMISSIONS_FOR_EPT", "Sub-page write permissions for EPT",
        "write permission is per page", "write permission may be per 128 bytes"),
    BIT(24, "INTEL_PT_USES_GUEST_PHYSICAL_ADDRESSES", "Intel PT uses guest physical addresses",
        "output addresses of Intel PT are host-physical",
        "output addresses of Intel PT are guest-physical and go through EPT"),
    BIT(25, "USE_TSC_SCALING", "Use TSC scaling", "the TSC runs at its own rate in the guest",
        "the guest reads the TSC times the TSC multiplier"),
    BIT(26, "ENABLE_USER_WAIT_AND_PAUSE", "Enable user wait and pause",
        "TPAUSE, UMONITOR and UMWAIT cause #UD", "TPAUSE, UMONITOR and UMWAIT work"),
    BIT(27, "ENABLE_PCONFIG", "Enable PCONFIG", "PCONFIG causes #UD",
        "PCONFIG works, and exits as the PCONFIG-exiting bitmap says"),
    BIT(28, "ENABLE_ENCLV_EXITING", "Enable ENCLV exiting", "ENCLV does not exit",
        "the ENCLV-exiting bitmap decides leaf by leaf"),
    BIT(30, "VMM_BUS_LOCK_DETECTION", "VMM bus-lock detection", "bus locks do not exit",
        "exit after a bus lock"),
    BIT(31, "INSTRUCTION_TIMEOUT", "Instruction timeout",
        "an instruction may go without an interrupt boundary for any time",
        "exit when there is no interrupt boundary for the time in the instruction-timeout control"),
};

static const struct decode_bit tertiary[] = {
    BIT(0, "LOADIWKEY_EXITING", "LOADIWKEY exiting", "LOADIWKEY does not exit", "LOADIWKEY exits"),
    BIT(1, "ENABLE_HLAT", "Enable HLAT", "linear addresses are translated from CR3",
        "linear addresses with the HLAT prefix are translated from the HLAT pointer"),
    BIT(2, "EPT_PAGING_WRITE_CONTROL", "EPT paging-write control",
        "accessed and dirty flags of guest paging need EPT write permission",
        "EPT's paging-write bit allows accessed and dirty flags to be set on read-only pages"),
    BIT(3, "GUEST_PAGING_VERIFICATION", "Guest-paging verification",
        "EPT does not ask how a page was reached",
        "EPT's verify bit asks that a page be reached by paging-write pages only"),
    BIT(4, "IPI_VIRTUALIZATION", "IPI virtualization", "a write of the ICR exits",
        "the CPU posts interrupts that the guest sends to other vCPUs"),
    BIT(6, "ENABLE_MSR_LIST_INSTRUCTIONS", "Enable MSR-list instructions",
        "RDMSRLIST and WRMSRLIST cause #UD", "RDMSRLIST and WRMSRLIST work"),
    BIT(7, "VIRTUALIZE_IA32_SPEC_CTRL", "Virtualize IA32_SPEC_CTRL",
        "the guest reads and writes IA32_SPEC_CTRL itself",
        "the guest reads and writes a shadow; bits in the mask stay the host's"),
};

static const struct decode_bit vm_exit[] = {
    BIT(2, "SAVE_DEBUG_CONTROLS", "Save debug controls",
        "DR7 and IA32_DEBUGCTL of the guest are not saved at VM exit",
        "DR7 and IA32_DEBUGCTL of the guest are saved at VM exit"),
    BIT(9, "HOST_ADDRESS_SPACE_SIZE", "Host address-space size",
        "the host runs outside of 64-bit mode after VM exit",
        "the host runs in 64-bit mode after VM exit"),
    BIT(12, "LOAD_IA32_PERF_GLOBAL_CTRL", "Load IA32_PERF_GLOBAL_CTRL",
        "IA32_PERF_GLOBAL_CTRL stays the guest's at VM exit",
        "IA32_PERF_GLOBAL_CTRL of the host is loaded at VM exit"),
    BIT(15, "ACKNOWLEDGE_INTERRUPT_ON_EXIT", "Acknowledge interrupt on exit",
        "an external interrupt that exits stays pending; its vector is not known",
        "an external interrupt that exits is acknowledged; its vector is saved"),
    BIT(18, "SAVE_IA32_PAT", "Save IA32_PAT", "IA32_PAT of the guest is not saved at VM exit",
        "IA32_PAT of the guest is saved at VM exit"),
    BIT(19, "LOAD_IA32_PAT", "Load IA32_PAT", "IA32_PAT stays the guest's at VM exit",
        "IA32_PAT of the host is loaded at VM exit"),
    BIT(20, "SAVE_IA32_EFER", "Save IA32_EFER", "IA32_EFER of the guest is not saved at VM exit",
        "IA32_EFER of the guest is saved at VM exit"),
    BIT(21, "LOAD_IA32_EFER", "Load IA32_EFER",
        "IA32_EFER stays the guest's at VM exit, but for LMA and LME",
        "IA32_EFER of the host is loaded at VM exit"),
    BIT(22, "SAVE_VMX_PREEMPTION_TIMER_VALUE", "Save VMX-preemption timer value",
        "the timer starts from the same value at each VM entry",
        "what is left of the VMX-preemption timer is saved at VM exit"),
    BIT(23, "CLEAR_IA32_BNDCFGS", "Clear IA32_BNDCFGS", "IA32_BNDCFGS stays as it is at VM exit",
        "IA32_BNDCFGS is cleared at VM exit"),
    BIT(24, "CONCEAL_VMX_FROM_PT", "Conceal VMX from PT", "Intel PT shows VM exits",
        "Intel PT does not show VM exits"),
    BIT(25, "CLEAR_IA32_RTIT_CTL", "Clear IA32_RTIT_CTL", "IA32_RTIT_CTL stays as it is at VM exit",
        "IA32_RTIT_CTL is cleared at VM exit"),
    BIT(26, "CLEAR_IA32_LBR_CTL", "Clear IA32_LBR_CTL", "IA32_LBR_CTL stays as it is at VM exit",
        "IA32_LBR_CTL is cleared at VM exit"),
    BIT(27, "CLEAR_UINV", "Clear UINV", "UINV stays as it is at VM exit",
        "UINV is cleared at VM exit"),
    BIT(28, "LOAD_CET_STATE", "Load CET state", "CET state stays the guest's at VM exit",
        "CET state of the host is loaded at VM exit"),
    BIT(29, "LOAD_PKRS", "Load PKRS", "IA32_PKRS stays the guest's at VM exit",
        "IA32_PKRS of the host is loaded at VM exit"),
    BIT(30, "SAVE_IA32_PERF_GLOBAL_CTRL", "Save IA32_PERF_GLOBAL_CTRL",
        "IA32_PERF_GLOBAL_CTRL of the guest is not saved at VM exit",
        "IA32_PERF_GLOBAL_CTRL of the guest is saved at VM exit"),
    BIT(31, "ACTIVATE_SECONDARY_CONTROLS", "Activate secondary controls",
        "all secondary VM-exit controls count as 0", "the secondary VM-exit controls are used"),
};

static const struct decode_bit vm_exit_secondary[] = {
    BIT(0, "SAVE_IA32_FRED", "Save IA32 FRED", "FRED MSRs of the guest are not saved at VM exit",
        "FRED MSRs of the guest are saved at VM exit"),
    BIT(1, "LOAD_IA32_FRED", "Load IA32 FRED", "FRED MSRs stay the guest's at VM exit",
        "FRED MSRs of the host are loaded at VM exit"),
    BIT(3, "PREMATURELY_BUSY_SHADOW_STACK", "Prematurely busy shadow stack",
        "a shadow stack made busy too early by an event that exits is not reported",
        "the exit reason says when an event that exits made a shadow stack busy too early"),
};

static const struct decode_bit vm_entry[] = {
    BIT(2, "LOAD_DEBUG_CONTROLS", "Load debug controls",
        "DR7 and IA32_DEBUGCTL stay the host's at VM entry",
        "DR7 and IA32_DEBUGCTL of the guest are loaded at VM entry"),
    BIT(9, "IA_32E_MODE_GUEST", "IA-32e mode guest", "the guest is not in IA-32e mode",
        "the guest is in IA-32e mode"),
    BIT(10, "ENTRY_TO_SMM", "Entry to SMM", "the guest is not in SMM after VM entry",
        "the guest is in SMM after VM entry"),
    BIT(11, "DEACTIVATE_DUAL_MONITOR_TREATMENT", "Deactivate dual-monitor treatment",
        "the treatment of SMIs stays as it is", "SMIs have their default treatment after VM entry"),
    BIT(13, "LOAD_IA32_PERF_GLOBAL_CTRL", "Load IA32_PERF_GLOBAL_CTRL",
        "IA32_PERF_GLOBAL_CTRL stays the host's at VM entry",
        "IA32_PERF_GLOBAL_CTRL of the guest is loaded at VM entry"),
    BIT(14, "LOAD_IA32_PAT", "Load IA32_PAT", "IA32_PAT stays the host's at VM entry",
        "IA32_PAT of the guest is loaded at VM entry"),
    BIT(15, "LOAD_IA32_EFER", "Load IA32_EFER",
        "IA32_EFER stays the host's at VM entry, but for LMA and LME",
        "IA32_EFER of the guest is loaded at VM entry"),
    BIT(16, "LOAD_IA32_BNDCFGS", "Load IA32_BNDCFGS", "IA32_BNDCFGS stays as it is at VM entry",
        "IA32_BNDCFGS of the guest is loaded at VM entry"),
    BIT(17, "CONCEAL_VMX_FROM_PT", "Conceal VMX from PT", "Intel PT shows VM entries",
        "Intel PT does not show VM entries"),
    BIT(18, "LOAD_IA32_RTIT_CTL", "Load IA32_RTIT_CTL", "IA32_RTIT_CTL stays as it is at VM entry",
        "IA32_RTIT_CTL of the guest is loaded at VM entry"),
    BIT(19, "LOAD_UINV", "Load UINV", "UINV stays as it is at VM entry",
        "UINV of the guest is loaded at VM entry"),
    BIT(20, "LOAD_CET_STATE", "Load CET state", "CET state stays the host's at VM entry",
        "CET state of the guest is loaded at VM entry"),
    BIT(21, "LOAD_GUEST_IA32_LBR_CTL", "Load guest IA32_LBR_CTL",
        "IA32_LBR_CTL stays as it is at VM entry",
        "IA32_LBR_CTL of the guest is loaded at VM entry"),
    BIT(22, "LOAD_PKRS", "Load PKRS", "IA32_PKRS stays the host's at VM entry",
        "IA32_PKRS of the guest is loaded at VM entry"),
    BIT(23, "LOAD_IA32_FRED", "Load IA32 FRED", "FRED MSRs stay the host's at VM entry",
        "FRED MSRs of the guest are loaded at VM entry"),
};

static const struct decode_bit vm_functions[] = {
    BIT(0, "EPTP_SWITCHING", "EPTP switching", "VMFUNC 0 exits",
        "VMFUNC 0 changes the EPTP to one of the EPTP list, without an exit"),
};

/* The default1 class: SDM 3D appendix A "Reserved Controls and Default Settings". */
#define PIN_DEFAULT1     0x00000016u
#define PRIMARY_DEFAULT1 0x0401e172u
#define EXIT_DEFAULT1    0x00036dffu
#define ENTRY_DEFAULT1   0x000011ffu

static const struct control_word {
    uint16_t encoding;
    uint16_t msr, true_msr;
    bool wide; /* 64 bits; no half of the MSR says what must be 1 */
    struct decode_format format;
} words[] = {
    {VMCS_PIN_BASED_CONTROLS, 0x481, 0x48d, false, DECODE_FORMAT(pin, .ones = PIN_DEFAULT1)},
    {VMCS_PRIMARY_PROCESSOR_CONTROLS, 0x482, 0x48e, false,
     DECODE_FORMAT(primary, .ones = PRIMARY_DEFAULT1)},
    {VMCS_SECONDARY_PROCESSOR_CONTROLS, 0x48b, 0x48b, false, DECODE_FORMAT(secondary, .ones = 0)},
    {VMCS_TERTIARY_PROCESSOR_CONTROLS, 0x492, 0x492, true, DECODE_FORMAT(tertiary, .ones = 0)},
    {VMCS_PRIMARY_VM_EXIT_CONTROLS, 0x483, 0x48f, false,
     DECODE_FORMAT(vm_exit, .ones = EXIT_DEFAULT1)},
    {VMCS_SECONDARY_VM_EXIT_CONTROLS, 0x493, 0x493, true,
     DECODE_FORMAT(vm_exit_secondary, .ones = 0)},
    {VMCS_VM_ENTRY_CONTROLS, 0x484, 0x490, false, DECODE_FORMAT(vm_entry, .ones = ENTRY_DEFAULT1)},
    {VMCS_VM_FUNCTION_CONTROLS, 0x491, 0x491, true, DECODE_FORMAT(vm_functions, .ones = 0)},
};

static const struct control_word *find(uint32_t encoding)
{
    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        if (words[i].encoding == encoding)
            return &words[i];
    return NULL;
}

const struct decode_format *decode_controls(uint32_t encoding)
{
    const struct control_word *w = find(encoding);

    return w ? &w->format : NULL;
}

uint32_t decode_controls_of_msr(uint32_t msr)
{
    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        if (words[i].msr == msr || words[i].true_msr == msr)
            return words[i].encoding;
    return DECODE_NO_FIELD;
}

const struct decode_bit *vmcs_control_bits(uint32_t encoding, unsigned *count)
{
    const struct control_word *w = find(encoding);

    *count = w ? w->format.count : 0;
    return w ? w->format.bits : NULL;
}

/* Maps "IA-32e mode guest", IA_32E_MODE_GUEST and ia_32e_mode_guest to the same text. */
static char plain(char c)
{
    if (c == ' ' || c == '-' || c == '/')
        return '_';
    return c >= 'a' && c <= 'z' ? (char)(c - 'a' + 'A') : c;
}

bool decode_same_name(const char *a, const char *b)
{
    for (; *a && plain(*a) == plain(*b); a++)
        b++;
    return plain(*a) == plain(*b);
}

const struct decode_bit *vmcs_control_bit_by_name(uint32_t encoding, const char *name)
{
    const struct control_word *w = find(encoding);

    for (unsigned i = 0; w && i < w->format.count; i++)
        if (decode_same_name(w->format.bits[i].name, name) ||
            decode_same_name(w->format.bits[i].title, name))
            return &w->format.bits[i];
    return NULL;
}

uint64_t vmcs_control_default1(uint32_t encoding)
{
    const struct control_word *w = find(encoding);

    return w ? w->format.ones : 0;
}

uint32_t vmcs_control_msr(uint32_t encoding, bool true_controls)
{
    const struct control_word *w = find(encoding);

    if (!w)
        return 0;
    return true_controls ? w->true_msr : w->msr;
}

bool vmcs_control_is_wide(uint32_t encoding)
{
    const struct control_word *w = find(encoding);

    return w && w->wide;
}

struct control_provenance vmcs_control_provenance(uint32_t encoding, const struct decode_bit *bit,
                                                  uint64_t wanted, uint64_t capability,
                                                  uint64_t effective)
{
    const struct control_word *w = find(encoding);
    uint64_t must = w && w->wide ? 0 : capability & UINT32_MAX;
    uint64_t may = w && w->wide ? capability : capability >> 32;

    return (struct control_provenance){
        .bit = bit,
        .wanted = wanted >> bit->low & 1,
        .forced0 = !(may >> bit->low & 1),
        .forced1 = must >> bit->low & 1,
        .effective = effective >> bit->low & 1,
    };
}

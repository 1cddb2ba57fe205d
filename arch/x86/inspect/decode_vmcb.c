#include "arch/x86/inspect/decode_vmcb.h"

#include "arch/x86/inspect/decode_vmcb_impl.h"
#include "arch/x86/inspect/decode_fields.h"
#include "hv/lib.h"

/* The intercept vectors at the beginning of the control area, and how a row finds its format. APM 2
 * "Intercept Operation", "Instruction Intercepts". */

#define EXIT(n, NAME, WHAT)      BIT(n, NAME, WHAT, WHAT ": no exit", WHAT ": exit")
#define EXIT_CR(n)               EXIT(n, "CR" #n "_READ", "read of CR" #n)
#define EXIT_CR_WRITE(n, bit)    EXIT(bit, "CR" #n "_WRITE", "write of CR" #n)
#define EXIT_DR(n)               EXIT(n, "DR" #n "_READ", "read of DR" #n)
#define EXIT_DR_WRITE(n, bit)    EXIT(bit, "DR" #n "_WRITE", "write of DR" #n)
#define EXIT_BEHIND_CR(n, bit)   EXIT(bit, "CR" #n "_WRITE_TRAP", "behind a write of CR" #n)
#define EXCEPTION(n, NAME, WHAT) BIT(n, NAME, WHAT, "goes through the guest's IDT", "exits")

static const struct decode_bit cr[] = {
    EXIT_CR(0),
    EXIT_CR(1),
    EXIT_CR(2),
    EXIT_CR(3),
    EXIT_CR(4),
    EXIT_CR(5),
    EXIT_CR(6),
    EXIT_CR(7),
    EXIT_CR(8),
    EXIT_CR(9),
    EXIT_CR(10),
    EXIT_CR(11),
    EXIT_CR(12),
    EXIT_CR(13),
    EXIT_CR(14),
    EXIT_CR(15),
    EXIT_CR_WRITE(0, 16),
    EXIT_CR_WRITE(1, 17),
    EXIT_CR_WRITE(2, 18),
    EXIT_CR_WRITE(3, 19),
    EXIT_CR_WRITE(4, 20),
    EXIT_CR_WRITE(5, 21),
    EXIT_CR_WRITE(6, 22),
    EXIT_CR_WRITE(7, 23),
    EXIT_CR_WRITE(8, 24),
    EXIT_CR_WRITE(9, 25),
    EXIT_CR_WRITE(10, 26),
    EXIT_CR_WRITE(11, 27),
    EXIT_CR_WRITE(12, 28),
    EXIT_CR_WRITE(13, 29),
    EXIT_CR_WRITE(14, 30),
    EXIT_CR_WRITE(15, 31),
};

static const struct decode_bit dr[] = {
    EXIT_DR(0),
    EXIT_DR(1),
    EXIT_DR(2),
    EXIT_DR(3),
    EXIT_DR(4),
    EXIT_DR(5),
    EXIT_DR(6),
    EXIT_DR(7),
    EXIT_DR(8),
    EXIT_DR(9),
    EXIT_DR(10),
    EXIT_DR(11),
    EXIT_DR(12),
    EXIT_DR(13),
    EXIT_DR(14),
    EXIT_DR(15),
    EXIT_DR_WRITE(0, 16),
    EXIT_DR_WRITE(1, 17),
    EXIT_DR_WRITE(2, 18),
    EXIT_DR_WRITE(3, 19),
    EXIT_DR_WRITE(4, 20),
    EXIT_DR_WRITE(5, 21),
    EXIT_DR_WRITE(6, 22),
    EXIT_DR_WRITE(7, 23),
    EXIT_DR_WRITE(8, 24),
    EXIT_DR_WRITE(9, 25),
    EXIT_DR_WRITE(10, 26),
    EXIT_DR_WRITE(11, 27),
    EXIT_DR_WRITE(12, 28),
    EXIT_DR_WRITE(13, 29),
    EXIT_DR_WRITE(14, 30),
    EXIT_DR_WRITE(15, 31),
};

static const struct decode_bit exceptions[] = {
    EXCEPTION(0, "DE", "#DE divide error"),
    EXCEPTION(1, "DB", "#DB debug"),
    EXCEPTION(2, "VECTOR_2", "vector 2 (not an exception: the NMI intercept decides)"),
    EXCEPTION(3, "BP", "#BP breakpoint"),
    EXCEPTION(4, "OF", "#OF overflow"),
    EXCEPTION(5, "BR", "#BR bound range"),
    EXCEPTION(6, "UD", "#UD invalid opcode"),
    EXCEPTION(7, "NM", "#NM device not available"),
    EXCEPTION(8, "DF", "#DF double fault"),
    EXCEPTION(9, "VECTOR_9", "coprocessor segment overrun"),
    EXCEPTION(10, "TS", "#TS invalid TSS"),
    EXCEPTION(11, "NP", "#NP segment not present"),
    EXCEPTION(12, "SS", "#SS stack"),
    EXCEPTION(13, "GP", "#GP general protection"),
    EXCEPTION(14, "PF", "#PF page fault"),
    EXCEPTION(15, "VECTOR_15", "vector 15"),
    EXCEPTION(16, "MF", "#MF x87 floating-point exception"),
    EXCEPTION(17, "AC", "#AC alignment check"),
    EXCEPTION(18, "MC", "#MC machine check"),
    EXCEPTION(19, "XF", "#XF SIMD floating-point exception"),
    EXCEPTION(20, "VECTOR_20", "vector 20"),
    EXCEPTION(21, "CP", "#CP control protection"),
    EXCEPTION(22, "VECTOR_22", "vector 22"),
    EXCEPTION(23, "VECTOR_23", "vector 23"),
    EXCEPTION(24, "VECTOR_24", "vector 24"),
    EXCEPTION(25, "VECTOR_25", "vector 25"),
    EXCEPTION(26, "VECTOR_26", "vector 26"),
    EXCEPTION(27, "VECTOR_27", "vector 27"),
    EXCEPTION(28, "HV", "#HV hypervisor injection"),
    EXCEPTION(29, "VC", "#VC VMM communication"),
    EXCEPTION(30, "SX", "#SX security"),
    EXCEPTION(31, "VECTOR_31", "vector 31"),
};

static const struct decode_bit misc1[] = {
    BIT(0, "INTR", "physical interrupts", "interrupts go through the guest's IDT",
        "physical interrupts exit"),
    BIT(1, "NMI", "physical NMIs", "NMIs go through the guest's IDT", "NMIs exit"),
    BIT(2, "SMI", "physical SMIs", "SMIs enter SMM from the guest", "SMIs exit"),
    BIT(3, "INIT", "physical INITs", "INITs reset the processor from the guest", "INITs exit"),
    BIT(4, "VINTR", "virtual interrupts", "the guest takes virtual interrupts",
        "exit when the guest is about to take a virtual interrupt: an interrupt window"),
    EXIT(5, "CR0_SEL_WRITE", "write that changes bits of CR0 other than TS and MP"),
    EXIT(6, "IDTR_READ", "SIDT"),
    EXIT(7, "GDTR_READ", "SGDT"),
    EXIT(8, "LDTR_READ", "SLDT"),
    EXIT(9, "TR_READ", "STR"),
    EXIT(10, "IDTR_WRITE", "LIDT"),
    EXIT(11, "GDTR_WRITE", "LGDT"),
    EXIT(12, "LDTR_WRITE", "LLDT"),
    EXIT(13, "TR_WRITE", "LTR"),
    EXIT(14, "RDTSC", "RDTSC"),
    EXIT(15, "RDPMC", "RDPMC"),
    EXIT(16, "PUSHF", "PUSHF"),
    EXIT(17, "POPF", "POPF"),
    EXIT(18, "CPUID", "CPUID"),
    EXIT(19, "RSM", "RSM"),
    EXIT(20, "IRET", "IRET"),
    EXIT(21, "INTN", "INT n"),
    EXIT(22, "INVD", "INVD"),
    EXIT(23, "PAUSE", "PAUSE"),
    EXIT(24, "HLT", "HLT"),
    EXIT(25, "INVLPG", "INVLPG"),
    EXIT(26, "INVLPGA", "INVLPGA"),
    BIT(27, "IOIO_PROT", "I/O permission map", "no access of an I/O port exits",
        "the I/O permission map decides port by port"),
    BIT(28, "MSR_PROT", "MSR permission map", "no access of an MSR exits",
        "the MSR permission map decides MSR by MSR"),
    EXIT(29, "TASK_SWITCH", "task switch"),
    BIT(30, "FERR_FREEZE", "legacy x87 errors", "the processor freezes until an interrupt",
        "exit when the processor would freeze for a legacy x87 error"),
    BIT(31, "SHUTDOWN", "shutdown", "a triple fault shuts the processor down",
        "shutdown, as after a triple fault, exits"),
};

static const struct decode_bit misc2[] = {
    EXIT(0, "VMRUN", "VMRUN"),
    EXIT(1, "VMMCALL", "VMMCALL"),
    EXIT(2, "VMLOAD", "VMLOAD"),
    EXIT(3, "VMSAVE", "VMSAVE"),
    EXIT(4, "STGI", "STGI"),
    EXIT(5, "CLGI", "CLGI"),
    EXIT(6, "SKINIT", "SKINIT"),
    EXIT(7, "RDTSCP", "RDTSCP"),
    EXIT(8, "ICEBP", "INT1 (ICEBP)"),
    EXIT(9, "WBINVD", "WBINVD and WBNOINVD"),
    EXIT(10, "MONITOR", "MONITOR and MONITORX"),
    EXIT(11, "MWAIT", "MWAIT and MWAITX"),
    EXIT(12, "MWAIT_CONDITIONAL", "MWAIT and MWAITX with armed monitor hardware"),
    EXIT(13, "XSETBV", "XSETBV"),
    EXIT(14, "RDPRU", "RDPRU"),
    EXIT(15, "EFER_WRITE_TRAP", "behind a write of EFER"),
    EXIT_BEHIND_CR(0, 16),
    EXIT_BEHIND_CR(1, 17),
    EXIT_BEHIND_CR(2, 18),
    EXIT_BEHIND_CR(3, 19),
    EXIT_BEHIND_CR(4, 20),
    EXIT_BEHIND_CR(5, 21),
    EXIT_BEHIND_CR(6, 22),
    EXIT_BEHIND_CR(7, 23),
    EXIT_BEHIND_CR(8, 24),
    EXIT_BEHIND_CR(9, 25),
    EXIT_BEHIND_CR(10, 26),
    EXIT_BEHIND_CR(11, 27),
    EXIT_BEHIND_CR(12, 28),
    EXIT_BEHIND_CR(13, 29),
    EXIT_BEHIND_CR(14, 30),
    EXIT_BEHIND_CR(15, 31),
};

static const struct decode_bit misc3[] = {
    EXIT(0, "INVLPGB", "INVLPGB"),
    EXIT(1, "INVLPGB_ILLEGAL", "INVLPGB that the guest may not execute"),
    EXIT(2, "INVPCID", "INVPCID"),
    EXIT(3, "MCOMMIT", "MCOMMIT"),
    EXIT(4, "TLBSYNC", "TLBSYNC"),
    BIT(5, "BUSLOCK", "bus locks", "bus locks do not exit",
        "a bus lock exits when the bus lock counter is 0"),
    EXIT(6, "IDLE_HLT", "HLT without a pending virtual interrupt"),
};

static const struct {
    unsigned row;
    struct decode_format format;
} intercepts[ABI_SVM_CONTROLS] = {
    [ABI_SVM_INTERCEPT_CR] = {VMCB_ROW_INTERCEPT_CR, DECODE_FORMAT(cr, .ones = 0)},
    [ABI_SVM_INTERCEPT_DR] = {VMCB_ROW_INTERCEPT_DR, DECODE_FORMAT(dr, .ones = 0)},
    [ABI_SVM_INTERCEPT_EXCEPTIONS] = {VMCB_ROW_INTERCEPT_EXCEPTIONS,
                                      DECODE_FORMAT(exceptions, .ones = 0)},
    [ABI_SVM_INTERCEPT_MISC1] = {VMCB_ROW_INTERCEPT_MISC1, DECODE_FORMAT(misc1, .ones = 0)},
    [ABI_SVM_INTERCEPT_MISC2] = {VMCB_ROW_INTERCEPT_MISC2, DECODE_FORMAT(misc2, .ones = 0)},
    [ABI_SVM_INTERCEPT_MISC3] = {VMCB_ROW_INTERCEPT_MISC3, DECODE_FORMAT(misc3, .ones = 0)},
};

int vmcb_intercept_control(unsigned row)
{
    for (int i = 0; i < ABI_SVM_CONTROLS; i++)
        if (intercepts[i].row == row)
            return i;
    return -1;
}

const struct decode_bit *vmcb_intercept_bits(unsigned row, unsigned *count)
{
    int control = vmcb_intercept_control(row);

    *count = control < 0 ? 0 : intercepts[control].format.count;
    return control < 0 ? NULL : intercepts[control].format.bits;
}

const struct decode_bit *vmcb_intercept_by_name(unsigned row, const char *name)
{
    unsigned count;
    const struct decode_bit *bits = vmcb_intercept_bits(row, &count);

    for (unsigned i = 0; i < count; i++)
        if (decode_same_name(bits[i].name, name))
            return &bits[i];
    return NULL;
}

/* ---- all fields ---- */

static uint64_t value_of(const struct abi_vmcs *all, unsigned row)
{
    return all && vmcs_has(all, row) ? all->value[row] : 0;
}

static struct vmcb_context context_of(const struct abi_vmcs *all)
{
    return (struct vmcb_context){
        .known = all && vmcs_has(all, VMCB_ROW_EXITCODE),
        .exit_code = (uint32_t)value_of(all, VMCB_ROW_EXITCODE),
        .decode = {.guest_cr4 = value_of(all, VMCB_ROW_CR4)},
    };
}

static const struct decode_format *find(unsigned row, struct vmcb_context *c)
{
    int control = vmcb_intercept_control(row);
    const struct decode_format *f;

    if (control >= 0)
        return &intercepts[control].format;
    f = decode_vmcb_exit(row, c);
    return f ? f : decode_vmcb_state(row, c);
}

unsigned vmcb_decode(unsigned row, uint64_t value, const struct abi_vmcs *all, decode_emit emit,
                     void *arg)
{
    struct vmcb_context c = context_of(all);
    const struct decode_format *f = find(row, &c);

    return f ? decode_format(f, value, &c.decode, emit, arg) : 0;
}

size_t vmcb_decode_line(unsigned row, uint64_t value, const struct abi_vmcs *all, char *text,
                        size_t size)
{
    struct vmcb_context c = context_of(all);
    const struct decode_format *f = find(row, &c);

    if (size > 0)
        text[0] = 0;
    return f ? decode_format_line(f, value, &c.decode, text, size) : 0;
}

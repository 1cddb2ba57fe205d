/* Writes to control registers that touch bits the root owns. SDM 3A "Control Registers", "Paging".
 */
#include "arch/x86/guest/vcpu_state.h"

#define PDPTES          4u
#define PDPTE_P         1ull
/* Bits 2:1 and 8:5, and what lies above the CPU's physical addresses. */
#define PDPTE_RESERVED  0x1e6ull
#define CR3_PCID        0xfffull
#define CR3_NO_FLUSH    (1ull << 63) /* with CR4.PCIDE */
#define CR8_RESERVED    (~0xfull)
#define RIGHTS_TYPE     0xfu
#define RIGHTS_TSS_BUSY 0xbu

#define CR0_DEFINED                                                                                \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |     \
     CR0_PG)
/* CR0 and CR4 bits whose change invalidates translations. */
#define CR0_TLB    (CR0_PG | CR0_WP | CR0_PE)
/* Those whose change loads PAE's four entries, as one of CD, NW and PG in CR0 does: SDM 3A "PDPTE
 * Registers". */
#define CR4_PDPTES (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)
#define CR4_TLB    (CR4_PGE | CR4_PSE | CR4_PAE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)

/* SDM 3A "PDPTE Registers". False: one that is present has reserved bits, or nothing is there. */
static bool load_pdptes(struct vcpu *v)
{
    uint64_t entries[PDPTES], reserved = PDPTE_RESERVED | ~((1ull << x86_physical_width(v)) - 1);
    uint64_t at = vcpu_get_cr3(v) & 0xffffffe0ull;

    if (gmem_read(&v->guest->mem, gpa(at), entries, sizeof(entries)))
        return false;
    for (unsigned i = 0; i < PDPTES; i++)
        if ((entries[i] & PDPTE_P) && (entries[i] & reserved))
            return false;
    vcpu_set_pdptes(v, entries);
    return true;
}

static bool code_is_64bit(const struct vcpu *v)
{
    return vcpu_get_cs_rights(v) & SEGMENT_RIGHTS_L;
}

/* SDM 3A "Initializing IA-32e Mode": paging with EFER.LME is long mode. False: #GP. */
static bool enter_long_mode(struct vcpu *v, uint64_t efer)
{
    if (!(vcpu_get_cr4(v) & CR4_PAE) || code_is_64bit(v))
        return false;
    /* VM entry requires a 64-bit TSS here, which the CPU does not use until the guest loads its
     * own. */
    vcpu_set_tr_rights(v, (vcpu_get_tr_rights(v) & ~RIGHTS_TYPE) | RIGHTS_TSS_BUSY);
    vcpu_set_efer(v, efer | EFER_LMA);
    return true;
}

static bool leave_long_mode(struct vcpu *v, uint64_t efer)
{
    if (code_is_64bit(v) || (vcpu_get_cr4(v) & CR4_PCIDE))
        return false;
    vcpu_set_efer(v, efer & ~EFER_LMA);
    return true;
}

static bool paging_is_pae(const struct vcpu *v, uint64_t cr0, uint64_t cr4)
{
    return (cr0 & CR0_PG) && (cr4 & CR4_PAE) && !(vcpu_get_efer(v) & EFER_LMA);
}

/* Only a write that changes CD, NW or NE exits; it may also change paging. */
static enum exit_action write_cr0_guest(struct vcpu *v, uint64_t value)
{
    uint64_t old = vcpu_get_cr0(v), efer = vcpu_get_efer(v);
    uint64_t real, shown = vcpu_shown_cr0(v);

    if ((value >> 32) || ((value & CR0_PG) && !(value & CR0_PE)) ||
        ((value & CR0_NW) && !(value & CR0_CD)))
        return x86_raise_gp(v);
    value = (value & CR0_DEFINED) | CR0_ET;
    if ((value & ~old) & CR0_PG) {
        if ((efer & EFER_LME) && !enter_long_mode(v, efer))
            return x86_raise_gp(v);
    } else if ((old & ~value) & CR0_PG) {
        if ((efer & EFER_LMA) && !leave_long_mode(v, efer))
            return x86_raise_gp(v);
    }
    if ((((value ^ shown) & (CR0_CD | CR0_NW)) || ((value ^ old) & CR0_PG)) &&
        paging_is_pae(v, value, vcpu_get_cr4(v)) && !load_pdptes(v))
        return x86_raise_gp(v);
    /* The caches stay on regardless: the guest's memory is always write-back. */
    real = (value & ~(CR0_CD | CR0_NW)) | CR0_NE;
    vcpu_show_cr0(v, value);
    vcpu_set_cr0(v, real);
    if ((old ^ real) & CR0_TLB)
        vcpu_flush_tlb(v);
    return EXIT_SKIP;
}

/* Only a write that changes a bit the guest does not own exits. */
static enum exit_action write_cr4_guest(struct vcpu *v, uint64_t value)
{
    uint64_t old = vcpu_get_cr4(v), owned = vcpu_owned_cr4(v);
    uint64_t may = ~owned | CR4_DE | (x86_xcr0_allowed() ? CR4_OSXSAVE : 0);
    bool long_mode = vcpu_get_efer(v) & EFER_LMA;
    uint64_t real = (value & may) | (old & owned & ~(CR4_OSXSAVE | CR4_DE));

    /* A bit that CPUID does not show to the guest, or that this CPU lacks. */
    if ((value & ~may) || (value & ~vcpu_known_cr4(v)))
        return x86_raise_gp(v);
    if (long_mode && !(value & CR4_PAE))
        return x86_raise_gp(v);
    if ((value & ~old & CR4_PCIDE) && (!long_mode || (vcpu_get_cr3(v) & CR3_PCID)))
        return x86_raise_gp(v);
    vcpu_set_cr4(v, real);
    if (((old ^ real) & CR4_PDPTES) && paging_is_pae(v, vcpu_get_cr0(v), value) &&
        !load_pdptes(v)) {
        vcpu_set_cr4(v, old);
        return x86_raise_gp(v);
    }
    vcpu_show_cr4(v, value);
    cpuid_policy_osxsave(&vcpu_x86(v)->cpuid, value & CR4_OSXSAVE);
    vcpu_watch_ends(v, value & CR4_DE);
    if ((old ^ real) & CR4_TLB)
        vcpu_flush_tlb(v);
    return EXIT_SKIP;
}

bool x86_load_cr3(struct vcpu *v, uint32_t value)
{
    uint64_t old = vcpu_get_cr3(v);

    vcpu_set_cr3(v, value);
    if (paging_is_pae(v, vcpu_get_cr0(v), vcpu_get_cr4(v)) && !load_pdptes(v)) {
        vcpu_set_cr3(v, old);
        return false;
    }
    vcpu_flush_tlb(v);
    return true;
}

/* Exits only if a CR3 control was changed: the guest owns CR3. SDM 3A "Control Registers". */
static enum exit_action write_cr3_guest(struct vcpu *v, uint64_t value)
{
    bool long_mode = vcpu_get_efer(v) & EFER_LMA;
    uint64_t cr4 = vcpu_get_cr4(v);

    if (!long_mode)
        return x86_load_cr3(v, (uint32_t)value) ? EXIT_SKIP : x86_raise_gp(v);
    if (value & ~(cr4 & CR4_PCIDE ? CR3_NO_FLUSH : 0) & ~((1ull << x86_physical_width(v)) - 1))
        return x86_raise_gp(v);
    vcpu_set_cr3(v, value & ~CR3_NO_FLUSH);
    if (!(cr4 & CR4_PCIDE) || !(value & CR3_NO_FLUSH))
        vcpu_flush_tlb(v);
    return EXIT_SKIP;
}

enum exit_action x86_write_cr(struct vcpu *v, unsigned cr, uint64_t value)
{
    switch (cr) {
    case 0:
        return write_cr0_guest(v, value);
    case 3:
        return write_cr3_guest(v, value);
    case 4:
        return write_cr4_guest(v, value);
    default:
        return value & CR8_RESERVED ? x86_raise_gp(v) : x86_set_cr8(v, value);
    }
}

enum exit_action x86_read_cr(struct vcpu *v, unsigned cr, unsigned reg)
{
    uint64_t cr3;

    if (cr == 8) {
        x86_write_gpr(v, reg, x86_get_cr8(v));
        return EXIT_SKIP;
    }
    cr3 = vcpu_get_cr3(v);
    x86_write_gpr(v, reg, vcpu_get_efer(v) & EFER_LMA ? cr3 : (uint32_t)cr3);
    return EXIT_SKIP;
}

/* Writes to control registers that reach bits which the root owns. SDM 3A "Control Registers",
 * SDM 3C "Guest/Host Masks and Read Shadows for CR0 and CR4". */
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"

#define CR_NUMBER_MASK    0xfu
#define CR_TYPE_SHIFT     4
#define CR_TYPE_MASK      3u
#define CR_REGISTER_SHIFT 8
#define CR_MOV_TO         0u
#define CR_MOV_FROM       1u

#define REGISTER_RSP      4u
#define PDPTES            4u
#define PDPTE_P           1ull
/* Bits 2:1, 8:5 and 63:52; those above the CPU's physical addresses fault at VM entry. */
#define PDPTE_RESERVED    0xfff00000000001e6ull
#define CR3_PCID          0xfffull
#define CR3_NO_FLUSH      (1ull << 63) /* with CR4.PCIDE */
#define CR8_RESERVED      (~0xfull)

#define CR0_DEFINED                                                                                \
    (CR0_PE | CR0_MP | CR0_EM | CR0_TS | CR0_ET | CR0_NE | CR0_WP | CR0_AM | CR0_NW | CR0_CD |     \
     CR0_PG)
/* CR0 and CR4 bits whose change invalidates translations. */
#define CR0_TLB (CR0_PG | CR0_WP | CR0_PE)
#define CR4_TLB (CR4_PGE | CR4_PSE | CR4_PAE | CR4_PCIDE | CR4_SMEP | CR4_SMAP)

static uint64_t *gpr(struct vcpu_gprs *r, unsigned number)
{
    uint64_t *const values[16] = {&r->rax, &r->rcx, &r->rdx, &r->rbx, NULL,    &r->rbp,
                                  &r->rsi, &r->rdi, &r->r8,  &r->r9,  &r->r10, &r->r11,
                                  &r->r12, &r->r13, &r->r14, &r->r15};

    return values[number & 15];
}

uint64_t vmx_read_gpr(const struct vmx_vcpu *x, unsigned number)
{
    return number == REGISTER_RSP ? vmread(VMCS_GUEST_RSP) : *gpr(&x->vcpu->regs, number);
}

void vmx_write_gpr(struct vmx_vcpu *x, unsigned number, uint64_t value)
{
    if (number == REGISTER_RSP)
        vmwrite(VMCS_GUEST_RSP, value);
    else
        *gpr(&x->vcpu->regs, number) = value;
}

/* SDM 3A "PAE Paging": the four entries are loaded when paging starts. False when they cannot be.
 */
static bool load_pdptes(const struct vmx_vcpu *x)
{
    uint64_t entries[PDPTES];
    uint64_t at = vmread(VMCS_GUEST_CR3) & 0xffffffe0ull;

    if (gmem_read(&x->vcpu->guest->mem, gpa(at), entries, sizeof(entries)))
        return false;
    for (unsigned i = 0; i < PDPTES; i++)
        if ((entries[i] & PDPTE_P) && (entries[i] & PDPTE_RESERVED))
            return false;
    for (unsigned i = 0; i < PDPTES; i++)
        vmwrite(VMCS_GUEST_PDPTE0 + 2 * i, entries[i]);
    return true;
}

static bool code_is_64bit(void)
{
    return vmread(VMCS_GUEST_CS_ACCESS_RIGHTS) & AR_L;
}

/* SDM 3A "Initializing IA-32e Mode": paging with EFER.LME is long mode. False: #GP. */
static bool enter_long_mode(uint64_t efer)
{
    uint64_t tr = vmread(VMCS_GUEST_TR_ACCESS_RIGHTS);

    if (!(vmread(VMCS_GUEST_CR4) & CR4_PAE) || code_is_64bit())
        return false;
    /* VM entry wants a 64-bit TSS there, of which the CPU makes no use until the guest loads one.
     */
    vmwrite(VMCS_GUEST_TR_ACCESS_RIGHTS, (tr & ~(uint64_t)AR_TYPE_MASK) | AR_TSS_BUSY);
    vmwrite(VMCS_GUEST_IA32_EFER, efer | EFER_LMA);
    vmwrite(VMCS_VM_ENTRY_CONTROLS, vmread(VMCS_VM_ENTRY_CONTROLS) | ENTRY_IA32E_MODE_GUEST);
    return true;
}

static bool leave_long_mode(uint64_t efer)
{
    if (code_is_64bit() || (vmread(VMCS_GUEST_CR4) & CR4_PCIDE))
        return false;
    vmwrite(VMCS_GUEST_IA32_EFER, efer & ~EFER_LMA);
    vmwrite(VMCS_VM_ENTRY_CONTROLS,
            vmread(VMCS_VM_ENTRY_CONTROLS) & ~(uint64_t)ENTRY_IA32E_MODE_GUEST);
    return true;
}

/* Only a write that changes CD, NW or NE comes here; it may change paging as well. */
static enum exit_action write_cr0_guest(struct vmx_vcpu *x, uint64_t v)
{
    uint64_t old = vmread(VMCS_GUEST_CR0), efer = vmread(VMCS_GUEST_IA32_EFER);
    uint64_t real;

    if ((v >> 32) || ((v & CR0_PG) && !(v & CR0_PE)) || ((v & CR0_NW) && !(v & CR0_CD)))
        return vmx_raise_gp(x);
    v = (v & CR0_DEFINED) | CR0_ET;
    if ((v & ~old) & CR0_PG) {
        if ((efer & EFER_LME) && !enter_long_mode(efer))
            return vmx_raise_gp(x);
        if (!(efer & EFER_LME) && (vmread(VMCS_GUEST_CR4) & CR4_PAE) && !load_pdptes(x))
            return vmx_raise_gp(x);
    } else if ((old & ~v) & CR0_PG) {
        if ((efer & EFER_LMA) && !leave_long_mode(efer))
            return vmx_raise_gp(x);
    }
    /* The caches stay on whatever the guest says: its memory is always write-back. */
    real = (v & ~(CR0_CD | CR0_NW)) | CR0_NE;
    vmwrite(VMCS_CR0_READ_SHADOW, v);
    vmwrite(VMCS_GUEST_CR0, real);
    if ((old ^ real) & CR0_TLB)
        vmx_flush_tlb(x);
    return EXIT_SKIP;
}

/* Only a write that changes a bit which the guest does not own comes here. */
static enum exit_action write_cr4_guest(struct vmx_vcpu *x, uint64_t v)
{
    uint64_t old = vmread(VMCS_GUEST_CR4), owned = vmread(VMCS_CR4_GUEST_HOST_MASK);
    uint64_t may = ~owned | (vmx_xcr0_allowed() ? CR4_OSXSAVE : 0);
    bool long_mode = vmread(VMCS_GUEST_IA32_EFER) & EFER_LMA;
    uint64_t real = (v & may) | (old & owned & ~CR4_OSXSAVE);

    /* A bit that CPUID does not show to the guest, or that this CPU does not have. */
    if ((v & ~may) || (v & ~vmx_caps_common()->cr4_fixed1))
        return vmx_raise_gp(x);
    if (long_mode && !(v & CR4_PAE))
        return vmx_raise_gp(x);
    if ((v & ~old & CR4_PCIDE) && (!long_mode || (vmread(VMCS_GUEST_CR3) & CR3_PCID)))
        return vmx_raise_gp(x);
    vmwrite(VMCS_GUEST_CR4, real);
    if (!long_mode && (vmread(VMCS_GUEST_CR0) & CR0_PG) && (v & CR4_PAE) &&
        ((old ^ real) & (CR4_PGE | CR4_PSE | CR4_PAE | CR4_SMEP)) && !load_pdptes(x)) {
        vmwrite(VMCS_GUEST_CR4, old);
        return vmx_raise_gp(x);
    }
    vmwrite(VMCS_CR4_READ_SHADOW, v);
    cpuid_policy_osxsave(&x->cpuid, v & CR4_OSXSAVE);
    if ((old ^ real) & CR4_TLB)
        vmx_flush_tlb(x);
    return EXIT_SKIP;
}

/* There is no local APIC behind it, but the CPU's own TPR must not be touched. */
static enum exit_action access_cr8(struct vmx_vcpu *x, unsigned type, unsigned number)
{
    if (type == CR_MOV_TO) {
        uint64_t v = vmx_read_gpr(x, number);

        if (v & CR8_RESERVED)
            return vmx_raise_gp(x);
        x->cr8 = v;
    } else {
        vmx_write_gpr(x, number, x->cr8);
    }
    return EXIT_SKIP;
}

/* Exits only when a CR3 control was changed: the guest owns CR3. SDM 3A "Control Registers". */
static enum exit_action access_cr3(struct vmx_vcpu *x, unsigned type, unsigned number)
{
    bool long_mode = vmread(VMCS_GUEST_IA32_EFER) & EFER_LMA;
    uint64_t cr4 = vmread(VMCS_GUEST_CR4), old = vmread(VMCS_GUEST_CR3), v;

    if (type == CR_MOV_FROM) {
        vmx_write_gpr(x, number, long_mode ? old : (uint32_t)old);
        return EXIT_SKIP;
    }
    v = vmx_read_gpr(x, number);
    if (!long_mode) {
        vmwrite(VMCS_GUEST_CR3, (uint32_t)v);
        if ((cr4 & CR4_PAE) && (vmread(VMCS_GUEST_CR0) & CR0_PG) && !load_pdptes(x)) {
            vmwrite(VMCS_GUEST_CR3, old);
            return vmx_raise_gp(x);
        }
        vmx_flush_tlb(x);
        return EXIT_SKIP;
    }
    if (v & ~(cr4 & CR4_PCIDE ? CR3_NO_FLUSH : 0) &
        ~((1ull << (x->cpuid.extended[8].eax & 0xff)) - 1))
        return vmx_raise_gp(x);
    vmwrite(VMCS_GUEST_CR3, v & ~CR3_NO_FLUSH);
    if (!(cr4 & CR4_PCIDE) || !(v & CR3_NO_FLUSH))
        vmx_flush_tlb(x);
    return EXIT_SKIP;
}

enum exit_action vmx_on_cr_access(struct vmx_vcpu *x)
{
    uint64_t q = vmread(VMCS_EXIT_QUALIFICATION);
    unsigned cr = q & CR_NUMBER_MASK, type = q >> CR_TYPE_SHIFT & CR_TYPE_MASK;
    unsigned number = q >> CR_REGISTER_SHIFT & 0xf;

    x->vcpu->exit->qualification = q;
    if (cr == 8 && (type == CR_MOV_TO || type == CR_MOV_FROM))
        return access_cr8(x, type, number);
    if (cr == 3 && (type == CR_MOV_TO || type == CR_MOV_FROM))
        return access_cr3(x, type, number);
    if (cr == 0 && type == CR_MOV_TO)
        return write_cr0_guest(x, vmx_read_gpr(x, number));
    if (cr == 4 && type == CR_MOV_TO)
        return write_cr4_guest(x, vmx_read_gpr(x, number));
    return vmx_crash(x, "an access to a control register that is not emulated");
}

enum exit_action vmx_on_xsetbv(struct vmx_vcpu *x)
{
    const struct vcpu_gprs *r = &x->vcpu->regs;
    uint64_t v = (r->rdx & UINT32_MAX) << 32 | (r->rax & UINT32_MAX);

    if (!vmx_xcr0_allowed() || !(vmread(VMCS_CR4_READ_SHADOW) & CR4_OSXSAVE))
        return vmx_raise_ud(x);
    if (vmx_cpl() != 0 || (uint32_t)r->rcx != 0 || !xcr0_valid(v, vmx_xcr0_allowed()))
        return vmx_raise_gp(x);
    /* The root uses none of these registers: the guest's value is the core's while it runs here. */
    write_xcr0(v);
    cpuid_policy_xcr0(&x->cpuid, v);
    return EXIT_SKIP;
}

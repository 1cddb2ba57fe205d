/* Writes a whole VMCB: controls, guest state. APM vol. 2 "Virtual Machine Control Block". */
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/vcpu_state.h"
#include "arch/x86/svm/exit_profile.h"
#include "arch/x86/svm/maps.h"
#include "hv/lib.h"

/* #DB and #AC: endless delivery loops; #UD: VMCALL; #MC: the host's. */
#define EXCEPTIONS  ((1u << 1) | (1u << 6) | (1u << 17) | (1u << 18))
#define CRS_WRITTEN ((1u << 0) | (1u << 4) | (1u << 8))
#define CR8         (1u << 8)
#define MISC1                                                                                      \
    (INTERCEPT_INTR | INTERCEPT_NMI | INTERCEPT_INIT | INTERCEPT_RDPMC | INTERCEPT_CPUID |         \
     INTERCEPT_INVD | INTERCEPT_HLT | INTERCEPT_INVLPGA | INTERCEPT_IOIO_PROT |                    \
     INTERCEPT_MSR_PROT | INTERCEPT_TASK_SWITCH | INTERCEPT_FERR_FREEZE | INTERCEPT_SHUTDOWN)
#define MISC2                                                                                      \
    (INTERCEPT_VMRUN | INTERCEPT_VMMCALL | INTERCEPT_VMLOAD | INTERCEPT_VMSAVE | INTERCEPT_STGI |  \
     INTERCEPT_CLGI | INTERCEPT_SKINIT | INTERCEPT_WBINVD | INTERCEPT_MONITOR | INTERCEPT_MWAIT |  \
     INTERCEPT_XSETBV | INTERCEPT_RDPRU)
#define PAT_WB        0x0606060606060606ull
#define REAL_LIMIT    0xffffu
#define FLAT_LIMIT    0xffffffffu
/* Where INIT leaves CS and RIP. */
#define RESET_CS      0xf000u
#define RESET_CS_BASE 0xffff0000u
#define RESET_RIP     0xfff0u

/* Attributes of segments: descriptor bits 47:40, 55:52. */
#define ATTRIB_CODE   0x9bu /* present, execute, read, accessed */
#define ATTRIB_DATA   0x93u
#define ATTRIB_LDT    0x82u
#define ATTRIB_TSS    0x8bu
#define ATTRIB_DB     0x400u
#define ATTRIB_G      0x800u

void svm_setup_controls(struct svm_vcpu *x)
{
    const struct svm_guest *g = x->vcpu->guest->backend;
    const struct abi_controls p = intercepts_profile(x->vcpu->guest->config.exit_profile);
    uint32_t words[ABI_CONTROL_WORDS];

    x->vmcb->control = (struct vmcb_control){
        .intercept_cr_read = CR8,
        .intercept_cr_write = CRS_WRITTEN,
        .intercept_exceptions = EXCEPTIONS,
        .intercept_misc1 = MISC1,
        .intercept_misc2 = MISC2,
        .iopm_base_pa = (uintptr_t)x->vcpu->guest->bitmaps + MSRPM_SIZE,
        .msrpm_base_pa = (uintptr_t)x->vcpu->guest->bitmaps,
        .vintr = VINTR_MASKING,
        .np_enable = NP_ENABLE,
        .n_cr3 = (uintptr_t)g->npt.root,
    };
    intercepts_read(x->vmcb, words);
    for (unsigned i = 0; i < ABI_SVM_CONTROLS; i++)
        words[i] |= p.value[i];
    intercepts_write(x->vmcb, words);
    x->irq_window = x->nmi_window = false;
    vcpu_block_nmi(x->vcpu, false);
    vcpu_watch_ends(x->vcpu, false);
}

static void set_segment(struct vmcb_segment *s, uint16_t selector, uint64_t base, uint32_t limit,
                        unsigned attrib)
{
    *s = (struct vmcb_segment){selector, (uint16_t)attrib, limit, base};
}

static void set_segments(struct vmcb_save *v, const struct load_result *s)
{
    bool real = s->mode == LOAD_REAL16;
    uint32_t limit = real ? REAL_LIMIT : FLAT_LIMIT;
    unsigned size = real ? 0 : ATTRIB_DB | ATTRIB_G;

    for (struct vmcb_segment *data = &v->es; data <= &v->gs; data++)
        set_segment(data, real ? 0 : s->ds, 0, limit, ATTRIB_DATA | size);
    set_segment(&v->cs, real ? 0 : s->cs, 0, limit, ATTRIB_CODE | size);
    set_segment(&v->ldtr, 0, 0, REAL_LIMIT, ATTRIB_LDT);
    set_segment(&v->tr, 0, 0, REAL_LIMIT, ATTRIB_TSS);
    set_segment(&v->gdtr, 0, s->gdt_base, s->gdt_limit, 0);
    set_segment(&v->idtr, 0, 0, real ? 0x3ff : 0, 0);
    v->cpl = 0;
}

static void set_state(struct svm_vcpu *x, const struct load_result *s)
{
    bool real = s->mode == LOAD_REAL16;
    uint64_t cr0 = CR0_ET | (real ? 0 : CR0_PE);
    struct vmcb_save *v = &x->vmcb->save;
    struct vcpu *vcpu = x->vcpu;

    set_segments(v, s);
    x->changed = 1;
    x->trap_due = 0;
    x->halted = false;
    x->vmcb->control.eventinj = 0;
    x->vmcb->control.interrupt_shadow = 0;
    vcpu_block_nmi(vcpu, false);
    vcpu_show_cr0(vcpu, cr0);
    vcpu_set_cr0(vcpu, cr0 | CR0_NE);
    vcpu_show_cr4(vcpu, 0);
    /* Machine checks must exit and not shut the core down: CR4.MCE as in the root. */
    vcpu_set_cr4(vcpu, read_cr4() & CR4_MCE);
    vcpu_set_efer(vcpu, 0);
    v->cr3 = 0;
    v->dr7 = DR7_RESET;
    v->dr6 = DR6_RESET;
    v->rsp = s->rsp;
    v->rip = s->rip;
    v->rflags = RFLAGS_FIXED;
    v->g_pat = PAT_WB;
    vcpu->regs = (struct vcpu_gprs){
        .rax = s->rax,
        .rbx = s->rbx,
        .rcx = s->rcx,
        .rdx = s->rdx,
        .rsi = s->rsi,
        .rdi = s->rdi,
        .rbp = s->rbp,
    };
}

/* APM vol. 2 "Processor Initialization State". FPU and vector registers, XCR0, the TSC and all MSRs
 * but EFER stay, and so do CR0.CD and NW. */
void svm_reset_state(struct svm_vcpu *x)
{
    static const struct load_result real = {.mode = LOAD_REAL16, .rip = RESET_RIP};
    struct vmcb_save *s = &x->vmcb->save;
    uint64_t caches = x->shown_cr0 & (CR0_CD | CR0_NW);
    struct vcpu *v = x->vcpu;

    vcpu_set_windows(v, false, false);
    set_state(x, &real);
    vcpu_show_cr0(v, CR0_ET | caches);
    set_segment(&s->cs, RESET_CS, RESET_CS_BASE, REAL_LIMIT, ATTRIB_CODE);
    s->gdtr.limit = s->idtr.limit = REAL_LIMIT;
    for (unsigned n = 0; n < 4; n++)
        vcpu_set_dr(v, n, 0);
    vcpu_set_cr2(v, 0);
    x86_init(v);
    svm_flush(x);
}

void svm_start_at(struct svm_vcpu *x, uint8_t vector)
{
    set_segment(&x->vmcb->save.cs, (uint16_t)(vector << 8), (uint64_t)vector << 12, REAL_LIMIT,
                ATTRIB_CODE);
    x->vmcb->save.rip = 0;
    x->changed = 1;
}

void svm_setup_state(struct svm_vcpu *x, const struct load_result *start)
{
    x->pat = PAT_RESET_VALUE;
    x->shown_cr0 = 0;
    if (x->vcpu->number == 0)
        set_state(x, start);
    else
        svm_reset_state(x);
}

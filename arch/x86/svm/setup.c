/* Writes a whole VMCB: controls, guest state. APM vol. 2 "Virtual Machine Control Block". */
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/start.h"
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
#define PAT_WB 0x0606060606060606ull

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
    vcpu_watch_ends(x->vcpu, false);
}

void svm_setup_state(struct svm_vcpu *x, const struct load_result *start)
{
    x->pat = PAT_RESET_VALUE;
    x->vmcb->save.g_pat = PAT_WB;
    x86_begin(x->vcpu, start);
}

/* The state in which a vCPU begins, and after INIT and SIPI. SDM 3A "IA-32 and Intel 64 Processor
 * States Following Power-up, Reset, or INIT". */
#include "arch/x86/guest/start.h"

#include "arch/x86/cpu/cpuid.h"
#include "arch/x86/guest/vcpu_state.h"

/* Present, accessed; of code and data: no system segment. */
#define RIGHTS_CODE   0x9bu /* execute, read */
#define RIGHTS_DATA   0x93u
#define RIGHTS_LDT    0x82u
#define RIGHTS_TSS    0x8bu /* of 32 bits, busy */
#define RIGHTS_G      (1u << 15)
#define REAL_LIMIT    0xffffu
#define FLAT_LIMIT    0xffffffffu
#define REAL_IDT      0x3ffu
/* Where INIT leaves CS and RIP. */
#define RESET_CS      0xf000u
#define RESET_CS_BASE 0xffff0000u
#define RESET_RIP     0xfff0u

void x86_reset_policies(struct vcpu *v, bool invpcid, bool rdtscp)
{
    const struct cpuid_env env = {
        .host = cpuid,
        .tsc_hz = arch_tsc_hz(),
        .xcr0 = x86_xcr0_allowed(),
        .invpcid = invpcid,
        .rdtscp = rdtscp,
        .apic = v->guest->config.devices & DEV_APIC,
        .vcpu = v->number,
        .vcpus = v->guest->vcpu_count,
    };

    x86_reset(vcpu_x86(v), &env);
}

static void set_segments(struct vcpu *v, const struct load_result *s)
{
    bool real = s->mode == LOAD_REAL16;
    uint32_t limit = real ? REAL_LIMIT : FLAT_LIMIT;
    uint32_t size = real ? 0 : SEGMENT_RIGHTS_DB | RIGHTS_G;
    const struct segment data = {0, limit, RIGHTS_DATA | size},
                         code = {0, limit, RIGHTS_CODE | size};
    const struct segment ldt = {0, REAL_LIMIT, RIGHTS_LDT}, tss = {0, REAL_LIMIT, RIGHTS_TSS};

    for (unsigned i = SEGMENT_ES; i <= SEGMENT_GS; i++)
        vcpu_set_segment(v, (enum segment_id)i, real ? 0 : s->ds, &data);
    vcpu_set_segment(v, SEGMENT_CS, real ? 0 : s->cs, &code);
    vcpu_set_segment(v, SEGMENT_LDTR, 0, &ldt);
    vcpu_set_segment(v, SEGMENT_TR, 0, &tss);
    vcpu_set_gdtr(v, s->gdt_base, s->gdt_limit);
    vcpu_set_idtr(v, 0, real ? REAL_IDT : 0);
}

static void start_at(struct vcpu *v, const struct load_result *s)
{
    uint64_t cr0 = CR0_ET | (s->mode == LOAD_REAL16 ? 0 : CR0_PE);

    vcpu_clear_events(v);
    vcpu_set_windows(v, false, false);
    set_segments(v, s);
    vcpu_show_cr0(v, cr0);
    vcpu_set_cr0(v, cr0 | CR0_NE);
    vcpu_set_cr3(v, 0);
    vcpu_show_cr4(v, 0);
    /* Machine checks must exit and not shut the core down: CR4.MCE as in the root. VMXE is 1 in VMX
     * operation. */
    vcpu_set_cr4(v, read_cr4() & (CR4_MCE | CR4_VMXE));
    vcpu_set_efer(v, 0);
    vcpu_set_dr(v, 6, DR6_RESET);
    vcpu_set_dr7(v, DR7_RESET);
    vcpu_set_rsp(v, s->rsp);
    vcpu_set_rip(v, s->rip);
    vcpu_set_rflags(v, RFLAGS_FIXED);
    v->regs = (struct vcpu_gprs){
        .rax = s->rax,
        .rbx = s->rbx,
        .rcx = s->rcx,
        .rdx = s->rdx,
        .rsi = s->rsi,
        .rdi = s->rdi,
        .rbp = s->rbp,
    };
}

/* FPU and vector registers, XCR0, the TSC and all MSRs but EFER stay, and so do CR0.CD and NW. EDX
 * is the signature. */
static void init(struct vcpu *v)
{
    static const struct load_result real = {.mode = LOAD_REAL16, .rip = RESET_RIP};
    const struct segment code = {RESET_CS_BASE, REAL_LIMIT, RIGHTS_CODE};
    uint64_t caches = vcpu_shown_cr0(v) & (CR0_CD | CR0_NW);
    struct x86_vcpu *x = vcpu_x86(v);

    start_at(v, &real);
    vcpu_show_cr0(v, CR0_ET | caches);
    vcpu_set_segment(v, SEGMENT_CS, RESET_CS, &code);
    vcpu_set_gdtr(v, 0, REAL_LIMIT);
    vcpu_set_idtr(v, 0, REAL_LIMIT);
    for (unsigned n = 0; n < 4; n++)
        vcpu_set_dr(v, n, 0);
    vcpu_set_cr2(v, 0);
    v->regs.rdx = x->cpuid.basic[1].eax;
    cpuid_policy_osxsave(&x->cpuid, false);
    x->cr8 = 0;
    x->reinject = 0;
    x->decoded.at = NULL;
    vcpu_flush_tlb(v);
}

void x86_begin(struct vcpu *v, const struct load_result *s)
{
    vcpu_show_cr0(v, 0);
    if (v->number == 0)
        start_at(v, s);
    else
        init(v);
}

void x86_vcpu_reset(struct vcpu *v)
{
    vcpu_load(v);
    init(v);
}

void x86_vcpu_start(struct vcpu *v, uint8_t vector)
{
    const struct segment code = {(uint64_t)vector << 12, REAL_LIMIT, RIGHTS_CODE};

    vcpu_load(v);
    vcpu_set_segment(v, SEGMENT_CS, (uint16_t)(vector << 8), &code);
    vcpu_set_rip(v, 0);
}

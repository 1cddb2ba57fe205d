/* IN, OUT and their string forms. SDM 3C "Exit Qualification for I/O Instructions". */
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/string_io.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"

#define INFO_ADDRESS_SHIFT 7 /* VM-exit instruction information: 0 16-bit, 1 32-bit, 2 64-bit */
#define INFO_ADDRESS_MASK  3u
#define INFO_SEGMENT_SHIFT 15 /* of OUTS, as in enum segment_id */
#define INFO_SEGMENT_MASK  7u

/* Elements of a string instruction that one exit does at most, also where no deadline is near:
 * requests and interrupts for the core are looked at between exits. */
#define STRING_STEP        64u

static uint64_t size_mask(unsigned bytes)
{
    return bytes >= 8 ? UINT64_MAX : (1ull << (8 * bytes)) - 1;
}

/* A segment register's four fields lie at the same distances for all of them. */
static struct segment read_segment(enum segment_id id)
{
    return (struct segment){
        .base = vmread(VMCS_GUEST_ES_BASE + 2 * id),
        .limit = (uint32_t)vmread(VMCS_GUEST_ES_LIMIT + 2 * id),
        .rights = (uint32_t)vmread(VMCS_GUEST_ES_ACCESS_RIGHTS + 2 * id),
    };
}

static void read_paging(struct paging *p)
{
    p->cr0 = vmread(VMCS_GUEST_CR0);
    p->cr3 = vmread(VMCS_GUEST_CR3);
    p->cr4 = vmread(VMCS_GUEST_CR4);
    p->efer = vmread(VMCS_GUEST_IA32_EFER);
    for (unsigned i = 0; i < ARRAY_LEN(p->pdpte); i++)
        p->pdpte[i] = vmread(VMCS_GUEST_PDPTE0 + 2 * i);
    p->cpl = vmx_cpl();
    p->ac = vmread(VMCS_GUEST_RFLAGS) & RFLAGS_AC;
}

/* INS always goes to ES. A CPU without the instruction information (IA32_VMX_BASIC bit 54) says
 * nothing of prefixes: then addresses are of the code segment's size. */
static void read_operand(struct string_io *s, const struct vcpu_gprs *r)
{
    uint32_t cs = (uint32_t)vmread(VMCS_GUEST_CS_ACCESS_RIGHTS);

    s->mode = segment_mode_of(s->paging.cr0, s->paging.efer, vmread(VMCS_GUEST_RFLAGS), cs);
    s->segment_id = SEGMENT_ES;
    if (vmx_caps_common()->basic & VMX_BASIC_INS_OUTS_INFO) {
        uint64_t info = vmread(VMCS_VM_EXIT_INSTRUCTION_INFO);

        s->address_bytes = 2u << (info >> INFO_ADDRESS_SHIFT & INFO_ADDRESS_MASK);
        if (!s->in)
            s->segment_id = (enum segment_id)(info >> INFO_SEGMENT_SHIFT & INFO_SEGMENT_MASK);
    } else {
        s->address_bytes = s->mode == SEGMENT_LONG ? 8 : cs & SEGMENT_RIGHTS_DB ? 4 : 2;
        if (!s->in) {
            struct segment all[6];

            for (unsigned i = 0; i < ARRAY_LEN(all); i++)
                all[i] = read_segment((enum segment_id)i);
            s->segment_id =
                string_io_segment(all, s->address_bytes == 2 ? (uint16_t)r->rsi : r->rsi,
                                  vmread(VMCS_GUEST_LINEAR_ADDRESS));
        }
    }
    s->segment = read_segment(s->segment_id);
}

static enum exit_action raise_fault(struct vmx_vcpu *x, const struct guest_fault *f)
{
    if (f->vector == VECTOR_PF)
        write_cr2(f->address);
    vmx_inject_exception(x, f->vector, true, f->error);
    return EXIT_RESUME;
}

/* As many elements as there is time for; the rest follows by executing the instruction again. */
static enum exit_action do_elements(struct vmx_vcpu *x, struct string_io *s)
{
    struct vcpu *v = x->vcpu;
    struct guest_fault f;

    for (unsigned i = 0; i < STRING_STEP; i++) {
        switch (string_io_element(s, s->in ? &v->regs.rdi : &v->regs.rsi, &v->regs.rcx, &f)) {
        case STRING_IO_MORE:
            break;
        case STRING_IO_DONE:
            return v->stop ? EXIT_STOP : EXIT_DONE;
        case STRING_IO_FAULT:
            return raise_fault(x, &f);
        case STRING_IO_OUTSIDE:
            return vmx_outside(x, s->in ? "wrote to" : "read from", f.address);
        }
        if (v->stop)
            return EXIT_STOP;
        if (arch_tsc() >= x->deadline)
            break;
    }
    return EXIT_RESUME;
}

static __attribute__((noinline)) enum exit_action string_io(struct vmx_vcpu *x, uint32_t q)
{
    struct vcpu *v = x->vcpu;
    struct string_io s = {
        .port = (uint16_t)(q >> IO_PORT_SHIFT),
        .size = (q & IO_SIZE_MASK) + 1,
        .in = q & IO_IN,
        .rep = q & IO_REP,
        .down = vmread(VMCS_GUEST_RFLAGS) & RFLAGS_DF,
        .paging.physical_width = x->cpuid.extended[8].eax & 0xff,
        .mem = &v->guest->mem,
        .bus = &v->platform->bus,
    };
    enum exit_action action;

    read_paging(&s.paging);
    read_operand(&s, &v->regs);
    action = do_elements(x, &s);
    platform_timers(v->platform);
    return action;
}

static enum exit_action port_in(struct vcpu *v, uint32_t q)
{
    struct platform *p = v->platform;
    uint32_t value;

    value = io_in(&p->bus, (uint16_t)(q >> IO_PORT_SHIFT), (q & IO_SIZE_MASK) + 1);
    if ((q & IO_SIZE_MASK) == 0)
        v->regs.rax = (v->regs.rax & ~0xffull) | (uint8_t)value;
    else if ((q & IO_SIZE_MASK) == 1)
        v->regs.rax = (v->regs.rax & ~0xffffull) | (uint16_t)value;
    else
        v->regs.rax = value; /* a 32-bit result clears the upper half */
    return platform_irq_pending(p) ? EXIT_DONE : EXIT_SKIP;
}

/* To a port that somebody owns: the write may set a timer, end the guest or raise an interrupt. */
static enum exit_action port_out(struct vcpu *v, uint32_t q)
{
    struct platform *p = v->platform;
    unsigned size = (q & IO_SIZE_MASK) + 1;

    io_out(&p->bus, (uint16_t)(q >> IO_PORT_SHIFT), size,
           (uint32_t)(v->regs.rax & size_mask(size)));
    platform_timers(p);
    return v->stop ? EXIT_STOP : EXIT_DONE;
}

enum exit_action vmx_on_io(struct vmx_vcpu *x)
{
    struct vcpu *v = x->vcpu;
    uint32_t q = (uint32_t)v->exit->qualification;

    v->platform->clock.now = v->exit->tsc;
    if (__builtin_expect(q & IO_STRING, 0))
        return string_io(x, q);
    return q & IO_IN ? port_in(v, q) : port_out(v, q);
}

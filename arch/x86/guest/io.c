/* IN, OUT and their string forms. */
#include "arch/x86/guest/string_io.h"
#include "arch/x86/guest/vcpu_state.h"
#include "hv/arch.h"

/* The most elements of a string instruction that one exit does, even if no deadline is near:
 * requests and interrupts for the core are checked between exits. */
#define STRING_STEP 64u

enum exit_action x86_port_in(struct vcpu *v, uint16_t port, unsigned size)
{
    uint32_t value = exit_port_in(v, port, size);

    if (size == 1)
        v->regs.rax = (v->regs.rax & ~0xffull) | (uint8_t)value;
    else if (size == 2)
        v->regs.rax = (v->regs.rax & ~0xffffull) | (uint16_t)value;
    else
        v->regs.rax = value; /* a 32-bit result clears the upper half */
    return irqchip_pending(v->platform, v->number) ? EXIT_DONE : EXIT_SKIP;
}

enum exit_action x86_port_out(struct vcpu *v, uint16_t port, unsigned size)
{
    uint32_t mask = size == 4 ? UINT32_MAX : (1u << (8 * size)) - 1;

    return exit_port_out(v, port, size, (uint32_t)v->regs.rax & mask);
}

static void read_paging(const struct vcpu *v, struct paging *p)
{
    p->cr0 = vcpu_get_cr0(v);
    p->cr3 = vcpu_get_cr3(v);
    p->cr4 = vcpu_get_cr4(v);
    p->efer = vcpu_get_efer(v);
    vcpu_get_pdptes(v, p->pdpte);
    p->cpl = vcpu_get_cpl(v);
    p->ac = vcpu_get_rflags(v) & RFLAGS_AC;
    p->physical_width = vcpu_x86(v)->cpuid.extended[8].eax & 0xff;
}

/* INS always uses ES. If the CPU does not report prefixes, addresses have the code segment's size.
 */
static void read_operand(const struct vcpu *v, struct string_io *s, const struct string_access *a)
{
    uint32_t cs = vcpu_get_cs_rights(v);

    s->mode = segment_mode_of(s->paging.cr0, s->paging.efer, vcpu_get_rflags(v), cs);
    s->segment_id = a->in ? SEGMENT_ES : a->segment;
    s->address_bytes = a->address_bytes;
    if (!a->address_bytes) {
        s->address_bytes = s->mode == SEGMENT_LONG ? 8 : cs & SEGMENT_RIGHTS_DB ? 4 : 2;
        if (!a->in) {
            struct segment all[6];

            for (unsigned i = 0; i < ARRAY_LEN(all); i++)
                all[i] = vcpu_get_segment(v, (enum segment_id)i);
            s->segment_id = string_io_segment(
                all, s->address_bytes == 2 ? (uint16_t)v->regs.rsi : v->regs.rsi, a->linear);
        }
    }
    s->segment = vcpu_get_segment(v, s->segment_id);
}

static enum exit_action raise_fault(struct vcpu *v, const struct guest_fault *f)
{
    if (f->vector == VECTOR_PF)
        vcpu_set_cr2(v, f->address);
    x86_inject_exception(v, f->vector, true, f->error);
    return EXIT_RESUME;
}

/* Does as many elements as there is time for; the guest executes the instruction again for the
 * rest. */
static enum exit_action do_elements(struct vcpu *v, struct string_io *s, uint64_t until)
{
    struct guest_fault f;

    for (unsigned i = 0; i < STRING_STEP; i++) {
        switch (string_io_element(s, s->in ? &v->regs.rdi : &v->regs.rsi, &v->regs.rcx, &f)) {
        case STRING_IO_MORE:
            break;
        case STRING_IO_DONE:
            return v->stop ? EXIT_STOP : EXIT_DONE;
        case STRING_IO_FAULT:
            return raise_fault(v, &f);
        case STRING_IO_OUTSIDE:
            return x86_outside(v, s->in ? "wrote to" : "read from", f.address);
        }
        if (v->stop)
            return EXIT_STOP;
        if (arch_tsc() >= until)
            break;
    }
    return EXIT_RESUME;
}

enum exit_action x86_string_io(struct vcpu *v, const struct string_access *a, uint64_t until)
{
    struct string_io s = {
        .port = a->port,
        .size = a->size,
        .in = a->in,
        .rep = a->rep,
        .down = vcpu_get_rflags(v) & RFLAGS_DF,
        .mem = &v->guest->mem,
        .bus = exit_ports(v),
    };
    enum exit_action action;

    read_paging(v, &s.paging);
    read_operand(v, &s, a);
    action = do_elements(v, &s, until);
    exit_timers(v, v->exit->tsc);
    return action;
}

/* IN, OUT and their string forms. */
#include "arch/x86/guest/alu.h"
#include "arch/x86/guest/string_io.h"
#include "arch/x86/guest/vcpu_state.h"
#include "hv/arch.h"
#include "hv/lib.h"

enum exit_action x86_port_in(struct vcpu *v, uint16_t port, unsigned size)
{
    uint32_t value = exit_port_in(v, port, size);

    if (size == 1) /* AL and AX are its first bytes */
        memcpy(&v->regs.rax, &value, 1);
    else if (size == 2)
        memcpy(&v->regs.rax, &value, 2);
    else
        v->regs.rax = value; /* a 32-bit result clears the upper half */
    return irqchip_may_be_pending(v->platform, v->number) ? EXIT_DONE : EXIT_SKIP;
}

enum exit_action x86_port_out(struct vcpu *v, uint16_t port, unsigned size)
{
    uint32_t mask = size == 4 ? UINT32_MAX : (1u << (8 * size)) - 1;

    return exit_port_out(v, port, size, (uint32_t)v->regs.rax & mask);
}

/* INS always uses ES. If the CPU does not report prefixes, addresses have the code segment's size.
 */
static void read_operand(const struct vcpu *v, uint64_t rflags, struct string_io *s,
                         const struct string_access *a)
{
    uint32_t cs = vcpu_get_cs_rights(v);

    s->mode = segment_mode_of(s->paging.cr0, s->paging.efer, rflags, cs);
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

static void watch_element(struct vcpu *v, const struct string_io *s)
{
    x86_watch_memory(v, s->linear, s->size, s->in);
    x86_watch_port(v, s->port, s->size);
}

/* The guest executes the instruction again for the rest. SDM 3A "Resume Flag": RF is set in the
 * image of what comes between two iterations. */
static enum exit_action leave_rest(struct vcpu *v, uint64_t rflags)
{
    vcpu_set_rflags(v, rflags | RFLAGS_RF);
    if (x86_steps(v, rflags))
        vcpu_set_trap_due(v, DR6_BS);
    if (vcpu_trap_is_due(v))
        vcpu_end_shadow(v);
    return EXIT_RESUME;
}

/* An element that is not, or not all, in RAM. The PC is left meanwhile: its memory-mapped registers
 * are entered by themselves. EXIT_SKIP: it is done. */
static enum exit_action move_outside(struct vcpu *v, const struct string_io *s, uint64_t offset)
{
    const struct operand_space space = {s->paging, s->mode, s->mem};
    struct operand_page page = {0};
    uint64_t value = 0;
    struct guest_fault f;
    struct operand o;
    enum exit_action a;

    switch (
        operand_reach(&o, &space, &s->segment, s->segment_id, offset, s->size, s->in, &page, &f)) {
    case OPERAND_FAULT:
        return x86_raise_fault(v, &f);
    case OPERAND_TABLE:
        return x86_outside(v, s->in ? "wrote to" : "read from", f.address);
    case OPERAND_REACHED:
        break;
    }
    if (s->in)
        value = io_in(s->bus, s->port, s->size);
    exit_ports_done(v);
    a = s->in ? x86_store(v, &o, value) : x86_load(v, &o, &value);
    (void)exit_ports(v);
    if (a == EXIT_SKIP && !s->in)
        io_out(s->bus, s->port, s->size, (uint32_t)value);
    return a;
}

/* Does as many elements as there is time for, or one if something comes behind it. */
static enum exit_action do_elements(struct vcpu *v, uint64_t rflags, struct string_io *s,
                                    uint64_t until)
{
    uint64_t *index = s->in ? &v->regs.rdi : &v->regs.rsi;
    bool watches = x86_watches(v);
    struct guest_fault f;

    for (unsigned i = 0; i < X86_STRING_STEP; i++) {
        uint64_t before = *index;
        enum string_io_result r = string_io_element(s, index, &v->regs.rcx, &f);

        if (r == STRING_IO_OUTSIDE) {
            enum exit_action a = move_outside(v, s, *index & alu_mask(s->address_bytes));

            if (a != EXIT_SKIP)
                return a;
            r = string_io_advance(s, index, &v->regs.rcx);
        }
        if (watches && *index != before)
            watch_element(v, s);
        switch (r) {
        case STRING_IO_MORE:
            break;
        case STRING_IO_DONE:
            return v->stop ? EXIT_STOP : EXIT_DONE;
        case STRING_IO_OUTSIDE: /* done by now */
        case STRING_IO_FAULT:
            return x86_raise_fault(v, &f);
        }
        if (v->stop)
            return EXIT_STOP;
        if (x86_string_ends(v, rflags, watches, until))
            break;
    }
    return leave_rest(v, rflags);
}

enum exit_action x86_string_io(struct vcpu *v, const struct string_access *a, uint64_t until)
{
    uint64_t rflags = vcpu_get_rflags(v);
    struct string_io s = {
        .port = a->port,
        .size = a->size,
        .in = a->in,
        .rep = a->rep,
        .down = rflags & RFLAGS_DF,
        .mem = &v->guest->mem,
    };
    enum exit_action action;

    if (x86_puts_off(v))
        return EXIT_RESUME;
    x86_read_paging(v, rflags, &s.paging);
    read_operand(v, rflags, &s, a);
    s.bus = exit_ports(v);
    action = do_elements(v, rflags, &s, until);
    exit_ports_done(v);
    return action;
}

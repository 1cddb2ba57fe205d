/* IN, OUT and their string forms. SDM 3C "Exit Qualification for I/O Instructions". */
#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/paging.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"

#define IO_SIZE_MASK       7u
#define IO_IN              (1u << 3)
#define IO_STRING          (1u << 4)
#define IO_REP             (1u << 5)
#define IO_PORT_SHIFT      16

#define INFO_ADDRESS_SHIFT 7 /* VM-exit instruction information: 0 16-bit, 1 32-bit, 2 64-bit */
#define INFO_ADDRESS_MASK  7u

/* Elements of a string instruction that one exit does; the rest follows by executing it again, so
 * that no guest keeps its core for long in root operation. */
#define STRING_STEP        64u

static uint64_t size_mask(unsigned bytes)
{
    return bytes >= 8 ? UINT64_MAX : (1ull << (8 * bytes)) - 1;
}

/* Bytes of an address in the string instruction that exited. */
static unsigned address_bytes(void)
{
    uint64_t cs;

    if (vmx_caps_common()->basic & VMX_BASIC_INS_OUTS_INFO)
        return 2u << (vmread(VMCS_VM_EXIT_INSTRUCTION_INFO) >> INFO_ADDRESS_SHIFT & 3);
    cs = vmread(VMCS_GUEST_CS_ACCESS_RIGHTS);
    if ((cs & AR_L) && (vmread(VMCS_GUEST_IA32_EFER) & EFER_LMA))
        return 8;
    return cs & AR_DB ? 4 : 2;
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

/* One element's bytes between `value` and the guest's memory, byte by byte: it may lie across two
 * pages. False: an exception is injected, or the guest is stopped. */
static bool copy_element(struct vmx_vcpu *x, const struct paging *p, uint64_t linear, unsigned size,
                         bool to_guest, uint32_t *value)
{
    const struct gmem *m = &x->vcpu->guest->mem;
    uint8_t *bytes = (uint8_t *)value;

    for (unsigned i = 0; i < size; i++) {
        uint64_t address;
        uint32_t error;
        int rc = paging_translate(p, m, linear + i, to_guest, &address, &error);

        if (rc == 0)
            rc = to_guest ? gmem_write(m, gpa(address), &bytes[i], 1)
                          : gmem_read(m, gpa(address), &bytes[i], 1);
        if (rc == -E_PERM) {
            write_cr2(linear + i);
            vmx_inject_exception(x, VECTOR_PF, true, error);
            return false;
        }
        if (rc) {
            (void)vmx_crash(x, "string I/O outside of its memory");
            return false;
        }
    }
    return true;
}

struct string_io {
    uint16_t port;
    unsigned size;
    bool in;
    uint64_t mask;   /* of the address registers in use */
    uint64_t *index; /* RSI or RDI */
    uint64_t linear; /* of the first element */
    int64_t step;
};

static void advance(const struct string_io *s)
{
    /* 32-bit registers clear their upper halves, 16-bit ones leave theirs. */
    uint64_t kept = s->mask == size_mask(2) ? *s->index & ~s->mask : 0;

    *s->index = kept | ((*s->index + (uint64_t)s->step) & s->mask);
}

/* An element; linear addresses follow the index register, whose wrap-around moves them back. */
static bool do_element(struct vmx_vcpu *x, const struct paging *p, const struct string_io *s,
                       uint64_t first)
{
    struct io_bus *bus = &x->vcpu->platform->bus;
    uint64_t linear = s->linear + (*s->index & s->mask) - first;
    uint32_t value = 0;

    if (!(p->efer & EFER_LMA))
        linear &= UINT32_MAX;
    if (!s->in) {
        if (!copy_element(x, p, linear, s->size, false, &value))
            return false;
        io_out(bus, s->port, s->size, value);
    } else {
        /* The port is read only once its value has a place to go. */
        if (!copy_element(x, p, linear, s->size, true, &value))
            return false;
        value = io_in(bus, s->port, s->size);
        if (!copy_element(x, p, linear, s->size, true, &value))
            return false;
    }
    advance(s);
    return true;
}

static __attribute__((noinline)) enum exit_action string_io(struct vmx_vcpu *x, uint32_t q)
{
    struct vcpu_gprs *r = &x->vcpu->regs;
    bool in = q & IO_IN, rep = q & IO_REP;
    struct string_io s = {
        .port = (uint16_t)(q >> IO_PORT_SHIFT),
        .size = (q & IO_SIZE_MASK) + 1,
        .in = in,
        .mask = size_mask(address_bytes()),
        .index = in ? &r->rdi : &r->rsi,
        .linear = vmread(VMCS_GUEST_LINEAR_ADDRESS),
    };
    uint64_t left = rep ? r->rcx & s.mask : 1, first = *s.index & s.mask;
    struct paging p = {.physical_width = x->cpuid.extended[8].eax & 0xff};
    enum exit_action action = EXIT_SKIP;

    x->vcpu->platform->clock.now = x->vcpu->exit->tsc;
    read_paging(&p);
    s.step = vmread(VMCS_GUEST_RFLAGS) & RFLAGS_DF ? -(int64_t)s.size : (int64_t)s.size;
    for (unsigned i = 0; left > 0 && action == EXIT_SKIP && !x->vcpu->stop; i++) {
        if (i == STRING_STEP) {
            action = EXIT_RESUME;
        } else if (!do_element(x, &p, &s, first)) {
            action = x->vcpu->stop ? EXIT_STOP : EXIT_RESUME;
        } else {
            left--;
            if (rep)
                r->rcx = (s.mask == size_mask(2) ? r->rcx & ~s.mask : 0) | left;
        }
    }
    platform_timers(x->vcpu->platform);
    return action == EXIT_SKIP ? EXIT_DONE : action;
}

static __attribute__((noinline)) enum exit_action port_in(struct vcpu *v, uint32_t q)
{
    struct platform *p = v->platform;
    uint32_t value;

    p->clock.now = v->exit->tsc;
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
static __attribute__((noinline)) enum exit_action port_out(struct vcpu *v, uint32_t q)
{
    struct platform *p = v->platform;
    unsigned size = (q & IO_SIZE_MASK) + 1;

    p->clock.now = v->exit->tsc;
    io_out(&p->bus, (uint16_t)(q >> IO_PORT_SHIFT), size,
           (uint32_t)(v->regs.rax & size_mask(size)));
    platform_timers(p);
    return v->stop ? EXIT_STOP : EXIT_DONE;
}

enum exit_action vmx_on_io(struct vcpu *v)
{
    uint32_t q = (uint32_t)vmread(VMCS_EXIT_QUALIFICATION);

    v->exit->qualification = q;
    if (__builtin_expect(q & IO_STRING, 0))
        return string_io(v->backend, q);
    if (q & IO_IN)
        return port_in(v, q);
    if (io_claimed(&v->platform->bus, (uint16_t)(q >> IO_PORT_SHIFT)))
        return port_out(v, q);
    return EXIT_SKIP;
}

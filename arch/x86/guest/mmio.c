/* Accesses of a guest outside its RAM: fetches and decodes the instruction, and does what it does.
 * SDM 2, each instruction's page; SDM 3A "Protection". */
#include "arch/x86/guest/emulate.h"
#include "arch/x86/guest/operand.h"
#include "arch/x86/guest/vcpu_state.h"
#include "hv/arch.h"
#include "hv/fmt.h"
#include "hv/lib.h"

#define FIRST_HIGH 4u /* without REX, byte registers from here on are AH, CH, DH and BH */
#define HIGH_SHIFT 8

/* One instruction under way. A function that returns EXIT_SKIP has done its part. */
struct work {
    struct vcpu *v;
    const struct x86_decoded *d;
    struct operand_space space;
    struct operand_page page, source_page;
    uint64_t rflags; /* of the guest; with the flags that the instruction sets */
    bool watches;    /* breakpoints are on */
};

static enum exit_action fail(struct vcpu *v, enum operand_result r, const struct guest_fault *f)
{
    return r == OPERAND_FAULT ? x86_raise_fault(v, f) : x86_outside(v, "read from", f->address);
}

static __attribute__((noinline)) enum exit_action not_emulated(const struct work *w,
                                                               const char *what, uint64_t gpa)
{
    const uint8_t *bytes = (const uint8_t *)w->d->window;
    char text[2 * DECODE_MAX + 1] = "";

    for (unsigned i = 0; i < w->d->in.length; i++)
        (void)fmt(text + 2 * i, 3, "%02x", bytes[i]);
    vcpu_stop(w->v, ABI_GUEST_CRASHED,
              "%s guest-physical address 0x%lx, outside of its memory, at RIP 0x%lx (instruction "
              "not emulated: %s)",
              what, gpa, w->v->exit->rip, text);
    return EXIT_STOP;
}

/* ---- registers ---- */

static bool is_high(const struct work *w, unsigned number, unsigned bytes)
{
    return bytes == 1 && !w->d->in.rex && number >= FIRST_HIGH;
}

static uint64_t read_register(const struct work *w, unsigned number, unsigned bytes)
{
    if (is_high(w, number, bytes))
        return x86_read_gpr(w->v, number - FIRST_HIGH) >> HIGH_SHIFT & 0xff;
    return x86_read_gpr(w->v, number) & alu_mask(bytes);
}

static __attribute__((noinline)) void write_part(struct work *w, unsigned number, unsigned bytes,
                                                 uint64_t value)
{
    bool high = is_high(w, number, bytes);
    uint64_t mask = alu_mask(bytes) << (high ? HIGH_SHIFT : 0);

    if (high) {
        number -= FIRST_HIGH;
        value <<= HIGH_SHIFT;
    }
    value = (x86_read_gpr(w->v, number) & ~mask) | (value & mask);
    x86_write_gpr(w->v, number, value);
}

/* A 32-bit result clears the upper half, a smaller one leaves the rest alone. */
static inline void write_register(struct work *w, unsigned number, unsigned bytes, uint64_t value)
{
    if (bytes < 4)
        write_part(w, number, bytes, value);
    else
        x86_write_gpr(w->v, number, bytes == 4 ? (uint32_t)value : value);
}

/* ---- memory ---- */

static bool is_one_register(const struct operand *o)
{
    return __builtin_expect(!o->part[0].at && o->part[1].bytes == 0, 1);
}

static ALWAYS_INLINE enum exit_action load(struct vcpu *v, const struct operand *o, uint64_t *value)
{
    if (!is_one_register(o))
        return x86_load(v, o, value);
    return exit_mmio_read(v, o->part[0].gpa, o->size, value) ? EXIT_SKIP : EXIT_STOP;
}

static enum exit_action store(struct vcpu *v, const struct operand *o, uint64_t value)
{
    if (!is_one_register(o))
        return x86_store(v, o, value);
    return exit_mmio_write(v, o->part[0].gpa, o->size, value) ? EXIT_SKIP : EXIT_STOP;
}

static __attribute__((noinline)) enum exit_action reach_slowly(struct work *w, struct operand *o,
                                                               enum segment_id id, uint64_t offset,
                                                               bool write,
                                                               struct operand_page *page)
{
    struct segment segment = {0};
    struct guest_fault f;
    enum operand_result r;

    if (w->space.mode != SEGMENT_LONG || id >= SEGMENT_FS) /* all others are flat */
        segment = vcpu_get_segment(w->v, id);
    r = operand_reach(o, &w->space, &segment, id, offset, w->d->e.bytes, write, page, &f);
    return r == OPERAND_REACHED ? EXIT_SKIP : fail(w->v, r, &f);
}

static inline enum exit_action reach(struct work *w, struct operand *o, enum segment_id id,
                                     uint64_t offset, bool write, struct operand_page *page)
{
    if (id < SEGMENT_FS && operand_reach_known(o, &w->space, offset, w->d->e.bytes, write, page))
        return EXIT_SKIP;
    return reach_slowly(w, o, id, offset, write, page);
}

/* ---- what it does ---- */

static ALWAYS_INLINE uint64_t offset_of(const struct work *w)
{
    return x86_operand_offset(w->v, &w->d->in);
}

static uint64_t sign_extend(uint64_t value, unsigned bytes)
{
    unsigned shift = 64 - 8 * bytes;

    return (uint64_t)((int64_t)(value << shift) >> shift);
}

/* SDM 2A "BT": a bit number in a register is signed and reaches other words of memory. */
static uint64_t offset_of_bit(const struct work *w, uint64_t number)
{
    unsigned bytes = w->d->e.bytes;
    int64_t word = (int64_t)sign_extend(number, bytes) >> (__builtin_ctz(bytes) + 3);

    return (offset_of(w) + (uint64_t)word * bytes) & alu_mask(w->d->in.address_bytes);
}

static enum exit_action do_alu(struct work *w, const struct operand *o, uint64_t old,
                               uint64_t other)
{
    const struct emulation *e = &w->d->e;
    uint64_t a = e->to_register ? other : old, b = e->to_register ? old : other;
    uint64_t result = alu(e->operation, a, b, e->bytes, &w->rflags);

    if (e->writes)
        return store(w->v, o, result);
    if (e->to_register && e->operation != ALU_CMP)
        write_register(w, e->reg, e->bytes, result);
    return EXIT_SKIP;
}

/* XCHG, XADD and CMPXCHG: `new` is what goes to memory; the register has the old value then. */
static enum exit_action do_exchange(struct work *w, const struct operand *o, unsigned reg,
                                    uint64_t old, uint64_t new)
{
    enum exit_action a = store(w->v, o, new);

    if (a == EXIT_SKIP)
        write_register(w, reg, w->d->e.bytes, old);
    return a;
}

static enum exit_action do_cmpxchg(struct work *w, const struct operand *o, uint64_t old)
{
    unsigned bytes = w->d->e.bytes;
    uint64_t new = read_register(w, w->d->e.reg, bytes);

    (void)alu(ALU_CMP, w->v->regs.rax, old, bytes, &w->rflags);
    if (w->rflags & RFLAGS_ZF)
        return store(w->v, o, new);
    return do_exchange(w, o, EMULATE_ACCUMULATOR, old, old);
}

static void watch(const struct work *w, const struct operand *o, bool write)
{
    if (__builtin_expect(w->watches, 0))
        x86_watch_memory(w->v, o->linear, o->size, write);
}

static enum exit_action do_load(struct work *w)
{
    const struct emulation *e = &w->d->e;
    uint64_t value = 0;
    struct operand o;
    enum exit_action a = reach(w, &o, w->d->in.segment, offset_of(w), false, &w->page);

    if (a == EXIT_SKIP) {
        watch(w, &o, false);
        a = load(w->v, &o, &value);
    }
    if (a != EXIT_SKIP)
        return a;
    if (e->kind == EMULATE_LOAD_SX)
        value = sign_extend(value, e->bytes);
    write_register(w, e->reg, e->reg_bytes, value);
    return EXIT_SKIP;
}

/* The operand that is not memory. */
static uint64_t other_of(const struct work *w)
{
    const struct emulation *e = &w->d->e;

    if (e->immediate)
        return w->d->in.immediate;
    if (e->selector)
        return vcpu_get_selector(w->v, (enum segment_id)(e->reg & 7));
    return read_register(w, e->reg, e->reg_bytes);
}

static enum exit_action do_operand(struct work *w)
{
    const struct emulation *e = &w->d->e;
    uint64_t old = 0, other = other_of(w);
    bool far_bit = e->kind == EMULATE_BIT && !e->immediate;
    uint64_t offset = far_bit ? offset_of_bit(w, other) : offset_of(w);
    struct operand o;
    enum exit_action a = reach(w, &o, w->d->in.segment, offset, e->writes, &w->page);

    if (a == EXIT_SKIP)
        watch(w, &o, e->writes);
    if (a == EXIT_SKIP && e->kind != EMULATE_STORE)
        a = load(w->v, &o, &old);
    if (a != EXIT_SKIP)
        return a;
    switch (e->kind) {
    case EMULATE_STORE:
        return store(w->v, &o, other);
    case EMULATE_XCHG:
        return do_exchange(w, &o, e->reg, old, other);
    case EMULATE_XADD:
        return do_exchange(w, &o, e->reg, old, alu(ALU_ADD, old, other, e->bytes, &w->rflags));
    case EMULATE_CMPXCHG:
        return do_cmpxchg(w, &o, old);
    default:
        return do_alu(w, &o, old, other);
    }
}

static enum exit_action do_element(struct work *w)
{
    struct vcpu_gprs *r = &w->v->regs;
    unsigned address = w->d->in.address_bytes, bytes = w->d->e.bytes;
    uint64_t value = r->rax, step = w->rflags & RFLAGS_DF ? 0 - (uint64_t)bytes : bytes;
    bool moves = w->d->e.kind == EMULATE_MOVS;
    struct operand from, to;
    enum exit_action a = EXIT_SKIP;

    if (moves)
        a = reach(w, &from, w->d->in.segment, r->rsi & alu_mask(address), false, &w->source_page);
    if (a == EXIT_SKIP)
        a = reach(w, &to, SEGMENT_ES, r->rdi & alu_mask(address), true, &w->page);
    if (a != EXIT_SKIP)
        return a;
    watch(w, &to, true);
    if (moves) {
        watch(w, &from, false);
        a = load(w->v, &from, &value);
    }
    if (a == EXIT_SKIP)
        a = store(w->v, &to, value);
    if (a != EXIT_SKIP)
        return a;
    if (moves)
        write_register(w, 6, address, r->rsi + step);
    write_register(w, 7, address, r->rdi + step);
    return EXIT_SKIP;
}

/* Between two iterations the vCPU takes what it would take between two instructions, with RF set:
 * SDM 3B "Resume Flag"; SDM 2B "REP". */
static enum exit_action rest(struct work *w)
{
    vcpu_end_shadow(w->v);
    vcpu_set_rflags(w->v, w->rflags | RFLAGS_RF);
    if (x86_steps(w->v, w->rflags))
        vcpu_set_trap_due(w->v, DR6_BS);
    return EXIT_RESUME;
}

static enum exit_action do_string(struct work *w, uint64_t until)
{
    unsigned address = w->d->in.address_bytes;
    uint64_t left = w->v->regs.rcx & alu_mask(address);

    w->source_page = w->page;
    if (!w->d->in.rep && !w->d->in.repne)
        return do_element(w);
    for (unsigned i = 0; left > 0; i++) {
        enum exit_action a;

        if (i == X86_STRING_STEP || (i > 0 && x86_string_ends(w->v, w->rflags, w->watches, until)))
            return rest(w);
        a = do_element(w);
        if (a != EXIT_SKIP)
            return a;
        left--;
        write_register(w, 1, address, left);
    }
    return EXIT_SKIP;
}

/* ---- the exit ---- */

static void begin(struct work *w, struct vcpu *v, const struct memory_access *m)
{
    struct paging *p = &w->space.paging;

    w->v = v;
    w->d = &vcpu_x86(v)->decoded;
    w->rflags = vcpu_get_rflags(v);
    w->watches = x86_watches(v);
    x86_read_paging(v, w->rflags, p);
    w->space.mode = segment_mode_of(p->cr0, p->efer, w->rflags, vcpu_get_cs_rights(v));
    w->space.mem = &v->guest->mem;
    w->page.known = m->linear_known;
    w->page.writable = m->write;
    w->page.linear = align_down(m->linear, PAGE_SIZE);
    w->page.gpa = align_down(m->gpa, PAGE_SIZE);
}

/* The CPU saves RF as 1 for an EPT violation: SDM 3C "Saving RIP, RSP, RFLAGS, and SSP". */
static void end(const struct work *w, uint64_t rflags)
{
    uint64_t now = w->rflags & ~(uint64_t)RFLAGS_RF;

    if (now != rflags)
        vcpu_set_rflags(w->v, now);
}

/* The CPU has reported where the access was, but not its linear address. With a single operand it
 * can only be that one, and its page has just been translated. */
static __attribute__((noinline)) void take_translation(struct work *w,
                                                       const struct memory_access *m)
{
    const struct emulation *e = &w->d->e;
    uint64_t linear = offset_of(w);

    if (w->space.mode != SEGMENT_LONG || w->d->in.segment >= SEGMENT_FS ||
        e->kind == EMULATE_STOS || e->kind == EMULATE_MOVS || e->kind == EMULATE_BIT ||
        (linear ^ m->gpa) % PAGE_SIZE)
        return;
    w->page.known = true;
    w->page.linear = align_down(linear, PAGE_SIZE);
}

static enum exit_action emulate(struct work *w, uint64_t until)
{
    switch (w->d->e.kind) {
    case EMULATE_LOAD:
    case EMULATE_LOAD_SX:
        return do_load(w);
    case EMULATE_STOS:
    case EMULATE_MOVS:
        return do_string(w, until);
    default:
        return do_operand(w);
    }
}

enum exit_action x86_mmio(struct vcpu *v, const struct memory_access *m, uint64_t until)
{
    struct work w;
    uint64_t rflags;
    enum exit_action a;

    if (x86_puts_off(v))
        return EXIT_RESUME;
    begin(&w, v, m);
    rflags = w.rflags;
    a = x86_fetch(v, &w.space);
    if (a != EXIT_SKIP)
        return a;
    if (!w.d->emulated)
        return not_emulated(&w, m->write ? "wrote to" : "read from", m->gpa);
    if (!m->linear_known)
        take_translation(&w, m);
    a = emulate(&w, until);
    if (a != EXIT_SKIP)
        return a;
    end(&w, rflags);
    if (v->stop)
        return EXIT_STOP;
    return w.d->e.writes || irqchip_may_be_pending(v->platform, v->number) ? EXIT_DONE_DECODED
                                                                           : EXIT_SKIP_DECODED;
}

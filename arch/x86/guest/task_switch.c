#include "arch/x86/guest/task_switch.h"

#include "arch/x86/guest/linear.h"
#include "arch/x86/guest/vcpu_state.h"

#define SELECTOR_RPL      3u
#define SELECTOR_TI       4u
#define SELECTOR_INDEX    0xfff8u
#define ERROR_EXT         1u
#define RIGHTS_BYTE       5u /* of a descriptor: type, S, DPL, P */
#define RIGHTS_ACCESSED   1u /* code and data */
#define RIGHTS_BUSY       2u /* TSS */
#define RIGHTS_TSS_32     8u
#define RIGHTS_TYPE       0xfu
#define RIGHTS_S          (1u << 4)
#define RIGHTS_DPL(r)     ((r) >> 5 & 3u)
#define RIGHTS_P          (1u << 7)
#define RIGHTS_G          (1u << 15)
#define RIGHTS_V86        0xf3u
#define TYPE_LDT          2u
#define TYPE_TSS          1u /* apart from its size, and busy */
#define EFLAGS_DEFINED    0x3f7fd7ull
#define FIXED_LIMIT_V86   0xffffu
#define GPRS              8u
#define SEGMENT_REGISTERS 6u

/* SDM 3A "Task-State Segment (TSS)". General registers by number, segments by enum segment_id. */
struct tss32 {
    uint32_t link, stacks[6], cr3, eip, eflags, gpr[GPRS], segment[SEGMENT_REGISTERS], ldt;
    uint16_t trap, io_map;
};
struct tss16 {
    uint16_t link, stacks[6], ip, flags, gpr[GPRS], segment[4], ldt;
};
_Static_assert(sizeof(struct tss32) == 104 && sizeof(struct tss16) == 44, "as in the manual");

/* The part of a TSS that a switch saves. */
#define SAVED32     offsetof(struct tss32, eip)
#define SAVED32_END offsetof(struct tss32, ldt)
#define SAVED16     offsetof(struct tss16, ip)
#define SAVED16_END offsetof(struct tss16, ldt)

struct switching {
    struct vcpu *v;
    const struct task_switch *t;
    struct paging paging; /* the tables are read and written by the CPU itself: as a supervisor */
    uint32_t external;    /* ERROR_EXT if no instruction is to blame */
    struct guest_fault fault;
};

/* A descriptor and where it is. */
struct descriptor {
    uint64_t at;
    uint16_t selector;
    struct segment s;
};

static void read_paging(struct switching *w)
{
    x86_read_paging(w->v, 0, &w->paging);
    w->paging.cpl = 0;
}

static enum linear_result refuse(struct switching *w, uint8_t vector, uint16_t selector)
{
    w->fault = (struct guest_fault){
        .vector = vector,
        .error = (selector & (SELECTOR_INDEX | SELECTOR_TI)) | w->external,
    };
    return LINEAR_FAULT;
}

static enum linear_result read(struct switching *w, uint64_t at, void *to, size_t size)
{
    return linear_read(&w->paging, &w->v->guest->mem, (uint32_t)at, to, size, &w->fault);
}

static enum linear_result write(struct switching *w, uint64_t at, const void *from, size_t size)
{
    return linear_write(&w->paging, &w->v->guest->mem, (uint32_t)at, from, size, &w->fault);
}

static enum linear_result can_write(struct switching *w, uint64_t at, size_t size)
{
    return linear_can_write(&w->paging, &w->v->guest->mem, (uint32_t)at, size, &w->fault);
}

static struct segment unpack(uint64_t d)
{
    struct segment s = {
        .base = (d >> 16 & 0xffffff) | (d >> 56) << 24,
        .limit = (uint32_t)((d & 0xffff) | (d >> 32 & 0xf0000)),
        .rights = (uint32_t)(d >> 40) & 0xf0ff,
    };

    if (s.rights & RIGHTS_G)
        s.limit = s.limit << 12 | 0xfff;
    return s;
}

/* `vector`: what it is if the selector is outside of its table. */
static enum linear_result find(struct switching *w, uint16_t selector, uint8_t vector,
                               struct descriptor *d)
{
    struct segment table = vcpu_get_gdtr(w->v);
    enum linear_result r;
    uint64_t raw;

    if (selector & SELECTOR_TI)
        table = vcpu_get_segment(w->v, SEGMENT_LDTR);
    if ((table.rights & SEGMENT_RIGHTS_NULL) || (selector | 7u) > table.limit)
        return refuse(w, vector, selector);
    d->selector = selector;
    d->at = table.base + (selector & SELECTOR_INDEX);
    r = read(w, d->at, &raw, sizeof(raw));
    d->s = unpack(raw);
    return r;
}

static enum linear_result set_rights_byte(struct switching *w, const struct descriptor *d)
{
    uint8_t rights = (uint8_t)d->s.rights;

    return write(w, d->at + RIGHTS_BYTE, &rights, 1);
}

/* ---- in the old task ---- */

/* The CPU has checked this, but the guest's other CPUs may have written to it since. */
static enum linear_result find_tss(struct switching *w, struct descriptor *d)
{
    uint8_t vector = w->t->by == TASK_IRET ? VECTOR_TS : VECTOR_GP;
    uint32_t wanted = TYPE_TSS | (w->t->by == TASK_IRET ? RIGHTS_BUSY : 0);
    uint16_t selector = w->t->selector;
    enum linear_result r;

    if (selector & SELECTOR_TI)
        return refuse(w, vector, selector);
    r = find(w, selector, vector, d);
    if (r != LINEAR_DONE)
        return r;
    if ((d->s.rights & (RIGHTS_S | (RIGHTS_TYPE & ~RIGHTS_TSS_32))) != wanted)
        return refuse(w, vector, selector);
    if (!(d->s.rights & RIGHTS_P))
        return refuse(w, VECTOR_NP, selector);
    if (d->s.limit <
        (d->s.rights & RIGHTS_TSS_32 ? sizeof(struct tss32) : sizeof(struct tss16)) - 1)
        return refuse(w, VECTOR_TS, selector);
    return LINEAR_DONE;
}

static bool nests(const struct switching *w)
{
    return w->t->by == TASK_CALL || w->t->by == TASK_GATE;
}

/* SDM 3A "Task Switching": what is needed must be in memory before anything changes. */
static enum linear_result find_old(struct switching *w, const struct descriptor *new,
                                   struct descriptor *old)
{
    enum linear_result r;
    size_t from, end;

    old->selector = vcpu_get_selector(w->v, SEGMENT_TR);
    old->s = vcpu_get_segment(w->v, SEGMENT_TR);
    old->at = vcpu_get_gdtr(w->v).base + (old->selector & SELECTOR_INDEX);
    from = old->s.rights & RIGHTS_TSS_32 ? SAVED32 : SAVED16;
    end = old->s.rights & RIGHTS_TSS_32 ? SAVED32_END : SAVED16_END;
    if (old->s.limit < end - 1)
        return refuse(w, VECTOR_TS, old->selector);
    r = can_write(w, old->s.base + from, end - from);
    if (r == LINEAR_DONE && !nests(w))
        r = can_write(w, old->at + RIGHTS_BYTE, 1);
    if (r == LINEAR_DONE && w->t->by != TASK_IRET)
        r = can_write(w, new->at + RIGHTS_BYTE, 1);
    if (r == LINEAR_DONE && nests(w))
        r = can_write(w, new->s.base, sizeof(uint16_t));
    return r;
}

static uint64_t old_flags(const struct switching *w)
{
    return vcpu_get_rflags(w->v) & ~(w->t->by == TASK_IRET ? RFLAGS_NT : 0);
}

static enum linear_result save32(struct switching *w, uint64_t base)
{
    struct tss32 tss;
    enum linear_result r = read(w, base, &tss, sizeof(tss));

    if (r != LINEAR_DONE)
        return r;
    tss.eip = (uint32_t)vcpu_get_rip(w->v) + w->t->length;
    tss.eflags = (uint32_t)old_flags(w);
    for (unsigned i = 0; i < GPRS; i++)
        tss.gpr[i] = (uint32_t)x86_read_gpr(w->v, i);
    for (unsigned i = 0; i < SEGMENT_REGISTERS; i++)
        tss.segment[i] = (tss.segment[i] & ~0xffffu) | vcpu_get_selector(w->v, (enum segment_id)i);
    return write(w, base + SAVED32, &tss.eip, SAVED32_END - SAVED32);
}

static enum linear_result save16(struct switching *w, uint64_t base)
{
    struct tss16 tss = {
        .ip = (uint16_t)(vcpu_get_rip(w->v) + w->t->length),
        .flags = (uint16_t)old_flags(w),
    };

    for (unsigned i = 0; i < GPRS; i++)
        tss.gpr[i] = (uint16_t)x86_read_gpr(w->v, i);
    for (unsigned i = 0; i < ARRAY_LEN(tss.segment); i++)
        tss.segment[i] = vcpu_get_selector(w->v, (enum segment_id)i);
    return write(w, base + SAVED16, &tss.ip, SAVED16_END - SAVED16);
}

/* Either size, as the larger. */
static enum linear_result read_tss(struct switching *w, const struct segment *s, struct tss32 *tss)
{
    struct tss16 small;
    enum linear_result r;

    if (s->rights & RIGHTS_TSS_32)
        return read(w, s->base, tss, sizeof(*tss));
    r = read(w, s->base, &small, sizeof(small));
    *tss = (struct tss32){.eip = small.ip, .eflags = small.flags, .ldt = small.ldt};
    for (unsigned i = 0; i < GPRS; i++)
        tss->gpr[i] = small.gpr[i];
    for (unsigned i = 0; i < ARRAY_LEN(small.segment); i++)
        tss->segment[i] = small.segment[i];
    return r;
}

/* Everything that can still fault in the old task, then its state and the tables. */
static enum linear_result leave_old(struct switching *w, struct descriptor *new, struct tss32 *tss)
{
    struct descriptor old;
    enum linear_result r = find_tss(w, new);

    if (r == LINEAR_DONE)
        r = read_tss(w, &new->s, tss);
    if (r == LINEAR_DONE)
        r = find_old(w, new, &old);
    if (r == LINEAR_DONE)
        r = old.s.rights & RIGHTS_TSS_32 ? save32(w, old.s.base) : save16(w, old.s.base);
    if (r == LINEAR_DONE && !nests(w)) {
        old.s.rights &= ~RIGHTS_BUSY;
        r = set_rights_byte(w, &old);
    }
    if (r == LINEAR_DONE) {
        new->s.rights |= RIGHTS_BUSY;
        if (w->t->by != TASK_IRET)
            r = set_rights_byte(w, new);
    }
    if (r == LINEAR_DONE && nests(w))
        r = write(w, new->s.base, &old.selector, sizeof(old.selector));
    return r;
}

/* ---- in the new task ---- */

static enum linear_result load_ldt(struct switching *w, uint16_t selector)
{
    struct descriptor d;
    enum linear_result r;

    if (!(selector & SELECTOR_INDEX))
        return LINEAR_DONE;
    if (selector & SELECTOR_TI)
        return refuse(w, VECTOR_TS, selector);
    r = find(w, selector, VECTOR_TS, &d);
    if (r != LINEAR_DONE)
        return r;
    if ((d.s.rights & (RIGHTS_P | RIGHTS_S | RIGHTS_TYPE)) != (RIGHTS_P | TYPE_LDT))
        return refuse(w, VECTOR_TS, selector);
    vcpu_set_segment(w->v, SEGMENT_LDTR, selector, &d.s);
    return r;
}

/* SDM 3A "Exception Conditions Checked During a Task Switch". */
static bool fits(enum segment_id id, uint16_t selector, uint32_t rights, unsigned cpl)
{
    unsigned dpl = RIGHTS_DPL(rights), rpl = selector & SELECTOR_RPL;
    bool code = rights & SEGMENT_TYPE_CODE, conforming = code && (rights & SEGMENT_TYPE_DOWN);

    if (!(rights & RIGHTS_S))
        return false;
    switch (id) {
    case SEGMENT_CS:
        return code && (conforming ? dpl <= rpl : dpl == rpl);
    case SEGMENT_SS:
        return !code && (rights & SEGMENT_TYPE_WRITE) && dpl == cpl && rpl == cpl;
    default:
        return (!code || (rights & SEGMENT_TYPE_WRITE)) &&
               (conforming || (dpl >= cpl && dpl >= rpl));
    }
}

static enum linear_result load_segment(struct switching *w, enum segment_id id, uint16_t selector,
                                       unsigned cpl)
{
    struct descriptor d;
    enum linear_result r;

    if (!(selector & (SELECTOR_INDEX | SELECTOR_TI)))
        return id == SEGMENT_CS || id == SEGMENT_SS ? refuse(w, VECTOR_TS, selector) : LINEAR_DONE;
    r = find(w, selector, VECTOR_TS, &d);
    if (r != LINEAR_DONE)
        return r;
    if (!fits(id, selector, d.s.rights, cpl))
        return refuse(w, VECTOR_TS, selector);
    if (!(d.s.rights & RIGHTS_P))
        return refuse(w, id == SEGMENT_SS ? VECTOR_SS : VECTOR_NP, selector);
    if (!(d.s.rights & RIGHTS_ACCESSED)) {
        d.s.rights |= RIGHTS_ACCESSED;
        r = set_rights_byte(w, &d);
        if (r != LINEAR_DONE)
            return r;
    }
    vcpu_set_segment(w->v, id, selector, &d.s);
    return r;
}

/* The selectors are loaded before any descriptor: a fault among these finds the others so. Code
 * must look valid for a VM entry; nothing is executed from it. */
static void set_selectors(struct vcpu *v, const struct tss32 *tss, unsigned cpl)
{
    const struct segment none = {.rights = SEGMENT_RIGHTS_NULL | cpl << 5};
    const struct segment code = {
        .limit = UINT32_MAX,
        .rights = RIGHTS_P | RIGHTS_S | SEGMENT_TYPE_CODE | SEGMENT_TYPE_WRITE | RIGHTS_ACCESSED |
                  cpl << 5 | SEGMENT_RIGHTS_DB | RIGHTS_G,
    };

    for (unsigned i = 0; i < SEGMENT_REGISTERS; i++)
        vcpu_set_segment(v, (enum segment_id)i, (uint16_t)tss->segment[i],
                         i == SEGMENT_CS ? &code : &none);
    vcpu_set_segment(v, SEGMENT_LDTR, (uint16_t)tss->ldt, &none);
}

static enum linear_result load_segments(struct switching *w, const struct tss32 *tss)
{
    static const enum segment_id order[SEGMENT_REGISTERS] = {SEGMENT_CS, SEGMENT_SS, SEGMENT_ES,
                                                             SEGMENT_DS, SEGMENT_FS, SEGMENT_GS};
    bool v86 = vcpu_get_rflags(w->v) & RFLAGS_VM;
    unsigned cpl = v86 ? 3 : tss->segment[SEGMENT_CS] & SELECTOR_RPL;
    enum linear_result r;

    set_selectors(w->v, tss, cpl);
    for (unsigned i = 0; v86 && i < SEGMENT_REGISTERS; i++) {
        struct segment s = {(tss->segment[i] & 0xffffu) << 4, FIXED_LIMIT_V86, RIGHTS_V86};

        vcpu_set_segment(w->v, (enum segment_id)i, (uint16_t)tss->segment[i], &s);
    }
    r = load_ldt(w, (uint16_t)tss->ldt);
    for (unsigned i = 0; !v86 && r == LINEAR_DONE && i < SEGMENT_REGISTERS; i++)
        r = load_segment(w, order[i], (uint16_t)tss->segment[order[i]], cpl);
    return r;
}

static void load_registers(struct switching *w, const struct tss32 *tss)
{
    uint64_t flags = (tss->eflags & EFLAGS_DEFINED) | RFLAGS_FIXED;

    vcpu_set_rip(w->v, tss->eip);
    vcpu_set_rflags(w->v, flags | (nests(w) ? RFLAGS_NT : 0));
    for (unsigned i = 0; i < GPRS; i++)
        x86_write_gpr(w->v, i, tss->gpr[i]);
    vcpu_set_dr7(w->v, vcpu_get_dr7(w->v) & ~DR7_LOCAL);
    vcpu_end_shadow(w->v);
}

/* An exception's error code goes to the new task's stack. */
static enum linear_result push_error(struct switching *w, bool wide)
{
    struct vcpu *v = w->v;
    struct segment ss = vcpu_get_segment(v, SEGMENT_SS);
    unsigned size = wide ? 4 : 2;
    bool v86 = vcpu_get_rflags(v) & RFLAGS_VM;
    uint64_t mask = ss.rights & SEGMENT_RIGHTS_DB ? UINT32_MAX : 0xffff;
    uint64_t old = vcpu_get_rsp(v), to = (old - size) & mask, linear;
    struct paging p;

    if (!segment_reach(&ss, SEGMENT_SS, v86 ? SEGMENT_REAL : SEGMENT_PROTECTED, to, size, true,
                       &linear, &w->fault)) {
        w->fault.error = w->external;
        return LINEAR_FAULT;
    }
    vcpu_set_rsp(v, (old & ~mask) | to);
    x86_read_paging(v, vcpu_get_rflags(v), &p);
    return linear_write(&p, &v->guest->mem, linear, &w->t->error, size, &w->fault);
}

static enum linear_result enter_new(struct switching *w, const struct descriptor *new,
                                    const struct tss32 *tss)
{
    struct vcpu *v = w->v;
    bool wide = new->s.rights &RIGHTS_TSS_32;
    bool cr3_is_bad;
    enum linear_result r;

    vcpu_set_segment(v, SEGMENT_TR, new->selector, &new->s);
    vcpu_set_cr0(v, vcpu_get_cr0(v) | CR0_TS);
    cr3_is_bad = wide && (vcpu_get_cr0(v) & CR0_PG) && !x86_load_cr3(v, tss->cr3);
    load_registers(w, tss);
    read_paging(w);
    r = load_segments(w, tss);
    if (cr3_is_bad) { /* as MOV to CR3 */
        w->fault = (struct guest_fault){.vector = VECTOR_GP};
        return LINEAR_FAULT;
    }
    if (r == LINEAR_DONE && w->t->by == TASK_GATE && (w->t->event & EVENT_ERROR_CODE))
        r = push_error(w, wide);
    return r;
}

static enum exit_action fault(struct switching *w, enum linear_result r)
{
    if (r == LINEAR_OUTSIDE)
        return x86_outside(w->v, "switched tasks with", w->fault.address);
    return x86_raise_during(w->v, w->t->event, &w->fault);
}

enum exit_action x86_task_switch(struct vcpu *v, const struct task_switch *t)
{
    uint32_t type = t->event & EVENT_TYPE;
    struct switching w = {
        .v = v,
        .t = t,
        .external = (t->event & EVENT_VALID) &&
                    (type == EVENT_EXTERNAL || type == EVENT_NMI || type == EVENT_EXCEPTION),
    };
    struct descriptor new;
    struct tss32 tss;
    enum linear_result r;

    x86_leave_halt(v);
    read_paging(&w);
    r = leave_old(&w, &new, &tss);
    if (r != LINEAR_DONE)
        return fault(&w, r);
    if (t->by == TASK_IRET)
        vcpu_block_nmi(v, false);
    else if ((t->event & EVENT_VALID) && type == EVENT_NMI)
        vcpu_block_nmi(v, true);
    r = enter_new(&w, &new, &tss);
    if (r != LINEAR_DONE)
        return fault(&w, r);
    return (new.s.rights &RIGHTS_TSS_32) && (tss.trap & 1) ? x86_trap_db(v, DR6_BT) : EXIT_RESUME;
}

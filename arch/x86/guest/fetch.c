/* Fetches the instruction that caused an exit, through the guest's page tables. */
#include "arch/x86/guest/vcpu_state.h"
#include "hv/lib.h"

struct fetch {
    uint64_t window[DECODE_WINDOW / 8];
    unsigned have; /* bytes of it that are known; the others are 0 */
};
_Static_assert(DECODE_MAX == 8 + 7, "two words, which overlap, have all that is fetched");

/* Loops that wait for a device fetch the same instruction again and again. */
static bool is_same(const struct x86_decoded *d, const struct operand_space *s, uint64_t linear,
                    unsigned code)
{
    const uint8_t *known = (const uint8_t *)d->window;

    return d->at && d->linear == linear && d->code_bytes == code &&
           paging_holds(&d->trail, &s->paging) && get_le64(d->at) == get_le64(known) &&
           get_le64(d->at + 7) == get_le64(known + 7);
}

/* All of it is in one page. */
static void remember(struct x86_decoded *d, const struct operand_space *s, uint64_t linear,
                     const struct operand_part *part)
{
    if (part->bytes < DECODE_MAX || !paging_trace(&s->paging, s->mem, linear, &d->trail))
        return;
    d->linear = linear;
    d->at = part->at;
}

static enum exit_action find_page(struct vcpu *v, const struct operand_space *s, uint64_t linear,
                                  struct operand_part *part)
{
    struct guest_fault f;
    enum operand_result r;

    r = operand_fetch(s, s->mode == SEGMENT_LONG ? linear : (uint32_t)linear, part, &f);
    if (__builtin_expect(r == OPERAND_REACHED && part->at, 1))
        return EXIT_SKIP;
    if (r == OPERAND_FAULT)
        return x86_raise_fault(v, &f);
    return r == OPERAND_TABLE ? x86_outside(v, "read from", f.address)
                              : x86_outside(v, "executed", part->gpa);
}

static void take_page(struct fetch *f, const struct operand_part *part)
{
    uint8_t *window = (uint8_t *)f->window;

    for (unsigned i = 0; i < part->bytes && f->have < DECODE_MAX; i++)
        window[f->have++] = part->at[i];
}

/* 0, or decode()'s result; -E_AGAIN leaves *d as it was. */
static int decode_it(struct x86_decoded *d, const struct fetch *f, unsigned code)
{
    struct instruction in;
    int rc = decode(&in, (const uint8_t *)f->window, f->have, code);

    if (rc == -E_AGAIN)
        return rc;
    if (rc)
        in = (struct instruction){.length = DECODE_MAX}; /* all bytes are shown */
    d->in = in;
    d->code_bytes = code;
    d->emulated = rc == 0 && emulate_choose(&in, &d->e);
    memcpy(d->window, f->window, sizeof(d->window));
    return rc;
}

/* The instruction at `linear` is not the last one again. */
static __attribute__((noinline)) enum exit_action fetch_new(struct vcpu *v,
                                                            const struct operand_space *s,
                                                            uint64_t linear, unsigned code)
{
    struct x86_decoded *d = &vcpu_x86(v)->decoded;
    struct operand_part part;
    struct fetch f = {{0}, 0};
    enum exit_action a = find_page(v, s, linear, &part);
    int rc;

    d->at = NULL;
    if (a != EXIT_SKIP)
        return a;
    take_page(&f, &part);
    rc = decode_it(d, &f, code);
    if (rc == 0)
        remember(d, s, linear, &part);
    if (rc == -E_AGAIN) {
        a = find_page(v, s, linear + f.have, &part);
        if (a != EXIT_SKIP)
            return a;
        take_page(&f, &part);
        rc = decode_it(d, &f, code);
    }
    /* SDM 2A "Instruction Format": it is too long. */
    return rc == -E_RANGE ? x86_raise_gp(v) : EXIT_SKIP;
}

enum exit_action x86_fetch(struct vcpu *v, const struct operand_space *s)
{
    const struct x86_decoded *d = &vcpu_x86(v)->decoded;
    struct segment cs = {0};
    uint64_t rip = v->exit->rip;
    unsigned code = 8;

    if (s->mode != SEGMENT_LONG) {
        cs = vcpu_get_segment(v, SEGMENT_CS);
        code = cs.rights & SEGMENT_RIGHTS_DB ? 4 : 2;
    }
    if (!is_same(d, s, cs.base + rip, code)) {
        enum exit_action a = fetch_new(v, s, cs.base + rip, code);

        if (a != EXIT_SKIP)
            return a;
    }
    if (code != 8 && d->emulated && rip + d->in.length - 1 > cs.limit)
        return x86_raise_gp(v); /* SDM 3A "Limit Checking" */
    v->exit->instruction_length = d->in.length;
    return EXIT_SKIP;
}

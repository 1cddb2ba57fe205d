#include "hv/load_plan.h"

#include "hv/abi/memory.h"
#include "hv/job.h"
#include "hv/lib.h"

#define REAL_MODE_END 0x10000u
#define GDT_SIZE      32u
#define SELECTOR_MASK 0x18u /* of that GDT, RPL 0 */
#define BELOW_4G      (1ull << 32)

static bool within(uint64_t start, uint64_t size, uint64_t limit)
{
    return start <= limit && size <= limit - start;
}

static bool piece_is_good(const struct load_plan *p, const struct load_piece *k,
                          const struct load_sizes *sizes, uint64_t memory)
{
    uint64_t limit = k->source == LOAD_FROM_BYTES  ? p->byte_count
                     : k->source < LOAD_FROM_BYTES ? sizes->size[k->source]
                                                   : 0;

    return k->source <= LOAD_FROM_BYTES && k->size > 0 && within(k->offset, k->size, limit) &&
           within(k->address, k->size, memory);
}

static bool selector_is_good(uint16_t s)
{
    return s && (s & ~SELECTOR_MASK) == 0;
}

/* Checks only what VM entry requires of the state: a guest may set its registers as it likes
 * anyway. SDM 3C "Checks on Guest Segment Registers", "Checks on Guest RIP, RFLAGS, and SSP". */
static const char *state_fault(const struct load_result *s, uint64_t memory)
{
    switch (s->mode) {
    case LOAD_REAL16:
        if (s->rip >= REAL_MODE_END || s->rsp >= REAL_MODE_END)
            return "the state: real mode ends at 64 KiB";
        break;
    case LOAD_PROT32:
        if (s->rip >= BELOW_4G || s->rsp >= BELOW_4G)
            return "the state: RIP and RSP have 32 bits";
        if (s->gdt_limit != GDT_SIZE - 1 || !within(s->gdt_base, GDT_SIZE, memory))
            return "the state: the GDT";
        if (!selector_is_good(s->cs) || !selector_is_good(s->ds))
            return "the state: the selectors";
        break;
    default:
        return "the state: the mode";
    }
    return str_is_word(s->kind, sizeof(s->kind)) ? NULL : "the state: the kind";
}

int load_plan_check(const struct load_plan *p, const struct load_sizes *sizes, uint64_t memory,
                    const char **what)
{
    memory = memory_below(memory);
    *what = "the number of pieces";
    if (p->piece_count > LOAD_PIECES_MAX)
        return -E_INVAL;
    *what = "the number of bytes";
    if (p->byte_count > LOAD_BYTES_MAX)
        return -E_INVAL;
    *what = "a piece";
    for (unsigned i = 0; i < p->piece_count; i++) {
        if (!piece_is_good(p, &p->pieces[i], sizes, memory))
            return -E_INVAL;
        job_rest();
    }
    *what = state_fault(&p->start, memory);
    return *what ? -E_INVAL : 0;
}

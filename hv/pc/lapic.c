#include "hv/pc/lapic.h"

#include "hv/lib.h"

/* Integrated, six entries in the LVT, EOI broadcasts can be suppressed. */
#define VERSION             0x01050014u
#define SVR_RESET           0xffu
#define SVR_ENABLE          (1u << 8)
#define SVR_NO_FOCUS        (1u << 9) /* of focus processors, which no CPU has today */
#define SVR_NO_BROADCAST    (1u << 12)
#define DFR_FLAT            0xffffffffu
#define DFR_FIXED           0x0fffffffu
#define DFR_MODEL_SHIFT     28
#define TIMER_MODE_SHIFT    17
#define LVT_MODE_SHIFT      8
#define ICR_SELF            (1u << 18)
#define ICR_BUSY            (1u << 12)
#define ICR_MODE            (7u << LVT_MODE_SHIFT)
#define ESR_SEND_ILLEGAL    (1u << 5)
#define ESR_RECEIVE_ILLEGAL (1u << 6)
#define ESR_REGISTER        (1u << 7)
#define BASE_RESERVED       0x2ffull
#define X2APIC_CLUSTER      16u
#define BROADCAST           0xffu
#define REGISTERS           0x40u
#define WORDS               8u

enum timer_mode { TIMER_ONE_SHOT, TIMER_PERIODIC, TIMER_TSC_DEADLINE };

/* SDM 3A "Local APIC Register Address Map", "x2APIC Register Address Space". */
enum { R = 1, W = 2, X_R = 4, X_W = 8, RW = R | W | X_R | X_W };
#define LVT_BUSY     (1u << 12)
#define LINT_READ_IN ((1u << 12) | (1u << 14))
static const struct {
    uint8_t access;   /* X_: as an MSR */
    uint32_t bits;    /* that can be written */
    uint32_t ignored; /* defined, but writing them does nothing. Others are #GP in an MSR */
} rules[REGISTERS] = {
    [LAPIC_ID >> 4] = {R | W | X_R, 0, 0},
    [LAPIC_VERSION >> 4] = {R | X_R, 0, 0},
    [LAPIC_TPR >> 4] = {RW, 0xff, 0},
    [0x09] = {R, 0, 0}, /* arbitration priority, remote read: 0 */
    [LAPIC_PPR >> 4] = {R | X_R, 0, 0},
    [LAPIC_EOI >> 4] = {W | X_W, 0, 0},
    [0x0c] = {R, 0, 0},
    [LAPIC_LDR >> 4] = {R | W | X_R, 0xff000000, 0},
    [LAPIC_DFR >> 4] = {R | W, 0xf0000000, 0},
    [LAPIC_SVR >> 4] = {RW, 0x11ff, SVR_NO_FOCUS},
    [LAPIC_ISR >> 4 ...(LAPIC_ESR >> 4) - 1] = {R | X_R, 0, 0},
    [LAPIC_ESR >> 4] = {RW, 0, 0},
    [LAPIC_ICR >> 4] = {RW, 0xccfff, ICR_BUSY},
    [LAPIC_ICR_HIGH >> 4] = {R | W, 0xff000000, 0},
    [LAPIC_LVT_TIMER >> 4] = {RW, 0x700ff, LVT_BUSY},
    [LAPIC_LVT_THERMAL >> 4] = {RW, 0x107ff, LVT_BUSY},
    [LAPIC_LVT_PMC >> 4] = {RW, 0x107ff, LVT_BUSY},
    [LAPIC_LVT_LINT0 >> 4] = {RW, 0x1a7ff, LINT_READ_IN},
    [LAPIC_LVT_LINT1 >> 4] = {RW, 0x1a7ff, LINT_READ_IN},
    [LAPIC_LVT_ERROR >> 4] = {RW, 0x100ff, LVT_BUSY},
    [LAPIC_INITIAL_COUNT >> 4] = {RW, UINT32_MAX, 0},
    [LAPIC_CURRENT_COUNT >> 4] = {R | X_R, 0, 0},
    [LAPIC_DIVIDE >> 4] = {RW, 0xb, 0},
    [LAPIC_SELF_IPI >> 4] = {X_W, 0xff, 0},
};

static void put(struct lapic *l, unsigned offset, uint32_t value)
{
    __atomic_store_n(&l->regs[offset / 4], value, __ATOMIC_RELAXED);
}

static unsigned word_of(unsigned bits, uint8_t vector)
{
    return bits + (vector >> 5) * 16u;
}

static bool has(const struct lapic *l, unsigned bits, uint8_t vector)
{
    return lapic_reg(l, word_of(bits, vector)) >> (vector & 31) & 1;
}

static void set(struct lapic *l, unsigned bits, uint8_t vector, bool value)
{
    uint32_t bit = 1u << (vector & 31), old = lapic_reg(l, word_of(bits, vector));

    put(l, word_of(bits, vector), value ? old | bit : old & ~bit);
}

/* Written out: it is called several times for each interrupt, and most words are 0. */
int lapic_highest(const struct lapic *l, unsigned bits)
{
    const uint32_t *first = &l->regs[bits / 4];
    uint32_t word;

#define LOOK_AT(i)                                                                                 \
    do {                                                                                           \
        word = __atomic_load_n(&first[(i)*4], __ATOMIC_RELAXED);                                   \
        if (word)                                                                                  \
            return (i)*32 + 31 - __builtin_clz(word);                                              \
    } while (0)
    LOOK_AT(7);
    LOOK_AT(6);
    LOOK_AT(5);
    LOOK_AT(4);
    LOOK_AT(3);
    LOOK_AT(2);
    LOOK_AT(1);
    LOOK_AT(0);
    return -1;
}

bool lapic_takes(const struct lapic *l)
{
    return (__atomic_load_n(&l->base, __ATOMIC_RELAXED) & LAPIC_BASE_EN) &&
           (lapic_reg(l, LAPIC_SVR) & SVR_ENABLE);
}

/* ---- interrupts ---- */

int lapic_update(struct lapic *l)
{
    int request = lapic_highest(l, LAPIC_IRR), service = lapic_highest(l, LAPIC_ISR);
    uint32_t ppr = lapic_reg(l, LAPIC_TPR), class = service < 0 ? 0 : (uint32_t)service & 0xf0;
    uint32_t now;

    if (class > (ppr & 0xf0))
        ppr = class;
    put(l, LAPIC_PPR, ppr);
    now = request >> 4 > (int)(ppr >> 4) ? LAPIC_INTERRUPT : 0;
    if ((__atomic_load_n(l->signals, __ATOMIC_RELAXED) & LAPIC_INTERRUPT) != now)
        __atomic_fetch_xor(l->signals, LAPIC_INTERRUPT, __ATOMIC_RELAXED);
    if (l->apicv)
        __atomic_fetch_or(l->signals, LAPIC_CHANGED, __ATOMIC_RELAXED);
    return request;
}

void lapic_hand_over(struct lapic *l)
{
    uint32_t done = LAPIC_CHANGED | (l->by_cpu ? LAPIC_INTERRUPT : 0);

    __atomic_fetch_and(l->signals, ~done, __ATOMIC_RELAXED);
}

static void set_level(struct lapic *l, uint8_t vector, bool level)
{
    if (has(l, LAPIC_TMR, vector) == level)
        return;
    set(l, LAPIC_TMR, vector, level);
    l->level_changed = true;
}

static void raise_local(struct lapic *l, unsigned lvt);

static void note_error(struct lapic *l, uint32_t error)
{
    if (l->errors & error)
        return; /* which also ends an endless loop with an illegal vector in the LVT */
    l->errors |= error;
    raise_local(l, LAPIC_LVT_ERROR);
}

/* Accepts an edge-triggered interrupt of its own. */
static void accept_edge(struct lapic *l, uint8_t vector)
{
    if (vector < LAPIC_VECTORS_RESERVED) {
        note_error(l, ESR_RECEIVE_ILLEGAL);
        return;
    }
    set_level(l, vector, false);
    set(l, LAPIC_IRR, vector, true);
    (void)lapic_update(l);
}

static void raise_local(struct lapic *l, unsigned lvt)
{
    uint32_t entry = lapic_reg(l, lvt);

    if (!(entry & LAPIC_LVT_MASKED) && lapic_takes(l))
        accept_edge(l, (uint8_t)entry);
}

/*
 * SDM 3C "Posted-Interrupt Processing". The order matters: vector, LAPIC_ON, signal, then the
 * notification; whoever takes it, the CPU or lapic_take_posted(), goes the same way: signal,
 * LAPIC_ON, vectors. So a vector that finds LAPIC_ON set is taken by whoever clears that, and
 * LAPIC_ON is never set for long without a signal for the core, or a notification for the CPU.
 */
static enum lapic_news post_to_cpu(struct lapic *l, uint8_t vector)
{
    uint64_t bit = 1ull << (vector & 63);

    __atomic_fetch_or(&lapic_descriptor(l)->vectors[vector >> 6], bit, __ATOMIC_RELAXED);
    if (__atomic_fetch_or(&lapic_descriptor(l)->control, LAPIC_ON, __ATOMIC_SEQ_CST) & LAPIC_ON)
        return LAPIC_NO_NEWS;
    __atomic_fetch_or(l->signals, LAPIC_IN_CPU, __ATOMIC_SEQ_CST);
    return LAPIC_NOTIFY;
}

enum lapic_news lapic_post(struct lapic *l, uint8_t vector, bool level)
{
    uint64_t bit = 1ull << (vector & 63);

    /* The CPU does not check the vector, and leaves TMR as it is. */
    if (__atomic_load_n(&l->posting, __ATOMIC_RELAXED) && !level &&
        vector >= LAPIC_VECTORS_RESERVED && !has(l, LAPIC_TMR, vector))
        return post_to_cpu(l, vector);
    if (level)
        __atomic_fetch_or(&l->posted_level[vector >> 6], bit, __ATOMIC_RELAXED);
    else if (__atomic_load_n(&l->posted_level[vector >> 6], __ATOMIC_RELAXED) & bit)
        __atomic_fetch_and(&l->posted_level[vector >> 6], ~bit, __ATOMIC_RELAXED);
    __atomic_fetch_or(&l->posted[vector >> 6], bit, __ATOMIC_RELEASE);
    return __atomic_fetch_or(l->signals, LAPIC_POSTED, __ATOMIC_ACQ_REL) & LAPIC_POSTED
               ? LAPIC_NO_NEWS
               : LAPIC_LOOK;
}

/* What the CPU has not taken joins the rest. */
static void take_descriptor(struct lapic *l)
{
    __atomic_fetch_and(&lapic_descriptor(l)->control, ~LAPIC_ON, __ATOMIC_SEQ_CST);
    for (unsigned i = 0; i < WORDS / 2; i++) {
        uint64_t edges = __atomic_exchange_n(&lapic_descriptor(l)->vectors[i], 0, __ATOMIC_ACQUIRE);

        __atomic_fetch_and(&l->posted_level[i], ~edges, __ATOMIC_RELAXED);
        __atomic_fetch_or(&l->posted[i], edges, __ATOMIC_RELAXED);
    }
}

static void take_word(struct lapic *l, unsigned i, uint32_t posted, uint32_t levels)
{
    uint32_t level = lapic_reg(l, LAPIC_TMR + i * 16), now = (level & ~posted) | (levels & posted);

    if (!posted)
        return;
    if (i == 0 && (posted & 0xffff)) {
        posted &= ~0xffffu;
        note_error(l, ESR_RECEIVE_ILLEGAL);
    }
    if (now != level) {
        put(l, LAPIC_TMR + i * 16, now);
        l->level_changed = true;
    }
    put(l, LAPIC_IRR + i * 16, lapic_reg(l, LAPIC_IRR + i * 16) | posted);
}

void lapic_take_posted(struct lapic *l)
{
    __atomic_fetch_and(l->signals, ~(LAPIC_POSTED | LAPIC_IN_CPU), __ATOMIC_ACQ_REL);
    if (__builtin_expect(
            __atomic_load_n(&lapic_descriptor(l)->control, __ATOMIC_RELAXED) & LAPIC_ON, 0))
        take_descriptor(l);
    for (unsigned i = 0; i < WORDS / 2; i++) {
        uint64_t posted, levels;

        if (!__atomic_load_n(&l->posted[i], __ATOMIC_RELAXED))
            continue;
        posted = __atomic_exchange_n(&l->posted[i], 0, __ATOMIC_ACQUIRE);
        levels = __atomic_load_n(&l->posted_level[i], __ATOMIC_RELAXED);
        take_word(l, 2 * i, (uint32_t)posted, (uint32_t)levels);
        take_word(l, 2 * i + 1, (uint32_t)(posted >> 32), (uint32_t)(levels >> 32));
    }
    (void)lapic_update(l);
}

uint8_t lapic_ack(struct lapic *l)
{
    int vector = lapic_update(l);

    if (!(*l->signals & LAPIC_INTERRUPT))
        return (uint8_t)lapic_reg(l, LAPIC_SVR);
    set(l, LAPIC_IRR, (uint8_t)vector, false);
    set(l, LAPIC_ISR, (uint8_t)vector, true);
    (void)lapic_update(l);
    return (uint8_t)vector;
}

void lapic_note_eoi(struct lapic *l, uint8_t vector)
{
    if (has(l, LAPIC_TMR, vector))
        l->bus->eoi(l->ctx, l->vcpu, vector, !(lapic_reg(l, LAPIC_SVR) & SVR_NO_BROADCAST));
}

static void end_of_interrupt(struct lapic *l)
{
    int vector = lapic_highest(l, LAPIC_ISR);

    if (vector < 0)
        return;
    set(l, LAPIC_ISR, (uint8_t)vector, false);
    (void)lapic_update(l);
    lapic_note_eoi(l, (uint8_t)vector);
}

void lapic_set_tpr(struct lapic *l, uint32_t value)
{
    put(l, LAPIC_TPR, value);
    (void)lapic_update(l);
}

/* ---- destinations ---- */

/* In x2APIC mode the logical id says cluster and member: SDM 3A "Logical Destination Mode in x2APIC
 * Mode". */
static bool is_member(const struct lapic *l, uint32_t dest)
{
    uint32_t ldr = lapic_reg(l, LAPIC_LDR), model = lapic_reg(l, LAPIC_DFR) >> DFR_MODEL_SHIFT;

    if (lapic_is_x2apic(l))
        return dest >> X2APIC_CLUSTER == ldr >> X2APIC_CLUSTER && (dest & ldr & 0xffff);
    ldr >>= 24;
    if (dest > BROADCAST)
        return false;
    if (model == 0xf)
        return ldr & dest;
    return model == 0 && dest >> 4 == ldr >> 4 && (ldr & dest & 0xf);
}

bool lapic_is_at(const struct lapic *l, uint32_t dest, bool logical, bool wide)
{
    if (dest == (wide ? UINT32_MAX : BROADCAST))
        return true;
    return logical ? is_member(l, dest) : dest == l->vcpu;
}

static void send_ipi(struct lapic *l, uint32_t icr, uint32_t dest)
{
    unsigned mode = icr >> LVT_MODE_SHIFT & 7;

    if ((mode == LAPIC_FIXED || mode == LAPIC_LOWEST) && (icr & 0xff) < LAPIC_VECTORS_RESERVED)
        note_error(l, ESR_SEND_ILLEGAL);
    else
        l->bus->ipi(l->ctx, l->vcpu, icr, dest, lapic_is_x2apic(l));
}

/* ---- the timer ---- */

static enum timer_mode timer_mode(const struct lapic *l)
{
    return (enum timer_mode)(lapic_reg(l, LAPIC_LVT_TIMER) >> TIMER_MODE_SHIFT & 3);
}

static void stop_timer(struct lapic *l)
{
    l->deadline = NEVER;
    l->period = l->tsc_deadline = 0;
}

/* The ticks of `count` units. */
static uint64_t ticks_of(const struct lapic *l, uint64_t count)
{
    return count << l->shift;
}

static uint32_t current_count(struct lapic *l, uint64_t now)
{
    if (now >= l->deadline)
        lapic_timer(l, now);
    if (l->deadline == NEVER || l->tsc_deadline)
        return 0;
    return (uint32_t)((l->deadline - now + ticks_of(l, 1) - 1) >> l->shift);
}

/* With `left` units to go in this period. */
static void run_timer(struct lapic *l, uint32_t left, uint64_t now)
{
    uint32_t count = lapic_reg(l, LAPIC_INITIAL_COUNT);

    stop_timer(l);
    if (count == 0 || left == 0)
        return;
    l->deadline = now + ticks_of(l, left);
    l->period = max_u64(ticks_of(l, count), LAPIC_PERIOD_LEAST);
}

/* To its next deadline. */
static void advance_timer(struct lapic *l, uint64_t now)
{
    if (timer_mode(l) != TIMER_PERIODIC) {
        stop_timer(l);
    } else {
        l->deadline += l->period;
        if (now >= l->deadline) /* some are missed: the next one is in phase */
            l->deadline += ((now - l->deadline) / l->period + 1) * l->period;
    }
}

void lapic_timer(struct lapic *l, uint64_t now)
{
    advance_timer(l, now);
    raise_local(l, LAPIC_LVT_TIMER);
}

/* The vector of the timer's interrupt; -1: none comes, or it would have to wait. */
static int timer_vector(const struct lapic *l)
{
    uint32_t entry = lapic_reg(l, LAPIC_LVT_TIMER), vector = entry & 0xff;

    if ((entry & LAPIC_LVT_MASKED) || vector < LAPIC_VECTORS_RESERVED || !lapic_takes(l) ||
        vector >> 4 <= lapic_reg(l, LAPIC_PPR) >> 4)
        return -1;
    return (int)vector;
}

int lapic_timer_by_cpu(struct lapic *l, uint64_t now)
{
    int vector = timer_vector(l);

    if (vector < 0 || has(l, LAPIC_TMR, (uint8_t)vector))
        return -1;
    if (l->tsc_mode)
        stop_timer(l);
    else
        advance_timer(l, now);
    put(l, word_of(LAPIC_IRR, (uint8_t)vector), 1u << (vector & 31));
    return vector;
}

void lapic_shift(struct lapic *l, uint64_t ticks)
{
    if (l->deadline != NEVER)
        l->deadline += ticks;
}

void lapic_shift_tsc(struct lapic *l, uint64_t ticks)
{
    int64_t by = (int64_t)ticks;

    if (!l->tsc_deadline)
        return;
    if (by < 0)
        l->deadline = l->deadline < NEVER - 1 + ticks ? l->deadline - ticks : NEVER - 1;
    else
        l->deadline -= min_u64(l->deadline, ticks);
}

/* To or from TSC-deadline mode the timer is disarmed. SDM 3A "TSC-Deadline Mode" */
static void write_timer(struct lapic *l, uint32_t entry)
{
    bool was = l->tsc_mode, is = (entry >> TIMER_MODE_SHIFT & 3) == TIMER_TSC_DEADLINE;

    put(l, LAPIC_LVT_TIMER, entry);
    l->tsc_mode = is;
    if (was == is)
        return;
    stop_timer(l);
    put(l, LAPIC_INITIAL_COUNT, 0);
}

/* SDM 3A "Divide Configuration Register": bits 3, 1, 0; 7 divides by 1. */
static void set_shift(struct lapic *l)
{
    uint32_t divide = lapic_reg(l, LAPIC_DIVIDE);

    l->shift = (((divide & 3) | (divide >> 1 & 4)) + 1) % 8 + l->clock_shift;
}

int lapic_prepare_wake(struct lapic *l, struct lapic_wake *w)
{
    int vector = timer_vector(l);

    if (vector < 0 || (*l->signals & (LAPIC_INTERRUPT | LAPIC_POSTED | LAPIC_IN_CPU)))
        return -1;
    *w = (struct lapic_wake){l->deadline,     l->tsc_deadline,
                             l->period,       lapic_reg(l, LAPIC_PPR),
                             (uint8_t)vector, has(l, LAPIC_TMR, (uint8_t)vector)};
    lapic_timer(l, l->deadline);
    (void)lapic_ack(l);
    return vector;
}

void lapic_undo_wake(struct lapic *l, const struct lapic_wake *w)
{
    l->deadline = w->deadline;
    l->tsc_deadline = w->tsc_deadline;
    l->period = w->period;
    set(l, LAPIC_ISR, w->vector, false);
    set_level(l, w->vector, w->level);
    (void)lapic_update(l);
}

/* ---- registers ---- */

static void change_lint0(struct lapic *l)
{
    uint32_t lint0 = lapic_reg(l, LAPIC_LVT_LINT0);

    l->extint = !(l->base & LAPIC_BASE_EN) ||
                (lint0 & (LAPIC_LVT_MASKED | ICR_MODE)) == LAPIC_EXTINT << LVT_MODE_SHIFT;
    l->bus->lint0(l->ctx, l->vcpu);
}

/* Software disables it: every LVT entry is masked. */
static void write_svr(struct lapic *l, uint32_t value)
{
    put(l, LAPIC_SVR, value);
    (void)lapic_update(l);
    if (value & SVR_ENABLE)
        return;
    for (unsigned lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 16)
        put(l, lvt, lapic_reg(l, lvt) | LAPIC_LVT_MASKED);
    change_lint0(l);
}

static void write_lvt(struct lapic *l, unsigned offset, uint32_t value)
{
    if (!(lapic_reg(l, LAPIC_SVR) & SVR_ENABLE))
        value |= LAPIC_LVT_MASKED;
    if (offset == LAPIC_LVT_TIMER)
        write_timer(l, value);
    else
        put(l, offset, value);
    if (offset == LAPIC_LVT_LINT0)
        change_lint0(l);
}

static void write_divide(struct lapic *l, uint32_t value, uint64_t now)
{
    uint32_t left = current_count(l, now);

    put(l, LAPIC_DIVIDE, value);
    set_shift(l);
    if (left)
        run_timer(l, left, now);
}

/* The register exists and can be written; `value` has only bits that it has. */
static void write_register(struct lapic *l, unsigned offset, uint32_t value, uint64_t now)
{
    switch (offset) {
    case LAPIC_ID:
        put(l, LAPIC_ID, l->vcpu << 24);
        break;
    case LAPIC_TPR:
        lapic_set_tpr(l, value);
        break;
    case LAPIC_EOI:
        put(l, LAPIC_EOI, 0);
        end_of_interrupt(l);
        break;
    case LAPIC_DFR:
        put(l, LAPIC_DFR, value | DFR_FIXED);
        break;
    case LAPIC_SVR:
        write_svr(l, value);
        break;
    case LAPIC_ESR:
        put(l, LAPIC_ESR, l->errors);
        l->errors = 0;
        break;
    case LAPIC_ICR:
        put(l, LAPIC_ICR, value);
        send_ipi(l, value,
                 lapic_is_x2apic(l) ? l->regs[LAPIC_ICR / 4 + 1]
                                    : l->regs[LAPIC_ICR_HIGH / 4] >> 24);
        break;
    case LAPIC_INITIAL_COUNT:
        if (l->tsc_mode)
            value = 0;
        put(l, LAPIC_INITIAL_COUNT, value);
        if (!l->tsc_mode)
            run_timer(l, value, now);
        break;
    case LAPIC_DIVIDE:
        write_divide(l, value, now);
        break;
    case LAPIC_SELF_IPI:
        put(l, LAPIC_SELF_IPI, 0);
        send_ipi(l, ICR_SELF | value, 0);
        break;
    case LAPIC_LDR:
    case LAPIC_ICR_HIGH:
        put(l, offset, value);
        break;
    default:
        write_lvt(l, offset, value);
        break;
    }
}

/* Of a register that exists and can be read. */
static uint32_t read_register(struct lapic *l, unsigned offset, uint64_t now)
{
    return offset == LAPIC_CURRENT_COUNT ? current_count(l, now) : lapic_reg(l, offset);
}

static bool allows(unsigned offset, unsigned access)
{
    return offset >> 4 < REGISTERS && (rules[offset >> 4].access & access);
}

uint32_t lapic_mmio_read(struct lapic *l, unsigned offset, unsigned size, uint64_t now)
{
    unsigned at = offset & ~15u, byte = offset & 15;

    if (!allows(at, R)) {
        if (!allows(at, W))
            note_error(l, ESR_REGISTER);
        return 0;
    }
    if (byte >= 4)
        return 0;
    (void)size;
    return read_register(l, at, now) >> (8 * byte);
}

void lapic_mmio_write(struct lapic *l, unsigned offset, unsigned size, uint32_t value, uint64_t now)
{
    if (!allows(offset, W)) {
        if (!allows(offset, R))
            note_error(l, ESR_REGISTER);
    } else if (!(offset & 15) && size >= 4) {
        write_register(l, offset, value & rules[offset >> 4].bits, now);
    }
}

void lapic_written(struct lapic *l, unsigned offset, uint64_t now)
{
    if (allows(offset, lapic_is_x2apic(l) ? X_W : W))
        write_register(l, offset, lapic_reg(l, offset) & rules[offset >> 4].bits, now);
}

bool lapic_msr_read(struct lapic *l, unsigned reg, uint64_t now, uint64_t *value)
{
    if (!lapic_is_x2apic(l) || !allows(reg << 4, X_R))
        return false;
    *value = read_register(l, reg << 4, now);
    if (reg == LAPIC_ICR >> 4)
        *value |= (uint64_t)l->regs[LAPIC_ICR / 4 + 1] << 32;
    return true;
}

bool lapic_msr_write(struct lapic *l, unsigned reg, uint64_t value, uint64_t now)
{
    uint64_t high = reg == LAPIC_ICR >> 4 ? UINT32_MAX : 0;

    if (!lapic_is_x2apic(l) || !allows(reg << 4, X_W) ||
        (value & ~(high << 32 | rules[reg].bits | rules[reg].ignored)))
        return false;
    if (high)
        put(l, LAPIC_ICR + 4, (uint32_t)(value >> 32));
    write_register(l, reg << 4, (uint32_t)value & rules[reg].bits, now);
    return true;
}

/* ---- states: SDM 3A "x2APIC States" ---- */

static void enter_x2apic(struct lapic *l)
{
    put(l, LAPIC_ID, l->vcpu);
    put(l, LAPIC_LDR, l->vcpu >> 4 << X2APIC_CLUSTER | 1u << (l->vcpu & 15));
    put(l, LAPIC_ICR + 4, 0);
    put(l, LAPIC_ICR_HIGH, 0);
}

/* Empty, as after power-up. */
static void reset_registers(struct lapic *l)
{
    lapic_take_posted(l); /* to be forgotten with the rest */
    for (unsigned i = 0; i < REGISTERS; i++)
        l->regs[i * 4] = 0;
    l->regs[LAPIC_ID / 4] = l->vcpu << 24;
    l->regs[LAPIC_VERSION / 4] = VERSION;
    l->regs[LAPIC_DFR / 4] = DFR_FLAT;
    l->regs[LAPIC_SVR / 4] = SVR_RESET;
    for (unsigned lvt = LAPIC_LVT_TIMER; lvt <= LAPIC_LVT_ERROR; lvt += 16)
        l->regs[lvt / 4] = LAPIC_LVT_MASKED;
    if (lapic_is_x2apic(l))
        enter_x2apic(l);
    l->errors = 0;
    l->tsc_mode = false;
    l->level_changed = true;
    stop_timer(l);
    set_shift(l);
}

void lapic_connect(struct lapic *l, unsigned vcpu, uint32_t *regs, uint32_t *signals,
                   const struct lapic_bus *bus, void *ctx)
{
    memset(l, 0, sizeof(*l));
    *signals = 0;
    l->vcpu = vcpu;
    l->regs = regs;
    l->signals = signals;
    l->bus = bus;
    l->ctx = ctx;
    l->deadline = NEVER;
}

void lapic_reset(struct lapic *l, uint64_t tsc_hz, bool init)
{
    bool first = l->vcpu == 0;

    if (!init)
        l->base = LAPIC_BASE | LAPIC_BASE_EN | (first ? LAPIC_BASE_BSP : 0);
    l->clock_shift = lapic_clock_shift(tsc_hz);
    reset_registers(l);
    if (first && !init)
        put(l, LAPIC_LVT_LINT0, LAPIC_EXTINT << LVT_MODE_SHIFT);
    change_lint0(l);
    (void)lapic_update(l);
}

bool lapic_set_base(struct lapic *l, uint64_t value, unsigned address_bits)
{
    const uint64_t mode = LAPIC_BASE_EN | LAPIC_BASE_X2APIC;
    uint64_t from = l->base & mode, to = value & mode;

    if ((value & BASE_RESERVED) || value >> address_bits)
        return false;
    /* x2APIC mode needs EN, is entered from xAPIC mode alone, and left by disabling alone. */
    if (to == LAPIC_BASE_X2APIC || (to == mode && from == 0) ||
        (from == mode && to == LAPIC_BASE_EN))
        return false;
    __atomic_store_n(&l->base, value, __ATOMIC_RELAXED);
    if (from == to)
        return true;
    if (to == mode)
        enter_x2apic(l);
    else
        reset_registers(l);
    (void)lapic_update(l);
    change_lint0(l);
    return true;
}

/* arch/x86/guest/vcpu_state.h for host tests: a plain struct. */
#pragma once

struct fake_state {
    struct x86_vcpu x86;
    uint64_t rip, rsp, rflags, cr0, cr3, cr4, efer, dr7, debugctl, tsc, tsc_offset;
    uint64_t dr[7], cr2, xcr0, tsc_aux;
    uint64_t shown_cr0, shown_cr4, owned_cr4, known_cr4;
    struct segment segment[SEGMENTS], gdtr, idtr;
    uint16_t selector[SEGMENTS];
    uint32_t tr_rights;
    unsigned cpl;
    uint64_t pdpte[4];
    unsigned flushes;
    uint64_t random;
    bool random_there, random_seed;
    bool shadow, nmi_blocked, watches_ends, last_was_port;
    uint64_t trap_due; /* as in DR6 */
    uint16_t port;     /* of the last exit */
    unsigned port_size;
    uint32_t event, error, length;
    bool irq_window, nmi_window, in_halt;
    int rvi, svi;        /* as it was told last */
    uint8_t late_vector; /* comes from another core just after that */
    unsigned loads;
    uint64_t deadline, deadline_set;
    enum exit_action (*enter)(struct vcpu *v); /* runs the guest until an exit */
    bool timer;                                /* that was the deadline */
};

static inline struct fake_state *fake_of(const struct vcpu *v)
{
    return (struct fake_state *)v->backend;
}

static inline struct x86_vcpu *vcpu_x86(const struct vcpu *v)
{
    return &fake_of(v)->x86;
}

#define FAKE_GET(name, type)                                                                       \
    static inline type vcpu_get_##name(const struct vcpu *v)                                       \
    {                                                                                              \
        return fake_of(v)->name;                                                                   \
    }
#define FAKE_SET(function, field, type)                                                            \
    static inline void vcpu_##function(struct vcpu *v, type value)                                 \
    {                                                                                              \
        fake_of(v)->field = value;                                                                 \
    }
#define FAKE_STATE(name) FAKE_GET(name, uint64_t) FAKE_SET(set_##name, name, uint64_t)
FAKE_STATE(rip)
FAKE_STATE(rsp)
FAKE_STATE(rflags)
FAKE_STATE(cr0)
FAKE_STATE(cr3)
FAKE_STATE(cr4)
FAKE_STATE(efer)
FAKE_STATE(dr7)
FAKE_STATE(debugctl)
FAKE_STATE(tsc)
FAKE_GET(tsc_offset, uint64_t)
FAKE_SET(set_cr2, cr2, uint64_t)
FAKE_SET(set_xcr0, xcr0, uint64_t)
FAKE_GET(tsc_aux, uint64_t)
FAKE_SET(show_cr0, shown_cr0, uint64_t)
FAKE_SET(show_cr4, shown_cr4, uint64_t)
FAKE_GET(tr_rights, uint32_t)
FAKE_SET(set_tr_rights, tr_rights, uint32_t)
FAKE_GET(cpl, unsigned)
FAKE_SET(block_nmi, nmi_blocked, bool)
FAKE_SET(watch_ends, watches_ends, bool)
FAKE_SET(inject, event, uint32_t)
FAKE_SET(inject_error, error, uint32_t)
FAKE_SET(inject_length, length, uint32_t)

static inline uint64_t vcpu_get_dr(const struct vcpu *v, unsigned n)
{
    return fake_of(v)->dr[n];
}
static inline void vcpu_set_dr(struct vcpu *v, unsigned n, uint64_t value)
{
    fake_of(v)->dr[n] = value;
}
static inline uint64_t vcpu_shown_cr0(const struct vcpu *v)
{
    return fake_of(v)->shown_cr0;
}
static inline uint64_t vcpu_shown_cr4(const struct vcpu *v)
{
    return fake_of(v)->shown_cr4;
}
static inline uint64_t vcpu_owned_cr4(const struct vcpu *v)
{
    return fake_of(v)->owned_cr4;
}
static inline uint64_t vcpu_known_cr4(const struct vcpu *v)
{
    return fake_of(v)->known_cr4;
}
static inline struct segment vcpu_get_segment(const struct vcpu *v, enum segment_id id)
{
    return fake_of(v)->segment[id];
}
static inline uint16_t vcpu_get_selector(const struct vcpu *v, enum segment_id id)
{
    return fake_of(v)->selector[id];
}
static inline void vcpu_set_segment(struct vcpu *v, enum segment_id id, uint16_t selector,
                                    const struct segment *s)
{
    fake_of(v)->selector[id] = selector;
    fake_of(v)->segment[id] = *s;
    if (id == SEGMENT_SS)
        fake_of(v)->cpl = s->rights >> 5 & 3;
}
static inline struct segment vcpu_get_gdtr(const struct vcpu *v)
{
    return fake_of(v)->gdtr;
}
static inline void vcpu_set_gdtr(struct vcpu *v, uint64_t base, uint32_t limit)
{
    fake_of(v)->gdtr = (struct segment){.base = base, .limit = limit};
}
static inline void vcpu_set_idtr(struct vcpu *v, uint64_t base, uint32_t limit)
{
    fake_of(v)->idtr = (struct segment){.base = base, .limit = limit};
}
static inline uint32_t vcpu_get_cs_rights(const struct vcpu *v)
{
    return fake_of(v)->segment[SEGMENT_CS].rights;
}
static inline void vcpu_get_pdptes(const struct vcpu *v, uint64_t pdpte[4])
{
    for (unsigned i = 0; i < 4; i++)
        pdpte[i] = fake_of(v)->pdpte[i];
}
static inline void vcpu_set_pdptes(struct vcpu *v, const uint64_t pdpte[4])
{
    for (unsigned i = 0; i < 4; i++)
        fake_of(v)->pdpte[i] = pdpte[i];
}
static inline void vcpu_flush_tlb(struct vcpu *v)
{
    fake_of(v)->flushes++;
}
static inline bool vcpu_random(const struct vcpu *v, bool seed, uint64_t *value)
{
    fake_of(v)->random_seed = seed;
    *value = fake_of(v)->random;
    return fake_of(v)->random_there;
}
static inline bool vcpu_in_shadow(const struct vcpu *v)
{
    return fake_of(v)->shadow;
}
static inline void vcpu_end_shadow(struct vcpu *v)
{
    fake_of(v)->shadow = false;
}
static inline bool vcpu_nmi_blocked(const struct vcpu *v)
{
    return fake_of(v)->nmi_blocked;
}
static inline bool vcpu_trap_is_due(const struct vcpu *v)
{
    return fake_of(v)->trap_due;
}
static inline void vcpu_set_trap_due(struct vcpu *v, uint64_t conditions)
{
    fake_of(v)->trap_due |= conditions;
}
static inline bool vcpu_exit_port(const struct vcpu *v, uint16_t *port, unsigned *size)
{
    *port = fake_of(v)->port;
    *size = fake_of(v)->port_size;
    return fake_of(v)->last_was_port;
}
static inline bool vcpu_injects(const struct vcpu *v)
{
    return fake_of(v)->event & EVENT_VALID;
}
static inline void vcpu_clear_events(struct vcpu *v)
{
    struct fake_state *s = fake_of(v);

    s->event = 0;
    s->trap_due = 0;
    s->shadow = s->nmi_blocked = s->in_halt = false;
}
static inline void vcpu_set_windows(struct vcpu *v, bool irq, bool nmi)
{
    fake_of(v)->irq_window = irq;
    fake_of(v)->nmi_window = nmi;
}
static inline bool vcpu_has_windows(const struct vcpu *v)
{
    return fake_of(v)->irq_window || fake_of(v)->nmi_window;
}
static inline void vcpu_set_halt(struct vcpu *v, bool halted)
{
    fake_of(v)->in_halt = halted;
}
static inline void vcpu_sync_apic(struct vcpu *v)
{
    struct lapic *l = irqchip_lapic(v->platform, v->number);

    l->by_cpu = lapic_takes(l);
    fake_of(v)->rvi = lapic_highest(l, LAPIC_IRR);
    fake_of(v)->svi = lapic_highest(l, LAPIC_ISR);
    lapic_hand_over(l);
    if (fake_of(v)->late_vector) {
        uint32_t vector = fake_of(v)->late_vector;

        fake_of(v)->late_vector = 0;
        (void)!irqchip_msi(v->platform, LAPIC_BASE, vector);
    }
}
static inline bool vcpu_apic_waits(const struct vcpu *v)
{
    return fake_of(v)->rvi > 0;
}
static inline void vcpu_request_vector(struct vcpu *v, uint8_t vector)
{
    fake_of(v)->rvi = vector;
}
static inline void vcpu_load(struct vcpu *v)
{
    fake_of(v)->loads++;
}
static inline void vcpu_set_deadline(struct vcpu *v, uint64_t deadline, uint64_t now)
{
    fake_of(v)->deadline = deadline;
    fake_of(v)->deadline_set = now;
}
static inline void vcpu_change_deadline(struct vcpu *v, uint64_t deadline, uint64_t now)
{
    vcpu_set_deadline(v, deadline, now);
}
static inline enum exit_action vcpu_enter(struct vcpu *v)
{
    fake_of(v)->timer = false;
    return fake_of(v)->enter(v);
}
static inline bool vcpu_deadline_came(const struct vcpu *v)
{
    return fake_of(v)->timer;
}

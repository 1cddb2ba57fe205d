#include "hv/pc/pic.h"

#include "hv/abi/pc.h"
#include "hv/config.h"
#include "hv/lib.h"
#include "hv/pc/pci.h"

#define ICW1_ICW4     0x01u
#define ICW1_SINGLE   0x02u
#define ICW1_INIT     0x10u
#define ICW4_AUTO_EOI 0x02u
#define ICW4_SFNM     0x10u
#define OCW2_ROTATE   0x80u
#define OCW2_SPECIFIC 0x40u
#define OCW2_EOI      0x20u
#define OCW3          0x08u
#define OCW3_POLL     0x04u
#define OCW3_READ     0x02u
#define OCW3_READ_ISR 0x01u
#define OCW3_SMM_SET  0x40u
#define OCW3_SMM      0x20u
#define POLL_PENDING  0x80u
#define NONE          8u

/* Inputs of each chip that may be level-triggered: not the timer, keyboard, cascade, RTC and FPU.
 */
static const uint8_t elcr_writable[2] = {0xf8, 0xde};

static unsigned bit(unsigned n)
{
    return 1u << n;
}

/* `mask` turned so that bit 0 is the input with the highest priority: the lowest bit wins. */
static unsigned by_rank(const struct pic_chip *c, unsigned mask)
{
    return ((mask | mask << 8) >> c->priority) & 0xff;
}

/* The number of the highest-priority bit in `mask`, or NONE. */
static unsigned highest(const struct pic_chip *c, unsigned mask)
{
    unsigned turned = by_rank(c, mask);

    return turned ? ((unsigned)__builtin_ctz(turned) + c->priority) & 7 : NONE;
}

/* The inputs in service, as priorities and EOI see them. */
static unsigned in_service(const struct pic_chip *c)
{
    return c->special_mask ? c->isr & (unsigned)~c->imr : c->isr;
}

/* The input that this chip requests from the next stage, or NONE. */
static unsigned request(const struct pic_chip *c, bool master)
{
    unsigned asking = c->irr & (unsigned)~c->imr, serving, rank;

    if (!asking || c->init_step)
        return NONE;
    serving = in_service(c);
    /* Special fully nested: the slave may interrupt its own service. */
    if (master && c->special_fully_nested)
        serving &= ~bit(PIC_CASCADE);
    rank = (unsigned)__builtin_ctz(by_rank(c, asking));
    if (serving && rank >= (unsigned)__builtin_ctz(by_rank(c, serving) | 0x100))
        return NONE;
    return (rank + c->priority) & 7;
}

/* Sets or clears a request line the way the chip latches it. True when that changed a request. */
static bool set_line(struct pic_chip *c, unsigned n, bool level)
{
    uint8_t b = (uint8_t)bit(n), before = c->irr;

    if (level) {
        if (!(c->lines & b) || (c->elcr & b))
            c->irr |= b;
        c->lines |= b;
    } else {
        c->lines = (uint8_t)(c->lines & ~b);
        /* An edge-triggered request is also lost if its input falls before it is acknowledged. */
        c->irr = (uint8_t)(c->irr & ~b);
    }
    return c->irr != before;
}

/* The master's requests or services changed, the slave's did not. */
static void update_master(struct pic *p)
{
    bool intr = request(&p->chip[0], true) != NONE, changes = p->wire.set && intr != p->intr;

    __atomic_store_n(&p->intr, intr, __ATOMIC_RELAXED);
    if (changes)
        irq_set(&p->wire, intr);
}

static void update(struct pic *p)
{
    bool slave = request(&p->chip[1], false) != NONE;
    struct pic_chip *m = &p->chip[0];

    /* The cascade input follows the slave's output; a new request of the slave at an unchanged
     * level must also be seen. */
    if (slave)
        m->irr |= (uint8_t)bit(PIC_CASCADE);
    else
        m->irr = (uint8_t)(m->irr & ~bit(PIC_CASCADE));
    update_master(p);
}

static void update_chip(struct pic *p, unsigned chip)
{
    if (chip)
        update(p);
    else
        update_master(p);
}

void pic_set_irq(struct pic *p, unsigned irq, bool level)
{
    if (irq > 15 || irq == PIC_CASCADE)
        return;
    if (set_line(&p->chip[irq >> 3], irq & 7, level))
        update_chip(p, irq >> 3);
}

void pic_pulse(struct pic *p, unsigned irq)
{
    struct pic_chip *c = &p->chip[irq >> 3 & 1];
    uint8_t b = (uint8_t)bit(irq & 7);

    if (irq > 15 || irq == PIC_CASCADE)
        return;
    if (p->wire.set)
        pic_set_irq(p, irq, false);
    c->lines |= b;
    if (c->irr & b)
        return;
    c->irr |= b;
    update_chip(p, irq >> 3);
}

enum irq_state pic_irq_state(const struct pic *p, unsigned irq)
{
    const struct pic_chip *c = &p->chip[irq >> 3 & 1];

    if ((c->imr & bit(irq & 7)) || (irq >= 8 && (p->chip[0].imr & bit(PIC_CASCADE))))
        return IRQ_MASKED;
    return c->irr & bit(irq & 7) ? IRQ_WAITS : IRQ_TAKEN;
}

static void eoi(struct pic_chip *c, unsigned n, bool rotate)
{
    if (n == NONE)
        return;
    c->isr = (uint8_t)(c->isr & ~bit(n));
    if (rotate)
        c->priority = (uint8_t)((n + 1) & 7);
}

/* Acknowledges input n of one chip: level inputs that are still high request again after EOI. */
static void serve(struct pic_chip *c, unsigned n)
{
    if (!(c->elcr & bit(n)))
        c->irr = (uint8_t)(c->irr & ~bit(n));
    if (!c->auto_eoi)
        c->isr |= (uint8_t)bit(n);
    else if (c->rotate_on_auto_eoi)
        c->priority = (uint8_t)((n + 1) & 7);
}

/* Serves a chip's request: its vector. Without one: that of input 7, and nothing changes. */
static unsigned acknowledge(struct pic_chip *c, unsigned n)
{
    if (n == NONE)
        return c->base + 7u;
    serve(c, n);
    return c->base + n;
}

uint8_t pic_ack(struct pic *p)
{
    struct pic_chip *m = &p->chip[0], *s = &p->chip[1];
    unsigned n = request(m, true), vector = acknowledge(m, n);

    if (n == PIC_CASCADE)
        vector = acknowledge(s, request(s, false));
    update_chip(p, n == PIC_CASCADE);
    return (uint8_t)vector;
}

static void start_init(struct pic_chip *c, uint32_t value)
{
    c->irr = (uint8_t)(c->lines & c->elcr);
    c->isr = c->imr = c->priority = 0;
    c->special_mask = c->read_isr = c->poll = c->auto_eoi = c->rotate_on_auto_eoi = false;
    c->special_fully_nested = false;
    c->icw4_needed = value & ICW1_ICW4;
    c->single = value & ICW1_SINGLE;
    c->init_step = 2;
}

static void write_ocw2(struct pic_chip *c, uint32_t value)
{
    unsigned n = value & OCW2_SPECIFIC ? value & 7 : highest(c, in_service(c));
    bool rotate = value & OCW2_ROTATE;

    if (value & OCW2_EOI)
        eoi(c, n, rotate);
    else if (!(value & OCW2_SPECIFIC))
        c->rotate_on_auto_eoi = rotate;
    else if (rotate)
        c->priority = (uint8_t)((n + 1) & 7); /* n becomes the lowest */
}

static void write_ocw3(struct pic_chip *c, uint32_t value)
{
    if (value & OCW3_POLL)
        c->poll = true;
    if (value & OCW3_READ)
        c->read_isr = value & OCW3_READ_ISR;
    if (value & OCW3_SMM_SET)
        c->special_mask = value & OCW3_SMM;
}

static void write_data(struct pic_chip *c, uint32_t value)
{
    switch (c->init_step) {
    case 2:
        c->base = (uint8_t)(value & 0xf8);
        /* ICW3 describes the wiring, which is fixed: it is only counted. */
        c->init_step = !c->single ? 3 : c->icw4_needed ? 4 : 0;
        break;
    case 3:
        c->init_step = c->icw4_needed ? 4 : 0;
        break;
    case 4:
        c->auto_eoi = value & ICW4_AUTO_EOI;
        c->special_fully_nested = value & ICW4_SFNM;
        c->init_step = 0;
        break;
    default:
        c->imr = (uint8_t)value;
        break;
    }
}

static void pic_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct pic *p = dev;
    struct pic_chip *c = &p->chip[port >= PIC_SLAVE_PORT];

    (void)size;
    if (port & 1)
        write_data(c, value);
    else if (value & ICW1_INIT)
        start_init(c, value);
    else if (value & OCW3)
        write_ocw3(c, value);
    else
        write_ocw2(c, value);
    update(p);
}

static uint32_t pic_in(void *dev, uint16_t port, unsigned size)
{
    struct pic *p = dev;
    struct pic_chip *c = &p->chip[port >= PIC_SLAVE_PORT];

    (void)size;
    if (c->poll) {
        unsigned n = request(c, c == &p->chip[0]);

        c->poll = false;
        if (n == NONE)
            return 0;
        serve(c, n);
        update(p);
        return POLL_PENDING | n;
    }
    if (port & 1)
        return c->imr;
    return c->read_isr ? c->isr : c->irr;
}

static uint32_t elcr_in(void *dev, uint16_t port, unsigned size)
{
    const struct pic *p = dev;

    (void)size;
    return p->chip[port & 1].elcr;
}

static void elcr_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct pic *p = dev;
    struct pic_chip *c = &p->chip[port & 1];

    (void)size;
    c->elcr = (uint8_t)(value & elcr_writable[port & 1]);
    c->irr = (uint8_t)((c->irr & ~c->elcr) | (c->lines & c->elcr));
    update(p);
}

static const struct io_ops ops = {pic_in, pic_out, 1};
static const struct io_ops elcr_ops = {elcr_in, elcr_out, 1};

/* As firmware leaves them: all masked, and the lines of PCI and of the SCI level-triggered. */
static void reset(void *dev, const struct device_env *env)
{
    unsigned levels =
        (env->devices & DEV_PCI ? PCI_GSI_MASK : 0) | (env->devices & DEV_ACPI ? 1u << PC_SCI : 0);

    *(struct pic *)dev =
        (struct pic){.chip = {{.base = 0x08, .imr = 0xff, .elcr = (uint8_t)levels},
                              {.base = 0x70, .imr = 0xff, .elcr = (uint8_t)(levels >> 8)}}};
}

const struct device pic_device = {
    .bit = DEV_PIC,
    .ports = {{PIC_MASTER_PORT, PIC_MASTER_PORT + 1, &ops},
              {PIC_SLAVE_PORT, PIC_SLAVE_PORT + 1, &ops},
              {PIC_ELCR_PORT, PIC_ELCR_PORT + 1, &elcr_ops}},
    .reset = reset,
};

/* SOURCES: hv/pc/pic.c hv/pc/bus.c hv/lib.c */
#include "hv/pc/pic.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The input that may interrupt, found the slow way. */
static int search(const struct pic_chip *c, bool master)
{
    for (unsigned i = 0; i < 8; i++) {
        unsigned n = (c->priority + i) & 7;
        unsigned b = 1u << n;
        bool hidden = (c->special_mask && (c->imr & b)) ||
                      (master && c->special_fully_nested && n == PIC_CASCADE);

        if ((c->isr & b) && !hidden)
            return -1;
        if (c->irr & ~c->imr & b)
            return (int)n;
    }
    return -1;
}

static void check(const struct pic *p)
{
    const struct pic_chip *m = &p->chip[0], *s = &p->chip[1];
    bool slave = !s->init_step && search(s, false) >= 0;

    for (unsigned i = 0; i < 2; i++) {
        const struct pic_chip *c = &p->chip[i];

        if (c->priority > 7 || c->init_step > 4 || c->init_step == 1)
            abort();
        /* A request needs its line; a level-triggered line is its request. */
        if (c->irr & ~c->lines & ~(i == 0 ? 1u << PIC_CASCADE : 0))
            abort();
        if ((c->lines & c->elcr) & ~c->irr)
            abort();
    }
    if ((m->elcr & 0x07) || (s->elcr & 0x21))
        abort();
    if (((m->irr >> PIC_CASCADE & 1) != 0) != slave)
        abort();
    if (p->intr != (!m->init_step && search(m, true) >= 0))
        abort();
}

static void acknowledge(struct pic *p)
{
    const struct pic before = *p;
    const struct pic_chip *m = &before.chip[0], *s = &before.chip[1];
    int n = before.intr ? search(m, true) : -1;
    unsigned vector = pic_ack(p);

    if (n < 0) { /* spurious */
        if (vector != m->base + 7u || p->chip[0].isr != m->isr)
            abort();
    } else if (n == PIC_CASCADE) {
        if (vector != s->base + (unsigned)search(s, false))
            abort();
    } else if (vector != m->base + (unsigned)n) {
        abort();
    }
}

/* Pairs of bytes: an operation and its value. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t ports[8] = {0x20, 0x21, 0xa0, 0xa1, 0x20, 0xa0, 0x4d0, 0x4d1};
    struct pic p;

    pic_device.reset(&p, &(const struct device_env){0});
    for (size_t i = 0; i + 1 < size; i += 2) {
        uint16_t port = ports[data[i] & 7];
        const struct io_ops *ops =
            port >= PIC_ELCR_PORT ? pic_device.ports[2].ops : pic_device.ports[0].ops;

        switch (data[i] >> 5) {
        case 0:
        case 1:
        case 2:
            ops->out(&p, port, 1, data[i + 1]);
            break;
        case 3:
            if (ops->in(&p, port, 1) > 0xff)
                abort();
            break;
        case 4:
            acknowledge(&p);
            break;
        default:
            pic_set_irq(&p, data[i + 1] & 31, data[i] & 8);
            break;
        }
        check(&p);
    }
    return 0;
}

/*
 * The 8259A pair of a PC: master at 0x20, slave at 0xa0 on the master's input 2, edge/level
 * registers at 0x4d0. Intel 8259A data sheet, 82371AB "ELCR". Pure.
 */
#pragma once

#include "hv/pc/device.h"

#define PIC_MASTER_PORT 0x20u
#define PIC_SLAVE_PORT  0xa0u
#define PIC_ELCR_PORT   0x4d0u
#define PIC_CASCADE     2u

struct pic_chip {
    uint8_t irr, isr, imr;
    uint8_t lines;     /* level of each input, for edges and level-triggered inputs */
    uint8_t elcr;      /* 1: level-triggered */
    uint8_t base;      /* ICW2: vector of input 0 */
    uint8_t priority;  /* the input with the highest priority (rotation) */
    uint8_t init_step; /* 0: operational, else the ICW expected next */
    bool icw4_needed, single, auto_eoi, rotate_on_auto_eoi, special_mask, read_isr, poll;
    bool special_fully_nested;
};

struct pic {
    struct pic_chip chip[2]; /* master, slave */
    bool intr;               /* the output to the CPU. Atomic: its core reads it at any time */
    struct irq_line wire;    /* what else sees its edges */
};

extern const struct device pic_device;

/* IRQ_WAITS: the input asks for an interrupt that has not been acknowledged. */
enum irq_state pic_irq_state(const struct pic *p, unsigned irq);
/* Input `irq` goes to `level`. 2 and numbers above 15 do nothing: no device is wired there. */
void pic_set_irq(struct pic *p, unsigned irq, bool level);
/* The same as low, then high. A request that waits stays, and so does the output, unless something
 * sees it. */
void pic_pulse(struct pic *p, unsigned irq);
/* The CPU's interrupt acknowledge cycle: returns the vector; a spurious 7 or 15 if the request is
 * gone by then. */
uint8_t pic_ack(struct pic *p);

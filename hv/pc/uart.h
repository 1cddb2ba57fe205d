/*
 * A 16550A UART at 0x3f8, IRQ 4. PC16550D data sheet. Pure. Sending takes no time; uart_receive()
 * receives. OUT2 does not gate the interrupt, as it does on a PC's board: QEMU's does not either,
 * and systems that were written there leave it off and wait for interrupts (NuttX).
 */
#pragma once

#include "hv/pc/device.h"

#define UART_IRQ        4u
#define UART_PORT       0x3f8u
#define UART_PORT_COUNT 8u
#define UART_FIFO       16u

struct uart {
    struct irq_line irq;
    const struct platform_host *host;
    uint8_t ier, fcr, lcr, mcr, lsr, msr, scr;
    uint16_t divisor;
    bool thre_pending; /* the transmitter-empty interrupt, until IIR is read or a byte written */
    bool level;        /* of the interrupt output */
    bool timeout;      /* bytes wait below the trigger level */
    uint8_t fifo[UART_FIFO];
    uint8_t head, count; /* index of the oldest byte, number of bytes */
};

extern const struct device uart_device;

/* A byte arrives on the line. False: no room, the caller keeps it (flow control that a real line
 * lacks). */
bool uart_receive(struct uart *u, uint8_t byte);

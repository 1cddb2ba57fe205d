/* The ports of a guest that are Bulkhead's own, and its UART (16550), which is its console. */
#pragma once

/* The guest ends with the 32 bits that it writes here as its exit code. Under QEMU:
 * -device isa-debug-exit,iobase=0xf4,iosize=4, which ends it with status 2 * code + 1. */
#define EXIT_PORT       0xf4u
/* Any write feeds the guest's watchdog, if it has one (watchdog_ms). */
#define WATCHDOG_PORT   0xf8u

/* IRQ 4. Output is taken at once; THR_EMPTY is always set then. */
#define UART            0x3f8u
#define UART_FCR        2u
#define UART_MCR        4u
#define UART_LSR        5u
#define UART_DATA_READY 0x01u
#define UART_THR_EMPTY  0x20u

#include "arch/x86/cpu/console.h"

#include "arch/x86/cpu/io.h"
#include "hv/arch.h"
#include "hv/lib.h"

/* 16550 registers, from the port's base (National Semiconductor "PC16550D"). */
#define COM1             0x3f8u
#define UART_DATA        (COM1 + 0)
#define UART_IER         (COM1 + 1)
#define UART_FCR         (COM1 + 2)
#define UART_LCR         (COM1 + 3)
#define UART_MCR         (COM1 + 4)
#define UART_LSR         (COM1 + 5)
#define UART_SCRATCH     (COM1 + 7)
#define LCR_8N1          0x03u
#define LCR_DLAB         0x80u
#define FCR_ENABLE_CLEAR 0x07u
#define MCR_DTR_RTS      0x03u
#define LSR_THR_EMPTY    0x20u
#define DIVISOR_115200   1u
#define FIFO_SIZE        16u
/* A port that never gets ready must not block the host forever. */
#define READY_TRIES      200000u
/* FIFOs filled in one go: a virtual machine's line may accept them. */
#define SEND_FILLS       4u

static bool present;

void uart_init(void)
{
    outb(UART_SCRATCH, 0x5a);
    present = inb(UART_SCRATCH) == 0x5a;
    outb(UART_SCRATCH, 0xa5);
    present = present && inb(UART_SCRATCH) == 0xa5;
    if (!present)
        return;
    outb(UART_IER, 0);
    outb(UART_LCR, LCR_DLAB);
    outb(UART_DATA, DIVISOR_115200);
    outb(UART_IER, 0);
    outb(UART_LCR, LCR_8N1);
    outb(UART_FCR, FCR_ENABLE_CLEAR);
    outb(UART_MCR, MCR_DTR_RTS);
}

static void put(uint8_t c)
{
    static unsigned room; /* bytes that fit into the FIFO before it must be asked again */

    for (unsigned tries = READY_TRIES; room == 0 && tries; tries--)
        if (inb(UART_LSR) & LSR_THR_EMPTY)
            room = FIFO_SIZE;
    if (room) /* otherwise the byte is lost */
        room--;
    outb(UART_DATA, c);
}

void uart_write(const char *s, size_t n)
{
    if (!present)
        return;
    for (size_t i = 0; i < n; i++) {
        if (s[i] == '\n')
            put('\r');
        put((uint8_t)s[i]);
    }
}

size_t arch_serial_send(const char *s, size_t n)
{
    size_t done = 0;

    if (!present)
        return n;
    for (unsigned fill = 0; fill < SEND_FILLS && done < n && (inb(UART_LSR) & LSR_THR_EMPTY);
         fill++)
        for (size_t end = min_u64(n, done + FIFO_SIZE); done < end; done++)
            outb(UART_DATA, (uint8_t)s[done]);
    return done;
}

void arch_console_write(const char *s, size_t n)
{
    uart_write(s, n);
    screen_write(s, n);
    screen_flush();
}

void arch_screen_write(const char *s, size_t n)
{
    screen_write(s, n);
}

bool arch_screen_poll(void)
{
    return screen_poll();
}

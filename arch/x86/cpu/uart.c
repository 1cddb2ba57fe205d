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
#define LSR_DATA_READY   0x01u
#define LSR_THR_EMPTY    0x20u
#define DIVISOR_115200   1u
#define FIFO_SIZE        16u
/* A port that never gets ready must not hold the host up for ever. */
#define READY_TRIES      200000u

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
    if (room) /* else: the byte is lost, and so be it */
        room--;
    outb(UART_DATA, c);
}

/*
 * Once the cores run guests, nobody waits for the line: bytes go into a ring (its writers hold the
 * log's lock) that one core empties as the UART has room.
 */
#define RING_SIZE  (64u << 10) /* a power of two */
#define POLL_FILLS 4u
#define FIFO_RATE  720u /* times a second that 115200 baud empties the FIFO */

static uint8_t ring[RING_SIZE];
static uint32_t ring_head, ring_tail; /* bytes ever put in, taken out */
static bool queued;

/* What does not fit is lost on the line; the log and the consoles' own rings still have it. */
static void ring_put(const char *s, size_t n)
{
    size_t room = RING_SIZE - (ring_head - __atomic_load_n(&ring_tail, __ATOMIC_ACQUIRE));
    size_t at = ring_head % RING_SIZE, first;

    n = min_u64(n, room);
    first = min_u64(n, RING_SIZE - at);
    memcpy(ring + at, s, first);
    memcpy(ring, s + first, n - first);
    __atomic_store_n(&ring_head, ring_head + (uint32_t)n, __ATOMIC_RELEASE);
}

static bool ring_take(uint8_t *c)
{
    if (ring_tail == __atomic_load_n(&ring_head, __ATOMIC_ACQUIRE))
        return false;
    *c = ring[ring_tail % RING_SIZE];
    __atomic_store_n(&ring_tail, ring_tail + 1, __ATOMIC_RELEASE);
    return true;
}

static void emit(const char *s, size_t n)
{
    if (queued) {
        ring_put(s, n);
        return;
    }
    for (size_t i = 0; i < n; i++)
        put((uint8_t)s[i]);
}

void uart_write(const char *s, size_t n)
{
    size_t done = 0;

    if (!present)
        return;
    for (size_t i = 0; i < n; i++) {
        if (s[i] != '\n')
            continue;
        emit(s + done, i - done);
        emit("\r\n", 2);
        done = i + 1;
    }
    emit(s + done, n - done);
}

void arch_console_queue(void)
{
    queued = true;
}

void uart_unqueue(void)
{
    uint8_t c;

    screen_flush();
    if (!queued)
        return;
    queued = false;
    while (ring_take(&c))
        put(c);
}

uint64_t arch_console_poll(void)
{
    uint64_t again = screen_poll() ? arch_tsc() + arch_tsc_hz() / FIFO_RATE : NEVER;
    uint8_t c;

    if (ring_tail == __atomic_load_n(&ring_head, __ATOMIC_ACQUIRE))
        return again;
    for (unsigned fill = 0; fill < POLL_FILLS && (inb(UART_LSR) & LSR_THR_EMPTY); fill++)
        for (unsigned i = 0; i < FIFO_SIZE; i++) {
            if (!ring_take(&c))
                return again;
            outb(UART_DATA, c);
        }
    return arch_tsc() + arch_tsc_hz() / FIFO_RATE;
}

int uart_read(void)
{
    if (!present || !(inb(UART_LSR) & LSR_DATA_READY))
        return -1;
    return inb(UART_DATA);
}

void arch_console_write(const char *s, size_t n)
{
    uart_write(s, n);
    screen_write(s, n);
    if (!queued)
        screen_flush();
}

void arch_serial_write(const char *s, size_t n)
{
    if (present)
        emit(s, n);
}

int arch_console_read(void)
{
    return uart_read();
}

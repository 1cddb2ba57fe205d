/* SOURCES: hv/pc/uart.c hv/pc/bus.c hv/lib.c */
#include "hv/pc/uart.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static bool level;
static unsigned sent;

static void on_line(void *ctx, unsigned irq, bool l)
{
    (void)ctx;
    if (irq != 4 || l == level) /* only changes are reported */
        abort();
    level = l;
}

static void on_byte(void *ctx, uint8_t byte)
{
    (void)ctx;
    (void)byte;
    sent++;
}

static void check(const struct uart *u)
{
    unsigned room = u->fcr & 1 ? UART_FIFO : 1;

    if (u->count > room || u->head >= UART_FIFO)
        abort();
    if ((u->lsr & 1) != (u->count > 0) || (u->lsr & 0x60) != 0x60)
        abort();
    if (u->timeout && u->count == 0)
        abort();
    if (level != u->level || (level && u->ier == 0))
        abort();
    if ((u->ier & 0xf0) || (u->mcr & 0xe0))
        abort();
}

/* Pairs of bytes: an operation and its value. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct platform_host host = {.console = on_byte};
    const struct device_env env = {.irq = {.set = on_line, .irq = 4}, .host = &host};
    struct uart u;

    level = false;
    uart_device.reset(&u, &env);
    for (size_t i = 0; i + 1 < size; i += 2) {
        uint16_t port = (uint16_t)(UART_PORT + (data[i] & 7));
        unsigned width = 1u << (data[i] >> 3 & 1), before = sent, count = u.count;
        bool loop = u.mcr & 0x10;

        switch (data[i] >> 6) {
        case 0:
            uart_device.ports[0].ops->out(&u, port, width, data[i + 1] | 0xabcd00u);
            if (sent - before > 1 || (loop && sent != before))
                abort();
            break;
        case 1:
            if (uart_receive(&u, data[i + 1]) != (u.count == count + 1))
                abort();
            break;
        default:
            if (uart_device.ports[0].ops->in(&u, port, width) > 0xff)
                abort();
            break;
        }
        check(&u);
    }
    return 0;
}

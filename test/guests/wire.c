/*
 * A wire to the virtual switch: a line of hexadecimal digits typed into the console is sent as a
 * frame, and each frame from the management guest is printed in the same form after "< "; with
 * "all" on the command line, every frame is printed.
 */
#include "test/guests/lib/guest.h"
#include "test/guests/lib/vnet.h"

static void on_interrupt(void)
{
}

static bool tells_all;

static void tell(const uint8_t *f, size_t len)
{
    static const uint8_t management[6] = {0x52, 0x42, 0x48, 0, 0, 0};

    if (len < 14 || (!tells_all && memcmp(f + 6, management, sizeof(management)) != 0))
        return;
    say("< ");
    for (size_t i = 0; i < len; i++)
        say("%02x", f[i]);
    say("\n");
}

static void send(size_t len)
{
    uint16_t used = used_index(&tx);

    tx.desc[0] = (struct desc){(uintptr_t)tx.buffers[0], (uint32_t)(VIRTIO_NET_HEADER + len), 0, 0};
    publish(&tx, 0);
    outw(REG(VIRTIO_NOTIFY), 1);
    while (used_index(&tx) == used)
        ;
    say("> %zu bytes\n", len);
}

static int digit(uint8_t c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Takes a typed byte; at the end of a line the frame is sent. */
static void take(uint8_t c)
{
    static size_t digits;
    uint8_t *f = tx.buffers[0] + VIRTIO_NET_HEADER;
    int d = digit(c);

    if (d >= 0 && digits / 2 < BUFFER - VIRTIO_NET_HEADER) {
        f[digits / 2] = (uint8_t)(digits % 2 ? f[digits / 2] | d : d << 4);
        digits++;
    } else if (c == '\n' || c == '\r') {
        if (digits >= 28)
            send(digits / 2);
        digits = 0;
    }
}

void guest_main(const char *cmdline)
{
    static uint8_t f[BUFFER];
    size_t len;

    tells_all = strcmp(cmdline, "all") == 0;
    irq_handle(VIRTIO_NET_IRQ, on_net);
    irq_handle(IRQ_UART, on_interrupt);
    outb(UART + 1, 1);
    start_device(true);
    say("wire: ready\n");
    for (;;) {
        while ((len = receive_frame(f)) > 0)
            tell(f, len);
        while (inb(UART + UART_LSR) & UART_DATA_READY)
            take(inb(UART));
        sleep_until_irq();
    }
}

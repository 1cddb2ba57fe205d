/* SOURCES: hv/pc/uart.c hv/pc/bus.c hv/lib.c */
#include "hv/pc/uart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

enum { DATA, IER, FCR, LCR, MCR, LSR, MSR, SCR, IIR = FCR };

static struct uart uart;
static bool level;
static unsigned edges;
static char sent[64];
static unsigned sent_count;

static void on_line(void *ctx, unsigned irq, bool l)
{
    assert_ptr_equal(ctx, &uart);
    assert_int_equal(irq, 4);
    edges += l && !level;
    level = l;
}

static void on_byte(void *ctx, uint8_t byte)
{
    assert_ptr_equal(ctx, sent);
    sent[sent_count++ % sizeof(sent)] = (char)byte;
}

static int setup(void **state)
{
    static const struct platform_host host = {.ctx = sent, .console = on_byte};
    const struct device_env env = {.irq = {.set = on_line, .ctx = &uart, .irq = 4}, .host = &host};

    (void)state;
    level = false;
    edges = sent_count = 0;
    uart_device.reset(&uart, &env);
    return 0;
}

static unsigned in(unsigned reg)
{
    return uart_device.ports[0].ops->in(&uart, (uint16_t)(UART_PORT + reg), 1);
}

static void out(unsigned reg, unsigned v)
{
    uart_device.ports[0].ops->out(&uart, (uint16_t)(UART_PORT + reg), 1, v);
}

static void receive(unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        assert_true(uart_receive(&uart, (uint8_t)('a' + i)));
}

static void power_on(void **state)
{
    (void)state;
    assert_int_equal(in(IER), 0);
    assert_int_equal(in(IIR), 0x01);
    assert_int_equal(in(LSR), 0x60);
    assert_int_equal(in(MSR), 0xb0);
    assert_int_equal(in(DATA), 0);
    assert_false(level);
}

static void plain_output(void **state)
{
    (void)state;
    for (const char *s = "hello"; *s; s++) {
        assert_int_equal(in(LSR)&0x20, 0x20);
        out(DATA, (unsigned)*s);
    }
    assert_int_equal(sent_count, 5);
    assert_memory_equal(sent, "hello", 5);
    assert_int_equal(edges, 0);
}

static void divisor_latch(void **state)
{
    (void)state;
    out(LCR, 0x83);
    out(DATA, 0x0c);
    out(IER, 0x01);
    assert_int_equal(in(DATA), 0x0c);
    assert_int_equal(in(IER), 0x01);
    assert_int_equal(uart.divisor, 0x010c);
    out(LCR, 0x03);
    assert_int_equal(in(LCR), 0x03);
    assert_int_equal(in(IER), 0);
    assert_int_equal(sent_count, 0);
}

/* The steps of Linux's 8250 driver to detect the device. */
static void linux_probe(void **state)
{
    (void)state;
    out(IER, 0);
    assert_int_equal(in(IER), 0);
    out(IER, 0xff);
    assert_int_equal(in(IER), 0x0f); /* no sleep mode: not a 16750 */
    out(IER, 0);
    out(MCR, 0x1a); /* loop-back with OUT2 and RTS: DCD and CTS */
    assert_int_equal(in(MSR)&0xf0, 0x90);
    out(MCR, 0);
    out(LCR, 0xbf);
    out(FCR, 0);
    out(LCR, 0);
    out(FCR, 0x01);
    assert_int_equal(in(IIR) >> 6, 3); /* 16550A */
    out(FCR, 0);
    assert_int_equal(in(IIR) >> 6, 0);
    out(SCR, 0x5a);
    assert_int_equal(in(SCR), 0x5a);
    out(SCR, 0xa5);
    assert_int_equal(in(SCR), 0xa5);
    /* Its test for a transmitter interrupt that is not raised again. */
    out(MCR, 0x08);
    out(IER, 0x02);
    assert_int_equal(in(IIR), 0x02);
    out(IER, 0);
    out(IER, 0x02);
    assert_int_equal(in(IIR), 0x02);
    assert_int_equal(in(LSR)&0x60, 0x60);
}

static void transmit_interrupt(void **state)
{
    (void)state;
    out(MCR, 0x08);
    out(IER, 0x02);
    assert_true(level);
    assert_int_equal(in(IIR), 0x02);
    assert_false(level); /* reading it was the acknowledgement */
    assert_int_equal(in(IIR), 0x01);
    out(IER, 0x02); /* already enabled: not again */
    assert_false(level);
    for (unsigned i = 0; i < 10; i++) {
        out(DATA, '0' + i);
        assert_true(level);
        assert_int_equal(edges, 2 + i);
        assert_int_equal(in(IIR), 0x02);
    }
    out(DATA, 'x');
    out(IER, 0);
    assert_false(level);
    out(IER, 0x02);
    assert_true(level);
}

static void receive_interrupt(void **state)
{
    (void)state;
    out(MCR, 0x08);
    out(IER, 0x01);
    receive(1);
    assert_true(level);
    assert_false(uart_receive(&uart, 'z')); /* one register only: the sender keeps it */
    assert_int_equal(in(LSR), 0x61);
    assert_int_equal(in(IIR), 0x04);
    assert_int_equal(in(IIR), 0x04); /* reading it has no effect here */
    assert_int_equal(in(DATA), 'a');
    assert_false(level);
    assert_int_equal(in(LSR), 0x60);
    assert_int_equal(in(IIR), 0x01);
}

static void fifo_trigger_and_timeout(void **state)
{
    static const uint8_t trigger[4] = {1, 4, 8, 14};

    (void)state;
    out(MCR, 0x08);
    for (unsigned t = 0; t < 4; t++) {
        out(FCR, t << 6 | 0x07);
        out(IER, 0x01);
        receive(trigger[t]);
        assert_true(level);
        assert_int_equal(in(IIR), 0xc4);
        assert_int_equal(in(DATA), 'a');
        /* Below the trigger level the rest causes a time-out interrupt. */
        for (unsigned i = 1; i < trigger[t]; i++) {
            assert_true(level);
            assert_int_equal(in(IIR), 0xcc);
            assert_int_equal(in(DATA), 'a' + i);
        }
        assert_false(level);
        assert_int_equal(in(IIR), 0xc1);
        receive(1);
        assert_int_equal(in(IIR), trigger[t] == 1 ? 0xc4 : 0xcc);
        out(IER, 0);
    }
}

static void fifo_full_and_cleared(void **state)
{
    (void)state;
    out(FCR, 0x01);
    receive(16);
    assert_false(uart_receive(&uart, 'z'));
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(in(DATA), 'a' + i);
    assert_int_equal(in(LSR), 0x60);
    receive(5);
    out(FCR, 0x03);
    assert_int_equal(in(LSR), 0x60);
    receive(5);
    out(FCR, 0x00); /* switching the FIFO off empties it */
    assert_int_equal(in(LSR), 0x60);
    assert_true(uart_receive(&uart, 'a'));
    assert_false(uart_receive(&uart, 'b'));
    out(FCR, 0x01);
    assert_int_equal(in(LSR), 0x60);
    /* Round and round the ring. */
    for (unsigned i = 0; i < 100; i++) {
        assert_true(uart_receive(&uart, (uint8_t)i));
        assert_true(uart_receive(&uart, (uint8_t)(i + 100)));
        assert_int_equal(in(DATA), i);
        assert_int_equal(in(DATA), i + 100);
    }
}

static void interrupt_priorities(void **state)
{
    (void)state;
    out(FCR, 0x01);
    out(MCR, 0x10);
    for (unsigned i = 0; i < 17; i++)
        out(DATA, 'a'); /* overrun */
    out(MCR, 0x08);     /* leaves deltas in MSR */
    out(IER, 0x0f);
    assert_true(level);
    assert_int_equal(in(IIR), 0xc6);
    assert_int_equal(in(LSR), 0x63);
    assert_int_equal(in(LSR), 0x61); /* read, so gone */
    assert_int_equal(in(IIR), 0xc4);
    for (unsigned i = 0; i < 16; i++)
        (void)in(DATA);
    assert_int_equal(in(IIR), 0xc2);
    assert_int_equal(in(IIR), 0xc0);
    assert_true(level);
    assert_int_not_equal(in(MSR)&0x0f, 0);
    assert_int_equal(in(IIR), 0xc1);
    assert_false(level);
}

/* As in QEMU: OUT2, which opens the gate of a PC's board, may be off, also by loop-back. */
static void no_gate(void **state)
{
    (void)state;
    out(IER, 0x01);
    receive(1);
    assert_true(level);
    out(MCR, 0x18);
    assert_true(level);
    assert_int_equal(in(IIR), 0x04);
    assert_int_equal(in(DATA), 'a');
    assert_false(level);
}

static void loop_back(void **state)
{
    (void)state;
    out(FCR, 0x01);
    out(MCR, 0x1e);
    assert_false(uart_receive(&uart, 'x')); /* cut off from the line */
    out(DATA, 0xae);
    out(DATA, 0x55);
    assert_int_equal(in(DATA), 0xae);
    assert_int_equal(in(DATA), 0x55);
    assert_int_equal(sent_count, 0);
    /* A full FIFO loses the new byte, the single register the old one. */
    for (unsigned i = 0; i < 20; i++)
        out(DATA, i);
    assert_int_equal(in(LSR), 0x63);
    for (unsigned i = 0; i < 16; i++)
        assert_int_equal(in(DATA), i);
    out(FCR, 0);
    out(DATA, 1);
    out(DATA, 2);
    assert_int_equal(in(LSR), 0x63);
    assert_int_equal(in(DATA), 2);
    out(MCR, 0);
    out(DATA, 'q');
    assert_int_equal(sent_count, 1);
}

static void modem_lines(void **state)
{
    static const uint8_t want[16] = {0x00, 0x20, 0x10, 0x30, 0x40, 0x60, 0x50, 0x70,
                                     0x80, 0xa0, 0x90, 0xb0, 0xc0, 0xe0, 0xd0, 0xf0};

    (void)state;
    for (unsigned i = 0; i < 16; i++) {
        out(MCR, 0x10 | i);
        assert_int_equal(in(MSR)&0xf0, want[i]);
        assert_int_equal(in(MSR)&0x0f, 0);
    }
    out(MCR, 0x10);
    (void)in(MSR);
    out(MCR, 0x14); /* RI rises: not noted */
    assert_int_equal(in(MSR), 0x40);
    out(MCR, 0x10); /* and falls: noted */
    assert_int_equal(in(MSR), 0x04);
    out(MCR, 0x13);
    assert_int_equal(in(MSR), 0x33);
    out(MCR, 0xff);
    assert_int_equal(in(MCR), 0x1f);
}

static void read_only_registers(void **state)
{
    (void)state;
    out(LSR, 0xff);
    out(MSR, 0xff);
    assert_int_equal(in(LSR), 0x60);
    assert_int_equal(in(MSR), 0xb0);
}

/* A handler that does not read IIR: writing THR resets the interrupt, and each byte is a new edge.
 * PC16550D data sheet, "Interrupt Control Functions". */
static void output_without_iir(void **state)
{
    (void)state;
    out(MCR, 0x0b);
    for (unsigned fifo = 0; fifo < 2; fifo++) {
        out(FCR, fifo ? 7 : 0);
        out(IER, 2);
        edges = 0;
        assert_true(level);
        for (unsigned i = 1; i <= 20; i++) {
            out(DATA, '.');
            assert_true(level);
            assert_int_equal(edges, i);
        }
        out(IER, 0);
    }
}

/* A handler that takes one byte an interrupt: reading it restarts the time-out. */
static void input_one_at_a_time(void **state)
{
    (void)state;
    out(MCR, 0x0b);
    out(FCR, 0xc7); /* 14 bytes */
    out(IER, 1);
    receive(6);
    edges = 0;
    for (unsigned i = 0; i < 6; i++) {
        assert_true(level);
        assert_int_equal(in(IIR), 0xcc);
        assert_int_equal(in(DATA), 'a' + i);
    }
    assert_int_equal(edges, 5);
    assert_false(level);
    receive(16); /* above the trigger it is a level */
    edges = 0;
    assert_int_equal(in(DATA), 'a');
    assert_int_equal(in(DATA), 'b');
    assert_int_equal(edges, 0);
    assert_int_equal(in(IIR), 0xc4);
}

/* PC16550D data sheet, "FIFO Control Register": bit 0 must be set, or the others do nothing. */
static void fifo_bits_need_the_first(void **state)
{
    (void)state;
    receive(1);
    out(FCR, 0x02);
    assert_int_equal(in(LSR), 0x61);
    assert_int_equal(in(DATA), 'a');
}

static void break_in_loop_back(void **state)
{
    (void)state;
    out(LCR, 0x43); /* on the line nobody sees it */
    assert_int_equal(in(LSR), 0x60);
    out(LCR, 0x03);
    out(MCR, 0x1b);
    out(LCR, 0x43);
    out(LCR, 0x43);
    assert_int_equal(in(LSR), 0x71);
    assert_int_equal(in(LSR), 0x61);
    assert_int_equal(in(DATA), 0);
    assert_int_equal(in(LSR), 0x60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(output_without_iir, setup),
        cmocka_unit_test_setup(input_one_at_a_time, setup),
        cmocka_unit_test_setup(fifo_bits_need_the_first, setup),
        cmocka_unit_test_setup(break_in_loop_back, setup),
        cmocka_unit_test_setup(power_on, setup),
        cmocka_unit_test_setup(plain_output, setup),
        cmocka_unit_test_setup(divisor_latch, setup),
        cmocka_unit_test_setup(linux_probe, setup),
        cmocka_unit_test_setup(transmit_interrupt, setup),
        cmocka_unit_test_setup(receive_interrupt, setup),
        cmocka_unit_test_setup(fifo_trigger_and_timeout, setup),
        cmocka_unit_test_setup(fifo_full_and_cleared, setup),
        cmocka_unit_test_setup(interrupt_priorities, setup),
        cmocka_unit_test_setup(no_gate, setup),
        cmocka_unit_test_setup(loop_back, setup),
        cmocka_unit_test_setup(modem_lines, setup),
        cmocka_unit_test_setup(read_only_registers, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

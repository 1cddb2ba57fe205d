#include "hv/pc/uart.h"

#include "hv/config.h"
#include "hv/lib.h"

enum { RBR_THR_DLL, IER_DLM, IIR_FCR, LCR, MCR, LSR, MSR, SCR };

#define IER_RX       0x01u
#define IER_THRE     0x02u
#define IER_LINE     0x04u
#define IER_MODEM    0x08u
#define IIR_NONE     0x01u
#define IIR_MODEM    0x00u
#define IIR_THRE     0x02u
#define IIR_RX       0x04u
#define IIR_LINE     0x06u
#define IIR_TIMEOUT  0x0cu
#define IIR_FIFO     0xc0u
#define FCR_ENABLE   0x01u
#define FCR_CLEAR_RX 0x02u
#define FCR_KEPT     0xc9u
#define LCR_BREAK    0x40u
#define LCR_DLAB     0x80u
#define MCR_DTR      0x01u
#define MCR_RTS      0x02u
#define MCR_OUT1     0x04u
#define MCR_OUT2     0x08u
#define MCR_LOOP     0x10u
#define MCR_MASK     0x1fu
#define LSR_DR       0x01u
#define LSR_OE       0x02u
#define LSR_BI       0x10u
#define LSR_ERRORS   0x1eu
#define LSR_THRE     0x20u
#define LSR_TEMT     0x40u
#define MSR_DELTAS   0x0fu
#define MSR_CTS      0x10u
#define MSR_DSR      0x20u
#define MSR_RI       0x40u
#define MSR_DCD      0x80u

static bool fifo_on(const struct uart *u)
{
    return u->fcr & FCR_ENABLE;
}

static unsigned trigger(const struct uart *u)
{
    static const uint8_t levels[4] = {1, 4, 8, 14};

    return fifo_on(u) ? levels[u->fcr >> 6] : 1;
}

/* The highest-priority interrupt that is pending and enabled. */
static unsigned identify(const struct uart *u)
{
    if ((u->ier & IER_LINE) && (u->lsr & LSR_ERRORS))
        return IIR_LINE;
    if ((u->ier & IER_RX) && u->count >= trigger(u))
        return IIR_RX;
    if ((u->ier & IER_RX) && u->timeout)
        return IIR_TIMEOUT;
    if ((u->ier & IER_THRE) && u->thre_pending)
        return IIR_THRE;
    if ((u->ier & IER_MODEM) && (u->msr & MSR_DELTAS))
        return IIR_MODEM;
    return IIR_NONE;
}

static void update(struct uart *u)
{
    bool level = identify(u) != IIR_NONE;

    if (level == u->level)
        return;
    u->level = level;
    irq_set(&u->irq, level);
}

static bool accept(struct uart *u, uint8_t byte)
{
    unsigned room = fifo_on(u) ? UART_FIFO : 1;

    if (u->count >= room)
        return false;
    u->fifo[(u->head + u->count) % UART_FIFO] = byte;
    u->count++;
    u->lsr |= LSR_DR;
    /* The line is idle after each byte that we deliver, so the time-out comes at once. */
    u->timeout = fifo_on(u);
    return true;
}

bool uart_receive(struct uart *u, uint8_t byte)
{
    bool room = !(u->mcr & MCR_LOOP) && accept(u, byte);

    update(u);
    return room;
}

static void clear_fifo(struct uart *u)
{
    u->head = u->count = 0;
    u->timeout = false;
    u->lsr = (uint8_t)(u->lsr & ~LSR_DR);
}

static uint8_t pop(struct uart *u)
{
    uint8_t byte;

    if (u->count == 0)
        return 0;
    byte = u->fifo[u->head];
    u->head = (uint8_t)((u->head + 1) % UART_FIFO);
    u->count--;
    /* Reading a byte restarts the time-out, and its interrupt falls. PC16550D data sheet, "FIFO
     * Interrupt Mode Operation". */
    u->timeout = false;
    update(u);
    u->timeout = fifo_on(u) && u->count > 0;
    if (u->count == 0)
        u->lsr = (uint8_t)(u->lsr & ~LSR_DR);
    return byte;
}

/* A full FIFO loses the new byte; the single register of the 16450 loses the old one. */
static void overrun(struct uart *u, uint8_t byte)
{
    u->lsr |= LSR_OE;
    if (!fifo_on(u))
        u->fifo[u->head] = byte;
}

static void send(struct uart *u, uint8_t byte)
{
    u->thre_pending = false; /* by the write: PC16550D data sheet, "Interrupt Control Functions" */
    update(u);
    if (u->mcr & MCR_LOOP) {
        if (!accept(u, byte))
            overrun(u, byte);
    } else {
        u->host->console(u->host->ctx, byte);
    }
    u->thre_pending = true; /* it is empty again at once */
}

/* In loop-back the four outputs come back as the four modem inputs. */
static void write_mcr(struct uart *u, uint8_t value)
{
    uint8_t now = MSR_CTS | MSR_DSR | MSR_DCD, before = u->msr & 0xf0, changed;

    u->mcr = value & MCR_MASK;
    if (u->mcr & MCR_LOOP)
        now = (uint8_t)((u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) |
                        (u->mcr & MCR_OUT1 ? MSR_RI : 0) | (u->mcr & MCR_OUT2 ? MSR_DCD : 0));
    changed = now ^ before;
    changed = (uint8_t)(changed & ~(now & MSR_RI)); /* for RI only the falling edge counts */
    u->msr = (uint8_t)(now | (u->msr & MSR_DELTAS) | changed >> 4);
}

/* In loop-back a break is received at once: one zero, with BI. Outside, nobody sees it. */
static void write_lcr(struct uart *u, uint8_t value)
{
    bool begins = (value & LCR_BREAK) && !(u->lcr & LCR_BREAK);

    u->lcr = value;
    if (!begins || !(u->mcr & MCR_LOOP))
        return;
    if (!accept(u, 0))
        overrun(u, 0);
    u->lsr |= LSR_BI;
}

/* Without the enable bit the others are not programmed. PC16550D data sheet, "FIFO Control
 * Register".
 */
static void write_fcr(struct uart *u, uint8_t value)
{
    if (((value ^ u->fcr) & FCR_ENABLE) ||
        (value & (FCR_ENABLE | FCR_CLEAR_RX)) == (FCR_ENABLE | FCR_CLEAR_RX))
        clear_fifo(u);
    u->fcr = value & FCR_ENABLE ? value & FCR_KEPT : 0;
}

static void write_ier(struct uart *u, uint8_t value)
{
    /* Enabling the transmitter-empty interrupt while it is empty raises it. */
    if (!(u->ier & IER_THRE) && (value & IER_THRE))
        u->thre_pending = true;
    u->ier = value & 0x0f;
}

static void uart_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct uart *u = dev;
    uint8_t byte = (uint8_t)value;

    (void)size;
    switch (port & 7) {
    case RBR_THR_DLL:
        if (u->lcr & LCR_DLAB)
            u->divisor = (uint16_t)((u->divisor & 0xff00) | byte);
        else
            send(u, byte);
        break;
    case IER_DLM:
        if (u->lcr & LCR_DLAB)
            u->divisor = (uint16_t)((u->divisor & 0x00ff) | byte << 8);
        else
            write_ier(u, byte);
        break;
    case IIR_FCR:
        write_fcr(u, byte);
        break;
    case LCR:
        write_lcr(u, byte);
        break;
    case MCR:
        write_mcr(u, byte);
        break;
    case SCR:
        u->scr = byte;
        break;
    default: /* LSR and MSR are read-only */
        break;
    }
    update(u);
}

static uint8_t read_iir(struct uart *u)
{
    unsigned id = identify(u);

    if (id == IIR_THRE)
        u->thre_pending = false;
    return (uint8_t)(id | (fifo_on(u) ? IIR_FIFO : 0));
}

static uint8_t uart_read(struct uart *u, unsigned reg)
{
    uint8_t v;

    switch (reg) {
    case RBR_THR_DLL:
        return u->lcr & LCR_DLAB ? (uint8_t)u->divisor : pop(u);
    case IER_DLM:
        return u->lcr & LCR_DLAB ? (uint8_t)(u->divisor >> 8) : u->ier;
    case IIR_FCR:
        return read_iir(u);
    case LCR:
        return u->lcr;
    case MCR:
        return u->mcr;
    case LSR:
        v = u->lsr;
        u->lsr = (uint8_t)(u->lsr & ~LSR_ERRORS);
        return v;
    case MSR:
        v = u->msr;
        u->msr = (uint8_t)(u->msr & ~MSR_DELTAS);
        return v;
    default:
        return u->scr;
    }
}

static uint32_t uart_in(void *dev, uint16_t port, unsigned size)
{
    struct uart *u = dev;
    uint8_t v = uart_read(u, port & 7);

    (void)size;
    update(u);
    return v;
}

static const struct io_ops ops = {uart_in, uart_out, 1};

static void reset(void *dev, const struct device_env *env)
{
    *(struct uart *)dev = (struct uart){
        .irq = env->irq,
        .host = env->host,
        .divisor = 1, /* 115200 baud */
        .lcr = 3,
        .lsr = LSR_THRE | LSR_TEMT,
        .msr = MSR_CTS | MSR_DSR | MSR_DCD,
    };
}

const struct device uart_device = {
    .bit = DEV_UART,
    .irq = UART_IRQ,
    .ports = {{UART_PORT, UART_PORT + UART_PORT_COUNT - 1, &ops}},
    .reset = reset,
};

#include "hv/pc/i8042.h"

#include "hv/config.h"

#define STATUS_OUTPUT   0x01u /* the output buffer is full */
#define STATUS_SYSTEM   0x04u
#define STATUS_COMMAND  0x08u /* the last byte went to the command port */
#define STATUS_UNLOCKED 0x10u
#define STATUS_AUX      0x20u /* the output buffer is the second port's */
#define STATUS_TIMEOUT  0x40u
#define MODE_IRQ        0x01u
#define MODE_AUX_IRQ    0x02u
#define MODE_SYSTEM     0x04u
#define MODE_OFF        0x10u /* the keyboard's port is disabled */
#define MODE_AUX_OFF    0x20u
#define PORT_RUN        0x01u /* output port: 0 resets the CPU */
#define PORT_A20        0x02u

enum {
    READ_MODE = 0x20,
    WRITE_MODE = 0x60,
    AUX_DISABLE = 0xa7,
    AUX_ENABLE,
    AUX_TEST,
    SELF_TEST,
    TEST,
    DISABLE = 0xad,
    ENABLE,
    READ_INPUT_PORT = 0xc0,
    READ_OUTPUT_PORT = 0xd0,
    WRITE_OUTPUT_PORT,
    WRITE_OUTPUT,
    WRITE_AUX_OUTPUT,
    WRITE_AUX,
    PULSE = 0xf0, /* and up: a 0 in one of the lower bits pulses that line of the output port */
};

#define SELF_TEST_PASSED 0x55u
#define TEST_PASSED      0x00u
#define NO_ANSWER        0xfeu /* "resend": the device did not take the byte */
#define INPUT_PORT       0x80u /* not locked */

static void update_lines(const struct i8042 *k)
{
    bool full = k->status & STATUS_OUTPUT, aux = k->status & STATUS_AUX;

    irq_set(&k->irq, full && !aux && (k->mode & MODE_IRQ));
    irq_set(&k->aux_irq, full && aux && (k->mode & MODE_AUX_IRQ));
}

static void answer(struct i8042 *k, unsigned value, unsigned flags)
{
    k->output = (uint8_t)value;
    k->status = (uint8_t)((k->status & STATUS_COMMAND) | STATUS_OUTPUT | flags);
    update_lines(k);
}

static void reset_cpu(const struct i8042 *k)
{
    k->host->reset(k->host->ctx, "keyboard controller, port 0x64");
}

static void set_mode(struct i8042 *k, unsigned mode)
{
    k->mode = (uint8_t)mode;
    update_lines(k);
}

static void command(struct i8042 *k, uint8_t value)
{
    k->pending = 0;
    switch (value) {
    case READ_MODE:
        answer(k, k->mode, 0);
        break;
    case AUX_DISABLE:
        set_mode(k, k->mode | MODE_AUX_OFF);
        break;
    case AUX_ENABLE:
        set_mode(k, k->mode & ~MODE_AUX_OFF);
        break;
    case SELF_TEST:
        set_mode(k, MODE_SYSTEM | MODE_OFF | MODE_AUX_OFF);
        answer(k, SELF_TEST_PASSED, 0);
        break;
    case TEST:
    case AUX_TEST:
        answer(k, TEST_PASSED, 0);
        break;
    case DISABLE:
        set_mode(k, k->mode | MODE_OFF);
        break;
    case ENABLE:
        set_mode(k, k->mode & ~MODE_OFF);
        break;
    case READ_INPUT_PORT:
        answer(k, INPUT_PORT, 0);
        break;
    case READ_OUTPUT_PORT:
        answer(k, PORT_RUN | PORT_A20, 0);
        break;
    case WRITE_MODE:
    case WRITE_OUTPUT_PORT:
    case WRITE_OUTPUT:
    case WRITE_AUX_OUTPUT:
    case WRITE_AUX:
        k->pending = value;
        break;
    default:
        if (value >= PULSE && !(value & PORT_RUN))
            reset_cpu(k);
        break;
    }
}

static void data(struct i8042 *k, uint8_t value)
{
    uint8_t pending = k->pending;

    k->pending = 0;
    switch (pending) {
    case WRITE_MODE:
        set_mode(k, value);
        break;
    case WRITE_OUTPUT_PORT:
        if (!(value & PORT_RUN))
            reset_cpu(k);
        break;
    case WRITE_OUTPUT:
        answer(k, value, 0);
        break;
    case WRITE_AUX_OUTPUT:
        answer(k, value, STATUS_AUX);
        break;
    case WRITE_AUX:
        answer(k, NO_ANSWER, STATUS_AUX | STATUS_TIMEOUT);
        break;
    default: /* to the keyboard, which enables its port */
        k->mode = (uint8_t)(k->mode & ~MODE_OFF);
        answer(k, NO_ANSWER, STATUS_TIMEOUT);
        break;
    }
}

static uint32_t i8042_in(void *dev, uint16_t port, unsigned size)
{
    struct i8042 *k = dev;

    (void)size;
    if (port == I8042_COMMAND_PORT)
        return k->status | STATUS_UNLOCKED | (k->mode & MODE_SYSTEM ? STATUS_SYSTEM : 0u);
    k->status &= STATUS_COMMAND;
    update_lines(k);
    return k->output;
}

static void i8042_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct i8042 *k = dev;

    (void)size;
    if (port == I8042_COMMAND_PORT) {
        k->status |= STATUS_COMMAND;
        command(k, (uint8_t)value);
    } else {
        k->status = (uint8_t)(k->status & ~STATUS_COMMAND);
        data(k, (uint8_t)value);
    }
}

static const struct io_ops ops = {i8042_in, i8042_out, 1};

/* As a BIOS leaves it: tested. */
static void reset(void *dev, const struct device_env *env)
{
    struct i8042 *k = dev;

    *k = (struct i8042){.irq = env->irq, .aux_irq = env->irq, .host = env->host};
    k->aux_irq.irq = I8042_AUX_IRQ;
    k->mode = MODE_SYSTEM | MODE_OFF | MODE_AUX_OFF;
}

const struct device i8042_device = {
    .bit = DEV_RESET,
    .irq = I8042_IRQ,
    .ports = {{I8042_DATA_PORT, I8042_DATA_PORT, &ops},
              {I8042_COMMAND_PORT, I8042_COMMAND_PORT, &ops}},
    .reset = reset,
};

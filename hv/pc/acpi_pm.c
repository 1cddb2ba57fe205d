#include "hv/pc/acpi_pm.h"

#include "hv/config.h"

#define TMR_STS    0x0001u
#define GBL_STS    0x0020u
#define PWRBTN_STS 0x0100u /* nor does this, or the next: there is no button */
#define RTC_STS    0x0400u /* never happens: the clock wakes nobody from S5 */
#define EVENTS     (TMR_STS | GBL_STS | PWRBTN_STS | RTC_STS)
#define SCI_EN     0x0001u
#define BM_RLD     0x0002u
#define SLP_TYP    0x1c00u
#define SLP_EN     0x2000u
#define TYPE_SHIFT 10
/* TMR_STS is set when this bit of the timer changes. */
#define TIMER_TOP  31

static uint64_t timer(const struct acpi_pm *a)
{
    return ratio_apply(a->to_timer, a->clock->now - a->start);
}

static void plan(struct acpi_pm *a)
{
    a->deadline = NEVER;
    if (a->enable & TMR_STS) /* rounded up: the timer has got there by then */
        a->deadline = a->start + ratio_apply(a->to_tsc, (a->halves + 1) << TIMER_TOP) + 1;
}

static void update(void *dev)
{
    struct acpi_pm *a = dev;
    uint64_t halves = timer(a) >> TIMER_TOP;

    if (halves != a->halves)
        a->status |= TMR_STS;
    a->halves = halves;
    irq_set(&a->sci, a->status & a->enable);
    plan(a);
}

/* The bytes of a register that an access of `size` at its byte `at` reaches. */
static uint32_t part(uint32_t value, unsigned at, unsigned size)
{
    return value >> (8 * at) & io_ones(size);
}

/* The status is the lower word, the enable register the upper one. */
static uint32_t event_in(void *dev, uint16_t port, unsigned size)
{
    struct acpi_pm *a = dev;

    update(a);
    return part((uint32_t)a->enable << 16 | a->status, port - PC_PM1A_EVENT, size);
}

/* Ones clear the status. */
static void event_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct acpi_pm *a = dev;
    unsigned at = port - PC_PM1A_EVENT;
    uint32_t mask = io_ones(size) << (8 * at), enable = (uint32_t)a->enable << 16;

    value = value << (8 * at) & mask;
    update(a);
    a->status = (uint16_t)(a->status & ~value);
    a->enable = (uint16_t)(((enable & ~mask) | value) >> 16 & EVENTS);
    update(a);
}

static uint32_t control_in(void *dev, uint16_t port, unsigned size)
{
    const struct acpi_pm *a = dev;

    return part(a->control | SCI_EN, port - PC_PM1A_CONTROL, size);
}

static void control_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    struct acpi_pm *a = dev;
    unsigned at = port - PC_PM1A_CONTROL;
    uint32_t mask = io_ones(size) << (8 * at),
             control = (a->control & ~mask) | (value << (8 * at) & mask);

    a->control = (uint16_t)(control & (BM_RLD | SLP_TYP));
    if ((control & SLP_EN) && (control & SLP_TYP) >> TYPE_SHIFT == PC_S5_TYPE)
        a->host->power_off(a->host->ctx, "ACPI S5, port 0x604");
}

static uint32_t timer_in(void *dev, uint16_t port, unsigned size)
{
    return part((uint32_t)timer(dev), port - PC_PM_TIMER, size);
}

/* It cannot be set. */
static void timer_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    (void)dev;
    (void)port;
    (void)size;
    (void)value;
}

static const struct io_ops event_ops = {event_in, event_out, 4};
static const struct io_ops control_ops = {control_in, control_out, 2};
static const struct io_ops timer_ops = {timer_in, timer_out, 4};

static void reset(void *dev, const struct device_env *env)
{
    *(struct acpi_pm *)dev = (struct acpi_pm){
        .clock = env->clock,
        .host = env->host,
        .sci = env->irq,
        .to_timer = ratio_make_up(PM_TIMER_HZ, env->clock->tsc_hz),
        .to_tsc = ratio_make(env->clock->tsc_hz, PM_TIMER_HZ),
        .start = env->clock->now,
        .deadline = NEVER,
    };
}

const struct device acpi_pm_device = {
    .bit = DEV_ACPI,
    .irq = PC_SCI,
    .ports = {{PC_PM1A_EVENT, PC_PM1A_EVENT + 3, &event_ops},
              {PC_PM1A_CONTROL, PC_PM1A_CONTROL + 1, &control_ops},
              {PC_PM_TIMER, PC_PM_TIMER + 3, &timer_ops}},
    .reset = reset,
    .deadline = offsetof(struct acpi_pm, deadline),
    .start = offsetof(struct acpi_pm, start),
    .update = update,
};

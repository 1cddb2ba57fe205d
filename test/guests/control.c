/*
 * A 1 kHz control loop: a PI controller holds a first-order plant at its set point. The PIT starts
 * each period; the loop compares the time it ran with the time it should have, and prints a
 * histogram each second.
 */
#include "test/guests/lib/guest.h"

#define PERIOD_PIT   1193u /* 999.85 Hz: the nearest the PIT can do */
#define REPORT       1000u
#define BUCKETS      10u
/* Lateness buckets, in TSC ticks: below 256, 512, 1024 ... and the rest. */
#define BUCKET_FIRST 256u

static volatile uint32_t ticks;

static void on_tick(void)
{
    ticks++;
}

/* Fixed point, 16 bits of fraction. */
struct loop {
    int32_t plant, integral, set_point;
};

static void control_step(struct loop *l, uint32_t n)
{
    int32_t error, drive;

    l->set_point = (n / 500) % 2 ? 80 << 16 : 20 << 16;
    error = l->set_point - l->plant;
    l->integral += error >> 7;
    drive = (error >> 2) + l->integral;
    l->plant += (drive - l->plant) >> 4;
}

struct report {
    uint64_t worst, sum;
    uint32_t missed, histogram[BUCKETS];
};

static void note(struct report *r, uint64_t late)
{
    unsigned bucket = 0;

    while (bucket + 1 < BUCKETS && late >= (uint64_t)BUCKET_FIRST << bucket)
        bucket++;
    r->histogram[bucket]++;
    r->sum += late;
    if (late > r->worst)
        r->worst = late;
}

/* A report goes out a few bytes per period: printing must not cost a period. */
#define BYTES_A_PERIOD 4u

static char line[256];
static size_t line_at, line_len;

static void drain(void)
{
    for (unsigned i = 0; i < BYTES_A_PERIOD && line_at < line_len; i++)
        put_byte((uint8_t)line[line_at++]);
}

static void print(uint32_t second, const struct report *r, const struct loop *l)
{
    char text[BUCKETS * 8];
    size_t n = 0;

    for (unsigned i = 0; i < BUCKETS; i++)
        n += fmt(text + n, sizeof(text) - n, " %u", r->histogram[i]);
    line_at = 0;
    line_len = fmt(line, sizeof(line),
                   "control: second %u, periods %u, missed %u, late max %lu mean %lu ticks, plant "
                   "%d, histogram%s\r\n",
                   second, REPORT, r->missed, r->worst, r->sum / REPORT, l->plant >> 16, text);
    if (line_len >= sizeof(line))
        line_len = sizeof(line) - 1;
}

void guest_main(const char *cmdline)
{
    uint64_t hz = tsc_hz(), due, period = hz * PERIOD_PIT / PIT_HZ;
    uint64_t rest = hz * PERIOD_PIT % PIT_HZ, carry = 0;
    struct report r = {0};
    struct loop l = {0};
    uint32_t seen = 0, n = 0;

    (void)cmdline;
    say("control: %lu ticks a period\n", period);
    irq_handle(IRQ_PIT, on_tick);
    pit_periodic(PERIOD_PIT);
    due = tsc();
    for (;;) {
        uint64_t now;

        while (ticks == seen)
            sleep_until_irq();
        now = tsc();
        if (ticks - seen > 1)
            r.missed += ticks - seen - 1;
        seen = ticks;
        n++;
        /* Exact to the tick: the division's remainder is carried over, so that rounding does not
         * add up and a lost period shows. */
        due += period;
        carry += rest;
        if (carry >= PIT_HZ) {
            carry -= PIT_HZ;
            due++;
        }
        note(&r, now > due ? now - due : 0);
        while (now > due + period) {
            r.missed++;
            n++;
            due += period;
        }
        control_step(&l, n);
        drain();
        if (n % REPORT == 0) {
            print(n / REPORT, &r, &l);
            r = (struct report){0};
        }
    }
}

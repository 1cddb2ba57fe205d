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

static volatile bool ticked;

static void on_tick(void)
{
    ticked = true;
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

/* Of REPORT periods. Those that were missed are in no other figure. */
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

/* What a line says, in its order. */
enum {
    SECOND,
    PERIODS,
    MISSED,
    LATE_MAX,
    LATE_MEAN,
    PLANT,
    HISTOGRAM,
    VALUES = HISTOGRAM + BUCKETS
};
static const char *const words[VALUES + 1] = {
    [SECOND] = "control: second",
    [PERIODS] = ", periods",
    [MISSED] = ", missed",
    [LATE_MAX] = ", late max",
    [LATE_MEAN] = " mean",
    [PLANT] = " ticks, plant",
    [HISTOGRAM] = ", histogram",
    [HISTOGRAM + 1 ... VALUES - 1] = "",
    [VALUES] = "\r\n",
};

/* A report is made and goes out in pieces: neither may cost a period, or more time than the guest
 * has in one. There is room for those of some seconds that were missed at once; of more the first
 * ones are printed. */
#define BYTES_A_PERIOD 4u
#define LINES          16u

static int32_t lines[LINES][VALUES];
static unsigned first_line, last_line; /* count on */
static unsigned value;
static char text[32];
static size_t text_at, text_len;

static void next_piece(void)
{
    const int32_t *line = lines[first_line % LINES];

    text_at = 0;
    if (value < VALUES) {
        text_len = fmt(text, sizeof(text), "%s %d", words[value], line[value]);
        value++;
        return;
    }
    text_len = fmt(text, sizeof(text), "%s", words[VALUES]);
    value = 0;
    first_line++;
}

static void drain(void)
{
    if (text_at == text_len && first_line != last_line)
        next_piece();
    for (unsigned i = 0; i < BYTES_A_PERIOD && text_at < text_len; i++)
        put_byte((uint8_t)text[text_at++]);
}

static void print(uint32_t second, const struct report *r, const struct loop *l)
{
    int32_t *line = lines[last_line % LINES];
    uint32_t ran = REPORT - r->missed;

    if (last_line - first_line == LINES)
        return;
    last_line++;
    line[SECOND] = (int32_t)second;
    line[PERIODS] = REPORT;
    line[MISSED] = (int32_t)r->missed;
    line[LATE_MAX] = (int32_t)r->worst; /* less than a period */
    line[LATE_MEAN] = ran ? (int32_t)(r->sum / ran) : 0;
    line[PLANT] = l->plant >> 16;
    for (unsigned i = 0; i < BUCKETS; i++)
        line[HISTOGRAM + i] = (int32_t)r->histogram[i];
}

/* A period is over: the n-th. */
static void count(uint32_t n, struct report *r, const struct loop *l)
{
    if (n % REPORT)
        return;
    print(n / REPORT, r, l);
    *r = (struct report){0};
}

/* When periods begin, exact to the tick: the division's remainder is carried over, so that rounding
 * does not add up and a lost period shows. */
struct schedule {
    uint64_t due, period, rest, carry;
};

static void next_period(struct schedule *s)
{
    s->due += s->period;
    s->carry += s->rest;
    if (s->carry >= PIT_HZ) {
        s->carry -= PIT_HZ;
        s->due++;
    }
}

void guest_main(const char *cmdline)
{
    uint64_t hz = tsc_hz();
    struct schedule s = {.period = hz * PERIOD_PIT / PIT_HZ, .rest = hz * PERIOD_PIT % PIT_HZ};
    struct report r = {0};
    struct loop l = {0};
    uint32_t n = 0;

    (void)cmdline;
    say("control: %lu ticks a period\n", s.period);
    irq_handle(IRQ_PIT, on_tick);
    pit_periodic(PERIOD_PIT);
    s.due = tsc();
    next_period(&s);
    for (;;) {
        uint64_t now;

        while (!ticked)
            sleep_until_irq();
        ticked = false;
        now = tsc();
        /* A tick that was made up for a period which already counts as missed. */
        if (now + s.period / 2 < s.due)
            continue;
        while (now > s.due + s.period) {
            next_period(&s);
            r.missed++;
            count(++n, &r, &l);
        }
        note(&r, now > s.due ? now - s.due : 0);
        next_period(&s);
        control_step(&l, n);
        count(++n, &r, &l);
        drain();
    }
}

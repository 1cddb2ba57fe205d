/*
 * The CMOS real-time clock (MC146818A) at 0x70/0x71, IRQ 8. Pure. The time of day follows the TSC
 * from the epoch given at power-on, or from what the guest writes. That and the other bytes that it
 * writes stay until the next power-on.
 *
 * With SET in register B, or the divider of register A in reset, the time stands still and shows
 * what is written to it. A date that does not exist is then taken as so many days after the last
 * one that does. Times that are written while the clock runs count at once.
 *
 * Like the real part, the model counts 32768 Hz ticks. Seconds, periods and the alarm all derive
 * from that count, so they never drift apart. Flags without an enabled interrupt are updated when
 * register C is read.
 */
#pragma once

#include "hv/date.h"
#include "hv/pc/device.h"
#include "hv/pc/ratio.h"
#include "hv/pc/ticks.h"

#define RTC_IRQ        8u
#define RTC_PORT       0x70u
#define RTC_SIZE       128u
/* The clock counts from long before 1970, so that it can show every year from 0 to 9999: the
 * calendar repeats every 400 years, of 146097 days. */
#define RTC_BIAS_YEARS 2000u
#define RTC_BIAS       (RTC_BIAS_YEARS / 400 * 146097ull * 86400)

struct rtc {
    const struct dev_clock *clock;
    struct irq_line irq;
    struct ratio to_clock, to_tsc; /* TSC ticks to 32768 Hz ticks and back */
    uint64_t start;                /* TSC at which its 32768 Hz ticks were 0 */
    uint64_t epoch;                /* what it showed then: seconds since 1970, and RTC_BIAS */
    uint64_t deadline;             /* TSC of the next IRQ 8, NEVER */
    uint64_t periods_seen,
        seconds_seen;   /* since `start`; register C already has the earlier ones */
    struct ticks ticks; /* periodic interrupts */
    uint64_t alarm_at;  /* seconds since `start`; NEVER */
    struct date date;   /* of second `date_of`, cached */
    uint64_t date_of;
    uint8_t weekday; /* days by which the guest's week is ahead of the calendar's */
    uint8_t index;
    uint8_t reg_a, reg_b, reg_c;
    uint8_t cmos[RTC_SIZE]; /* what is written; of the time: while it stands still */
};

extern const struct device rtc_device;

/* As pit_drive(), for IRQ 8. */
void rtc_drive(struct rtc *r);

/* The CMOS real-time clock (MC146818A) at 0x70/0x71, IRQ 8. Pure. The time of day follows the TSC
 * from the epoch given at power-on. */
#pragma once

#include "hv/dev/dev.h"
#include "hv/dev/ratio.h"

#define RTC_PORT 0x70u
#define RTC_SIZE 128u

struct rtc {
    const struct dev_clock *clock;
    struct irq_line irq;
    uint64_t start;                    /* TSC at which the clock showed `epoch` */
    uint64_t epoch;                    /* seconds since 1970 */
    uint64_t period;                   /* of the periodic interrupt, ticks; 0: off */
    uint64_t next_period, next_second; /* TSC; NEVER */
    uint8_t index;
    uint8_t reg_a, reg_b, reg_c;
    uint8_t alarm[3]; /* seconds, minutes, hours as written */
    uint8_t cmos[RTC_SIZE];
};

extern const struct io_ops rtc_io_ops;

/* `memory` = bytes of RAM, for the sizes that old software reads here. */
void rtc_init(struct rtc *r, const struct dev_clock *clock, const struct irq_line *irq,
              uint64_t epoch, uint64_t memory);
void rtc_update(struct rtc *r);
static inline uint64_t rtc_deadline(const struct rtc *r)
{
    return min_u64(r->next_period, r->next_second);
}

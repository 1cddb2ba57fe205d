#include "arch/x86/cpu/board.h"

#include "arch/x86/cpu/clock.h"
#include "arch/x86/cpu/io.h"
#include "hv/arch.h"
#include "hv/lib.h"
#include "hv/log.h"

/* Motorola MC146818 "Real-Time Clock". */
#define CMOS_INDEX      0x70u
#define CMOS_DATA       0x71u
#define CMOS_STATUS_A   0x0au
#define STATUS_A_UPDATE 0x80u
#define NOBODY          0xffu /* no device answers */
#define READ_TRIES      100000u

static uint64_t epoch;

uint64_t arch_boot_epoch(void)
{
    return epoch;
}

static uint8_t cmos_read(uint8_t index)
{
    outb(CMOS_INDEX, index);
    return inb(CMOS_DATA);
}

static void read_registers(struct clock_registers *r)
{
    for (unsigned i = 0; i < READ_TRIES && cmos_read(CMOS_STATUS_A) & STATUS_A_UPDATE; i++)
        __builtin_ia32_pause();
    *r = (struct clock_registers){
        .second = cmos_read(0x00),
        .minute = cmos_read(0x02),
        .hour = cmos_read(0x04),
        .day = cmos_read(0x07),
        .month = cmos_read(0x08),
        .year = cmos_read(0x09),
        .status_b = cmos_read(0x0b),
    };
}

void clock_init(void)
{
    struct clock_registers a, b;

    if (cmos_read(CMOS_STATUS_A) == NOBODY) {
        log_warn("no real-time clock: time starts at 1970");
        return;
    }
    /* The same twice: no update in between. */
    read_registers(&a);
    for (unsigned i = 0; i < 10; i++) {
        read_registers(&b);
        if (memcmp(&a, &b, sizeof(a)) == 0)
            break;
        a = b;
    }
    epoch = clock_epoch(&a);
    if (epoch == 0)
        log_warn("the real-time clock is invalid: time starts at 1970");
}

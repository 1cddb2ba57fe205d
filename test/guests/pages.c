/* Executes code that it writes into each 2 MB of its memory. Prints how long the first call into a
 * page takes, and later ones (the minimum, since a slice may end during a call). Its argument is
 * the number of 2 MB pages. */
#include "test/guests/lib/guest.h"

#define PAGE_2M   (2ull << 20)
#define CODE_SIZE 6u
#define MARK      0xb16b00b5ull

/* Where code goes in each: at the first and last bytes, and across two small pages. */
static const uint64_t places[] = {0x123456, 0, 0xffd, PAGE_2M - CODE_SIZE};

static unsigned number(const char *s)
{
    unsigned n = 0;

    while (*s >= '0' && *s <= '9')
        n = n * 10 + (unsigned)(*s++ - '0');
    return n;
}

/* mov $value, %eax; ret */
static void write_code(uint8_t *at, uint32_t value)
{
    at[0] = 0xb8;
    memcpy(at + 1, &value, sizeof(value));
    at[CODE_SIZE - 1] = 0xc3;
}

static uint64_t call(const uint8_t *code, uint32_t *value)
{
    uint64_t from = tsc();

    __asm__ volatile("call *%1" : "=a"(*value) : "r"(code) : "memory", "cc");
    return tsc() - from;
}

void guest_main(const char *cmdline)
{
    unsigned pages = number(cmdline), wrong = 0;
    uint64_t first = UINT64_MAX, again = UINT64_MAX;

    for (unsigned p = 1; p < pages; p++) {
        uint8_t *page = (uint8_t *)(uintptr_t)(p * PAGE_2M);

        for (uint64_t at = 8; at < PAGE_2M; at += 4096)
            *(volatile uint64_t *)(void *)(page + at) = MARK + at;
        for (uint32_t i = 0; i < ARRAY_LEN(places); i++) {
            uint32_t value = 0;
            uint64_t ticks;

            write_code(page + places[i], p << 8 | i);
            ticks = call(page + places[i], &value);
            wrong += value != (p << 8 | i);
            if (i == 0)
                first = min_u64(first, ticks);
            else
                again = min_u64(again, ticks);
        }
        for (uint64_t at = 8; at < PAGE_2M; at += 4096)
            wrong += *(volatile uint64_t *)(void *)(page + at) != MARK + at;
    }
    say("pages: %u of 2 MB executed, first call %lu ticks, others %lu, %u wrong\n", pages - 1,
        first, again, wrong);
    for (;;)
        sleep_until_irq();
}

/*
 * Tries to get out. The command line says how: "read ADDRESS", "write ADDRESS" (one access outside
 * of its memory ends a guest, so one guest tries one address), "ports" (every port in every width)
 * or "msrs" (the architectural ranges).
 */
#include "test/guests/lib/guest.h"

static uint64_t parse_hex(const char *s)
{
    uint64_t v = 0;

    if (s[0] == '0' && s[1] == 'x')
        s += 2;
    for (;; s++) {
        if (*s >= '0' && *s <= '9')
            v = v * 16 + (uint64_t)(*s - '0');
        else if (*s >= 'a' && *s <= 'f')
            v = v * 16 + (uint64_t)(*s - 'a' + 10);
        else
            return v;
    }
}

/* Reset and exit ports would end the guest by its own request. */
static bool own_end(unsigned port)
{
    return port == 0x64 || port == 0xcf9 || port == 0xf4;
}

static void try_ports(void)
{
    uint32_t claimed = 0;

    for (unsigned port = 0; port < 0x10000; port++) {
        uint8_t v = inb((uint16_t)port);

        if (v != 0xff)
            claimed++;
        (void)inw((uint16_t)port);
        (void)inl((uint16_t)port);
        if (own_end(port) || port == UART)
            continue;
        outb((uint16_t)port, 0x5a);
        outw((uint16_t)port, 0x5a5a);
        outl((uint16_t)port, 0x5a5a5a5a);
    }
    /* What was written to the UART itself: 8 bits, no loop-back. */
    outb(UART + 3, 3);
    outb(UART + 4, 0x0b);
    say("isolation: ports done, %u answered\n", claimed);
}

static volatile uint32_t faults;

/* RDMSR and WRMSR are two bytes long. */
static void on_gp(struct guest_frame *f)
{
    faults++;
    f->rip += 2;
}

static void try_msr(uint32_t msr)
{
    uint32_t lo = 0, hi = 0;

    __asm__ volatile("rdmsr" : "+a"(lo), "+d"(hi) : "c"(msr));
}

static void try_msrs(void)
{
    exception_handle(13, on_gp);
    for (uint32_t msr = 0; msr < 0x2000; msr++) {
        try_msr(msr);
        try_msr(0xc0000000 + msr);
        try_msr(0x40000000 + msr);
    }
    __asm__ volatile("wrmsr" ::"c"(0x3a), "a"(0), "d"(0)); /* IA32_FEATURE_CONTROL */
    __asm__ volatile("wrmsr" ::"c"(0x1b), "a"(0), "d"(0)); /* IA32_APIC_BASE: off */
    say("isolation: msrs done, %u faults\n", faults);
}

/* Any address may be asked for, 0 as well, which C has no pointer to. */
static uint32_t read_at(uint64_t at)
{
    uint32_t value;

    __asm__ volatile("movl (%1), %0" : "=r"(value) : "r"(at) : "memory");
    return value;
}

static void write_at(uint64_t at, uint32_t value)
{
    __asm__ volatile("movl %0, (%1)" ::"r"(value), "r"(at) : "memory");
}

void guest_main(const char *cmdline)
{
    if (strncmp(cmdline, "read ", 5) == 0) {
        uint64_t at = parse_hex(cmdline + 5);

        say("isolation: reading 0x%lx\n", at);
        say("isolation: ESCAPED, read 0x%x\n", read_at(at));
    } else if (strncmp(cmdline, "write ", 6) == 0) {
        uint64_t at = parse_hex(cmdline + 6);

        say("isolation: writing 0x%lx\n", at);
        write_at(at, 0xdeadbeef);
        say("isolation: ESCAPED, wrote 0x%lx\n", at);
    } else if (strcmp(cmdline, "ports") == 0) {
        try_ports();
    } else if (strcmp(cmdline, "msrs") == 0) {
        try_msrs();
    } else {
        say("isolation: what? \"%s\"\n", cmdline);
        guest_exit(2);
    }
}

/* Says hello, its command line, and what KVM's clock shows; ends with N if the command line has
 * "exit=N". */
#include "bulkhead/io.h"
#include "bulkhead/kvm_clock_abi.h"
#include "bulkhead/pc.h"

#include <cpuid.h>
#include <stddef.h>

#define MULTIBOOT1_LOADED  0x2badb002u
#define MULTIBOOT1_CMDLINE (1u << 2) /* of the flags, the first word */
#define MULTIBOOT2_LOADED  0x36d76289u
#define TAG_CMDLINE        1u

static struct kvm_system_time now __attribute__((aligned(32)));

static void say(const char *text)
{
    for (; *text; text++) {
        while (!(inb(UART + UART_LSR) & UART_THR_EMPTY))
            ;
        if (*text == '\n')
            outb(UART, '\r');
        outb(UART, (uint8_t)*text);
    }
}

/* The command line; QEMU begins it with the file's name. */
static const char *find_cmdline(uint32_t magic, const uint32_t *info)
{
    if (magic == MULTIBOOT1_LOADED && (info[0] & MULTIBOOT1_CMDLINE))
        return (const char *)info[4];
    if (magic != MULTIBOOT2_LOADED)
        return "";
    /* Tags of a type and a size, each padded to 8 bytes. */
    for (const uint32_t *tag = info + 2; tag[0] != 0; tag += (tag[1] + 7) / 8 * 2)
        if (tag[0] == TAG_CMDLINE)
            return (const char *)(tag + 2);
    return "";
}

static uint32_t find_exit(const char *cmdline)
{
    static const char key[] = "exit=";
    uint32_t code = 0;
    size_t i;

    for (; *cmdline; cmdline++) {
        for (i = 0; key[i] && cmdline[i] == key[i]; i++)
            ;
        if (key[i])
            continue;
        for (cmdline += i; *cmdline >= '0' && *cmdline <= '9'; cmdline++)
            code = code * 10 + (uint32_t)(*cmdline - '0');
        return code;
    }
    return 0;
}

/* False: there is no such clock. */
static int start_clock(void)
{
    uint32_t eax, ebx, ecx, edx;

    __cpuid(0x40000000, eax, ebx, ecx, edx);
    if (ebx != 0x4b4d564b || ecx != 0x564b4d56 || edx != 0x4d) /* "KVMKVMKVM" */
        return 0;
    __cpuid(0x40000001, eax, ebx, ecx, edx);
    if (!(eax & KVM_CLOCKSOURCE2))
        return 0;
    __asm__ volatile("wrmsr" ::"c"(MSR_KVM_SYSTEM_TIME),
                     "a"((uint32_t)&now | (uint32_t)KVM_TIME_ENABLE), "d"(0)
                     : "memory");
    return 1;
}

/* Nanoseconds since power-on, modulo 2^32: a real guest would keep all 64 bits. */
static uint32_t read_clock(void)
{
    const volatile struct kvm_system_time *t = &now;
    uint32_t version, low;
    uint64_t ticks, high, ns;

    do {
        version = t->version;
        __asm__ volatile("lfence; rdtsc" : "=A"(ticks)::"memory");
        ticks -= t->tsc;
        ticks = t->shift < 0 ? ticks >> -t->shift : ticks << t->shift;
        low = (uint32_t)ticks;
        high = ticks >> 32;
        ns = t->time + high * t->multiplier + (((uint64_t)low * t->multiplier) >> 32);
    } while ((version & 1) || version != t->version);
    return (uint32_t)ns;
}

uint32_t guest_main(uint32_t magic, const uint32_t *info)
{
    const char *cmdline = find_cmdline(magic, info);

    say("hello from C, by multiboot");
    say(magic == MULTIBOOT2_LOADED ? "2: " : "1: ");
    say(cmdline);
    say("\n");
    if (start_clock()) {
        uint32_t before = read_clock();

        while (read_clock() - before < 1000)
            ;
        say("1000 ns have passed\n");
    } else {
        say("there is no KVM clock\n");
    }
    return find_exit(cmdline);
}

/* A monitor on the UART, driven by its interrupt: a few commands, including one for each way to
 * die. */
#include "test/guests/lib/guest.h"

#define LINE 128u
#define RING 256u

static volatile uint8_t ring[RING];
static volatile uint32_t head;
static volatile uint32_t tail;
static volatile bool full; /* the UART has more bytes than fit */
static volatile uint64_t tick_count;
static volatile bool starves; /* feeds its watchdog, if it has one */

/* Bytes that do not fit stay in the UART, which then accepts no more. */
static void on_uart(void)
{
    bool more;

    while ((more = inb(UART + UART_LSR) & UART_DATA_READY) && head - tail < RING) {
        ring[head % RING] = inb(UART);
        head++;
    }
    full = more;
}

static void on_tick(void)
{
    tick_count++;
    if (!starves)
        outb(WATCHDOG_PORT, 0);
}

static void on_nmi(struct guest_frame *f)
{
    static unsigned count;

    say("\nNMI %u, interrupts %s\n", ++count, f->rflags & RFLAGS_IF ? "on" : "off");
}

static uint8_t next_byte(void)
{
    uint8_t c;

    while (head == tail)
        sleep_until_irq();
    c = ring[tail % RING];
    tail++;
    /* The UART has signalled these bytes, and does not signal them again. */
    if (full) {
        __asm__ volatile("cli" ::: "memory");
        on_uart();
        __asm__ volatile("sti" ::: "memory");
    }
    return c;
}

static void read_line(char *line)
{
    size_t n = 0;

    for (;;) {
        uint8_t c = next_byte();

        if (c == '\r' || c == '\n') {
            say("\n");
            line[n] = 0;
            return;
        }
        if ((c == 8 || c == 127) && n > 0) {
            n--;
            say("\b \b");
        } else if (c >= ' ' && c < 127 && n < LINE - 1) {
            line[n++] = (char)c;
            put_byte(c);
        }
    }
}

static uint64_t parse(const char *s)
{
    uint64_t v = 0;
    bool hex = s[0] == '0' && s[1] == 'x';

    for (s += hex ? 2 : 0; *s; s++) {
        unsigned d = *s >= '0' && *s <= '9'   ? (unsigned)(*s - '0')
                     : *s >= 'a' && *s <= 'f' ? (unsigned)(*s - 'a' + 10)
                                              : 16;

        if (d >= (hex ? 16u : 10u))
            break;
        v = v * (hex ? 16 : 10) + d;
    }
    return v;
}

static void do_raw(const char *arg)
{
    for (; arg[0] && arg[1]; arg += 2) {
        char digits[] = {'0', 'x', arg[0], arg[1], 0};

        put_byte((uint8_t)parse(digits));
    }
    say("\n");
}

static void do_flood(const char *arg)
{
    for (uint64_t i = parse(arg), n = 0; n < i; n++)
        say("flood: line %lu of %lu, and nobody asked for any of them\n", n + 1, i);
}

static void die_triple(const char *arg)
{
    static const struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) nothing = {0, 0};

    (void)arg;
    __asm__ volatile("lidt %0; ud2" ::"m"(nothing));
}

static void die_bad(const char *arg)
{
    uint64_t at = *arg ? parse(arg) : 0xc0000000;

    say("reading 0x%lx: 0x%x\n", at, *(volatile uint32_t *)(uintptr_t)at);
}

static void again(struct guest_frame *f)
{
    (void)f; /* returns to the same instruction */
}

static void die_ud(const char *arg)
{
    (void)arg;
    exception_handle(6, again);
    __asm__ volatile("ud2");
}

static void die_spin(const char *arg)
{
    (void)arg;
    irq_off();
    for (;;)
        __asm__ volatile("" ::: "memory");
}

static void die_halt(const char *arg)
{
    (void)arg;
    __asm__ volatile("cli; hlt");
}

static void starve(const char *arg)
{
    (void)arg;
    starves = true;
}

static void die_reset(const char *arg)
{
    (void)arg;
    outb(0xcf9, 6);
}

static void do_exit(const char *arg)
{
    guest_exit((uint32_t)parse(arg));
}

static void do_uptime(const char *arg)
{
    (void)arg;
    say("%lu ms\n", tick_count * 10);
}

static void do_echo(const char *arg)
{
    say("%s\n", arg);
}

/* Size, first 16 bytes, and FNV-1a over all of it. */
static void do_module(const char *arg)
{
    uint32_t size = 0, hash = 0x811c9dc5;
    const uint8_t *m = guest_module(&size);

    (void)arg;
    for (uint32_t i = 0; i < size; i++)
        hash = (hash ^ m[i]) * 0x01000193;
    say("module: %u bytes, ", size);
    for (uint32_t i = 0; i < 16 && i < size; i++)
        say("%02x", m[i]);
    say(", hash 0x%08x\n", hash);
}

static void do_help(const char *arg);

static const struct command {
    const char *name, *help;
    void (*run)(const char *arg);
} commands[] = {
    {"help", "this list", do_help},
    {"echo", "TEXT: says it again", do_echo},
    {"raw", "HEX: says these bytes", do_raw},
    {"flood", "N: says this many lines, as fast as it can", do_flood},
    {"uptime", "time since the start", do_uptime},
    {"module", "what its first module is", do_module},
    {"exit", "N: ends with this exit code", do_exit},
    {"reset", "reset control register, port 0xcf9", die_reset},
    {"triple", "ends: triple fault", die_triple},
    {"bad", "[ADDRESS]: reads outside of its memory, and ends if that is strict", die_bad},
    {"ud", "hangs: undefined instruction in a loop", die_ud},
    {"spin", "hangs: endless loop, interrupts off", die_spin},
    {"starve", "stops writing to its watchdog, and goes on", starve},
    {"halt", "ends: HLT, interrupts off", die_halt},
};

static void do_help(const char *arg)
{
    (void)arg;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++)
        say("%-8s %s\n", commands[i].name, commands[i].help);
}

static void run(char *line)
{
    char *arg = line;

    while (*arg && *arg != ' ')
        arg++;
    if (*arg)
        *arg++ = 0;
    if (!*line)
        return;
    for (size_t i = 0; i < ARRAY_LEN(commands); i++) {
        if (strcmp(line, commands[i].name) == 0) {
            commands[i].run(arg);
            return;
        }
    }
    say("no such command: %s (try help)\n", line);
}

void guest_main(const char *cmdline)
{
    char line[LINE];

    say("echo: ready %s\n", cmdline);
    if (strcmp(cmdline, "module") == 0)
        do_module(cmdline);
    exception_handle(2, on_nmi);
    irq_handle(IRQ_UART, on_uart);
    irq_handle(IRQ_PIT, on_tick);
    pit_periodic(11932); /* 100 Hz */
    outb(UART + 1, 1);
    for (;;) {
        say("> ");
        read_line(line);
        run(line);
    }
}

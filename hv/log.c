#include "hv/log.h"

#include "hv/arch.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "hv/spinlock.h"

static struct spinlock lock;
/* The ring as the management guest sees it: a header page, then the data. */
static uint8_t log_pages[sizeof(struct abi_ring) + ABI_LOG_RING_SIZE]
    __attribute__((aligned(4096)));
_Static_assert(sizeof(struct abi_ring) == PAGE_SIZE, "the data begin one page after the header");

struct abi_ring *log_ring(void)
{
    struct abi_ring *r = (struct abi_ring *)(void *)log_pages;

    r->size = ABI_LOG_RING_SIZE;
    return r;
}

static void ring_put(const char *s, size_t n)
{
    struct abi_ring *r = log_ring();
    size_t at = r->written & (ABI_LOG_RING_SIZE - 1), first = min_u64(n, ABI_LOG_RING_SIZE - at);

    memcpy(r->data + at, s, first);
    memcpy(r->data, s + first, n - first);
    __atomic_store_n(&r->written, r->written + n, __ATOMIC_RELEASE);
}

/* Core 0 empties the serial queue; it may be halted. Once it knows that there is something it comes
 * by itself until there is nothing any more: what others print costs it no interrupt a line. */
static uint32_t console_woken;

static void wake_console(void)
{
    if (arch_core_self() != 0 && !__atomic_exchange_n(&console_woken, 1, __ATOMIC_SEQ_CST))
        arch_kick(0);
}

uint64_t log_poll(void)
{
    uint64_t again = arch_console_poll();

    if (again != NEVER || !__atomic_load_n(&console_woken, __ATOMIC_RELAXED))
        return again;
    (void)__atomic_exchange_n(&console_woken, 0, __ATOMIC_SEQ_CST);
    return arch_console_poll(); /* what came before whoever wrote it could see that */
}

static void log_line(const char *kind, const char *format, va_list ap)
{
    uint64_t hz = arch_tsc_hz(), now = arch_tsc();
    uint64_t seconds = hz ? now / hz : 0, micros = hz ? now % hz * 1000000 / hz : 0;
    char line[256];
    size_t n = fmt(line, sizeof(line), "[%4lu.%06lu] core %u: %s", seconds, micros,
                   arch_core_self(), kind);

    n += fmt_v(line + n, sizeof(line) - n, format, ap);
    if (n > sizeof(line) - 2)
        n = sizeof(line) - 2;
    line[n++] = '\n';
    spin_lock(&lock);
    ring_put(line, n);
    arch_console_write(line, n);
    spin_unlock(&lock);
    wake_console();
}

void log_info(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    log_line("", format, ap);
    va_end(ap);
}

void log_warn(const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    log_line("warning: ", format, ap);
    va_end(ap);
}

void log_console(const char *s, size_t n)
{
    spin_lock(&lock);
    arch_serial_write(s, n);
    spin_unlock(&lock);
    wake_console();
}

void log_secret(const char *line)
{
    spin_lock(&lock);
    arch_console_write(line, strlen(line));
    arch_console_write("\n", 1);
    spin_unlock(&lock);
    wake_console();
}

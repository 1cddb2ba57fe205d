#include "hv/log.h"

#include "hv/arch.h"
#include "hv/budget.h"
#include "hv/core.h"
#include "hv/fmt.h"
#include "hv/guest.h"
#include "hv/hostmem.h"
#include "hv/job.h"
#include "hv/lib.h"

#define QUEUE_SIZE  4096u /* a power of two */
#define MERGE_MAX   3u    /* lines that core 0 takes from the queues in one step */
#define PLAIN_PART  16u   /* bytes converted at a time */
#define SCREEN_PART 64u   /* bytes that go to the screen in one step */
#define POLL_RATE   720u  /* times a second: the rate at which the line sends a FIFO of 16 bytes */
#define NOT_FOR_ALL (QUEUE_SIZE / 2) /* this part of a queue is the root's alone */

/* The ring as the management guest sees it: a header page, then the data. */
static uint8_t log_pages[sizeof(struct abi_ring) + ABI_LOG_RING_SIZE]
    __attribute__((aligned(4096)));
_Static_assert(sizeof(struct abi_ring) == PAGE_SIZE, "the data begin one page after the header");

/* A core's lines on their way to core 0, each a struct serial_record and its text. The core writes
 * head, core 0 writes tail. */
struct log_queue {
    uint32_t head, tail;
    uint64_t lost; /* lines that had no room, ever. Atomic */
    uint64_t told; /* lost lines already reported; core 0's */
    uint8_t bytes[QUEUE_SIZE];
};

static struct log_queue *queues; /* one per core, core 0's unused; NULL before log_start() */
static struct serial_line line;
/* 1: core 0 knows that there is work, and polls until none is left: others' lines do not cost it an
 * interrupt each. */
static uint32_t woken;
/* Core 0: how much of the ring the screen has been given. */
static uint64_t on_screen;
static uint64_t next_poll; /* core 0: no work before this; NEVER: until `woken` */

struct abi_ring *log_ring(void)
{
    struct abi_ring *r = (struct abi_ring *)(void *)log_pages;

    r->size = ABI_LOG_RING_SIZE;
    return r;
}

static void ring_put(const char *s, size_t n)
{
    struct abi_ring *r = log_ring();

    ring_write(r->data, ABI_LOG_RING_SIZE, r->written, s, n);
    __atomic_store_n(&r->written, r->written + n, __ATOMIC_RELEASE);
}

/* ---- any core ---- */

static void wake_core_0(void)
{
    if (!__atomic_exchange_n(&woken, 1, __ATOMIC_SEQ_CST))
        core_wake(0);
}

void log_console_grew(void)
{
    /* Usually only a load. If this reads it just before core 0 clears it, core 0 looks once more a
     * step later: see log_poll(). */
    if (!__atomic_load_n(&woken, __ATOMIC_RELAXED))
        wake_core_0();
}

static void queue_put(struct log_queue *q, const struct serial_record *r, const char *text,
                      uint32_t size)
{
    uint32_t used = q->head - __atomic_load_n(&q->tail, __ATOMIC_ACQUIRE);

    if (size - used < sizeof(*r) + r->length || used > size) {
        __atomic_store_n(&q->lost, q->lost + 1, __ATOMIC_RELAXED);
        return;
    }
    ring_write(q->bytes, QUEUE_SIZE, q->head, r, sizeof(*r));
    ring_write(q->bytes, QUEUE_SIZE, q->head + sizeof(*r), text, r->length);
    __atomic_store_n(&q->head, q->head + (uint32_t)sizeof(*r) + r->length, __ATOMIC_RELEASE);
}

/* Core 0: adds a line to the ring and the serial line. The screen takes it from the ring. */
static void publish(const struct serial_record *r, const char *text)
{
    ring_put(text, r->length);
    ring_put("\n", 1);
    serial_line_put(&line, r, text);
}

/* `text` has room for the newline. */
static void write_line(const struct serial_record *r, char *text, uint32_t room)
{
    if (!queues) {
        text[r->length] = '\n';
        ring_put(text, r->length + 1u);
        arch_console_write(text, r->length + 1u);
        return;
    }
    if (arch_core_self() == 0)
        publish(r, text);
    else
        queue_put(&queues[arch_core_self()], r, text, room);
    wake_core_0();
}

static size_t prefix(char *text)
{
    return serial_prefix(text, arch_tsc(), arch_tsc_hz(), arch_core_self());
}

/* Adds text that is known to fit: it is short, and the line is long. */
static size_t add(char *at, const char *text)
{
    size_t n = strlen(text);

    memcpy(at, text, n);
    return n;
}

/* ---- budgets for lines that others can cause ---- */

/* All atomic: several of a guest's cores may log at once. Then one line may not be charged. */
struct allowance {
    struct budget budget;
    uint64_t lost; /* lines since it was used up */
};

static struct allowance of_management;
/* By number: a guest that is made again gets no new budget. */
static struct allowance about_guest[ABI_GUESTS_MAX];

static struct budget budget_of(const struct allowance *a)
{
    return (struct budget){__atomic_load_n(&a->budget.paid, __ATOMIC_RELAXED)};
}

/* The next line says so. */
static bool is_lost(struct allowance *a)
{
    const struct budget b = budget_of(a);

    if (budget_is_open(&b, arch_tsc()))
        return false;
    __atomic_fetch_add(&a->lost, 1, __ATOMIC_RELAXED);
    return true;
}

/* Known to fit, like all prefixes of a line. */
static size_t tell_lost_before(struct allowance *a, char *out)
{
    uint64_t lost = __atomic_exchange_n(&a->lost, 0, __ATOMIC_RELAXED);
    char *at = out;

    if (!lost)
        return 0;
    *at++ = '(';
    at = fmt_digits(at, lost, 1, ' ');
    at += add(at, " lines before this one were too many) ");
    return (size_t)(at - out);
}

static void charge(struct allowance *a, size_t bytes, uint64_t rate, uint64_t burst)
{
    struct budget b = budget_of(a);

    budget_charge(&b, arch_tsc(), bytes, arch_tsc_hz() / rate, burst);
    __atomic_store_n(&a->budget.paid, b.paid, __ATOMIC_RELAXED);
}

/* ---- lines ---- */

static void log_line(const char *kind, const char *format, va_list ap)
{
    char text[SERIAL_LINE_MAX + 1];
    struct serial_record r = {0};
    size_t n = prefix(text);

    n += add(text + n, kind);
    n += fmt_v(text + n, sizeof(text) - n, format, ap);
    r.length = (uint16_t)min_u64(n, SERIAL_LINE_MAX);
    write_line(&r, text, QUEUE_SIZE);
}

static void log_about(const struct guest *g, const char *kind, const char *format, va_list ap)
{
    struct allowance *a = &about_guest[g->number];
    struct serial_record r = {
        .about = (uint8_t)(g->number + 1),
        .console = __atomic_load_n(&g->console->written, __ATOMIC_RELAXED),
    };
    char text[SERIAL_LINE_MAX + 1];
    size_t n;

    if (is_lost(a))
        return;
    n = prefix(text);
    n += add(text + n, kind);
    n += add(text + n, "guest ");
    n += add(text + n, g->config.name);
    n += add(text + n, ": ");
    n += tell_lost_before(a, text + n);
    job_rest();
    n += fmt_v(text + n, sizeof(text) - n, format, ap);
    r.length = (uint16_t)min_u64(n, SERIAL_LINE_MAX);
    charge(a, r.length, LOG_ABOUT_RATE, LOG_ABOUT_BURST);
    write_line(&r, text, QUEUE_SIZE);
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

void log_guest(const struct guest *g, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    log_about(g, "", format, ap);
    va_end(ap);
}

void log_guest_warn(const struct guest *g, const char *format, ...)
{
    va_list ap;

    va_start(ap, format);
    log_about(g, "warning: ", format, ap);
    va_end(ap);
}

static void write_for_management(char *out, size_t n)
{
    const struct serial_record r = {.length = (uint16_t)n};

    charge(&of_management, n, LOG_MANAGEMENT_RATE, LOG_MANAGEMENT_BURST);
    write_line(&r, out, QUEUE_SIZE - NOT_FOR_ALL);
}

size_t log_plain(const char *text, size_t n, char *out, size_t room)
{
    struct plain p = {0};
    size_t used = 0;

    for (size_t done = 0; done < n; done += PLAIN_PART) {
        used += plain_line(&p, text + done, min_u64(n - done, PLAIN_PART), out + used, room - used);
        job_rest();
    }
    return used;
}

int log_management(const char *text, size_t n)
{
    char shown[SERIAL_LINE_MAX], out[SERIAL_LINE_MAX + 1];
    size_t used, plain;

    if (is_lost(&of_management))
        return -E_AGAIN;
    plain = log_plain(text, n, shown, sizeof(shown));
    used = prefix(out);
    used += add(out + used, "mgmt: ");
    used += tell_lost_before(&of_management, out + used);
    plain = min_u64(plain, SERIAL_LINE_MAX - used);
    memcpy(out + used, shown, plain);
    job_rest();
    write_for_management(out, used + plain);
    return 0;
}

void log_on_behalf(const char *format, ...)
{
    char out[SERIAL_LINE_MAX + 1];
    va_list ap;
    size_t used;

    if (is_lost(&of_management))
        return;
    used = prefix(out);
    used += tell_lost_before(&of_management, out + used);
    job_rest();
    va_start(ap, format);
    used += fmt_v(out + used, sizeof(out) - used, format, ap);
    va_end(ap);
    job_rest();
    write_for_management(out, min_u64(used, SERIAL_LINE_MAX));
}

void log_secret(const char *text)
{
    char out[SERIAL_LINE_MAX];
    size_t n = prefix(out);

    n += fmt(out + n, sizeof(out) - n, "%s\n", text);
    arch_console_write(out, min_u64(n, sizeof(out) - 1));
    memzero_explicit(out, sizeof(out));
}

void log_source_open(unsigned number, const char *name, const struct abi_ring *ring)
{
    serial_source_open(&line.sources[number], name, ring);
}

void log_source_close(unsigned number)
{
    serial_source_close(&line.sources[number]);
}

/* ---- core 0 ---- */

int log_start(uint64_t lost_bytes[ABI_GUESTS_MAX])
{
    size_t size = arch_core_count() * sizeof(*queues);
    struct log_queue *q = hostmem_alloc_zeroed(size, MEM_HOST);

    if (!q)
        return -E_NOMEM;
    serial_line_init(&line, arch_tsc_hz(), lost_bytes);
    on_screen = log_ring()->written; /* earlier lines went there at once */
    queues = q;
    return 0;
}

static bool queue_take(struct log_queue *q, struct serial_record *r, char text[SERIAL_LINE_MAX])
{
    if (q->tail == __atomic_load_n(&q->head, __ATOMIC_ACQUIRE))
        return false;
    ring_read(q->bytes, QUEUE_SIZE, q->tail, r, sizeof(*r));
    ring_read(q->bytes, QUEUE_SIZE, q->tail + sizeof(*r), text,
              min_u64(r->length, SERIAL_LINE_MAX));
    __atomic_store_n(&q->tail, q->tail + (uint32_t)sizeof(*r) + r->length, __ATOMIC_RELEASE);
    return true;
}

static void tell_lost(struct log_queue *q, unsigned core)
{
    uint64_t lost = __atomic_load_n(&q->lost, __ATOMIC_RELAXED);

    if (lost == q->told)
        return;
    log_warn("%lu lines that core %u wrote too fast are lost", lost - q->told, core);
    q->told = lost;
}

/* Moves lines from the cores' queues into the log. False: more wait. */
static bool merge(void)
{
    static char text[SERIAL_LINE_MAX];
    struct serial_record r;
    unsigned taken = 0;

    for (unsigned i = 1; i < arch_core_count(); i++) {
        while (queue_take(&queues[i], &r, text)) {
            publish(&r, text);
            if (++taken == MERGE_MAX)
                return false;
        }
        tell_lost(&queues[i], i);
    }
    return true;
}

static void send(void)
{
    const char *bytes;
    size_t n = serial_line_pending(&line, &bytes);

    if (n)
        serial_line_sent(&line, arch_serial_send(bytes, n));
}

/* ---- a poll does one of these that has work, each short ---- */

static bool write_screen(void)
{
    const struct abi_ring *r = log_ring();
    size_t at, n;

    if (on_screen == r->written)
        return false;
    if (r->written - on_screen > ABI_LOG_RING_SIZE)
        on_screen = r->written - ABI_LOG_RING_SIZE;
    at = on_screen & (ABI_LOG_RING_SIZE - 1);
    n = min_u64(min_u64(r->written - on_screen, SCREEN_PART), ABI_LOG_RING_SIZE - at);
    arch_screen_write((const char *)r->data + at, n);
    on_screen += n;
    return true;
}

static bool take_lines(void)
{
    /* What guests print from here on comes after the lines that are taken now. */
    serial_line_look(&line);
    return !merge();
}

static bool (*const parts[])(void) = {write_screen, arch_screen_poll, take_lines};

static bool do_part(void)
{
    static unsigned next;

    for (unsigned i = 0; i < ARRAY_LEN(parts); i++)
        if (parts[next++ % ARRAY_LEN(parts)]())
            return true;
    return false;
}

bool log_is_due(uint64_t now)
{
    return now >= next_poll || (next_poll == NEVER && __atomic_load_n(&woken, __ATOMIC_RELAXED));
}

/* Does a part, or a step towards the next line for the serial port: in turn, because a flood would
 * otherwise take every poll. */
uint64_t log_poll(void)
{
    static bool line_is_next, parts_idle;
    uint64_t now = arch_tsc();
    const char *bytes;
    bool more;

    if (!log_is_due(now))
        return next_poll;
    if (serial_line_pending(&line, &bytes)) {
        send();
        line_is_next = false;
    }
    if (line_is_next) {
        more = serial_line_step(&line, now) || !parts_idle;
    } else {
        parts_idle = !do_part();
        more = !parts_idle;
    }
    line_is_next = !line_is_next;
    if (!more && serial_line_is_dry(&line)) {
        /* A core that has just read `woken` as 1 does not wake us: look once more after this. */
        if (!__atomic_exchange_n(&woken, 0, __ATOMIC_SEQ_CST))
            return next_poll = NEVER;
        parts_idle = false;
    }
    return next_poll = now + arch_tsc_hz() / (more ? POLL_RATE * ARRAY_LEN(parts) : POLL_RATE);
}

void log_flush(void)
{
    static char text[SERIAL_LINE_MAX + 1];
    const char *bytes;
    struct serial_record r;
    size_t n;

    if (!queues)
        return;
    while (write_screen())
        ;
    n = serial_line_pending(&line, &bytes);
    arch_console_write(bytes, min_u64(n, sizeof(line.out)));
    serial_line_sent(&line, n);
    while (serial_line_take(&line, text, &n)) {
        text[n] = '\n';
        arch_console_write(text, n + 1);
    }
    for (unsigned i = 1; i < arch_core_count(); i++)
        for (unsigned k = 0; k < QUEUE_SIZE / sizeof(r) && queue_take(&queues[i], &r, text); k++) {
            n = min_u64(r.length, SERIAL_LINE_MAX);
            text[n] = '\n';
            arch_console_write(text, n + 1);
        }
}

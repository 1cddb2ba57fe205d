#include "hv/serial_line.h"

#include "hv/fmt.h"
#include "hv/lib.h"

#define PROMPT_RATE 20u   /* an unfinished line is shown after 1/20 s: it is a prompt */
#define TELL_RATE   1u    /* times a second that a guest's losses are reported */
#define BEFORE_MAX  1024u /* bytes of a guest that go before a line about it */
#define RESUME      (ABI_CONSOLE_RING_SIZE / 2) /* newest bytes that are shown after a loss */
#define PREFIX_MARK "] core "                   /* only the root's lines have this */

void serial_source_open(struct serial_source *s, const char *name, const struct abi_ring *ring)
{
    (void)str_copy(s->name, sizeof(s->name), name);
    s->ring = ring;
    __atomic_store_n(&s->state, s->state + 1, __ATOMIC_RELEASE);
}

void serial_source_close(struct serial_source *s)
{
    __atomic_fetch_add(&s->state, 1, __ATOMIC_ACQ_REL);
}

/* Formats "[%4lu.%06lu] core %u: " by hand: every line begins with it, and guests wait. */
size_t serial_prefix(char *out, uint64_t now, uint64_t hz, unsigned core)
{
    uint64_t seconds = hz ? now / hz : 0, micros = hz ? now % hz * 1000000 / hz : 0;
    char *at = out;

    *at++ = '[';
    at = fmt_digits(at, seconds, 4, ' ');
    *at++ = '.';
    at = fmt_digits(at, micros, 6, '0');
    memcpy(at, PREFIX_MARK, sizeof(PREFIX_MARK) - 1);
    at = fmt_digits(at + sizeof(PREFIX_MARK) - 1, core, 1, ' ');
    *at++ = ':';
    *at++ = ' ';
    return (size_t)(at - out);
}

void serial_line_init(struct serial_line *l, uint64_t hz, uint64_t lost_bytes[SERIAL_GUESTS])
{
    l->lost_bytes = lost_bytes;
    l->hz = hz;
    l->byte_ticks = hz / SERIAL_RATE;
    l->patience = hz / PROMPT_RATE;
}

/* ---- the root's lines ---- */

void serial_line_put(struct serial_line *l, const struct serial_record *r, const char *text)
{
    if (r->length > SERIAL_LINE_MAX ||
        SERIAL_QUEUE - (l->head - l->tail) < sizeof(*r) + r->length) {
        l->lost++;
        return;
    }
    ring_write(l->queue, SERIAL_QUEUE, l->head, r, sizeof(*r));
    ring_write(l->queue, SERIAL_QUEUE, l->head + sizeof(*r), text, r->length);
    l->head += (uint32_t)sizeof(*r) + r->length;
}

static void end_line(struct serial_line *l, size_t n)
{
    l->out[n] = '\r';
    l->out[n + 1] = '\n';
    l->out_length = (unsigned)n + 2;
    l->out_sent = 0;
}

bool serial_line_take(struct serial_line *l, char text[SERIAL_LINE_MAX], size_t *n)
{
    struct serial_record r;

    if (l->head == l->tail)
        return false;
    ring_read(l->queue, SERIAL_QUEUE, l->tail, &r, sizeof(r));
    *n = min_u64(r.length, SERIAL_LINE_MAX);
    ring_read(l->queue, SERIAL_QUEUE, l->tail + sizeof(r), text, *n);
    l->tail += (uint32_t)sizeof(r) + r.length;
    return true;
}

static void tell_lost_lines(struct serial_line *l, uint64_t now)
{
    size_t n = serial_prefix(l->out, now, l->hz, 0);

    n += fmt(l->out + n, SERIAL_LINE_MAX - n, "warning: %lu lines of the log are not on this line",
             l->lost);
    l->lost = 0;
    end_line(l, n);
}

/* ---- guests' output ---- */

static void start_feed(struct serial_feed *f, uint32_t state)
{
    f->source.state = state;
    f->at = f->seen = f->lost = f->told = 0;
    f->plain = (struct plain){0};
    f->length = 0;
    f->complete = false;
}

/* Follows the source, which may belong to a new guest. */
static void look(struct serial_line *l, unsigned i)
{
    const struct serial_source *s = &l->sources[i];
    struct serial_feed *f = &l->feeds[i];
    uint32_t state = __atomic_load_n(&s->state, __ATOMIC_ACQUIRE);

    if (state != f->source.state) {
        start_feed(f, state);
        __atomic_store_n(&l->lost_bytes[i], 0, __ATOMIC_RELAXED);
        if (state & 1) {
            memcpy(f->source.name, s->name, sizeof(f->source.name));
            f->source.ring = s->ring;
        }
    }
    if (state & 1)
        f->seen = __atomic_load_n(&f->source.ring->written, __ATOMIC_ACQUIRE);
}

void serial_line_look(struct serial_line *l)
{
    for (unsigned i = 0; i < SERIAL_GUESTS; i++)
        look(l, i);
}

static bool is_there(const struct serial_feed *f)
{
    return f->source.state & 1;
}

/* True: it is still the same guest, and the bytes read before are its own. */
static bool is_same(const struct serial_feed *f, const struct serial_source *s)
{
    return __atomic_load_n(&s->state, __ATOMIC_RELAXED) == f->source.state;
}

/* Skips what the ring has overwritten, and some more: a guest that prints this much will continue.
 * True: it skipped. */
static bool skip_lost(struct serial_line *l, unsigned i)
{
    struct serial_feed *f = &l->feeds[i];
    uint64_t written = __atomic_load_n(&f->source.ring->written, __ATOMIC_ACQUIRE);

    if (written - f->at <= ABI_CONSOLE_RING_SIZE || !is_same(f, &l->sources[i]))
        return false;
    f->lost += written - RESUME - f->at;
    __atomic_store_n(&l->lost_bytes[i], l->lost_bytes[i] + (written - RESUME - f->at),
                     __ATOMIC_RELAXED);
    f->at = written - RESUME;
    f->seen = max_u64(f->seen, f->at);
    f->plain = (struct plain){0};
    return true;
}

/* Copies the next n bytes; false if they are invalid: overwritten, or no longer this guest's. */
static bool copy_chunk(const struct serial_feed *f, const struct serial_source *s, uint8_t *out,
                       size_t n)
{
    const struct abi_ring *r = f->source.ring;

    ring_read(r->data, ABI_CONSOLE_RING_SIZE, f->at, out, n);
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return __atomic_load_n(&r->written, __ATOMIC_RELAXED) - f->at <= ABI_CONSOLE_RING_SIZE &&
           is_same(f, s);
}

/* Removes the root's prefix from a guest's line, in case a terminal wraps the line there. */
static void spoil_prefix(char *line, size_t n)
{
    const size_t mark = sizeof(PREFIX_MARK) - 1;

    for (size_t i = 0; i + mark <= n; i++)
        if (line[i] == PREFIX_MARK[0] && memcmp(line + i, PREFIX_MARK, mark) == 0)
            line[i + 1] = '_';
}

static void show_text(struct serial_line *l, struct serial_feed *f)
{
    size_t name = strlen(f->source.name), n = 0;

    l->out[n++] = '[';
    memcpy(l->out + n, f->source.name, name);
    n += name;
    l->out[n++] = ']';
    l->out[n++] = ' ';
    memcpy(l->out + n, f->text, f->length);
    n += f->length;
    f->length = 0;
    f->complete = false;
    spoil_prefix(l->out, n);
    end_line(l, n);
}
_Static_assert(ABI_NAME_MAX + 3 + SERIAL_TEXT_MAX <= SERIAL_LINE_MAX, "a guest's line fits");

/* True: a line is complete. If `byte` belongs to the next one, it is not taken. */
static bool add_byte(struct serial_feed *f, uint8_t byte)
{
    char shown[PLAIN_MAX];
    size_t n;

    if (f->length + PLAIN_MAX > SERIAL_TEXT_MAX)
        return true;
    if (plain_is_itself(&f->plain, byte)) {
        f->text[f->length++] = (char)byte;
        return false;
    }
    n = plain_feed(&f->plain, plain_ascii, byte, shown);
    for (size_t i = 0; i < n && shown[i] != '\n'; i++)
        f->text[f->length++] = shown[i];
    return n > 0 && shown[n - 1] == '\n';
}

/* Takes at most SERIAL_CHUNK bytes, and none from `end` on; stops after a line, which goes out in
 * the next step. */
static void take_chunk(struct serial_line *l, unsigned i, uint64_t end, uint64_t now)
{
    struct serial_feed *f = &l->feeds[i];
    size_t n = min_u64(end - f->at, SERIAL_CHUNK), done = 0;
    uint8_t bytes[SERIAL_CHUNK];

    if (!copy_chunk(f, &l->sources[i], bytes, n))
        return; /* the next look finds out which */
    while (done < n && !f->complete) {
        bool full = f->length + PLAIN_MAX > SERIAL_TEXT_MAX;

        f->complete = add_byte(f, bytes[done]) && f->length; /* empty lines are not shown */
        if (!full)
            done++;
    }
    f->at += done;
    f->last = now;
    budget_charge(&f->budget, now, done, l->byte_ticks, SERIAL_BURST);
}

static bool tell_lost_bytes(struct serial_line *l, struct serial_feed *f, uint64_t now)
{
    size_t n;

    if (!f->lost || f->length || (f->told && now - f->told < l->hz / TELL_RATE))
        return false;
    n = serial_prefix(l->out, now, l->hz, 0);
    n += fmt(l->out + n, SERIAL_LINE_MAX - n,
             "guest %s: %lu bytes of its console are not on this line", f->source.name, f->lost);
    f->lost = 0;
    f->told = now;
    end_line(l, n);
    return true;
}

/* True: it had output, and took a step. */
static bool serve(struct serial_line *l, unsigned i, uint64_t now)
{
    struct serial_feed *f = &l->feeds[i];

    if (!is_there(f))
        return false;
    if (f->complete || (skip_lost(l, i) && f->length)) {
        show_text(l, f);
        return true;
    }
    if (tell_lost_bytes(l, f, now))
        return true;
    if (f->at < f->seen && budget_is_open(&f->budget, now)) {
        take_chunk(l, i, f->seen, now);
        return true;
    }
    if (f->length && f->at == f->seen && now - f->last > l->patience) {
        show_text(l, f);
        return true;
    }
    return false;
}

/* Sends what a guest printed before the root's line about it. True: this took a step. */
static bool serve_before(struct serial_line *l, const struct serial_record *r, uint64_t now)
{
    unsigned i = r->about - 1u;
    struct serial_feed *f;

    if (i >= SERIAL_GUESTS || !is_there(&l->feeds[i]))
        return false;
    f = &l->feeds[i];
    if (f->complete) {
        show_text(l, f);
        return true;
    }
    (void)skip_lost(l, i);
    if (f->at < r->console && r->console - f->at <= BEFORE_MAX &&
        r->console <= __atomic_load_n(&f->source.ring->written, __ATOMIC_ACQUIRE)) {
        f->seen = max_u64(f->seen, r->console);
        take_chunk(l, i, r->console, now);
        return true;
    }
    if (f->length && f->at == r->console) {
        show_text(l, f);
        return true;
    }
    return false;
}

bool serial_line_step(struct serial_line *l, uint64_t now)
{
    struct serial_record r;
    size_t n;

    if (l->out_sent < l->out_length)
        return false;
    if (l->head != l->tail) {
        ring_read(l->queue, SERIAL_QUEUE, l->tail, &r, sizeof(r));
        if (!serve_before(l, &r, now) && serial_line_take(l, l->out, &n))
            end_line(l, n);
        return true;
    }
    if (l->lost) {
        tell_lost_lines(l, now);
        return true;
    }
    for (unsigned k = 0; k < SERIAL_GUESTS; k++) {
        unsigned i = (l->turn + k) % SERIAL_GUESTS;

        if (serve(l, i, now)) {
            l->turn = i + 1;
            return true;
        }
    }
    return false;
}

size_t serial_line_pending(const struct serial_line *l, const char **bytes)
{
    *bytes = l->out + l->out_sent;
    return l->out_length - l->out_sent;
}

void serial_line_sent(struct serial_line *l, size_t n)
{
    l->out_sent += (unsigned)n;
}

bool serial_line_is_dry(const struct serial_line *l)
{
    if (l->out_sent < l->out_length || l->head != l->tail || l->lost)
        return false;
    for (unsigned i = 0; i < SERIAL_GUESTS; i++) {
        const struct serial_feed *f = &l->feeds[i];

        if (is_there(f) && (f->at != f->seen || f->length || f->lost))
            return false;
    }
    return true;
}

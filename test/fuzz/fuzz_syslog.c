/* SOURCES: mgmt/syslog.c mgmt/log_lines.c mgmt/clock.c mgmt/ring.c hv/fmt.c hv/lib.c */
/* The log and a console as messages, while their writers go on and the sink accepts any number:
 * every message is one line of well-formed UTF-8 without control characters, and every byte of the
 * rings is sent or reported lost. */
#include "mgmt/syslog.h"

#include "hv/lib.h"
#include "mgmt/clock.h"

#include <stdlib.h>

#define RING 4096u /* a power of two */

static struct abi_ring *ring;
static uint8_t accepts;
static unsigned messages;

static size_t sequence(const uint8_t *s, size_t n)
{
    size_t length = s[0] < 0x80 ? 1 : s[0] >= 0xf0 ? 4 : s[0] >= 0xe0 ? 3 : s[0] >= 0xc2 ? 2 : 0;
    uint32_t c = s[0] & (0xffu >> (length + 1));

    if (length == 0 || length > n)
        return 0;
    for (size_t i = 1; i < length; i++) {
        if ((s[i] & 0xc0) != 0x80)
            return 0;
        c = c << 6 | (s[i] & 0x3f);
    }
    if ((length == 1 ? s[0] : c) < 0x20 ? s[0] != '\t' : s[0] == 0x7f)
        return 0;
    if (length == 2 && c < 0xa0)
        return 0;
    return length;
}

static bool send(void *ctx, const char *message, size_t n)
{
    static const char version[] = "1 ";
    const uint8_t *s = (const uint8_t *)message;
    const char *end = memchr(message, '>', n);

    (void)ctx;
    if (n == 0 || n > SYSLOG_MESSAGE_MAX || message[0] != '<' || !end ||
        memcmp(end + 1, version, sizeof(version) - 1) != 0)
        abort();
    for (size_t at = 0; at < n;) {
        size_t length = sequence(s + at, n - at);

        if (length == 0)
            abort();
        at += length;
    }
    accepts = (uint8_t)(accepts * 5 + 1);
    if (accepts < 64)
        return false;
    messages++;
    return true;
}

static void write_ring(const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        ring->data[ring->written++ % RING] = bytes[i];
}

static void follow(struct syslog_follower *f, const char *process)
{
    const struct syslog_sink sink = {.hostname = "a b\xff",
                                     .now_us = 1700000000000000,
                                     .zero_us = 1600000000000000,
                                     .send = send};
    uint64_t before = f->next;
    unsigned sent = messages;

    if (syslog_follow(f, ring, process, &sink, 8) != messages - sent || messages - sent > 8)
        abort();
    if (f->next > ring->written || f->next < before)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct syslog_follower log = {0}, console = {0};

    if (!ring)
        ring = malloc(sizeof(*ring) + RING);
    ring->written = 0;
    ring->size = RING;
    if (size)
        accepts = data[0];
    while (size >= 2) {
        size_t n = min_u64(data[0], size - 2);

        for (unsigned i = 0; i <= data[1] % 32u; i++)
            write_ring(data + 2, n);
        if (data[1] & 0x40)
            write_ring((const uint8_t *)"\n", 1);
        follow(&log, NULL);
        follow(&console, "guest");
        data += 2 + n;
        size -= 2 + n;
    }
    write_ring((const uint8_t *)"\n", 1);
    for (unsigned i = 0; i < 100000 && console.next != ring->written; i++)
        follow(&console, "guest");
    if (console.next != ring->written)
        abort();
    return 0;
}

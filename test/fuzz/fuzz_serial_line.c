/* SOURCES: hv/serial_line.c hv/plain.c hv/fmt.c hv/lib.c */
/* Two guests print anything while the root writes, and guest numbers change hands. Only whole lines
 * go out, each the root's or preceded by its guest's name, and all of it printable. */
#include "hv/serial_line.h"

#include <stdlib.h>
#include <string.h>

#define HZ   1000000u
#define ROOT "[   0.5] core 1: "

static struct serial_line line;
static uint64_t lost_bytes[SERIAL_GUESTS];
static struct abi_ring *rings[2];
static char text[2 * SERIAL_LINE_MAX];
static size_t length;

static void check_line(void)
{
    size_t n = length - 2;

    text[n] = 0;
    for (size_t i = 0; i < n; i++)
        if (text[i] != '\t' && (text[i] < ' ' || text[i] > '~'))
            abort();
    if (strncmp(text, "[a]", 3) == 0 || strncmp(text, "[b]", 3) == 0) {
        if (strstr(text, "] core ") || n > 4 + SERIAL_TEXT_MAX)
            abort();
    } else if (strncmp(text, ROOT, sizeof(ROOT) - 1) != 0 &&
               !strstr(text, "bytes of its console are not on this line")) {
        abort();
    }
    length = 0;
}

static void step(uint64_t now, size_t room)
{
    const char *bytes;
    size_t n;

    serial_line_look(&line);
    serial_line_step(&line, now);
    n = min_u64(serial_line_pending(&line, &bytes), room);
    for (size_t i = 0; i < n; i++) {
        text[length++] = bytes[i];
        if (length == sizeof(text))
            abort();
        if (length >= 2 && text[length - 2] == '\r' && text[length - 1] == '\n')
            check_line();
    }
    serial_line_sent(&line, n);
}

static void print(struct abi_ring *r, const uint8_t *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++)
        r->data[r->written++ % ABI_CONSOLE_RING_SIZE] = bytes[i];
}

static void write_root(unsigned about)
{
    const struct serial_record r = {.about = (uint8_t)(about + 1),
                                    .console = rings[about]->written,
                                    .length = sizeof(ROOT) - 1};

    serial_line_put(&line, &r, ROOT);
}

static void replace(unsigned i)
{
    serial_source_close(&line.sources[i]);
    memset(rings[i], 0, sizeof(struct abi_ring) + ABI_CONSOLE_RING_SIZE);
    serial_source_open(&line.sources[i], i ? "b" : "a", rings[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t now = HZ;

    memset(&line, 0, sizeof(line));
    length = 0;
    serial_line_init(&line, HZ, lost_bytes);
    for (unsigned i = 0; i < 2; i++) {
        if (!rings[i])
            rings[i] = malloc(sizeof(struct abi_ring) + ABI_CONSOLE_RING_SIZE);
        memset(rings[i], 0, sizeof(struct abi_ring));
        serial_source_open(&line.sources[i], i ? "b" : "a", rings[i]);
    }
    while (size >= 2) {
        unsigned what = data[0] % 8, guest = data[0] >> 7;
        size_t n = min_u64(data[1], size - 2);

        switch (what) {
        case 0: /* the same byte many times */
            for (unsigned i = 0; n && i < 200; i++)
                print(rings[guest], data + 2, n);
            break;
        case 1:
            write_root(guest);
            n = 0;
            break;
        case 2:
            replace(guest);
            n = 0;
            break;
        case 3:
            now += (uint64_t)data[1] * HZ / 100;
            n = 0;
            break;
        default:
            print(rings[guest], data + 2, n);
        }
        step(now += HZ / 720, 16);
        data += 2 + n;
        size -= 2 + n;
    }
    for (unsigned i = 0; i < 20000 && !serial_line_is_dry(&line); i++)
        step(now += HZ / 72, 64);
    if (!serial_line_is_dry(&line))
        abort();
    return 0;
}

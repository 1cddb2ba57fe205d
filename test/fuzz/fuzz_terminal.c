/* SOURCES: @mgmt @llhttp */
#include "hv/lib.h"
#include "mgmt/terminal.h"
#include "mgmt/websocket.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct abi_guest one = {.state = ABI_GUEST_RUNNING, .config.name = "a"};
static uint64_t memory[(sizeof(struct abi_ring) + 64) / 8];
static size_t room;

static const struct abi_guest *guest(unsigned n)
{
    return n == 0 ? &one : NULL;
}
static const struct abi_ring *console(unsigned n)
{
    (void)n;
    return (const struct abi_ring *)(void *)memory;
}
static int64_t type(unsigned n, const uint8_t *bytes, size_t len)
{
    size_t taken = len < room ? len : room;

    (void)n;
    for (size_t i = 0; i < len; i++)
        (void)*(const volatile uint8_t *)&bytes[i];
    room -= taken;
    return taken ? (int64_t)taken : -E_STATE;
}
static const struct api_view view = {.guest = guest, .console = console, .type = type};

/* A client's bytes, in parts whose length the first byte gives; the guest takes some between
 * parts. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static char out[TERMINAL_WRITE_MIN];
    struct abi_ring *ring = (struct abi_ring *)(void *)memory;
    struct websocket_offer o = {0};
    struct terminal t;
    char fields[256];
    size_t step;

    if (size < 2)
        return 0;
    step = 1u + data[0];
    ring->size = 64;
    ring->written = data[1];
    one.state = data[1] & 0x80 ? ABI_GUEST_EMPTY : ABI_GUEST_RUNNING;
    if (!terminal_open(&t, &view, 0, "a"))
        abort();
    for (size_t at = 2, idle = 0; at < size && idle < 3;) {
        size_t n = size - at < step ? size - at : step, used = terminal_feed(&t, data + at, n);

        if (used > n || terminal_write(&t, out, sizeof(out)) > sizeof(out))
            abort();
        at += used;
        idle = used ? 0 : idle + 1;
        room = data[1];
        ring->written += 5;
    }
    terminal_hang_up(&t);
    if (!terminal_is_over(&t, true))
        abort();
    terminal_free(&t);
    /* The same bytes as header fields. */
    (void)str_copy(fields, sizeof(fields), "");
    memcpy(fields, data + 2, size - 2 < sizeof(fields) ? size - 2 : sizeof(fields) - 1);
    fields[sizeof(fields) - 1] = 0;
    websocket_take(&o, "Sec-WebSocket-Protocol", fields);
    websocket_take(&o, "Sec-WebSocket-Key", fields);
    if (strlen(o.token) > WEBSOCKET_TOKEN_MAX)
        abort();
    return 0;
}

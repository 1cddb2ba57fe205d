#include "mgmt/terminal.h"

#include "hv/lib.h"
#include "mgmt/ring.h"

#include <wslay/wslay.h>

/* The most that wslay gets at once: it may answer each part, which takes memory. */
#define PART_MAX     128u
#define ANSWERS_MAX  8u
#define MESSAGE_MAX  4096u
#define HEADER_ROOM  256u /* of a message's frame, and of control frames before it */
#define CODE_DELETED WSLAY_CODE_GOING_AWAY

_Static_assert(TERMINAL_WRITE_MIN >= MESSAGE_MAX + HEADER_ROOM, "one message fits");

static void type_held(struct terminal *t)
{
    while (t->held_len) {
        int64_t taken = t->view->type(t->guest, t->held, t->held_len);

        if (taken <= 0) /* no room, or the guest does not run: it may later */
            return;
        t->held_len -= (size_t)taken;
        memmove(t->held, t->held + taken, t->held_len);
    }
}

/* May the client be read now? What it may send next must fit the buffer of held bytes. */
static bool has_room(const struct terminal *t)
{
    return sizeof(t->held) - t->held_len >= PART_MAX &&
           wslay_event_get_queued_msg_count(t->frames) < ANSWERS_MAX;
}

static ssize_t on_receive(wslay_event_context_ptr frames, uint8_t *buf, size_t size, int flags,
                          void *arg)
{
    struct terminal *t = arg;
    size_t n = t->input_len < PART_MAX ? t->input_len : PART_MAX;

    (void)flags;
    type_held(t);
    if (n > size)
        n = size;
    if (n == 0 || !has_room(t)) {
        wslay_event_set_error(frames, WSLAY_ERR_WOULDBLOCK);
        return -1;
    }
    memcpy(buf, t->input, n);
    t->input += n;
    t->input_len -= n;
    return (ssize_t)n;
}

static void on_frame(wslay_event_context_ptr frames,
                     const struct wslay_event_on_frame_recv_start_arg *f, void *arg)
{
    struct terminal *t = arg;

    (void)frames;
    t->typed = !wslay_is_ctrl_frame(f->opcode); /* binary or text: typed as it is */
}

/* At most PART_MAX bytes, and only after has_room(). */
static void on_part(wslay_event_context_ptr frames,
                    const struct wslay_event_on_frame_recv_chunk_arg *part, void *arg)
{
    struct terminal *t = arg;

    if (!t->typed || !wslay_event_get_read_enabled(frames))
        return;
    memcpy(t->held + t->held_len, part->data, part->data_length);
    t->held_len += part->data_length;
}

bool terminal_open(struct terminal *t, const struct api_view *v, unsigned guest, const char *name)
{
    static const struct wslay_event_callbacks callbacks = {
        .recv_callback = on_receive,
        .on_frame_recv_start_callback = on_frame,
        .on_frame_recv_chunk_callback = on_part,
    };

    *t = (struct terminal){.view = v, .guest = guest};
    (void)str_copy(t->name, sizeof(t->name), name);
    if (wslay_event_context_server_init(&t->frames, &callbacks, t) != 0) {
        t->frames = NULL;
        return false;
    }
    wslay_event_config_set_no_buffering(t->frames, 1);
    wslay_event_config_set_max_recv_msg_length(t->frames, TERMINAL_FRAME_MAX);
    return true;
}

void terminal_free(struct terminal *t)
{
    wslay_event_context_free(t->frames);
    t->frames = NULL;
}

size_t terminal_feed(struct terminal *t, const uint8_t *bytes, size_t n)
{
    t->input = bytes;
    t->input_len = n;
    if (wslay_event_recv(t->frames) != 0)
        t->closing = true; /* no memory: its requests cannot be answered */
    type_held(t);
    if (t->closing || !wslay_event_get_read_enabled(t->frames)) {
        t->closing = true;
        return n; /* no reader any more */
    }
    return n - t->input_len;
}

/* Is it still the requested guest? */
static bool is_there(const struct terminal *t)
{
    const struct abi_guest *g = t->view->guest(t->guest);

    return g && g->state != ABI_GUEST_EMPTY && strcmp(g->config.name, t->name) == 0;
}

static void queue_output(struct terminal *t)
{
    static uint8_t bytes[MESSAGE_MAX];
    static const char gone[] = "the guest is deleted";
    size_t n;

    if (!is_there(t)) {
        (void)wslay_event_queue_close(t->frames, CODE_DELETED, (const uint8_t *)gone,
                                      sizeof(gone) - 1);
        return;
    }
    n = ring_copy(t->view->console(t->guest), &t->next, bytes, sizeof(bytes));
    /* If there is no memory for it, the bytes stay in the ring. */
    if (n && wslay_event_queue_msg(t->frames,
                                   &(struct wslay_event_msg){WSLAY_BINARY_FRAME, bytes, n}) == 0)
        t->next += n;
}

size_t terminal_write(struct terminal *t, char *buf, size_t size)
{
    ssize_t n;

    type_held(t);
    if (!wslay_event_want_write(t->frames) && !t->closing)
        queue_output(t);
    n = wslay_event_write(t->frames, (uint8_t *)buf, size);
    if (n < 0)
        t->closing = true;
    return n > 0 ? (size_t)n : 0;
}

void terminal_ping(struct terminal *t)
{
    (void)wslay_event_queue_msg(t->frames, &(struct wslay_event_msg){WSLAY_PING, NULL, 0});
    /* Browsers report messages to their pages, but not pings: so the page can tell that we are
     * here. */
    (void)wslay_event_queue_msg(t->frames, &(struct wslay_event_msg){WSLAY_BINARY_FRAME, NULL, 0});
}

void terminal_hang_up(struct terminal *t)
{
    wslay_event_shutdown_read(t->frames);
    wslay_event_shutdown_write(t->frames);
    t->closing = true;
}

bool terminal_is_over(const struct terminal *t, bool late)
{
    bool said = !wslay_event_want_write(t->frames);

    if (late)
        return t->closing || wslay_event_get_close_sent(t->frames);
    return t->closing && said && t->held_len == 0;
}

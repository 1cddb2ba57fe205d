/*
 * A guest's console as a WebSocket: frames in and out over wslay, typed bytes held until the root
 * takes them. Pure: it sees the machine through struct api_view. Each connection owns one terminal.
 */
#pragma once

#include "mgmt/api.h"

#define TERMINAL_FRAME_MAX 4096u /* payload of a frame from the client; 1009 beyond */
#define TERMINAL_HELD_MAX  1024u /* typed bytes that the guest has no room for yet */
#define TERMINAL_WRITE_MIN 8192u /* the room that terminal_write() wants */

struct wslay_event_context;

struct terminal {
    struct wslay_event_context *frames;
    const struct api_view *view;
    unsigned guest;
    char name[ABI_NAME_MAX]; /* the number may pass to another guest */
    uint64_t next;           /* position in the console's ring */
    const uint8_t *input;    /* of the terminal_feed() call that is under way */
    size_t input_len;
    size_t held_len;
    bool typed;   /* the frame that is being received carries console bytes */
    bool closing; /* nothing more will be received */
    uint8_t held[TERMINAL_HELD_MAX];
};

/* Begins with everything that the console's ring still has. False: no memory. */
bool terminal_open(struct terminal *t, const struct api_view *v, unsigned guest, const char *name);
void terminal_free(struct terminal *t);
/* Takes received bytes and types their content. Returns how many were used: pass the rest again
 * when the guest has taken more; until then the client has to wait. */
size_t terminal_feed(struct terminal *t, const uint8_t *bytes, size_t n);
/* Types what is held, and writes the frames to be sent next, at most `size` bytes; 0: none. */
size_t terminal_write(struct terminal *t, char *buf, size_t size);
/* With the next frames: a ping, which asks whether the client is still there, and an empty message,
 * which says that we are. */
void terminal_ping(struct terminal *t);
/* The client will send no more, without having closed. */
void terminal_hang_up(struct terminal *t);
/* Everything is sent and typed: the connection can be closed. `late`: its time is up. */
bool terminal_is_over(const struct terminal *t, bool late);

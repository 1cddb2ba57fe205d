/*
 * Who was refused and who changed something, for the log. Bounded: whoever asks often must not push
 * what others did out of it. Pure: the time is passed in, lines go to a function.
 */
#pragma once

#include "hv/types.h"

#define AUDIT_WINDOW_MS 10000u
#define AUDIT_EACH      4u  /* refusals of one address in a window */
#define AUDIT_ALL       16u /* refusals of all addresses in a window */
#define AUDIT_CHANGES   32u /* changes by one token in a window: each token has its own */
#define AUDIT_SOURCES   16u
#define AUDIT_LINE      240u

struct audit_source {
    uint64_t key;
    uint32_t lines;
};

/* One of refusals, one of changes. All zero: nothing happened yet. */
struct audit_window {
    uint64_t since_ms;
    bool open;
    uint32_t lines, left_out;
    struct audit_source sources[AUDIT_SOURCES];
    uint32_t source_count;
};

struct audit {
    struct audit_window refusals, changes;
};

/* One event. Texts may be a client's own: whatever is no printable ASCII becomes '?'. */
struct audit_event {
    uint64_t source;    /* tells an address, or a token, from the others */
    const char *from;   /* the address, as text */
    const char *name;   /* the token's; "": none was right */
    const char *role;   /* with a refusal of a right token: its role, else NULL */
    const char *method; /* of HTTP */
    const char *target; /* what is behind '?' is left out: it may hold anything */
    const char *what;   /* what the path does not say, or "" */
    unsigned status;
};

/* Where lines go. */
typedef void audit_note(const char *line);

void audit_refusal(struct audit *a, const struct audit_event *e, uint64_t now_ms, audit_note *note);
void audit_change(struct audit *a, const struct audit_event *e, uint64_t now_ms, audit_note *note);
/* Now and then: tells how many lines were left out of windows that are over. */
void audit_poll(struct audit *a, uint64_t now_ms, audit_note *note);

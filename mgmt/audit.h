/*
 * Who was refused and who changed something, for the log. Bounded, so that a client that asks often
 * cannot push others' lines out of the log. Pure: the time is passed in, lines go to a function.
 */
#pragma once

#include "hv/types.h"

#define AUDIT_WINDOW_MS 10000u
#define AUDIT_EACH      4u  /* refusals of one address per window */
#define AUDIT_ALL       16u /* refusals of all addresses per window */
#define AUDIT_CHANGES   32u /* changes by one token per window: each token has its own */
#define AUDIT_SOURCES   16u
#define AUDIT_LINE      240u

struct audit_source {
    uint64_t key;
    uint32_t lines;
};

/* One for refusals, one for changes. All zero: nothing has happened yet. */
struct audit_window {
    uint64_t since_ms;
    bool open;
    uint32_t lines, left_out;
    struct audit_source sources[AUDIT_SOURCES];
    uint32_t source_count;
};

struct audit {
    struct audit_window refusals, changes;
    uint32_t waited; /* the number of the newest listed change that waits */
};

/* One event. Texts may come from a client: anything but printable ASCII becomes '?'. */
struct audit_event {
    uint64_t source;    /* identifies an address or a token */
    const char *from;   /* the address, as text */
    const char *name;   /* the token's; "": no right token was shown */
    const char *role;   /* when a right token is refused: its role, else NULL */
    const char *method; /* the HTTP method */
    const char *target; /* without the query, which may hold anything */
    const char *what;   /* what the path does not say, or "" */
    unsigned status;
};

/* Where lines go. */
typedef void audit_note(const char *line);

void audit_refusal(struct audit *a, const struct audit_event *e, uint64_t now_ms, audit_note *note);
void audit_change(struct audit *a, const struct audit_event *e, uint64_t now_ms, audit_note *note);
/* A change whose answer has to wait: 202. Returns its number, for audit_end(); 0: it is not listed.
 */
uint32_t audit_wait(struct audit *a, const struct audit_event *e, uint64_t now_ms,
                    audit_note *note);
/* How it ended. Each listed change that waits has one such line, so these need no limit. Status 0:
 * its client has left, and nobody was told. */
void audit_end(const struct audit_event *e, uint32_t number, audit_note *note);
/* Called now and then: logs how many lines were left out of windows that are over. */
void audit_poll(struct audit *a, uint64_t now_ms, audit_note *note);

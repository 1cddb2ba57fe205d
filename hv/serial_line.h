/*
 * Shares the host's serial line between the root's own lines and guests' output. Pure: rings and
 * times are arguments. One core makes all calls except serial_source_open() and _close().
 *
 * The root's lines are queued here, and no guest's output enters that queue. A guest's output stays
 * in its console's ring, which its own core writes without regard to this reader, until the line
 * has time: only while none of the root's lines waits, guests in turn, and for each at most
 * SERIAL_RATE bytes a second after a burst of SERIAL_BURST. What the ring overwrites meanwhile is
 * missing only on the line, which says how much.
 *
 * A guest cannot imitate the root's lines: each of its lines begins with its name, is printable
 * ASCII (hv/plain.h), and nowhere contains the root's prefix "[seconds.micros] core N: ", in case a
 * terminal wraps the line there.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/budget.h"
#include "hv/plain.h"
#include "hv/types.h"

#define SERIAL_BAUD     115200u
#define SERIAL_RATE     (SERIAL_BAUD / 10 / 2) /* bytes a second: half of the line */
#define SERIAL_BURST    ABI_CONSOLE_RING_SIZE  /* bytes */
#define SERIAL_CHUNK    32u                    /* bytes of a guest that one step handles */
#define SERIAL_TEXT_MAX 128u        /* of a guest's line; longer ones continue in the next */
#define SERIAL_LINE_MAX 640u        /* of the root's */
#define SERIAL_QUEUE    (64u << 10) /* bytes of the root's lines that wait; a power of two */
#define SERIAL_GUESTS   ABI_GUESTS_MAX

/* A guest's console. Written by the core that makes the guest or ends it. */
struct serial_source {
    uint32_t state; /* counts changes; odd: in use. Atomic */
    const struct abi_ring *ring;
    char name[ABI_NAME_MAX];
};

/* A guest comes; it goes, and what its ring still had is not printed. Not concurrently; any core.
 */
void serial_source_open(struct serial_source *s, const char *name, const struct abi_ring *ring);
void serial_source_close(struct serial_source *s);

/* A line of the root. */
struct serial_record {
    uint64_t console; /* bytes that `about` had written by then: they are printed first */
    uint16_t length;  /* of the text */
    uint8_t about;    /* 1 + a guest's number; 0: no guest */
};

struct serial_feed {
    struct serial_source source; /* as found; its state says which one */
    uint64_t at;                 /* the next byte of its ring */
    uint64_t seen;               /* bytes it had when serial_line_look() last looked */
    uint64_t lost;               /* bytes, not reported yet */
    uint64_t told;               /* when they were last reported */
    struct budget budget;        /* per number: a new guest gets no new burst */
    uint64_t last;               /* when its last byte came into `text` */
    struct plain plain;
    unsigned length;
    bool complete; /* the text is a line */
    char text[SERIAL_TEXT_MAX];
};

struct serial_line {
    uint64_t hz; /* of all times here */
    uint64_t byte_ticks, patience;
    struct serial_source sources[SERIAL_GUESTS];
    struct serial_feed feeds[SERIAL_GUESTS];
    uint64_t *lost_bytes; /* [SERIAL_GUESTS]; by guest number, whether reported or not */
    unsigned turn;        /* the guest that is served first */
    /* The line being sent. */
    char out[SERIAL_LINE_MAX + 2];
    unsigned out_length, out_sent;
    /* The root's lines, each a struct serial_record and its text. */
    uint32_t head, tail;
    uint64_t lost; /* lines, not reported yet */
    uint8_t queue[SERIAL_QUEUE];
};

/* *l is all zero; sources may be open. `hz`: ticks a second of all times here. lost_bytes counts
 * what each guest loses; it stays the caller's and is atomic: any core may read it. */
void serial_line_init(struct serial_line *l, uint64_t hz, uint64_t lost_bytes[SERIAL_GUESTS]);
/* Queues a line of the root, without its end. A line without room is lost, and counted. */
void serial_line_put(struct serial_line *l, const struct serial_record *r, const char *text);
/* Call before putting the root's newest lines: what guests print later comes after those. */
void serial_line_look(struct serial_line *l);
/* A bounded step: prepares the next line, or a part of it, if none is being sent. False: nothing to
 * do. */
bool serial_line_step(struct serial_line *l, uint64_t now);
/* The bytes to send; the caller sends some of them, and says how many. */
size_t serial_line_pending(const struct serial_line *l, const char **bytes);
void serial_line_sent(struct serial_line *l, size_t n);
/* For emergencies: takes the oldest of the root's lines, ignoring guests. False: there is none. */
bool serial_line_take(struct serial_line *l, char text[SERIAL_LINE_MAX], size_t *n);
/* True if nothing is being sent and nothing waits. A guest without budget counts as waiting, and so
 * does an unfinished line. */
bool serial_line_is_dry(const struct serial_line *l);
/* Formats the prefix of the root's lines: "[seconds.micros] core N: ", of 20, 6 and 10 digits at
 * most. Not terminated; returns its length. */
size_t serial_prefix(char *out, uint64_t now, uint64_t hz, unsigned core);

/*
 * Who has the host's serial line next: the root's own lines, and what guests print. Pure: rings and
 * times are arguments. One core calls all of it but serial_source_open() and _close().
 *
 * The root's lines are queued here, and nothing of a guest comes into that queue. What a guest
 * prints stays in its console's ring, which its own core writes without knowing of this reader,
 * until the line has time for it: only while none of the root's lines waits, guest by guest, and
 * for each at most SERIAL_RATE bytes a second once it has printed SERIAL_BURST. What the ring
 * overwrites meanwhile is lost on the line, which says how much, and nowhere else.
 *
 * Nothing that a guest prints looks like one of the root's lines: each of its lines begins with its
 * name, is printable ASCII (hv/plain.h), and has nowhere, lest a terminal breaks the line there,
 * what the root's lines begin with: "[seconds.micros] core N: ".
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/budget.h"
#include "hv/plain.h"
#include "hv/types.h"

#define SERIAL_BAUD     115200u
#define SERIAL_RATE     (SERIAL_BAUD / 10 / 2) /* bytes a second: half of the line */
#define SERIAL_BURST    ABI_CONSOLE_RING_SIZE  /* bytes */
#define SERIAL_CHUNK    32u                    /* bytes of a guest that one step looks at */
#define SERIAL_TEXT_MAX 128u        /* of a guest's line; what is longer goes on in the next */
#define SERIAL_LINE_MAX 640u        /* of the root's */
#define SERIAL_QUEUE    (64u << 10) /* bytes of the root's lines that wait; a power of two */
#define SERIAL_GUESTS   ABI_GUESTS_MAX

/* A guest's console. Written by the core that makes the guest or ends it. */
struct serial_source {
    uint32_t state; /* odd: there is one. Atomic; counts */
    const struct abi_ring *ring;
    char name[ABI_NAME_MAX];
};

/* A guest comes; it goes, and what its ring still had is not printed any more. One after the other,
 * from any core. */
void serial_source_open(struct serial_source *s, const char *name, const struct abi_ring *ring);
void serial_source_close(struct serial_source *s);

/* A line of the root. */
struct serial_record {
    uint64_t console; /* `about` had written so much when this happened: that is printed first */
    uint16_t length;  /* of the text */
    uint8_t about;    /* 1 + a guest's number; 0: no guest */
};

struct serial_feed {
    struct serial_source source; /* as it was found; its state says which one */
    uint64_t at;                 /* the next byte of its ring */
    uint64_t seen;               /* bytes it had when serial_line_look() last looked */
    uint64_t lost;               /* bytes, not told yet */
    uint64_t told;               /* when they last were */
    struct budget budget;        /* of its number, whoever has it: a new guest is no new burst */
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
    uint64_t
        *lost_bytes; /* [SERIAL_GUESTS]; of the guest that has the number, whether told or not */
    unsigned turn;   /* the guest that is asked first */
    /* On its way out: one line, whoever's. */
    char out[SERIAL_LINE_MAX + 2];
    unsigned out_length, out_sent;
    /* The root's lines, each a struct serial_record and its text. */
    uint32_t head, tail;
    uint64_t lost; /* lines, not told yet */
    uint8_t queue[SERIAL_QUEUE];
};

/* *l is all zero; sources may be open. `hz`: ticks a second of all times here. What each guest
 * loses is counted in lost_bytes, which stays the caller's and is atomic: anybody may read it. */
void serial_line_init(struct serial_line *l, uint64_t hz, uint64_t lost_bytes[SERIAL_GUESTS]);
/* Queues a line of the root, without its end. What has no room is lost, and counted. */
void serial_line_put(struct serial_line *l, const struct serial_record *r, const char *text);
/* Before the root's newest lines are put: what guests print after this comes after those. */
void serial_line_look(struct serial_line *l);
/* A bounded step: gets the next line ready, or a part of it, where none is on its way. False: there
 * was nothing to do. */
bool serial_line_step(struct serial_line *l, uint64_t now);
/* What is on its way; the caller sends some of it, and says how much. */
size_t serial_line_pending(const struct serial_line *l, const char **bytes);
void serial_line_sent(struct serial_line *l, size_t n);
/* In haste: the oldest of the root's lines, whatever guests print. False: there is none. */
bool serial_line_take(struct serial_line *l, char text[SERIAL_LINE_MAX], size_t *n);
/* Nothing is on its way and nothing waits. A guest whose budget is used up waits; a line that has
 * no end yet does, too. */
bool serial_line_is_dry(const struct serial_line *l);
/* The time as the root's lines begin with: "[seconds.micros] core N: ". The length of the text. */
size_t serial_prefix(char *out, size_t size, uint64_t now, uint64_t hz, unsigned core);

/* A guest's console as a conversation. */
#pragma once

#include "hv/plain.h"
#include "mgmt/bhctl/bhctl.h"

struct console {
    struct ring ring;
    CURL *post;
    struct reply answer;
    const char *name; /* the guest's */
    char path[PATH_MAX_BYTES];
    char typed[4096]; /* not yet accepted */
    size_t count, sent;
    bool reads; /* standard input, unless it is a terminal that is needed for Ctrl-C */
    bool posting, terminal, at_end, leave;
    struct plain plain; /* with ring.show: the filter of the output */
    int64_t again_ms, give_up_ms, heard_ms, quiet_ms;
    uint64_t heard; /* ring.place.next when heard_ms was set */
    int status;
    /* For `run`: it lasts as long as the guest, whatever becomes of standard input. */
    bool follows;
    bool starting; /* the guest takes no typed bytes yet */
    /* Called again and again; false: the conversation is over. */
    bool (*look)(struct console *k);
    /* Another transfer of ring.stream.multi has ended. */
    void (*other)(struct console *k, CURL *c, CURLcode rc);
};

/* Are the options for output in order? EXIT_OK, or it has complained. */
int console_options(const struct options *o) MUST_CHECK;
/* Set `name` before, and the rest to zero or as for `run`. EXIT_OK, or it has complained; close it
 * in either case. */
int console_open(struct console *k, struct api *a) MUST_CHECK;
/* Until the user leaves, or there is nothing left to do. EXIT_OK, or it has complained. */
int console_converse(struct console *k) MUST_CHECK;
void console_leave_terminal(const struct console *k);
void console_close(struct console *k);

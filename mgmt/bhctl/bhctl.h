/* Shared by the files of the host command bhctl. */
#pragma once

#include "mgmt/bhctl/options.h"
#include "mgmt/bhctl/place.h"
#include "mgmt/bhctl/url.h"

#include <curl/curl.h>
#include <jansson.h>

/* The command's exit status; the man page explains them. */
enum {
    EXIT_OK,
    EXIT_REFUSED,      /* the appliance refused */
    EXIT_USAGE,        /* wrong usage, or a local file is wrong */
    EXIT_UNREACHABLE,  /* no answer, or not from the right appliance */
    EXIT_UNAUTHORISED, /* no token, a wrong one, or one of a lesser role */
    /* Internal only, EXIT_OK to the outside: the reader of standard output, or the user, has had
     * enough. */
    EXIT_ENOUGH = 1000,
};

#define PATH_MAX_BYTES 384u
/* Far above every answer of an appliance: another server could send without end. */
#define REPLY_MAX_MIB  16u

/* Prints "bhctl: ..." on standard error, returns `status`. */
int complain(int status, const char *format, ...) PRINTF(2, 3);

/* ---- the appliance (api.c, judge.c, trust.c) ---- */

struct api {
    const struct options *options;
    CURL *curl; /* for one request at a time; streams have their own */
    struct curl_slist *headers;
    char base[URL_MAX];
    char error[CURL_ERROR_SIZE];
    json_t *context;    /* its name, URL, token and trust, if it is known by name; or NULL */
    const char *cacert; /* whose certificates it trusts; or NULL */
    const char *pinned; /* its source: "--fingerprint", the variable, the context; or NULL */
    uint8_t pin[SHA256_SIZE];
    bool pin_seen;   /* a connection showed the right certificate */
    bool pin_failed; /* the last connection's certificate was a different one: */
    uint8_t shown[SHA256_SIZE];
    long limit_ms; /* for each request in all; 0: as long as it makes progress */
};

/* An answer. */
struct reply {
    long status;
    char *body; /* ends with an uncounted NUL; never NULL after a request */
    size_t length;
    bool has_next;
    uint64_t next; /* Bulkhead-Next */
    unsigned retry_after;
    char location[URL_MAX];
};

/* Takes the appliance from the options. EXIT_OK, or it has complained. */
int api_open(struct api *a, const struct options *o) MUST_CHECK;
void api_close(struct api *a);

/* Sends a request with a body or without (NULL). EXIT_OK: there is an answer, whatever its status;
 * the caller frees it. Otherwise it has complained. */
int api_send(struct api *a, const char *method, const char *path, const char *body, size_t length,
             struct reply *r) MUST_CHECK;
/* The same, but does not complain about a failed transfer: *transfer has the result. */
int api_try(struct api *a, const char *method, const char *path, const char *body, size_t length,
            struct reply *r, CURLcode *transfer) MUST_CHECK;
/* As api_send(), but also complains about a status of 400 or above, and about redirects. */
int api_call(struct api *a, const char *method, const char *path, const char *body, size_t length,
             struct reply *r) MUST_CHECK;
/* GETs and parses. NULL: it has complained, and *status is the exit status. With --json it has
 * already printed the answer. */
json_t *api_get(struct api *a, const char *path, int *status) MUST_CHECK;
/* Parses an answer. NULL: it is not JSON, and it has complained. */
json_t *api_json(const struct reply *r) MUST_CHECK;
/* Does what api_call() does, with an answer that has already arrived. */
int api_reply(const struct api *a, const struct reply *r) MUST_CHECK;
/* Turns the answer's status into our exit status; complains unless that is EXIT_OK. */
int api_judge(const struct api *a, const struct reply *r) MUST_CHECK;
/* Turns a transfer's result into an exit status; complains unless that is EXIT_OK. */
int api_transfer(const struct api *a, CURLcode rc) MUST_CHECK;
/* Sets up the caller's own handle for `path`; what it receives goes to `r`. EXIT_OK, or it has
 * complained, and nothing must be sent. */
int api_prepare(struct api *a, CURL *c, const char *path, struct reply *r) MUST_CHECK;
void reply_clear(struct reply *r);
/* libcurl calls it with bytes for the reply `ctx`. */
size_t reply_take(char *bytes, size_t one, size_t n, void *ctx);
/* Makes a text for people: lines without control characters. */
void reply_clean(struct reply *r);
/* Prints an answer as it came, with a newline at its end. */
int reply_print(const struct reply *r) MUST_CHECK;

/* Finds whom to trust, from the options and the environment. EXIT_OK, or it has complained. */
int trust_find(struct api *a) MUST_CHECK;
/* Lets the handle speak only to that appliance. EXIT_OK, or it has complained. */
int trust_set(struct api *a, CURL *c) MUST_CHECK;

/* ---- streams (stream.c) ---- */

/*
 * An answer without end. When the connection is lost, it is made again from where it stopped. The
 * same happens after a long silence: a restarted management guest does not know its old
 * connections, and a client that only listens is not told.
 */
struct stream {
    struct api *api;
    CURLM *multi;
    CURL *curl;
    struct reply reply; /* an answer that is not a stream: a refusal */
    /* Writes the path from which the stream begins, or begins again. */
    void (*where)(void *ctx, char path[PATH_MAX_BYTES]);
    /* Before a restart: writes the path to ask in order to learn where to continue; false: none. */
    bool (*ask)(void *ctx, char path[PATH_MAX_BYTES]);
    /* Takes the answer to that, with status 200. EXIT_OK, or the exit status. */
    int (*answer)(void *ctx, const struct reply *r);
    /* Prints. EXIT_OK, or the exit status. */
    int (*take)(void *ctx, const char *bytes, size_t n);
    /* Other transfers in `multi` that have ended; may be NULL. */
    void (*ended)(void *ctx, CURL *c, CURLcode rc);
    void *ctx;
    int status;                  /* what take() returned */
    int silence_ms;              /* after this much silence: is the other side still there? */
    int patience_ms;             /* how long to try without an answer; 0: 15 s */
    bool polls;                  /* without a place for a stream, ask() again and again will do */
    bool under_way, established; /* now; at any time */
    bool lost, asking, flowed;   /* interrupted; ask() is under way; part of that has come */
    int64_t begun_ms;
    int64_t silent_ms;            /* when the silence has lasted too long */
    int64_t again_ms, give_up_ms; /* when it is lost: next try, last try */
};

/* A clock in milliseconds that never goes back. */
int64_t clock_ms(void);

/* Set the members `api`, `where`, `ask`, `answer`, `take`, `ended`, `ctx` and `silence_ms` before.
 * EXIT_OK, or it has complained. */
int stream_open(struct stream *s) MUST_CHECK;
/* Does what it can, then waits up to `ms` for more, or for one of `fds`. EXIT_OK: continue.
 * Otherwise it has complained. */
int stream_wait(struct stream *s, struct curl_waitfd *fds, unsigned count, int ms) MUST_CHECK;
/* Something should arrive within `ms`. */
void stream_expect(struct stream *s, int ms);
void stream_close(struct stream *s);

/* ---- rings (ring.c) ---- */

/* What the appliance keeps in a ring: the log, a console. */
struct ring {
    struct stream stream;
    const char *path;
    struct place place; /* how far it has been printed */
    /* Prints; NULL: the bytes as they are. */
    void (*show)(struct ring *g, const char *bytes, size_t n);
};

/* Prints the ring's content, unless `only_new`, and follows it. */
int ring_open(struct ring *g, struct api *a, const char *path, bool only_new) MUST_CHECK;
/* The same with all of its content, and without a first request that could fail: the ring may not
 * exist yet. */
int ring_begin(struct ring *g, struct api *a, const char *path) MUST_CHECK;
/* Prints what has come since. EXIT_OK, or it has complained. */
int ring_finish(struct ring *g) MUST_CHECK;
/* Prints the ring's content. */
int ring_print(struct api *a, const char *path) MUST_CHECK;

/* ---- the terminal (term.c) ---- */

/* Keys arrive as they are typed, without echo, until exit or term_restore(). Without `signals`
 * Ctrl-C is a key like any other. False: standard input is not a terminal. */
bool term_raw(bool signals);
void term_restore(void);
/* The terminal is raw: a new line is CR LF. */
bool term_is_raw(void);
/* A page of its own, until term_restore(). */
void term_page_begin(void);
/* From now on SIGINT, SIGTERM, SIGHUP and SIGQUIT only make term_stopped() true. */
void term_catch(void);
bool term_stopped(void);
/* The last of those signals; 0: none. */
int term_signal(void);
/* From now on those signals are ignored, and term_stopped() is false. */
void term_ignore(void);
void term_size(unsigned *columns, unsigned *rows);

/* ---- small things (say.c) ---- */

/* Members of an object; "" or 0 if missing or of another kind. */
const char *text_of(const json_t *object, const char *name);
uint64_t number_of(const json_t *object, const char *name);
/* A note on standard error about progress; also works on a raw terminal. */
void say_note(const char *format, ...) PRINTF(1, 2);
/* Flushes standard output, at the end of every command that prints. EXIT_OK; EXIT_ENOUGH: it has no
 * reader any more; or it has complained. */
int say_end(void) MUST_CHECK;
/* Has the reader of standard output gone? Finds out without writing. */
bool say_nobody_reads(void);
/* Prints a text from the appliance without control characters, which a terminal would obey; at
 * least `width` columns. */
void say_text(const char *text, int width);
/* A line of a list: "image:  guests/echo.elf"; without a name it continues the line before. */
void say_field(const char *name, const char *format, ...) PRINTF(2, 3);

/* ---- commands; each returns the exit status ---- */

int command_guests(struct api *a);
/* The table of guests, from GET /v1/guests. */
void say_guests(const json_t *all);
/* The machine in a few lines, then the guests. */
int command_overview(struct api *a);
int command_status(struct api *a);
int command_action(struct api *a);
int command_delete(struct api *a);
int command_deploy(struct api *a);
int command_run(struct api *a);
int command_images(struct api *a);
int command_console(struct api *a);
int command_log(struct api *a);
int command_events(struct api *a);
int command_vmcs(struct api *a); /* vmcb, too */
int command_compare(struct api *a);
int command_dump(struct api *a);
int command_host(struct api *a);
int command_reboot(struct api *a);
int command_config(struct api *a);
/* These need no appliance, or several: only the options in `a` are set. */
int command_hash_token(struct api *a);
int command_contexts(struct api *a);
int command_top(struct api *a);

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
    EXIT_REFUSED,      /* the appliance says no */
    EXIT_USAGE,        /* wrong usage, or a file of this computer */
    EXIT_UNREACHABLE,  /* no answer, or not from whom it must be */
    EXIT_UNAUTHORISED, /* no token, a wrong one, one of a lesser role */
    /* Inside only, outside EXIT_OK: whoever read standard output, or typed, has had enough. */
    EXIT_ENOUGH,
};

#define PATH_MAX_BYTES 384u

/* Prints "bhctl: ..." on standard error, returns `status`. */
int complain(int status, const char *format, ...) PRINTF(2, 3);

/* ---- the appliance (api.c, judge.c, trust.c) ---- */

struct api {
    const struct options *options;
    CURL *curl; /* for one request at a time; streams have their own */
    struct curl_slist *headers;
    char base[URL_MAX];
    char error[CURL_ERROR_SIZE];
    const char *pinned; /* who says so: "--fingerprint" or the variable; or NULL */
    uint8_t pin[SHA256_SIZE];
    bool pin_seen;   /* a connection showed the right certificate */
    bool pin_failed; /* the last connection's certificate was another: */
    uint8_t shown[SHA256_SIZE];
};

/* An answer. */
struct reply {
    long status;
    char *body; /* ends with a 0 that does not count; never NULL after a request */
    size_t length;
    bool has_next;
    uint64_t next; /* Bulkhead-Next */
    unsigned retry_after;
    char location[URL_MAX];
};

/* What the options say of the appliance. EXIT_OK, or it has complained. */
int api_open(struct api *a, const struct options *o) MUST_CHECK;
void api_close(struct api *a);

/* A request with a body or without (NULL). EXIT_OK: there is an answer, whatever its status; the
 * caller frees it. Else it has complained. */
int api_send(struct api *a, const char *method, const char *path, const char *body, size_t length,
             struct reply *r) MUST_CHECK;
/* The same, but says nothing of a transfer that failed: *transfer. */
int api_try(struct api *a, const char *method, const char *path, const char *body, size_t length,
            struct reply *r, CURLcode *transfer) MUST_CHECK;
/* As api_send(), and complains about a status of 400 and more, and about redirects. */
int api_call(struct api *a, const char *method, const char *path, const char *body, size_t length,
             struct reply *r) MUST_CHECK;
/* GETs and parses. NULL: it has complained, *status says how. With --json it has printed the answer
 * already. */
json_t *api_get(struct api *a, const char *path, int *status) MUST_CHECK;
/* Parses an answer. NULL: it is not JSON, and it has complained. */
json_t *api_json(const struct reply *r) MUST_CHECK;
/* The same as api_call() does with an answer that is there. */
int api_reply(const struct api *a, const struct reply *r) MUST_CHECK;
/* What the answer's status means for ours; complains unless that is EXIT_OK. */
int api_judge(const struct api *a, const struct reply *r) MUST_CHECK;
/* What a transfer's result means; complains unless that is EXIT_OK. */
int api_transfer(const struct api *a, CURLcode rc) MUST_CHECK;
/* Sets up a handle of the caller's own for `path`; what it receives goes to `r`. EXIT_OK, or it has
 * complained, and nothing must be sent. */
int api_prepare(struct api *a, CURL *c, const char *path, struct reply *r) MUST_CHECK;
void reply_clear(struct reply *r);
/* What libcurl calls with bytes for the reply `ctx`. */
size_t reply_take(char *bytes, size_t one, size_t n, void *ctx);
/* A text for people: lines without control characters. */
void reply_clean(struct reply *r);
/* Prints an answer as it came, with a newline at its end. */
int reply_print(const struct reply *r) MUST_CHECK;

/* Whom the options and the environment say to trust. EXIT_OK, or it has complained. */
int trust_find(struct api *a) MUST_CHECK;
/* Has the handle speak to nobody else. EXIT_OK, or it has complained. */
int trust_set(struct api *a, CURL *c) MUST_CHECK;

/* ---- streams (stream.c) ---- */

/*
 * An answer without end. When the connection is lost, it is made again from where it was. So it is
 * after a long silence: a management guest that starts anew does not know its old connections, and
 * who only listens is not told.
 */
struct stream {
    struct api *api;
    CURLM *multi;
    CURL *curl;
    struct reply reply; /* what is no stream: a refusal */
    /* Where it begins, and begins again. */
    void (*where)(void *ctx, char path[PATH_MAX_BYTES]);
    /* Before it begins again: what is to be asked to know where that is; false: nothing. */
    bool (*ask)(void *ctx, char path[PATH_MAX_BYTES]);
    /* The answer to that, of status 200. EXIT_OK, or how all ends. */
    int (*answer)(void *ctx, const struct reply *r);
    /* Prints. EXIT_OK, or how all ends. */
    int (*take)(void *ctx, const char *bytes, size_t n);
    /* Other transfers in `multi` that have ended; may be NULL. */
    void (*ended)(void *ctx, CURL *c, CURLcode rc);
    void *ctx;
    int status;                  /* what take() returned */
    int silence_ms;              /* so long nothing comes: is the other side still there? */
    bool under_way, established; /* now; ever */
    bool lost, asking, flowed;   /* it was interrupted; what is under way: ask(); some of it came */
    int64_t begun_ms;
    int64_t silent_ms;            /* when that is over */
    int64_t again_ms, give_up_ms; /* when it is lost: next try, end of all tries */
};

/* Milliseconds that never go back. */
int64_t clock_ms(void);

/* The members `api`, `where`, `ask`, `answer`, `take`, `ended`, `ctx` and `silence_ms` are set.
 * EXIT_OK, or it has complained. */
int stream_open(struct stream *s) MUST_CHECK;
/* Does what can be done, then waits up to `ms` for more, or for one of `fds`. EXIT_OK: go on. Else
 * it has complained. */
int stream_wait(struct stream *s, struct curl_waitfd *fds, unsigned count, int ms) MUST_CHECK;
/* Something ought to come within `ms`. */
void stream_expect(struct stream *s, int ms);
void stream_close(struct stream *s);

/* ---- rings (ring.c) ---- */

/* What the appliance keeps in a ring: the log, a console. */
struct ring {
    struct stream stream;
    const char *path;
    struct place place; /* how far it is printed */
    /* Prints; NULL: the bytes as they are. */
    void (*show)(struct ring *g, const char *bytes, size_t n);
};

/* Prints what is there, unless `only_new`, and follows what comes. */
int ring_open(struct ring *g, struct api *a, const char *path, bool only_new) MUST_CHECK;
/* Prints what is there. */
int ring_print(struct api *a, const char *path) MUST_CHECK;

/* ---- the terminal (term.c) ---- */

/* Keys come as they are typed, without echo; the old state comes back at exit, and by
 * term_restore(). Without `signals` Ctrl-C is a key like others. False: standard input is no
 * terminal. */
bool term_raw(bool signals);
void term_restore(void);
/* Keys are taken as they are: a new line is CR LF. */
bool term_is_raw(void);
/* A page of its own, until term_restore(). */
void term_page_begin(void);
/* From now on SIGINT, SIGTERM, SIGHUP and SIGQUIT only make term_stopped() true. */
void term_catch(void);
bool term_stopped(void);
void term_size(unsigned *columns, unsigned *rows);

/* ---- small things (say.c) ---- */

/* Members of an object; what is missing or of another kind is "" or 0. */
const char *text_of(const json_t *object, const char *name);
uint64_t number_of(const json_t *object, const char *name);
/* A word on standard error about what goes on; on a raw terminal too. */
void say_note(const char *format, ...) PRINTF(1, 2);
/* Flushes standard output: the end of every command that prints. EXIT_OK; EXIT_ENOUGH: nobody reads
 * it any more; or it has complained. */
int say_end(void) MUST_CHECK;
/* Whoever read standard output has gone: found out without writing. */
bool say_nobody_reads(void);
/* A text of the appliance's, without control characters, which a terminal would obey; at least
 * `width` columns. */
void say_text(const char *text, int width);
/* A line of a list: "image:  guests/echo.elf"; without a name one more of the line before. */
void say_field(const char *name, const char *format, ...) PRINTF(2, 3);

/* ---- commands; each returns the exit status ---- */

int command_guests(struct api *a);
int command_status(struct api *a);
int command_action(struct api *a);
int command_delete(struct api *a);
int command_deploy(struct api *a);
int command_images(struct api *a);
int command_console(struct api *a);
int command_log(struct api *a);
int command_events(struct api *a);
int command_vmcs(struct api *a);
int command_top(struct api *a);
int command_host(struct api *a);
int command_reboot(struct api *a);
int command_config(struct api *a);
/* Needs no appliance: `a` has only its options. */
int command_hash_token(struct api *a);

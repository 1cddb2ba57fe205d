/*
 * The API's resources. Pure: it sees the machine through struct api_view and writes a whole
 * response into a buffer.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/abi/deploy.h"
#include "mgmt/audit.h"
#include "mgmt/auth.h"
#include "mgmt/clock.h"
#include "mgmt/config/config.h"
#include "mgmt/http.h"
#include "mgmt/json.h"
#include "mgmt/unpack.h"

/* The control ABI's pages and calls, or a test's stand-ins. Guests that do not exist are NULL. */
#define API_STATUSES_MAX 24u

/* How often a status was answered; a status of 0 ends the list. */
struct api_answered {
    unsigned status;
    uint64_t count;
};

/* TLS handshakes: completed, and failed. */
struct api_tls {
    uint64_t handshakes, handshake_failures;
    uint64_t not_after; /* the configured certificate's end, seconds since 1970; 0: none, or ours */
};

/* A vCPU, by its guest's number and its own. */
struct api_vcpu {
    unsigned guest, vcpu;
};
struct actors;
struct history;
struct explain;

struct api_view {
    const struct abi_host *host;
    const struct clock *clock;
    const struct abi_ring *log;
    const struct abi_guest *(*guest)(unsigned number);
    /* `id` is a vCPU of a guest that exists. */
    const struct abi_vcpu *(*vcpu)(struct api_vcpu id);
    const struct abi_snapshot *(*snapshot)(struct api_vcpu id, unsigned slot);
    const struct abi_exit *(*exits)(struct api_vcpu id);
    const uint8_t *(*bitmaps)(unsigned number); /* see ABI_BITMAPS_GPA */
    const struct abi_caps *caps;                /* one per core */
    const struct abi_thread *threads;           /* host->topology.threads of them */
    const struct abi_events *events;
    const struct abi_images *images;
    /* As guests.json has it. False: it has mistakes, so parts of it may be missing. */
    const struct config *config;
    bool config_whole;
    const struct abi_ring *(*console)(unsigned number);
    int64_t (*take_snapshot)(struct api_vcpu id, bool keep);
    int64_t (*probe)(unsigned row);
    int64_t (*controls)(struct api_vcpu id, const struct abi_controls *c);
    int64_t (*type)(unsigned number, const uint8_t *bytes, size_t n);
    int64_t (*act)(unsigned number, unsigned action);
    int64_t (*host_act)(unsigned action);
    /* ABI_MEMORY_BYTES of a guest's memory. */
    int64_t (*memory)(unsigned number, uint64_t address, uint8_t *bytes);
    int64_t (*image_begin)(const struct abi_image_request *r);
    int64_t (*image_extend)(unsigned slot);
    int64_t (*image_commit)(unsigned slot, const uint8_t sha256[32]);
    int64_t (*image_drop)(unsigned slot);
    uint8_t *(*image_bytes)(unsigned slot);
    const uint8_t *(*module_bytes)(const struct abi_boot_module *m);
    struct unpack *unpack; /* NULL: compressed images stay compressed */
    int64_t (*create)(struct abi_create *r);
    int64_t (*remove)(unsigned number);
    int64_t (*configured)(void);
    uint64_t (*tsc)(void);
    const char *random_token; /* of this boot, see auth_check() */
    struct auth_table *auth;
    struct audit *audit;
    /* A line for the log: who was refused, who changed what. It never contains a token. */
    void (*note)(const char *text);
    struct api_answered *answered; /* API_STATUSES_MAX; counted by the sender of answers */
    const struct api_tls *tls;     /* NULL: no HTTPS */
    struct actors *actors;         /* NULL: nobody remembers who asked for what */
    struct history *history;       /* NULL: none is kept */
    struct explain *explain; /* NULL: refused VM entries are reported as the root reports them */
};

/* What a streamed answer continues with. */
struct api_stream {
    /* Writes what is new, at most `size` bytes (at least 1024); 0: nothing. NULL: no stream. */
    size_t (*more)(const struct api_view *v, struct api_stream *s, char *buf, size_t size);
    uint64_t next;           /* sequence or position in what is streamed */
    unsigned guest;          /* of a console */
    char name[ABI_NAME_MAX]; /* the guest's: its number may pass to another guest */
    bool sse;                /* kept alive by comments */
    bool over;               /* set by more(): once it writes nothing, the answer ends */
};

/* What an answer waits for. */
enum api_wait {
    API_WAIT_NONE,
    API_WAIT_SNAPSHOT, /* snapshot `wait_sequence` of vCPU `wait_for` */
    API_WAIT_CONTROLS, /* change number `wait_sequence` of its controls */
    API_WAIT_GONE,     /* the number of guest `wait_for.guest` is free */
    API_WAIT_UNPACKED, /* no image is being unpacked */
};

struct api_response {
    unsigned status;
    const char *type;         /* Content-Type */
    char allow[40];           /* with 405 */
    char location[128];       /* with 201 */
    bool known;               /* a right token came with the request, or none is needed */
    struct auth_identity who; /* who the client is, if known */
    bool challenge;           /* header WWW-Authenticate: */
    unsigned retry_s;         /* header Retry-After:, unless 0 */
    bool has_next;            /* header Bulkhead-Next: */
    uint64_t next;
    struct json_out body;
    /* Instead of `body`: bytes that are constant in this build, and their entity tag without
     * quotes. */
    const char *file, *etag, *encoding; /* encoding: Content-Encoding, or NULL */
    size_t file_len;
    /* 101: after the answer the connection is a terminal (mgmt/terminal.h) of `stream.guest`. The
     * caller logs it with route_note_change() once it knows what it sends. */
    bool upgrade;
    struct api_stream stream; /* follows `body` until the client leaves */
    /* The answer needs something that is under way: call again when it has arrived. */
    enum api_wait wait;
    struct api_vcpu wait_for;
    uint64_t wait_sequence;
    uint32_t audit; /* its number in the log, if it is a change that waits and is listed */
};

/* Answers `r`. `buf` holds the body. After a wait, call again with the response unchanged and
 * `waited` true (or `timed_out`). */
void api_handle(const struct api_view *v, const struct http_request *r, char *buf, size_t size,
                struct api_response *out, bool waited, bool timed_out);
/* {"error": ...} for a request that never became one. */
void api_error(struct api_response *out, char *buf, size_t size, bool text, unsigned status,
               const char *message);
/* The same with a JSON pointer to what is wrong in the body, or NULL. */
void api_error_at(struct api_response *out, char *buf, size_t size, bool text, unsigned status,
                  const char *pointer, const char *message);
/* Has what the response waits for arrived? */
bool api_ready(const struct api_view *v, const struct api_response *r);

/*
 * The hypervisor's log and the guests' consoles as syslog messages (RFC 5424). A follower's state
 * is its position in the ring: a line counts as read only once its message is sent. So nothing is
 * lost but what the ring's writer overwrites in the meantime, and that amount is reported. Pure.
 */
#pragma once

#include "hv/abi/control.h"

#define SYSLOG_MESSAGE_MAX 1024u

/* RFC 5424, section 6.2.1. */
enum syslog_severity { SYSLOG_WARNING = 4, SYSLOG_NOTICE = 5, SYSLOG_INFO = 6 };

struct syslog_message {
    enum syslog_severity severity;
    uint64_t us; /* since 1970 */
    const char *hostname;
    const char *process; /* the guest that owns the console; NULL: the hypervisor */
    const uint8_t *text; /* any bytes */
    size_t len;
};

/* Writes one message, at most SYSLOG_MESSAGE_MAX bytes and without a terminator, and returns its
 * length. *used: how many bytes of the text it contains. Text is UTF-8; other bytes and control
 * characters become \xHH. At least one byte is used, so a long text takes several messages. */
size_t syslog_format(char out[SYSLOG_MESSAGE_MAX], const struct syslog_message *m, size_t *used);

struct syslog_follower {
    uint64_t next; /* the first byte of the ring that was not sent */
    uint64_t lost; /* overwritten bytes, not yet reported */
};

struct syslog_sink {
    const char *hostname;
    uint64_t now_us;  /* wall clock, for lines without a time of their own */
    uint64_t zero_us; /* wall clock at the zero of the log's own seconds */
    /* False: not now; the same message is sent again later. */
    bool (*send)(void *ctx, const char *message, size_t len);
    void *ctx;
};

/* Sends what is new in `r`, at most `budget` messages, and returns how many. `process` as above. */
unsigned syslog_follow(struct syslog_follower *f, const struct abi_ring *r, const char *process,
                       const struct syslog_sink *sink, unsigned budget);

/* What `bhctl top` shows: two samples of the appliance, compared, sorted and printed. Pure. */
#pragma once

#include "hv/types.h"

#define TOP_GUESTS_MAX 16u
#define TOP_CORES_MAX  128u /* all that an appliance can have */
#define TOP_HOSTS_MAX  16u

struct top_guest {
    char name[33], state[24];
    uint64_t memory, core; /* bytes; of its first vCPU */
    uint64_t vcpus;
    uint64_t run_ticks, exits, restarts;
};

struct top_core {
    uint64_t busy, idle; /* ticks */
};

/* One look. */
struct top_sample {
    uint64_t uptime_ms, tsc_hz;
    uint64_t memory_total, memory_free;
    unsigned core_count, guest_count;
    struct top_core cores[TOP_CORES_MAX];
    struct top_guest guests[TOP_GUESTS_MAX];
};

/* An appliance, in a table of several. */
struct top_host {
    const char *name;                      /* NULL: there is only one */
    const struct top_sample *before, *now; /* NULL: not yet */
    bool lost;                             /* no answer to the last look */
};

struct top_row {
    const struct top_guest *guest;
    const char *host; /* its appliance's name, or NULL */
    double cpu;       /* percent of its core */
    double exits;     /* per second */
};

enum top_key { TOP_CPU, TOP_EXITS, TOP_MEMORY, TOP_NAME, TOP_KEYS };

/* "cpu" ...; false: no key has this name. */
bool top_key_named(const char *name, enum top_key *key) MUST_CHECK;

/* What each guest of `now` did since `before`; NULL: since the boot. A counter lower than before
 * has restarted. Rows point into `now`. Returns the number of rows. */
unsigned top_compare(const struct top_sample *before, const struct top_sample *now,
                     struct top_row rows[TOP_GUESTS_MAX]);
/* Largest first, names in alphabetical order; equal guests by name. */
void top_sort(struct top_row *rows, unsigned n, enum top_key key);
/* At most `height` lines of at most `width` columns (0: no limit). Cut if `size` is
 * too small. */
void top_tell(char *buf, size_t size, const struct top_host *hosts, unsigned host_count,
              const struct top_row *rows, unsigned n, enum top_key key, unsigned width,
              unsigned height);

/*
 * GET /metrics: all counters in Prometheus' text format ("Exposition formats", text-based format
 * 0.0.4), named by its conventions. A guest's counters restart when the appliance does, not when
 * the guest does. Times are in seconds, computed from ticks without floating point.
 */
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/words.h"
#include "mgmt/api_call.h"
#include "mgmt/state.h"

#define METRICS_TYPE "text/plain; version=0.0.4; charset=utf-8"
#define NANO         1000000000ull

/* What does not fit one buffer is sent in several, each of whole pieces. They have numbers, which
 * are the same each time; a piece fits the smallest buffer. */
struct metrics {
    struct json_out *j; /* of the current piece: `out`, or `nowhere` if it is not wanted */
    struct json_out *out, nowhere;
    const struct call *c;
    unsigned guest;        /* the number of the current guest */
    uint64_t from, pieces; /* the first that is wanted; how many have begun */
    uint64_t last;         /* the last that was wanted ... */
    size_t start;          /* ... and where it begins */
};

static void begin_piece(struct metrics *m)
{
    bool wanted = m->pieces >= m->from && !m->out->overflow;

    m->j = wanted ? m->out : &m->nowhere;
    if (wanted) {
        m->last = m->pieces;
        m->start = m->out->len;
    }
    m->pieces++;
}

static void family(struct metrics *m, const char *name, const char *type, const char *help)
{
    begin_piece(m);
    json_printf(m->j, "# HELP bulkhead_%s %s\n# TYPE bulkhead_%s %s\n", name, help, name, type);
}

static void sample(struct metrics *m, const char *name, const char *labels, uint64_t value)
{
    json_printf(m->j, "bulkhead_%s%s %lu\n", name, labels, value);
}

/* Ticks as seconds with nine decimals. */
static void put_seconds(struct metrics *m, uint64_t ticks)
{
    uint64_t hz = m->c->v->host->tsc_hz ? m->c->v->host->tsc_hz : 1;
    /* The remainder is below hz, so the product fits for any TSC below 18 GHz. */
    uint64_t nano = ticks % hz * NANO / hz;

    json_printf(m->j, "%lu.%09lu", ticks / hz, nano);
}

static void seconds(struct metrics *m, const char *name, const char *labels, uint64_t ticks)
{
    json_printf(m->j, "bulkhead_%s%s ", name, labels);
    put_seconds(m, ticks);
    json_printf(m->j, "\n");
}

/* `labels` without braces. The buckets end at powers of two of ticks, so adding to one takes the
 * root no division. Their ends in seconds depend on this boot's measurement of the TSC. They differ
 * from the last boot's by some millionths, and so does the label. Rounded ends would be stable, but
 * would not describe what is counted. */
static void histogram(struct metrics *m, const char *name, const char *labels,
                      const struct abi_histogram *h)
{
    uint64_t count = 0;

    for (unsigned i = 0; i < ABI_HISTOGRAM_BUCKETS; i++) {
        count += h->count[i];
        json_printf(m->j, "bulkhead_%s_bucket{%s,le=\"", name, labels);
        if (i + 1 < ABI_HISTOGRAM_BUCKETS)
            put_seconds(m, abi_histogram_limit(i));
        else
            json_printf(m->j, "+Inf");
        json_printf(m->j, "\"} %lu\n", count);
    }
    json_printf(m->j, "bulkhead_%s_sum{%s} ", name, labels);
    put_seconds(m, h->sum);
    json_printf(m->j, "\nbulkhead_%s_count{%s} %lu\n", name, labels, count);
}

/* ---- the machine ---- */

static void put_host(struct metrics *m)
{
    const struct abi_host *h = m->c->v->host;
    const struct abi_memory *mem = &h->memory;
    const struct {
        const char *owner;
        uint64_t bytes;
    } owners[] = {{"free", mem->free},     {"host", mem->host},      {"modules", mem->modules},
                  {"shared", mem->shared}, {"guests", mem->guests},  {"tables", mem->tables},
                  {"images", mem->images}, {"regions", mem->regions}};
    char labels[160];

    family(m, "build_info", "gauge", "Always 1; what is running.");
    (void)fmt(labels, sizeof(labels), "{version=\"%s\",build_id=\"%s\"}", h->version, h->build_id);
    sample(m, "build_info", labels, 1);
    family(m, "uptime_seconds", "gauge", "Time since the appliance's start.");
    seconds(m, "uptime_seconds", "", m->c->v->tsc() - h->boot_tsc);
    family(m, "memory_bytes", "gauge", "Host memory by owner.");
    for (unsigned i = 0; i < ARRAY_LEN(owners); i++) {
        (void)fmt(labels, sizeof(labels), "{owner=\"%s\"}", owners[i].owner);
        sample(m, "memory_bytes", labels, owners[i].bytes);
    }
}

static void put_threads(struct metrics *m)
{
    uint64_t counts[ABI_THREAD_STATES] = {0};
    char labels[48];

    for (uint32_t i = 0; i < m->c->v->host->topology.threads && i < ABI_THREADS_MAX; i++)
        if (m->c->v->threads[i].state < ABI_THREAD_STATES)
            counts[m->c->v->threads[i].state]++;
    family(m, "threads", "gauge", "Hardware threads by what became of them.");
    for (unsigned i = ABI_THREAD_RUNS; i < ABI_THREAD_STATES; i++) {
        (void)fmt(labels, sizeof(labels), "{state=\"%s\"}", words_thread_state[i]);
        sample(m, "threads", labels, counts[i]);
    }
}

static void each_core(struct metrics *m,
                      void (*put)(struct metrics *m, const char *labels, const struct abi_core *k))
{
    const struct abi_host *h = m->c->v->host;
    char labels[32];

    for (uint32_t i = 0; i < h->core_count && i < ABI_CORES_MAX; i++) {
        (void)fmt(labels, sizeof(labels), "core=\"%u\"", i);
        begin_piece(m);
        put(m, labels, &h->cores[i]);
    }
}

static void put_core_time(struct metrics *m, const char *labels, const struct abi_core *k)
{
    char all[64];

    (void)fmt(all, sizeof(all), "{%s,mode=\"guests\"}", labels);
    seconds(m, "core_seconds_total", all, k->busy_ticks);
    (void)fmt(all, sizeof(all), "{%s,mode=\"idle\"}", labels);
    seconds(m, "core_seconds_total", all, k->idle_ticks);
}

static void put_slice_ends(struct metrics *m, const char *labels, const struct abi_core *k)
{
    histogram(m, "slice_end_lateness_seconds", labels, &k->slice_late);
}

static void put_latest(struct metrics *m, const char *labels, const struct abi_core *k)
{
    char all[40];

    (void)fmt(all, sizeof(all), "{%s}", labels);
    seconds(m, "slice_end_lateness_max_seconds", all, k->slice_late_max);
}

static void put_cores(struct metrics *m)
{
    family(m, "core_seconds_total", "counter", "Time of the core by what it did.");
    each_core(m, put_core_time);
    family(m, "slice_end_lateness_seconds", "histogram", "How late time slices of the core ended.");
    each_core(m, put_slice_ends);
    family(m, "slice_end_lateness_max_seconds", "gauge",
           "The latest end of a time slice of the core since the appliance's start.");
    each_core(m, put_latest);
}

/* ---- the guests ---- */

/* `labels` without braces. */
static void one(struct metrics *m, const char *name, const char *labels, uint64_t value)
{
    char all[80];

    (void)fmt(all, sizeof(all), "{%s}", labels);
    sample(m, name, all, value);
}

static void put_state(struct metrics *m, const char *labels, const struct abi_guest *g)
{
    char all[112];

    for (uint32_t s = ABI_GUEST_EMPTY + 1; s < ABI_GUEST_STATES; s++) {
        (void)fmt(all, sizeof(all), "{%s,state=\"%s\"}", labels, guest_state_name(s));
        sample(m, "guest_state", all, g->state == s);
    }
}

static void put_stuck(struct metrics *m, const char *labels, const struct abi_guest *g)
{
    one(m, "guest_stuck", labels, g->stuck[0] != 0);
}

static void put_lost(struct metrics *m, const char *labels, const struct abi_guest *g)
{
    (void)g;
    one(m, "guest_serial_lost_bytes_total", labels, m->c->v->host->console_lost[m->guest]);
}

/* ---- their vCPUs ---- */

static void put_time(struct metrics *m, const char *labels, const struct abi_vcpu *v)
{
    char all[112];

    (void)fmt(all, sizeof(all), "{%s,mode=\"run\"}", labels);
    seconds(m, "vcpu_seconds_total", all, v->run_ticks);
    (void)fmt(all, sizeof(all), "{%s,mode=\"wait\"}", labels);
    seconds(m, "vcpu_seconds_total", all, v->wait_ticks);
}

static void put_exits(struct metrics *m, const char *labels, const struct abi_vcpu *v)
{
    char all[160];

    for (uint32_t r = 0; r < ABI_EXIT_REASONS; r++) {
        if (!v->exits[r])
            continue;
        (void)fmt(all, sizeof(all), "{%s,reason=\"%s\"}", labels,
                  state_counter_name(call_table(m->c), r));
        sample(m, "vcpu_exits_total", all, v->exits[r]);
    }
}

static void put_interrupts(struct metrics *m, const char *labels, const struct abi_vcpu *v)
{
    one(m, "vcpu_interrupts_total", labels, v->irqs);
}

static void put_unclaimed(struct metrics *m, const char *labels, const struct abi_vcpu *v)
{
    char all[112];

    (void)fmt(all, sizeof(all), "{%s,what=\"read\"}", labels);
    sample(m, "vcpu_unclaimed_memory_accesses_total", all, v->unclaimed_reads);
    (void)fmt(all, sizeof(all), "{%s,what=\"write\"}", labels);
    sample(m, "vcpu_unclaimed_memory_accesses_total", all, v->unclaimed_writes);
}

static void put_wakes(struct metrics *m, const char *labels, const struct abi_vcpu *v)
{
    histogram(m, "vcpu_timer_wake_lateness_seconds", labels, &v->wake_late);
}

/* ---- their network ---- */

static void put_frames(struct metrics *m, const char *labels, const struct abi_guest *g)
{
    const struct {
        const char *name;
        uint64_t n;
    } counts[] = {
        {"received", g->frames_received}, {"sent", g->frames_sent}, {"dropped", g->frames_dropped}};
    char all[112];

    for (unsigned i = 0; i < ARRAY_LEN(counts); i++) {
        (void)fmt(all, sizeof(all), "{%s,what=\"%s\"}", labels, counts[i].name);
        sample(m, "guest_network_frames_total", all, counts[i].n);
    }
}

/* Writes every reason, so that a rate can be computed from the first one on. */
static void put_refusals(struct metrics *m, const char *name, const char *labels,
                         const uint64_t frames[NET_DROPS])
{
    char all[128];

    for (unsigned i = NET_PASSED + 1; i < NET_DROPS; i++) {
        (void)fmt(all, sizeof(all), "{%s%sreason=\"%s\"}", labels, labels[0] ? "," : "",
                  words_net_drop[i]);
        sample(m, name, all, frames[i]);
    }
}

static void put_refused_frames(struct metrics *m, const char *labels, const struct abi_guest *g)
{
    if (g->config.devices & DEV_NET)
        put_refusals(m, "guest_network_refused_frames_total", labels, g->frames_refused);
}

#define AT(f)       offsetof(struct abi_guest, f), sizeof(((struct abi_guest *)NULL)->f), NULL, NULL
#define PUT(f)      0, 0, f, NULL
#define PUT_VCPU(f) 0, 0, NULL, f

/* Each metric has a value per guest, either a number in struct abi_guest or written by put(), or
 * one per vCPU. */
static const struct guest_family {
    const char *name, *type, *help;
    size_t offset, size; /* of the number, of at most 8 bytes */
    void (*put)(struct metrics *m, const char *labels, const struct abi_guest *g);
    void (*put_vcpu)(struct metrics *m, const char *labels, const struct abi_vcpu *v);
} guest_families[] = {
    {"guest_state", "gauge", "1 for the state that the guest is in, 0 for the others.",
     PUT(put_state)},
    {"guest_restarts_total", "counter",
     "How often the guest's restart policy has started it again.", AT(restarts)},
    {"guest_short_lives", "gauge", "The guest's last lives of less than 10 seconds, in a row.",
     AT(short_lives)},
    {"guest_stuck", "gauge",
     "1 while the guest runs but spins in one place, or is halted with interrupts off.",
     PUT(put_stuck)},
    {"guest_memory_bytes", "gauge", "The guest's memory.", AT(config.memory)},
    {"vcpu_seconds_total", "counter",
     "Time that the vCPU ran, and that it waited: it could have run, but another one had the core.",
     PUT_VCPU(put_time)},
    {"vcpu_exits_total", "counter", "VM exits by basic exit reason, or by exit code of SVM.",
     PUT_VCPU(put_exits)},
    {"vcpu_interrupts_total", "counter", "External interrupts injected into the vCPU.",
     PUT_VCPU(put_interrupts)},
    {"vcpu_unclaimed_memory_accesses_total", "counter",
     "Accesses of the vCPU to addresses without memory or device.", PUT_VCPU(put_unclaimed)},
    {"vcpu_timer_wake_lateness_seconds", "histogram",
     "Time from the moment at which a timer was due to the end of the vCPU's HLT.",
     PUT_VCPU(put_wakes)},
    {"guest_serial_lost_bytes_total", "counter",
     "Bytes of the guest's console that the host's serial line had no time for; the API has them.",
     PUT(put_lost)},
    {"guest_network_frames_total", "counter",
     "Frames from the guest, to it, and lost because it took none.", PUT(put_frames)},
    {"guest_large_pages_split_total", "counter",
     "2 MiB pages of the guest's memory that were split because it executed them.",
     AT(large_pages_split)},
    {"guest_network_refused_frames_total", "counter",
     "Frames from the guest that the switch refused, by reason.", PUT(put_refused_frames)},
};

static void put_vcpus(struct metrics *m, const struct guest_family *f, const struct abi_guest *g)
{
    char labels[80];

    for (unsigned i = 0; i < ABI_VCPUS_MAX; i++) {
        begin_piece(m);
        if (i >= g->vcpu_count)
            continue;
        (void)fmt(labels, sizeof(labels), "guest=\"%s\",vcpu=\"%u\"", g->config.name, i);
        f->put_vcpu(m, labels, m->c->v->vcpu((struct api_vcpu){m->guest, i}));
    }
}

static void put_guest(struct metrics *m, const struct guest_family *f, const struct abi_guest *g)
{
    uint64_t value = 0;
    char labels[64];

    (void)fmt(labels, sizeof(labels), "guest=\"%s\"", g->config.name);
    if (f->put) {
        f->put(m, labels, g);
        return;
    }
    memcpy(&value, (const char *)g + f->offset, f->size);
    one(m, f->name, labels, value);
}

static void put_guests(struct metrics *m)
{
    struct abi_guest g;

    for (const struct guest_family *f = guest_families;
         f < guest_families + ARRAY_LEN(guest_families); f++) {
        family(m, f->name, f->type, f->help);
        for (m->guest = 0; m->guest < ABI_GUESTS_MAX; m->guest++) {
            bool exists = call_copy_guest(m->c, m->guest, &g);

            g.vcpu_count = exists ? g.vcpu_count : 0;
            begin_piece(m);
            if (f->put_vcpu)
                put_vcpus(m, f, &g);
            else if (exists)
                put_guest(m, f, &g);
        }
    }
}

/* ---- the network cards ---- */

static void put_nic_info(struct metrics *m, const char *labels, const struct abi_nic *n)
{
    static const char *const users[] = {"none", "management", "guests", "all"};
    char all[192];

    (void)fmt(all, sizeof(all), "{%s,name=\"%s\",driver=\"%s\",interrupt=\"%s\",users=\"%s\"}",
              labels, n->name, n->driver, n->roles ? nic_irq_name(n->irq) : "none",
              users[n->roles % ARRAY_LEN(users)]);
    sample(m, "nic_info", all, 1);
}

static void put_nic_link(struct metrics *m, const char *labels, const struct abi_nic *n)
{
    one(m, "nic_link_up", labels, n->link_up);
}

static void put_nic_speed(struct metrics *m, const char *labels, const struct abi_nic *n)
{
    one(m, "nic_link_bytes_per_second", labels, n->mbits * 125000ull);
}

static void put_nic_interrupts(struct metrics *m, const char *labels, const struct abi_nic *n)
{
    one(m, "nic_interrupts_total", labels, n->interrupts);
}

static void put_directions(struct metrics *m, const char *name, const char *labels,
                           uint64_t received, uint64_t sent)
{
    char all[80];

    (void)fmt(all, sizeof(all), "{%s,direction=\"receive\"}", labels);
    sample(m, name, all, received);
    (void)fmt(all, sizeof(all), "{%s,direction=\"transmit\"}", labels);
    sample(m, name, all, sent);
}

static void put_nic_frames(struct metrics *m, const char *labels, const struct abi_nic *n)
{
    put_directions(m, "nic_frames_total", labels, n->rx_frames, n->tx_frames);
}

static void put_nic_dropped(struct metrics *m, const char *labels, const struct abi_nic *n)
{
    put_directions(m, "nic_dropped_frames_total", labels, n->rx_dropped, n->tx_dropped);
}

static void put_nic_refused(struct metrics *m, const char *labels, const struct abi_nic *n)
{
    put_refusals(m, "uplink_refused_frames_total", labels, n->became);
}

/* All but the first are about cards that are used. */
static const struct nic_family {
    const char *name, *type, *help;
    void (*put)(struct metrics *m, const char *labels, const struct abi_nic *n);
} nic_families[] = {
    {"nic_info", "gauge", "The network card, its driver, how it interrupts, and whose it is.",
     put_nic_info},
    {"nic_link_up", "gauge", "1: the network card has a link.", put_nic_link},
    {"nic_link_bytes_per_second", "gauge", "The link's speed; 0: unknown.", put_nic_speed},
    {"nic_interrupts_total", "counter", "Interrupts of the network card.", put_nic_interrupts},
    {"nic_frames_total", "counter", "Frames that the network card received and sent.",
     put_nic_frames},
    {"nic_dropped_frames_total", "counter", "Frames that the network card's driver dropped.",
     put_nic_dropped},
    {"uplink_refused_frames_total", "counter",
     "Frames from outside that the switch refused, by reason.", put_nic_refused},
};

static void put_nics(struct metrics *m)
{
    const struct abi_nic *nics = m->c->v->host->nics;
    char place[NIC_PLACE_TEXT], labels[32];

    for (const struct nic_family *f = nic_families; f < nic_families + ARRAY_LEN(nic_families);
         f++) {
        if (!nics[0].name[0])
            return;
        family(m, f->name, f->type, f->help);
        for (unsigned i = 0; i < ABI_NICS_MAX && nics[i].name[0]; i++) {
            if (f != nic_families && !nics[i].roles)
                continue;
            nic_place_text(nics[i].place, place);
            (void)fmt(labels, sizeof(labels), "card=\"%s\"", place);
            f->put(m, labels, &nics[i]);
        }
    }
}

/* ---- this endpoint ---- */

static void put_http(struct metrics *m)
{
    char labels[32];

    family(m, "http_requests_total", "counter", "Requests answered, by status.");
    for (unsigned i = 0; i < API_STATUSES_MAX && m->c->v->answered[i].status; i++) {
        (void)fmt(labels, sizeof(labels), "{code=\"%u\"}", m->c->v->answered[i].status);
        sample(m, "http_requests_total", labels, m->c->v->answered[i].count);
    }
    if (!m->c->v->tls)
        return;
    family(m, "tls_handshakes_total", "counter", "TLS handshakes completed.");
    sample(m, "tls_handshakes_total", "", m->c->v->tls->handshakes);
    family(m, "tls_handshake_failures_total", "counter",
           "TLS handshakes that failed, took too long or found no place.");
    sample(m, "tls_handshake_failures_total", "", m->c->v->tls->handshake_failures);
    if (!m->c->v->tls->not_after)
        return;
    family(m, "tls_certificate_not_after_timestamp_seconds", "gauge",
           "When the configured certificate ends, in seconds since 1970.");
    sample(m, "tls_certificate_not_after_timestamp_seconds", "", m->c->v->tls->not_after);
}

/* Continues with piece *from. False: there is more, from the new *from on. */
static bool put_from(const struct call *c, struct json_out *out, uint64_t *from)
{
    struct metrics m = {.c = c, .out = out, .nowhere.buf = out->buf, .from = *from};

    put_host(&m);
    put_threads(&m);
    put_cores(&m);
    put_guests(&m);
    put_nics(&m);
    put_http(&m);
    if (!out->overflow)
        return true;
    out->len = m.start;
    *from = m.last;
    return m.start == 0; /* a piece that fits no buffer: the end, rather than for ever */
}

static size_t more_metrics(const struct api_view *v, struct api_stream *s, char *buf, size_t size)
{
    const struct call c = {.v = v};
    struct json_out out;

    if (s->over)
        return 0;
    json_begin(&out, buf, size, true);
    s->over = put_from(&c, &out, &s->next);
    return out.len;
}

void get_metrics(struct call *c, char *const *arg)
{
    uint64_t from = 0;

    (void)arg;
    if (!put_from(c, call_begin_raw(c, METRICS_TYPE), &from))
        call_stream(c, METRICS_TYPE, more_metrics, 0, 0);
}

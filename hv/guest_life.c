#include "hv/guest_life.h"

#include "hv/arch.h"
#include "hv/core.h"
#include "hv/fmt.h"
#include "hv/guest_pages.h"
#include "hv/image.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/net.h"
#include "hv/panic.h"

/* A guest that ends sooner than this after its start is held back before its next start. */
#define SHORT_LIFE_SECONDS    10u
#define BACKOFF_MS            100u
#define BACKOFF_DOUBLINGS_MAX 7u
/* A line without its end is shown after 1/20 s: it is a prompt, not a line on its way. */
#define PROMPT_RATE           20u

static uint64_t boot_epoch, boot_tsc;

void guest_life_init(uint64_t epoch, uint64_t tsc)
{
    boot_epoch = epoch;
    boot_tsc = tsc;
}

void guest_fail(struct guest *g, const char *why)
{
    guest_set_state(g, ABI_GUEST_FAILED, why);
    g->phase = GUEST_IDLE;
    log_warn("guest %s: not started: %s", g->config.name, why);
}

void vcpu_stop(struct vcpu *v, enum abi_guest_state state, const char *format, ...)
{
    char why[ABI_TEXT_MAX];
    va_list ap;

    if (v->stop)
        return;
    va_start(ap, format);
    (void)fmt_v(why, sizeof(why), format, ap);
    va_end(ap);
    v->stop = true;
    guest_set_state(v->guest, state, why);
}

/* ---- what the platform asks of its owner ---- */

void guest_flush_line(struct guest *g)
{
    char text[ABI_NAME_MAX + GUEST_LINE_SIZE + 8];
    size_t name = strlen(g->config.name), n = 0;

    if (g->line_len == 0)
        return;
    /* By hand: this is done in exits of the guest. */
    text[n++] = '[';
    memcpy(text + n, g->config.name, name);
    n += name;
    text[n++] = ']';
    text[n++] = ' ';
    memcpy(text + n, g->line, g->line_len);
    n += g->line_len;
    text[n++] = '\n';
    log_console(text, n);
    g->line_len = 0;
}

void guest_flush_old_line(struct guest *g)
{
    if (g->line_len && g->platform.clock.now - g->line_tsc > arch_tsc_hz() / PROMPT_RATE)
        guest_flush_line(g);
}

static void on_console(void *ctx, uint8_t byte)
{
    struct guest *g = ctx;
    struct abi_ring *r = g->console;

    r->data[r->written & (ABI_CONSOLE_RING_SIZE - 1)] = byte;
    __atomic_store_n(&r->written, r->written + 1, __ATOMIC_RELEASE);
    if (byte == '\n' || g->line_len == GUEST_LINE_SIZE)
        guest_flush_line(g);
    g->line_tsc = g->platform.clock.now;
    if (byte == '\t' || (byte >= ' ' && byte != 0x7f))
        g->line[g->line_len++] = (char)byte;
}

static void on_reset(void *ctx, const char *how)
{
    struct guest *g = ctx;

    vcpu_stop(&g->vcpu, ABI_GUEST_STOPPED, "the guest reset itself (%s)", how);
}

static void on_exit_port(void *ctx, uint32_t code)
{
    struct guest *g = ctx;

    g->status->exit_code = code;
    vcpu_stop(&g->vcpu, ABI_GUEST_STOPPED, "the guest exited with code %u", code);
}

void guest_on_transmit(void *ctx, const uint8_t *frame, size_t len)
{
    struct guest *g = ctx;

    g->status->frames_sent++;
    net_send((unsigned)g->switch_port, frame, len, arch_tsc());
}

/* From the switch, on any core. */
void guest_on_frame(void *ctx, const uint8_t *frame, size_t len)
{
    struct guest *g = ctx;

    if (!virtio_net_rx_push(&g->platform.net, frame, len)) {
        __atomic_fetch_add(&g->status->frames_dropped, 1, __ATOMIC_RELAXED);
        return;
    }
    __atomic_fetch_add(&g->status->frames_received, 1, __ATOMIC_RELAXED);
    if (arch_tsc() < __atomic_load_n(&g->quiet_until, __ATOMIC_RELAXED))
        __atomic_fetch_or(&g->vcpu.requests, VCPU_REQ_NET, __ATOMIC_ACQ_REL);
    else
        core_request(&g->vcpu, VCPU_REQ_NET);
}

/* ---- start and end ---- */

void guest_begin_start(struct guest *g)
{
    if (g->management)
        image_drop_unfinished(g);
    g->phase = GUEST_CLEARING;
    g->cleared = 0;
}

/* The bytes of source n of its plan. */
static bool source_of(const struct guest *g, unsigned n, const uint8_t **data, uint64_t *size)
{
    const struct guest_config *c = &g->config;

    if (n == LOAD_FROM_BYTES) {
        *data = g->plan.bytes;
        *size = g->plan.byte_count;
        return true;
    }
    return image_source(n == LOAD_FROM_IMAGE ? c->image : c->modules[n - LOAD_FROM_MODULE].file,
                        data, size);
}

/* Of images that came with the ISO: as trusted as the root itself. */
static int plan_image(struct guest *g, struct load_error *e)
{
    const struct guest_config *c = &g->config;
    struct load_request r = {
        .module_count = c->module_count, .tsc_hz = arch_tsc_hz(), .memory = g->mem.size};

    r.image.args = c->cmdline;
    if (!source_of(g, LOAD_FROM_IMAGE, &r.image.data, &r.image.size)) {
        (void)fmt(e->text, sizeof(e->text), "image \"%s\" is not among the boot modules", c->image);
        return -E_NOENT;
    }
    for (unsigned i = 0; i < c->module_count && i < LOAD_MODULES_MAX; i++) {
        r.modules[i].args = c->modules[i].args;
        if (!source_of(g, LOAD_FROM_MODULE + i, &r.modules[i].data, &r.modules[i].size)) {
            (void)fmt(e->text, sizeof(e->text), "module \"%s\" is not among the boot modules",
                      c->modules[i].file);
            return -E_NOENT;
        }
    }
    return load_guest(&r, &g->plan, e);
}

/* The devices, the vCPU, and off it goes: each a step of its own. */
static void start_devices(struct guest *g)
{
    const struct platform_host host = {
        .ctx = g, .console = on_console, .reset = on_reset, .exit = on_exit_port};
    uint64_t now = arch_tsc(), hz = arch_tsc_hz();

    if (platform_init(&g->platform, g->config.devices, now, hz, boot_epoch + (now - boot_tsc) / hz,
                      g->mem.size, &host)) {
        guest_fail(g, "its devices cannot be put together");
        return;
    }
    if (g->config.devices & DEV_NET)
        virtio_net_reset(&g->platform.net);
    g->phase = GUEST_STARTING;
}

static void start_vcpu(struct guest *g)
{
    memset(&g->vcpu.regs, 0, sizeof(g->vcpu.regs));
    g->vcpu.halted = false;
    g->vcpu.nmi = false;
    g->vcpu.wake_late = NEVER;
    g->vcpu.stop = false;
    if (virt_backend()->vcpu_init(&g->vcpu, &g->plan.start)) {
        guest_fail(g, "its virtual CPU cannot be set up");
        return;
    }
    g->phase = GUEST_LAUNCHING;
}

static void go_live(struct guest *g)
{
    virt_backend()->snapshot(&g->vcpu, ABI_SNAPSHOT_LAUNCH, ABI_CAUSE_LAUNCH);
    g->heartbeat = arch_tsc();
    g->phase = GUEST_LIVE;
    guest_set_image_kind(g, g->plan.start.kind);
    guest_set_state(g, ABI_GUEST_RUNNING, "");
    log_info("guest %s: started (%s, %lu KiB, core %u)", g->config.name, g->plan.start.kind,
             g->mem.size >> 10, g->vcpu.core);
}

/* One step; true when all of it is done. */
static bool clear_step(struct guest *g)
{
    uint64_t n = min_u64(GUEST_STEP, g->mem.size - g->cleared);

    memset(g->mem.base + g->cleared, 0, n);
    g->cleared += n;
    return g->cleared == g->mem.size;
}

/* A piece of the plan, or a part of it. */
static bool copy_step(struct guest *g)
{
    const struct load_piece *p = &g->plan.pieces[g->copied_pieces];
    const uint8_t *data;
    uint64_t n, size;

    if (g->copied_pieces == g->plan.piece_count)
        return true;
    n = min_u64(GUEST_STEP, p->size - g->copied);
    if (!source_of(g, p->source, &data, &size) ||
        gmem_write(&g->mem, gpa(p->address + g->copied), data + p->offset + g->copied, n))
        panic("the load plan of guest %s is not what was checked", g->config.name);
    g->copied += n;
    if (g->copied == p->size) {
        g->copied = 0;
        g->copied_pieces++;
    }
    return g->copied_pieces == g->plan.piece_count;
}

static void begin_copying(struct guest *g)
{
    struct load_error e = {{0}};

    g->copied_pieces = 0;
    g->copied = 0;
    if (!g->planned && plan_image(g, &e))
        guest_fail(g, e.text);
    else
        g->phase = GUEST_COPYING;
}

static void start_step(struct guest *g)
{
    switch (g->phase) {
    case GUEST_CLEARING:
        if (clear_step(g))
            begin_copying(g);
        break;
    case GUEST_COPYING:
        if (copy_step(g))
            start_devices(g);
        break;
    case GUEST_STARTING:
        start_vcpu(g);
        break;
    case GUEST_LAUNCHING:
        go_live(g);
        break;
    case GUEST_BUILDING:
        guest_build_step(g);
        break;
    case GUEST_SCRUBBING:
        guest_scrub_step(g);
        break;
    case GUEST_IDLE:
    case GUEST_LIVE:
    case GUEST_PAUSED:
    case GUEST_GONE:
        break;
    }
}

static bool is_in_small_steps(const struct guest *g)
{
    return g->phase == GUEST_CLEARING || g->phase == GUEST_COPYING || g->phase == GUEST_SCRUBBING;
}

void guest_advance(struct guest *g, uint64_t until)
{
    do
        start_step(g);
    /* The last steps are long ones: one at a time, whatever the time. */
    while (is_in_small_steps(g) && arch_tsc() < until);
}

/* Held back only after short lives: 100 ms, then twice as long each time, at most 12.8 s. The
 * management guest is back at once the first time. */
static uint64_t restart_time(struct guest *g, uint64_t now)
{
    uint64_t hz = arch_tsc_hz();
    uint32_t n;

    if (now - g->status->started_tsc > SHORT_LIFE_SECONDS * hz)
        g->deaths_in_a_row = 0;
    n = g->deaths_in_a_row++;
    if (n == 0)
        return now;
    n = n - 1 < BACKOFF_DOUBLINGS_MAX ? n - 1 : BACKOFF_DOUBLINGS_MAX;
    return now + ((uint64_t)BACKOFF_MS << n) * (hz / 1000);
}

static bool wants_restart(const struct guest *g)
{
    const struct abi_guest *s = g->status;

    switch (g->config.restart) {
    case RESTART_ALWAYS:
        return true;
    case RESTART_ON_FAILURE:
        return s->state == ABI_GUEST_CRASHED || s->exit_code != 0;
    case RESTART_NEVER:
        break;
    }
    return false;
}

static void finish(struct guest *g)
{
    guest_flush_line(g);
    virt_backend()->snapshot(&g->vcpu, ABI_SNAPSHOT_DEATH, ABI_CAUSE_DEATH);
    virt_backend()->vcpu_free(&g->vcpu);
    g->phase = GUEST_IDLE;
    g->vcpu.halted = false;
    log_info("guest %s: %s: %s", g->config.name,
             g->status->state == ABI_GUEST_CRASHED ? "crashed" : "stopped", g->status->why);
}

/* After so many short lives another one is not tried. */
static bool gives_up(const struct guest *g)
{
    uint32_t limit = g->config.restart_limit;

    if (!limit || g->deaths_in_a_row <= limit)
        return false;
    log_warn("guest %s: not started again: it ended %u times within %u seconds of its start",
             g->config.name, g->deaths_in_a_row, SHORT_LIFE_SECONDS);
    return true;
}

uint64_t guest_ended(struct guest *g)
{
    uint64_t again;

    finish(g);
    if (!wants_restart(g))
        return NEVER;
    again = restart_time(g, arch_tsc());
    if (gives_up(g))
        return NEVER;
    guest_begin_start(g);
    g->status->restarts++;
    return again;
}

void guest_pause(struct guest *g)
{
    g->phase = GUEST_PAUSED;
    g->paused_at = arch_tsc();
    guest_set_paused(g, true);
}

void guest_resume(struct guest *g)
{
    uint64_t now = arch_tsc();

    if (g->config.paused_clock == PAUSED_CLOCK_STOPS) {
        platform_shift(&g->platform, now - g->paused_at);
        virt_backend()->shift_tsc(&g->vcpu, now - g->paused_at);
    }
    g->platform.clock.now = now;
    if (g->config.devices & DEV_NET)
        platform_frames_wait(&g->platform); /* some may have come meanwhile */
    g->phase = GUEST_LIVE;
    guest_set_paused(g, false);
}

void guest_end(struct guest *g, const char *why)
{
    if (!guest_has_vcpu(g))
        return;
    vcpu_stop(&g->vcpu, ABI_GUEST_STOPPED, "%s", why);
    finish(g);
}

void guest_feed_input(struct guest *g)
{
    if (g->phase != GUEST_LIVE)
        return;
    spin_lock(&g->input_lock);
    while (g->input_tail != g->input_head &&
           platform_console_input(&g->platform, g->input[g->input_tail % GUEST_INPUT_SIZE]))
        g->input_tail++;
    spin_unlock(&g->input_lock);
}

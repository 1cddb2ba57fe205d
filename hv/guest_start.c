#include "hv/arch.h"
#include "hv/core.h"
#include "hv/flat.h"
#include "hv/fmt.h"
#include "hv/guest_life.h"
#include "hv/guest_pages.h"
#include "hv/image.h"
#include "hv/job.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/panic.h"

/* Between two tries to start a management guest whose image cannot be used. */
#define RETRY_SECONDS 10u

static uint64_t boot_epoch, boot_tsc;

void guest_life_init(uint64_t epoch, uint64_t tsc)
{
    boot_epoch = epoch;
    boot_tsc = tsc;
}

/* ---- calls from the platform ---- */

static void on_console(void *ctx, uint8_t byte)
{
    struct guest *g = ctx;
    struct abi_ring *r = g->console;

    r->data[r->written & (ABI_CONSOLE_RING_SIZE - 1)] = byte;
    __atomic_store_n(&r->written, r->written + 1, __ATOMIC_RELEASE);
    log_console_grew();
}

static void on_reset(void *ctx, const char *how)
{
    struct guest *g = ctx;

    (void)guest_end(g, ABI_GUEST_STOPPED, "the guest reset itself (%s)", how);
}

static void on_power_off(void *ctx, const char *how)
{
    struct guest *g = ctx;

    (void)guest_end(g, ABI_GUEST_STOPPED, "the guest powered itself off (%s)", how);
}

static void on_exit_port(void *ctx, uint32_t code)
{
    struct guest *g = ctx;

    g->status->exit_code = code;
    (void)guest_end(g, ABI_GUEST_STOPPED, "the guest exited with code %u", code);
}

static void on_kick(void *ctx, unsigned vcpu)
{
    struct guest *g = ctx;

    core_kick_vcpu(&g->vcpus[vcpu]);
}

static void on_notify(void *ctx, unsigned vcpu)
{
    struct guest *g = ctx;

    core_notify_vcpu(&g->vcpus[vcpu]);
}

/* After INIT vCPU 0 would start its firmware, and with it the whole PC. */
static void on_ipi(void *ctx, unsigned vcpu, enum platform_ipi kind, uint8_t vector)
{
    struct guest *g = ctx;

    if (kind == PLATFORM_INIT && vcpu == 0)
        on_reset(g, "INIT of vCPU 0");
    else
        vcpu_post(&g->vcpus[vcpu], kind, vector);
}

/* ---- the steps ---- */

void guest_begin_start(struct guest *g)
{
    guest_set_phase(g, GUEST_CLEARING);
    g->life.cleared_ranges = 0;
    g->life.cleared = 0;
    g->life.shift = 0;
    g->life.by_request = g->life.end_requested = false;
    /* What was typed for the life before is not for this one. */
    __atomic_store_n(&g->input_tail, __atomic_load_n(&g->input_head, __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);
    __atomic_store_n(&g->life.end, END_NOT, __ATOMIC_RELEASE);
    g->status->exit_code = 0;
    guest_set_state(g, ABI_GUEST_STARTING, "");
}

/* The bytes of source n of its plan. */
static struct image_source source_of(const struct guest *g, unsigned n)
{
    if (n == LOAD_FROM_BYTES)
        return (struct image_source){g->plan.bytes, g->plan.byte_count};
    return g->sources[n];
}

/* The devices, in steps; then the vCPUs, by themselves. */
static void start_devices(struct guest *g)
{
    const struct platform_host host = {.ctx = g,
                                       .console = on_console,
                                       .reset = on_reset,
                                       .power_off = on_power_off,
                                       .exit = on_exit_port,
                                       .kick = on_kick,
                                       .notify = on_notify,
                                       .ipi = on_ipi};
    uint64_t now = arch_tsc(), hz = arch_tsc_hz();
    unsigned step = g->life.step++, slots = platform_slots();

    g->platform.vcpus = g->vcpu_count;
    if (step == 0) {
        platform_disconnect(&g->platform);
        return;
    }
    if (step <= slots) {
        if (platform_connect(&g->platform, g->config.devices, step - 1))
            guest_fail(g, "its devices cannot be set up");
        return;
    }
    if (step == slots + 1) {
        g->platform.timer_ticks = g->config.timer_ticks;
        g->platform.virtio = g->config.virtio;
        platform_reset(&g->platform, g->config.devices, now, hz, boot_epoch + (now - boot_tsc) / hz,
                       g->config.memory, &host);
        return;
    }
    if (step < 2 * slots + 2) {
        platform_plug(&g->platform, step - slots - 2);
        return;
    }
    if (g->config.watchdog_ms && platform_watch(&g->platform, hz / 1000 * g->config.watchdog_ms)) {
        guest_fail(g, "its watchdog's port is taken");
        return;
    }
    guest_enter_phase(g, GUEST_MAKING);
    guest_order(g, VCPU_HELD);
}

/* The next pass enters it. */
static void note_first_entry(const struct guest *g)
{
    struct abi_host *h = guest_pages()->host;
    uint64_t *at = g->management ? &h->first_entry_tsc : &h->first_guest_tsc, never = 0;

    (void)__atomic_compare_exchange_n(at, &never, arch_tsc(), false, __ATOMIC_RELAXED,
                                      __ATOMIC_RELAXED);
}

static void go_live(struct guest *g)
{
    struct guest_life *l = &g->life;

    if (l->step++ == 0) {
        log_guest(g, "started (%s, %lu KiB, core %u)", g->plan.start.kind, g->config.memory >> 10,
                  l->entity.core);
        return;
    }
    l->heartbeat = arch_tsc();
    /* This runs in its own turn: the wait for that turn is counted when the turn is over. */
    watchdog_start(&g->platform.watchdog, l->heartbeat, 0);
    g->platform.watchdog.written = true;
    if (g->config.shared_count)
        platform_bells_ring(&g->platform); /* some may have come since its devices were reset */
    guest_enter_phase(g, GUEST_LIVE);
    guest_set_image_kind(g, g->plan.start.kind);
    guest_set_state(g, ABI_GUEST_RUNNING, "");
    note_first_entry(g);
    guest_order(g, VCPU_LIVE);
}

/* One step; true when all of it is done. */
static bool clear_step(struct guest *g)
{
    const struct gmem_range r = gmem_range(&g->mem, g->life.cleared_ranges);
    uint64_t n = min_u64(GUEST_STEP, r.size - g->life.cleared);

    memset(r.base + g->life.cleared, 0, n);
    g->life.cleared += n;
    if (g->life.cleared < r.size)
        return false;
    g->life.cleared = 0;
    g->life.cleared_ranges++;
    return g->life.cleared_ranges == gmem_range_count(&g->mem);
}

/* A piece of the plan, or a part of it. */
static bool copy_step(struct guest *g)
{
    const struct load_piece *p = &g->plan.pieces[g->life.copied_pieces];
    struct image_source from;
    uint64_t n;

    if (g->life.copied_pieces == g->plan.piece_count)
        return true;
    n = min_u64(GUEST_STEP, p->size - g->life.copied);
    from = source_of(g, p->source);
    if (gmem_write(&g->mem, gpa(p->address + g->life.copied),
                   from.data + p->offset + g->life.copied, n))
        panic("the load plan of guest %s is not what was checked", g->config.name);
    g->life.copied += n;
    if (g->life.copied == p->size) {
        g->life.copied = 0;
        g->life.copied_pieces++;
    }
    return g->life.copied_pieces == g->plan.piece_count;
}

/* A job for the management guest: its image is the only one that the root examines. */
static void plan_management(void *guest)
{
    struct guest *g = guest;
    struct image_source image = image_of_management();

    g->unplanned = "no boot module is called bulkhead:management";
    if (image.data &&
        flat_plan(image.data, image.size, g->mem.size, &g->plan, &g->unplanned) == 0) {
        g->sources[0] = image;
        g->planned = true;
    }
}

static void begin_copying(struct guest *g)
{
    g->life.copied_pieces = 0;
    g->life.copied = 0;
    guest_enter_phase(g, GUEST_COPYING);
}

/* Without management nothing can control this machine: its start is tried again and again. */
static void planning_step(struct guest *g)
{
    char why[ABI_TEXT_MAX];

    if (g->planned) {
        begin_copying(g);
    } else if (!g->unplanned) {
        job_begin(&g->life.job, g->number, plan_management, g);
    } else {
        (void)fmt(why, sizeof(why), "its image cannot be used: %s", g->unplanned);
        g->unplanned = NULL;
        guest_fail(g, why);
        guest_hold_back(g, arch_tsc() + RETRY_SECONDS * arch_tsc_hz());
    }
}

void guest_start_step(struct guest *g)
{
    switch (g->life.phase) {
    case GUEST_CLEARING:
        if (clear_step(g))
            guest_set_phase(g, GUEST_PLANNING);
        break;
    case GUEST_PLANNING:
        planning_step(g);
        break;
    case GUEST_COPYING:
        if (copy_step(g))
            guest_enter_phase(g, GUEST_STARTING);
        break;
    case GUEST_STARTING:
        start_devices(g);
        break;
    case GUEST_LAUNCHING:
        go_live(g);
        break;
    default:
        break;
    }
}

/* Does in one go what later takes many steps, and does not clear what the image covers. */
void guest_make_ready(struct guest *g)
{
    const struct load_piece *p = &g->plan.pieces[0];

    guest_begin_start(g);
    plan_management(g);
    if (!g->planned)
        return;
    memset(g->mem.base, 0, p->address);
    memset(g->mem.base + p->address + p->size, 0, g->mem.size - p->address - p->size);
    begin_copying(g);
    while (!copy_step(g))
        ;
    guest_enter_phase(g, GUEST_STARTING);
}

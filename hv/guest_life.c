#include "hv/guest_life.h"

#include "hv/arch.h"
#include "hv/core.h"
#include "hv/fmt.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/net.h"
#include "hv/panic.h"

/* Clearing and copying go in steps of this many bytes, so that a slice ends on time also while a
 * guest is being made ready. */
#define START_STEP            (16u << 10)
/* A guest that ends sooner than this after its start is held back before its next start. */
#define SHORT_LIFE_SECONDS    10u
#define BACKOFF_MS            100u
#define BACKOFF_DOUBLINGS_MAX 7u
#define POOL_PAGES            16u
/* A line without its end is shown after 1/20 s: it is a prompt, not a line on its way. */
#define PROMPT_RATE           20u
#define BELOW_4G              (4ull << 30)
#define EXITS_SIZE            (ABI_EXITS * sizeof(struct abi_exit))

static struct {
    struct mem_map *map;
    struct spinlock map_lock;
    const struct virt_ops *ops;
    uint64_t boot_epoch, boot_tsc;
    struct guest *guests[ABI_GUESTS_MAX];
    struct guest *management;
    struct abi_host *host;
    struct abi_caps *caps; /* one a core */
    struct abi_events *events;
    struct spinlock events_lock;
} life;

struct guest *guest_get(unsigned number)
{
    return number < ABI_GUESTS_MAX ? life.guests[number] : NULL;
}

struct abi_host *guest_host_page(void)
{
    return life.host;
}

struct abi_caps *guest_caps_page(void)
{
    return life.caps;
}

struct guest *guest_management(void)
{
    return life.management;
}

static void *alloc_bytes(uint64_t size, uint64_t align, enum mem_owner_kind kind, unsigned guest)
{
    hpa_t a;
    int rc;

    spin_lock(&life.map_lock);
    rc = mem_alloc(life.map, size, align, BELOW_4G, kind, guest, &a);
    if (rc == -E_NOMEM)
        rc = mem_alloc(life.map, size, align, NEVER, kind, guest, &a);
    spin_unlock(&life.map_lock);
    return rc ? NULL : arch_ptr(a);
}

static void *alloc_zeroed(uint64_t size, enum mem_owner_kind kind, unsigned guest)
{
    void *p = alloc_bytes(align_up(size, PAGE_SIZE), PAGE_SIZE, kind, guest);

    if (p)
        memset(p, 0, align_up(size, PAGE_SIZE));
    return p;
}

int guest_setup(struct mem_map *map, const struct virt_ops *ops, uint64_t boot_epoch,
                uint64_t boot_tsc)
{
    int rc;

    life.map = map;
    life.ops = ops;
    life.boot_epoch = boot_epoch;
    life.boot_tsc = boot_tsc;
    net_init();
    life.host = alloc_zeroed(ABI_HOST_SIZE, MEM_SHARED, 0);
    life.caps = alloc_zeroed(ABI_CAPS_SIZE, MEM_SHARED, 0);
    life.events = alloc_zeroed(ABI_EVENTS_SIZE, MEM_SHARED, 0);
    if (!life.host || !life.caps || !life.events)
        return -E_NOMEM;
    /* The log ring lies in the kernel's own image; its pages become shared ones. */
    rc = mem_add(map, arch_hpa(log_ring()).v, sizeof(struct abi_ring) + ABI_LOG_RING_SIZE,
                 MEM_SHARED, 0);
    return rc;
}

/* Pages come from small pools, so that a guest's tables lie together and the owner map stays short.
 * Never given back: a guest keeps its number. */
void *guest_alloc_page(struct guest *g)
{
    void *page;

    if (!g->free_pages) {
        uint8_t *pool = alloc_bytes(POOL_PAGES * PAGE_SIZE, PAGE_SIZE, MEM_EPT, g->number);

        if (!pool)
            return NULL;
        for (unsigned i = 0; i < POOL_PAGES; i++)
            guest_free_page(g, pool + i * PAGE_SIZE);
    }
    page = g->free_pages;
    memcpy(&g->free_pages, page, sizeof(void *));
    memset(page, 0, PAGE_SIZE);
    return page;
}

void guest_free_page(struct guest *g, void *page)
{
    memcpy(page, &g->free_pages, sizeof(void *));
    g->free_pages = page;
}

/* The status page is written by one core at a time; readers copy until the sequence is even and
 * unchanged. */
static void status_begin(struct guest *g)
{
    __atomic_fetch_add(&g->status->sequence, 1, __ATOMIC_ACQ_REL);
}

static void status_end(struct guest *g)
{
    __atomic_fetch_add(&g->status->sequence, 1, __ATOMIC_RELEASE);
}

/* Whoever watches is told. */
static void tell_management(const struct guest *g)
{
    if (life.management && life.management != g)
        core_request(&life.management->vcpu, VCPU_REQ_EVENT);
}

static void note_event(const struct guest *g)
{
    struct abi_event *e;
    uint64_t n;

    spin_lock(&life.events_lock);
    n = life.events->newest + 1;
    e = &life.events->ring[(n - 1) % ABI_EVENTS];
    __atomic_store_n(&e->sequence, 0, __ATOMIC_RELAXED);
    __atomic_thread_fence(__ATOMIC_RELEASE);
    e->tsc = arch_tsc();
    e->guest = g->number;
    e->state = g->status->state;
    e->restarts = g->status->restarts;
    memcpy(e->name, g->status->name, sizeof(e->name));
    memcpy(e->why, g->status->why, sizeof(e->why));
    __atomic_store_n(&e->sequence, n, __ATOMIC_RELEASE);
    __atomic_store_n(&life.events->newest, n, __ATOMIC_RELEASE);
    spin_unlock(&life.events_lock);
    tell_management(g);
}

static void set_state(struct guest *g, enum abi_guest_state state, const char *why)
{
    status_begin(g);
    g->status->state = state;
    (void)str_copy(g->status->why, sizeof(g->status->why), why);
    if (state == ABI_GUEST_RUNNING)
        g->status->started_tsc = arch_tsc();
    else
        g->status->stopped_tsc = arch_tsc();
    status_end(g);
    note_event(g);
}

/* Of a guest that goes on living. */
static void set_paused(struct guest *g, bool paused)
{
    status_begin(g);
    g->status->state = paused ? ABI_GUEST_PAUSED : ABI_GUEST_RUNNING;
    status_end(g);
    log_info("guest %s: %s", g->config.name, paused ? "paused" : "resumed");
    note_event(g);
}

static void fail(struct guest *g, const char *why)
{
    set_state(g, ABI_GUEST_FAILED, why);
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
    set_state(v->guest, state, why);
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

static void on_transmit(void *ctx, const uint8_t *frame, size_t len)
{
    struct guest *g = ctx;

    g->status->frames_sent++;
    net_send((unsigned)g->switch_port, frame, len, arch_tsc());
}

/* From the switch, on any core. */
static void on_frame(void *ctx, const uint8_t *frame, size_t len)
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

/* ---- creation ---- */

static void fill_status(struct guest *g)
{
    const struct guest_config *c = &g->config;
    struct abi_guest *s = g->status;

    s->flags = g->management ? (uint32_t)ABI_GUEST_MANAGEMENT : 0;
    s->vcpu_count = 1;
    (void)str_copy(s->name, sizeof(s->name), c->name);
    (void)str_copy(s->image, sizeof(s->image), c->image);
    (void)str_copy(s->cmdline, sizeof(s->cmdline), c->cmdline);
    s->memory = c->memory;
    s->weight = c->weight;
    s->slice_us = c->slice_us;
    s->budget_us = c->budget_us;
    s->period_us = c->period_us;
    s->restart = (uint32_t)c->restart;
    s->restart_limit = c->restart_limit;
    s->paused_clock = (uint32_t)c->paused_clock;
    s->devices = c->devices;
    s->exit_profile = (uint16_t)c->exit_profile;
}

static int map_shared(struct guest *g, uint64_t at, const void *pages, uint64_t size)
{
    return life.ops->map(g, gpa(at), arch_hpa(pages), align_up(size, PAGE_SIZE), MAP_R);
}

/* Everything another guest shows goes into the management guest's address space, read-only. */
static int map_control_pages(struct guest *m)
{
    int rc = map_shared(m, ABI_HOST_GPA, life.host, ABI_HOST_SIZE);

    if (rc == 0)
        rc = map_shared(m, ABI_CAPS_GPA, life.caps, ABI_CAPS_SIZE);
    if (rc == 0)
        rc = map_shared(m, ABI_EVENTS_GPA, life.events, ABI_EVENTS_SIZE);
    if (rc == 0)
        rc = map_shared(m, ABI_LOG_GPA, log_ring(), sizeof(struct abi_ring) + ABI_LOG_RING_SIZE);
    for (unsigned i = 0; rc == 0 && i < ABI_GUESTS_MAX; i++) {
        const struct guest *g = life.guests[i];

        if (!g)
            continue;
        rc = map_shared(m, ABI_GUEST_GPA(i), g->status, ABI_GUEST_SIZE);
        if (rc == 0)
            rc = map_shared(m, ABI_SNAPSHOT_GPA(i), g->snapshots,
                            ABI_SNAPSHOTS * sizeof(struct abi_snapshot));
        if (rc == 0)
            rc = map_shared(m, ABI_EXITS_GPA(i), g->exits, EXITS_SIZE);
        if (rc == 0)
            rc = map_shared(m, ABI_BITMAPS_GPA(i), g->bitmaps, ABI_BITMAPS_SIZE);
        if (rc == 0)
            rc = map_shared(m, ABI_CONSOLE_GPA(i), g->console,
                            sizeof(struct abi_ring) + ABI_CONSOLE_RING_SIZE);
        if (rc == 0)
            life.host->guests |= 1u << i;
    }
    return rc;
}

static const char *set_up_net(struct guest *g)
{
    const struct virtio_net_host host = {.ctx = g, .transmit = on_transmit};
    /* Locally administered, the same at each start of the machine: number in the last byte. */
    const uint8_t mac[6] = {0x52, 0x42, 0x48, 0, 0, (uint8_t)g->number};

    g->rx_ring =
        alloc_zeroed(VIRTIO_NET_RX_RING * sizeof(struct virtio_net_frame), MEM_EPT, g->number);
    if (!g->rx_ring)
        return "out of host memory for network buffers";
    memcpy(g->status->mac, mac, sizeof(mac));
    virtio_net_init(&g->platform.net, &g->mem, mac, g->rx_ring, &host);
    g->switch_port = net_attach(on_frame, g);
    if (g->switch_port < 0)
        return "no free port on the virtual switch";
    return net_set_address((unsigned)g->switch_port, mac) ? "its network address is taken" : NULL;
}

static const char *set_up_memory(struct guest *g, char *text, size_t size)
{
    uint64_t align = g->config.memory >= PAGE_SIZE_1G ? PAGE_SIZE_1G : PAGE_SIZE_2M;

    g->mem.base = alloc_bytes(g->config.memory, align, MEM_GUEST, g->number);
    if (!g->mem.base)
        g->mem.base = alloc_bytes(g->config.memory, PAGE_SIZE_2M, MEM_GUEST, g->number);
    if (!g->mem.base) {
        (void)fmt(text, size, "not enough memory: %lu KiB asked, largest free piece %lu KiB",
                  g->config.memory >> 10, mem_largest(life.map, PAGE_SIZE_2M) >> 10);
        return text;
    }
    g->mem.size = g->config.memory;
    if (life.ops->guest_init(g) ||
        life.ops->map(g, gpa(0), arch_hpa(g->mem.base), g->mem.size, MAP_RWX))
        return "out of host memory for translation tables";
    return NULL;
}

static int alloc_shared_pages(struct guest *g)
{
    g->status = alloc_zeroed(ABI_GUEST_SIZE, MEM_SHARED, 0);
    g->snapshots = alloc_zeroed(ABI_SNAPSHOTS * sizeof(struct abi_snapshot), MEM_SHARED, 0);
    g->bitmaps = alloc_zeroed(ABI_BITMAPS_SIZE, MEM_SHARED, 0);
    g->console = alloc_zeroed(sizeof(struct abi_ring) + ABI_CONSOLE_RING_SIZE, MEM_SHARED, 0);
    g->exits = alloc_bytes(EXITS_SIZE, 2 * EXITS_SIZE, MEM_SHARED, 0);
    if (!g->status || !g->snapshots || !g->bitmaps || !g->console || !g->exits)
        return -E_NOMEM;
    memset(g->exits, 0, EXITS_SIZE);
    g->vcpu.exit = &g->exits[ABI_EXITS - 1];
    g->console->size = ABI_CONSOLE_RING_SIZE;
    return 0;
}

struct guest *guest_create(unsigned number, const struct guest_config *c, bool management)
{
    char text[ABI_TEXT_MAX];
    const char *why;
    struct guest *g;

    if (number >= ABI_GUESTS_MAX || life.guests[number])
        return NULL;
    g = alloc_zeroed(sizeof(*g), MEM_HOST, 0);
    if (!g)
        return NULL;
    g->number = number;
    g->config = *c;
    g->management = management;
    if (alloc_shared_pages(g))
        return NULL;
    life.guests[number] = g;
    g->vcpu.guest = g;
    g->vcpu.stats = &g->status->vcpus[0];
    g->vcpu.platform = &g->platform;
    fill_status(g);
    why = set_up_memory(g, text, sizeof(text));
    if (!why && (c->devices & DEV_NET))
        why = set_up_net(g);
    if (!why && management && map_control_pages(g))
        why = "the control pages cannot be mapped";
    if (management) {
        life.management = g;
        life.host->self = number;
    }
    g->complete = !why;
    if (why)
        fail(g, why);
    else
        guest_begin_start(g);
    return g;
}

int guest_audit_all(void)
{
    char text[ABI_TEXT_MAX];
    int rc = 0;

    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        if (!life.guests[i] || !life.guests[i]->backend)
            continue;
        if (life.ops->audit(life.guests[i], life.map, text, sizeof(text))) {
            log_warn("guest %s: isolation audit failed: %s", life.guests[i]->config.name, text);
            rc = -E_PERM;
        }
    }
    return rc;
}

/* ---- start and end ---- */

void guest_begin_start(struct guest *g)
{
    g->phase = GUEST_CLEARING;
    g->cleared = 0;
}

const struct arch_module *guest_module(const char *name)
{
    for (unsigned i = 0; i < arch_module_count(); i++)
        if (strcmp(arch_module(i)->name, name) == 0)
            return arch_module(i);
    return NULL;
}

static int defer_copy(void *ctx, uint8_t *to, const uint8_t *from, uint64_t size)
{
    struct guest *g = ctx;

    if (g->copy_count == GUEST_COPIES_MAX)
        return -E_NOSPC;
    g->copies[g->copy_count++] = (struct guest_copy){to, from, size};
    return 0;
}

static int load_image(struct guest *g, struct load_result *start, struct load_error *e)
{
    const struct guest_config *c = &g->config;
    const struct arch_module *image = guest_module(c->image);
    struct load_request r = {.module_count = c->module_count,
                             .tsc_hz = arch_tsc_hz(),
                             .copy = defer_copy,
                             .copy_ctx = g};

    if (!image) {
        (void)fmt(e->text, sizeof(e->text), "image \"%s\" is not among the boot modules", c->image);
        return -E_NOENT;
    }
    r.image = (struct load_blob){image->data, image->size, c->cmdline};
    for (unsigned i = 0; i < c->module_count; i++) {
        const struct arch_module *m = guest_module(c->modules[i].file);

        if (!m) {
            (void)fmt(e->text, sizeof(e->text), "module \"%s\" is not among the boot modules",
                      c->modules[i].file);
            return -E_NOENT;
        }
        r.modules[i] = (struct load_blob){m->data, m->size, c->modules[i].args};
    }
    return load_guest(&r, &g->mem, start, e);
}

/* The devices, the vCPU, and off it goes: each a step of its own. */
static void start_devices(struct guest *g)
{
    const struct platform_host host = {
        .ctx = g, .console = on_console, .reset = on_reset, .exit = on_exit_port};
    uint64_t now = arch_tsc(), hz = arch_tsc_hz();

    if (platform_init(&g->platform, g->config.devices, now, hz,
                      life.boot_epoch + (now - life.boot_tsc) / hz, g->mem.size, &host)) {
        fail(g, "its devices cannot be put together");
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
    if (life.ops->vcpu_init(&g->vcpu, &g->start)) {
        fail(g, "its virtual CPU cannot be set up");
        return;
    }
    g->phase = GUEST_LAUNCHING;
}

static void go_live(struct guest *g)
{
    life.ops->snapshot(&g->vcpu, ABI_SNAPSHOT_LAUNCH, ABI_CAUSE_LAUNCH);
    g->heartbeat = arch_tsc();
    g->phase = GUEST_LIVE;
    status_begin(g);
    (void)str_copy(g->status->image_kind, sizeof(g->status->image_kind), g->start.kind);
    status_end(g);
    set_state(g, ABI_GUEST_RUNNING, "");
    log_info("guest %s: started (%s, %lu KiB, core %u)", g->config.name, g->start.kind,
             g->mem.size >> 10, g->vcpu.core);
}

/* One step; true when all of it is done. */
static bool clear_step(struct guest *g)
{
    uint64_t n = min_u64(START_STEP, g->mem.size - g->cleared);

    memset(g->mem.base + g->cleared, 0, n);
    g->cleared += n;
    return g->cleared == g->mem.size;
}

static bool copy_step(struct guest *g)
{
    struct guest_copy *c;
    uint64_t n;

    if (g->copy_count == 0)
        return true;
    c = &g->copies[g->copy_count - 1];
    n = min_u64(START_STEP, c->size);
    memcpy(c->to, c->from, n);
    c->to += n;
    c->from += n;
    c->size -= n;
    if (c->size == 0)
        g->copy_count--;
    return g->copy_count == 0;
}

static void begin_copying(struct guest *g)
{
    struct load_error e = {{0}};

    g->copy_count = 0;
    if (load_image(g, &g->start, &e))
        fail(g, e.text);
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
    case GUEST_IDLE:
    case GUEST_LIVE:
    case GUEST_PAUSED:
        break;
    }
}

void guest_advance_start(struct guest *g, uint64_t until)
{
    do
        start_step(g);
    /* The last steps are long ones: one at a time, whatever the time. */
    while ((g->phase == GUEST_CLEARING || g->phase == GUEST_COPYING) && arch_tsc() < until);
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
    life.ops->snapshot(&g->vcpu, ABI_SNAPSHOT_DEATH, ABI_CAUSE_DEATH);
    life.ops->vcpu_free(&g->vcpu);
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
    set_paused(g, true);
}

void guest_resume(struct guest *g)
{
    uint64_t now = arch_tsc();

    if (g->config.paused_clock == PAUSED_CLOCK_STOPS) {
        platform_shift(&g->platform, now - g->paused_at);
        life.ops->shift_tsc(&g->vcpu, now - g->paused_at);
    }
    g->platform.clock.now = now;
    if (g->config.devices & DEV_NET)
        platform_frames_wait(&g->platform); /* some may have come meanwhile */
    g->phase = GUEST_LIVE;
    set_paused(g, false);
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

void guest_account_memory(void)
{
    struct abi_memory *m = &life.host->memory;

    spin_lock(&life.map_lock);
    m->free = mem_total(life.map, MEM_FREE);
    m->host = mem_total(life.map, MEM_HOST);
    m->modules = mem_total(life.map, MEM_MODULE);
    m->shared = mem_total(life.map, MEM_SHARED);
    m->guests = mem_total(life.map, MEM_GUEST);
    m->tables = mem_total(life.map, MEM_EPT);
    m->reserved = mem_total(life.map, MEM_RESERVED);
    spin_unlock(&life.map_lock);
    m->total = m->free + m->host + m->modules + m->shared + m->guests + m->tables;
}

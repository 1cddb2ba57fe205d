/*
 * The engine on the host: real cores, guests, vCPUs and control ABI over a fake backend, clock and
 * board. A core makes one pass of its run loop at a time, in any order that a test chooses. Time
 * advances when the clock is read, when guests run and when cores idle.
 */
#pragma once

#include "hv/arch.h"
#include "hv/config.h"
#include "hv/core.h"
#include "hv/fmt.h"
#include "hv/flat.h"
#include "hv/guest_life.h"
#include "hv/guest_pages.h"
#include "hv/hostmem.h"
#include "hv/image.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/mem.h"
#include "hv/net.h"
#include "hv/panic.h"
#include "hv/pc/irqchip.h"
#include "hv/plain.h"
#include "hv/virt.h"
#include "test/unit/hypercall.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define ENGINE_CORES 3u
#define HZ           1000000000ull
#define READ_TICKS   41u /* of looking at the clock */
#define IDLE_TICKS   50000u
#define HOST_BYTES   (96ull << 20)
#define SELF         0u /* the management guest */
#ifndef ENGINE_HOME
#define ENGINE_HOME 0u /* its core */
#endif

/* ---- clock and board ---- */

static uint64_t clock_now = 1;
static bool threads;                /* cores make their passes by themselves */
static _Thread_local unsigned self; /* a core may be a thread: test_engine_threads.c */
static unsigned kicks[ENGINE_CORES];

static uint64_t stall; /* for so long the core stands still after its next look at the clock */

uint64_t arch_test_clock(void)
{
    uint64_t now = __atomic_add_fetch(&clock_now, READ_TICKS, __ATOMIC_RELAXED);

    if (!threads && stall) {
        clock_now += stall;
        stall = 0;
    }
    return now;
}

static uint64_t present(void)
{
    return __atomic_load_n(&clock_now, __ATOMIC_RELAXED);
}

static void time_goes_to(uint64_t at)
{
    uint64_t now = __atomic_load_n(&clock_now, __ATOMIC_RELAXED);

    while (now < at && !__atomic_compare_exchange_n(&clock_now, &now, at, false, __ATOMIC_RELAXED,
                                                    __ATOMIC_RELAXED))
        continue;
}
uint64_t arch_tsc_hz(void)
{
    return HZ;
}
int arch_random_key(uint8_t *out, size_t size)
{
    memset(out, 0, size);
    return 0;
}
unsigned arch_core_count(void)
{
    return ENGINE_CORES;
}
unsigned arch_core_self(void)
{
    return self;
}
/* The memory of nodes; core n is on node engine_node[n]. */
static struct abi_near engine_near[2];
static unsigned engine_nears, engine_node[ENGINE_CORES];
unsigned arch_core_node(unsigned core)
{
    return engine_node[core];
}
static unsigned engine_physical[ENGINE_CORES];
unsigned arch_core_physical(unsigned core)
{
    return engine_physical[core];
}
const struct abi_near *arch_near_memory(unsigned i)
{
    return i < engine_nears ? &engine_near[i] : NULL;
}
unsigned arch_thread_count(void)
{
    return ENGINE_CORES;
}
uint32_t arch_core_apic_id(unsigned core)
{
    return core;
}
void arch_kick(unsigned core)
{
    (void)__atomic_add_fetch(&kicks[core], 1, __ATOMIC_RELAXED);
}
static uint32_t notifications[ENGINE_CORES];
void arch_notify(unsigned core)
{
    (void)__atomic_add_fetch(&notifications[core], 1, __ATOMIC_SEQ_CST);
}
void arch_idle(uint64_t deadline, const uint32_t *wake)
{
    if (!__atomic_load_n(wake, __ATOMIC_ACQUIRE))
        time_goes_to(min_u64(deadline, present() + IDLE_TICKS));
}
static unsigned reboots;
static jmp_buf rebooted;
_Noreturn void arch_reboot(void)
{
    reboots++;
    longjmp(rebooted, 1);
}
_Noreturn void panic(const char *format, ...)
{
    char text[300];
    va_list ap;

    va_start(ap, format);
    (void)fmt_v(text, sizeof(text), format, ap);
    va_end(ap);
    fail_msg("panic: %s", text);
    abort();
}

#define FILE_BYTES 64u
static struct {
    struct flat_header header;
    uint8_t bytes[FLAT_GROUP];
} __attribute__((aligned(4096))) management_image = {
    .header = {FLAT_MAGIC, 0x100000, 0x100000, FLAT_GROUP, FLAT_GROUP, 0xf4},
    .bytes = {0xf4},
};
static const uint8_t app[FILE_BYTES] __attribute__((aligned(4096))) = {0xf4};
static const struct arch_module modules[] = {
    {(const uint8_t *)&management_image, sizeof(management_image), CONFIG_MANAGEMENT_MODULE},
    {app, sizeof(app), "app.bin"},
};
unsigned arch_module_count(void)
{
    return ARRAY_LEN(modules);
}
const struct arch_module *arch_module(unsigned i)
{
    return &modules[i];
}

/* ---- log and network ---- */

static _Thread_local char last_line[512];
static unsigned lines, warnings;
#define NOTE_LINE()                                                                                \
    do {                                                                                           \
        va_list ap;                                                                                \
        va_start(ap, format);                                                                      \
        (void)fmt_v(last_line, sizeof(last_line), format, ap);                                     \
        va_end(ap);                                                                                \
        (void)__atomic_add_fetch(&lines, 1, __ATOMIC_RELAXED);                                     \
    } while (0)

void log_info(const char *format, ...)
{
    NOTE_LINE();
}
void log_warn(const char *format, ...)
{
    NOTE_LINE();
    (void)__atomic_add_fetch(&warnings, 1, __ATOMIC_RELAXED);
}
void log_guest(const struct guest *g, const char *format, ...)
{
    (void)g;
    NOTE_LINE();
}
void log_guest_warn(const struct guest *g, const char *format, ...)
{
    (void)g;
    NOTE_LINE();
    (void)__atomic_add_fetch(&warnings, 1, __ATOMIC_RELAXED);
}
void log_on_behalf(const char *format, ...)
{
    NOTE_LINE();
}
size_t log_plain(const char *text, size_t n, char *out, size_t room)
{
    struct plain p = {0};

    return plain_line(&p, text, n, out, room);
}

int log_management(const char *text, size_t n)
{
    (void)text;
    (void)n;
    return 0;
}
static unsigned log_polls;
uint64_t log_poll(void)
{
    log_polls++;
    return NEVER;
}
static bool log_waits;
bool log_is_due(uint64_t now)
{
    (void)now;
    return log_waits;
}
void log_source_open(unsigned number, const char *name, const struct abi_ring *ring)
{
    (void)number;
    (void)name;
    (void)ring;
}
void log_source_close(unsigned number)
{
    (void)number;
}
void log_console_grew(void)
{
}
struct abi_ring *log_ring(void)
{
    static struct {
        struct abi_ring ring;
        uint8_t data[ABI_LOG_RING_SIZE];
    } ring __attribute__((aligned(4096)));

    return &ring.ring;
}

static uint32_t ports; /* bits: taken */
static bool no_ports;
static unsigned sends_take; /* calls that a frame takes, after the first */
static bool frames_wait;
static unsigned polls;
void net_address(unsigned number, uint8_t mac[6])
{
    memset(mac, 2, 6);
    mac[5] = (uint8_t)number;
}
bool net_is_guarded(const struct net_address *a)
{
    (void)a;
    return false;
}
int net_attach(unsigned number, bool management, const struct net_config *config,
               net_deliver *deliver, void *ctx)
{
    (void)management;
    (void)config;
    (void)deliver;
    (void)ctx;
    if (no_ports)
        return -E_NOSPC;
    assert_false(ports >> number & 1);
    ports |= 1u << number;
    return (int)number;
}
void net_detach(unsigned port)
{
    assert_true(ports >> port & 1);
    ports &= ~(1u << port);
}
void net_set_offloads(unsigned port, const struct net_offloads *o)
{
    assert_true(ports >> port & 1);
    assert_non_null(o);
}
enum net_drop net_send(unsigned port, uint8_t *frame, size_t len, const struct net_offload *o,
                       uint64_t now, struct net_transfer *t)
{
    (void)port;
    (void)frame;
    (void)len;
    (void)o;
    (void)now;
    t->state = t->state ? t->state - 1 : (uint8_t)sends_take;
    return NET_PASSED;
}
void net_cancel(struct net_transfer *t)
{
    t->state = 0;
}
bool net_pending(void)
{
    return frames_wait;
}
uint64_t net_poll(uint64_t now)
{
    (void)now;
    polls++;
    frames_wait = false;
    return NEVER;
}

/* ---- a backend ---- */

#define MAPS_MAX (16u * 20u * ABI_VCPUS_MAX)
struct fake_guest {
    struct fake_map {
        uint64_t gpa, size;
        void *host;
        enum map_perm perm;
    } maps[MAPS_MAX];
    unsigned count;
};
struct fake_vcpu {
    bool made;      /* it has state; only its core may touch this */
    bool began;     /* vCPU 0: it has started the others */
    unsigned inits; /* steps */
    uint64_t shifted;
    unsigned resets, starts;
    uint8_t vector;
};
static struct fake_guest fake_guests[ABI_GUESTS_MAX];
static struct fake_vcpu fake_vcpus[ABI_GUESTS_MAX][ABI_VCPUS_MAX];
static bool fail_guest_init, fail_map, fail_vcpu_init, fail_audit;
static bool no_vmx[ENGINE_CORES];
static unsigned entries, flushes;
static _Thread_local struct vcpu *entered; /* now */

/* What a vCPU does when it runs; set by the test. */
enum deed { RUNS, SHORT, HALTS, DEAF, CRASHES, EXITS };
static enum deed (*behave)(struct vcpu *v);

static struct fake_vcpu *fake_of(const struct vcpu *v)
{
    return &fake_vcpus[v->guest->number][v->number];
}

/* Checks that the caller is the vCPU's core, and that no vCPU runs there. */
static void at_home(const struct vcpu *v)
{
    assert_int_equal(v->entity.core, self);
    assert_null(entered);
}

static int core_probe(unsigned core)
{
    if (no_vmx[core])
        log_warn("no VMX");
    return no_vmx[core] ? -E_NOTSUP : 0;
}
static int core_on(unsigned core, void *page)
{
    assert_int_equal(core, self);
    assert_int_equal((uintptr_t)page % PAGE_SIZE, 0);
    return 0;
}
static void core_caps(struct abi_caps *out)
{
    out->present = 1;
}
static int guest_init(struct guest *g)
{
    if (fail_guest_init || !guest_alloc_page(g))
        return -E_NOMEM;
    fake_guests[g->number].count = 0;
    g->backend = &fake_guests[g->number];
    return 0;
}
static void guest_free(struct guest *g)
{
    g->backend = NULL;
}
static int map_anyway(struct guest *g, gpa_t gpa, hpa_t hpa, uint64_t size, enum map_perm perm)
{
    struct fake_guest *f = g->backend;

    assert_true(f->count < MAPS_MAX);
    assert_int_equal(gpa.v % PAGE_SIZE, 0);
    assert_int_equal(hpa.v % PAGE_SIZE, 0);
    for (unsigned i = 0; i < f->count; i++)
        if (gpa.v < f->maps[i].gpa + f->maps[i].size && f->maps[i].gpa < gpa.v + size)
            return -E_EXIST;
    f->maps[f->count++] = (struct fake_map){gpa.v, size, arch_ptr(hpa), perm};
    return 0;
}
static int map(struct guest *g, gpa_t gpa, hpa_t hpa, uint64_t size, enum map_perm perm)
{
    return fail_map ? -E_NOMEM : map_anyway(g, gpa, hpa, size, perm);
}
static int unmap(struct guest *g, gpa_t gpa, uint64_t size)
{
    struct fake_guest *f = g->backend;

    for (unsigned i = 0; i < f->count; i++) {
        struct fake_map *m = &f->maps[i];

        if (m->gpa < gpa.v || m->gpa >= gpa.v + size)
            continue;
        assert_true(m->gpa + m->size <= gpa.v + size);
        *m = f->maps[--f->count];
        i--;
    }
    return 0;
}
static void flush(struct vcpu *v)
{
    at_home(v);
    (void)__atomic_add_fetch(&flushes, 1, __ATOMIC_RELAXED);
}
static int prepare(struct guest *g, gpa_t gpa, uint64_t size)
{
    (void)g;
    (void)gpa;
    (void)size;
    return 0;
}
static int place_region(struct guest *g, gpa_t gpa, hpa_t hpa, uint64_t size, bool mapped)
{
    return mapped ? map_anyway(g, gpa, hpa, size, MAP_RW) : unmap(g, gpa, size);
}
static bool split;
static uint64_t split_size(uint64_t memory)
{
    return split ? memory / PAGE_SIZE_2M * PAGE_SIZE : 0;
}
static void prepare_split(struct guest *g, gpa_t gpa)
{
    memset((uint8_t *)g->split_tables + gpa.v / PAGE_SIZE_2M * PAGE_SIZE, 1, PAGE_SIZE);
}
static bool audit_split(const struct guest *g, gpa_t gpa)
{
    return ((const uint8_t *)g->split_tables)[gpa.v / PAGE_SIZE_2M * PAGE_SIZE] == 1;
}
static int audit(const struct guest *g, char *text, size_t size)
{
    const struct fake_guest *f = g->backend;

    for (unsigned i = 0; i < f->count; i++) {
        struct mem_range r = {0};
        bool known = hostmem_find(arch_hpa(f->maps[i].host), &r);
        bool own = r.kind == MEM_GUEST && r.guest == g->number;

        bool region = r.kind == MEM_REGION && mem_is_owner(&r, g->number);

        if (fail_audit || (f->maps[i].perm == MAP_RWX && !(known && own)) ||
            (f->maps[i].perm == MAP_RW && !g->management && !(known && region))) {
            (void)str_copy(text, size, "a page that is another's");
            return -E_PERM;
        }
    }
    return 0;
}
static int vcpu_init(struct vcpu *v, const struct load_result *start, unsigned step)
{
    struct fake_vcpu *f = fake_of(v);

    at_home(v);
    assert_string_equal(start->kind, "flat");
    assert_int_equal(step, f->inits);
    if (step == 2 && fail_vcpu_init) {
        f->inits = 0;
        return -E_NOMEM;
    }
    /* Like a backend, on its own core; the guest keeps it from one start to the next. */
    if (!v->backend && !guest_alloc_page(v->guest))
        return -E_NOMEM;
    v->backend = f;
    f->made = true;
    f->inits++;
    if (step < 3)
        return -E_AGAIN;
    f->shifted = 0;
    v->waits = true;
    __atomic_store_n(&v->flushed, __atomic_load_n(&v->guest->translations, __ATOMIC_ACQUIRE),
                     __ATOMIC_RELEASE);
    return 0;
}
static void vcpu_reset(struct vcpu *v)
{
    at_home(v);
    assert_true(fake_of(v)->made);
    fake_of(v)->resets++;
}
static void vcpu_start(struct vcpu *v, uint8_t vector)
{
    at_home(v);
    assert_true(v->parked);
    fake_of(v)->vector = vector;
    fake_of(v)->starts++;
}
static void vcpu_free(struct vcpu *v)
{
    at_home(v);
    *fake_of(v) = (struct fake_vcpu){0};
}

/* A guest's write to a port. */
static void out(struct vcpu *v, uint16_t port, uint8_t value)
{
    struct platform *p = v->platform;

    platform_enter(p, present());
    io_out(&p->bus, port, 1, value);
    platform_set_event(p, platform_deadline(p));
    platform_leave(p, v->number);
}

/* What the handlers of the local APIC's interrupts do. */
static void (*handler)(struct vcpu *v, uint8_t vector);

static bool take_events(struct vcpu *v)
{
    struct platform *p = v->platform;
    bool irq = irqchip_pending(p, v->number) && !v->deaf, there = v->nmi || irq;

    if (irq) {
        uint8_t vector = irqchip_ack(p, v->number);

        if (handler)
            handler(v, vector);
        out(v, 0x20, 0x20); /* EOI by its handler */
    }
    v->stats->irqs += there;
    v->nmi = false;
    return there;
}

static void look_at_devices(struct vcpu *v)
{
    if (present() < irqchip_next_deadline(v->platform, v->number))
        return;
    platform_enter(v->platform, present());
    platform_timers(v->platform);
    platform_leave(v->platform, v->number);
}

/* HLT. False: no event came. */
static bool wakes(struct vcpu *v, uint64_t until)
{
    uint64_t due = irqchip_next_deadline(v->platform, v->number);

    if (!take_events(v)) {
        time_goes_to(min_u64(min_u64(until, due), present() + IDLE_TICKS));
        look_at_devices(v);
        if (!take_events(v))
            return false;
    }
    vcpu_leave_halt(v);
    v->woke_at = present();
    return true;
}

/* As kernels do: INIT, SIPI, SIPI. */
static void start_others(struct vcpu *v)
{
    const struct platform_host *h = &v->platform->host;

    for (unsigned i = 1; i < v->guest->vcpu_count; i++) {
        h->ipi(h->ctx, i, PLATFORM_INIT, 0);
        h->ipi(h->ctx, i, PLATFORM_SIPI, 0x9a);
        h->ipi(h->ctx, i, PLATFORM_SIPI, 0x9a);
    }
    fake_of(v)->began = true;
}

/* What a backend's run loop does, without executing instructions. */
static enum vcpu_yield run(struct vcpu *v, uint64_t until)
{
    const uint32_t events = VCPU_REQ_EVENT | VCPU_REQ_UNTIL;
    struct guest *g = v->guest;
    enum deed deed;

    v->until = until;
    at_home(v);
    assert_true(fake_of(v)->made);
    assert_int_equal(v->phase, VCPU_LIVE);
    assert_false(v->parked);
    if (__atomic_load_n(&v->stop, __ATOMIC_RELAXED))
        return VCPU_YIELD_STOP;
    if (__atomic_load_n(&v->entity.requests, __ATOMIC_RELAXED) & ~events)
        return VCPU_YIELD_KICK;
    (void)__atomic_fetch_and(&v->entity.requests, ~events, __ATOMIC_SEQ_CST);
    /* No memory that was taken away can still be reached. */
    assert_true(threads || v->flushed == g->translations);
    assert_true(__atomic_load_n(&g->status->state, __ATOMIC_ACQUIRE) == ABI_GUEST_RUNNING ||
                guest_ordered(g) == VCPU_NONE || guest_ordered(g) == VCPU_LIVE);
    (void)__atomic_add_fetch(&entries, 1, __ATOMIC_RELAXED);
    v->stats->entries++;
    look_at_devices(v);
    if (v->halted && !wakes(v, until))
        return VCPU_YIELD_SLICE;
    (void)take_events(v);
    if (v->number == 0 && !fake_of(v)->began)
        start_others(v);
    entered = v;
    deed = behave(v);
    entered = NULL;
    switch (deed) {
    case DEAF:
        if (!vcpu_halt_deaf(v)) {
            vcpu_stop(v, ABI_GUEST_STOPPED, "halted with interrupts off");
            return VCPU_YIELD_STOP;
        }
        v->halted = true;
        return VCPU_YIELD_HALT;
    case HALTS:
        v->halted = true;
        return VCPU_YIELD_HALT;
    case SHORT:
        time_goes_to(present() + 1000);
        return __atomic_load_n(&v->stop, __ATOMIC_RELAXED) ? VCPU_YIELD_STOP : VCPU_YIELD_KICK;
    case CRASHES:
        vcpu_stop(v, ABI_GUEST_CRASHED, "triple fault of vCPU %u", v->number);
        return VCPU_YIELD_STOP;
    case EXITS:
        vcpu_stop(v, ABI_GUEST_STOPPED, "vCPU %u has done its work", v->number);
        return VCPU_YIELD_STOP;
    case RUNS:
        break;
    }
    time_goes_to(v->until);
    return __atomic_load_n(&v->stop, __ATOMIC_RELAXED) ? VCPU_YIELD_STOP : VCPU_YIELD_SLICE;
}
static void controls(struct vcpu *v, const struct abi_controls *c, struct abi_controls_result *r)
{
    at_home(v);
    assert_true(fake_of(v)->made);
    r->result = c->mask[0] == 0xbad ? -E_INVAL : 0;
}
static struct vcpu_place place = {.rip = 0x1000};
static void (*before_run)(struct vcpu *v); /* in the core's look at where it is */
static void where(struct vcpu *v, struct vcpu_place *out)
{
    at_home(v);
    if (before_run)
        before_run(v);
    *out = place;
}
static void shift_tsc(struct vcpu *v, uint64_t ticks)
{
    at_home(v);
    fake_of(v)->shifted += ticks;
}
static int64_t probe_field(struct vcpu *v, uint64_t row)
{
    (void)v;
    return (int64_t)row;
}
static uint64_t snapshot_ticks; /* that one takes */
static void read_state(struct vcpu *v, struct abi_snapshot *s)
{
    time_goes_to(present() + snapshot_ticks);
    at_home(v);
    assert_true(fake_of(v)->made);
    assert_int_equal(s->guest, v->guest->number);
    assert_int_equal(s->vcpu, v->number);
    assert_true(s->lock & 1);
    s->kind = ABI_STATE_VMX;
}

static const struct virt_ops fake = {
    .bitmaps_size = ABI_BITMAPS_SIZE,
    .core_probe = core_probe,
    .core_on = core_on,
    .core_caps = core_caps,
    .guest_init = guest_init,
    .guest_free = guest_free,
    .map = map,
    .unmap = unmap,
    .flush = flush,
    .prepare = prepare,
    .place = place_region,
    .split_size = split_size,
    .prepare_split = prepare_split,
    .audit_split = audit_split,
    .audit = audit,
    .vcpu_init = vcpu_init,
    .vcpu_free = vcpu_free,
    .vcpu_reset = vcpu_reset,
    .vcpu_start = vcpu_start,
    .run = run,
    .controls = controls,
    .where = where,
    .shift_tsc = shift_tsc,
    .probe_field = probe_field,
    .read_state = read_state,
};
const struct virt_ops *virt_backend(void)
{
    return &fake;
}

/* ---- the machine ---- */

static struct mem_map host_map;
static uint8_t *host_bytes;
static uint64_t free_at_start;

static struct guest_config config_of(const char *name, unsigned core)
{
    struct guest_config c = {
        .kind = KIND_FLAT,
        .memory = PAGE_SIZE_2M,
        .core = (int)core,
        .vcpus = 1,
        .weight = 100,
        .slice_us = 2000,
        .period_us = 10000,
        .net = {.network = "default", .broadcasts_per_second = 100, .uplink = 1},
        .restart_limit = 8,
        .devices = DEV_DEFAULT,
    };

    (void)str_copy(c.name, sizeof(c.name), name);
    (void)str_copy(c.image, sizeof(c.image), "app.bin");
    return c;
}

static inline uint64_t shared_bytes(void)
{
    struct abi_memory m;

    hostmem_account(&m);
    return m.shared;
}

/* Shared pages, and what the root knows of a guest, stay with its number. */
static uint64_t free_or_kept(void)
{
    struct abi_memory m;

    hostmem_account(&m);
    return m.free + m.shared + m.host;
}

/* Several vCPUs, on the cores from `core` on. */
static inline void spread(struct guest_config *c, unsigned vcpus)
{
    c->vcpus = c->core_count = vcpus;
    for (unsigned i = 0; i < vcpus; i++)
        c->cores[i] = (uint8_t)(((unsigned)c->core + i) % ENGINE_CORES);
}

/* Once per program: cores, shared pages and the management guest stay. */
static void engine_start(void)
{
    struct guest_config mgmt = config_of(CONFIG_MANAGEMENT_NAME, ENGINE_HOME);
    struct guest *m;
    uint8_t *bytes = host_bytes = aligned_alloc(PAGE_SIZE_2M, HOST_BYTES);

    memset(bytes, 0, HOST_BYTES);
    assert_int_equal(mem_add(&host_map, (uintptr_t)bytes, HOST_BYTES, MEM_FREE, 0), 0);
    hostmem_init(&host_map);
    assert_int_equal(core_make(), 0);
    guest_life_init(0, 0);
    assert_int_equal(guest_pages_setup(), 0);
    (void)str_copy(mgmt.image, sizeof(mgmt.image), CONFIG_MANAGEMENT_MODULE);
    mgmt.devices |= DEV_NET;
    m = guest_create_management(&mgmt);
    assert_true(m && m->complete);
    core_bind(m);
    guest_make_ready(m);
    core_ration_requests(500);
    for (self = 0; self < ENGINE_CORES; self++)
        core_set_up(self);
    self = 0;
    free_at_start = free_or_kept();
}

static void pass(unsigned core)
{
    self = core;
    core_pass(core_get(core));
}

/* Whether no request is pending and nothing is under way. */
static bool is_settled(void)
{
    for (unsigned i = 0; i < ENGINE_CORES; i++)
        if (core_get(i)->incoming)
            return false;
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        const struct guest *g = guest_get(i);

        if (!g)
            continue;
        if (g->life.entity.requests || g->life.entity.asked || job_is_there(&g->life.job))
            return false;
        FOR_EACH_VCPU (v, g)
            if (v->entity.requests || v->entity.asked)
                return false;
        if (g->life.phase != GUEST_IDLE && g->life.phase != GUEST_HELD_BACK &&
            g->life.phase != GUEST_LIVE && g->life.phase != GUEST_PAUSED)
            return false;
    }
    return true;
}

static void (*after_pass)(void);

/* As many passes of a core in a row as it has entities, and one more. Time goes on while the other
 * cores make theirs: with fewer passes, vCPUs that sleep briefly would be due again, and first,
 * each time, and nothing else on their core would get a turn. */
static void turns_of(unsigned core)
{
    for (unsigned i = 0; i <= core_get(core)->entity_count; i++) {
        pass(core);
        if (after_pass)
            after_pass();
    }
}

#define SETTLES_IN 20000u
static void settle(void)
{
    for (unsigned i = 0; i < SETTLES_IN; i++) {
        if (is_settled())
            return;
        for (unsigned core = 0; core < ENGINE_CORES; core++)
            turns_of(core);
    }
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++)
        if (guest_get(i))
            print_message("guest %u: phase %u, requests %x, asked %x\n", i,
                          guest_get(i)->life.phase, guest_get(i)->life.entity.requests,
                          guest_get(i)->life.entity.asked);
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++)
        for (unsigned n = 0; guest_get(i) && n < guest_get(i)->vcpu_count; n++)
            print_message("    vCPU %u: phase %u, requests %x, asked %x\n", n,
                          guest_get(i)->vcpus[n].phase, guest_get(i)->vcpus[n].entity.requests,
                          guest_get(i)->vcpus[n].entity.asked);
    fail_msg("it does not come to rest");
}

/* ---- calls of the management guest ---- */

/* As its exit handler makes the call, on its core. */
static int64_t call(uint64_t function, uint64_t b, uint64_t c, uint64_t d)
{
    struct guest *m = guest_get(SELF);
    struct vcpu *v = m->life.partner;
    const struct vcpu_gprs was = v->regs;
    int64_t r;

    self = v->entity.core;
    core_get(self)->due = v->closes = NEVER;
    do {
        v->regs = (struct vcpu_gprs){.rax = function, .rbx = b, .rcx = c, .rdx = d};
        r = control_call(v);
        /* The other cores go on meanwhile. */
        for (unsigned i = 1; r == CONTROL_LATER && !threads && i < ENGINE_CORES; i++) {
            pass(i);
            if (after_pass)
                after_pass();
        }
        self = v->entity.core;
    } while (r == CONTROL_LATER);
    v->regs = was;
    return r;
}

/* Arguments lie below its image. */
#define ARGUMENT 0x10000u
static void *argument(void)
{
    return guest_get(SELF)->mem.base + ARGUMENT;
}

/* A request as the management guest makes it: the image goes to the real-mode start address. */
static struct abi_create *request_for(const struct guest_config *c)
{
    struct abi_create *r = argument();

    memset(r, 0, sizeof(*r));
    r->config = *c;
    r->plan.start = (struct load_result){.mode = LOAD_REAL16, .rip = 0x7c00, .kind = "flat"};
    r->plan.piece_count = 1;
    r->plan.pieces[0] = (struct load_piece){0x7c00, FILE_BYTES, 0, LOAD_FROM_IMAGE, 0};
    return r;
}

static inline int64_t deploy(const struct guest_config *c)
{
    (void)request_for(c);
    return call(ABI_CALL_CREATE, ARGUMENT, 0, 0);
}

/* One that cannot be made. */
static inline int64_t show(const struct guest_config *c, const char *why)
{
    struct abi_create *r = request_for(c);

    (void)str_copy(r->why, sizeof(r->why), why);
    return call(ABI_CALL_CREATE, ARGUMENT, 0, 0);
}

static inline int64_t act(unsigned number, enum abi_action action)
{
    return call(ABI_CALL_ACTION, number, action, 0);
}

static enum deed runs(struct vcpu *v)
{
    (void)v;
    return RUNS;
}

/* The management guest writes its heartbeat; all others do what `others` says. */
static enum deed (*others)(struct vcpu *v) = runs;
static enum deed with_heartbeat(struct vcpu *v)
{
    if (!v->guest->management)
        return others(v);
    v->guest->life.heartbeat = present();
    return RUNS;
}

static void engine_begin(void)
{
    behave = with_heartbeat;
    others = runs;
    engine_start();
    settle();
    assert_int_equal(guest_get(SELF)->status->state, ABI_GUEST_RUNNING);
}

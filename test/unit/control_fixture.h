/*
 * What hv/control.c needs from the rest of hv/: a table of guests, in which number SELF is the
 * management guest, and a record of everything that a call causes.
 */
#pragma once

#include "hv/abi/control.h"
#include "hv/arch.h"
#include "hv/core.h"
#include "hv/fmt.h"
#include "hv/guest.h"
#include "hv/guest_life.h"
#include "hv/image.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/panic.h"
#include "hv/virt.h"
#include "test/unit/hypercall.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#define SELF     7u
#define LINE_MAX 512u

static struct guest guests[ABI_GUESTS_MAX];
static struct abi_guest status[ABI_GUESTS_MAX];
static struct abi_vcpu stats[ABI_GUESTS_MAX];
static struct abi_snapshot snapshots[ABI_GUESTS_MAX][ABI_SNAPSHOTS];
static struct abi_host host;
static struct abi_keep keep;

static void must(bool is, const char *what)
{
    if (is)
        return;
    fprintf(stderr, "control: %s\n", what);
    abort();
}

/* ---- guests ---- */

struct guest *guest_get(uint64_t number)
{
    return number < ABI_GUESTS_MAX && status[number].state != ABI_GUEST_EMPTY ? &guests[number]
                                                                              : NULL;
}
const struct guest_pages *guest_pages(void)
{
    static const struct guest_pages pages = {.host = &host, .keep = &keep};

    return &pages;
}

static void fixture_guest(unsigned number, uint32_t state)
{
    struct guest *g = &guests[number];

    memset(g, 0, sizeof(*g));
    memset(&status[number], 0, sizeof(status[number]));
    memset(&stats[number], 0, sizeof(stats[number]));
    memset(snapshots[number], 0, sizeof(snapshots[number]));
    g->number = number;
    g->status = &status[number];
    g->vcpu_count = 1;
    g->life.entity.guest = g;
    g->vcpus[0].guest = g;
    g->vcpus[0].entity = (struct entity){.guest = g, .vcpu = &g->vcpus[0]};
    g->vcpus[0].stats = &stats[number];
    g->vcpus[0].closes = NEVER;
    g->vcpus[0].snapshots = snapshots[number];
    g->complete = true;
    g->config.devices = DEV_UART;
    g->management = number == SELF;
    status[number].state = state;
}

/* Memory of exactly this size, for the caller to free. */
static void fixture_self(uint64_t memory)
{
    fixture_guest(SELF, ABI_GUEST_RUNNING);
    guests[SELF].mem = (struct gmem){.base = calloc(1, memory), .size = memory};
    must(guests[SELF].mem.base, "no memory");
}

/* ---- requests to cores ---- */

static unsigned requests;
static struct guest *asked;             /* by the last of them */
static uint32_t wanted, wanted_of_vcpu; /* enum guest_request, enum vcpu_request */
static struct core core = {.due = NEVER};
static uint64_t reboot_at;

void core_ask(struct entity *e, uint32_t request)
{
    must(e->guest >= guests && e->guest < guests + ABI_GUESTS_MAX, "a request of no guest");
    must(e->guest->status->state != ABI_GUEST_EMPTY, "a request of a guest that is not there");
    requests++;
    asked = e->guest;
    if (e->vcpu)
        wanted_of_vcpu = request;
    else
        wanted = request;
}
struct core *core_get(unsigned id)
{
    (void)id;
    return &core;
}
unsigned arch_core_self(void)
{
    return 0;
}
_Noreturn void panic(const char *format, ...)
{
    must(false, format);
    abort();
}
uint64_t arch_tsc_hz(void)
{
    return 20000000;
}
bool core_reboot(uint64_t at)
{
    if (reboot_at)
        return false;
    reboot_at = at;
    return true;
}

/* ---- output ---- */

static char logged[1024];
static unsigned log_lines; /* without a budget */
static unsigned budgeted_lines;
static int management_may;

void log_info(const char *format, ...)
{
    va_list ap;

    log_lines++;
    va_start(ap, format);
    (void)fmt_v(logged, sizeof(logged), format, ap);
    va_end(ap);
}
void log_on_behalf(const char *format, ...)
{
    va_list ap;

    budgeted_lines++;
    va_start(ap, format);
    (void)fmt_v(logged, sizeof(logged), format, ap);
    va_end(ap);
}
/* The conversion to plain text has its own test, test_plain.c. */
int log_management(const char *text, size_t n)
{
    must(n <= LINE_MAX, "a line that is too long");
    budgeted_lines++;
    (void)fmt(logged, sizeof(logged), "%.*s", (int)n, text);
    return management_may;
}

/* ---- deployment, which other tests cover ---- */

static struct abi_image_request begun;
static uint8_t committed[32];
static uint64_t committed_slot, dropped_slot;
static struct abi_create created;
static int create_result;

int64_t image_begin(const struct abi_image_request *r)
{
    begun = *r;
    return 5;
}
int64_t image_extend(struct guest *m, uint64_t slot)
{
    must(m == &guests[SELF], "an image for another guest");
    return (int64_t)(slot & 0xff) + 100;
}
int64_t image_commit(struct guest *m, uint64_t slot, const uint8_t sha256[32])
{
    must(m == &guests[SELF], "an image for another guest");
    committed_slot = slot;
    memcpy(committed, sha256, sizeof(committed));
    return 0;
}
int64_t image_drop(struct guest *m, uint64_t slot)
{
    must(m == &guests[SELF], "an image for another guest");
    dropped_slot = slot;
    return -E_BUSY;
}
int guest_deploy(struct abi_create *r)
{
    created = *r;
    r->address = 5;
    return create_result;
}
static int64_t probe_field(struct vcpu *v, uint64_t row)
{
    (void)v;
    return row < 100 ? (int64_t)row : -E_NOENT;
}
const struct virt_ops *virt_backend(void)
{
    static const struct virt_ops ops = {.probe_field = probe_field};

    return &ops;
}

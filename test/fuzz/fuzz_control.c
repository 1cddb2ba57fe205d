/* SOURCES: hv/control.c hv/lib.c hv/fmt.c */
/* Calls of a management guest that somebody else has taken over: any numbers in its registers,
 * memory that is exactly as large as it says, guests in any state. What a call may lead to is a
 * request that it may make of that guest, or an error. */
#include "hv/abi/control.h"

#include "hv/arch.h"
#include "hv/core.h"
#include "hv/guest.h"
#include "hv/guest_files.h"
#include "hv/guest_life.h"
#include "hv/image.h"
#include "hv/log.h"
#include "hv/virt.h"

#include <stdio.h>
#include <stdlib.h>

#define MEMORY   0x3000u
#define SELF     7u
#define LINE_MAX 512u
/* Behind an input's end a sequence goes on that it began: so short ones go far too. */
#define GOES_ON  400u

static struct guest guests[ABI_GUESTS_MAX];
static struct abi_guest status[ABI_GUESTS_MAX];
static struct abi_snapshot snapshots[ABI_GUESTS_MAX][ABI_SNAPSHOTS];
static struct abi_host host;
static struct abi_keep keep;
static uint64_t calls;
static bool reports;

static void must(bool is, const char *what)
{
    if (is)
        return;
    fprintf(stderr, "control: %s\n", what);
    abort();
}

/* ---- stand-ins for the rest of hv/ ---- */

struct guest *guest_get(unsigned number)
{
    must(number < ABI_GUESTS_MAX, "a number beyond the table of guests");
    return status[number].state == ABI_GUEST_EMPTY ? NULL : &guests[number];
}
struct abi_host *guest_host_page(void)
{
    return &host;
}
struct abi_keep *guest_keep_page(void)
{
    return &keep;
}

static struct guest *asked;
static uint32_t wanted;

void core_ask(struct vcpu *v, uint32_t request)
{
    must(v->guest >= guests && v->guest < guests + ABI_GUESTS_MAX, "a request of no guest");
    must(v->guest->status->state != ABI_GUEST_EMPTY, "a request of a guest that is not there");
    asked = v->guest;
    wanted |= request;
}

static bool has_time;

struct core *core_get(unsigned id)
{
    static struct core core;

    (void)id;
    return &core;
}
bool core_has_time(const struct core *c, uint64_t ticks, uint64_t *since)
{
    (void)c;
    (void)ticks;
    (void)since;
    return has_time;
}
uint64_t arch_tsc_hz(void)
{
    return 20000000;
}
bool core_reboot(uint64_t at)
{
    return at & 1;
}
void log_info(const char *format, ...)
{
    (void)format;
}
int log_management(const char *line, size_t length)
{
    unsigned sum = 0;

    must(length <= LINE_MAX, "a line that is too long");
    for (size_t i = 0; i < length; i++)
        sum += (unsigned char)line[i];
    return (int)(sum & 0);
}
int64_t image_begin(const struct abi_image_request *r)
{
    (void)r;
    return 1;
}
int64_t image_extend(struct guest *m, uint64_t slot)
{
    (void)slot;
    must(m->management, "an image for another guest");
    return 0;
}
int64_t image_commit(struct guest *m, uint64_t slot, const uint8_t sha256[32])
{
    (void)slot;
    (void)sha256;
    must(m->management, "an image for another guest");
    return 0;
}
int64_t image_drop(struct guest *m, uint64_t slot)
{
    (void)slot;
    must(m->management, "an image for another guest");
    return 0;
}
int guest_deploy(const struct abi_create *r, char *why, size_t size)
{
    must(!r->why[0] && size == sizeof(r->why), "a text of the caller's");
    why[0] = 'x';
    why[1] = 0;
    return -E_INVAL;
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

/* ---- */

static const uint8_t *in;
static size_t left, more;
static uint32_t sequence;

static uint8_t byte(void)
{
    if (left) {
        left--;
        sequence = (sequence ^ *in) * 16777619u;
        return *in++;
    }
    more -= more > 0;
    sequence = sequence * 1664525u + 1013904223u;
    return (uint8_t)(sequence >> 24);
}

/* Of numbers that mean something somewhere, around them, or any. */
static uint64_t number(void)
{
    static const uint64_t near[] = {0,
                                    MEMORY,
                                    ABI_GUESTS_MAX,
                                    ABI_VCPUS_MAX,
                                    LINE_MAX,
                                    UINT64_MAX,
                                    1ull << 32,
                                    1ull << 63,
                                    ABI_BASE,
                                    ABI_KEEP_MAX,
                                    SELF,
                                    GUEST_INPUT_SIZE,
                                    sizeof(struct abi_create)};
    uint8_t how = byte();
    uint64_t v = 0;

    if (how < 0xc0)
        return near[how % (sizeof(near) / sizeof(near[0]))] +
               (uint64_t)(int64_t)(int8_t)(how / 32 - 2);
    for (unsigned i = 0; i < (how & 7) + 1u; i++)
        v = v << 8 | byte();
    return how & 8 ? MEMORY - v : v;
}

static void begin(void)
{
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        uint8_t how = byte();
        struct guest *g = &guests[i];

        memset(g, 0, sizeof(*g));
        memset(&status[i], 0, sizeof(status[i]));
        g->number = i;
        g->status = &status[i];
        g->snapshots = snapshots[i];
        g->vcpu.guest = g;
        g->vcpu.stats = &status[i].vcpus[0];
        g->complete = how & 0x40;
        g->config.devices = how & 0x20 ? DEV_UART : 0;
        g->input_head = g->input_tail = UINT32_MAX - how;
        status[i].state = how & 0x1f & (ABI_GUEST_STATES - 1);
        snapshots[i][ABI_SNAPSHOT_DEATH].sequence = how & 1;
    }
    guests[SELF].management = true;
    status[SELF].state = ABI_GUEST_RUNNING;
    guests[SELF].mem = (struct gmem){malloc(MEMORY), MEMORY};
    must(guests[SELF].mem.base, "no memory");
    for (unsigned i = 0; i < MEMORY; i++)
        guests[SELF].mem.base[i] = (uint8_t)(i * 7 + left);
}

static void check(uint64_t call, int64_t r)
{
    must(r >= -E_IO, "a result that is no error");
    must(keep.length <= ABI_KEEP_MAX, "more is kept than there is room for");
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++)
        must(guests[i].input_head - guests[i].input_tail <= GUEST_INPUT_SIZE,
             "more input than the queue holds");
    if (!wanted)
        return;
    must(r >= 0, "a request, and an error");
    must(asked != &guests[SELF] ||
             !(wanted & (VCPU_REQ_PAUSE | VCPU_REQ_NMI | VCPU_REQ_DELETE | VCPU_REQ_CONTROLS)),
         "the management guest is held down");
    must(asked != &guests[SELF] || !(wanted & VCPU_REQ_STOP) || wanted & VCPU_REQ_START,
         "the management guest is stopped");
    must(call != ABI_CALL_ACTION || asked->complete, "a guest acts that never got what it needs");
    if (wanted & VCPU_REQ_CONTROLS && (left + more) % 2)
        __atomic_store_n(&asked->controls_busy, 0, __ATOMIC_RELEASE);
    asked->input_tail += (asked->input_head - asked->input_tail) / 2;
}

/* What is put off has done nothing yet. */
static int64_t call_when_time(struct vcpu *v, bool has)
{
    int64_t r;

    has_time = has;
    r = control_call(v);
    if (r != CONTROL_LATER)
        return r;
    must(!has && !wanted, "a call that is put off, and done");
    has_time = true;
    return control_call(v);
}

static void report(void)
{
    fprintf(stderr, "control: %lu calls\n", (unsigned long)calls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vcpu *v = &guests[SELF].vcpu;

    if (!reports)
        (void)atexit(report);
    reports = true;
    in = data;
    left = size;
    more = GOES_ON;
    sequence = 2166136261u;
    begin();
    while (left + more) {
        uint8_t how = byte();

        v->regs.rax = (uint64_t)ABI_CALL_VERSION - 1 + how % (ABI_CALL_END - ABI_CALL_VERSION + 2);
        if (how & 0x80)
            v->regs.rax = number();
        v->regs.rbx = number();
        v->regs.rcx = number();
        v->regs.rdx = number();
        asked = NULL;
        wanted = 0;
        check(v->regs.rax, call_when_time(v, how & 0x20));
        calls++;
        if (how & 0x40)
            status[how % ABI_GUESTS_MAX].state =
                how % ABI_GUESTS_MAX == SELF ? ABI_GUEST_RUNNING : byte() % ABI_GUEST_STATES;
    }
    free(guests[SELF].mem.base);
    return 0;
}

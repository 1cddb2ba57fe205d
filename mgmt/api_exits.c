/* The flight recorder: the last exits of a vCPU, and what causes most of them. */
#include "arch/x86/svm/svm.h"
#include "arch/x86/vmx/vmx.h"
#include "hv/lib.h"
#include "mgmt/words.h"
#include "mgmt/api_call.h"
#include "mgmt/state.h"

#define TOP_MAX    8u
#define PAGE_SHIFT 12

/* What the kinds of exits have in common; NULL in `detail`: the exit has no detail. */
struct kind {
    uint32_t mask; /* bits of abi_exit.reason that make the reason */
    const char *qualification;
    const char *(*detail)(uint32_t reason);
    bool (*port)(const struct abi_exit *e, uint64_t *v);
    uint32_t msr[2], page[2]; /* exits whose detail is an MSR's number or an address */
};

static const char *vmx_detail(uint32_t reason)
{
    switch (reason) {
    case VMX_EXIT_EPT_VIOLATION:
    case VMX_EXIT_EPT_MISCONFIGURATION:
        return "guest_physical";
    case VMX_EXIT_RDMSR:
    case VMX_EXIT_WRMSR:
        return "msr";
    case VMX_EXIT_CPUID:
        return "leaf";
    case VMX_EXIT_VMCALL:
        return "function";
    default:
        return NULL;
    }
}

static const char *svm_detail(uint32_t reason)
{
    switch (reason) {
    case SVM_EXIT_NPF:
        return "guest_physical";
    case SVM_EXIT_MSR:
        return "msr";
    case SVM_EXIT_CPUID:
        return "leaf";
    case SVM_EXIT_VMMCALL:
        return "function";
    default:
        return NULL;
    }
}

/* SDM 3C "Exit Qualification for I/O Instructions", APM 2 "IOIO Intercepts": bits 31:16. */
static bool vmx_port(const struct abi_exit *e, uint64_t *v)
{
    *v = e->qualification >> 16 & 0xffff;
    return (e->reason & VMX_EXIT_BASIC_MASK) == VMX_EXIT_IO_INSTRUCTION;
}

static bool svm_port(const struct abi_exit *e, uint64_t *v)
{
    *v = e->qualification >> 16 & 0xffff;
    return e->reason == SVM_EXIT_IOIO;
}

static const struct kind *kind_of(const struct state_table *t)
{
    static const struct kind vmx = {
        VMX_EXIT_BASIC_MASK,
        "qualification",
        vmx_detail,
        vmx_port,
        {VMX_EXIT_RDMSR, VMX_EXIT_WRMSR},
        {VMX_EXIT_EPT_VIOLATION, VMX_EXIT_EPT_MISCONFIGURATION},
    };
    static const struct kind svm = {
        UINT32_MAX,
        "exitinfo1",
        svm_detail,
        svm_port,
        {SVM_EXIT_MSR, SVM_EXIT_MSR},
        {SVM_EXIT_NPF, SVM_EXIT_NPF},
    };

    return t->kind == ABI_STATE_SVM ? &svm : &vmx;
}

static uint32_t reason_of(const struct state_table *t, const struct abi_exit *e)
{
    return e->reason & kind_of(t)->mask;
}

static void put_members(struct json_out *j, const struct state_table *t, const struct abi_exit *e)
{
    uint32_t reason = reason_of(t, e);
    const char *detail = kind_of(t)->detail(reason);

    json_str(j, "reason", t->exit_name(reason));
    json_u64(j, "number", reason);
    json_hex(j, "rip", e->rip, 1);
    json_hex(j, kind_of(t)->qualification, e->qualification, 1);
    if (detail)
        json_hex(j, detail, e->detail, 1);
    json_u64(j, "instruction_length", e->instruction_length);
    json_u64(j, "tsc", e->tsc);
    json_str(j, "outcome", words_say(words_outcome, e->outcome));
    if (e->entry_tsc >= e->tsc)
        json_u64(j, "root_ticks", e->entry_tsc - e->tsc);
    else
        json_null(j, "root_ticks"); /* the guest has not continued */
}

void put_exit(struct json_out *j, const char *name, const struct state_table *t,
              const struct abi_exit *e)
{
    json_object(j, name);
    put_members(j, t, e);
    json_end(j);
}

bool copy_last_exit(const struct call *c, struct api_vcpu id, struct abi_exit *e)
{
    uint64_t entries = c->v->vcpu(id)->entries;

    if (entries == 0)
        return false;
    *e = c->v->exits(id)[(entries - 1) % ABI_EXITS];
    return true;
}

/* Copies the exits that stayed in the ring throughout the copy: numbers *from..*end - 1. */
static void copy_exits(const struct call *c, struct api_vcpu id, struct abi_exit copy[ABI_EXITS],
                       uint64_t *from, uint64_t *end)
{
    const uint64_t *entries = &c->v->vcpu(id)->entries;
    bool running = c->v->guest(id.guest)->state == ABI_GUEST_RUNNING;
    uint64_t now;

    *end = __atomic_load_n(entries, __ATOMIC_ACQUIRE);
    memcpy(copy, c->v->exits(id), ABI_EXITS * sizeof(copy[0]));
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    now = __atomic_load_n(entries, __ATOMIC_RELAXED);
    /* One more may be half written. */
    if (running)
        now++;
    *from = now > ABI_EXITS ? now - ABI_EXITS : 0;
    if (running && *end > 0)
        (*end)--;
    if (*from > *end)
        *from = *end;
}

/* ---- which exits ---- */

#define ANY_REASON UINT32_MAX

struct choice {
    const struct state_table *table;
    uint64_t n;      /* the last n */
    uint32_t reason; /* of this reason, or ANY_REASON */
};

static bool is_chosen(const struct choice *k, const struct abi_exit *e)
{
    return k->reason == ANY_REASON || reason_of(k->table, e) == k->reason;
}

/* The first exit to show: behind it are all that are asked for. */
static uint64_t first_chosen(const struct choice *k, const struct abi_exit *ring, uint64_t from,
                             uint64_t end)
{
    uint64_t left = k->n;

    while (end > from && left > 0)
        left -= is_chosen(k, &ring[--end % ABI_EXITS]);
    return end;
}

/* `name` is in upper case. */
static bool same_name(const char *text, const char *name)
{
    for (; *text && *name; text++, name++)
        if ((*text >= 'a' && *text <= 'z' ? *text - 'a' + 'A' : *text) != *name)
            return false;
    return *text == *name;
}

/* A reason by its name or its number. */
static bool find_reason(const struct state_table *t, const char *text, uint32_t *reason)
{
    const char *undefined = state_vmcs.exit_name(UINT16_MAX);
    uint64_t number;

    if (parse_u64(text, &number)) {
        *reason = (uint32_t)number;
        return number <= UINT32_MAX && strcmp(t->exit_name(*reason), undefined) != 0;
    }
    for (uint32_t i = 0; i < ABI_EXIT_REASONS; i++)
        if (t->exit_of_counter(i, reason) && strcmp(t->exit_name(*reason), undefined) != 0 &&
            same_name(text, t->exit_name(*reason)))
            return true;
    return false;
}

/* ?n=, ?reason=. False: the call has failed with 400. */
static bool choose(struct call *c, struct choice *k)
{
    const char *reason = call_query(c, "reason");

    *k = (struct choice){call_table(c), ABI_EXITS, ANY_REASON};
    if (!call_query_u64(c, "n", &k->n))
        return false;
    if (k->n < 1 || k->n > ABI_EXITS) {
        call_failf(c, 400, "n: must be 1 to %u", ABI_EXITS);
        return false;
    }
    if (!reason || find_reason(k->table, reason, &k->reason))
        return true;
    call_fail(c, 400, "reason: must be the name of an exit reason, such as CPUID, or its number");
    return false;
}

/* ---- the most frequent exits ---- */

struct top {
    uint64_t value[ABI_EXITS];
    unsigned count[ABI_EXITS], n;
};

static void top_add(struct top *t, uint64_t value)
{
    unsigned i = 0;

    while (i < t->n && t->value[i] != value)
        i++;
    if (i == t->n) {
        t->value[t->n] = value;
        t->count[t->n++] = 0;
    }
    t->count[i]++;
}

/* Writes the most frequent first; removes them from the table. */
static void put_top(struct json_out *j, const char *name, const char *what, struct top *t)
{
    json_array(j, name);
    for (unsigned k = 0; k < TOP_MAX; k++) {
        unsigned best = 0;

        for (unsigned i = 1; i < t->n; i++)
            if (t->count[i] > t->count[best])
                best = i;
        if (t->n == 0 || t->count[best] == 0)
            break;
        json_object(j, NULL);
        json_hex(j, what, t->value[best], 1);
        json_u64(j, "exits", t->count[best]);
        json_end(j);
        t->count[best] = 0;
    }
    json_end(j);
}

/* The value that an exit counts for in each list. */
static bool rip_of(const struct state_table *t, const struct abi_exit *e, uint64_t *v)
{
    (void)t;
    *v = e->rip;
    return true;
}

static bool port_of(const struct state_table *t, const struct abi_exit *e, uint64_t *v)
{
    return kind_of(t)->port(e, v);
}

static bool msr_of(const struct state_table *t, const struct abi_exit *e, uint64_t *v)
{
    *v = e->detail;
    return reason_of(t, e) == kind_of(t)->msr[0] || reason_of(t, e) == kind_of(t)->msr[1];
}

static bool page_of(const struct state_table *t, const struct abi_exit *e, uint64_t *v)
{
    *v = e->detail >> PAGE_SHIFT << PAGE_SHIFT;
    return reason_of(t, e) == kind_of(t)->page[0] || reason_of(t, e) == kind_of(t)->page[1];
}

static void put_tops(struct json_out *j, const struct choice *k, const struct abi_exit *ring,
                     uint64_t from, uint64_t end)
{
    static const struct {
        const char *name, *what;
        bool (*of)(const struct state_table *t, const struct abi_exit *e, uint64_t *v);
    } lists[] = {{"rips", "rip", rip_of},
                 {"ports", "port", port_of},
                 {"msrs", "msr", msr_of},
                 {"pages", "page", page_of}};
    static struct top t;

    json_object(j, "top");
    for (unsigned i = 0; i < ARRAY_LEN(lists); i++) {
        t.n = 0;
        for (uint64_t n = from; n < end; n++) {
            uint64_t value;

            if (is_chosen(k, &ring[n % ABI_EXITS]) &&
                lists[i].of(k->table, &ring[n % ABI_EXITS], &value))
                top_add(&t, value);
        }
        put_top(j, lists[i].name, lists[i].what, &t);
    }
    json_end(j);
}

static void put_line(struct json_out *j, const struct state_table *t, uint64_t n,
                     const struct abi_exit *e)
{
    uint32_t reason = reason_of(t, e);
    const char *detail = kind_of(t)->detail(reason);

    json_printf(j, "\n%8lu %14lu %-28s rip 0x%-16lx q 0x%-8lx", n, e->tsc, t->exit_name(reason),
                e->rip, e->qualification);
    if (detail)
        json_printf(j, " %s 0x%lx", detail, e->detail);
    json_printf(j, " %s", words_say(words_outcome, e->outcome));
    if (e->entry_tsc >= e->tsc)
        json_printf(j, " +%lu", e->entry_tsc - e->tsc);
}

void get_exits(struct call *c, char *const *arg)
{
    static struct abi_exit ring[ABI_EXITS];
    struct abi_guest g;
    struct api_vcpu id;
    struct choice k;
    uint64_t from, end;
    struct json_out *j;

    if (!call_vcpu(c, arg, &g, &id) || !choose(c, &k))
        return;
    copy_exits(c, id, ring, &from, &end);
    from = first_chosen(&k, ring, from, end);
    j = call_begin(c);
    json_object(j, NULL);
    json_str(j, "guest", arg[0]);
    json_u64(j, "recorded", end);
    put_tops(j, &k, ring, from, end);
    json_array(j, "exits");
    for (uint64_t n = from; n < end; n++) {
        const struct abi_exit *e = &ring[n % ABI_EXITS];

        if (!is_chosen(&k, e))
            continue;
        if (j->text) {
            put_line(j, k.table, n, e);
            continue;
        }
        json_object(j, NULL);
        json_u64(j, "sequence", n);
        put_members(j, k.table, e);
        json_end(j);
    }
    json_end(j);
    json_end(j);
}

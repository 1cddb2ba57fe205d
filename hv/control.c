/* The root's side of the control ABI. Every argument comes from the management guest and is checked
 * before use. */
#include "hv/abi/control.h"

#include "hv/arch.h"
#include "hv/core.h"
#include "hv/exit.h"
#include "hv/fmt.h"
#include "hv/guest.h"
#include "hv/guest_life.h"
#include "hv/image.h"
#include "hv/job.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/virt.h"

#define LOG_LINE_MAX 512u
#define INPUT_CHUNK  64u

/* True if the guest has a vCPU with a VMCS. */
static bool is_there(const struct guest *g)
{
    uint32_t state = __atomic_load_n(&g->status->state, __ATOMIC_ACQUIRE);

    return state == ABI_GUEST_RUNNING || state == ABI_GUEST_PAUSED;
}

/* NULL: there is none. */
static struct vcpu *find_vcpu(uint64_t number, uint64_t vcpu)
{
    struct guest *g = guest_get(number);

    return g && vcpu < g->vcpu_count ? &g->vcpus[vcpu] : NULL;
}

/* Of the vCPU of a guest that has ended: the end is published before each vCPU's core has taken its
 * last state. That is the next snapshot then, even if an earlier life has left one. */
static int64_t last_snapshot(const struct vcpu *of)
{
    bool due = __atomic_load_n(&of->ran, __ATOMIC_ACQUIRE);
    uint64_t newest = __atomic_load_n(&of->snapshot_sequence, __ATOMIC_ACQUIRE);
    uint64_t death = __atomic_load_n(&of->snapshots[ABI_SNAPSHOT_DEATH].sequence, __ATOMIC_ACQUIRE);

    if (due && death != newest)
        return (int64_t)(newest + 1);
    return death ? (int64_t)death : -E_STATE;
}

static int64_t call_snapshot(uint64_t number, uint64_t vcpu, uint64_t keep)
{
    struct vcpu *of = find_vcpu(number, vcpu);
    uint64_t sequence;

    if (!of)
        return -E_NOENT;
    if (keep > 1)
        return -E_INVAL;
    if (!is_there(of->guest))
        return keep ? -E_STATE : last_snapshot(of);
    sequence = __atomic_load_n(&of->snapshot_sequence, __ATOMIC_ACQUIRE);
    core_ask(&of->entity, keep ? VCPU_REQ_KEEP : VCPU_REQ_SNAPSHOT);
    return (int64_t)(sequence + 1);
}

static int64_t call_controls(const struct vcpu *v, uint64_t number, uint64_t vcpu, uint64_t address)
{
    struct vcpu *of = find_vcpu(number, vcpu);
    struct abi_controls c;
    uint64_t sequence;
    uint32_t idle = 0;
    int rc;

    if (!of)
        return -E_NOENT;
    if (of->guest->management)
        return -E_PERM;
    rc = gmem_read(&v->guest->mem, gpa(address), &c, sizeof(c));
    if (rc)
        return rc;
    if (!is_there(of->guest))
        return -E_STATE;
    if (!__atomic_compare_exchange_n(&of->controls_busy, &idle, 1, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_RELAXED))
        return -E_STATE;
    sequence = of->stats->controls.sequence; /* nothing changes it until the request is posted */
    of->new_controls = c;
    core_ask(&of->entity, VCPU_REQ_CONTROLS);
    return (int64_t)(sequence + 1);
}

static int64_t put_input(struct guest *g, const uint8_t *bytes, size_t n)
{
    uint32_t head = g->input_head,
             room = GUEST_INPUT_SIZE - (head - __atomic_load_n(&g->input_tail, __ATOMIC_ACQUIRE));
    size_t taken = 0;

    while (taken < n && taken < room)
        g->input[head++ % GUEST_INPUT_SIZE] = bytes[taken++];
    __atomic_store_n(&g->input_head, head, __ATOMIC_RELEASE);
    return (int64_t)taken;
}

static int64_t call_input(const struct vcpu *v, uint64_t number, uint64_t address, uint64_t length)
{
    struct guest *g = guest_get(number);
    uint8_t chunk[INPUT_CHUNK];
    int64_t total = 0;

    if (!g)
        return -E_NOENT;
    if (!is_there(g) || !(g->config.devices & (DEV_UART | DEV_CONSOLE)))
        return -E_STATE;
    if (!gmem_has(&v->guest->mem, gpa(address), length))
        return -E_RANGE;
    length = min_u64(length, GUEST_INPUT_SIZE);
    while ((uint64_t)total < length) {
        size_t n = min_u64(sizeof(chunk), length - (uint64_t)total);
        int64_t taken;
        int rc = gmem_read(&v->guest->mem, gpa(address + (uint64_t)total), chunk, n);

        if (rc)
            return rc;
        taken = put_input(g, chunk, n);
        job_rest();
        total += taken;
        if ((size_t)taken < n)
            break;
    }
    core_ask(&g->life.entity, GUEST_REQ_INPUT);
    return total;
}

static const struct action {
    uint32_t request; /* of the guest */
    uint32_t states;  /* bits of enum abi_guest_state */
    bool not_for_own;
} actions[ABI_ACTION_END] = {
#define ACTION(name, word, request, states, not_for_own)                                           \
    [ABI_ACTION_##name] = {request, states, not_for_own},
#include "hv/actions.def"
};

/* To every vCPU: on a PC the NMI line reaches every CPU. */
static void send_nmi(struct guest *g)
{
    FOR_EACH_VCPU (v, g)
        core_ask(&v->entity, VCPU_REQ_NMI);
}

static int64_t call_action(uint64_t number, uint64_t action)
{
    struct guest *g = guest_get(number);
    uint32_t state;

    if (!g)
        return -E_NOENT;
    if (action >= ABI_ACTION_END || !actions[action].states)
        return -E_INVAL;
    if (g->management && actions[action].not_for_own)
        return -E_PERM;
    state = __atomic_load_n(&g->status->state, __ATOMIC_ACQUIRE);
    if (!(actions[action].states >> state & 1))
        return -E_STATE;
    /* It can only be deleted and made again. */
    if (!__atomic_load_n(&g->complete, __ATOMIC_RELAXED))
        return state == ABI_GUEST_FAILED ? -E_NOTSUP : -E_STATE;
    if (action == ABI_ACTION_NMI)
        send_nmi(g);
    else
        core_ask(&g->life.entity, actions[action].request);
    return 0;
}

static int64_t call_log(const struct vcpu *v, uint64_t address, uint64_t length)
{
    char line[LOG_LINE_MAX];
    int rc;

    if (length > LOG_LINE_MAX)
        return -E_INVAL;
    rc = gmem_read(&v->guest->mem, gpa(address), line, length);
    return rc ? rc : log_management(line, length);
}

static int64_t call_keep(const struct vcpu *v, uint64_t address, uint64_t length)
{
    struct abi_keep *k = guest_pages()->keep;
    int rc;

    if (length > ABI_KEEP_MAX)
        return -E_INVAL;
    if (!gmem_has(&v->guest->mem, gpa(address), length))
        return -E_RANGE;
    memset(k, 0, sizeof(*k));
    job_rest();
    rc = gmem_read(&v->guest->mem, gpa(address), k->bytes, length);
    if (rc == 0)
        k->length = (uint32_t)length;
    return rc;
}

static int64_t call_address(uint64_t ip, uint64_t netmask, uint64_t serves)
{
    struct abi_host *h = guest_pages()->host;
    bool https = serves & ABI_SERVES_HTTPS;
    char http[32] = "", both[64];

    for (unsigned i = 0; i < 4; i++) {
        h->ip[i] = (uint8_t)(ip >> (8 * i));
        h->netmask[i] = (uint8_t)(netmask >> (8 * i));
    }
    (void)fmt(both, sizeof(both), "%u.%u.%u.%u/", h->ip[0], h->ip[1], h->ip[2], h->ip[3]);
    job_rest();
    if ((serves & ABI_SERVES_HTTP) || !https)
        (void)fmt(http, sizeof(http), "http://%s%s", both, https ? ", " : "");
    job_rest();
    log_on_behalf("management address: %s%s%s", http, https ? "https://" : "", https ? both : "");
    return 0;
}

static int64_t call_image_begin(const struct vcpu *v, uint64_t address)
{
    struct abi_image_request r;
    int rc = gmem_read(&v->guest->mem, gpa(address), &r, sizeof(r));

    return rc ? rc : image_begin(&r);
}

static int64_t call_image_commit(const struct vcpu *v, uint64_t slot, uint64_t address)
{
    uint8_t sha256[32];
    int rc = gmem_read(&v->guest->mem, gpa(address), sha256, sizeof(sha256));

    return rc ? rc : image_commit(v->guest, slot, sha256);
}

static int64_t call_create(const struct vcpu *v, uint64_t address)
{
    static struct abi_create r; /* static: it is large, and only one core calls */
    const uint64_t at = address + offsetof(struct abi_create, address);
    const void *from = gmem_ptr(&v->guest->mem, gpa(address), sizeof(r));
    int rc, number;

    if (!from)
        return -E_RANGE;
    job_copy(&r, from, sizeof(r));
    number = guest_deploy(&r);
    rc = gmem_write(&v->guest->mem, gpa(at), &r.address, sizeof(r.address));
    return rc ? rc : number;
}

/* It has ended or is paused, and its memory is still its own. */
static bool is_still(const struct guest *g)
{
    const uint32_t still =
        1u << ABI_GUEST_STOPPED | 1u << ABI_GUEST_CRASHED | 1u << ABI_GUEST_PAUSED;

    return still >> __atomic_load_n(&g->status->state, __ATOMIC_ACQUIRE) & 1 &&
           __atomic_load_n(&g->complete, __ATOMIC_ACQUIRE);
}

static int64_t call_memory(const struct vcpu *v, uint64_t number, uint64_t from, uint64_t to)
{
    const struct guest *g = guest_get(number);
    uint8_t bytes[ABI_MEMORY_BYTES];
    int rc;

    if (!g)
        return -E_NOENT;
    if (!g->config.memory_dump)
        return -E_PERM;
    if (!is_still(g))
        return -E_STATE;
    rc = gmem_read(&g->mem, gpa(from), bytes, sizeof(bytes));
    if (!is_still(g)) /* it was started or deleted meanwhile */
        return -E_STATE;
    return rc ? rc : gmem_write(&v->guest->mem, gpa(to), bytes, sizeof(bytes));
}

static int64_t call_delete(uint64_t number)
{
    struct guest *g = guest_get(number);

    if (!g)
        return -E_NOENT;
    if (g->management)
        return -E_PERM;
    core_ask(&g->life.entity, GUEST_REQ_DELETE);
    return 0;
}

static int64_t call_host_action(uint64_t action)
{
    if (action != ABI_HOST_REBOOT)
        return -E_INVAL;
    if (core_reboot(arch_tsc() + arch_tsc_hz() / 1000 * ABI_HOST_ACTION_MS))
        log_info("the machine is reset by request");
    return 0;
}

static int64_t answer(struct vcpu *v, const struct vcpu_gprs *r)
{
    switch (r->rax) {
    case ABI_CALL_VERSION:
        return ABI_VERSION;
    case ABI_CALL_HEARTBEAT:
        v->guest->life.heartbeat = arch_tsc();
        return 0;
    case ABI_CALL_SNAPSHOT:
        return call_snapshot(r->rbx, r->rcx, r->rdx);
    case ABI_CALL_PROBE:
        return virt_backend()->probe_field(v, r->rbx);
    case ABI_CALL_CONTROLS:
        return call_controls(v, r->rbx, r->rcx, r->rdx);
    case ABI_CALL_CONSOLE_INPUT:
        return call_input(v, r->rbx, r->rcx, r->rdx);
    case ABI_CALL_ACTION:
        return call_action(r->rbx, r->rcx);
    case ABI_CALL_LOG:
        return call_log(v, r->rbx, r->rcx);
    case ABI_CALL_KEEP:
        return call_keep(v, r->rbx, r->rcx);
    case ABI_CALL_ADDRESS:
        return call_address(r->rbx, r->rcx, r->rdx);
    case ABI_CALL_IMAGE_BEGIN:
        return call_image_begin(v, r->rbx);
    case ABI_CALL_IMAGE_EXTEND:
        return image_extend(v->guest, r->rbx);
    case ABI_CALL_IMAGE_COMMIT:
        return call_image_commit(v, r->rbx, r->rcx);
    case ABI_CALL_IMAGE_DROP:
        return image_drop(v->guest, r->rbx);
    case ABI_CALL_CREATE:
        return call_create(v, r->rbx);
    case ABI_CALL_DELETE:
        return call_delete(r->rbx);
    case ABI_CALL_MEMORY:
        return call_memory(v, r->rbx, r->rcx, r->rdx);
    case ABI_CALL_HOST_ACTION:
        return call_host_action(r->rbx);
    case ABI_CALL_CONFIGURED:
        guest_pages()->host->configured = 1;
        return 0;
    default:
        return -E_INVAL;
    }
}

/* The others take a few hundred ticks. */
static bool is_long(uint64_t call)
{
#define CALL(name) (1ull << (ABI_CALL_##name - ABI_CALL_VERSION))
    const uint64_t calls = CALL(ADDRESS) | CALL(CONSOLE_INPUT) | CALL(CREATE) | CALL(IMAGE_BEGIN) |
                           CALL(IMAGE_COMMIT) | CALL(IMAGE_DROP) | CALL(IMAGE_EXTEND) | CALL(KEEP) |
                           CALL(LOG) | CALL(PROBE);
#undef CALL

    return call - ABI_CALL_VERSION < 64 && calls >> (call - ABI_CALL_VERSION) & 1;
}

/* The management guest's long call, as it was made. */
static struct {
    struct vcpu_gprs regs;
    int64_t result;
} long_call;

static void answer_long(void *vcpu)
{
    long_call.result = answer(vcpu, &long_call.regs);
}

/* The guest repeats the call until it is done. If an interrupt handler makes another call in
 * between, that one waits for this one, and this one's result is lost. */
static bool go_on_with_long(struct vcpu *v, int64_t *result)
{
    struct job *j = &v->guest->life.job;
    const struct vcpu_gprs *r = &v->regs, *made = &long_call.regs;
    const struct core *c = core_get(v->entity.core);
    uint64_t until = core_is_stretched(c) ? v->closes : core_close(c);

    if (!job_is_there(j)) {
        long_call.regs = *r;
        job_begin(j, v->guest->number, answer_long, v);
    }
    if (!job_go_on(j, until) || r->rax != made->rax || r->rbx != made->rbx || r->rcx != made->rcx ||
        r->rdx != made->rdx)
        return false;
    *result = long_call.result;
    return true;
}

static __attribute__((noinline)) enum exit_action answer_management(struct vcpu *v)
{
    int64_t result;

    if (!is_long(v->regs.rax))
        result = answer(v, &v->regs);
    else if (arch_tsc() >= v->closes || !go_on_with_long(v, &result))
        return EXIT_RESUME;
    v->regs.rax = (uint64_t)result;
    return v->stop ? EXIT_STOP : EXIT_SKIP;
}

enum exit_action exit_hypercall(struct vcpu *v)
{
    if (v->guest->management)
        return answer_management(v);
    v->regs.rax = (uint64_t)-E_PERM;
    return EXIT_SKIP;
}

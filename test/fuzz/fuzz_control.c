/* SOURCES: hv/gmem.c hv/control.c hv/job.c arch/x86/cpu/stack.c arch/x86/cpu/stack_switch.asm
 * hv/lib.c hv/fmt.c */
/* Calls of a compromised management guest: any numbers in its registers, memory of exactly its
 * stated size, guests in any state. A call may only cause a request that is allowed for that guest,
 * or an error. */
#include "test/unit/control_fixture.h"

#include "test/fuzz/sequence.h"

#define MEMORY  0x3000u
#define GOES_ON 400u

static uint64_t calls;
static bool reports;

/* A number with a meaning somewhere, one near it, or any number. */
static uint64_t any_number(void)
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
    uint64_t v;

    if (how < 0xc0)
        return near[how % (sizeof(near) / sizeof(near[0]))] +
               (uint64_t)(int64_t)(int8_t)(how / 32 - 2);
    v = number((how & 7) + 1u);
    return how & 8 ? MEMORY - v : v;
}

static void begin(void)
{
    create_result = -E_INVAL;
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++) {
        uint8_t how = byte();
        struct guest *g = &guests[i];

        fixture_guest(i, how & 0x1f & (ABI_GUEST_STATES - 1));
        g->complete = how & 0x40;
        g->config.devices = how & 0x20 ? DEV_UART : 0;
        g->input_head = g->input_tail = UINT32_MAX - how;
        g->vcpus[0].snapshots[ABI_SNAPSHOT_DEATH].sequence = how & 1;
    }
    fixture_self(MEMORY);
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
    must(requests <= 1, "more than one request");
    if (!wanted && !wanted_of_vcpu)
        return;
    must(r >= 0, "a request, and an error");
    must(asked != &guests[SELF] || (!(wanted & (GUEST_REQ_PAUSE | GUEST_REQ_DELETE)) &&
                                    !(wanted_of_vcpu & (VCPU_REQ_NMI | VCPU_REQ_CONTROLS))),
         "the management guest is held down");
    must(asked != &guests[SELF] || !(wanted & GUEST_REQ_STOP) || wanted & GUEST_REQ_START,
         "the management guest is stopped");
    must(call != ABI_CALL_ACTION || asked->complete, "a guest acts that never got what it needs");
    if (wanted_of_vcpu & VCPU_REQ_CONTROLS && (left + more) % 2)
        __atomic_store_n(&asked->vcpus[0].controls_busy, 0, __ATOMIC_RELEASE);
    asked->input_tail += (asked->input_head - asked->input_tail) / 2;
}

/* Repeated until it is done; or, if it takes long, abandoned half-way for another call. */
static int64_t call_until(struct vcpu *v, uint64_t due, bool leave)
{
    int64_t r;

    core.due = due;
    for (unsigned turns = 0; (r = control_call(v)) == CONTROL_LATER; turns++) {
        must(turns < 100, "a call that never ends");
        if (leave)
            v->regs = (struct vcpu_gprs){.rax = ABI_CALL_LOG};
    }
    return r;
}

static void report(void)
{
    fprintf(stderr, "control: %lu calls\n", (unsigned long)calls);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct vcpu *v = &guests[SELF].vcpus[0];

    if (!reports)
        (void)atexit(report);
    reports = true;
    sequence_begin(data, size, GOES_ON);
    begin();
    while (left + more) {
        uint8_t how = byte();

        v->regs.rax = (uint64_t)ABI_CALL_VERSION - 1 + how % (ABI_CALL_END - ABI_CALL_VERSION + 2);
        if (how & 0x80)
            v->regs.rax = any_number();
        v->regs.rbx = any_number();
        v->regs.rcx = any_number();
        v->regs.rdx = any_number();
        asked = NULL;
        wanted = wanted_of_vcpu = requests = 0;
        reboot_at = how & 1;
        check(v->regs.rax, call_until(v, how & 0x20 ? NEVER : 0, how & 0x10));
        calls++;
        if (how & 0x40)
            status[how % ABI_GUESTS_MAX].state =
                how % ABI_GUESTS_MAX == SELF ? ABI_GUEST_RUNNING : byte() % ABI_GUEST_STATES;
    }
    free(guests[SELF].mem.base);
    return 0;
}

/* SOURCES: hv/gmem.c hv/control.c hv/job.c arch/x86/cpu/stack.c arch/x86/cpu/stack_switch.asm
 * hv/lib.c hv/fmt.c */
/* The management guest's calls, with arguments that no honest guest would pass. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "test/unit/control_fixture.h"

#define MEMORY 0x10000u
#define OTHER  3u /* the number of the guest that is acted on */

static struct guest *const self = &guests[SELF], *const other = &guests[OTHER];

static int setup(void **state)
{
    (void)state;
    fixture_guest(OTHER, ABI_GUEST_RUNNING);
    fixture_self(MEMORY);
    memset(&host, 0, sizeof(host));
    logged[0] = 0;
    log_lines = budgeted_lines = requests = 0;
    asked = NULL;
    wanted = wanted_of_vcpu = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(self->mem.base);
    return 0;
}

static uint64_t ticks = 1;
uint64_t arch_test_clock(void)
{
    return ticks++;
}

static int64_t call(uint64_t rax, uint64_t rbx, uint64_t rcx, uint64_t rdx)
{
    self->vcpus[0].regs.rax = rax;
    self->vcpus[0].regs.rbx = rbx;
    self->vcpus[0].regs.rcx = rcx;
    self->vcpus[0].regs.rdx = rdx;
    return control_call(&self->vcpus[0]);
}

/* With time for no more than the way to its first rest. */
static int64_t call_briefly(uint64_t rax, uint64_t rbx)
{
    int64_t result;

    self->vcpus[0].closes = ticks + 1;
    result = call(rax, rbx, 1, 0);
    self->vcpus[0].closes = NEVER;
    return result;
}

static const uint64_t no_guests[] = {
    0, OTHER + 1, ABI_GUESTS_MAX - 1, ABI_GUESTS_MAX, 1ull << 32 | OTHER, UINT64_MAX};

static void only_management_may(void **state)
{
    (void)state;
    other->vcpus[0].regs.rax = ABI_CALL_VERSION;
    for (; other->vcpus[0].regs.rax <= ABI_CALL_END; other->vcpus[0].regs.rax++)
        assert_int_equal(control_call(&other->vcpus[0]), -E_PERM);
    assert_int_equal(requests + log_lines + budgeted_lines, 0);
}

static void numbers(void **state)
{
    static const uint64_t unknown[] = {
        0, 1, ABI_CALL_VERSION - 1, ABI_CALL_END, 1ull << 32 | ABI_CALL_VERSION, UINT64_MAX};

    (void)state;
    assert_int_equal(call(ABI_CALL_VERSION, 0, 0, 0), ABI_VERSION);
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
        assert_int_equal(call(unknown[i], OTHER, ABI_ACTION_STOP, 0), -E_INVAL);
    assert_int_equal(requests + log_lines + budgeted_lines, 0);
    assert_int_equal(self->life.heartbeat, 0);
    assert_int_equal(call(ABI_CALL_HEARTBEAT, 0, 0, 0), 0);
    assert_int_not_equal(self->life.heartbeat, 0);
}

static void no_such_guest(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(no_guests); i++) {
        assert_int_equal(call(ABI_CALL_SNAPSHOT, no_guests[i], 0, 0), -E_NOENT);
        assert_int_equal(call(ABI_CALL_CONSOLE_INPUT, no_guests[i], 0, 1), -E_NOENT);
        assert_int_equal(call(ABI_CALL_ACTION, no_guests[i], ABI_ACTION_STOP, 0), -E_NOENT);
    }
    assert_int_equal(requests, 0);
}

static void snapshot(void **state)
{
    (void)state;
    other->vcpus[0].snapshot_sequence = 4;
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, 0, 0), 5);
    assert_int_equal(requests, 1);
    assert_ptr_equal(asked, other);
    assert_int_equal(wanted_of_vcpu, VCPU_REQ_SNAPSHOT);
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, 0, 1), 5);
    assert_int_equal(wanted_of_vcpu, VCPU_REQ_KEEP);
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, 0, 2), -E_INVAL);
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, ABI_VCPUS_MAX, 0), -E_NOENT);
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, 1ull << 32, 0), -E_NOENT);
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, UINT64_MAX, 0), -E_NOENT);
    /* A dead one keeps its last snapshot, if it has any. */
    other->status->state = ABI_GUEST_CRASHED;
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, 0, 0), -E_STATE);
    other->vcpus[0].snapshots[ABI_SNAPSHOT_DEATH].sequence = 4;
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, 0, 0), 4);
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, 0, 1), -E_STATE); /* it is kept anyway */
    /* Its core has not taken that of this life yet, is taking it, and has. */
    other->vcpus[0].ran = true;
    other->vcpus[0].snapshot_sequence = 6;
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, 0, 0), 7);
    other->vcpus[0].snapshots[ABI_SNAPSHOT_DEATH].sequence = 7;
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, 0, 0), 7);
    other->vcpus[0].snapshot_sequence = 7;
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, 0, 0), 7);
    other->vcpus[0].ran = false;
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, 0, 0), 7);
    assert_int_equal(call(ABI_CALL_SNAPSHOT, OTHER, 0, 1), -E_STATE);
    assert_int_equal(requests, 2);
}

static void controls(void **state)
{
    const struct abi_controls c = {.mask = {1}, .value = {1}};

    (void)state;
    memcpy(self->mem.base + 64, &c, sizeof(c));
    assert_int_equal(call(ABI_CALL_CONTROLS, OTHER, 0, MEMORY - sizeof(c) + 1), -E_RANGE);
    assert_int_equal(call(ABI_CALL_CONTROLS, OTHER, 0, UINT64_MAX), -E_RANGE);
    assert_int_equal(call(ABI_CALL_CONTROLS, OTHER, ABI_VCPUS_MAX, 64), -E_NOENT);
    assert_int_equal(call(ABI_CALL_CONTROLS, SELF, 0, 64), -E_PERM);
    assert_int_equal(requests, 0);
    assert_int_equal(call(ABI_CALL_CONTROLS, OTHER, 0, 64), 1);
    assert_int_equal(wanted_of_vcpu, VCPU_REQ_CONTROLS);
    assert_memory_equal(&other->vcpus[0].new_controls, &c, sizeof(c));
    /* One at a time: the owning core may still be reading the last request. */
    memset(self->mem.base + 64, 0xff, sizeof(c));
    assert_int_equal(call(ABI_CALL_CONTROLS, OTHER, 0, 64), -E_STATE);
    assert_memory_equal(&other->vcpus[0].new_controls, &c, sizeof(c));
    other->vcpus[0].controls_busy = 0;
    other->status->state = ABI_GUEST_STOPPED;
    assert_int_equal(call(ABI_CALL_CONTROLS, OTHER, 0, 64), -E_STATE);
    assert_int_equal(other->vcpus[0].controls_busy, 0);
}

static void probes(void **state)
{
    (void)state;
    assert_int_equal(call(ABI_CALL_PROBE, 7, 0, 0), 7);
    assert_int_equal(call(ABI_CALL_PROBE, UINT64_MAX, 0, 0), -E_NOENT);
}

static void input_addresses(void **state)
{
    static const struct {
        uint64_t address, length;
    } bad[] = {
        {MEMORY, 1},     {MEMORY - 1, 2},     {MEMORY + 1, 0},          {0, MEMORY + 1},
        {0, UINT64_MAX}, {1, UINT64_MAX},     {UINT64_MAX, 1},          {UINT64_MAX, UINT64_MAX},
        {ABI_BASE, 4},   {UINT64_MAX - 7, 8}, {1ull << 63, 1ull << 63},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(call(ABI_CALL_CONSOLE_INPUT, OTHER, bad[i].address, bad[i].length),
                         -E_RANGE);
    assert_int_equal(requests, 0);
    assert_int_equal(other->input_head, 0);
    assert_int_equal(call(ABI_CALL_CONSOLE_INPUT, OTHER, MEMORY, 0), 0);
    memcpy(self->mem.base + MEMORY - 3, "abc", 3);
    assert_int_equal(call(ABI_CALL_CONSOLE_INPUT, OTHER, MEMORY - 3, 3), 3);
    assert_memory_equal(other->input, "abc", 3);
    assert_int_equal(wanted, GUEST_REQ_INPUT);
    assert_ptr_equal(asked, other);
}

/* Never more than fits the queue, whatever its counters say. */
static void input_amount(void **state)
{
    (void)state;
    for (unsigned i = 0; i < MEMORY; i++)
        self->mem.base[i] = (uint8_t)i;
    other->input_head = other->input_tail = UINT32_MAX - 99; /* they wrap */
    assert_int_equal(call(ABI_CALL_CONSOLE_INPUT, OTHER, 0, MEMORY), GUEST_INPUT_SIZE);
    assert_int_equal(other->input_head - other->input_tail, GUEST_INPUT_SIZE);
    for (unsigned i = 0; i < GUEST_INPUT_SIZE; i++)
        assert_int_equal(other->input[(other->input_tail + i) % GUEST_INPUT_SIZE], i);
    assert_int_equal(call(ABI_CALL_CONSOLE_INPUT, OTHER, 0, 1), 0);
    other->input_tail += 70;
    assert_int_equal(call(ABI_CALL_CONSOLE_INPUT, OTHER, 0, 100), 70);
    assert_int_equal(other->input_head - other->input_tail, GUEST_INPUT_SIZE);
}

static void input_needs_a_line(void **state)
{
    (void)state;
    other->config.devices = 0;
    assert_int_equal(call(ABI_CALL_CONSOLE_INPUT, OTHER, 0, 1), -E_STATE);
    other->config.devices = DEV_UART;
    for (unsigned s = ABI_GUEST_EMPTY + 1; s < ABI_GUEST_STATES; s++) {
        other->status->state = s;
        assert_int_equal(call(ABI_CALL_CONSOLE_INPUT, OTHER, 0, 1),
                         s == ABI_GUEST_RUNNING || s == ABI_GUEST_PAUSED ? 1 : -E_STATE);
    }
}

static void actions(void **state)
{
    static const uint64_t bad[] = {0, ABI_ACTION_END, 1ull << 32 | ABI_ACTION_STOP, UINT64_MAX};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(call(ABI_CALL_ACTION, OTHER, bad[i], 0), -E_INVAL);
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_START, 0), -E_STATE);
    assert_int_equal(call(ABI_CALL_ACTION, SELF, ABI_ACTION_STOP, 0), -E_PERM);
    assert_int_equal(requests, 0);
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_STOP, 0), 0);
    assert_int_equal(wanted, GUEST_REQ_STOP);
    assert_ptr_equal(asked, other);
    assert_int_equal(call(ABI_CALL_ACTION, SELF, ABI_ACTION_RESET, 0), 0);
    assert_int_equal(wanted, GUEST_REQ_STOP | GUEST_REQ_START);
    assert_ptr_equal(asked, self);
    other->status->state = ABI_GUEST_STOPPED;
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_STOP, 0), -E_STATE);
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_START, 0), 0);
    assert_int_equal(wanted, GUEST_REQ_START);
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_PAUSE, 0), -E_STATE);
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_NMI, 0), -E_STATE);
    other->status->state = ABI_GUEST_RUNNING;
    assert_int_equal(call(ABI_CALL_ACTION, SELF, ABI_ACTION_PAUSE, 0), -E_PERM);
    assert_int_equal(call(ABI_CALL_ACTION, SELF, ABI_ACTION_NMI, 0), -E_PERM);
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_RESUME, 0), -E_STATE);
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_NMI, 0), 0);
    assert_int_equal(wanted_of_vcpu, VCPU_REQ_NMI);
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_PAUSE, 0), 0);
    assert_int_equal(wanted, GUEST_REQ_PAUSE);
    other->status->state = ABI_GUEST_PAUSED;
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_PAUSE, 0), -E_STATE);
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_START, 0), -E_STATE);
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_NMI, 0), -E_STATE);
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_STOP, 0), 0);
    assert_int_equal(call(ABI_CALL_ACTION, OTHER, ABI_ACTION_RESUME, 0), 0);
    assert_int_equal(wanted, GUEST_REQ_RESUME);
    assert_true(call(ABI_CALL_SNAPSHOT, OTHER, 0, 0) > 0);
    /* One that never got its memory cannot be started. */
    requests = 0;
    other->status->state = ABI_GUEST_FAILED;
    other->complete = false;
    for (unsigned a = ABI_ACTION_STOP; a < ABI_ACTION_END; a++)
        assert_int_equal(call(ABI_CALL_ACTION, OTHER, a, 0),
                         a == ABI_ACTION_START || a == ABI_ACTION_RESET ? -E_NOTSUP : -E_STATE);
    /* Nor can one that is still being made. */
    other->status->state = ABI_GUEST_STARTING;
    for (unsigned a = ABI_ACTION_STOP; a < ABI_ACTION_END; a++)
        assert_int_equal(call(ABI_CALL_ACTION, OTHER, a, 0), -E_STATE);
    assert_int_equal(requests, 0);
}

static void keeping(void **state)
{
    (void)state;
    memset(self->mem.base, 'k', MEMORY);
    memset(&keep, 0xee, sizeof(keep));
    keep.length = 3;
    assert_int_equal(call(ABI_CALL_KEEP, 0, ABI_KEEP_MAX + 1, 0), -E_INVAL);
    assert_int_equal(call(ABI_CALL_KEEP, 0, UINT64_MAX, 0), -E_INVAL);
    assert_int_equal(call(ABI_CALL_KEEP, MEMORY - 1, 2, 0), -E_RANGE);
    assert_int_equal(call(ABI_CALL_KEEP, UINT64_MAX, 2, 0), -E_RANGE);
    assert_int_equal(keep.length, 3);
    assert_int_equal(keep.bytes[5], 0xee);
    assert_int_equal(call(ABI_CALL_KEEP, MEMORY - ABI_KEEP_MAX, ABI_KEEP_MAX, 0), 0);
    assert_int_equal(keep.length, ABI_KEEP_MAX);
    assert_int_equal(keep.bytes[ABI_KEEP_MAX - 1], 'k');
    /* Nothing of the previous contents is left. */
    assert_int_equal(call(ABI_CALL_KEEP, 1, 2, 0), 0);
    assert_int_equal(keep.length, 2);
    assert_memory_equal(keep.bytes, "kk\0", 4);
    assert_int_equal(keep.bytes[ABI_KEEP_MAX - 1], 0);
    assert_int_equal(requests + log_lines + budgeted_lines, 0);
}

static void log_text(void **state)
{
    char whole[512 + 1];

    (void)state;
    memcpy(self->mem.base, "a %s%n", 6);
    assert_int_equal(call(ABI_CALL_LOG, 0, 6, 0), 0);
    assert_string_equal(logged, "a %s%n");
    assert_int_equal(call(ABI_CALL_LOG, MEMORY, 0, 0), 0);
    assert_string_equal(logged, "");
    memset(self->mem.base + MEMORY - 512, 'x', 512);
    assert_int_equal(call(ABI_CALL_LOG, MEMORY - 512, 512, 0), 0);
    memset(whole, 'x', 512);
    whole[512] = 0;
    assert_string_equal(logged, whole);
    management_may = -E_AGAIN;
    assert_int_equal(call(ABI_CALL_LOG, 0, 6, 0), -E_AGAIN);
    management_may = 0;
    budgeted_lines = 0;
    assert_int_equal(call(ABI_CALL_LOG, 0, 513, 0), -E_INVAL);
    assert_int_equal(call(ABI_CALL_LOG, 0, UINT64_MAX, 0), -E_INVAL);
    assert_int_equal(call(ABI_CALL_LOG, MEMORY - 511, 512, 0), -E_RANGE);
    assert_int_equal(call(ABI_CALL_LOG, UINT64_MAX, 1, 0), -E_RANGE);
    assert_int_equal(call(ABI_CALL_LOG, UINT64_MAX - 511, 512, 0), -E_RANGE);
    assert_int_equal(log_lines + budgeted_lines, 0);
}

static void address(void **state)
{
    static const uint8_t ip[] = {10, 0, 2, 15}, netmask[] = {255, 255, 255, 0};

    (void)state;
    assert_int_equal(call(ABI_CALL_ADDRESS, 0xffffffff0f02000a, 0xeeeeeeee00ffffff, 0), 0);
    assert_memory_equal(host.ip, ip, 4);
    assert_memory_equal(host.netmask, netmask, 4);
    assert_string_equal(logged, "management address: http://10.0.2.15/");
    /* It may say so in a loop: hence a line with a budget. */
    assert_int_equal(budgeted_lines, 1);
    assert_int_equal(log_lines, 0);
    assert_int_equal(call(ABI_CALL_ADDRESS, 0x0f02000a, 0x00ffffff, ABI_SERVES_HTTPS), 0);
    assert_string_equal(logged, "management address: https://10.0.2.15/");
    assert_int_equal(call(ABI_CALL_ADDRESS, 0x0f02000a, 0x00ffffff,
                          ABI_SERVES_HTTPS | ABI_SERVES_HTTP | 1u << 31),
                     0);
    assert_string_equal(logged, "management address: http://10.0.2.15/, https://10.0.2.15/");
}

static void configured(void **state)
{
    (void)state;
    host.configured = 0;
    assert_int_equal(call(ABI_CALL_CONFIGURED, UINT64_MAX, UINT64_MAX, UINT64_MAX), 0);
    assert_int_equal(host.configured, 1);
    assert_int_equal(call(ABI_CALL_CONFIGURED, 0, 0, 0), 0);
    assert_int_equal(host.configured, 1);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

static void images(void **state)
{
    struct abi_image_request r = {.name = "kernel", .size = 77};
    uint8_t sha256[32] = {1, 2, 3};

    (void)state;
    memcpy(self->mem.base + 0x100, &r, sizeof(r));
    assert_int_equal(call(ABI_CALL_IMAGE_BEGIN, 0x100, 0, 0), 5);
    assert_string_equal(begun.name, "kernel");
    assert_int_equal(begun.size, 77);
    assert_int_equal(call(ABI_CALL_IMAGE_BEGIN, MEMORY - sizeof(r) + 1, 0, 0), -E_RANGE);
    assert_int_equal(call(ABI_CALL_IMAGE_BEGIN, UINT64_MAX, 0, 0), -E_RANGE);
    memcpy(self->mem.base + 0x200, sha256, sizeof(sha256));
    assert_int_equal(call(ABI_CALL_IMAGE_EXTEND, 5, 0, 0), 105);
    assert_int_equal(call(ABI_CALL_IMAGE_COMMIT, 5, 0x200, 0), 0);
    assert_int_equal(committed_slot, 5);
    assert_memory_equal(committed, sha256, sizeof(sha256));
    assert_int_equal(call(ABI_CALL_IMAGE_COMMIT, 5, MEMORY - 31, 0), -E_RANGE);
    assert_int_equal(call(ABI_CALL_IMAGE_DROP, UINT64_MAX, 0, 0), -E_BUSY);
    assert_int_equal(dropped_slot, UINT64_MAX);
}

static void creation(void **state)
{
    static struct abi_create r = {.config = {.name = "new"}, .reserved = 1};
    const uint64_t at = 0x300;
    struct abi_create *there = (struct abi_create *)(void *)(self->mem.base + at);

    (void)state;
    memset(r.why, 'x', sizeof(r.why));
    memcpy(there, &r, sizeof(r));
    create_result = -E_NOMEM;
    assert_int_equal(call(ABI_CALL_CREATE, at, 0, 0), -E_NOMEM);
    assert_string_equal(created.config.name, "new");
    assert_int_equal(there->address, 5);
    assert_int_equal(there->why[0], 'x'); /* nothing else is written */
    create_result = 4;
    assert_int_equal(call(ABI_CALL_CREATE, at, 0, 0), 4);
    assert_int_equal(call(ABI_CALL_CREATE, MEMORY - sizeof(r) + 1, 0, 0), -E_RANGE);
}

/* Long calls stop when their time is up, and go on when they are made again. Short calls are
 * answered meanwhile, and another long call gets only its own result. */
static void no_time(void **state)
{
    unsigned turns = 0;

    (void)state;
    memset(&created, 0, sizeof(created));
    create_result = 4;
    assert_true(call_briefly(ABI_CALL_CREATE, 0x300) == CONTROL_LATER);
    assert_int_equal(created.config.name[0], 0);
    assert_int_equal(call_briefly(ABI_CALL_VERSION, 0), ABI_VERSION);
    assert_int_equal(call_briefly(ABI_CALL_HEARTBEAT, 0), 0);
    while (call_briefly(ABI_CALL_CREATE, 0x300) == CONTROL_LATER)
        turns++;
    assert_in_range(turns, sizeof(created) / 4096 - 1, sizeof(created) / 4096 + 1);
    assert_true(call_briefly(ABI_CALL_CREATE, 0x300) == CONTROL_LATER);
    for (turns = 0; call_briefly(ABI_CALL_LOG, 0x300) == CONTROL_LATER; turns++)
        assert_true(turns < 10);
    assert_int_equal(call(ABI_CALL_LOG, 0x300, 1, 0), 0);
}

static void deletion(void **state)
{
    (void)state;
    assert_int_equal(call(ABI_CALL_DELETE, SELF, 0, 0), -E_PERM);
    for (size_t i = 0; i < ARRAY_LEN(no_guests); i++)
        assert_int_equal(call(ABI_CALL_DELETE, no_guests[i], 0, 0), -E_NOENT);
    assert_int_equal(requests, 0);
    other->complete = false; /* also a guest that could not be made */
    assert_int_equal(call(ABI_CALL_DELETE, OTHER, 0, 0), 0);
    assert_ptr_equal(asked, other);
    assert_int_equal(wanted, GUEST_REQ_DELETE);
}

/* Only of a guest that allows it, while nothing runs there. */
static void memory(void **state)
{
    static uint8_t its[4 * ABI_MEMORY_BYTES];
    static const uint32_t still[] = {ABI_GUEST_STOPPED, ABI_GUEST_CRASHED, ABI_GUEST_PAUSED};
    const uint8_t *mine = self->mem.base;

    (void)state;
    for (size_t i = 0; i < sizeof(its); i++)
        its[i] = (uint8_t)(i * 7 + i / 256);
    other->mem = (struct gmem){.base = its, .size = sizeof(its)};
    other->status->state = ABI_GUEST_CRASHED;
    assert_int_equal(call(ABI_CALL_MEMORY, OTHER, 0, 0), -E_PERM);
    other->config.memory_dump = 1;
    for (uint32_t s = ABI_GUEST_EMPTY + 1; s < ABI_GUEST_STATES; s++) {
        bool may = s == still[0] || s == still[1] || s == still[2];

        other->status->state = s;
        memset(self->mem.base, 0, ABI_MEMORY_BYTES);
        assert_int_equal(call(ABI_CALL_MEMORY, OTHER, 3, 0), may ? 0 : -E_STATE);
        assert_int_equal(memcmp(mine, its + 3, ABI_MEMORY_BYTES) == 0, may);
    }
    other->status->state = ABI_GUEST_STOPPED;
    assert_int_equal(call(ABI_CALL_MEMORY, OTHER, sizeof(its) - ABI_MEMORY_BYTES, 0), 0);
    assert_int_equal(call(ABI_CALL_MEMORY, OTHER, sizeof(its) - ABI_MEMORY_BYTES + 1, 0), -E_RANGE);
    assert_int_equal(call(ABI_CALL_MEMORY, OTHER, UINT64_MAX, 0), -E_RANGE);
    assert_int_equal(call(ABI_CALL_MEMORY, OTHER, 0, self->mem.size - ABI_MEMORY_BYTES + 1),
                     -E_RANGE);
    assert_int_equal(call(ABI_CALL_MEMORY, OTHER, 0, UINT64_MAX), -E_RANGE);
    other->complete = false; /* it is being scrubbed */
    assert_int_equal(call(ABI_CALL_MEMORY, OTHER, 0, 0), -E_STATE);
    for (size_t i = 0; i < ARRAY_LEN(no_guests); i++)
        assert_int_equal(call(ABI_CALL_MEMORY, no_guests[i], 0, 0), -E_NOENT);
}

/* Once, whatever calls follow; a second later, so that the answer is sent first. */
static void host_actions(void **state)
{
    static const uint64_t unknown[] = {0, ABI_HOST_ACTION_END, 1ull << 32 | ABI_HOST_REBOOT,
                                       UINT64_MAX};
    unsigned lines = log_lines;
    uint64_t now = arch_tsc(), at;

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(unknown); i++)
        assert_int_equal(call(ABI_CALL_HOST_ACTION, unknown[i], 0, 0), -E_INVAL);
    assert_int_equal(reboot_at, 0);
    assert_int_equal(call(ABI_CALL_HOST_ACTION, ABI_HOST_REBOOT, 0, 0), 0);
    assert_true(reboot_at >= now + arch_tsc_hz() / 1000 * ABI_HOST_ACTION_MS);
    assert_int_equal(log_lines, lines + 1);
    at = reboot_at;
    assert_int_equal(call(ABI_CALL_HOST_ACTION, ABI_HOST_REBOOT, 0, 0), 0);
    assert_int_equal(reboot_at, at);
    assert_int_equal(log_lines, lines + 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(only_management_may),
        TEST(numbers),
        TEST(no_such_guest),
        TEST(snapshot),
        TEST(controls),
        TEST(probes),
        TEST(input_addresses),
        TEST(input_amount),
        TEST(input_needs_a_line),
        TEST(actions),
        TEST(keeping),
        TEST(log_text),
        TEST(address),
        TEST(configured),
        TEST(images),
        TEST(creation),
        TEST(no_time),
        TEST(deletion),
        TEST(memory),
        TEST(host_actions),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

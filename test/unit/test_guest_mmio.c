/* SOURCES: arch/x86/guest/exits.c arch/x86/guest/cr.c arch/x86/guest/events.c arch/x86/guest/mmio.c
 * arch/x86/guest/decode.c arch/x86/guest/emulate.c arch/x86/guest/alu.c arch/x86/guest/operand.c
 * arch/x86/guest/linear.c arch/x86/guest/breakpoints.c arch/x86/guest/cpuid.c
 * arch/x86/guest/msr.c arch/x86/guest/segment.c arch/x86/guest/paging.c hv/exit.c @pc hv/fmt.c
 * hv/lib.c */
/* Accesses of a guest outside its RAM, from the instruction's bytes to the device's registers. */
#include "test/unit/vcpu_fixture.h"

#include "arch/x86/guest/paging.h"

#define REGISTERS 0xfed00000ull
#define SIZE      0x1000u
#define CODE      RIP

/* A device of plain memory, which records its last access. */
static struct probe {
    uint8_t bytes[SIZE];
    uint64_t offset;
    unsigned reads, writes, size;
} device;

static uint64_t probe_read(void *dev, uint64_t offset, unsigned size)
{
    struct probe *p = dev;
    uint64_t value = 0;

    p->reads++;
    p->offset = offset;
    p->size = size;
    memcpy(&value, p->bytes + offset, size);
    return value;
}

static void probe_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    struct probe *p = dev;

    p->writes++;
    p->offset = offset;
    p->size = size;
    memcpy(p->bytes + offset, &value, size);
}

/* Flat 32-bit code with the device's registers at their address. */
static int setup(void **ctx)
{
    static const struct mmio_ops ops = {probe_read, probe_write, 8};

    (void)fixture_vcpu(ctx);
    memset(&device, 0, sizeof(device));
    assert_int_equal(mmio_claim(&guest.platform.bus, REGISTERS, SIZE, &ops, &device), 0);
    state.rflags = RFLAGS_FIXED;
    return 0;
}

static void code_64(void)
{
    state.efer = EFER_LME | EFER_LMA;
    state.segment[SEGMENT_CS].rights = 0x9b | SEGMENT_RIGHTS_L;
}

/* The bytes, in hexadecimal, are executed and access REGISTERS + offset. */
static enum exit_action execute(const char *hex, uint64_t offset, bool write)
{
    struct memory_access m = {REGISTERS + offset, REGISTERS + offset, true, write};
    uint8_t *at = guest.mem.base + CODE;

    memset(at, 0xcc, 32);
    for (; *hex; hex++) {
        char digits[3] = {hex[0], hex[1], 0};

        if (*hex == ' ')
            continue;
        *at++ = (uint8_t)strtoul(digits, NULL, 16);
        hex++;
    }
    record.instruction_length = 0;
    return x86_mmio(v, &m, NEVER);
}

static void put(uint64_t offset, uint64_t value)
{
    memcpy(device.bytes + offset, &value, sizeof(value));
}

static uint64_t get(uint64_t offset)
{
    uint64_t value;

    memcpy(&value, device.bytes + offset, sizeof(value));
    return value;
}

static void reads(const char *hex, uint64_t offset, unsigned size)
{
    assert_int_equal(execute(hex, offset, false), EXIT_SKIP_DECODED);
    assert_int_equal(record.instruction_length, (strlen(hex) + 1) / 3);
    assert_int_equal(device.offset, offset);
    assert_int_equal(device.size, size);
    assert_int_equal(device.writes, 0);
}

static void writes(const char *hex, uint64_t offset, unsigned size)
{
    assert_int_equal(execute(hex, offset, true), EXIT_DONE_DECODED);
    assert_int_equal(record.instruction_length, (strlen(hex) + 1) / 3);
    assert_int_equal(device.offset, offset);
    assert_int_equal(device.size, size);
}

static void test_loads(void **ctx)
{
    (void)ctx;
    put(0x20, 0x8877665544332211);
    v->regs.rax = v->regs.rcx = v->regs.rdx = UINT64_MAX;
    v->regs.rbx = REGISTERS;
    reads("8b 43 20", 0x20, 4); /* mov eax, [ebx+0x20] */
    assert_true(v->regs.rax == 0x44332211);
    reads("66 8b 4b 22", 0x22, 2); /* mov cx, [ebx+0x22] */
    assert_true(v->regs.rcx == 0xffffffffffff4433);
    reads("8a 73 27", 0x27, 1); /* mov dh, [ebx+0x27] */
    assert_true(v->regs.rdx == 0xffffffffffff88ff);
    reads("a1 20 00 d0 fe", 0x20, 4); /* mov eax, [0xfed00020] */
    reads("0f b6 53 27", 0x27, 1);    /* movzx edx, byte [ebx+0x27] */
    assert_true(v->regs.rdx == 0x88);
    reads("0f bf 53 26", 0x26, 2); /* movsx edx, word [ebx+0x26] */
    assert_true(v->regs.rdx == 0xffff8877);
}

static void test_loads_64(void **ctx)
{
    (void)ctx;
    code_64();
    put(0x20, 0x8877665544332211);
    v->regs.rbx = REGISTERS - 0x10;
    v->regs.r14 = 4;
    reads("48 8b 43 30", 0x20, 8); /* mov rax, [rbx+0x30] */
    assert_true(v->regs.rax == 0x8877665544332211);
    reads("4e 8b 64 b3 20", 0x20, 8); /* mov r12, [rbx+r14*4+0x20] */
    assert_true(v->regs.r12 == 0x8877665544332211);
    reads("40 8a 73 37", 0x27, 1); /* mov sil, [rbx+0x37] */
    assert_int_equal(v->regs.rsi, 0x88);
    reads("48 63 43 34", 0x24, 4); /* movsxd rax, [rbx+0x34] */
    assert_true(v->regs.rax == 0xffffffff88776655);
    reads("48 a1 20 00 d0 fe 00 00 00 00", 0x20, 8);
    v->regs.r13 = REGISTERS;
    reads("45 8b 45 00", 0, 4); /* mov r8d, [r13]: not RIP-relative, no SS */
    /* mov eax, [rip+x], from the end of the instruction */
    reads("8b 05 e6 ed cf fe", 0x20, 4);
}

static void test_stores(void **ctx)
{
    (void)ctx;
    v->regs.rbx = REGISTERS;
    v->regs.rdx = 0x1122334455667788;
    writes("89 53 10", 0x10, 4); /* mov [ebx+0x10], edx */
    assert_true(get(0x10) == 0x55667788);
    writes("88 73 10", 0x10, 1); /* mov [ebx+0x10], dh */
    assert_true(get(0x10) == 0x55667777);
    writes("66 c7 43 10 34 12", 0x10, 2); /* mov word [ebx+0x10], 0x1234 */
    assert_true(get(0x10) == 0x55661234);
    v->regs.rax = 0xa5;
    writes("a2 10 00 d0 fe", 0x10, 1); /* mov [0xfed00010], al */
    assert_true(get(0x10) == 0x556612a5);
    code_64();
    writes("48 c7 43 10 fe ff ff ff", 0x10, 8); /* mov qword [rbx+0x10], -2 */
    assert_true(get(0x10) == UINT64_MAX - 1);
    writes("44 0f c3 43 10", 0x10, 4); /* movnti [rbx+0x10], r8d */
    assert_int_equal(get(0x10), 0xffffffff00000000);
}

static void test_16_bit_code(void **ctx)
{
    (void)ctx;
    state.cr0 &= ~CR0_PE;
    state.segment[SEGMENT_CS] = (struct segment){0, 0xffff, 0x9b};
    state.segment[SEGMENT_SS] = (struct segment){REGISTERS - 0x100, UINT32_MAX, 0x93};
    v->regs.rbp = 0xff00f0;
    v->regs.rdi = 0x10;
    put(0, 0x1234);
    reads("8b 43 00", 0, 2); /* mov ax, [bp+di+0]: SS */
    assert_int_equal(v->regs.rax, 0x1234);
    v->regs.rbx = REGISTERS;
    reads("66 67 8b 03", 0, 4); /* mov eax, [ebx] */
    /* Beyond the limit of the code segment. */
    state.segment[SEGMENT_CS].limit = CODE + 2;
    ASSERT_RAISES(execute("66 67 8b 03", 0, false), EVENT_VALID | EVENT_EXCEPTION | VECTOR_GP, 0);
}

static void test_not_emulated(void **ctx)
{
    (void)ctx;
    v->regs.rbx = REGISTERS;
    assert_int_equal(execute("66 0f 6f 03", 0, false), EXIT_STOP); /* movdqa xmm0, [ebx] */
    assert_string_equal(stopped,
                        "read from guest-physical address 0xfed00000, outside of its memory, at "
                        "RIP 0x1234 (instruction not emulated: 660f6f03)");
    v->stop = false;
    assert_int_equal(execute("f0 89 03", 0, true), EXIT_STOP); /* lock mov */
    assert_string_equal(stopped,
                        "wrote to guest-physical address 0xfed00000, outside of its memory, at "
                        "RIP 0x1234 (instruction not emulated: f08903)");
}

static void test_nobody_there(void **ctx)
{
    (void)ctx;
    v->regs.rbx = REGISTERS;
    assert_int_equal(execute("8b 83 00 10 00 00", SIZE, false), EXIT_STOP);
    assert_string_equal(
        stopped,
        "read from guest-physical address 0xfed01000, outside of its memory, at RIP 0x1234");
}

/* SDM 3B "Data Memory and I/O Breakpoint Exception Conditions": a trap behind the instruction, or
 * behind an iteration. */
static void test_watched(void **ctx)
{
    (void)ctx;
    state.dr7 = 1 | 0xdull << 16; /* four bytes written */
    state.dr[0] = REGISTERS + 4;
    writes("89 05 04 00 d0 fe", 4, 4);
    assert_int_equal(state.trap_due, DR6_B0);
    state.trap_due = 0;
    assert_int_equal(execute("8b 05 04 00 d0 fe", 4, false), EXIT_SKIP_DECODED);
    assert_int_equal(state.trap_due, 0);
    v->regs.rdi = REGISTERS;
    v->regs.rcx = 4;
    assert_int_equal(execute("f3 ab", 0, true), EXIT_RESUME);
    assert_int_equal(v->regs.rcx, 2);
    assert_int_equal(state.trap_due, DR6_B0);
    assert_true(state.rflags & RFLAGS_RF);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_watched, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_loads, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_loads_64, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_stores, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_16_bit_code, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_not_emulated, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_nobody_there, setup, fixture_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

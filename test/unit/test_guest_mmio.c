/* SOURCES: hv/gmem.c arch/x86/guest/exits.c arch/x86/guest/apic.c arch/x86/guest/cr.c
 * arch/x86/guest/events.c arch/x86/guest/mmio.c arch/x86/guest/access.c arch/x86/guest/fetch.c
 * arch/x86/guest/decode.c arch/x86/guest/emulate.c arch/x86/guest/alu.c arch/x86/guest/operand.c
 * arch/x86/guest/linear.c arch/x86/guest/breakpoints.c arch/x86/guest/cpuid.c arch/x86/guest/msr.c
 * arch/x86/guest/kvm_clock.c arch/x86/guest/segment.c arch/x86/guest/paging.c hv/exit.c @pc
 * hv/fmt.c hv/lib.c */
/* Accesses of a guest outside its RAM, from the instruction's bytes to the device's registers. */
#include "test/unit/vcpu_fixture.h"

#include "arch/x86/guest/paging.h"

#define REGISTERS 0xfed00000ull
#define SIZE      0x1000u
#define CODE      RIP
#define PF        (EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_PF)

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

/* Shortly before the end of a run nothing is done: the guest repeats the access in its next run. */
static void test_at_the_end(void **ctx)
{
    (void)ctx;
    v->closes = record.tsc;
    v->regs.rax = 7;
    assert_int_equal(execute("a3 08 00 d0 fe", 8, true), EXIT_RESUME);
    assert_int_equal(device.writes + device.reads, 0);
    assert_int_equal(get(8), 0);
    v->closes++;
    writes("a3 08 00 d0 fe", 8, 4);
    assert_int_equal(get(8), 7);
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
    state.selector[SEGMENT_GS] = 0x1234;
    writes("8c 6b 10", 0x10, 2); /* mov [ebx+0x10], gs */
    assert_int_equal(get(0x10) & 0xffff, 0x1234);
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

static void test_read_modify_write(void **ctx)
{
    (void)ctx;
    v->regs.rbx = REGISTERS;
    v->regs.rax = 0xf0000001;
    put(8, 0x10000000);
    writes("f0 01 43 08", 8, 4); /* lock add [ebx+8], eax */
    assert_true(get(8) == 1);
    assert_true(state.rflags == (RFLAGS_FIXED | RFLAGS_CF));
    assert_int_equal(device.reads, 1);
    writes("66 83 53 08 ff", 8, 2); /* adc word [ebx+8], -1 */
    assert_true(get(8) == 1);
    assert_true(state.rflags == (RFLAGS_FIXED | RFLAGS_CF | RFLAGS_AF));
    writes("f6 5b 08", 8, 1); /* neg byte [ebx+8] */
    assert_true(get(8) == 0xff);
    writes("0f ba 73 08 04", 8, 4); /* btr dword [ebx+8], 4 */
    assert_true(get(8) == 0xef);
    v->regs.rcx = 0x77;
    writes("86 4b 08", 8, 1); /* xchg [ebx+8], cl */
    assert_true(get(8) == 0x77 && v->regs.rcx == 0xef);
    v->regs.rdx = 2;
    writes("0f c1 53 08", 8, 4); /* xadd [ebx+8], edx */
    assert_true(get(8) == 0x79 && v->regs.rdx == 0x77);
    v->regs.rax = 0x79;
    writes("0f b1 53 08", 8, 4); /* cmpxchg [ebx+8], edx: equal */
    assert_true(get(8) == 0x77 && (state.rflags & RFLAGS_ZF));
    writes("0f b1 4b 08", 8, 4); /* not equal: written back */
    assert_true(get(8) == 0x77 && v->regs.rax == 0x77 && !(state.rflags & RFLAGS_ZF));
    device.writes = 0;
    state.rflags |= RFLAGS_RF;
    reads("39 43 08", 8, 4); /* cmp [ebx+8], eax */
    assert_true(state.rflags == (RFLAGS_FIXED | RFLAGS_ZF | RFLAGS_PF));
    reads("03 43 08", 8, 4); /* add eax, [ebx+8] */
    assert_true(v->regs.rax == 0xee);
}

/* SDM 2A "BT": the number in a register is signed. */
static void test_far_bits(void **ctx)
{
    (void)ctx;
    v->regs.rbx = REGISTERS + 0x100;
    v->regs.rcx = 0xffffffffffffff7full; /* -129 */
    writes("0f ab 0b", 0x100 - 20, 4);   /* bts [ebx], ecx */
    assert_true(get(0x100 - 20) == 0x80000000);
    v->regs.rcx = 0x8000; /* as a word: -32768 */
    v->regs.rbx = REGISTERS + 0x1800;
    device.writes = 0;
    reads("66 0f a3 0b", 0x800, 2); /* bt [ebx], cx */
    v->regs.rcx = 0xff;
    v->regs.rbx = REGISTERS;
    reads("0f ba 23 ff", 0, 4); /* bt dword [ebx], 0xff: within the operand */
}

/* Two bytes of RAM, two where nothing is. */
static void test_crosses_a_page(void **ctx)
{
    struct memory_access m = {MEMORY, MEMORY, true, false};

    (void)ctx;
    v->regs.rbx = MEMORY - 2;
    memcpy(guest.mem.base + MEMORY - 2, "\x11\x22", 2);
    memcpy(guest.mem.base + CODE, "\x8b\x03\x87\x03", 4); /* mov eax, [ebx]; xchg */
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_SKIP_DECODED);
    assert_true(v->regs.rax == 0xffff2211);
    record.rip += 2;
    m.write = true;
    v->regs.rax = 0x44332244;
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_DONE_DECODED);
    assert_true(v->regs.rax == 0xffff2211);
    assert_memory_equal(guest.mem.base + MEMORY - 2, "\x44\x22", 2);
    assert_true(stats.unclaimed_reads == 2 && stats.unclaimed_writes == 1);
}

static void test_moves(void **ctx)
{
    (void)ctx;
    put(0x10, 0x8877665544332211);
    v->regs.rsi = REGISTERS + 0x10;
    v->regs.rdi = 0x300;
    assert_int_equal(execute("a5", 0x10, false), EXIT_DONE_DECODED); /* movsd, from a register */
    assert_memory_equal(guest.mem.base + 0x300, "\x11\x22\x33\x44", 5);
    assert_true(v->regs.rsi == REGISTERS + 0x14 && v->regs.rdi == 0x304);
    v->regs.rsi = 0x302;
    v->regs.rdi = REGISTERS + 0x20;
    v->regs.rcx = 2;
    state.rflags |= RFLAGS_DF;
    writes("f3 66 a5", 0x1e, 2); /* rep movsw, to registers, downwards */
    assert_true(get(0x1e) == 0x44332211);
    assert_true(v->regs.rsi == 0x2fe && v->regs.rdi == REGISTERS + 0x1c && v->regs.rcx == 0);
    state.rflags &= ~RFLAGS_DF;
    v->regs.rsi = REGISTERS + 0x10;
    v->regs.rdi = REGISTERS + 0x40;
    v->regs.rcx = 8;
    writes("f3 a4", 0x47, 1); /* rep movsb, from and to registers */
    assert_true(get(0x40) == 0x8877665544332211);
    v->regs.rcx = 0;
    device.reads = device.writes = 0;
    assert_int_equal(execute("f3 a4", 0x40, true), EXIT_DONE_DECODED);
    assert_int_equal(device.reads + device.writes, 0);
}

/* SDM 2B "REP": between two iterations the vCPU takes interrupts and traps, and goes on later. */
static void test_rests(void **ctx)
{
    struct memory_access m = {REGISTERS, REGISTERS, true, true};

    (void)ctx;
    v->regs.rdi = REGISTERS;
    v->regs.rcx = 100;
    assert_int_equal(execute("f3 aa", 0, true), EXIT_RESUME); /* rep stosb */
    assert_int_equal(v->regs.rcx, 100 - 64);
    assert_true(state.rflags & RFLAGS_RF);
    assert_int_equal(x86_mmio(v, &m, 0), EXIT_RESUME); /* the time is over */
    assert_int_equal(v->regs.rcx, 100 - 65);
    state.rflags |= RFLAGS_TF;
    state.shadow = true;
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_RESUME);
    assert_int_equal(v->regs.rcx, 100 - 66);
    assert_true(state.trap_due && !state.shadow);
    state.rflags &= ~RFLAGS_TF;
    v->nmi = true;
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_RESUME);
    assert_int_equal(v->regs.rcx, 100 - 67);
    v->nmi = false;
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_DONE_DECODED);
    assert_int_equal(device.writes, 100);
    assert_false(state.rflags & RFLAGS_RF);
}

/* Each iteration is checked before it is done; those before it stay done. */
static void test_string_faults(void **ctx)
{
    (void)ctx;
    state.segment[SEGMENT_ES].limit = REGISTERS + 2;
    v->regs.rdi = REGISTERS;
    v->regs.rcx = 9;
    ASSERT_RAISES(execute("f3 aa", 0, true), GP, 0);
    assert_int_equal(v->regs.rcx, 6);
    assert_int_equal(device.writes, 3);
    /* The destination in RAM is checked before the source is read. */
    device.reads = 0;
    state.segment[SEGMENT_ES] = (struct segment){0, UINT32_MAX, 0x91 | SEGMENT_RIGHTS_DB};
    v->regs.rsi = REGISTERS;
    v->regs.rdi = 0x100;
    ASSERT_RAISES(execute("a4", 0, false), GP, 0);
    assert_int_equal(device.reads, 0);
}

#define TABLE 0x4000u /* a page directory of 4 MB pages and 4 KB ones for the first */

static void page(unsigned number, uint32_t entry)
{
    memcpy(guest.mem.base + TABLE + 0x1000 + 4 * number, &entry, 4);
}

/* The first 64 KB mapped one to one, the registers behind them. */
static void with_paging(void)
{
    const uint32_t first = TABLE + 0x1007;

    state.cr0 |= CR0_PG | CR0_WP;
    state.cr3 = TABLE;
    memcpy(guest.mem.base + TABLE, &first, 4);
    for (unsigned i = 0; i < MEMORY / PAGE_SIZE; i++)
        page(i, (uint32_t)(i * PAGE_SIZE) | 7);
    page(MEMORY / PAGE_SIZE, REGISTERS | 7);
}

static void test_page_faults(void **ctx)
{
    struct memory_access m = {REGISTERS, MEMORY, true, false};

    (void)ctx;
    with_paging();
    memcpy(guest.mem.base + CODE, "\xa4", 1); /* movsb */
    v->regs.rsi = MEMORY;
    v->regs.rdi = 0x6000;
    put(0, 0x5a);
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_DONE_DECODED);
    assert_int_equal(guest.mem.base[0x6000], 0x5a);
    page(6, 0x6005); /* read-only */
    ASSERT_RAISES(x86_mmio(v, &m, NEVER), PF, PF_PRESENT | PF_WRITE);
    assert_int_equal(state.cr2, 0x6001);
    assert_int_equal(device.reads, 1);
    /* A read that the CPU has reported does not allow the write of another instruction. */
    memcpy(guest.mem.base + CODE, "\x88\x06", 2); /* mov [esi], al */
    page(MEMORY / PAGE_SIZE, REGISTERS | 5);
    ASSERT_RAISES(x86_mmio(v, &m, NEVER), PF, PF_PRESENT | PF_WRITE);
    assert_int_equal(state.cr2, MEMORY + 1);
}

/* AMD-V reports the guest-physical address alone: that of the only operand, unless another part of
 * the page was accessed (an operand that crosses pages), or there is more than one. */
static void test_linear_unknown(void **ctx)
{
    struct memory_access m = {.gpa = REGISTERS + 8};

    (void)ctx;
    code_64();
    v->regs.rbx = 0x7000123008; /* leads nowhere: the CPU knows better */
    put(8, 0x1234567890);
    memcpy(guest.mem.base + CODE, "\x8b\x03", 2); /* mov eax, [rbx] */
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_SKIP_DECODED);
    assert_int_equal(v->regs.rax, 0x34567890);
    v->regs.rbx = REGISTERS + 8;
    m.gpa = 0x7000123000; /* other offset: the walk counts */
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_SKIP_DECODED);
    assert_int_equal(v->regs.rax, 0x34567890);
    m.gpa = 0x7000123008;
    memcpy(guest.mem.base + CODE, "\xa4", 1); /* movsb: two operands */
    v->regs.rsi = REGISTERS + 8;
    v->regs.rdi = 0x6000;
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_DONE_DECODED);
    assert_int_equal(guest.mem.base[0x6000], 0x90);
    /* A read that was reported does not allow a write. */
    m = (struct memory_access){.gpa = REGISTERS + 8};
    memcpy(guest.mem.base + CODE, "\x83\x0b\x01", 3); /* or [rbx], 1 */
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_DONE_DECODED);
    assert_int_equal(get(8), 0x1234567891);
}

/* The instruction is fetched with the checks of a fetch, and only as far as it goes. */
static void test_fetches(void **ctx)
{
    struct memory_access m = {REGISTERS, MEMORY, true, false};

    (void)ctx;
    with_paging();
    v->regs.rbx = MEMORY;
    record.rip = 0x2fff;
    memcpy(guest.mem.base + 0x2fff, "\x8b\x03", 2);
    page(3, 0);
    ASSERT_RAISES(x86_mmio(v, &m, NEVER), PF, 0);
    assert_int_equal(state.cr2, 0x3000);
    record.rip = 0x2ffe;
    memcpy(guest.mem.base + 0x2ffe, "\x8b\x03", 2);
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_SKIP_DECODED);
    page(3, 0x3007);
    memcpy(guest.mem.base + 0x2fff, "\x43\x04", 2);
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_SKIP_DECODED);
    assert_int_equal(record.instruction_length, 3);
    assert_int_equal(device.offset, 4);
    /* SDM 2A "Instruction Format": at most 15 bytes. */
    memset(guest.mem.base + 0x2ffe, 0x3e, 14);
    memcpy(guest.mem.base + 0x2ffe + 13, "\x8b\x03", 2);
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_SKIP_DECODED);
    assert_int_equal(record.instruction_length, 15);
    memcpy(guest.mem.base + 0x2ffe + 13, "\x3e\x8b\x03", 3);
    ASSERT_RAISES(x86_mmio(v, &m, NEVER), GP, 0);
    /* The guest has unmapped its code, or put it where there is none, meanwhile. */
    page(2, 0x2000);
    ASSERT_RAISES(x86_mmio(v, &m, NEVER), PF, 0);
    page(2, 0x800000 | 7);
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_STOP);
    assert_string_equal(
        stopped, "executed guest-physical address 0x800ffe, outside of its memory, at RIP 0x2ffe");
}

static void entry_64(unsigned level, unsigned number, uint64_t entry)
{
    memcpy(guest.mem.base + TABLE + 0x1000 * (4 - level) + 8 * number, &entry, 8);
}

/* The instruction is known from the last time, but all that its place and its bytes rest on is
 * looked at again. */
static void test_known_instruction(void **ctx)
{
    struct memory_access m = {REGISTERS, MEMORY, true, false};

    (void)ctx;
    code_64();
    state.efer |= EFER_NXE;
    state.cr0 |= CR0_PG | CR0_WP;
    state.cr4 |= CR4_PAE | CR4_SMEP;
    state.cr3 = TABLE;
    for (unsigned level = 4; level > 1; level--)
        entry_64(level, 0, (TABLE + 0x1000 * (5 - level)) | 7);
    for (unsigned i = 0; i < MEMORY / PAGE_SIZE; i++)
        entry_64(1, i, (i * PAGE_SIZE) | 3);
    entry_64(1, MEMORY / PAGE_SIZE, REGISTERS | 3);
    v->regs.rbx = MEMORY;
    memcpy(guest.mem.base + CODE, "\x8b\x43\x04", 3);
    memcpy(guest.mem.base + 0x9000 + CODE % PAGE_SIZE, "\x8a\x43\x08", 3);
    for (unsigned i = 0; i < 3; i++) {
        device.offset = 0;
        assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_SKIP_DECODED);
        assert_int_equal(device.offset, 4);
        assert_ptr_equal(state.x86.decoded.at, guest.mem.base + CODE);
    }
    guest.mem.base[CODE + 2] = 0x14; /* other bytes */
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_SKIP_DECODED);
    assert_int_equal(device.offset, 0x14);
    entry_64(1, CODE / PAGE_SIZE, 0x9023); /* another page */
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_SKIP_DECODED);
    assert_int_equal(device.offset, 8);
    assert_int_equal(device.size, 1);
    entry_64(1, CODE / PAGE_SIZE, 0x9027); /* a user's: SMEP */
    ASSERT_RAISES(x86_mmio(v, &m, NEVER), PF, PF_PRESENT | PF_FETCH);
    state.cpl = 3;
    entry_64(1, MEMORY / PAGE_SIZE, REGISTERS | 7);
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_SKIP_DECODED);
    state.cpl = 0;
    ASSERT_RAISES(x86_mmio(v, &m, NEVER), PF, PF_PRESENT | PF_FETCH);
    state.cr4 &= ~CR4_SMEP;
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_SKIP_DECODED);
    entry_64(2, 0, (TABLE + 0x3000) | 7 | 1ull << 63); /* no-execute */
    ASSERT_RAISES(x86_mmio(v, &m, NEVER), PF, PF_PRESENT | PF_FETCH);
    state.cr3 = 0x8000; /* other tables: none */
    ASSERT_RAISES(x86_mmio(v, &m, NEVER), PF, PF_FETCH);
    /* In other code the same bytes are another instruction: dec eax; mov eax, [ebx]. */
    state.cr0 &= ~CR0_PG;
    v->regs.rbx = REGISTERS;
    reads("48 8b 03", 0, 8);
    state.efer = 0;
    state.segment[SEGMENT_CS].rights = 0x9b | SEGMENT_RIGHTS_DB;
    assert_int_equal(x86_mmio(v, &m, NEVER), EXIT_STOP);
    assert_non_null(strstr(stopped, "(instruction not emulated: 48)"));
}

static void test_alignment(void **ctx)
{
    (void)ctx;
    v->regs.rbx = REGISTERS + 1;
    state.cr0 |= CR0_AM;
    state.rflags |= RFLAGS_AC;
    reads("8b 03", 1, 4);
    state.cpl = 3;
    ASSERT_RAISES(execute("8b 03", 1, false),
                  EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_AC, 0);
    v->regs.rbx = REGISTERS;
    reads("8b 03", 0, 4);
}

/* What a device does with a write counts at once. */
static void end_it(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    (void)dev;
    (void)offset;
    (void)size;
    (void)value;
    vcpu_stop(v, ABI_GUEST_STOPPED, "by a register");
}

static void test_ends_the_guest(void **ctx)
{
    static const struct mmio_ops ops = {probe_read, end_it, 4};

    (void)ctx;
    assert_int_equal(mmio_claim(&guest.platform.bus, REGISTERS + SIZE, 4, &ops, &device), 0);
    v->regs.rbx = REGISTERS + SIZE;
    assert_int_equal(execute("89 03", SIZE, true), EXIT_STOP);
    v->stop = false;
    v->regs.rdi = REGISTERS + SIZE;
    v->regs.rcx = 4;
    assert_int_equal(execute("f3 ab", SIZE, true), EXIT_STOP);
    assert_int_equal(v->regs.rcx, 4);
}

/* An interrupt that the access raises is looked at before the next instruction. */
static void test_interrupts(void **ctx)
{
    (void)ctx;
    raise_irq();
    v->regs.rbx = REGISTERS;
    assert_int_equal(execute("8b 03", 0, false), EXIT_DONE_DECODED);
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
    assert_int_equal(execute("8b 83 00 10 00 00", SIZE, false), EXIT_SKIP_DECODED);
    assert_int_equal(v->regs.rax, UINT32_MAX);
    assert_int_equal(execute("0f b6 83 00 10 00 00", SIZE, false), EXIT_SKIP_DECODED);
    assert_int_equal(v->regs.rax, 0xff);
    assert_int_equal(execute("01 83 04 10 00 00", SIZE, true), EXIT_DONE_DECODED);
    assert_int_equal(stats.unclaimed_reads, 3);
    assert_int_equal(stats.unclaimed_writes, 1);
    assert_true(stats.unclaimed_address == REGISTERS + SIZE + 4);
    guest.config.strict_memory = true;
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
        cmocka_unit_test_setup_teardown(test_at_the_end, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_loads, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_loads_64, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_stores, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_16_bit_code, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_read_modify_write, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_far_bits, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_crosses_a_page, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_moves, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_rests, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_string_faults, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_page_faults, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_linear_unknown, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_fetches, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_known_instruction, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_alignment, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_ends_the_guest, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_interrupts, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_not_emulated, setup, fixture_end),
        cmocka_unit_test_setup_teardown(test_nobody_there, setup, fixture_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

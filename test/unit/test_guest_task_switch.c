/* SOURCES: hv/gmem.c arch/x86/guest/task_switch.c arch/x86/guest/exits.c arch/x86/guest/cr.c
 * arch/x86/guest/events.c arch/x86/guest/cpuid.c arch/x86/guest/msr.c arch/x86/guest/kvm_clock.c
 * arch/x86/guest/segment.c arch/x86/guest/paging.c arch/x86/guest/linear.c
 * arch/x86/guest/breakpoints.c arch/x86/guest/apic.c hv/exit.c @pc hv/fmt.c hv/lib.c */
/* SDM 3A "Task Management": what a switch saves, loads, checks and raises. */
#include "arch/x86/guest/task_switch.h"
#include "test/unit/vcpu_fixture.h"

#define GDT          0x1000u
#define LDT          0x1800u
#define OLD_TSS      0x2000u
#define NEW_TSS      0x2100u
#define STACK        0x3000u
#define NEW_EIP      0x4444u
#define PUT(at, v)   put(at, &(uint32_t){v}, sizeof(uint32_t))
#define PUT16(at, v) put(at, &(uint16_t){v}, sizeof(uint16_t))

/* Selectors: their descriptors are made by make_tables(). */
enum {
    CODE = 0x08,
    DATA = 0x10,
    OLD = 0x18,
    NEW = 0x20,
    LDT_SELECTOR = 0x28,
    CODE3 = 0x30,
    DATA3 = 0x38,
    SPARE = 0x40,
    LDT_DATA = 0x0c, /* in the LDT */
};

static void put(uint32_t at, const void *from, size_t size)
{
    memcpy(guest.mem.base + at, from, size);
}

static uint32_t get(uint32_t at)
{
    uint32_t value;

    memcpy(&value, guest.mem.base + at, sizeof(value));
    return value;
}

static uint16_t get16(uint32_t at)
{
    return (uint16_t)get(at);
}

/* `rights`: bytes 5 and 6 without the limit's bits. */
static void describe(uint32_t at, uint32_t base, uint32_t limit, uint32_t rights)
{
    uint64_t d = (limit & 0xffff) | (uint64_t)(limit >> 16 & 0xf) << 48 |
                 (uint64_t)(base & 0xffffff) << 16 | (uint64_t)(base >> 24) << 56 |
                 (uint64_t)(rights & 0xf0ff) << 40;

    put(at, &d, sizeof(d));
}

static uint8_t type_of(uint16_t selector)
{
    return guest.mem.base[GDT + (selector & ~7u) + 5];
}

/* A 32-bit task that runs flat, and a new one with values that differ in each field. */
static void make_tables(void)
{
    static const uint16_t segments[6] = {DATA, CODE, DATA, DATA, 0, DATA};

    describe(GDT + CODE, 0, 0xfffff, 0xc09b);
    describe(GDT + DATA, 0, 0xfffff, 0xc093);
    describe(GDT + OLD, OLD_TSS, 103, 0x8b);
    describe(GDT + NEW, NEW_TSS, 103, 0x89);
    describe(GDT + LDT_SELECTOR, LDT, 0xf, 0x82);
    describe(GDT + CODE3, 0, 0xfffff, 0xc0fb);
    describe(GDT + DATA3, 0, 0xfffff, 0xc0f3);
    describe(LDT + 8, 0x500, 0xff, 0x4093);
    state.gdtr = (struct segment){.base = GDT, .limit = 0x47};
    state.selector[SEGMENT_TR] = OLD;
    state.segment[SEGMENT_TR] = (struct segment){OLD_TSS, 103, 0x8b};
    state.segment[SEGMENT_LDTR] = (struct segment){.rights = SEGMENT_RIGHTS_NULL};
    for (unsigned i = 0; i < 6; i++)
        state.selector[i] = i == SEGMENT_CS ? CODE : DATA;
    state.rip = 0x1111;
    state.rflags = RFLAGS_FIXED | RFLAGS_IF | RFLAGS_NT;
    for (unsigned i = 0; i < 8; i++) {
        x86_write_gpr(v, i, 0xaaaa0000u + i);
        PUT(NEW_TSS + 0x28 + 4 * i, i == 4 ? STACK : 0xbbbb0000u + i);
    }
    PUT(NEW_TSS + 0x1c, 0x7000);
    PUT(NEW_TSS + 0x20, NEW_EIP);
    PUT(NEW_TSS + 0x24, 0x46); /* without bit 1, which is fixed, it would be refused */
    for (unsigned i = 0; i < 6; i++)
        PUT(NEW_TSS + 0x48 + 4 * i, segments[i]);
    PUT(NEW_TSS + 0x60, LDT_SELECTOR);
}

static int setup(void **ctx)
{
    int rc = fixture_vcpu(ctx);

    make_tables();
    return rc;
}

static enum exit_action go(enum task_source by, uint32_t event, uint32_t error)
{
    const struct task_switch t = {.by = by,
                                  .selector = by == TASK_IRET ? get16(OLD_TSS) : (uint16_t)NEW,
                                  .event = event,
                                  .error = error,
                                  .length = by == TASK_GATE ? 0 : 7};

    state.event = state.error = 0;
    return x86_task_switch(v, &t);
}

static void expect_new_task(void)
{
    assert_int_equal(state.event, 0);
    assert_int_equal(state.rip, NEW_EIP);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(x86_read_gpr(v, i), i == 4 ? STACK : 0xbbbb0000u + i);
    assert_int_equal(state.selector[SEGMENT_TR], NEW);
    assert_int_equal(state.segment[SEGMENT_TR].base, NEW_TSS);
    assert_int_equal(state.segment[SEGMENT_TR].rights, 0x8b);
    assert_int_equal(state.selector[SEGMENT_LDTR], LDT_SELECTOR);
    assert_int_equal(state.segment[SEGMENT_LDTR].base, LDT);
    assert_int_equal(state.segment[SEGMENT_CS].rights, 0xc09b);
    assert_int_equal(state.segment[SEGMENT_CS].limit, UINT32_MAX);
    assert_int_equal(state.segment[SEGMENT_SS].rights, 0xc093);
    assert_true(state.segment[SEGMENT_FS].rights & SEGMENT_RIGHTS_NULL);
    assert_true(state.cr0 & CR0_TS);
}

/* Table 7-2 "Effect of a Task Switch on Busy Flag, NT Flag, Previous Task Link Field, TS Flag". */
static void test_jmp(void **ctx)
{
    (void)ctx;
    state.dr7 = DR7_RESET | 0x3ff;
    state.shadow = true;
    PUT(OLD_TSS + 0x48, 0xffff0000); /* what is reserved stays */
    assert_int_equal(go(TASK_JMP, 0, 0), EXIT_RESUME);
    expect_new_task();
    assert_int_equal(state.rflags, 0x46 | RFLAGS_FIXED);
    assert_int_equal(get(OLD_TSS + 0x20), 0x1111 + 7);
    assert_int_equal(get(OLD_TSS + 0x24), RFLAGS_FIXED | RFLAGS_IF | RFLAGS_NT);
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(get(OLD_TSS + 0x28 + 4 * i), 0xaaaa0000u + i);
    assert_int_equal(get(OLD_TSS + 0x48), 0xffff0000 | DATA);
    assert_int_equal(get(OLD_TSS + 0x4c), CODE);
    assert_int_equal(get(OLD_TSS + 0x1c), 0); /* not CR3 */
    assert_int_equal(type_of(OLD), 0x89);
    assert_int_equal(type_of(NEW), 0x8b);
    assert_int_equal(get16(NEW_TSS), 0);
    assert_int_equal(state.dr7, DR7_RESET | 0x2aa); /* the local breakpoints end with the task */
    assert_false(state.shadow);
    assert_int_equal(state.cr3, 0); /* paging is off */
}

static void test_call_and_iret(void **ctx)
{
    (void)ctx;
    assert_int_equal(go(TASK_CALL, 0, 0), EXIT_RESUME);
    expect_new_task();
    assert_int_equal(state.rflags, 0x46 | RFLAGS_FIXED | RFLAGS_NT);
    assert_int_equal(type_of(OLD), 0x8b);
    assert_int_equal(type_of(NEW), 0x8b);
    assert_int_equal(get16(NEW_TSS), OLD);
    /* And back, from the task that was called. */
    state.nmi_blocked = true;
    PUT(OLD_TSS + 0x60, 0);
    PUT16(OLD_TSS, OLD);
    assert_int_equal(x86_task_switch(v, &(struct task_switch){TASK_IRET, OLD, 0, 0, 1}),
                     EXIT_RESUME);
    assert_int_equal(state.event, 0);
    assert_int_equal(state.rip, 0x1111 + 7);
    assert_int_equal(state.rflags, RFLAGS_FIXED | RFLAGS_IF | RFLAGS_NT);
    assert_int_equal(get(NEW_TSS + 0x24), 0x46 | RFLAGS_FIXED); /* NT is cleared there */
    assert_int_equal(type_of(OLD), 0x8b);
    assert_int_equal(type_of(NEW), 0x89);
    assert_false(state.nmi_blocked);
    assert_true(state.segment[SEGMENT_LDTR].rights & SEGMENT_RIGHTS_NULL);
}

static void test_exception_through_a_gate(void **ctx)
{
    const uint32_t pf = EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_PF;

    (void)ctx;
    v->halted = state.in_halt = true;
    state.rflags |= RFLAGS_RF;
    assert_int_equal(go(TASK_GATE, pf, 6), EXIT_RESUME);
    assert_int_equal(state.rip, NEW_EIP);
    assert_int_equal(state.rsp, STACK - 4);
    assert_int_equal(get(STACK - 4), 6);
    assert_int_equal(get(OLD_TSS + 0x20), 0x1111); /* to be executed again */
    assert_true(get(OLD_TSS + 0x24) & RFLAGS_RF);
    assert_true(state.rflags & RFLAGS_NT);
    assert_false(v->halted || state.in_halt);
    /* An NMI blocks others. */
    (void)fixture_end(ctx);
    (void)setup(ctx);
    assert_int_equal(go(TASK_GATE, EVENT_VALID | EVENT_NMI | VECTOR_NMI, 0), EXIT_RESUME);
    expect_new_task();
    assert_true(state.nmi_blocked);
}

static void test_16_bits(void **ctx)
{
    static const uint16_t segments[4] = {DATA, CODE, DATA, DATA};

    (void)ctx;
    describe(GDT + OLD, OLD_TSS, 43, 0x83);
    state.segment[SEGMENT_TR] = (struct segment){OLD_TSS, 43, 0x83};
    describe(GDT + NEW, NEW_TSS, 43, 0x81);
    memset(guest.mem.base + NEW_TSS, 0, 104);
    PUT16(NEW_TSS + 0x0e, NEW_EIP);
    PUT16(NEW_TSS + 0x10, 0x46);
    for (unsigned i = 0; i < 8; i++)
        PUT16(NEW_TSS + 0x12 + 2 * i, (uint16_t)(i == 4 ? STACK : 0xbb00u + i));
    for (unsigned i = 0; i < 4; i++)
        PUT16(NEW_TSS + 0x22 + 2 * i, segments[i]);
    assert_int_equal(
        go(TASK_GATE, EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | VECTOR_GP, 0x18),
        EXIT_RESUME);
    assert_int_equal(state.event, 0);
    assert_int_equal(state.rip, NEW_EIP);
    assert_int_equal(x86_read_gpr(v, 7), 0xbb07);
    assert_int_equal(state.rsp, STACK - 2);
    assert_int_equal(get16(STACK - 2), 0x18);
    assert_int_equal(get16(OLD_TSS + 0x0e), 0x1111);
    assert_int_equal(get16(OLD_TSS + 0x10), (uint16_t)(RFLAGS_FIXED | RFLAGS_IF | RFLAGS_NT));
    assert_int_equal(get16(OLD_TSS + 0x12 + 14), 7);
    assert_int_equal(get16(OLD_TSS + 0x28), DATA);
    assert_int_equal(get16(OLD_TSS + 0x2a), 0);
    assert_int_equal(type_of(NEW), 0x83);
    assert_int_equal(state.segment[SEGMENT_TR].rights, 0x83);
    assert_true(state.segment[SEGMENT_FS].rights & SEGMENT_RIGHTS_NULL);
}

static void test_virtual_8086(void **ctx)
{
    (void)ctx;
    PUT(NEW_TSS + 0x24, RFLAGS_VM | RFLAGS_IF);
    PUT(NEW_TSS + 0x60, 0);
    for (unsigned i = 0; i < 6; i++)
        PUT(NEW_TSS + 0x48 + 4 * i, 0x120 + i);
    assert_int_equal(go(TASK_CALL, 0, 0), EXIT_RESUME);
    assert_int_equal(state.event, 0);
    for (unsigned i = 0; i < 6; i++) {
        assert_int_equal(state.segment[i].base, 0x1200 + 16 * i);
        assert_int_equal(state.segment[i].limit, 0xffff);
        assert_int_equal(state.segment[i].rights, 0xf3);
    }
    assert_int_equal(state.cpl, 3);
}

static void test_user_task(void **ctx)
{
    (void)ctx;
    PUT(NEW_TSS + 0x48, DATA3 | 3);
    PUT(NEW_TSS + 0x4c, CODE3 | 3);
    PUT(NEW_TSS + 0x50, DATA3 | 3);
    PUT(NEW_TSS + 0x54, DATA3);
    PUT(NEW_TSS + 0x5c, 0);
    assert_int_equal(go(TASK_JMP, 0, 0), EXIT_RESUME);
    assert_int_equal(state.event, 0);
    assert_int_equal(state.cpl, 3);
    assert_int_equal(state.selector[SEGMENT_SS], DATA3 | 3);
}

/* SDM 3B "Task-Switch Exception Condition". */
static void test_trap_flag(void **ctx)
{
    (void)ctx;
    PUT(NEW_TSS + 0x64, 1);
    assert_int_equal(go(TASK_JMP, 0, 0), EXIT_RESUME);
    assert_int_equal(state.event, DB);
    assert_int_equal(state.dr[6], DR6_RESET | DR6_BT);
    assert_int_equal(state.rip, NEW_EIP);
    assert_false(state.rflags & RFLAGS_RF); /* a trap */
}

static void test_local_descriptors(void **ctx)
{
    (void)ctx;
    PUT(NEW_TSS + 0x54, LDT_DATA);
    assert_int_equal(go(TASK_JMP, 0, 0), EXIT_RESUME);
    assert_int_equal(state.event, 0);
    assert_int_equal(state.segment[SEGMENT_DS].base, 0x500);
    assert_int_equal(state.segment[SEGMENT_DS].limit, 0xff);
}

static void test_sets_accessed(void **ctx)
{
    (void)ctx;
    describe(GDT + DATA, 0, 0xfffff, 0xc092);
    assert_int_equal(go(TASK_JMP, 0, 0), EXIT_RESUME);
    assert_int_equal(state.event, 0);
    assert_int_equal(type_of(DATA), 0x93);
    assert_int_equal(state.segment[SEGMENT_DS].rights, 0xc093);
}

/* ---- faults ---- */

#define FAULT(vector) (EVENT_VALID | EVENT_EXCEPTION | EVENT_ERROR_CODE | (vector))

/* Table 7-1 "Exception Conditions Checked During a Task Switch": one word of the new TSS, or one
 * descriptor, is changed. */
static void test_refused(void **ctx)
{
    static const struct {
        uint32_t selector_at, selector; /* in the new TSS; 0: none */
        uint16_t descriptor;            /* 0: none */
        uint32_t rights, limit;
        uint8_t vector;
        uint16_t error;
        bool in_old;
    } rows[] = {
        {0, 0, NEW, 0x09, 103, VECTOR_NP, NEW, true},
        {0, 0, NEW, 0x89, 102, VECTOR_TS, NEW, true},
        {0, 0, NEW, 0x8b, 103, VECTOR_GP, NEW, true},  /* busy */
        {0, 0, NEW, 0x93, 103, VECTOR_GP, NEW, true},  /* no TSS */
        {0x60, 0x48, 0, 0, 0, VECTOR_TS, 0x48, false}, /* LDT: beyond the table */
        {0x60, 0x0c, 0, 0, 0, VECTOR_TS, 0x0c, false}, /* in an LDT */
        {0x60, DATA, 0, 0, 0, VECTOR_TS, DATA, false},
        {0, 0, LDT_SELECTOR, 0x02, 15, VECTOR_TS, LDT_SELECTOR, false},
        {0x4c, 0, 0, 0, 0, VECTOR_TS, 0, false}, /* CS: null */
        {0x4c, 0x48, 0, 0, 0, VECTOR_TS, 0x48, false},
        {0x4c, DATA, 0, 0, 0, VECTOR_TS, DATA, false},
        {0x4c, CODE | 3, 0, 0, 0, VECTOR_TS, CODE, false}, /* RPL is not DPL */
        {0x4c, SPARE, SPARE, 0xc01b, 0xfffff, VECTOR_NP, SPARE, false},
        {0x50, 0, 0, 0, 0, VECTOR_TS, 0, false}, /* SS */
        {0x50, DATA | 1, 0, 0, 0, VECTOR_TS, DATA, false},
        {0x50, DATA3, 0, 0, 0, VECTOR_TS, DATA3, false},
        {0x50, CODE, 0, 0, 0, VECTOR_TS, CODE, false},
        {0x50, SPARE, SPARE, 0xc091, 0xfffff, VECTOR_TS, SPARE, false}, /* read-only */
        {0x50, SPARE, SPARE, 0xc013, 0xfffff, VECTOR_SS, SPARE, false},
        {0x48, SPARE, SPARE, 0xc099, 0xfffff, VECTOR_TS, SPARE, false}, /* ES: not readable */
        {0x54, SPARE, SPARE, 0xc013, 0xfffff, VECTOR_NP, SPARE, false},
        {0x54, DATA | 1, 0, 0, 0, VECTOR_TS, DATA, false}, /* DPL below RPL */
        {0x58, OLD, 0, 0, 0, VECTOR_TS, OLD, false},       /* FS: a TSS */
        {0x5c, 0x4c, 0, 0, 0, VECTOR_TS, 0x4c, false},     /* GS: beyond the LDT */
    };

    for (unsigned i = 0; i < 2 * ARRAY_LEN(rows); i++) {
        unsigned row = i / 2;
        bool external = i % 2;

        (void)fixture_end(ctx);
        (void)setup(ctx);
        if (rows[row].selector_at)
            PUT(NEW_TSS + rows[row].selector_at, rows[row].selector);
        if (rows[row].descriptor)
            describe(GDT + rows[row].descriptor, rows[row].descriptor == NEW ? NEW_TSS : LDT,
                     rows[row].limit, rows[row].rights);
        assert_int_equal(external ? go(TASK_GATE, EVENT_VALID | EVENT_EXTERNAL | 0x20, 0)
                                  : go(TASK_JMP, 0, 0),
                         EXIT_RESUME);
        assert_int_equal(state.event, FAULT(rows[row].vector));
        assert_int_equal(state.error, rows[row].error | external);
        assert_int_equal(state.rip, rows[row].in_old ? 0x1111 : NEW_EIP);
        assert_int_equal(state.selector[SEGMENT_TR], rows[row].in_old ? OLD : NEW);
        assert_int_equal(type_of(OLD), rows[row].in_old || external ? 0x8b : 0x89);
        /* Whatever was not loaded can be entered with. */
        assert_true((state.segment[SEGMENT_CS].rights & 0x99) == 0x99);
        assert_int_equal(state.segment[SEGMENT_CS].rights >> 5 & 3,
                         state.segment[SEGMENT_SS].rights >> 5 & 3);
    }
}

/* IRET needs a busy TSS; the others find any fault as #GP or #TS as the manual has it. */
static void test_back_link(void **ctx)
{
    (void)ctx;
    assert_int_equal(x86_task_switch(v, &(struct task_switch){TASK_IRET, NEW, 0, 0, 1}),
                     EXIT_RESUME);
    assert_int_equal(state.event, FAULT(VECTOR_TS));
    assert_int_equal(state.error, NEW);
    assert_int_equal(x86_task_switch(v, &(struct task_switch){TASK_IRET, 0x48, 0, 0, 1}),
                     EXIT_RESUME);
    assert_int_equal(state.event, FAULT(VECTOR_TS));
    assert_int_equal(x86_task_switch(v, &(struct task_switch){TASK_IRET, LDT_DATA, 0, 0, 1}),
                     EXIT_RESUME);
    assert_int_equal(state.error, LDT_DATA);
    /* The old TSS has no room for its state. */
    state.segment[SEGMENT_TR].limit = 0x5e;
    ASSERT_RAISES(go(TASK_JMP, 0, 0), FAULT(VECTOR_TS), OLD);
    assert_int_equal(state.rip, 0x1111);
}

#define PAGE_TABLE     0x8000u
#define PAGE_DIRECTORY 0x9000u

static void page_in(void)
{
    PUT(PAGE_DIRECTORY, PAGE_TABLE | 7);
    for (uint32_t i = 0; i < MEMORY / 0x1000; i++)
        PUT(PAGE_TABLE + 4 * i, i << 12 | 3);
    PUT(NEW_TSS + 0x1c, PAGE_DIRECTORY);
    state.cr3 = PAGE_DIRECTORY;
    state.cr0 |= CR0_PG | CR0_WP;
}

/* Nothing may change before everything has been found: the instruction is executed again. */
static void test_page_faults(void **ctx)
{
    static const struct {
        uint32_t page;
        uint32_t entry;
        uint32_t error;
        uint64_t address;
    } rows[] = {
        {1, 0, 0, GDT + NEW},          /* the new TSS's descriptor */
        {1, 0x1001, 3, GDT + OLD + 5}, /* read-only: to be marked not busy */
        {2, 0, 0, NEW_TSS},
        {2, 0x2001, 3, OLD_TSS + 0x20},
    };

    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        uint8_t before[0x2000];

        (void)fixture_end(ctx);
        (void)setup(ctx);
        page_in();
        PUT(PAGE_TABLE + 4 * rows[i].page, rows[i].entry);
        memcpy(before, guest.mem.base + GDT, sizeof(before));
        state.cpl = 3; /* the CPU itself reads the tables */
        assert_int_equal(go(TASK_JMP, 0, 0), EXIT_RESUME);
        assert_int_equal(state.event, FAULT(VECTOR_PF));
        assert_int_equal(state.error, rows[i].error);
        assert_int_equal(state.cr2, rows[i].address);
        assert_int_equal(state.rip, 0x1111);
        assert_memory_equal(before, guest.mem.base + GDT, sizeof(before));
    }
    /* The new task's stack, in the new task. */
    (void)fixture_end(ctx);
    (void)setup(ctx);
    page_in();
    PUT(PAGE_TABLE + 4 * 3, 0);
    PUT(NEW_TSS + 0x38, 0x3004);
    assert_int_equal(go(TASK_GATE, FAULT(VECTOR_TS), 5), EXIT_RESUME);
    assert_int_equal(state.event, FAULT(VECTOR_PF));
    assert_int_equal(state.cr2, 0x3000);
    assert_int_equal(state.rip, NEW_EIP);
    assert_int_equal(state.cr3, PAGE_DIRECTORY);
    /* Outside of the guest's memory there is nothing to go on with. */
    (void)fixture_end(ctx);
    (void)setup(ctx);
    state.segment[SEGMENT_TR].base = MEMORY;
    assert_int_equal(go(TASK_JMP, 0, 0), EXIT_STOP);
}

static void test_new_cr3(void **ctx)
{
    (void)ctx;
    page_in();
    memcpy(guest.mem.base + 0xa000, guest.mem.base + PAGE_DIRECTORY, 0x1000);
    PUT(NEW_TSS + 0x1c, 0xa000);
    assert_int_equal(go(TASK_JMP, 0, 0), EXIT_RESUME);
    assert_int_equal(state.event, 0);
    assert_int_equal(state.cr3, 0xa000);
    assert_int_equal(state.flushes, 1);
    /* PAE: entries that MOV to CR3 would refuse. */
    (void)fixture_end(ctx);
    (void)setup(ctx);
    page_in();
    state.cr4 |= CR4_PAE;
    PUT(0xb000, 0xb021);
    for (uint64_t i = 0; i < MEMORY / 0x200000 + 1; i++)
        put(0xb000, &(uint64_t){0x83}, 8);
    state.pdpte[0] = 0xb001;
    PUT(NEW_TSS + 0x1c, 0xc000);
    PUT(0xc000, 0xb003); /* reserved */
    assert_int_equal(go(TASK_JMP, 0, 0), EXIT_RESUME);
    assert_int_equal(state.event, FAULT(VECTOR_GP));
    assert_int_equal(state.rip, NEW_EIP);
    assert_int_equal(state.pdpte[0], 0xb001);
}

/* SDM 3A "Double Fault Exception", table "Conditions for Generating a Double Fault". */
static void test_during(void **ctx)
{
    static const struct {
        uint8_t first, second, becomes; /* 0: the guest's end */
    } rows[] = {
        {VECTOR_GP, VECTOR_TS, VECTOR_DF}, {VECTOR_DE, VECTOR_NP, VECTOR_DF},
        {VECTOR_GP, VECTOR_PF, VECTOR_PF}, {VECTOR_PF, VECTOR_GP, VECTOR_DF},
        {VECTOR_PF, VECTOR_PF, VECTOR_DF}, {VECTOR_DB, VECTOR_GP, VECTOR_GP},
        {VECTOR_UD, VECTOR_PF, VECTOR_PF}, {VECTOR_GP, VECTOR_AC, VECTOR_AC},
        {VECTOR_DF, VECTOR_TS, 0},         {VECTOR_DF, VECTOR_PF, 0},
    };

    (void)ctx;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        struct guest_fault f = {.vector = rows[i].second, .error = 8};
        enum exit_action a = x86_raise_during(v, FAULT(rows[i].first), &f);

        assert_int_equal(a, rows[i].becomes ? EXIT_RESUME : EXIT_STOP);
        if (rows[i].becomes)
            assert_int_equal(state.event & EVENT_VECTOR, rows[i].becomes);
        if (rows[i].becomes == VECTOR_DF)
            assert_int_equal(state.error, 0);
        v->stop = false;
    }
    /* An interrupt is lost with it, and no exception. */
    assert_int_equal(x86_raise_during(v, EVENT_VALID | EVENT_EXTERNAL | VECTOR_GP,
                                      &(struct guest_fault){.vector = VECTOR_NP}),
                     EXIT_RESUME);
    assert_int_equal(state.event, FAULT(VECTOR_NP));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, fixture_end)
    const struct CMUnitTest tests[] = {
        TEST(test_jmp),
        TEST(test_call_and_iret),
        TEST(test_exception_through_a_gate),
        TEST(test_16_bits),
        TEST(test_virtual_8086),
        TEST(test_user_task),
        TEST(test_trap_flag),
        TEST(test_local_descriptors),
        TEST(test_sets_accessed),
        TEST(test_refused),
        TEST(test_back_link),
        TEST(test_page_faults),
        TEST(test_new_cr3),
        TEST(test_during),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SOURCES: hv/gmem.c arch/x86/guest/exits.c arch/x86/guest/apic.c arch/x86/guest/cr.c
 * arch/x86/guest/events.c arch/x86/guest/cpuid.c arch/x86/guest/msr.c arch/x86/guest/kvm_clock.c
 * arch/x86/guest/segment.c arch/x86/guest/paging.c arch/x86/guest/linear.c
 * arch/x86/guest/breakpoints.c hv/exit.c @pc hv/fmt.c hv/lib.c */
/* Writes to control registers: SDM 2B "MOV - Move to/from Control Registers", SDM 3A "Paging". */
#include "test/unit/vcpu_fixture.h"

#define L    SEGMENT_RIGHTS_L
#define BASE (CR0_PE | CR0_ET)

static uint64_t put_pdptes(uint64_t at, uint64_t third)
{
    const uint64_t entries[4] = {0x1001, 0x2001, third, 0};

    memcpy(guest.mem.base + at, entries, sizeof(entries));
    return at;
}

static void test_cr0_keeps_what_it_is_told(void **ctx)
{
    (void)ctx;
    assert_int_equal(x86_write_cr(v, 0, BASE | CR0_CD | CR0_NW), EXIT_SKIP);
    assert_int_equal(state.shown_cr0, BASE | CR0_CD | CR0_NW);
    assert_int_equal(state.cr0, BASE | CR0_NE); /* caches stay on */
    assert_int_equal(state.flushes, 0);
    assert_int_equal(x86_write_cr(v, 0, CR0_WP | CR0_NE | 1ull << 20), EXIT_SKIP);
    assert_int_equal(state.shown_cr0, CR0_WP | CR0_NE | CR0_ET); /* reserved bits are dropped */
    assert_int_equal(state.flushes, 1);
}

static void test_cr0_faults(void **ctx)
{
    static const uint64_t bad[] = {1ull << 32 | BASE, CR0_PG | CR0_ET, BASE | CR0_NW};

    (void)ctx;
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++)
        ASSERT_RAISES(x86_write_cr(v, 0, bad[i]), GP, 0);
    assert_int_equal(state.shown_cr0, BASE);
}

/* SDM 3A "Initializing IA-32e Mode". */
static void test_long_mode(void **ctx)
{
    (void)ctx;
    state.efer = EFER_LME;
    ASSERT_RAISES(x86_write_cr(v, 0, BASE | CR0_PG), GP, 0); /* without PAE */
    state.cr4 |= CR4_PAE;
    state.tr_rights = 0x83;
    assert_int_equal(x86_write_cr(v, 0, BASE | CR0_PG), EXIT_SKIP);
    assert_int_equal(state.efer, EFER_LME | EFER_LMA);
    assert_int_equal(state.tr_rights, 0x8b);
    assert_int_equal(state.flushes, 1);
    state.segment[SEGMENT_CS].rights |= L;
    ASSERT_RAISES(x86_write_cr(v, 0, BASE), GP, 0); /* 64-bit code would go on without paging */
    state.segment[SEGMENT_CS].rights &= ~L;
    state.cr4 |= CR4_PCIDE;
    ASSERT_RAISES(x86_write_cr(v, 0, BASE), GP, 0);
    state.cr4 &= ~CR4_PCIDE;
    assert_int_equal(x86_write_cr(v, 0, BASE), EXIT_SKIP);
    assert_int_equal(state.efer, EFER_LME);
    state.segment[SEGMENT_CS].rights |= L;
    ASSERT_RAISES(x86_write_cr(v, 0, BASE | CR0_PG), GP, 0);
}

static void test_pae(void **ctx)
{
    (void)ctx;
    state.cr4 |= CR4_PAE;
    state.cr3 = put_pdptes(0x2020, 0x3001);
    assert_int_equal(x86_write_cr(v, 0, BASE | CR0_PG), EXIT_SKIP);
    assert_int_equal(state.pdpte[2], 0x3001);
    /* A change of PGE reloads them. */
    put_pdptes(0x2020, 0x4001);
    assert_int_equal(x86_write_cr(v, 4, CR4_PAE | CR4_PGE), EXIT_SKIP);
    assert_int_equal(state.pdpte[2], 0x4001);
    /* Bits 2:1 are reserved there; nothing is taken. */
    put_pdptes(0x2020, 0x3003);
    ASSERT_RAISES(x86_write_cr(v, 4, CR4_PAE), GP, 0);
    assert_true(state.cr4 & CR4_PGE);
    assert_int_equal(state.pdpte[2], 0x4001);
    put_pdptes(0x3000, 0x6002); /* not present: its other bits do not count */
    assert_int_equal(x86_write_cr(v, 3, 0x3000), EXIT_SKIP);
    assert_int_equal(state.pdpte[2], 0x6002);
    ASSERT_RAISES(x86_write_cr(v, 3, MEMORY), GP, 0); /* no memory there */
    assert_int_equal(state.cr3, 0x3000);
    /* So does one of CD, NW or PG: SDM 3A "PDPTE Registers". */
    put_pdptes(0x3000, 0x7001);
    assert_int_equal(x86_write_cr(v, 0, BASE | CR0_PG | CR0_CD), EXIT_SKIP);
    assert_int_equal(state.pdpte[2], 0x7001);
    put_pdptes(0x3000, 0x8001);
    assert_int_equal(x86_write_cr(v, 0, BASE | CR0_PG | CR0_CD | CR0_WP), EXIT_SKIP);
    assert_int_equal(state.pdpte[2], 0x7001); /* none of them */
    assert_int_equal(x86_write_cr(v, 0, BASE | CR0_PG | CR0_CD | CR0_NW), EXIT_SKIP);
    assert_int_equal(state.pdpte[2], 0x8001);
    put_pdptes(0x3000, 1ull << 40 | 1); /* the CPU has 40 bits */
    ASSERT_RAISES(x86_write_cr(v, 0, BASE | CR0_PG), GP, 0);
    ASSERT_RAISES(x86_write_cr(v, 3, 0x3000), GP, 0);
    assert_int_equal(state.pdpte[2], 0x8001);
    assert_int_equal(state.shown_cr0, BASE | CR0_PG | CR0_CD | CR0_NW);
    state.cr0 &= ~CR0_PG;
    state.cr3 = MEMORY;
    ASSERT_RAISES(x86_write_cr(v, 0, BASE | CR0_PG), GP, 0);
}

static void test_cr4(void **ctx)
{
    (void)ctx;
    assert_int_equal(x86_write_cr(v, 4, CR4_OSXSAVE | CR4_PSE), EXIT_SKIP);
    assert_int_equal(state.shown_cr4, CR4_OSXSAVE | CR4_PSE);
    assert_int_equal(state.cr4, CR4_OSXSAVE | CR4_PSE | CR4_VMXE | CR4_MCE);
    assert_true(state.x86.cpuid.basic[1].ecx & 1u << 27); /* CPUID shows OSXSAVE */
    assert_int_equal(state.flushes, 1);
    ASSERT_RAISES(x86_write_cr(v, 4, CR4_VMXE), GP, 0);
    ASSERT_RAISES(x86_write_cr(v, 4, CR4_CET), GP, 0); /* not on this CPU */
    /* With DE, breakpoints on ports are looked for. */
    assert_false(state.watches_ends);
    assert_int_equal(x86_write_cr(v, 4, CR4_DE), EXIT_SKIP);
    assert_true(state.watches_ends && (state.cr4 & CR4_DE) && state.shown_cr4 == CR4_DE);
    assert_int_equal(x86_write_cr(v, 4, 0), EXIT_SKIP);
    assert_false(state.watches_ends || (state.cr4 & CR4_DE));
    xcr0_allowed = 0;
    ASSERT_RAISES(x86_write_cr(v, 4, CR4_OSXSAVE), GP, 0);
    ASSERT_RAISES(x86_write_cr(v, 4, CR4_PCIDE | CR4_PAE), GP, 0); /* long mode only */
    state.efer = EFER_LME | EFER_LMA;
    ASSERT_RAISES(x86_write_cr(v, 4, CR4_PSE), GP, 0); /* which needs PAE */
    state.cr3 = 0x1001;
    ASSERT_RAISES(x86_write_cr(v, 4, CR4_PCIDE | CR4_PAE), GP, 0); /* PCID is not 0 */
    state.cr3 = 0x1000;
    assert_int_equal(x86_write_cr(v, 4, CR4_PCIDE | CR4_PAE), EXIT_SKIP);
}

static void test_cr3(void **ctx)
{
    (void)ctx;
    assert_int_equal(x86_write_cr(v, 3, 0xffffffff00005000ull), EXIT_SKIP);
    assert_int_equal(state.cr3, 0x5000); /* a 32-bit register there */
    state.cr3 |= 1ull << 35;
    assert_int_equal(x86_read_cr(v, 3, 1), EXIT_SKIP);
    assert_int_equal(v->regs.rcx, 0x5000);
    state.efer = EFER_LME | EFER_LMA;
    assert_int_equal(x86_read_cr(v, 3, 1), EXIT_SKIP);
    assert_int_equal(v->regs.rcx, 0x800005000);
    ASSERT_RAISES(x86_write_cr(v, 3, 1ull << 40), GP, 0); /* the CPU has 40 bits */
    ASSERT_RAISES(x86_write_cr(v, 3, 1ull << 63), GP, 0); /* only with PCIDE */
    state.flushes = 0;
    state.cr4 |= CR4_PCIDE;
    assert_int_equal(x86_write_cr(v, 3, 1ull << 63 | 0x6001), EXIT_SKIP);
    assert_int_equal(state.cr3, 0x6001);
    assert_int_equal(state.flushes, 0);
    assert_int_equal(x86_write_cr(v, 3, 0x7001), EXIT_SKIP);
    assert_int_equal(state.flushes, 1);
}

static void test_cr8(void **ctx)
{
    (void)ctx;
    assert_int_equal(x86_write_cr(v, 8, 15), EXIT_SKIP);
    assert_int_equal(x86_read_cr(v, 8, 15), EXIT_SKIP);
    assert_int_equal(v->regs.r15, 15);
    ASSERT_RAISES(x86_write_cr(v, 8, 16), GP, 0);
}

static uint32_t seed;

static uint64_t some_bits(uint64_t of)
{
    uint64_t bits = 0;

    for (unsigned i = 0; i < 4; i++) {
        seed = seed * 1103515245u + 12345u;
        bits = bits << 16 | seed >> 16;
    }
    return bits & of;
}

/* SDM 3C "Checks on Guest Control Registers, Debug Registers, and MSRs": whatever a guest writes,
 * in any order, must not make the CPU refuse the next entry. */
static void test_no_write_makes_an_entry_fail(void **ctx)
{
    const uint64_t cr0 = CR0_PE | CR0_WP | CR0_NE | CR0_CD | CR0_NW | CR0_PG;
    const uint64_t cr4 =
        CR4_PAE | CR4_PGE | CR4_PSE | CR4_PCIDE | CR4_OSXSAVE | CR4_VMXE | CR4_SMEP | CR4_DE;
    unsigned long_mode = 0, pae = 0, refused = 0;

    (void)ctx;
    seed = 1;
    put_pdptes(0x2000, 0x3001);
    put_pdptes(0x3000, 0x3003); /* reserved bits */
    for (unsigned turn = 0; turn < 100000; turn++) {
        struct fake_state before = state;
        unsigned what = (unsigned)some_bits(7), cr = what < 3 ? 0 : what < 5 ? 4 : 3;
        uint64_t value = some_bits(cr == 0   ? cr0
                                   : cr == 4 ? cr4
                                             : 0x3fff | 3ull << 39 | 1ull << 63);
        enum exit_action action;

        if (what == 7) { /* what the guest can do without an exit: WRMSR of EFER, and far jumps */
            if (!(state.cr0 & CR0_PG))
                state.efer = (state.efer & ~EFER_LME) | some_bits(EFER_LME);
            state.segment[SEGMENT_CS].rights =
                0x9b | (state.efer & EFER_LMA && some_bits(1) ? L : SEGMENT_RIGHTS_DB);
            continue;
        }
        action = x86_write_cr(v, cr, value);
        if (action == EXIT_RESUME) { /* #GP: nothing else has changed */
            assert_int_equal(state.event & ~EVENT_ERROR_CODE, GP & ~EVENT_ERROR_CODE);
            assert_true(before.cr0 == state.cr0 && before.cr3 == state.cr3 &&
                        before.cr4 == state.cr4 && before.efer == state.efer &&
                        before.shown_cr0 == state.shown_cr0 && before.shown_cr4 == state.shown_cr4);
            state.event = 0;
            refused++;
        } else {
            assert_int_equal(action, EXIT_SKIP);
            assert_true(cr != 4 || state.shown_cr4 == value);
        }
        assert_true(!(state.cr0 & CR0_PG) || (state.cr0 & CR0_PE));
        assert_true(state.cr0 & CR0_NE && !(state.cr0 & (CR0_CD | CR0_NW)));
        assert_int_equal(!!(state.efer & EFER_LMA),
                         (state.cr0 & CR0_PG) && (state.efer & EFER_LME));
        long_mode += (state.efer & EFER_LMA) != 0;
        pae += (state.cr0 & CR0_PG) && (state.cr4 & CR4_PAE) && !(state.efer & EFER_LMA);
        if (state.efer & EFER_LMA)
            assert_int_equal(state.tr_rights & 0xf, 0xb); /* a busy 64-bit TSS */
        assert_true(!(state.efer & EFER_LMA) || (state.cr4 & CR4_PAE));
        assert_true(!(state.cr4 & CR4_PCIDE) || (state.efer & EFER_LMA));
        assert_true((state.cr4 & (CR4_VMXE | CR4_MCE)) == (CR4_VMXE | CR4_MCE));
        assert_true(!(state.segment[SEGMENT_CS].rights & L) || (state.efer & EFER_LMA));
        assert_false(state.cr3 >> 40); /* physical addresses have 40 bits */
        if ((state.cr0 & CR0_PG) && (state.cr4 & CR4_PAE) && !(state.efer & EFER_LMA))
            for (unsigned i = 0; i < 4; i++)
                assert_false((state.pdpte[i] & 1) && (state.pdpte[i] & 0xfff00000000001e6ull));
    }
    assert_true(long_mode > 1000 && pae > 1000 && refused > 1000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_cr0_keeps_what_it_is_told, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_cr0_faults, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_long_mode, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_pae, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_cr4, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_cr3, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_cr8, fixture_vcpu, fixture_end),
        cmocka_unit_test_setup_teardown(test_no_write_makes_an_entry_fail, fixture_vcpu,
                                        fixture_end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

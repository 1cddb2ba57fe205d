/* SOURCES: arch/x86/svm/caps.c arch/x86/svm/maps.c hv/lib.c */
/* AMD-V without an AMD CPU: what is required, which MSRs exit, and ASIDs over a model of a TLB. */
#include "arch/x86/cpu/msr.h"
#include "arch/x86/svm/asid.h"
#include "arch/x86/svm/caps.h"
#include "arch/x86/svm/svm.h"
#include "arch/x86/svm/maps.h"
#include "hv/abi/control.h"
#include "hv/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "test/unit/warnings.h"

/* ---- what is required ---- */

static const struct svm_caps good = {
    .abi = {.present = 1, .svm_asids = 16, .svm_features = CPUID_SVM_NP}, .page_1g = true};

static void check(const struct svm_caps *c, const char *missing, const char *advice)
{
    memset(&told, 0, sizeof(told));
    assert_int_equal(svm_caps_check(c, 5), -E_NOTSUP);
    assert_int_equal(told.count, 2);
    assert_string_equal(told.line[0], missing);
    assert_non_null(strstr(told.line[1], advice));
}

static void nothing_is_missing(void **state)
{
    (void)state;
    memset(&told, 0, sizeof(told));
    assert_int_equal(svm_caps_check(&good, 5), 0);
    assert_int_equal(told.count, 0);
}

static void what_is_missing_is_named(void **state)
{
    struct svm_caps c = good;

    (void)state;
    c.abi.present = 0;
    check(&c, "CPU 5: no SVM (CPUID Fn8000_0001 ECX bit 2)", "2007");
    c = good;
    c.abi.svm_features = CPUID_SVM_NRIPS | CPUID_SVM_LBR;
    check(&c, "CPU 5: no nested paging (CPUID Fn8000_000A EDX bit 0)", "2007");
    c.abi.hypervisor = 1;
    check(&c, "CPU 5: no nested paging (CPUID Fn8000_000A EDX bit 0)", "-cpu EPYC");
    c = good;
    c.abi.svm_vm_cr = VM_CR_SVMDIS | VM_CR_LOCK;
    check(&c, "CPU 5: SVM is locked off by the firmware (VM_CR.SVMDIS)", "SVM Mode");
    c.abi.svm_vm_cr = VM_CR_SVMDIS;
    check(&c, "CPU 5: SVM is switched off by the firmware (VM_CR.SVMDIS)", "SVM Mode");
    c = good;
    c.abi.svm_asids = 1;
    check(&c, "CPU 5: no ASID for guests (CPUID Fn8000_000A EBX)", "2007");
}

static void cores_must_be_alike(void **state)
{
    struct svm_caps c = good;

    (void)state;
    memset(&told, 0, sizeof(told));
    assert_true(svm_caps_same(&good, &c, 5));
    c.abi.svm_features |= CPUID_SVM_NRIPS;
    assert_false(svm_caps_same(&good, &c, 5));
    c = good;
    c.abi.svm_asids = 8;
    assert_false(svm_caps_same(&good, &c, 5));
    c = good;
    c.page_1g = false;
    assert_false(svm_caps_same(&good, &c, 5));
    assert_int_equal(told.count, 3);
}

/* ---- the permission map ---- */

static void only_its_own_msrs_do_not_exit(void **state)
{
    static const uint32_t first[] = {0, 0xc0000000u, 0xc0010000u};
    static const uint32_t own[] = {0x174,       0x175,       0x176,       0xc0000081u,
                                   0xc0000082u, 0xc0000083u, 0xc0000084u, 0xc0000100u,
                                   0xc0000101u, 0xc0000102u, 0xc0000103u};
    static uint8_t map[MSRPM_SIZE];
    unsigned found = 0;

    (void)state;
    msrpm_make(map);
    for (unsigned i = 0; i < 3; i++)
        for (uint32_t msr = first[i]; msr < first[i] + 0x2000; msr++) {
            bool is_own = false;

            for (unsigned k = 0; k < sizeof(own) / sizeof(own[0]); k++)
                is_own |= own[k] == msr;
            /* The bits by the APM: two for each MSR, in three ranges of 2 KB. */
            assert_int_equal(map[i * 0x800 + (msr - first[i]) / 4] >> (msr & 3) * 2 & 3,
                             is_own ? 0 : 3);
            found += is_own;
        }
    assert_int_equal(found, sizeof(own) / sizeof(own[0]));
    for (unsigned i = 0x1800; i < MSRPM_SIZE; i++)
        assert_int_equal(map[i], 0xff);
}

static void each_exit_has_a_row(void **state)
{
    (void)state;
    assert_int_equal(abi_svm_exit(0), 0);
    assert_int_equal(abi_svm_exit(SVM_EXIT_RDPRU), SVM_EXIT_RDPRU);
    assert_int_equal(abi_svm_exit(SVM_EXIT_NPF), ABI_SVM_EXIT_NPF);
    assert_int_equal(abi_svm_exit(SVM_EXIT_AVIC_NOACCEL), ABI_SVM_EXIT_OTHER);
    assert_int_equal(abi_svm_exit(SVM_EXIT_INVALID), ABI_SVM_EXIT_OTHER);
    for (uint32_t code = 0; code < 0x1000; code++)
        assert_true(abi_svm_exit(code) < ABI_EXIT_REASONS);
}

/* ---- ASIDs ---- */

#define VCPUS 5u
#define PAGES 4u
#define STEPS 200000u

/*
 * A core's TLB that never forgets anything by itself, and the page tables of several vCPUs. An
 * entry is an ASID, a page and where that led when the vCPU accessed it. An access through an entry
 * that is no longer true is what a forgotten flush leads to.
 */
static struct {
    struct {
        bool there;
        unsigned leads_to;
    } tlb[64][PAGES];
    unsigned tables[VCPUS][PAGES];
    unsigned fresh; /* a value that no table has had */
    struct asid_pool pool;
    struct asid asid[VCPUS];
    unsigned stale; /* accesses that used an old translation */
    unsigned flushes;
} core;

static void cpu_enters(unsigned v, uint8_t control)
{
    uint32_t id = core.asid[v].id;

    assert_in_range(id, 1, core.pool.count - 1);
    assert_true(control == TLB_DO_NOTHING || control == TLB_FLUSH_ALL ||
                (control == TLB_FLUSH_ASID && core.pool.by_asid));
    core.flushes += control != TLB_DO_NOTHING;
    if (control == TLB_FLUSH_ALL)
        memset(core.tlb, 0, sizeof(core.tlb));
    else if (control == TLB_FLUSH_ASID)
        memset(core.tlb[id], 0, sizeof(core.tlb[id]));
    for (unsigned p = 0; p < PAGES; p++) {
        if (!core.tlb[id][p].there) {
            core.tlb[id][p].there = true;
            core.tlb[id][p].leads_to = core.tables[v][p];
        }
        core.stale += core.tlb[id][p].leads_to != core.tables[v][p];
    }
}

static void changes(unsigned v, unsigned page)
{
    core.tables[v][page] = ++core.fresh;
}

static void start_core(uint32_t asids, bool by_asid)
{
    memset(&core, 0, sizeof(core));
    /* What firmware left. */
    for (unsigned id = 0; id < 64; id++)
        for (unsigned p = 0; p < PAGES; p++) {
            core.tlb[id][p].there = true;
            core.tlb[id][p].leads_to = ++core.fresh;
        }
    for (unsigned v = 0; v < VCPUS; v++)
        for (unsigned p = 0; p < PAGES; p++)
            changes(v, p);
    asid_pool_init(&core.pool, asids, by_asid);
}

/* `forgets`: the flush after every so many changes; 0: none. */
static void run_core(uint32_t asids, bool by_asid, unsigned forgets)
{
    uint32_t random = 12345;

    start_core(asids, by_asid);
    for (unsigned i = 0; i < STEPS; i++) {
        unsigned v;

        random = random * 1664525 + 1013904223;
        v = (random >> 16) % VCPUS;
        if ((random >> 24) % 3 == 0) {
            changes(v, random >> 28 & (PAGES - 1));
            if (!forgets || i % forgets)
                asid_flush(&core.asid[v]);
        }
        cpu_enters(v, asid_take(&core.pool, &core.asid[v]));
        assert_true(asid_is_current(&core.pool, &core.asid[v]));
        /* Each vCPU of this generation has an ASID of its own. */
        for (unsigned o = 0; o < VCPUS; o++)
            assert_true(o == v || core.asid[o].generation != core.pool.generation ||
                        core.asid[o].id != core.asid[v].id);
    }
}

static void no_translation_outlives_its_table(void **state)
{
    static const uint32_t counts[] = {2, 3, 5, 6, 16, 64};

    (void)state;
    for (unsigned i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
        run_core(counts[i], false, 0);
        assert_int_equal(core.stale, 0);
        run_core(counts[i], true, 0);
        assert_int_equal(core.stale, 0);
    }
}

static void the_model_finds_a_forgotten_flush(void **state)
{
    (void)state;
    run_core(16, false, 1000);
    assert_true(core.stale > 0);
    run_core(16, true, 1000);
    assert_true(core.stale > 0);
}

static void an_entry_without_a_change_flushes_nothing(void **state)
{
    (void)state;
    start_core(16, false);
    for (unsigned i = 0; i < 100; i++)
        for (unsigned v = 0; v < VCPUS; v++)
            cpu_enters(v, asid_take(&core.pool, &core.asid[v]));
    assert_int_equal(core.flushes, 1); /* of what firmware left */
    assert_int_equal(core.stale, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_missing),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(cores_must_be_alike),
        cmocka_unit_test(only_its_own_msrs_do_not_exit),
        cmocka_unit_test(each_exit_has_a_row),
        cmocka_unit_test(no_translation_outlives_its_table),
        cmocka_unit_test(the_model_finds_a_forgotten_flush),
        cmocka_unit_test(an_entry_without_a_change_flushes_nothing),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

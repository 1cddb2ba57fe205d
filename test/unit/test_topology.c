/* SOURCES: arch/x86/cpu/topology.c hv/lib.c */
/* Package, core and thread from CPUID as CPUs of two vendors have answered it since the Pentium. */
#include "arch/x86/cpu/topology.h"

#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define INTEL                                                                                      \
    {                                                                                              \
        0x756e6547, 0x6c65746e, 0x49656e69                                                         \
    } /* EBX, ECX, EDX */
#define AMD                                                                                        \
    {                                                                                              \
        0x68747541, 0x444d4163, 0x69746e65                                                         \
    }
#define HTT     (1u << 28)
#define TOPOEXT (1u << 22)

struct answer {
    uint32_t leaf, subleaf, eax, ebx, ecx, edx;
};

struct model {
    const char *name;
    uint32_t vendor[3], highest, highest_extended;
    struct answer answers[6];
    struct topology_shape shape;
};

/* As silicon does it: a leaf above the highest answers with the highest one's data. */
static struct cpuid_regs answer(void *ctx, uint32_t leaf, uint32_t subleaf)
{
    const struct model *m = ctx;

    if (leaf == 0)
        return (struct cpuid_regs){m->highest, m->vendor[0], m->vendor[1], m->vendor[2]};
    if (leaf == 0x80000000)
        return (struct cpuid_regs){.eax = m->highest_extended};
    if (leaf > (leaf < 0x80000000 ? m->highest : m->highest_extended))
        return (struct cpuid_regs){0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff};
    for (unsigned i = 0; i < ARRAY_LEN(m->answers); i++) {
        const struct answer *a = &m->answers[i];

        if (a->leaf == leaf && a->subleaf == subleaf)
            return (struct cpuid_regs){a->eax, a->ebx, a->ecx, a->edx};
    }
    return (struct cpuid_regs){.ecx = subleaf};
}

static const struct model models[] = {
    {"Pentium: no leaf beyond 1", INTEL, 1, 0, {{1, 0, 0x543, 0, 0, 0x1bf}}, {0, 0}},
    {"Pentium 4 with Hyper-Threading",
     INTEL,
     5,
     0x80000008,
     {{1, 0, 0xf29, 0x00020800, 0, HTT}, {4, 0, 0x00004121, 0, 0, 0}},
     {1, 1}},
    {"Core 2 Quad",
     INTEL,
     0xa,
     0x80000008,
     {{1, 0, 0x6fb, 0x00040800, 0, HTT}, {4, 0, 0x0c000121, 0, 0, 0}},
     {0, 2}},
    {"Core i9-7900X",
     INTEL,
     0x16,
     0x80000008,
     {{0xb, 0, 1, 2, 0x100, 0}, {0xb, 1, 5, 20, 0x201, 0}},
     {1, 5}},
    {"Core i9-12900K, a P-core",
     INTEL,
     0x20,
     0x80000008,
     {{0xb, 0, 1, 2, 0x100, 0},
      {0xb, 1, 7, 24, 0x201, 0},
      {0x1f, 0, 1, 2, 0x100, 0},
      {0x1f, 1, 7, 24, 0x201, 0}},
     {1, 7}},
    {"Core i9-12900K, an E-core",
     INTEL,
     0x20,
     0x80000008,
     {{7, 0, 0, 0, 0, 1u << 15},
      {0xb, 0, 1, 1, 0x100, 0},
      {0xb, 1, 7, 24, 0x201, 0},
      {0x1f, 0, 1, 1, 0x100, 0},
      {0x1f, 1, 7, 24, 0x201, 0}},
     {1, 7}},
    /* Two dies in a package: leaf 0xb does not know of them. */
    {"Xeon Platinum 9282",
     INTEL,
     0x1f,
     0x80000008,
     {{0xb, 0, 1, 2, 0x100, 0},
      {0xb, 1, 7, 112, 0x201, 0},
      {0x1f, 0, 1, 2, 0x100, 0},
      {0x1f, 1, 6, 56, 0x201, 0},
      {0x1f, 2, 7, 112, 0x502, 0}},
     {1, 7}},
    {"Opteron 6128: no TopologyExtensions",
     AMD,
     5,
     0x8000001b,
     {{1, 0, 0x100f91, 0x00080800, 0, HTT}, {0x80000008, 0, 0x3030, 0, 0x4007, 0}},
     {0, 4}},
    {"Opteron 6274: compute units of two",
     AMD,
     0xd,
     0x8000001e,
     {{1, 0, 0x600f12, 0x00100800, 0, HTT},
      {0x80000001, 0, 0, 0, TOPOEXT, 0},
      {0x80000008, 0, 0x3030, 0, 0x500f, 0},
      {0x8000001e, 0, 0x20, 0x100, 0x300, 0}},
     {1, 5}},
    {"Athlon 64 X2: no size of ids",
     AMD,
     1,
     0x80000018,
     {{1, 0, 0x40fb2, 0x00020800, 0, HTT}, {0x80000008, 0, 0x3028, 0, 1, 0}},
     {0, 1}},
    {"EPYC 7601",
     AMD,
     0xd,
     0x8000001f,
     {{1, 0, 0x800f12, 0x00400800, 0, HTT},
      {0x80000001, 0, 0, 0, TOPOEXT, 0},
      {0x80000008, 0, 0x3030, 0, 0x603f, 0},
      {0x8000001e, 0, 0, 0x100, 0x300, 0}},
     {1, 6}},
    {"EPYC 7742",
     AMD,
     0x10,
     0x80000020,
     {{0xb, 0, 1, 2, 0x100, 0}, {0xb, 1, 7, 128, 0x201, 0}},
     {1, 7}},
    {"QEMU, threads=3,cores=2",
     AMD,
     0xd,
     0x8000000a,
     {{0xb, 0, 2, 3, 0x100, 0}, {0xb, 1, 3, 6, 0x201, 0}},
     {2, 3}},
    /* Leaf 0xb with level type 0, and nothing older to rely on. */
    {"Bochs 2.7",
     INTEL,
     0xd,
     0x80000008,
     {{1, 0, 0x50654, 0x00010800, 0, 0}, {0xb, 0, 0, 0, 0, 0}},
     {0, 0}},
    {"Core i5-2500K: one thread in each core, whose ids are 0, 2, 4 and 6",
     INTEL,
     0xd,
     0x80000008,
     {{0xb, 0, 1, 1, 0x100, 0}, {0xb, 1, 4, 4, 0x201, 0}},
     {0, 4}},
    {"Bochs 3.0, count=4: ids 0 to 3",
     INTEL,
     0x16,
     0x80000008,
     {{0xb, 0, 1, 1, 0x100, 0}, {0xb, 1, 1, 1, 0x201, 0}, {0xb, 2, 2, 4, 0x302, 0}},
     {0, 2}},
    {"levels without processors",
     INTEL,
     0xb,
     0x80000008,
     {{0xb, 0, 1, 0, 0x100, 0}, {0xb, 1, 4, 0, 0x201, 0}},
     {0, 0}},
    {"shifts that decrease",
     INTEL,
     0xb,
     0x80000008,
     {{0xb, 0, 5, 2, 0x100, 0}, {0xb, 1, 4, 16, 0x201, 0}},
     {0, 0}},
    {"more cores than ids",
     INTEL,
     4,
     0x80000008,
     {{1, 0, 0x6fb, 0x00020800, 0, HTT}, {4, 0, 0xfc000121, 0, 0, 0}},
     {0, 0}},
    {"more threads than ids",
     AMD,
     1,
     0x8000001e,
     {{0x80000001, 0, 0, 0, TOPOEXT, 0},
      {0x80000008, 0, 0, 0, 0x1001, 0},
      {0x8000001e, 0, 0, 0xff00, 0, 0}},
     {0, 0}},
};

static void test_models(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(models); i++) {
        struct model m = models[i];
        struct topology_shape s = topology_read(answer, &m);

        if (s.thread_bits != m.shape.thread_bits || s.package_shift != m.shape.package_shift)
            fail_msg("%s: %u, %u", m.name, s.thread_bits, s.package_shift);
    }
}

/* A CPU whose levels never end. */
static struct cpuid_regs endless(void *ctx, uint32_t leaf, uint32_t subleaf)
{
    unsigned *calls = ctx;

    (*calls)++;
    return (struct cpuid_regs){leaf == 0 ? 0x1f : 1, 1, 0x100 | subleaf, 0};
}

static void test_levels_are_bounded(void **state)
{
    unsigned calls = 0;
    struct topology_shape s = topology_read(endless, &calls);

    (void)state;
    assert_int_equal(s.package_shift, 0);
    assert_true(calls < 100);
}

static void test_place(void **state)
{
    static const struct {
        struct topology_shape shape;
        uint32_t id, package, core, thread;
    } cases[] = {
        {{1, 7}, 0x17f, 2, 63, 1},
        {{2, 3}, 6, 0, 1, 2},
        {{2, 3}, 12, 1, 1, 0},
        {{0, 0}, 300, 300, 0, 0},
        {{0, 32}, 0xfffffffe, 0, 0xfffffffe, 0},
        {{32, 32}, 0xfffffffe, 0, 0, 0xfffffffe},
        {{1, 31}, 0xfffffffe, 1, 0x3fffffff, 0},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct abi_thread t = {.apic_id = cases[i].id};

        topology_place(cases[i].shape, cases[i].id, &t);
        assert_int_equal(t.package, cases[i].package);
        assert_int_equal(t.core, cases[i].core);
        assert_int_equal(t.thread, cases[i].thread);
    }
}

static struct abi_thread threads[256];

/* `order`: APIC ids as in the MADT. */
static void machine(struct topology_shape s, const uint32_t *order, unsigned count)
{
    memset(threads, 0, sizeof(threads));
    for (unsigned i = 0; i < count; i++) {
        threads[i].apic_id = order[i];
        topology_place(s, order[i], &threads[i]);
    }
}

static void test_choose(void **state)
{
    static const uint32_t sparse[] = {0, 1, 2, 4, 5, 6, 8, 9, 10, 12, 13, 14};
    static const uint32_t siblings_last[] = {0, 2, 4, 6, 1, 3, 5, 7};
    struct abi_topology t;

    (void)state;
    machine((struct topology_shape){2, 3}, sparse, ARRAY_LEN(sparse));
    threads[6].node = threads[11].node = 1;
    assert_int_equal(topology_choose(threads, ARRAY_LEN(sparse), false, 128), 4);
    for (unsigned i = 0; i < ARRAY_LEN(sparse); i++) {
        assert_int_equal(threads[i].state, i % 3 ? ABI_THREAD_SIBLING : ABI_THREAD_RUNS);
        if (i % 3 == 0)
            assert_int_equal(threads[i].number, i / 3);
    }
    topology_count(threads, ARRAY_LEN(sparse), &t);
    assert_int_equal(t.packages, 2);
    assert_int_equal(t.cores, 4);
    assert_int_equal(t.threads, 12);
    assert_int_equal(t.nodes, 2);
    assert_int_equal(t.running, 4);

    machine((struct topology_shape){1, 3}, siblings_last, ARRAY_LEN(siblings_last));
    assert_int_equal(topology_choose(threads, ARRAY_LEN(siblings_last), false, 128), 4);
    assert_int_equal(threads[3].number, 3);
    assert_int_equal(threads[4].state, ABI_THREAD_SIBLING);
    machine((struct topology_shape){1, 3}, siblings_last, ARRAY_LEN(siblings_last));
    assert_int_equal(topology_choose(threads, ARRAY_LEN(siblings_last), true, 128), 8);
    assert_int_equal(threads[7].number, 7);
    for (unsigned i = 0; i < 8; i++) /* 0 and 4 are threads of one physical core, and so on */
        assert_int_equal(topology_physical(threads, &threads[i]), i % 4);
    threads[1].state = ABI_THREAD_SILENT; /* it has no number */
    assert_int_equal(topology_physical(threads, &threads[5]), 5);
}

static void test_choose_within_the_limit(void **state)
{
    static const uint32_t order[] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    struct abi_topology t;

    (void)state;
    machine((struct topology_shape){1, 4}, order, ARRAY_LEN(order));
    assert_int_equal(topology_choose(threads, ARRAY_LEN(order), false, 3), 3);
    for (unsigned i = 0; i < ARRAY_LEN(order); i++)
        assert_int_equal(threads[i].state, i >= 6  ? ABI_THREAD_SURPLUS
                                           : i % 2 ? ABI_THREAD_SIBLING
                                                   : ABI_THREAD_RUNS);
    topology_count(threads, ARRAY_LEN(order), &t);
    assert_int_equal(t.running, 3);
    assert_int_equal(t.cores, 5);
}

/* A thread that did not start leaves its core to the one beside it. */
static void test_choose_without_the_silent(void **state)
{
    static const uint32_t order[] = {0, 1, 2, 3};

    (void)state;
    machine((struct topology_shape){1, 2}, order, ARRAY_LEN(order));
    threads[2].state = ABI_THREAD_SILENT;
    assert_int_equal(topology_choose(threads, ARRAY_LEN(order), false, 128), 2);
    assert_int_equal(threads[2].state, ABI_THREAD_SILENT);
    assert_int_equal(threads[3].state, ABI_THREAD_RUNS);
    assert_int_equal(threads[3].number, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_models),
        cmocka_unit_test(test_levels_are_bounded),
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_choose),
        cmocka_unit_test(test_choose_within_the_limit),
        cmocka_unit_test(test_choose_without_the_silent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

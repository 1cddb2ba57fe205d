#include "arch/x86/cpu/topology.h"

#include "hv/lib.h"

#define LEAF_CACHES       4u
#define LEAF_FEATURES     7u
#define LEAF_TOPOLOGY     0xbu
#define LEAF_TOPOLOGY_V2  0x1fu
#define LEAF_EXTENDED     0x80000000u
#define LEAF_AMD_SIZES    0x80000008u
#define LEAF_AMD_TOPOLOGY 0x8000001eu
#define LEVELS_MAX        16u
#define LEVEL_NONE        0u
#define LEVEL_THREAD      1u
#define ID_BITS           32u
#define CPUID_1_EDX_HTT   (1u << 28)
#define CPUID_7_EDX_MIXED (1u << 15) /* hybrid part: cores of several kinds */
#define CPUID_81_ECX_TOPO (1u << 22) /* TopologyExtensions */

struct reader {
    topology_cpuid execute;
    void *ctx;
    uint32_t highest, highest_extended;
};

static struct cpuid_regs ask(const struct reader *r, uint32_t leaf, uint32_t subleaf)
{
    bool extended = leaf >= LEAF_EXTENDED;

    /* Leaves above the highest answer with another one's data. */
    if (leaf > (extended ? r->highest_extended : r->highest))
        return (struct cpuid_regs){0};
    return r->execute(r->ctx, leaf, subleaf);
}

/* The bits that number `count` things. */
static uint8_t bits_for(uint32_t count)
{
    return count > 1 ? (uint8_t)(ID_BITS - (unsigned)__builtin_clz(count - 1)) : 0;
}

/* A CPU that was made with one thread in each core has bits for threads all the same, and leaves
 * out the ids of siblings; Bochs 3.0 gives these ids to other cores. Of a hybrid part this may be
 * one of the smaller cores. */
static bool has_no_siblings(const struct reader *r, struct cpuid_regs level)
{
    return (level.ebx & 0xffff) == 1 && !(ask(r, LEAF_FEATURES, 0).edx & CPUID_7_EDX_MIXED);
}

/* Leaf 0xb or 0x1f: a level a subleaf, each with the shift that leads to the next one. Dies, tiles
 * and modules are parts of a package. */
static bool read_levels(const struct reader *r, uint32_t leaf, struct topology_shape *s)
{
    *s = (struct topology_shape){0, 0};
    for (uint32_t i = 0; i < LEVELS_MAX; i++) {
        struct cpuid_regs l = ask(r, leaf, i);
        uint32_t level = l.ecx >> 8 & 0xff, shift = l.eax & 0x1f;

        if (level == LEVEL_NONE)
            return i > 0;
        if ((i == 0 && (l.ebx & 0xffff) == 0) || shift < s->package_shift)
            return false;
        if (level == LEVEL_THREAD && !has_no_siblings(r, l))
            s->thread_bits = (uint8_t)shift;
        s->package_shift = (uint8_t)shift;
    }
    return false;
}

static bool read_amd(const struct reader *r, struct topology_shape *s)
{
    uint32_t sizes = ask(r, LEAF_AMD_SIZES, 0).ecx;
    uint32_t id_size = sizes >> 12 & 0xf, threads = 1;

    if (ask(r, LEAF_EXTENDED + 1, 0).ecx & CPUID_81_ECX_TOPO)
        threads = (ask(r, LEAF_AMD_TOPOLOGY, 0).ebx >> 8 & 0xff) + 1;
    s->package_shift = id_size ? (uint8_t)id_size : bits_for((sizes & 0xff) + 1);
    s->thread_bits = bits_for(threads);
    return s->package_shift > 0 && s->thread_bits <= s->package_shift;
}

/* Before leaf 0xb: so many ids a package (leaf 1), so many of them for cores (leaf 4). */
static bool read_old(const struct reader *r, struct topology_shape *s)
{
    struct cpuid_regs one = ask(r, 1, 0);
    uint8_t core_bits = bits_for((ask(r, LEAF_CACHES, 0).eax >> 26) + 1);

    if (!(one.edx & CPUID_1_EDX_HTT))
        return false;
    s->package_shift = bits_for(one.ebx >> 16 & 0xff);
    if (core_bits > s->package_shift)
        return false;
    s->thread_bits = (uint8_t)(s->package_shift - core_bits);
    return true;
}

struct topology_shape topology_read(topology_cpuid execute, void *ctx)
{
    struct cpuid_regs vendor = execute(ctx, 0, 0);
    struct reader r = {execute, ctx, vendor.eax, execute(ctx, LEAF_EXTENDED, 0).eax};
    /* "AuthenticAMD", "HygonGenuine" */
    bool amd = vendor.ecx == 0x444d4163 || vendor.ecx == 0x656e6975;
    struct topology_shape s;

    if (r.highest_extended < LEAF_EXTENDED)
        r.highest_extended = 0;
    if (read_levels(&r, LEAF_TOPOLOGY_V2, &s) || read_levels(&r, LEAF_TOPOLOGY, &s) ||
        (amd ? read_amd(&r, &s) : read_old(&r, &s)))
        return s;
    return (struct topology_shape){0, 0};
}

static uint32_t shifted(uint32_t v, unsigned by)
{
    return by < ID_BITS ? v >> by : 0;
}

static uint32_t low_bits(uint32_t v, unsigned bits)
{
    return bits < ID_BITS ? v & ((1u << bits) - 1) : v;
}

void topology_place(struct topology_shape s, uint32_t apic_id, struct abi_thread *out)
{
    out->package = shifted(apic_id, s.package_shift);
    out->core = shifted(low_bits(apic_id, s.package_shift), s.thread_bits);
    out->thread = low_bits(apic_id, s.thread_bits);
}

static bool same_core(const struct abi_thread *a, const struct abi_thread *b)
{
    return a->package == b->package && a->core == b->core;
}

/* The thread before `i` on the same physical core that runs guests. */
static bool has_running_sibling(const struct abi_thread *threads, unsigned i)
{
    for (unsigned k = 0; k < i; k++)
        if (threads[k].state == ABI_THREAD_RUNS && same_core(&threads[k], &threads[i]))
            return true;
    return false;
}

unsigned topology_choose(struct abi_thread *threads, unsigned count, bool smt, unsigned most)
{
    unsigned chosen = 0;

    for (unsigned i = 0; i < count; i++) {
        struct abi_thread *t = &threads[i];

        if (t->state != ABI_THREAD_IDLE)
            continue;
        if (!smt && has_running_sibling(threads, i)) {
            t->state = ABI_THREAD_SIBLING;
        } else if (chosen == most) {
            t->state = ABI_THREAD_SURPLUS;
        } else {
            t->state = ABI_THREAD_RUNS;
            t->number = (uint16_t)chosen++;
        }
    }
    return chosen;
}

unsigned topology_physical(const struct abi_thread *threads, const struct abi_thread *t)
{
    while (threads->state != ABI_THREAD_RUNS || !same_core(threads, t))
        threads++;
    return threads->number;
}

void topology_count(const struct abi_thread *threads, unsigned count, struct abi_topology *out)
{
    *out = (struct abi_topology){.threads = count};
    for (unsigned i = 0; i < count; i++) {
        bool new_package = true, new_core = true, new_node = true;

        for (unsigned k = 0; k < i; k++) {
            new_package = new_package && threads[k].package != threads[i].package;
            new_core = new_core && !same_core(&threads[k], &threads[i]);
            new_node = new_node && threads[k].node != threads[i].node;
        }
        out->packages += new_package;
        out->cores += new_core;
        out->nodes += new_node;
        out->running += threads[i].state == ABI_THREAD_RUNS;
    }
}

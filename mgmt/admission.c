#include "mgmt/admission.h"

#include "hv/fmt.h"
#include "hv/lib.h"

static bool fits(const struct admission_core *k, uint32_t share)
{
    return k->guaranteed <= CONFIG_GUARANTEED_MOST &&
           share <= CONFIG_GUARANTEED_MOST - k->guaranteed;
}

/* Tenths of a percent, for people. */
static void refuse(const struct admission_core *k, unsigned core, const struct guest_config *c,
                   char *why, size_t size)
{
    uint32_t asked = config_share(c) / 1000;
    uint32_t left = k->guaranteed < CONFIG_GUARANTEED_MOST
                        ? (CONFIG_GUARANTEED_MOST - k->guaranteed) / 1000
                        : 0;

    (void)fmt(why, size,
              "not enough core time: %u us of %u us (%u.%u %%) asked, core %u has %u.%u %% left of "
              "the %u %% that can be guaranteed",
              c->guaranteed_us, c->period_us, asked / 10, asked % 10, core, left / 10, left % 10,
              CONFIG_GUARANTEED_MOST / (CONFIG_CORE_WHOLE / 100));
}

static int refuse_stranger(const struct admission_core *cores, unsigned core, char *why,
                           size_t size)
{
    (void)fmt(why, size,
              "guest \"%s\" runs on a thread beside core %u and is not of its network, which "
              "\"smt\": \"guests-of-one-network\" demands",
              cores[core].stranger, core);
    return -E_PERM;
}

/* What the guest's vCPUs before `vcpu` take from a core is no longer left. */
static struct admission_core left_by(const struct admission_core *cores,
                                     const struct guest_config *c, const uint8_t *chosen,
                                     unsigned vcpu, unsigned core)
{
    struct admission_core k = cores[core];

    for (unsigned i = 0; i < vcpu; i++) {
        if (chosen[i] != core)
            continue;
        k.vcpus++;
        k.guaranteed += config_share(c);
    }
    return k;
}

static int check_named(const struct admission_core *cores, unsigned count,
                       const struct guest_config *c, uint8_t *chosen, char *why, size_t size)
{
    for (unsigned i = 0; i < c->vcpus; i++) {
        unsigned core = config_core(c, i);
        struct admission_core k;

        if (core >= count) {
            (void)fmt(why, size, "no core %u exists: guests run on %u core%s, numbered from 0",
                      core, count, count == 1 ? "" : "s");
            return -E_NOENT;
        }
        if (cores[core].stranger)
            return refuse_stranger(cores, core, why, size);
        k = left_by(cores, c, chosen, i, core);
        if (!fits(&k, config_share(c))) {
            refuse(&k, core, c, why, size);
            return -E_BUSY;
        }
        chosen[i] = (uint8_t)core;
    }
    return 0;
}

static bool is_among(unsigned core, const uint8_t *chosen, unsigned n)
{
    for (unsigned i = 0; i < n; i++)
        if (chosen[i] == core)
            return true;
    return false;
}

struct node_load {
    uint64_t vcpus, cores;
};

static struct node_load load_of(const struct admission_core *cores, unsigned count, uint32_t node)
{
    struct node_load l = {0};

    for (unsigned i = 0; i < count; i++) {
        l.vcpus += cores[i].node == node ? cores[i].vcpus : 0;
        l.cores += cores[i].node == node;
    }
    return l;
}

/* Whether core `a` suits vCPU n more than core `b`. */
static bool is_better(const struct admission_core *cores, unsigned count, unsigned a, unsigned b,
                      const uint8_t *chosen, unsigned n)
{
    uint32_t home = cores[chosen[0]].node;
    struct node_load x, y;

    if (cores[a].vcpus != cores[b].vcpus)
        return cores[a].vcpus < cores[b].vcpus;
    if (n > 0)
        return cores[a].node == home && cores[b].node != home;
    x = load_of(cores, count, cores[a].node);
    y = load_of(cores, count, cores[b].node);
    return x.vcpus * y.cores < y.vcpus * x.cores;
}

/* The best core for vCPU n, none of those chosen before it and none beside a stranger; `count`:
 * none. *roomiest: of these the one where most is left; `count`: there are none. */
static unsigned best_core(const struct admission_core *cores, unsigned count, uint32_t share,
                          const uint8_t *chosen, unsigned n, unsigned *roomiest)
{
    unsigned best = count;

    *roomiest = count;
    for (unsigned i = 0; i < count; i++) {
        if (is_among(i, chosen, n) || cores[i].stranger)
            continue;
        if (*roomiest == count || cores[i].guaranteed < cores[*roomiest].guaranteed)
            *roomiest = i;
        if (fits(&cores[i], share) &&
            (best == count || is_better(cores, count, i, best, chosen, n)))
            best = i;
    }
    return best;
}

static unsigned first_beside_stranger(const struct admission_core *cores)
{
    unsigned i = 0;

    while (!cores[i].stranger)
        i++;
    return i;
}

static int choose_all(const struct admission_core *cores, unsigned count,
                      const struct guest_config *c, uint8_t *chosen, char *why, size_t size)
{
    unsigned roomiest;

    if (c->vcpus > count) {
        (void)fmt(
            why, size,
            "the machine has %u core%s for %u vCPUs: name one for each in \"cores\"; they may "
            "repeat",
            count, count == 1 ? "" : "s", c->vcpus);
        return -E_NOSPC;
    }
    for (unsigned i = 0; i < c->vcpus; i++) {
        unsigned core = best_core(cores, count, config_share(c), chosen, i, &roomiest);

        if (roomiest == count)
            return refuse_stranger(cores, first_beside_stranger(cores), why, size);
        if (core == count) {
            refuse(&cores[roomiest], roomiest, c, why, size);
            return -E_BUSY;
        }
        chosen[i] = (uint8_t)core;
    }
    return 0;
}

int admission_choose(const struct admission_core *cores, unsigned count, struct guest_config *c,
                     char *why, size_t size)
{
    uint8_t chosen[CONFIG_VCPUS_MAX] = {0};
    int rc = c->core >= 0 ? check_named(cores, count, c, chosen, why, size)
                          : choose_all(cores, count, c, chosen, why, size);

    if (rc)
        return rc;
    memcpy(c->cores, chosen, c->vcpus);
    c->core_count = c->vcpus;
    c->core = c->cores[0];
    return 0;
}

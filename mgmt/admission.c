#include "mgmt/admission.h"

#include "hv/fmt.h"

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

int admission_choose(const struct admission_core *cores, unsigned count,
                     const struct guest_config *c, unsigned *core, char *why, size_t size)
{
    uint32_t share = config_share(c);
    unsigned best = count, roomiest = 0;

    if (c->core >= 0) {
        *core = (unsigned)c->core;
        if (*core >= count) {
            (void)fmt(why, size, "there is no core %u: the machine has %u, numbered from 0", *core,
                      count);
            return -E_NOENT;
        }
        if (fits(&cores[*core], share))
            return 0;
        refuse(&cores[*core], *core, c, why, size);
        return -E_BUSY;
    }
    for (unsigned i = 0; i < count; i++) {
        if (cores[i].guaranteed < cores[roomiest].guaranteed)
            roomiest = i;
        if (fits(&cores[i], share) && (best == count || cores[i].vcpus < cores[best].vcpus))
            best = i;
    }
    if (best == count) {
        refuse(&cores[roomiest], roomiest, c, why, size);
        return -E_BUSY;
    }
    *core = best;
    return 0;
}

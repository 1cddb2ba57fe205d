#include "hv/restart.h"

static bool is_wanted(const struct guest_config *c, bool failed)
{
    switch (c->restart) {
    case RESTART_ALWAYS:
        return true;
    case RESTART_ON_FAILURE:
        return failed;
    case RESTART_NEVER:
        break;
    }
    return false;
}

/* No delay after the first short life: a guest that is needed is back at once. */
static uint64_t hold_back_ms(uint32_t short_lives)
{
    if (short_lives < 2)
        return 0;
    return (uint64_t)RESTART_BACKOFF_MS << min_u64(short_lives - 2, RESTART_BACKOFF_DOUBLINGS);
}

enum restart_verdict restart_decide(const struct guest_config *c, const struct restart_end *e,
                                    uint32_t *short_lives, uint64_t *at)
{
    if (e->ended - e->started > RESTART_SHORT_SECONDS * e->tsc_hz)
        *short_lives = 0;
    else if (*short_lives < UINT32_MAX)
        ++*short_lives;
    if (!is_wanted(c, e->failed))
        return RESTART_NO;
    if (c->restart_limit && *short_lives > c->restart_limit)
        return RESTART_GIVEN_UP;
    *at = e->ended + hold_back_ms(*short_lives) * (e->tsc_hz / 1000);
    return RESTART_AGAIN;
}

#include "hv/stuck.h"

#define HASH_FACTOR 0x100000001b3ull /* of FNV-1a, word by word */

uint64_t stuck_state(uint64_t rip, const uint64_t *registers, size_t count)
{
    uint64_t h = rip;

    for (size_t i = 0; i < count; i++)
        h = ((h << 7 | h >> 57) ^ registers[i]) * HASH_FACTOR;
    return h;
}

static bool is_known(const struct stuck *s, uint64_t state)
{
    for (unsigned i = 0; i < s->count; i++)
        if (s->states[i] == state)
            return true;
    return false;
}

static enum stuck_news begin(struct stuck *s, uint64_t state, bool deaf, uint64_t now)
{
    bool told = s->told;

    *s = (struct stuck){.states = {state},
                        .since = now,
                        .next = s->next,
                        .taken = s->taken,
                        .count = deaf,
                        .looks = deaf};
    return told ? STUCK_ENDS : STUCK_NO_NEWS;
}

enum stuck_news stuck_look(struct stuck *s, uint64_t state, bool deaf, uint64_t taken, uint64_t now,
                           uint64_t second)
{
    bool quiet = deaf && taken == s->taken;

    s->next = now + second / STUCK_LOOKS;
    s->taken = taken;
    if (!quiet || s->count == 0)
        return begin(s, state, deaf, now);
    if (!is_known(s, state)) {
        if (s->count == STUCK_STATES)
            return begin(s, state, deaf, now);
        s->states[s->count++] = state;
    }
    if (s->looks < STUCK_LOOKS)
        s->looks++;
    if (s->told || s->looks < STUCK_LOOKS || now - s->since < STUCK_SECONDS * second)
        return STUCK_NO_NEWS;
    s->told = true;
    return STUCK_BEGINS;
}

#include "hv/stuck.h"

static bool is_there(const struct stuck *s, uint64_t rip)
{
    return s->looks > 0 && (rip >= s->rip ? rip - s->rip : s->rip - rip) < STUCK_SPAN;
}

enum stuck_news stuck_look(struct stuck *s, uint64_t rip, bool deaf, uint64_t now, uint64_t second)
{
    bool told = s->told;

    if (!deaf || !is_there(s, rip)) {
        *s = (struct stuck){.rip = rip, .since = now, .looks = deaf ? 1 : 0};
        return told ? STUCK_ENDS : STUCK_NO_NEWS;
    }
    if (s->looks < STUCK_LOOKS)
        s->looks++;
    if (told || s->looks < STUCK_LOOKS || now - s->since < STUCK_SECONDS * second)
        return STUCK_NO_NEWS;
    s->told = true;
    return STUCK_BEGINS;
}

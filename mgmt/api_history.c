/* GET /v1/guests/{name}/history: a guest's last hour. */
#include "hv/lib.h"
#include "mgmt/api_call.h"
#include "mgmt/history.h"

/* One member of every sample, the oldest first. */
static void put_series(struct json_out *j, const char *name, const struct history_guest *h,
                       size_t member)
{
    uint64_t n = h->count > HISTORY_SAMPLES ? h->count - HISTORY_SAMPLES : 0;

    json_array(j, name);
    for (; n < h->count; n++) {
        uint32_t value;

        memcpy(&value, (const char *)&h->ring[n % HISTORY_SAMPLES] + member, sizeof(value));
        if (value == HISTORY_NONE)
            json_null(j, NULL);
        else
            json_u64(j, NULL, value);
    }
    json_end(j);
}

void get_history(struct call *c, char *const *arg)
{
    static const struct history_guest none;
    static const struct {
        const char *name;
        size_t member;
    } series[] = {
        {"exits_per_second", offsetof(struct history_sample, exits)},
        {"run_permille", offsetof(struct history_sample, run)},
        {"timer_late_mean_ns", offsetof(struct history_sample, timer_mean)},
        {"timer_late_most_ns", offsetof(struct history_sample, timer_most)},
        {"slice_late_mean_ns", offsetof(struct history_sample, slice_mean)},
        {"slice_late_most_ns", offsetof(struct history_sample, slice_most)},
    };
    const struct history_guest *h = &none;
    struct abi_guest g;
    int number = call_guest(c, arg[0], &g);
    struct json_out *j;

    if (number < 0)
        return;
    /* Before the first look, the place is still that of an earlier guest. */
    if (c->v->history && strcmp(c->v->history->guests[number].name, g.config.name) == 0)
        h = &c->v->history->guests[number];
    j = call_begin(c);
    json_object(j, NULL);
    json_str(j, "guest", g.config.name);
    json_u64(j, "interval_ms", HISTORY_MS);
    json_u64(j, "uptime_ms", h->last.ms);
    for (size_t i = 0; i < ARRAY_LEN(series); i++)
        put_series(j, series[i].name, h, series[i].member);
    json_end(j);
}

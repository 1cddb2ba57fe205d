#include "mgmt/history.h"

#include "hv/lib.h"

static uint64_t now_ms(const struct api_view *v)
{
    uint64_t ticks_per_ms = v->host->tsc_hz / 1000;

    return ticks_per_ms ? (v->tsc() - v->host->boot_tsc) / ticks_per_ms : 0;
}

static void add_up(struct abi_histogram *sum, const struct abi_histogram *h)
{
    sum->sum += __atomic_load_n(&h->sum, __ATOMIC_RELAXED);
    for (unsigned i = 0; i < ABI_HISTOGRAM_BUCKETS; i++)
        sum->count[i] += __atomic_load_n(&h->count[i], __ATOMIC_RELAXED);
}

static struct history_look look(const struct api_view *v, unsigned number, uint64_t ms)
{
    const struct abi_guest *g = v->guest(number);
    struct history_look k = {.ms = ms};

    for (unsigned i = 0; i < g->vcpu_count && i < ABI_VCPUS_MAX; i++) {
        const struct abi_vcpu *u = v->vcpu((struct api_vcpu){number, i});

        k.entries += u->entries;
        k.run_ticks += u->run_ticks;
        add_up(&k.timer, &u->wake_late);
    }
    if (g->core < ABI_CORES_MAX)
        add_up(&k.slice, &v->host->cores[g->core].slice_late);
    return k;
}

static uint32_t ns(const struct api_view *v, uint64_t ticks)
{
    uint64_t khz = v->host->tsc_hz / 1000;

    return khz ? (uint32_t)min_u64(ticks * 1000000 / khz, HISTORY_NONE - 1) : HISTORY_NONE;
}

/* The mean of what a histogram gained, and the bound of the highest bucket that did. */
static void gained(const struct api_view *v, const struct abi_histogram *old,
                   const struct abi_histogram *now, uint32_t *mean, uint32_t *most)
{
    uint64_t n = 0;
    unsigned top = 0;

    *mean = *most = HISTORY_NONE;
    for (unsigned i = 0; i < ABI_HISTOGRAM_BUCKETS; i++) {
        if (now->count[i] <= old->count[i])
            continue;
        n += now->count[i] - old->count[i];
        top = i;
    }
    if (n == 0 || now->sum < old->sum)
        return;
    *mean = ns(v, (now->sum - old->sum) / n);
    *most = ns(v, abi_histogram_limit(top));
}

static void sample(const struct api_view *v, struct history_guest *h,
                   const struct history_look *now)
{
    struct history_sample *s = &h->ring[h->count % HISTORY_SAMPLES];
    uint64_t ms = now->ms - h->last.ms, khz = v->host->tsc_hz / 1000;
    bool goes_on = now->entries >= h->last.entries && now->run_ticks >= h->last.run_ticks;

    s->exits = s->run = HISTORY_NONE;
    if (goes_on && ms && khz) {
        uint64_t ran = now->run_ticks - h->last.run_ticks;

        s->exits = (uint32_t)min_u64((now->entries - h->last.entries) * 1000 / ms, UINT32_MAX - 1);
        s->run = (uint32_t)min_u64(ran * 1000 / (khz * ms), UINT32_MAX - 1);
    }
    gained(v, &h->last.timer, &now->timer, &s->timer_mean, &s->timer_most);
    gained(v, &h->last.slice, &now->slice, &s->slice_mean, &s->slice_most);
    h->count++;
}

static void look_at(const struct api_view *v, unsigned number, uint64_t ms)
{
    struct history_guest *h = &v->history->guests[number];
    const struct abi_guest *g = v->guest(number);
    struct history_look now;

    if (!(__atomic_load_n(&v->host->guests, __ATOMIC_ACQUIRE) >> number & 1)) {
        h->name[0] = 0;
        return;
    }
    now = look(v, number, ms);
    if (strcmp(h->name, g->config.name) != 0) { /* the number is another guest's now */
        (void)str_copy(h->name, sizeof(h->name), g->config.name);
        h->count = 0;
    } else {
        sample(v, h, &now);
    }
    h->last = now;
}

void history_poll(const struct api_view *v)
{
    uint64_t ms;

    if (!v->history)
        return;
    ms = now_ms(v);
    if (ms < v->history->due_ms)
        return;
    v->history->due_ms = ms + HISTORY_MS;
    for (unsigned i = 0; i < ABI_GUESTS_MAX; i++)
        look_at(v, i, ms);
}

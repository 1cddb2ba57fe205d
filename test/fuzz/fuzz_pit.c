/* SOURCES: hv/pc/pit.c hv/pc/bus.c hv/lib.c */
#include "hv/pc/pit.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define TSC_HZ 2999999017ull

static struct dev_clock clock;

static void on_line(void *ctx, unsigned irq, bool l)
{
    bool *level = ctx;

    if (irq != 0)
        abort();
    *level = l;
}

static void check(const struct pit *p)
{
    for (unsigned i = 0; i < 3; i++) {
        const struct pit_channel *c = &p->channel[i];

        if (c->mode > 5 || c->access < 1 || c->access > 3 || c->count > 65536)
            abort();
        if (c->started && c->count < (c->mode == 2 || c->mode == 3 ? 2 : 1))
            abort();
    }
    if (p->channel[1].gate != true || p->channel[0].gate != true)
        abort();
}

static uint32_t in(struct pit *p, uint16_t port)
{
    uint32_t v = port == PIT_PORT_B ? pit_device.ports[1].ops->in(p, port, 1)
                                    : pit_device.ports[0].ops->in(p, port, 1);

    if (v > 0xff)
        abort();
    return v;
}

static void out(struct pit *p, uint16_t port, uint32_t v)
{
    if (port == PIT_PORT_B)
        pit_device.ports[1].ops->out(p, port, 1, v);
    else
        pit_device.ports[0].ops->out(p, port, 1, v);
}

/*
 * Two timers get the same accesses. One is updated at every deadline, as if its guest ran all the
 * time, the other only when it is accessed. The guest must not see a difference.
 */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint16_t ports[8] = {0x40, 0x41, 0x42, 0x43, 0x43, 0x61, 0x40, 0x42};
    bool level[2] = {false, false};
    struct device_env env = {
        .clock = &clock, .merge_ticks = true, .irq = {.set = on_line, .ctx = &level[0]}};
    struct pit busy, lazy;

    clock = (struct dev_clock){1000, TSC_HZ};
    pit_device.reset(&busy, &env);
    env.irq.ctx = &level[1];
    pit_device.reset(&lazy, &env);
    for (size_t i = 0; i + 1 < size && i < 4096; i += 2) {
        uint16_t port = ports[data[i] & 7];
        uint64_t then = clock.now;

        switch (data[i] >> 6) {
        case 0:
            out(&busy, port, data[i + 1]);
            out(&lazy, port, data[i + 1]);
            break;
        case 1:
            if (in(&busy, port) != in(&lazy, port))
                abort();
            break;
        default:
            then += ((uint64_t)data[i + 1] + 1) << (data[i] & 31);
            for (unsigned n = 0; n < 64 && busy.deadline <= then; n++) {
                uint64_t due = clock.now = max_u64(busy.deadline, clock.now);

                pit_device.update(&busy);
                if (busy.deadline <= due)
                    abort(); /* the run loop would make no progress */
                if (!level[0])
                    abort(); /* a deadline is an interrupt */
            }
            clock.now = then;
            break;
        }
        pit_device.update(&busy);
        if (busy.deadline <= clock.now)
            abort();
        check(&busy);
        check(&lazy);
    }
    pit_device.update(&lazy);
    if (busy.deadline != lazy.deadline || level[0] != level[1])
        abort();
    return 0;
}

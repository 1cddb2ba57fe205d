/*
 * What storms of random requests have in common: a generator with a seed per thread, what
 * management may ask of a guest, what guests do, and their configurations.
 */
#pragma once

#include "test/unit/engine.h"

static _Thread_local uint64_t seed;
static uint32_t random_below(uint32_t n)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 33) % n;
}

static void act_at_random(unsigned guest)
{
    (void)act(guest, (enum abi_action)(1 + random_below(ABI_ACTION_END - 1)));
}

static void ask_for_snapshot(unsigned guest)
{
    (void)call(ABI_CALL_SNAPSHOT, guest, random_below(3), random_below(2));
}

static void ask_for_controls(unsigned guest)
{
    memset(argument(), 0, sizeof(struct abi_controls));
    (void)call(ABI_CALL_CONTROLS, guest, random_below(3), ARGUMENT);
}

/* ---- memory that some of the guests share ---- */

#define PEERS 4u

/* The guest becomes one of the peers. */
static void share(struct guest_config *c, unsigned peer)
{
    struct config_shared *s = &c->shared[c->shared_count++];

    (void)str_copy(s->name, sizeof(s->name), "region");
    s->size = CONFIG_SHARED_LEAST;
    for (s->peer_count = 0; s->peer_count < PEERS; s->peer_count++)
        (void)fmt(s->peers[s->peer_count], sizeof(s->peers[0]), "peer%u", s->peer_count);
    (void)str_copy(c->name, sizeof(c->name), s->peers[peer]);
}

static void ring(struct vcpu *v)
{
    struct platform *p = v->platform;

    if (!v->guest->config.shared_count)
        return;
    platform_enter(p, present());
    (void)mmio_write(&p->bus, p->shared[0].pci.bars[0].at + IVSHMEM_DOORBELL, 4,
                     random_below(PEERS) << 16 | random_below(IVSHMEM_VECTORS));
    platform_leave(p, v->number);
}

/* ---- vCPUs ---- */

/* What the vCPU that runs does to others of its guest, and to its peers. */
static void disturb_others(struct vcpu *v)
{
    const struct platform_host *h = &v->platform->host;
    unsigned to = random_below(v->guest->vcpu_count);

    switch (random_below(8)) {
    case 0:
    case 1:
        h->ipi(h->ctx, to, (enum platform_ipi)random_below(3), (uint8_t)random_below(256));
        break;
    case 2:
    case 3:
        h->kick(h->ctx, to);
        break;
    case 4: /* a timer, which concerns vCPU 0 */
        out(v, 0x43, 0x34);
        out(v, 0x40, 0);
        out(v, 0x40, (uint8_t)(16 + random_below(240))); /* every 3 ms or more */
        break;
    case 5:
        ring(v);
        break;
    default:
        break;
    }
}

static struct guest_config config_at_random(unsigned number)
{
    struct guest_config c;
    char name[16];

    (void)fmt(name, sizeof(name), "g%u", number);
    c = config_of(name, random_below(ENGINE_CORES));
    spread(&c, 1 + random_below(random_below(4) ? 3 : ABI_VCPUS_MAX));
    c.restart = (enum config_restart)random_below(3);
    c.paused_clock = (enum config_paused_clock)random_below(2);
    if (random_below(2))
        share(&c, random_below(PEERS));
    return c;
}

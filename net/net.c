#include "hv/net.h"

#include "hv/lib.h"
#include "net/mac.h"
#include "net/switch.h"
#include "net/transfer.h"
#include "net/uplink.h"

static struct vswitch vswitch;
static struct net_setup setup;

void net_init(const struct net_setup *s)
{
    setup = *s;
    switch_init(&vswitch, s->tsc_hz, s->guests_reach_management);
    for (size_t i = 0; i < ARRAY_LEN(s->guarded); i++) {
        struct facts_address a = facts_ipv4(s->guarded[i]);

        switch_guard(&vswitch, &a);
    }
}

void net_address(unsigned number, uint8_t mac[6])
{
    static const uint8_t without_card[MAC_PREFIX_SIZE] = {0x52, 0x42, 0x48, 0, 0};

    if (!bytes_are_zero(setup.mac_prefix, sizeof(setup.mac_prefix)))
        mac_from_prefix(setup.mac_prefix, number, mac);
    else if (uplink_address())
        mac_derive(uplink_address(), number, mac);
    else
        mac_from_prefix(without_card, number, mac);
}

bool net_is_guarded(const struct net_address *a)
{
    struct facts_address address = facts_ipv6(a->bytes);

    return switch_is_guarded(&vswitch, &address);
}

int net_attach(unsigned number, bool management, const struct net_config *config,
               net_deliver *deliver, void *ctx)
{
    uint8_t mac[MAC_SIZE];

    net_address(number, mac);
    return switch_attach(&vswitch, management ? FILTER_MANAGEMENT : FILTER_GUEST, mac, config,
                         deliver, ctx);
}

void net_detach(unsigned port)
{
    switch_detach(&vswitch, port);
}

void net_set_offloads(unsigned port, const struct net_offloads *ops)
{
    switch_set_offloads(&vswitch, port, ops);
}

enum net_drop net_send(unsigned port, uint8_t *frame, size_t len, const struct net_offload *o,
                       uint64_t now, struct net_transfer *t)
{
    return transfer_step(&vswitch, port, frame, len, o, now, t);
}

void net_cancel(struct net_transfer *t)
{
    transfer_cancel(&vswitch, t);
}

int net_find_cards(void)
{
    return uplink_find(setup.uplinks);
}

int net_start_uplinks(unsigned core, void *(*alloc)(size_t bytes))
{
    return uplink_start(&vswitch, setup.nics, core, alloc, net_address);
}

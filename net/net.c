#include "hv/net.h"

#include "hv/arch.h"
#include "net/nic.h"
#include "net/switch.h"

#define MAX_AGE_SECONDS 300u /* IEEE 802.1D "Filtering Database": the recommended ageing time */

static struct vswitch vswitch;

void net_init(void)
{
    switch_init(&vswitch, MAX_AGE_SECONDS * arch_tsc_hz());
}

int net_attach(void (*deliver)(void *ctx, const uint8_t *frame, size_t len), void *ctx)
{
    return switch_attach(&vswitch, deliver, ctx);
}

void net_detach(unsigned port)
{
    switch_detach(&vswitch, port);
}

int net_set_address(unsigned port, const uint8_t mac[6])
{
    return switch_set_address(&vswitch, port, mac);
}

void net_send(unsigned port, const uint8_t *frame, size_t len, uint64_t now)
{
    switch_input(&vswitch, port, frame, len, now);
}

int net_start_uplink(unsigned core, void *(*alloc)(size_t bytes))
{
    return nic_probe(&vswitch, core, alloc);
}

const char *net_uplink_name(void)
{
    const struct nic_info *info = nic_info();

    return info ? info->name : "";
}

bool net_pending(void)
{
    return nic_pending();
}

bool net_poll(void)
{
    return nic_poll();
}

#include "mgmt/isn.h"

#include "hv/lib.h"
#include "mgmt/port.h"

#include <mbedtls/sha256.h>
#include <string.h>

#define TICKS_MS 250u /* of 4 us */

static uint32_t key[8];

static void put_address(uint32_t out[4], const ip_addr_t *a)
{
    if (IP_IS_V6(a))
        memcpy(out, ip_2_ip6(a)->addr, 4 * sizeof(out[0]));
    else
        out[3] = ip_2_ip4(a)->addr;
}

void isn_start(void)
{
    for (unsigned i = 0; i < sizeof(key) / sizeof(key[0]); i++)
        key[i] = mgmt_random();
}

u32_t isn_make(const ip_addr_t *local, u16_t local_port, const ip_addr_t *remote, u16_t remote_port)
{
    struct {
        uint32_t key[8], local[4], remote[4];
        uint16_t local_port, remote_port;
    } ends = {.local_port = local_port, .remote_port = remote_port};
    uint8_t hash[32];
    uint32_t place;

    _Static_assert(sizeof(ends) == 68, "no padding");
    memcpy(ends.key, key, sizeof(key));
    put_address(ends.local, local);
    put_address(ends.remote, remote);
    (void)mbedtls_sha256((const uint8_t *)&ends, sizeof(ends), hash, 0);
    memcpy(&place, hash, sizeof(place));
    memzero_explicit(&ends, sizeof(ends));
    return place + port_ms() * TICKS_MS;
}

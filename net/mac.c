#include "net/mac.h"

#include "hv/lib.h"

#define LOCAL_QUADRANT 0x2u

void mac_derive(const uint8_t card[MAC_SIZE], unsigned number, uint8_t out[MAC_SIZE])
{
    out[0] = (uint8_t)((card[2] & 0xf0) | LOCAL_QUADRANT);
    out[1] = card[0] ^ card[1];
    out[2] = (uint8_t)((unsigned)card[2] << 4 | (number & 0xf));
    memcpy(out + 3, card + 3, 3);
}

void mac_from_prefix(const uint8_t prefix[MAC_PREFIX_SIZE], unsigned number, uint8_t out[MAC_SIZE])
{
    memcpy(out, prefix, MAC_PREFIX_SIZE);
    out[MAC_PREFIX_SIZE] = (uint8_t)number;
}

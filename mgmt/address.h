/* IP addresses as text. Pure. */
#pragma once

#include "hv/types.h"

#define ADDRESS_TEXT 40u /* with its NUL */

/* Four bytes, or 16, in network byte order. */
void address_ipv4(char out[ADDRESS_TEXT], const uint8_t *ip);
/* RFC 5952 "A Recommendation for IPv6 Address Text Representation", section 4. */
void address_ipv6(char out[ADDRESS_TEXT], const uint8_t *ip);

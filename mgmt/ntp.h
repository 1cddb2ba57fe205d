/* Which answers of a time server are believed. Pure. */
#pragma once

#include "hv/types.h"

#define NTP_ANSWER 48u /* bytes, without extensions */

/* False: the server itself does not know the time, or says so: RFC 4330, section 5. */
bool ntp_is_sound(const uint8_t answer[NTP_ANSWER]) MUST_CHECK;

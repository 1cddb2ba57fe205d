#include "mgmt/ntp.h"

#include "hv/lib.h"

/* RFC 4330, section 4. */
#define LEAP_SHIFT   6
#define LEAP_UNKNOWN 3u /* not synchronised */
#define STRATUM      1u
#define STRATUM_LAST 15u /* 16: not synchronised */
#define TRANSMIT     40u
#define TIMESTAMP    8u

bool ntp_is_sound(const uint8_t answer[NTP_ANSWER])
{
    return answer[0] >> LEAP_SHIFT != LEAP_UNKNOWN && answer[STRATUM] > 0 &&
           answer[STRATUM] <= STRATUM_LAST && !bytes_are_zero(answer + TRANSMIT, TIMESTAMP);
}

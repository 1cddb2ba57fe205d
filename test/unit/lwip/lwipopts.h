/* lwIP as the management guest configures it, without the parts that the tests of its server do not
 * link. */
#pragma once

#include "mgmt/include/lwipopts.h"

#undef LWIP_ALTCP_TLS
#undef LWIP_ALTCP_TLS_MBEDTLS
#define LWIP_ALTCP_TLS         0
#define LWIP_ALTCP_TLS_MBEDTLS 0

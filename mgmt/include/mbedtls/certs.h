/* lwIP's altcp_tls includes it; mbedTLS 3 no longer has it, and nothing in it was used. */
#pragma once

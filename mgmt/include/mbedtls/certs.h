/* lwIP's altcp_tls includes it; mbedTLS 3 has it no more, and nothing of it was used. */
#pragma once

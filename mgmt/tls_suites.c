/*
 * In TLS 1.3 mbedTLS takes the first suite of the client's list that it supports; with OpenSSL that
 * is AES. Here a client that offers ChaCha20 gets it: the other suites are hidden for that client.
 * The linker redirects mbedTLS's calls here (mgmt.mk), between a ClientHello's arrival and its
 * parsing.
 */
#include "mgmt/tls_suites.h"

#include "hv/types.h"

#define FIXED 34u /* a ClientHello's version and random bytes: RFC 8446, 4.1.2 */

static const mbedtls_ssl_config *all;
static mbedtls_ssl_config preferring; /* like `all`, without AES in TLS 1.3 */
static mbedtls_ssl_context *greeting; /* the context whose ClientHello came last */

/* mbedTLS has only checked that the message is complete. */
static bool offers(const unsigned char *hello, size_t len, unsigned suite)
{
    size_t at = FIXED, end;

    if (len < at + 1 || len < at + 1 + hello[at] + 2)
        return false;
    at += 1u + hello[at]; /* the session ID */
    end = at + 2 + (size_t)(hello[at] << 8 | hello[at + 1]);
    for (at += 2; at + 2 <= end && at + 2 <= len; at += 2)
        if ((unsigned)(hello[at] << 8 | hello[at + 1]) == suite)
            return true;
    return false;
}

int __wrap_mbedtls_ssl_tls13_fetch_handshake_msg(mbedtls_ssl_context *ssl, unsigned type,
                                                 unsigned char **message, size_t *len)
{
    int rc = __real_mbedtls_ssl_tls13_fetch_handshake_msg(ssl, type, message, len);

    if (rc || type != MBEDTLS_SSL_HS_CLIENT_HELLO)
        return rc;
    greeting = ssl;
    ssl->MBEDTLS_PRIVATE(conf) =
        offers(*message, *len, MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256) ? &preferring : all;
    return 0;
}

/* A ticket continues with its session's suite: without that suite mbedTLS would end the handshake.
 * It is parsed together with the ClientHello. */
int __wrap_mbedtls_ssl_ticket_parse(void *tickets, mbedtls_ssl_session *session,
                                    unsigned char *ticket, size_t len)
{
    int rc = __real_mbedtls_ssl_ticket_parse(tickets, session, ticket, len);

    if (rc == 0)
        greeting->MBEDTLS_PRIVATE(conf) = all;
    return rc;
}

void tls_suites_prefer(const mbedtls_ssl_config *conf)
{
    static const int suites[] = {MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256,
                                 MBEDTLS_SSL_CIPHERSUITES_TLS1_2, 0};

    all = conf;
    preferring = *conf;
    mbedtls_ssl_conf_ciphersuites(&preferring, suites);
}

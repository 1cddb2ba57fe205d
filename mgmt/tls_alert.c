#include "mgmt/tls_alert.h"

/* RFC 8446, section 6.2. */
static unsigned char alert_of(int error)
{
    switch (error) {
    case MBEDTLS_ERR_SSL_UNEXPECTED_MESSAGE:
        return MBEDTLS_SSL_ALERT_MSG_UNEXPECTED_MESSAGE;
    case MBEDTLS_ERR_SSL_INVALID_RECORD:
    case MBEDTLS_ERR_SSL_DECODE_ERROR:
        return MBEDTLS_SSL_ALERT_MSG_DECODE_ERROR;
    case MBEDTLS_ERR_SSL_BAD_PROTOCOL_VERSION:
        return MBEDTLS_SSL_ALERT_MSG_PROTOCOL_VERSION;
    case MBEDTLS_ERR_SSL_ALLOC_FAILED:
    case MBEDTLS_ERR_SSL_INTERNAL_ERROR:
        return MBEDTLS_SSL_ALERT_MSG_INTERNAL_ERROR;
    default:
        return MBEDTLS_SSL_ALERT_MSG_HANDSHAKE_FAILURE;
    }
}

static bool is_failure(int error)
{
    return error && error != MBEDTLS_ERR_SSL_WANT_READ && error != MBEDTLS_ERR_SSL_WANT_WRITE;
}

/* The client has ended it by itself. */
static bool has_left(int error)
{
    return error == MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE ||
           error == MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY || error == MBEDTLS_ERR_SSL_CONN_EOF;
}

/* Unread bytes would turn TCP's end into a reset, which may overtake the alert. */
static void discard_input(mbedtls_ssl_context *ssl)
{
    unsigned char bytes[256];

    while (ssl->MBEDTLS_PRIVATE(f_recv)(ssl->MBEDTLS_PRIVATE(p_bio), bytes, sizeof(bytes)) > 0)
        ;
}

int tls_handshake(mbedtls_ssl_context *ssl)
{
    int error = mbedtls_ssl_handshake(ssl);
    /* What was said last. */
    bool alerted = ssl->MBEDTLS_PRIVATE(out_msgtype) == MBEDTLS_SSL_MSG_ALERT;

    if (!is_failure(error))
        return error;
    if (!alerted && !has_left(error))
        (void)mbedtls_ssl_send_alert_message(ssl, MBEDTLS_SSL_ALERT_LEVEL_FATAL, alert_of(error));
    discard_input(ssl);
    return error;
}

#include "mgmt/tls.h"

#include "altcp_tls_mbedtls_structs.h"
#include "hv/fmt.h"
#include "lwip/altcp_tls.h"
#include "lwip/opt.h"
#include "mbedtls/ssl.h"
#include "mgmt/connection.h"
#include "mgmt/listen.h"
#include "mgmt/port.h"
#include "mgmt/server.h"
#include "mgmt/tls_credentials.h"
#include "mgmt/tls_handshakes.h"
#include "mgmt/tls_port.h"
#include "mgmt/tls_suites.h"

#include <string.h>

/* lwIP's altcp_tls continues a handshake even if TCP did not take its last message: mbedTLS would
 * then write beyond its buffer. So TCP must always take one: there is memory for everything that
 * all connections may have in flight. 160 bytes: lwIP's headers of a buffer. */
_Static_assert(MEM_SIZE >= MEMP_NUM_TCP_PCB * (TCP_SND_BUF + 160 * TCP_SND_QUEUELEN),
               "a handshake must never find the heap empty");
_Static_assert(MEMP_NUM_TCP_SEG >= MEMP_NUM_TCP_PCB * TCP_SND_QUEUELEN,
               "a handshake must always find a segment");
_Static_assert(TCP_SND_BUF >= 2 * MBEDTLS_SSL_OUT_CONTENT_LEN &&
                   TCP_SND_QUEUELEN * LISTEN_MSS_LEAST >= 2 * MBEDTLS_SSL_OUT_CONTENT_LEN,
               "what a handshake says must fit at once");
/* A record is acknowledged only when all of it has arrived. */
_Static_assert(TCP_WND > MBEDTLS_SSL_IN_CONTENT_LEN + 1024, "a record must fit the window");

static bool has_random;
static const char *refusal;
static bool is_configured;

size_t tls_unsent(struct altcp_pcb *pcb)
{
    const mbedtls_ssl_context *ssl = altcp_tls_context(pcb);

    return ssl ? ssl->MBEDTLS_PRIVATE(out_left) : 0;
}

unsigned tls_unread(struct altcp_pcb *pcb)
{
    const altcp_mbedtls_state_t *state = pcb->state;

    return state && state->rx ? pbuf_clen(state->rx) : 0;
}

void tls_close_notify(struct altcp_pcb *pcb)
{
    mbedtls_ssl_context *ssl = altcp_tls_context(pcb);

    if (ssl)
        (void)mbedtls_ssl_close_notify(ssl);
}

bool tls_is_configured(void)
{
    return is_configured;
}

bool tls_works(void)
{
    return has_random && !refusal;
}

const char *tls_refusal(void)
{
    return refusal;
}

static struct api_tls *told;

static void say_fingerprint(const struct tls_credentials *c)
{
    char text[3 * sizeof(c->sha256) + 1];

    for (size_t i = 0; i < sizeof(c->sha256); i++)
        (void)fmt(text + 3 * i, 4, i + 1 < sizeof(c->sha256) ? "%02X:" : "%02X", c->sha256[i]);
    port_log("management certificate: sha256 %s%s", text, c->configured ? "" : " (self-signed)");
}

/* Cheapest first. */
static void set_preferences(struct altcp_pcb *pcb)
{
    static const uint16_t groups[] = {
        MBEDTLS_SSL_IANA_TLS_GROUP_X25519, MBEDTLS_SSL_IANA_TLS_GROUP_SECP256R1,
        MBEDTLS_SSL_IANA_TLS_GROUP_SECP384R1, MBEDTLS_SSL_IANA_TLS_GROUP_NONE};
    const mbedtls_ssl_context *ssl = altcp_tls_context(pcb);
    /* altcp_tls's own object, which can only be reached through its contexts. */
    mbedtls_ssl_config *conf = (mbedtls_ssl_config *)(uintptr_t)mbedtls_ssl_context_get_config(ssl);

    mbedtls_ssl_conf_groups(conf, groups);
    mbedtls_ssl_conf_authmode(conf, MBEDTLS_SSL_VERIFY_NONE); /* clients need no certificate */
    mbedtls_ssl_conf_rng(conf, tls_random, NULL);
    tls_suites_prefer(conf);
}

static struct altcp_pcb *new_listener(const struct tls_credentials *c)
{
    struct altcp_tls_config *config = altcp_tls_create_config_server_privkey_cert(
        c->key, c->key_len, NULL, 0, c->certificate, c->certificate_len);
    struct altcp_pcb *pcb = config ? altcp_tls_new(config, IPADDR_TYPE_ANY) : NULL;

    if (!pcb)
        return NULL;
    set_preferences(pcb);
    if (altcp_bind(pcb, IP_ANY_TYPE, TLS_PORT) != ERR_OK)
        return NULL;
    return listen_start(pcb, tls_handshakes_accept);
}

void tls_listen(const uint8_t ip[4])
{
    struct tls_credentials c;
    const char *why;

    if (!has_random)
        return;
    why = tls_credentials_get(&c, ip);
    if (why) {
        port_log("no HTTPS: %s", why);
        refusal = "the certificate or key of the configuration cannot be used: the log says why";
        return;
    }
    if (!new_listener(&c))
        mgmt_die("no memory to listen for HTTPS");
    is_configured = c.configured;
    told->not_after = c.not_after;
    say_fingerprint(&c);
}

void tls_start(struct api_tls *counters)
{
    told = counters;
    tls_handshakes_start(counters);
    has_random = tls_port_start();
    if (!has_random)
        port_log("no HTTPS: this CPU has neither RDSEED nor RDRAND, so no keys can be made");
}

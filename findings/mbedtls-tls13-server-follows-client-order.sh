#!/bin/sh
# mbedTLS 3.6.6 (Debian 13's source package 3.6.6-0.1~deb13u1). mbedtls_ssl_conf_ciphersuites() says that
# a server chooses its preferred ciphersuite among those that the client supports unless
# mbedtls_ssl_conf_preference_order() is called. That holds for TLS 1.2. A TLS 1.3 server takes the first
# of the *client's* list that it knows, whatever its own order is, and the call changes nothing. We
# expected the same rule for both versions. If a server prefers ChaCha20 because its machine lacks AES
# instructions, it must leave AES out of its list for clients that offer both.
#
# The program connects a client and a server in one process, with a pre-shared key, once in each version.
# The client prefers AES-128-GCM, the server ChaCha20-Poly1305.
set -eu
WANTED=3.6.6-0.1~deb13u1

here=$(cd "$(dirname "$0")" && pwd)
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
cd "$dir"
. "$here/../test/tools/apt.sh"
private_apt "$dir/apt" deb-src:trixie
{ apt_private apt-get update && apt_private apt-get source --download-only "mbedtls=$WANTED"; } > apt.log 2>&1 || { cat apt.log; exit 1; }
dpkg-source --no-check -x mbedtls_*.dsc mbedtls > unpack.log 2>&1

cat > main.c << 'EOF'
#include <stdio.h>
#include <string.h>

#include "mbedtls/ctr_drbg.h"
#include "mbedtls/entropy.h"
#include "mbedtls/ssl.h"
#include "psa/crypto.h"

static struct pipe { /* to one side */
    unsigned char bytes[65536];
    size_t head, tail;
} pipes[2];

static struct side {
    mbedtls_ssl_context ssl;
    mbedtls_ssl_config conf;
    struct pipe *in, *out;
} sides[2];

static int put(void *ctx, const unsigned char *data, size_t n)
{
    struct pipe *p = ((struct side *)ctx)->out;

    memcpy(p->bytes + p->head, data, n);
    p->head += n;
    return (int)n;
}

static int take(void *ctx, unsigned char *data, size_t n)
{
    struct pipe *p = ((struct side *)ctx)->in;

    if (p->head == p->tail)
        return MBEDTLS_ERR_SSL_WANT_READ;
    if (n > p->head - p->tail)
        n = p->head - p->tail;
    memcpy(data, p->bytes + p->tail, n);
    p->tail += n;
    return (int)n;
}

static void connect_both(const char *name, mbedtls_ssl_protocol_version version, const int *client, const int *server)
{
    static const unsigned char key[32] = "a key that both have";
    static mbedtls_entropy_context entropy;
    static mbedtls_ctr_drbg_context random;
    int r[2] = {1, 1};

    memset(sides, 0, sizeof(sides));
    memset(pipes, 0, sizeof(pipes));
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&random);
    if (mbedtls_ctr_drbg_seed(&random, mbedtls_entropy_func, &entropy, NULL, 0))
        printf("no random numbers\n");
    for (int i = 0; i < 2; i++) {
        struct side *s = &sides[i];

        s->in = &pipes[i];
        s->out = &pipes[!i];
        mbedtls_ssl_init(&s->ssl);
        mbedtls_ssl_config_init(&s->conf);
        mbedtls_ssl_config_defaults(&s->conf, i ? MBEDTLS_SSL_IS_SERVER : MBEDTLS_SSL_IS_CLIENT, MBEDTLS_SSL_TRANSPORT_STREAM, MBEDTLS_SSL_PRESET_DEFAULT);
        mbedtls_ssl_conf_rng(&s->conf, mbedtls_ctr_drbg_random, &random);
        mbedtls_ssl_conf_min_tls_version(&s->conf, version);
        mbedtls_ssl_conf_max_tls_version(&s->conf, version);
        mbedtls_ssl_conf_tls13_key_exchange_modes(&s->conf, MBEDTLS_SSL_TLS1_3_KEY_EXCHANGE_MODE_PSK_EPHEMERAL);
        mbedtls_ssl_conf_psk(&s->conf, key, sizeof(key), (const unsigned char *)"we", 2);
        mbedtls_ssl_conf_ciphersuites(&s->conf, i ? server : client);
        if (i)
            mbedtls_ssl_conf_preference_order(&s->conf, MBEDTLS_SSL_SRV_CIPHERSUITE_ORDER_SERVER);
        if (mbedtls_ssl_setup(&s->ssl, &s->conf))
            printf("no set-up\n");
        mbedtls_ssl_set_bio(&s->ssl, s, put, take, NULL);
    }
    for (int step = 0; step < 100 && (r[0] || r[1]); step++)
        for (int i = 0; i < 2; i++)
            if (r[i])
                r[i] = mbedtls_ssl_handshake(&sides[i].ssl);
    printf("%s: the server chose %s\n", name, r[0] || r[1] ? "nothing" : mbedtls_ssl_get_ciphersuite(&sides[1].ssl));
}

int main(void)
{
    static const int client12[] = {MBEDTLS_TLS_PSK_WITH_AES_128_GCM_SHA256, MBEDTLS_TLS_PSK_WITH_CHACHA20_POLY1305_SHA256, 0};
    static const int server12[] = {MBEDTLS_TLS_PSK_WITH_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS_PSK_WITH_AES_128_GCM_SHA256, 0};
    static const int client13[] = {MBEDTLS_TLS1_3_AES_128_GCM_SHA256, MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, 0};
    static const int server13[] = {MBEDTLS_TLS1_3_CHACHA20_POLY1305_SHA256, MBEDTLS_TLS1_3_AES_128_GCM_SHA256, 0};

    psa_crypto_init();
    connect_both("TLS 1.2", MBEDTLS_SSL_VERSION_TLS1_2, client12, server12);
    connect_both("TLS 1.3", MBEDTLS_SSL_VERSION_TLS1_3, client13, server13);
    return 0;
}
EOF
for source in mbedtls/library/*.c; do echo "$source"; done | xargs -P 2 -I FILE sh -c 'cc -w -Imbedtls/include -Imbedtls/library -c -o "$(basename FILE .c).o" FILE'
cc -w -Imbedtls/include -o both main.c ./*.o
echo "mbedTLS $WANTED"
./both | tee out.txt
grep -q '^TLS 1.2: .*CHACHA20' out.txt && grep -q '^TLS 1.3: .*AES-128-GCM' out.txt || { echo "this has changed"; exit 1; }

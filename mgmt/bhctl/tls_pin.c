/*
 * --fingerprint. The console shows the SHA-256 of the whole certificate; libcurl can pin public
 * keys only, so OpenSSL is asked during the handshake, before a token is sent.
 */
#include "mgmt/bhctl/bhctl.h"

#include <openssl/ssl.h>

#include <string.h>

static int verify(X509_STORE_CTX *store, void *arg)
{
    struct api *a = arg;
    X509 *certificate = X509_STORE_CTX_get0_cert(store);
    unsigned length = sizeof(a->shown);

    a->pin_failed = !certificate || !X509_digest(certificate, EVP_sha256(), a->shown, &length) ||
                    memcmp(a->shown, a->pin, sizeof(a->pin)) != 0;
    if (a->pin_failed)
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    return !a->pin_failed;
}

static CURLcode set_up(CURL *c, void *context, void *arg)
{
    (void)c;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(context, verify, arg);
    return CURLE_OK;
}

void tls_pin(struct api *a, CURL *c)
{
    /* The fingerprint says more than a name or a chain could. */
    (void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
    (void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    (void)curl_easy_setopt(c, CURLOPT_SSL_CTX_FUNCTION, set_up);
    (void)curl_easy_setopt(c, CURLOPT_SSL_CTX_DATA, a);
}

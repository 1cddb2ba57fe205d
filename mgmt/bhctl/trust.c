/*
 * Makes sure that we talk to the right appliance. The console shows the SHA-256 of the whole
 * certificate. libcurl can pin public keys only, so OpenSSL checks it during the handshake, before
 * a token is sent. If a required check is not available, no request is sent.
 */
#include "mgmt/bhctl/bhctl.h"

#include <openssl/ssl.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- the user's choice ---- */

static int find_fingerprint(struct api *a)
{
    const char *known = getenv("BULKHEAD_FINGERPRINT"), *from = "BULKHEAD_FINGERPRINT";

    if (a->context) { /* the variable is for another appliance */
        known = json_string_value(json_object_get(a->context, "fingerprint"));
        from = "the context's fingerprint";
    }
    /* Another way to trust on the command line overrides it. */
    if (options_have(a->options, OPTION_CACERT) || options_have(a->options, OPTION_INSECURE))
        known = NULL;
    if (options_have(a->options, OPTION_FINGERPRINT)) {
        known = a->options->value[OPTION_FINGERPRINT];
        from = "--fingerprint";
    }
    if (!known || (!*known && from[0] == 'B'))
        return EXIT_OK;
    if (!url_fingerprint(known, a->pin))
        return complain(EXIT_USAGE,
                        "%s: must be the 32 bytes of a SHA-256 in hexadecimal, as the "
                        "console shows them: B3:DD:BF:...",
                        from);
    a->pinned = from;
    if (options_have(a->options, OPTION_FINGERPRINT) &&
        (options_have(a->options, OPTION_CACERT) || options_have(a->options, OPTION_INSECURE)))
        return complain(EXIT_USAGE, "--fingerprint, --cacert and --insecure exclude each other");
    return EXIT_OK;
}

static int check_cacert(struct api *a)
{
    const char *path = a->options->value[OPTION_CACERT];
    FILE *f;

    if (!path && !a->pinned && !options_have(a->options, OPTION_INSECURE))
        path = json_string_value(json_object_get(a->context, "cacert"));
    a->cacert = path;
    if (!path)
        return EXIT_OK;
    if (options_have(a->options, OPTION_INSECURE))
        return complain(EXIT_USAGE, "--cacert and --insecure exclude each other");
    f = fopen(path, "r");
    if (!f)
        return complain(EXIT_USAGE, "--cacert: %s: %s", path, strerror(errno));
    (void)fclose(f);
    return EXIT_OK;
}

int trust_find(struct api *a)
{
    const char *library = curl_version_info(CURLVERSION_NOW)->ssl_version, *from;
    int rc = find_fingerprint(a);

    if (rc == EXIT_OK)
        rc = check_cacert(a);
    if (rc != EXIT_OK)
        return rc;
    from = a->pinned ? a->pinned : a->cacert ? "--cacert" : NULL;
    if (from && strncmp(a->base, "https://", 8) != 0)
        return complain(EXIT_USAGE,
                        "%s cannot be checked at %s: over plain HTTP there is no certificate, and "
                        "anyone who listens gets the token\n"
                        "Say --url https://HOST[:PORT]%s.",
                        from, a->base, from[0] == 'B' ? ", or --insecure if you accept that" : "");
    if (a->pinned && (!library || strncmp(library, "OpenSSL", 7) != 0))
        return complain(EXIT_USAGE, "%s needs a libcurl with OpenSSL; this one has %s", a->pinned,
                        library ? library : "no TLS");
    return EXIT_OK;
}

/* ---- setting up libcurl and OpenSSL ---- */

static int verify(X509_STORE_CTX *store, void *arg)
{
    struct api *a = arg;
    X509 *certificate = X509_STORE_CTX_get0_cert(store);
    unsigned length = sizeof(a->shown);

    a->pin_failed = !certificate || !X509_digest(certificate, EVP_sha256(), a->shown, &length) ||
                    memcmp(a->shown, a->pin, sizeof(a->pin)) != 0;
    if (a->pin_failed)
        X509_STORE_CTX_set_error(store, X509_V_ERR_CERT_REJECTED);
    else
        a->pin_seen = true;
    return !a->pin_failed;
}

static CURLcode set_up(CURL *c, void *context, void *arg)
{
    (void)c;
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(context, verify, arg);
    return CURLE_OK;
}

/* Runs after the handshake, before anything is sent. A resumed session shows no certificate: it
 * belongs to one that was seen before. */
static int before_request(void *arg, char *to, char *from, int to_port, int from_port)
{
    const struct api *a = arg;

    (void)to;
    (void)from;
    (void)to_port;
    (void)from_port;
    return a->pin_seen ? CURL_PREREQFUNC_OK : CURL_PREREQFUNC_ABORT;
}

static bool pin(struct api *a, CURL *c)
{
    /* In this order: libcurl's own checks are only switched off once the stricter one is in place.
     */
    return curl_easy_setopt(c, CURLOPT_SSL_CTX_FUNCTION, set_up) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_SSL_CTX_DATA, a) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PREREQFUNCTION, before_request) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_PREREQDATA, a) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L) == CURLE_OK &&
           curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L) == CURLE_OK;
}

int trust_set(struct api *a, CURL *c)
{
    const char *cacert = a->cacert;

    if (a->pinned)
        return pin(a, c) ? EXIT_OK
                         : complain(EXIT_USAGE, "%s: this libcurl cannot check it", a->pinned);
    /* Without a directory: otherwise every CA that this computer trusts would be trusted too. */
    if (cacert && (curl_easy_setopt(c, CURLOPT_CAINFO, cacert) != CURLE_OK ||
                   curl_easy_setopt(c, CURLOPT_CAPATH, NULL) != CURLE_OK))
        return complain(EXIT_USAGE, "--cacert: this libcurl cannot be given certificates to trust");
    if (options_have(a->options, OPTION_INSECURE)) {
        (void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 0L);
        (void)curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    return EXIT_OK;
}

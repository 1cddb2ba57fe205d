#include "mgmt/tls_credentials.h"

#include "hv/abi/control.h"
#include "hv/fmt.h"
#include "mbedtls/ecp.h"
#include "mbedtls/pk.h"
#include "mbedtls/platform_util.h"
#include "mbedtls/sha256.h"
#include "mbedtls/x509_crt.h"
#include "mgmt/boot.h"
#include "mgmt/deploy.h"
#include "mgmt/port.h"
#include "mgmt/tls_certificate.h"
#include "mgmt/tls_port.h"

#include <string.h>
#include <time.h>

#define KEEP_MAGIC       0x31534c54u /* "TLS1" */
#define KEY_MAX          256u        /* for our own, in DER: 121 bytes */
#define DAYS_TO_1970     719468u     /* from 1 March of the year 0 */
#define CHAIN_MAX        7168u       /* fits one TLS record of ours */
/* For the files that the configuration names. */
#define CERTIFICATE_SIZE 0x8000u
#define KEY_SIZE         0x4000u
#define RSA_BITS_LEAST   2048u
#define RSA_BITS_MOST    4096u

/* The content of struct abi_keep. */
struct kept {
    uint32_t magic, certificate_len, key_len;
    uint8_t certificate[TLS_CERTIFICATE_MAX];
    uint8_t key[KEY_MAX];
};
_Static_assert(sizeof(struct kept) <= ABI_KEEP_MAX, "our own certificate and key must fit");

static struct kept own;
static char text[ABI_TEXT_MAX];

static bool is_pem(const uint8_t *bytes, size_t n)
{
    static const char mark[] = "-----BEGIN";

    for (size_t i = 0; i + sizeof(mark) - 1 <= n; i++)
        if (memcmp(bytes + i, mark, sizeof(mark) - 1) == 0)
            return true;
    return false;
}

static size_t chain_length(const mbedtls_x509_crt *chain)
{
    size_t n = 3;

    for (; chain; chain = chain->next)
        n += 3 + chain->raw.len;
    return n;
}

static const char *check_key(const mbedtls_pk_context *key)
{
    if (mbedtls_pk_can_do(key, MBEDTLS_PK_ECDSA))
        return NULL;
    if (!mbedtls_pk_can_do(key, MBEDTLS_PK_RSA))
        return "its key is neither ECDSA nor RSA";
    if (mbedtls_pk_get_bitlen(key) < RSA_BITS_LEAST || mbedtls_pk_get_bitlen(key) > RSA_BITS_MOST)
        return "an RSA key must have 2048 to 4096 bits";
    return NULL;
}

static const char *check_parsed(const struct tls_credentials *c, mbedtls_x509_crt *chain,
                                mbedtls_pk_context *key)
{
    int rc = mbedtls_x509_crt_parse(chain, c->certificate, c->certificate_len);

    if (rc) {
        (void)fmt(text, sizeof(text),
                  rc < 0 ? "the certificate cannot be read (mbedTLS -0x%04x)"
                         : "%d certificates of its chain cannot be read",
                  (unsigned)(rc < 0 ? -rc : rc));
        return text;
    }
    rc = mbedtls_pk_parse_key(key, c->key, c->key_len, NULL, 0, tls_random, NULL);
    if (rc) {
        (void)fmt(text, sizeof(text), "the key cannot be read (mbedTLS -0x%04x)", (unsigned)-rc);
        return text;
    }
    if (mbedtls_pk_check_pair(&chain->pk, key, tls_random, NULL))
        return "the key is not that of the certificate";
    if (chain_length(chain) > CHAIN_MAX)
        return "the chain of certificates is longer than 7 KiB";
    return check_key(key);
}

/* Of a date in the Gregorian calendar. Years begin in March, so that leap days are their last. */
static uint64_t seconds_of(const mbedtls_x509_time *t)
{
    uint64_t month = ((uint64_t)t->mon + 9) % 12, year = (uint64_t)t->year - (t->mon < 3);
    uint64_t days = year * 365 + year / 4 - year / 100 + year / 400 + (month * 153 + 2) / 5 +
                    (uint64_t)t->day - 1;

    if (t->year < 1970)
        return 0;
    return ((days - DAYS_TO_1970) * 24 + (uint64_t)t->hour) * 3600 + (uint64_t)t->min * 60 +
           (uint64_t)t->sec;
}

/* Checks that certificate and key belong together; takes fingerprint and end. */
static const char *check(struct tls_credentials *c)
{
    mbedtls_x509_crt chain;
    mbedtls_pk_context key;
    const char *why;

    mbedtls_x509_crt_init(&chain);
    mbedtls_pk_init(&key);
    why = check_parsed(c, &chain, &key);
    if (!why)
        (void)mbedtls_sha256(chain.raw.p, chain.raw.len, c->sha256, 0);
    if (!why)
        c->not_after = seconds_of(&chain.valid_to);
    mbedtls_pk_free(&key);
    mbedtls_x509_crt_free(&chain);
    return why;
}

/* ---- from the configuration ---- */

/* Copies a boot module to a buffer of `size` bytes. */
static const char *take_file(const char *name, uint8_t *copy, size_t size, size_t *len)
{
    const struct abi_images *images = (const struct abi_images *)ABI_IMAGES_PAGE_GPA;
    const struct abi_boot_module *m = deploy_find_module(images, name);

    if (!m || m->size == 0 || m->size >= size) {
        (void)fmt(text, sizeof(text), "\"%s\" %s", name,
                  !m             ? "is not among the boot modules"
                  : m->size == 0 ? "is empty"
                                 : "is too long");
        return text;
    }
    memcpy(copy, (const void *)(uintptr_t)m->address, m->size);
    copy[m->size] = 0;
    /* mbedTLS recognises PEM by its NUL. */
    *len = m->size + (is_pem(copy, m->size) ? 1u : 0u);
    return NULL;
}

static const char *take_configured(struct tls_credentials *c)
{
    static uint8_t certificate[CERTIFICATE_SIZE], key[KEY_SIZE];
    const struct service_config *m = &boot_config.management.service;
    const char *why;

    c->configured = true;
    c->certificate = certificate;
    c->key = key;
    why = take_file(m->certificate, certificate, sizeof(certificate), &c->certificate_len);
    if (!why)
        why = take_file(m->key, key, sizeof(key), &c->key_len);
    return why ? why : check(c);
}

/* ---- our own ---- */

static void use_own(struct tls_credentials *c)
{
    c->certificate = own.certificate;
    c->certificate_len = own.certificate_len;
    c->key = own.key;
    c->key_len = own.key_len;
    (void)mbedtls_sha256(c->certificate, c->certificate_len, c->sha256, 0);
}

static bool take_kept(struct tls_credentials *c)
{
    const struct abi_keep *k = (const struct abi_keep *)ABI_KEEP_GPA;

    if (k->length != sizeof(own))
        return false;
    memcpy(&own, k->bytes, sizeof(own));
    if (own.magic != KEEP_MAGIC || own.certificate_len > sizeof(own.certificate) ||
        own.key_len > sizeof(own.key))
        return false;
    use_own(c);
    return true;
}

static int make_key(mbedtls_pk_context *key)
{
    int rc = mbedtls_pk_setup(key, mbedtls_pk_info_from_type(MBEDTLS_PK_ECKEY));

    return rc ? rc
              : mbedtls_ecp_gen_key(MBEDTLS_ECP_DP_SECP256R1, mbedtls_pk_ec(*key), tls_random,
                                    NULL);
}

static int make(const uint8_t ip[4])
{
    const char *host = boot_config.management.service.hostname;
    const struct tls_subject s = {host[0] ? host : "bulkhead", ip, (uint64_t)tls_time(NULL)};
    mbedtls_pk_context key;
    int n = 0, rc;

    memset(&own, 0, sizeof(own));
    mbedtls_pk_init(&key);
    rc = make_key(&key);
    if (rc == 0)
        n = tls_certificate_make(&s, &key, own.certificate);
    if (n > 0)
        rc = mbedtls_pk_write_key_der(&key, own.key, sizeof(own.key));
    mbedtls_pk_free(&key);
    if (rc <= 0 || n <= 0)
        return n < 0 ? n : rc;
    memmove(own.key, own.key + sizeof(own.key) - rc, (size_t)rc); /* it was written at the end */
    own.magic = KEEP_MAGIC;
    own.certificate_len = (uint32_t)n;
    own.key_len = (uint32_t)rc;
    return 0;
}

static const char *make_own(struct tls_credentials *c, const uint8_t ip[4])
{
    int rc = make(ip);

    if (rc) {
        (void)fmt(text, sizeof(text), "no certificate can be made (mbedTLS -0x%04x)",
                  (unsigned)-rc);
        return text;
    }
    use_own(c);
    if (abi_call(ABI_CALL_KEEP, (uintptr_t)&own, sizeof(own), 0))
        port_log("the certificate cannot be kept: the next start makes another");
    return NULL;
}

const char *tls_credentials_get(struct tls_credentials *c, const uint8_t ip[4])
{
    memset(c, 0, sizeof(*c));
    if (boot_config.management.service.certificate[0])
        return take_configured(c);
    return take_kept(c) ? NULL : make_own(c, ip);
}

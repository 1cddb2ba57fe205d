#include "mgmt/tls_certificate.h"

#include "hv/date.h"
#include "hv/fmt.h"
#include "mbedtls/asn1write.h"
#include "mbedtls/oid.h"
#include "mbedtls/x509_crt.h"
#include "mgmt/tls_port.h"

#include <string.h>

#define DAY_SECONDS  86400u
#define YEAR_DAYS    366u
#define YEARS        10u
#define SERIAL_BYTES 16u
#define NAME_MAX     80u
/* The choices of GeneralName, RFC 5280 4.2.1.6. */
#define GENERAL_DNS  2u
#define GENERAL_IP   7u

/* "20260131235959" */
static void date_text(uint64_t epoch, char out[16])
{
    struct date d = date_of(epoch);

    (void)fmt(out, 16, "%04u%02u%02u%02u%02u%02u", d.year, d.month, d.day, d.hour, d.minute,
              d.second);
}

static int set_dates(mbedtls_x509write_cert *c, uint64_t now)
{
    char from[16], to[16];

    /* The verifier's clock may be behind ours. */
    date_text(now > DAY_SECONDS ? now - DAY_SECONDS : now, from);
    date_text(now + (uint64_t)YEARS * YEAR_DAYS * DAY_SECONDS, to);
    return mbedtls_x509write_crt_set_validity(c, from, to);
}

static int set_serial(mbedtls_x509write_cert *c)
{
    unsigned char bytes[SERIAL_BYTES];
    int rc = tls_random(NULL, bytes, sizeof(bytes));

    bytes[0] = (unsigned char)((bytes[0] & 0x7f) | 0x40); /* positive, and of full length */
    return rc ? rc : mbedtls_x509write_crt_set_serial_raw(c, bytes, sizeof(bytes));
}

/* mbedTLS writes DER backwards: the last name first. */
static int put_name(unsigned char **p, unsigned char *start, unsigned kind, const void *bytes,
                    size_t n)
{
    int rc = mbedtls_asn1_write_raw_buffer(p, start, bytes, n);

    if (rc >= 0)
        rc = mbedtls_asn1_write_len(p, start, n);
    if (rc >= 0)
        rc =
            mbedtls_asn1_write_tag(p, start, (unsigned char)(MBEDTLS_ASN1_CONTEXT_SPECIFIC | kind));
    return rc < 0 ? rc : 0;
}

static int close_sequence(unsigned char **p, unsigned char *start, const unsigned char *end)
{
    int rc = mbedtls_asn1_write_len(p, start, (size_t)(end - *p));

    if (rc >= 0)
        rc = mbedtls_asn1_write_tag(p, start, MBEDTLS_ASN1_CONSTRUCTED | MBEDTLS_ASN1_SEQUENCE);
    return rc < 0 ? rc : 0;
}

static int set_names(mbedtls_x509write_cert *c, const struct tls_subject *s)
{
    unsigned char der[256], *end = der + sizeof(der), *p = end;
    char local[NAME_MAX];
    int rc = s->ip ? put_name(&p, der, GENERAL_IP, s->ip, 4) : 0;

    (void)fmt(local, sizeof(local), "%s.local", s->name);
    if (rc == 0)
        rc = put_name(&p, der, GENERAL_DNS, local, strlen(local));
    if (rc == 0)
        rc = put_name(&p, der, GENERAL_DNS, s->name, strlen(s->name));
    if (rc == 0)
        rc = close_sequence(&p, der, end);
    return rc ? rc
              : mbedtls_x509write_crt_set_extension(c, MBEDTLS_OID_SUBJECT_ALT_NAME,
                                                    MBEDTLS_OID_SIZE(MBEDTLS_OID_SUBJECT_ALT_NAME),
                                                    0, p, (size_t)(end - p));
}

/* Only for TLS servers: it cannot sign other certificates. */
static int set_purpose(mbedtls_x509write_cert *c)
{
    unsigned char der[32], *end = der + sizeof(der), *p = end;
    int rc = mbedtls_x509write_crt_set_basic_constraints(c, 0, -1);

    if (rc == 0)
        rc = mbedtls_x509write_crt_set_key_usage(c, MBEDTLS_X509_KU_DIGITAL_SIGNATURE);
    if (rc == 0) {
        rc = mbedtls_asn1_write_oid(&p, der, MBEDTLS_OID_SERVER_AUTH,
                                    MBEDTLS_OID_SIZE(MBEDTLS_OID_SERVER_AUTH));
        rc = rc < 0 ? rc : close_sequence(&p, der, end);
    }
    return rc ? rc
              : mbedtls_x509write_crt_set_extension(
                    c, MBEDTLS_OID_EXTENDED_KEY_USAGE,
                    MBEDTLS_OID_SIZE(MBEDTLS_OID_EXTENDED_KEY_USAGE), 0, p, (size_t)(end - p));
}

static int set_subject(mbedtls_x509write_cert *c, const char *host)
{
    char name[NAME_MAX];
    int rc;

    (void)fmt(name, sizeof(name), "CN=%s", host);
    rc = mbedtls_x509write_crt_set_subject_name(c, name);
    return rc ? rc : mbedtls_x509write_crt_set_issuer_name(c, name);
}

int tls_certificate_make(const struct tls_subject *s, mbedtls_pk_context *key,
                         uint8_t out[TLS_CERTIFICATE_MAX])
{
    mbedtls_x509write_cert c;
    int rc;

    mbedtls_x509write_crt_init(&c);
    mbedtls_x509write_crt_set_version(&c, MBEDTLS_X509_CRT_VERSION_3);
    mbedtls_x509write_crt_set_md_alg(&c, MBEDTLS_MD_SHA256);
    mbedtls_x509write_crt_set_subject_key(&c, key);
    mbedtls_x509write_crt_set_issuer_key(&c, key);
    rc = set_subject(&c, s->name);
    if (rc == 0)
        rc = set_serial(&c);
    if (rc == 0)
        rc = set_dates(&c, s->now);
    if (rc == 0)
        rc = set_names(&c, s);
    if (rc == 0)
        rc = set_purpose(&c);
    if (rc == 0)
        rc = mbedtls_x509write_crt_der(&c, out, TLS_CERTIFICATE_MAX, tls_random, NULL);
    if (rc > 0)
        memmove(out, out + TLS_CERTIFICATE_MAX - rc, (size_t)rc); /* it was written at the end */
    mbedtls_x509write_crt_free(&c);
    return rc;
}

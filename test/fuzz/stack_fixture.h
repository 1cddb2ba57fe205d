/*
 * The management guest's network stack as it is linked there, on a simulated wire: lwIP, mbedTLS,
 * HTTP and HTTPS. Only the machine is replaced: time passes in stack_run(), random numbers are a
 * sequence, and the device is stack_receive() and on_frame().
 */
#pragma once

#include "altcp_tls_mbedtls_mem.h"
#include "lwip/dhcp.h"
#include "lwip/dns.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "lwip/init.h"
#include "lwip/priv/tcp_priv.h"
#include "lwip/sys.h"
#include "lwip/timeouts.h"
#include "mbedtls/platform.h"
#include "mbedtls/platform_time.h"
#include "mbedtls/ssl.h"
#include "mgmt/acd.h"
#include "mgmt/boot.h"
#include "mgmt/frames.h"
#include "mgmt/isn.h"
#include "mgmt/listen.h"
#include "mgmt/names.h"
#include "mgmt/port.h"
#include "mgmt/server.h"
#include "mgmt/tls.h"
#include "mgmt/tls_handshakes.h"
#include "mgmt/tls_credentials.h"
#include "mgmt/tls_port.h"
#include "netif/ethernet.h"
#include "psa/crypto.h"

#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <sanitizer/asan_interface.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define TOKEN     "secret"
#define FRAME_MAX 1514u

static uint32_t now = 1000;
static struct netif wire;
static struct auth_table auth;
static struct audit audit;
static struct api_answered answered[API_STATUSES_MAX];
static struct api_tls tls_counters;
static struct clock wall;
static struct abi_guest guests[ABI_GUESTS_MAX];
static struct abi_images images;
static struct abi_events events;
static struct abi_caps caps[ABI_CORES_MAX];
static struct abi_thread threads[ABI_THREADS_MAX];
static struct abi_ring *log_ring, *console_ring;
static uint64_t frames;
/* What the appliance sends. */
static void on_frame(const uint8_t *frame, size_t len);

/* ---- what the guest implements elsewhere ---- */

uint32_t port_ms(void)
{
    return now;
}
u32_t sys_now(void)
{
    return now;
}
void port_log(const char *format, ...)
{
    (void)format;
}
void port_work_long(void)
{
}
_Noreturn void mgmt_die(const char *why)
{
    fprintf(stderr, "died: %s\n", why);
    abort();
}
static uint64_t seed = 88172645463325252ull;
uint32_t mgmt_random(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return (uint32_t)(seed >> 16);
}
int tls_random(void *ctx, unsigned char *out, size_t n)
{
    (void)ctx;
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)mgmt_random();
    return 0;
}
bool tls_port_draw(void *out, size_t n)
{
    return tls_random(NULL, out, n) == 0;
}
psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *ctx,
                                             uint8_t *out, size_t size, size_t *got)
{
    *got = size;
    return tls_random(ctx, out, size);
}
bool tls_port_start(void)
{
    return mbedtls_platform_set_calloc_free(calloc, free) == 0 && psa_crypto_init() == PSA_SUCCESS;
}
mbedtls_ms_time_t mbedtls_ms_time(void)
{
    return now;
}
long tls_time(long *t)
{
    long s = 1700000000 + (long)(now / 1000);

    if (t)
        *t = s;
    return s;
}
int tls_no_snprintf(char *buf, size_t size, const char *format, ...)
{
    (void)format;
    if (size > 0)
        *buf = 0;
    return 0;
}
int mbedtls_hardware_poll(void *data, unsigned char *out, size_t len, size_t *got);
int mbedtls_hardware_poll(void *data, unsigned char *out, size_t len, size_t *got)
{
    *got = len;
    return tls_random(data, out, len);
}
/* Client functions, which the guest's linker leaves out together with their callers. */
int mbedtls_ssl_get_session(const mbedtls_ssl_context *ssl, mbedtls_ssl_session *session);
int mbedtls_ssl_get_session(const mbedtls_ssl_context *ssl, mbedtls_ssl_session *session)
{
    (void)ssl;
    (void)session;
    mgmt_die("a server that is a client");
}
int mbedtls_ssl_set_session(mbedtls_ssl_context *ssl, const mbedtls_ssl_session *session);
int mbedtls_ssl_set_session(mbedtls_ssl_context *ssl, const mbedtls_ssl_session *session)
{
    (void)ssl;
    (void)session;
    mgmt_die("a server that is a client");
}
void altcp_mbedtls_mem_init(void)
{
}
void *altcp_mbedtls_alloc_config(size_t size)
{
    return calloc(1, size);
}
void altcp_mbedtls_free_config(void *item)
{
    free(item);
}
altcp_mbedtls_state_t *altcp_mbedtls_alloc(void *conf)
{
    altcp_mbedtls_state_t *state = calloc(1, sizeof(*state));

    if (state)
        state->conf = conf;
    return state;
}
void altcp_mbedtls_free(void *conf, altcp_mbedtls_state_t *state)
{
    (void)conf;
    free(state);
}

/* A key on P-256 and its self-signed certificate. */
const char *tls_credentials_get(struct tls_credentials *c, const uint8_t ip[4])
{
    static uint8_t *certificate, *key;
    EVP_PKEY *pair = EVP_EC_gen("P-256");
    X509 *x = X509_new();

    (void)ip;
    X509_set_version(x, 2);
    ASN1_INTEGER_set(X509_get_serialNumber(x), 1);
    X509_gmtime_adj(X509_getm_notBefore(x), 0);
    X509_gmtime_adj(X509_getm_notAfter(x), 1000000);
    X509_set_pubkey(x, pair);
    X509_NAME_add_entry_by_txt(X509_get_subject_name(x), "CN", MBSTRING_ASC,
                               (const unsigned char *)"bulkhead", -1, -1, 0);
    X509_set_issuer_name(x, X509_get_subject_name(x));
    X509_sign(x, pair, EVP_sha256());
    memset(c, 0, sizeof(*c));
    c->certificate_len = (size_t)i2d_X509(x, &certificate);
    c->key_len = (size_t)i2d_PrivateKey(pair, &key);
    c->certificate = certificate;
    c->key = key;
    X509_free(x);
    EVP_PKEY_free(pair);
    return NULL;
}

/* ---- the root's side ---- */

static const struct abi_guest *fixture_guest(unsigned n)
{
    return n < ABI_GUESTS_MAX ? &guests[n] : NULL;
}
static const struct abi_vcpu *fixture_vcpu(struct api_vcpu id)
{
    static const struct abi_vcpu stats;

    (void)id;
    return &stats;
}
static const struct abi_ring *fixture_console(unsigned n)
{
    (void)n;
    return console_ring;
}
static uint64_t fixture_tsc(void)
{
    return (uint64_t)now * 1000;
}
static void fixture_note(const char *text)
{
    for (const char *s = text; *s; s++)
        if (*s < ' ' || *s > '~')
            mgmt_die("a line for the log is not printable");
}
static int64_t fixture_type(unsigned number, const uint8_t *bytes, size_t n)
{
    (void)number;
    (void)bytes;
    return (int64_t)n;
}
static int64_t fixture_act(unsigned number, unsigned action)
{
    (void)action;
    return number ? 0 : -E_PERM;
}
static int64_t fixture_no_image(const struct abi_image_request *r)
{
    (void)r;
    return -E_NOMEM;
}

static struct api_view view = {.clock = &wall,
                               .auth = &auth,
                               .audit = &audit,
                               .answered = answered,
                               .tls = &tls_counters,
                               .guest = fixture_guest,
                               .vcpu = fixture_vcpu,
                               .console = fixture_console,
                               .tsc = fixture_tsc,
                               .note = fixture_note,
                               .type = fixture_type,
                               .act = fixture_act,
                               .image_begin = fixture_no_image,
                               .images = &images,
                               .events = &events,
                               .caps = caps,
                               .threads = threads,
                               .random_token = TOKEN};

/* ---- the wire ---- */

static err_t on_output(struct netif *n, struct pbuf *p)
{
    uint8_t f[2048];

    (void)n;
    on_frame(f, pbuf_copy_partial(p, f, sizeof(f), 0));
    return ERR_OK;
}

static err_t on_init(struct netif *n)
{
    static const uint8_t mac[] = {2, 0, 0, 0, 0, 15};

    n->name[0] = 'v';
    n->name[1] = 'n';
    n->hostname = boot_config.management.service.hostname;
    n->mtu = 1500;
    n->hwaddr_len = sizeof(mac);
    memcpy(n->hwaddr, mac, sizeof(mac));
    n->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_LINK_UP | NETIF_FLAG_ETHERNET |
               NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    n->output = etharp_output;
    n->output_ip6 = ethip6_output;
    n->linkoutput = on_output;
    return ERR_OK;
}

/* As mgmt/netif.c does it. Bytes after the frame in its buffer must not be read. */
static void stack_receive(const uint8_t *frame, size_t len)
{
    struct pbuf *p = frames_take(frame, len);
    uint8_t *rest;
    size_t n;

    frames++;
    if (!p) {
        server_starved();
        return;
    }
    rest = (uint8_t *)p->payload + p->len;
    n = PBUF_POOL_BUFSIZE - p->len;
    ASAN_POISON_MEMORY_REGION(rest, n);
    if (wire.input(p, &wire) != ERR_OK)
        pbuf_free(p);
    ASAN_UNPOISON_MEMORY_REGION(rest, n);
}

static void stack_run(uint32_t ms)
{
    now += ms;
    listen_before_timers();
    sys_check_timeouts();
    acd_poll(&wire);
    names_poll();
    server_poll();
    (void)tls_handshakes_poll();
}

static void on_status(struct netif *n)
{
    if (!ip4_addr_isany(netif_ip4_addr(n)))
        names_have_address();
}

static struct abi_ring *make_ring(size_t size)
{
    struct abi_ring *r = calloc(1, sizeof(*r) + size);

    r->size = (uint32_t)size;
    r->written = size;
    memset(r->data, 'x', size);
    return r;
}

static void make_guests(void)
{
    strcpy(guests[0].config.name, "mgmt");
    guests[0].flags = ABI_GUEST_MANAGEMENT;
    strcpy(guests[1].config.name, "echo");
    guests[1].config.devices = 1;
    for (unsigned i = 0; i < 2; i++) {
        guests[i].state = ABI_GUEST_RUNNING;
        guests[i].vcpu_count = 1;
    }
}

static void stack_start(void)
{
    struct abi_host *host = mmap((void *)PORT_HOST_PAGE, ABI_HOST_SIZE, PROT_READ | PROT_WRITE,
                                 MAP_PRIVATE | 0x20 /* MAP_ANONYMOUS */ | MAP_FIXED, -1, 0);
    static const uint8_t ip[4] = {10, 0, 0, 15};

    if (host == MAP_FAILED)
        mgmt_die("no memory for the host's page");
    host->tsc_hz = 1000000;
    host->guests = 2;
    strcpy(host->build_id, "b");
    strcpy(boot_config.management.service.hostname, "bulkhead");
    strcpy(boot_config.management.service.ntp, "ntp.example");
    boot_config.management.service.auth = AUTH_RANDOM;
    boot_config.management.service.http = PORT80_PLAIN;
    view.host = host;
    view.config = &boot_config;
    view.log = log_ring = make_ring(ABI_LOG_RING_SIZE);
    console_ring = make_ring(64);
    make_guests();
    clock_init(&wall, host);
    tls_start(&tls_counters);
    isn_start();
    lwip_init();
    netif_add(&wire, NULL, NULL, NULL, NULL, on_init, netif_input);
    netif_set_default(&wire);
    netif_set_status_callback(&wire, on_status);
    names_start(&wire, &wall);
    netif_set_up(&wire);
    names_up();
    server_start(&view);
    tls_listen(ip);
}

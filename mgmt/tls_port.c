#include "mgmt/tls_port.h"

#include "altcp_tls_mbedtls_mem.h"
#include "mbedtls/ctr_drbg.h"
#include "mbedtls/entropy.h"
#include "mbedtls/memory_buffer_alloc.h"
#include "mbedtls/platform.h"
#include "mbedtls/platform_time.h"
#include "mgmt/pc/cpu.h"
#include "mgmt/port.h"
#include "psa/crypto.h"

#include <string.h>

/* A connection takes 25 KiB for its records and 6 KiB for its keys. A handshake takes that too and,
 * while it computes, 23 KiB more. So 16 connections and 8 handshakes need at most 930 KiB. */
#define ARENA_SIZE   (5u << 18)
#define RDRAND_TRIES 16u   /* Intel's advice is 10 */
#define RDSEED_TRIES 1000u /* it runs dry if all cores ask */
#define HEALTH_WORDS 8u

static uint8_t arena[ARENA_SIZE] __attribute__((aligned(16)));
static bool has_rdrand, has_rdseed, is_seeded;
static mbedtls_entropy_context entropy;
static mbedtls_ctr_drbg_context drbg;

/* ---- time ---- */

long tls_time(long *t)
{
    const struct abi_host *h = abi_host();
    long now = (long)(h->boot_epoch + (port_tsc() - h->boot_tsc) / h->tsc_hz);

    if (t)
        *t = now;
    return now;
}

/* For the age of tickets: its zero is arbitrary, but it never goes back. */
mbedtls_ms_time_t mbedtls_ms_time(void)
{
    const struct abi_host *h = abi_host();

    return (mbedtls_ms_time_t)((port_tsc() - h->boot_tsc) / (h->tsc_hz / 1000));
}

int tls_no_snprintf(char *buf, size_t size, const char *format, ...)
{
    (void)format;
    if (size > 0)
        *buf = 0;
    return 0;
}

/* ---- entropy ---- */

static bool rdrand(uint64_t *v)
{
    for (unsigned i = 0; i < RDRAND_TRIES; i++) {
        bool good;

        __asm__ volatile("rdrand %0" : "=r"(*v), "=@ccc"(good));
        if (good)
            return true;
    }
    return false;
}

static bool rdseed(uint64_t *v)
{
    for (unsigned i = 0; i < RDSEED_TRIES; i++) {
        bool good;

        __asm__ volatile("rdseed %0" : "=r"(*v), "=@ccc"(good));
        if (good)
            return true;
        __asm__ volatile("pause");
    }
    return false;
}

static bool draw(uint64_t *v)
{
    return (has_rdseed && rdseed(v)) || (has_rdrand && rdrand(v));
}

/* Some CPUs returned all ones, with success, after a sleep: such a generator is worse than none. */
static bool is_healthy(void)
{
    uint64_t first, next;

    if (!draw(&first))
        return false;
    for (unsigned i = 1; i < HEALTH_WORDS; i++)
        if (!draw(&next) || next == first)
            return false;
    return true;
}

/* mbedTLS declares it in an internal header. */
int mbedtls_hardware_poll(void *data, unsigned char *out, size_t len, size_t *got);

/* mbedTLS's hook: first the TSC, for what it is worth, then the output of the CPU's generator. */
int mbedtls_hardware_poll(void *data, unsigned char *out, size_t len, size_t *got)
{
    uint64_t word = port_tsc();

    (void)data;
    for (size_t i = 0; i < len; i += sizeof(word)) {
        size_t n = len - i < sizeof(word) ? len - i : sizeof(word);

        memcpy(out + i, &word, n);
        if (!draw(&word))
            return MBEDTLS_ERR_ENTROPY_SOURCE_FAILED;
    }
    *got = len;
    return 0;
}

int tls_random(void *ctx, unsigned char *out, size_t n)
{
    (void)ctx;
    port_work_long();
    return mbedtls_ctr_drbg_random(&drbg, out, n);
}

/* The same in PSA's form. */
psa_status_t mbedtls_psa_external_get_random(mbedtls_psa_external_random_context_t *ctx,
                                             uint8_t *out, size_t size, size_t *got)
{
    (void)ctx;
    if (tls_random(NULL, out, size))
        return PSA_ERROR_INSUFFICIENT_ENTROPY;
    *got = size;
    return PSA_SUCCESS;
}

bool tls_port_draw(void *out, size_t n)
{
    return is_seeded && mbedtls_ctr_drbg_random(&drbg, out, n) == 0;
}

void *tls_port_lend(size_t *size)
{
    *size = sizeof(arena);
    return arena;
}

bool tls_port_start(void)
{
    mbedtls_memory_buffer_alloc_init(arena, sizeof(arena));
    has_rdrand = cpu_has_1_ecx(CPUID_1_ECX_RDRAND);
    has_rdseed = cpu_has_7_ebx(CPUID_7_EBX_RDSEED);
    if (!is_healthy())
        return false;
    mbedtls_entropy_init(&entropy);
    mbedtls_ctr_drbg_init(&drbg);
    is_seeded = mbedtls_ctr_drbg_seed(&drbg, mbedtls_entropy_func, &entropy, NULL, 0) == 0;
    return is_seeded && psa_crypto_init() == PSA_SUCCESS;
}

/* ---- memory ---- */

void altcp_mbedtls_mem_init(void)
{
    /* tls_port_start() has set it up. */
}

altcp_mbedtls_state_t *altcp_mbedtls_alloc(void *conf)
{
    altcp_mbedtls_state_t *state = mbedtls_calloc(1, sizeof(*state));

    if (state)
        state->conf = conf;
    return state;
}

void altcp_mbedtls_free(void *conf, altcp_mbedtls_state_t *state)
{
    (void)conf;
    mbedtls_free(state);
}

void *altcp_mbedtls_alloc_config(size_t size)
{
    return mbedtls_calloc(1, size);
}

void altcp_mbedtls_free_config(void *item)
{
    mbedtls_free(item);
}

#include "mgmt/sha256.h"

#include "hv/lib.h"
#include "mgmt/pc/cpu.h"

#include <mbedtls/sha256.h>

static const uint32_t k[64] __attribute__((aligned(16))) = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

/* ---- with ordinary registers; words are made four at a time, with SSE2 ---- */

typedef int words __attribute__((vector_size(16))); /* the first in the lowest bits */
typedef uint32_t unsigned_words __attribute__((vector_size(16)));
typedef uint64_t pairs __attribute__((vector_size(16)));

static ALWAYS_INLINE words add(words a, words b)
{
    return (words)((unsigned_words)a + (unsigned_words)b);
}

static ALWAYS_INLINE words early_sums(words early)
{
    unsigned_words v = (unsigned_words)early;

    return (words)((v >> 7 | v << 25) ^ (v >> 18 | v << 14) ^ v >> 3);
}

/* Of two words, each of which is there twice: such a pair rotates by being shifted. The sums are
 * the lower halves of the pairs. */
static ALWAYS_INLINE words late_sums(words twice)
{
    pairs v = (pairs)twice;

    return (words)(v >> 17 ^ v >> 19 ^ (pairs)((unsigned_words)twice >> 10));
}

/* The four words after w0 to w3. The last two need the first two. */
static ALWAYS_INLINE words four_words(words w0, words w1, words w2, words w3)
{
    const words none = {0};
    words early = early_sums(__builtin_shufflevector(w0, w1, 1, 2, 3, 4)), late;

    w0 = add(add(w0, __builtin_shufflevector(w2, w3, 1, 2, 3, 4)), early);
    late = late_sums(__builtin_shufflevector(w3, w3, 2, 2, 3, 3));
    w0 = add(w0, __builtin_shufflevector(late, none, 0, 2, 4, 6));
    late = late_sums(__builtin_shufflevector(w0, w0, 0, 0, 1, 1));
    return add(w0, __builtin_shufflevector(none, late, 0, 2, 4, 6));
}

static ALWAYS_INLINE uint32_t rotate(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

/* The names move on by one from round to round: of eight variables, two change. `sum` is the word
 * plus the constant. The majority of a, b and c is c if a and b differ, else b; `old` is b ^ c, the
 * `new` of the round before. */
#define ROUND(a, b, c, d, e, f, g, h, sum, old, new)                                               \
    do {                                                                                           \
        h += (sum) + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (~(e) & (g));                \
        h += (e) & (f);                                                                            \
        d += h;                                                                                    \
        h += rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);                                         \
        new = (a) ^ (b);                                                                           \
        h += (old & new) ^ (b);                                                                    \
    } while (0)
#define EIGHT(sums)                                                                                \
    do {                                                                                           \
        ROUND(a, b, c, d, e, f, g, h, (sums)[0], x, y);                                            \
        ROUND(h, a, b, c, d, e, f, g, (sums)[1], y, x);                                            \
        ROUND(g, h, a, b, c, d, e, f, (sums)[2], x, y);                                            \
        ROUND(f, g, h, a, b, c, d, e, (sums)[3], y, x);                                            \
        ROUND(e, f, g, h, a, b, c, d, (sums)[4], x, y);                                            \
        ROUND(d, e, f, g, h, a, b, c, (sums)[5], y, x);                                            \
        ROUND(c, d, e, f, g, h, a, b, (sums)[6], x, y);                                            \
        ROUND(b, c, d, e, f, g, h, a, (sums)[7], y, x);                                            \
    } while (0)

static ALWAYS_INLINE void compress(uint32_t s[8], words w0, words w1, words w2, words w3)
{
    uint32_t a = s[0], b = s[1], c = s[2], d = s[3], e = s[4], f = s[5], g = s[6], h = s[7];
    uint32_t x = b ^ c, y;
    union {
        words four[4];
        uint32_t one[16];
    } sums;

    for (unsigned t = 0;; t += 16) {
        const words *constants = (const words *)&k[t];

        sums.four[0] = add(w0, constants[0]);
        sums.four[1] = add(w1, constants[1]);
        sums.four[2] = add(w2, constants[2]);
        sums.four[3] = add(w3, constants[3]);
        /* To be read from memory: the compiler would take them out of the vectors one by one. */
        __asm__("" : "+m"(sums));
        EIGHT(&sums.one[0]);
        EIGHT(&sums.one[8]);
        if (t == 48)
            break;
        w0 = four_words(w0, w1, w2, w3);
        w1 = four_words(w1, w2, w3, w0);
        w2 = four_words(w2, w3, w0, w1);
        w3 = four_words(w3, w0, w1, w2);
    }
    s[0] += a;
    s[1] += b;
    s[2] += c;
    s[3] += d;
    s[4] += e;
    s[5] += f;
    s[6] += g;
    s[7] += h;
}

static void compress_plain(uint32_t s[8], const uint8_t block[64])
{
    union {
        words four[4];
        uint32_t one[16];
    } w;

    memcpy(&w, block, sizeof(w));
    for (unsigned i = 0; i < 16; i++)
        w.one[i] = __builtin_bswap32(w.one[i]);
    compress(s, w.four[0], w.four[1], w.four[2], w.four[3]);
}

/* ---- the same with SSSE3 and BMI2, which the compiler finds uses for ---- */

typedef char bytes __attribute__((vector_size(16)));

__attribute__((target("ssse3"))) static ALWAYS_INLINE words load_words(const uint8_t *block)
{
    static const bytes swapped = {3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12};
    bytes v;

    memcpy(&v, block, sizeof(v));
    return (words)__builtin_ia32_pshufb128(v, swapped);
}

__attribute__((target("bmi,bmi2,ssse3"))) static void compress_bmi2(uint32_t s[8],
                                                                    const uint8_t block[64])
{
    compress(s, load_words(block), load_words(block + 16), load_words(block + 32),
             load_words(block + 48));
}

/* ---- with the instructions for it: SDM 2B "SHA256RNDS2", "SHA256MSG1", "SHA256MSG2" ---- */

#define SHA_TARGET __attribute__((target("sha,ssse3")))

/* The state as the instructions take it, its lowest bits first: F, E, B, A and H, G, D, C. */
struct halves {
    words abef, cdgh;
};

/* Each instruction makes two rounds, and exchanges the halves' roles. */
static SHA_TARGET ALWAYS_INLINE void four_rounds(struct halves *s, words w, unsigned t)
{
    w = add(w, *(const words *)&k[t]);
    s->cdgh = __builtin_ia32_sha256rnds2(s->cdgh, s->abef, w);
    s->abef =
        __builtin_ia32_sha256rnds2(s->abef, s->cdgh, __builtin_shufflevector(w, w, 2, 3, 2, 3));
}

/* The four words after w[0] to w[3]. */
static SHA_TARGET ALWAYS_INLINE words next_words(words w0, words w1, words w2, words w3)
{
    words sum = add(__builtin_ia32_sha256msg1(w0, w1), __builtin_shufflevector(w2, w3, 1, 2, 3, 4));

    return __builtin_ia32_sha256msg2(sum, w3);
}

static SHA_TARGET void compress_sha(uint32_t state[8], const uint8_t block[64])
{
    words low, high, w[4];
    struct halves s;

    memcpy(&low, state, sizeof(low));
    memcpy(&high, state + 4, sizeof(high));
    s.abef = __builtin_shufflevector(low, high, 5, 4, 1, 0);
    s.cdgh = __builtin_shufflevector(low, high, 7, 6, 3, 2);
    for (unsigned i = 0; i < 4; i++) {
        w[i] = load_words(block + 16 * i);
        four_rounds(&s, w[i], 4 * i);
    }
    for (unsigned t = 16; t < 64; t += 16) {
        w[0] = next_words(w[0], w[1], w[2], w[3]);
        four_rounds(&s, w[0], t);
        w[1] = next_words(w[1], w[2], w[3], w[0]);
        four_rounds(&s, w[1], t + 4);
        w[2] = next_words(w[2], w[3], w[0], w[1]);
        four_rounds(&s, w[2], t + 8);
        w[3] = next_words(w[3], w[0], w[1], w[2]);
        four_rounds(&s, w[3], t + 12);
    }
    low = add(low, __builtin_shufflevector(s.abef, s.cdgh, 3, 2, 7, 6));
    high = add(high, __builtin_shufflevector(s.abef, s.cdgh, 1, 0, 5, 4));
    memcpy(state, &low, sizeof(low));
    memcpy(state + 4, &high, sizeof(high));
}

/* ---- the choice ---- */

bool sha256_has(enum sha256_way way)
{
    switch (way) {
    case SHA256_SHA:
        return cpu_has_7_ebx(CPUID_7_EBX_SHA) && cpu_has_1_ecx(CPUID_1_ECX_SSSE3);
    case SHA256_BMI2:
        return cpu_has_7_ebx(CPUID_7_EBX_BMI1 | CPUID_7_EBX_BMI2) &&
               cpu_has_1_ecx(CPUID_1_ECX_SSSE3);
    default:
        return true;
    }
}

void sha256_compress(enum sha256_way way, uint32_t state[8], const uint8_t block[64])
{
    if (way == SHA256_SHA)
        compress_sha(state, block);
    else if (way == SHA256_BMI2)
        compress_bmi2(state, block);
    else
        compress_plain(state, block);
}

int mbedtls_internal_sha256_process(mbedtls_sha256_context *c, const unsigned char block[64])
{
    static enum sha256_way best = SHA256_WAYS;

    if (best == SHA256_WAYS) /* CPUID is an exit */
        for (best = SHA256_SHA; !sha256_has(best);)
            best--;
    sha256_compress(best, c->MBEDTLS_PRIVATE(state), block);
    return 0;
}

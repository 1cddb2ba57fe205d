#include "mgmt/websocket.h"

#include "hv/fmt.h"
#include "hv/lib.h"

#include <mbedtls/sha1.h>

#define SHA1_SIZE     20u
/* RFC 6455 "The WebSocket Protocol", section "Opening Handshake". */
#define GUID          "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
#define BEARER_PREFIX "bearer."

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

static bool same_word(const char *a, const char *b)
{
    for (; *a && lower(*a) == lower(*b); a++, b++)
        ;
    return *a == *b;
}

static bool is_base64(char c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' ||
           c == '/';
}

/* 16 bytes in base64: 22 digits and "==". */
static bool is_key(const char *key)
{
    for (unsigned i = 0; i < WEBSOCKET_KEY_LEN - 2; i++)
        if (!is_base64(key[i]))
            return false;
    return strcmp(key + WEBSOCKET_KEY_LEN - 2, "==") == 0;
}

static void take_protocol(struct websocket_offer *o, const char *name, size_t n)
{
    static const char own[] = WEBSOCKET_PROTOCOL, bearer[] = BEARER_PREFIX;
    size_t prefix = sizeof(bearer) - 1;

    o->protocols = true;
    if (n == sizeof(own) - 1 && strncmp(name, own, n) == 0)
        o->knows = true;
    if (n <= prefix || strncmp(name, bearer, prefix) != 0)
        return;
    if (n - prefix > WEBSOCKET_TOKEN_MAX) {
        o->long_token = true;
        return;
    }
    memcpy(o->token, name + prefix, n - prefix);
    o->token[n - prefix] = 0;
}

static void take_protocols(struct websocket_offer *o, const char *list)
{
    while (*list) {
        size_t n = 0;

        while (*list == ' ' || *list == '\t' || *list == ',')
            list++;
        while (list[n] && list[n] != ',' && list[n] != ' ' && list[n] != '\t')
            n++;
        if (n)
            take_protocol(o, list, n);
        list += n;
    }
}

void websocket_take(struct websocket_offer *o, const char *name, const char *value)
{
    if (same_word(name, "upgrade")) {
        o->websocket = same_word(value, "websocket");
    } else if (same_word(name, "sec-websocket-key")) {
        o->twice |= o->keyed;
        o->keyed = true;
        (void)str_copy(o->key, sizeof(o->key), value);
    } else if (same_word(name, "sec-websocket-version")) {
        (void)str_copy(o->version, sizeof(o->version), value);
    } else if (same_word(name, "sec-websocket-protocol")) {
        take_protocols(o, value);
    }
}

const char *websocket_refusal(const struct websocket_offer *o, bool upgrade, unsigned *status)
{
    *status = 426;
    if (!upgrade || !o->websocket)
        return "this is a WebSocket: the request must ask for the upgrade";
    if (strcmp(o->version, "13") != 0)
        return "Sec-WebSocket-Version: must be 13";
    *status = 400;
    if (o->twice || !is_key(o->key))
        return "Sec-WebSocket-Key: must be 16 bytes in base64, once";
    if (o->protocols && !o->knows)
        return "Sec-WebSocket-Protocol: " WEBSOCKET_PROTOCOL " must be among those offered";
    return NULL;
}

static void put_base64(const uint8_t *bytes, size_t n, char *out)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < n; i += 3) {
        uint32_t v = (uint32_t)bytes[i] << 16 | (i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0) |
                     (i + 2 < n ? bytes[i + 2] : 0);

        *out++ = digits[v >> 18 & 63];
        *out++ = digits[v >> 12 & 63];
        *out++ = i + 1 < n ? digits[v >> 6 & 63] : '=';
        *out++ = i + 2 < n ? digits[v & 63] : '=';
    }
    *out = 0;
}

void websocket_accept(const char *key, char accept[WEBSOCKET_ACCEPT_LEN + 1])
{
    uint8_t input[WEBSOCKET_KEY_LEN + sizeof(GUID) - 1], hash[SHA1_SIZE];

    memcpy(input, key, WEBSOCKET_KEY_LEN);
    memcpy(input + WEBSOCKET_KEY_LEN, GUID, sizeof(GUID) - 1);
    (void)mbedtls_sha1(input, sizeof(input), hash); /* fails only with hardware implementations */
    put_base64(hash, sizeof(hash), accept);
}

size_t websocket_put_fields(const struct websocket_offer *o, char *buf, size_t size)
{
    char accept[WEBSOCKET_ACCEPT_LEN + 1];

    websocket_accept(o->key, accept);
    return fmt(buf, size, "Upgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n%s", accept,
               o->knows ? "Sec-WebSocket-Protocol: " WEBSOCKET_PROTOCOL "\r\n" : "");
}

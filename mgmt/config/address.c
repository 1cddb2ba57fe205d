/* IP addresses as text: RFC 4291, section 2.2, and RFC 5952, section 4. */
#include "mgmt/config/config.h"

#include "mgmt/config/parse.h"
#include "hv/fmt.h"
#include "hv/lib.h"

#define GROUPS 8u
#define MAPPED 10u /* zero bytes before a mapped IPv4 address's two of ones */

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

/* Parses one to four digits; returns where they end, or NULL. */
static const char *parse_group(const char *s, unsigned *value)
{
    unsigned n = 0;

    *value = 0;
    for (; digit(*s) >= 0; s++) {
        if (++n > 4)
            return NULL;
        *value = *value << 4 | (unsigned)digit(*s);
    }
    return n ? s : NULL;
}

/* Parses groups from the left into `group`, `*gap` of them before "::" (GROUPS: there is none).
 * Returns their number, or -1. */
static int parse_groups(const char *s, unsigned group[GROUPS], unsigned *gap)
{
    unsigned n = 0;

    *gap = GROUPS;
    if (s[0] == ':' && s[1] == ':') {
        *gap = 0;
        s += 2;
    }
    while (*s) {
        if (n == GROUPS || !(s = parse_group(s, &group[n])))
            return -1;
        n++;
        if (!*s)
            break;
        if (*s++ != ':')
            return -1;
        if (*s == ':') {
            if (*gap != GROUPS)
                return -1;
            *gap = n;
            s++;
        } else if (!*s) {
            return -1;
        }
    }
    return (*gap == GROUPS ? n == GROUPS : n < GROUPS) ? (int)n : -1;
}

static bool parse_ipv6(const char *s, uint8_t bytes[16])
{
    unsigned group[GROUPS], gap;
    int n = parse_groups(s, group, &gap);

    if (n < 0)
        return false;
    memset(bytes, 0, 16);
    for (unsigned i = 0; i < (unsigned)n; i++) {
        unsigned at = i < gap ? i : GROUPS - (unsigned)n + i;

        bytes[2 * at] = (uint8_t)(group[i] >> 8);
        bytes[2 * at + 1] = (uint8_t)group[i];
    }
    return true;
}

bool config_parse_net_address(const char *s, struct net_address *a)
{
    uint8_t ip[4];

    if (!config_parse_ip(s, ip, NULL))
        return parse_ipv6(s, a->bytes);
    memset(a->bytes, 0, sizeof(a->bytes));
    memset(a->bytes + MAPPED, 0xff, 2);
    memcpy(a->bytes + MAPPED + 2, ip, sizeof(ip));
    return true;
}

bool config_net_address_is_ipv4(const struct net_address *a, const uint8_t ip[4])
{
    return config_net_address_is_mapped(a) && memcmp(a->bytes + MAPPED + 2, ip, 4) == 0;
}

/* The longest run of two or more zero groups; the first if several are equally long. */
static void find_run(const unsigned group[GROUPS], unsigned *start, unsigned *length)
{
    *start = 0;
    *length = 1;
    for (unsigned i = 0; i < GROUPS; i++) {
        unsigned run = 0;

        while (i + run < GROUPS && group[i + run] == 0)
            run++;
        if (run > *length) {
            *start = i;
            *length = run;
        }
    }
}

void config_net_address_text(const struct net_address *a, char out[CONFIG_ADDRESS_TEXT])
{
    const uint8_t *b = a->bytes;
    unsigned group[GROUPS], start, length, n = 0;

    if (config_net_address_is_mapped(a)) {
        (void)fmt(out, CONFIG_ADDRESS_TEXT, "%u.%u.%u.%u", b[12], b[13], b[14], b[15]);
        return;
    }
    for (unsigned i = 0; i < GROUPS; i++)
        group[i] = (unsigned)b[2 * i] << 8 | b[2 * i + 1];
    find_run(group, &start, &length);
    out[0] = 0;
    for (unsigned i = 0; i < GROUPS; i++) {
        if (length > 1 && i == start) {
            n += (unsigned)fmt(out + n, CONFIG_ADDRESS_TEXT - n, "::");
            i += length - 1;
        } else {
            n += (unsigned)fmt(out + n, CONFIG_ADDRESS_TEXT - n, "%s%x",
                               n && out[n - 1] != ':' ? ":" : "", group[i]);
        }
    }
}

#include "hv/options.h"

#include "hv/config.h"
#include "hv/fmt.h"
#include "hv/lib.h"

/* A number of the line. In boot_options a memory is in MB, and a core may be -1: the last one. */
#define NUMBER(name, member, min, max, preset)                                                     \
    {name, offsetof(struct boot_options, member), min, max, preset},
#define ROW_number(prefix, name, min, max, preset) NUMBER(prefix #name, name, min, max, preset)
#define ROW_core(prefix, name, min, max, preset)   NUMBER(prefix #name, name, -1, max, preset)
#define ROW_memory(prefix, name, min, max, preset)                                                 \
    NUMBER(prefix #name "_mb", name##_mb, (min) >> 20, (max) >> 20, (preset) >> 20)

const struct option_number options_numbers[] = {
#define MANAGEMENT_RUN(name, kind, least, most, preset, ...)                                       \
    ROW_##kind("management.", name, least, most, preset)
#include "hv/config_fields.def"
#define CHOICE(name, member, most, preset) NUMBER(name, member, 0, most, preset)
#define SWITCH(name, member, preset)       CHOICE(name, member, 1, preset)
#include "hv/options.def"
#undef SWITCH
#undef CHOICE
#define TOP_RUN(name, kind, least, most, preset, ...) ROW_##kind("", name, least, most, preset)
#include "hv/config_fields.def"
};
const size_t options_number_count = ARRAY_LEN(options_numbers);

/* A word of the line: `name`, then '=' and the value. */
struct word {
    const char *name, *value;
    size_t name_length, value_length;
};

static int32_t *number_of(struct boot_options *o, const struct option_number *n)
{
    return (int32_t *)(void *)((char *)o + n->offset);
}

void options_default(struct boot_options *o)
{
    memset(o, 0, sizeof(*o));
    for (size_t i = 0; i < ARRAY_LEN(options_numbers); i++)
        *number_of(o, &options_numbers[i]) = options_numbers[i].preset;
}

static bool next_word(const char **at, struct word *w)
{
    const char *s = *at;

    while (*s == ' ' || *s == '\t')
        s++;
    *w = (struct word){.name = s};
    while (*s && *s != ' ' && *s != '\t' && *s != '=')
        s++;
    w->name_length = (size_t)(s - w->name);
    w->value = *s == '=' ? ++s : s;
    while (*s && *s != ' ' && *s != '\t')
        s++;
    w->value_length = (size_t)(s - w->value);
    *at = s;
    return s > w->name;
}

static bool is_named(const struct word *w, const char *name)
{
    return strlen(name) == w->name_length && strncmp(name, w->name, w->name_length) == 0;
}

static int digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : 99;
}

/* Reads a number at *at, before `end` and not larger than `max`; moves *at past it. */
static bool take_number(const char **at, const char *end, int base, int64_t max, int64_t *v)
{
    const char *s = *at;

    for (*v = 0; s < end && digit(*s) < base; s++) {
        *v = *v * base + digit(*s);
        if (*v > max)
            return false;
    }
    if (s == *at)
        return false;
    *at = s;
    return true;
}

/* Reads `count` bytes as numbers with `separator` between them. */
static bool take_bytes(const char **at, const char *end, int base, char separator, uint8_t *out,
                       unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        int64_t v;

        if (i && (*at == end || *(*at)++ != separator))
            return false;
        if (!take_number(at, end, base, UINT8_MAX, &v))
            return false;
        out[i] = (uint8_t)v;
    }
    return true;
}

static bool read_number(const struct word *w, const struct option_number *n, struct boot_options *o)
{
    const char *at = w->value, *end = w->value + w->value_length;
    bool negative = at < end && *at == '-';
    int64_t v;

    at += negative;
    if (!take_number(&at, end, 10, INT32_MAX, &v) || at != end)
        return false;
    v = negative ? -v : v;
    if (v < n->min || v > n->max)
        return false;
    *number_of(o, n) = (int32_t)v;
    return true;
}

static bool read_guarded(const struct word *w, struct boot_options *o)
{
    const char *at = w->value, *end = w->value + w->value_length;
    uint8_t read[OPTIONS_GUARDED][4] = {{0}};
    unsigned n = 0;

    for (;;) {
        if (n == OPTIONS_GUARDED || !take_bytes(&at, end, 10, '.', read[n++], 4))
            return false;
        if (at == end)
            break;
        if (*at++ != ',')
            return false;
    }
    memcpy(o->guarded, read, sizeof(read));
    return true;
}

static bool read_mac_prefix(const struct word *w, struct boot_options *o)
{
    const char *at = w->value, *end = w->value + w->value_length;
    uint8_t read[sizeof(o->mac_prefix)];

    /* A guest's address is one machine's, and locally administered: IEEE 802, "Universal address".
     */
    if (!take_bytes(&at, end, 16, ':', read, sizeof(read)) || at != end || (read[0] & 3) != 2)
        return false;
    memcpy(o->mac_prefix, read, sizeof(read));
    return true;
}

const char *const options_uplinks[ABI_NIC_ROLES] = {"uplinks.management", "uplinks.guests"};

static bool read_card(const struct word *w, struct net_card_name *n)
{
    const char *at = w->value, *end = w->value + w->value_length;
    struct net_card_name read = {.count = 0};
    unsigned count = 1;

    for (const char *s = at; s < end; s++)
        count += *s == ':';
    if (count != NET_CARD_INDEX && count != NET_CARD_PLACE && count != NET_CARD_MAC)
        return false;
    if (!take_bytes(&at, end, 16, ':', read.bytes, count) || at != end)
        return false;
    read.count = (uint8_t)count;
    *n = read;
    return true;
}

/* The rest of the sentence about a wrong word, or NULL. */
static const char *read_word(const struct word *w, struct boot_options *o, char *why, size_t size)
{
    for (size_t i = 0; i < ARRAY_LEN(options_numbers); i++) {
        if (!is_named(w, options_numbers[i].name))
            continue;
        if (read_number(w, &options_numbers[i], o))
            return NULL;
        (void)fmt(why, size, "must be a whole number from %d to %d; it stays %d",
                  options_numbers[i].min, options_numbers[i].max,
                  *number_of(o, &options_numbers[i]));
        return why;
    }
    if (is_named(w, "guarded"))
        return read_guarded(w, o) ? NULL : "must be 1 to 3 IPv4 addresses with commas between them";
    if (is_named(w, "mac_prefix"))
        return read_mac_prefix(w, o) ? NULL : "must be five bytes such as 02:42:48:00:00";
    for (unsigned i = 0; i < ABI_NIC_ROLES; i++)
        if (is_named(w, options_uplinks[i]))
            return read_card(w, &o->uplinks[i])
                       ? NULL
                       : "must be one, four or six bytes such as 00:00:03:00";
    return "there is no such option";
}

static void check_together(struct boot_options *o, void (*report)(const char *text))
{
    struct boot_options preset;

    options_default(&preset);
    if (o->memory_mb % 2) {
        report("command line: management.memory_mb must be even; it stays 12");
        o->memory_mb = preset.memory_mb;
    }
    if (o->budget_us <= o->period_us &&
        options_budget_is_enough((uint32_t)o->budget_us, (uint32_t)o->period_us))
        return;
    report("command line: management.budget_us must be a twentieth of period_us at least, and no "
           "more than it; they stay 5000 and 10000");
    o->budget_us = preset.budget_us;
    o->period_us = preset.period_us;
}

void options_read(const char *line, struct boot_options *o, void (*report)(const char *text))
{
    char why[96], text[192];
    const char *what;
    struct word w;

    options_default(o);
    while (next_word(&line, &w)) {
        what = read_word(&w, o, why, sizeof(why));
        if (!what)
            continue;
        (void)fmt(text, sizeof(text), "command line: %.*s: %s", (int)min_u64(w.name_length, 64),
                  w.name, what);
        report(text);
    }
    check_together(o, report);
}

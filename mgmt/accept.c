#include "mgmt/accept.h"

#include "hv/lib.h"

#define WEIGHT_ONE 1000u

static const struct {
    const char *type, *subtype;
} forms[ACCEPT_FORMS] = {
    [ACCEPT_JSON] = {"application", "json"},
    [ACCEPT_TEXT] = {"text", "plain"},
};

struct word {
    const char *at;
    size_t n;
};

static bool is_blank(char c)
{
    return c == ' ' || c == '\t';
}

static struct word trimmed(const char *at, size_t n)
{
    for (; n && is_blank(*at); at++)
        n--;
    while (n && is_blank(at[n - 1]))
        n--;
    return (struct word){at, n};
}

/* `name` is in lower case. */
static bool is(struct word w, const char *name)
{
    size_t n = strlen(name);

    if (w.n != n)
        return false;
    for (size_t i = 0; i < n; i++) {
        char c = w.at[i];

        if ((c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c) != name[i])
            return false;
    }
    return true;
}

/* The part before the next separator outside of quotes; *at moves behind it. */
static struct word next_part(const char **at, const char *end, char separator)
{
    const char *begin = *at, *p = begin;

    for (bool quoted = false; p < end && (quoted || *p != separator); p++) {
        if (*p == '"')
            quoted = !quoted;
        else if (quoted && *p == '\\' && p + 1 < end)
            p++;
    }
    *at = p < end ? p + 1 : p;
    return trimmed(begin, (size_t)(p - begin));
}

/* "0", "0.25", "1.000": at most three digits behind the point. */
static bool parse_weight(struct word w, uint16_t *weight)
{
    unsigned value = 0, unit = WEIGHT_ONE;

    if (w.n == 0 || w.n > 5 || (w.n > 1 && w.at[1] != '.'))
        return false;
    for (size_t i = 0; i < w.n; i++) {
        if (i == 1)
            continue;
        if (w.at[i] < '0' || w.at[i] > '9')
            return false;
        value += (unsigned)(w.at[i] - '0') * unit;
        unit /= 10;
    }
    *weight = (uint16_t)value;
    return value <= WEIGHT_ONE;
}

/* How closely a media range names a form; 0: not at all. */
static uint8_t specificity(struct word type, struct word subtype, enum accept_form f)
{
    if (is(type, "*"))
        return is(subtype, "*") ? 1 : 0;
    if (!is(type, forms[f].type))
        return 0;
    return is(subtype, "*") ? 2 : is(subtype, forms[f].subtype) ? 3 : 0;
}

/* One media range with its parameters. Those with a malformed weight are ignored. */
static void take_range(struct accept *a, struct word range)
{
    const char *at = range.at, *end = at + range.n;
    struct word name = next_part(&at, end, ';'), type;
    const char *slash = name.at, *name_end = name.at + name.n;
    uint16_t weight = WEIGHT_ONE;

    type = next_part(&slash, name_end, '/');
    while (at < end) {
        struct word parameter = next_part(&at, end, ';');
        const char *value = parameter.at, *parameter_end = value + parameter.n;

        if (is(next_part(&value, parameter_end, '='), "q") &&
            !parse_weight(trimmed(value, (size_t)(parameter_end - value)), &weight))
            return;
    }
    for (unsigned f = 0; f < ACCEPT_FORMS; f++) {
        uint8_t s = specificity(type, trimmed(slash, (size_t)(name_end - slash)), f);

        if (s == 0 || s < a->forms[f].specificity)
            continue;
        a->forms[f].specificity = s;
        a->forms[f].weight = weight;
    }
}

void accept_take(struct accept *a, const char *value)
{
    const char *end = value + strlen(value);

    while (value < end)
        take_range(a, next_part(&value, end, ','));
}

bool accept_is_text(const struct accept *a)
{
    return a->forms[ACCEPT_TEXT].weight > a->forms[ACCEPT_JSON].weight;
}

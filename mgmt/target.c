#include "mgmt/target.h"

#include "hv/lib.h"

/* `scheme` is in lower case. */
static const char *behind_scheme(const char *s, const char *scheme)
{
    for (; *scheme; s++, scheme++)
        if ((*s >= 'A' && *s <= 'Z' ? (char)(*s | 0x20) : *s) != *scheme)
            return NULL;
    return s;
}

const char *target_resolve(char *target, char *host, size_t host_size)
{
    const char *authority = behind_scheme(target, "http://");
    size_t n = 0, rest;

    if (target[0] == '/' || strcmp(target, "*") == 0)
        return NULL;
    if (!authority)
        authority = behind_scheme(target, "https://");
    if (!authority)
        return "the request target must be a path, or an http or https URL";
    while (authority[n] && authority[n] != '/' && authority[n] != '?' && authority[n] != '#') {
        if (authority[n] == '@')
            return "the URL in the request must not have a user";
        n++;
    }
    if (n == 0 || n >= host_size)
        return "the URL in the request must have a host";
    memcpy(host, authority, n);
    host[n] = 0;
    rest = strlen(authority + n);
    /* There is room for a slash: it is shorter than what goes. */
    memmove(target + (authority[n] != '/'), authority + n, rest + 1);
    target[0] = '/';
    return NULL;
}

static int hex(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes in place. False: malformed, or a NUL. */
static bool decode(char *s)
{
    char *out = s;

    for (; *s; s++) {
        int high, low;

        if (*s != '%') {
            *out++ = *s;
            continue;
        }
        high = hex(s[1]);
        low = high < 0 ? -1 : hex(s[2]);
        if (low < 0 || high + low == 0)
            return false;
        *out++ = (char)(high << 4 | low);
        s += 2;
    }
    *out = 0;
    return true;
}

static bool split_path(struct target *t, char *path)
{
    for (char *p = path; *p;) {
        char *begin = p;

        if (*p == '/') {
            *p++ = 0;
            continue;
        }
        while (*p && *p != '/')
            p++;
        if (t->segment_count >= TARGET_SEGMENTS) {
            t->segment_count = TARGET_SEGMENTS + 1;
            continue;
        }
        t->segments[t->segment_count++] = begin;
    }
    for (unsigned i = 0; i < t->segment_count && i < TARGET_SEGMENTS; i++)
        if (!decode(t->segments[i]))
            return false;
    return true;
}

static const char malformed[] = "malformed: % needs two hexadecimal digits, which are not 00";

static const char *take_parameter(struct target *t, char *name)
{
    char *value = name;

    while (*value && *value != '=')
        value++;
    if (*value)
        *value++ = 0;
    if (!decode(name) || !decode(value))
        return malformed;
    if (target_value(t, name))
        return "a parameter of the query is given twice";
    if (t->parameter_count == TARGET_PARAMETERS)
        return "the query has too many parameters";
    t->parameters[t->parameter_count].name = name;
    t->parameters[t->parameter_count++].value = value;
    return NULL;
}

static const char *split_query(struct target *t, char *query)
{
    const char *why = NULL;

    while (*query && !why) {
        char *end = query;

        while (*end && *end != '&')
            end++;
        if (*end)
            *end++ = 0;
        if (*query)
            why = take_parameter(t, query);
        query = end;
    }
    return why;
}

const char *target_parse(struct target *t, const char *text)
{
    char *query;

    t->segment_count = t->parameter_count = 0;
    (void)str_copy(t->text, sizeof(t->text), text);
    if (t->text[0] != '/')
        return "the request target must be a path";
    for (query = t->text; *query && *query != '?'; query++)
        ;
    if (*query)
        *query++ = 0;
    return split_path(t, t->text) ? split_query(t, query) : malformed;
}

const char *target_value(const struct target *t, const char *name)
{
    for (unsigned i = 0; i < t->parameter_count; i++)
        if (strcmp(t->parameters[i].name, name) == 0)
            return t->parameters[i].value;
    return NULL;
}

/* Is `word` in a list of words with one blank between them? */
static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);

    while (*list) {
        size_t length = 0;

        while (list[length] && list[length] != ' ')
            length++;
        if (length == n && memcmp(list, word, n) == 0)
            return true;
        list += length + (list[length] == ' ');
    }
    return false;
}

const char *target_stranger(const struct target *t, const char *known)
{
    for (unsigned i = 0; i < t->parameter_count; i++)
        if (!has_word(known, t->parameters[i].name))
            return t->parameters[i].name;
    return NULL;
}

#include "mgmt/digest.h"

#include "hv/lib.h"

#include <mbedtls/base64.h>
#include <string.h>

static bool is_key_char(char c, bool first)
{
    return (c >= 'a' && c <= 'z') || c == '*' ||
           (!first && ((c >= '0' && c <= '9') || c == '_' || c == '-' || c == '.'));
}

static void skip(const char **s, const char *what)
{
    while (**s && strchr(what, **s))
        (*s)++;
}

/* The length of a key; 0: none. */
static size_t take_key(const char **s)
{
    size_t n = 0;

    while (is_key_char((*s)[n], n == 0))
        n++;
    *s += n;
    return n;
}

/* A string, including its quotes. */
static bool take_string(const char **s)
{
    for ((*s)++; **s && **s != '"'; (*s)++)
        if (**s == '\\' && (*s)[1])
            (*s)++;
    return *(*s)++ == '"';
}

/* A token, number, boolean or string: nothing that we need. */
static bool take_other(const char **s)
{
    const char *from = *s;

    if (**s == '"')
        return take_string(s);
    while (**s > ' ' && **s < 0x7f && !strchr(",;\"()=", **s))
        (*s)++;
    return *s > from;
}

/* ":BASE64:"; returns its text without the colons. */
static bool take_bytes(const char **s, const char **text, size_t *len)
{
    const char *end;

    if (**s != ':')
        return false;
    *text = *s + 1;
    end = strchr(*text, ':');
    if (!end)
        return false;
    *len = (size_t)(end - *text);
    *s = end + 1;
    return true;
}

static bool take_parameters(const char **s)
{
    const char *text;
    size_t len;

    while (**s == ';') {
        (*s)++;
        skip(s, " ");
        if (!take_key(s))
            return false;
        if (**s != '=')
            continue;
        (*s)++;
        if (**s == ':' ? !take_bytes(s, &text, &len) : !take_other(s))
            return false;
    }
    return true;
}

static bool decode(const char *text, size_t len, uint8_t sha256[32])
{
    size_t n;

    return mbedtls_base64_decode(sha256, 32, &n, (const unsigned char *)text, len) == 0 && n == 32;
}

/* One member, including its parameters. *is_ours: it is the SHA-256. */
static bool take_member(const char **s, uint8_t sha256[32], bool *is_ours)
{
    static const char name[] = "sha-256";
    const char *key = *s, *text = NULL;
    size_t n = take_key(s), len = 0;

    if (n == 0)
        return false;
    *is_ours = n == sizeof(name) - 1 && strncmp(key, name, n) == 0;
    if (**s == '=') {
        (*s)++;
        if (**s == ':' ? !take_bytes(s, &text, &len) : !take_other(s))
            return false;
    }
    return (!*is_ours || (text && decode(text, len, sha256))) && take_parameters(s);
}

int digest_sha256(const char *field, uint8_t sha256[32])
{
    static const char blank[] = " \t";
    const char *s = field;
    int found = 0;

    skip(&s, blank);
    while (*s) {
        bool is_ours;

        if (!take_member(&s, sha256, &is_ours) || (is_ours && found))
            return -E_FORMAT;
        found |= is_ours;
        skip(&s, blank);
        if (!*s)
            break;
        if (*s++ != ',')
            return -E_FORMAT;
        skip(&s, blank);
        if (!*s)
            return -E_FORMAT;
    }
    return found;
}

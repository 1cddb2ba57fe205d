#include "mgmt/bhctl/url.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static bool is_letter_or_digit(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

const char *url_base(const char *text, char base[URL_MAX])
{
    size_t scheme = strncmp(text, "http://", 7) == 0    ? 7
                    : strncmp(text, "https://", 8) == 0 ? 8
                                                        : 0;
    size_t n = strlen(text);

    if (!scheme)
        return "it must begin with http:// or https://";
    while (n > scheme && text[n - 1] == '/')
        n--;
    if (n == scheme || text[scheme] == ':' || text[scheme] == '/')
        return "it names no host";
    if (n >= URL_MAX)
        return "it is too long";
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)text[i] <= ' ' || text[i] == 0x7f)
            return "it has a blank or a control character in it";
        if (strchr("?#@", text[i]))
            return "it must be a scheme, a host and perhaps a port, as in https://127.0.0.1:8443";
    }
    memcpy(base, text, n);
    base[n] = 0;
    return NULL;
}

static size_t put_escaped(char *buf, size_t size, const char *s)
{
    size_t n = 0;

    for (; *s; s++) {
        char one[4] = {*s, 0};

        if (!is_letter_or_digit(*s) && !strchr("-._~,", *s))
            (void)snprintf(one, sizeof(one), "%%%02X", (unsigned)(unsigned char)*s);
        for (const char *c = one; *c; c++) {
            if (n + 1 >= size)
                return size;
            buf[n++] = *c;
        }
    }
    return n;
}

bool url_path(char *buf, size_t size, const char *format, ...)
{
    bool good = true, segment = format[0] == '/';
    size_t n = 0;
    va_list ap;

    va_start(ap, format);
    for (const char *p = format; *p && n < size; p++) {
        if (p[0] == '%' && p[1] == 's') {
            const char *value = va_arg(ap, const char *);

            /* Path normalisation would remove such a segment. */
            good = good && (!segment || (strcmp(value, "") != 0 && strcmp(value, ".") != 0 &&
                                         strcmp(value, "..") != 0));
            n += put_escaped(buf + n, size - n, value);
            p++;
        } else {
            segment = segment && *p != '?';
            buf[n++] = *p;
        }
    }
    va_end(ap);
    if (n >= size || !good)
        return false;
    buf[n] = 0;
    return true;
}

void url_image_name(const char *guest, const char *file, unsigned n, char name[IMAGE_NAME_SIZE])
{
    const char *slash = strrchr(file, '/');
    char suffix[16] = "";

    if (n)
        (void)snprintf(suffix, sizeof(suffix), "-%u", n + 1);
    (void)snprintf(name, IMAGE_NAME_SIZE - strlen(suffix), "%s-%s", guest,
                   slash ? slash + 1 : file);
    for (char *p = name; *p; p++)
        if (!is_letter_or_digit(*p) && (p == name || !strchr("._-", *p)))
            *p = '_';
    (void)snprintf(name + strlen(name), IMAGE_NAME_SIZE - strlen(name), "%s", suffix);
}

void url_base32(const uint8_t *bytes, size_t n, char *text)
{
    static const char digits[] = "abcdefghijklmnopqrstuvwxyz234567";
    unsigned bits = 0, value = 0;

    for (size_t i = 0; i < n; i++) {
        value = value << 8 | bytes[i];
        for (bits += 8; bits >= 5; bits -= 5)
            *text++ = digits[value >> (bits - 5) & 31];
    }
    *text = 0;
}

void url_stem(const char *file, size_t most, char name[GUEST_NAME_SIZE])
{
    const char *slash = strrchr(file, '/');
    size_t n = 0;

    for (file = slash ? slash + 1 : file; *file && *file != '.' && n < most; file++) {
        char c = *file >= 'A' && *file <= 'Z' ? (char)(*file | 0x20) : *file;

        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            name[n++] = c;
        else if (n && name[n - 1] != '-')
            name[n++] = '-';
    }
    while (n && name[n - 1] == '-')
        n--;
    name[n] = 0;
}

void url_guest_name(const char *file, const uint8_t random[5], char name[GUEST_NAME_SIZE])
{
    char end[9];
    size_t n;

    url_base32(random, 5, end);
    url_stem(file, 16, name);
    n = strlen(name);
    (void)snprintf(name + n, GUEST_NAME_SIZE - n, "%s%s", n ? "-" : "", end);
}

static int nibble(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool url_fingerprint(const char *text, uint8_t sha256[SHA256_SIZE])
{
    if (strncmp(text, "sha256", 6) == 0)
        for (text += 6; *text == ' ' || *text == ':' || *text == '='; text++)
            ;
    for (unsigned i = 0; i < SHA256_SIZE; i++) {
        int high, low;

        if (i && *text == ':')
            text++;
        high = nibble(text[0]);
        low = high < 0 ? -1 : nibble(text[1]);
        if (low < 0)
            return false;
        sha256[i] = (uint8_t)(high << 4 | low);
        text += 2;
    }
    return *text == 0;
}

void url_fingerprint_text(const uint8_t sha256[SHA256_SIZE], char text[FINGERPRINT_TEXT])
{
    for (unsigned i = 0; i < SHA256_SIZE; i++)
        (void)snprintf(text + 3 * i, FINGERPRINT_TEXT - 3 * i,
                       i + 1 < SHA256_SIZE ? "%02X:" : "%02X", (unsigned)sha256[i]);
}

void url_hex(const uint8_t *bytes, size_t n, char *text)
{
    for (size_t i = 0; i < n; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", (unsigned)bytes[i]);
}

#include "hv/fmt.h"

#include "hv/lib.h"

struct out {
    char *buf;
    size_t size, len;
};

struct spec {
    bool left, zero;
    int width, precision; /* precision -1: none */
    bool is_long;
};

static void put(struct out *o, char c)
{
    if (o->len + 1 < o->size)
        o->buf[o->len] = c;
    o->len++;
}

/* Log lines are written while guests wait, so take as few steps as possible. */
static void put_all(struct out *o, const char *s, size_t n)
{
    size_t room = o->len + 1 < o->size ? o->size - 1 - o->len : 0;

    if (room && n)
        memcpy(o->buf + o->len, s, min_u64(n, room));
    o->len += n;
}

static void put_padded(struct out *o, const char *s, size_t n, const struct spec *sp, bool negative)
{
    size_t width = sp->width > 0 ? (size_t)sp->width : 0;
    size_t total = n + (negative ? 1 : 0);
    size_t pad = width > total ? width - total : 0;

    if (negative && sp->zero)
        put(o, '-');
    for (size_t i = 0; !sp->left && i < pad; i++)
        put(o, sp->zero ? '0' : ' ');
    if (negative && !sp->zero)
        put(o, '-');
    put_all(o, s, n);
    for (size_t i = 0; sp->left && i < pad; i++)
        put(o, ' ');
}

static void put_number(struct out *o, uint64_t v, unsigned base, bool upper, bool negative,
                       const struct spec *sp)
{
    const char *digits = upper ? "0123456789ABCDEF" : "0123456789abcdef";
    char tmp[20];
    size_t n = sizeof(tmp);

    do {
        tmp[--n] = digits[v % base];
        v /= base;
    } while (v);
    put_padded(o, tmp + n, sizeof(tmp) - n, sp, negative);
}

static int number(const char **f)
{
    int v = 0;

    while (**f >= '0' && **f <= '9' && v < 10000)
        v = v * 10 + (*(*f)++ - '0');
    return v;
}

/* The flags, width, precision and length of one conversion. The caller reads a `*` argument. */
static void parse_flags(const char **f, struct spec *sp)
{
    *sp = (struct spec){.precision = -1};
    for (;; (*f)++) {
        if (**f == '-')
            sp->left = true;
        else if (**f == '0')
            sp->zero = true;
        else
            break;
    }
}

size_t fmt_v(char *buf, size_t size, const char *f, va_list ap)
{
    struct out o = {buf, size, 0};

    for (;; f++) {
        const char *plain = f;
        struct spec sp;

        while (*f && *f != '%')
            f++;
        put_all(&o, plain, (size_t)(f - plain));
        if (!*f)
            break;
        f++;
        parse_flags(&f, &sp);
        if (*f == '*') {
            sp.width = va_arg(ap, int);
            f++;
        } else {
            sp.width = number(&f);
        }
        if (*f == '.') {
            f++;
            if (*f == '*') {
                sp.precision = va_arg(ap, int);
                f++;
            } else {
                sp.precision = number(&f);
            }
        }
        for (; *f == 'l' || *f == 'z'; f++)
            sp.is_long = true;
        if (sp.left)
            sp.zero = false;
        switch (*f) {
        case 'd': {
            int64_t v = sp.is_long ? va_arg(ap, int64_t) : va_arg(ap, int);
            uint64_t magnitude = v < 0 ? 0 - (uint64_t)v : (uint64_t)v;

            put_number(&o, magnitude, 10, false, v < 0, &sp);
            break;
        }
        case 'u':
        case 'x':
        case 'X': {
            uint64_t v = sp.is_long ? va_arg(ap, uint64_t) : va_arg(ap, unsigned);

            put_number(&o, v, *f == 'u' ? 10 : 16, *f == 'X', false, &sp);
            break;
        }
        case 'p':
            put(&o, '0');
            put(&o, 'x');
            put_number(&o, (uintptr_t)va_arg(ap, void *), 16, false, false, &sp);
            break;
        case 'c': {
            char c = (char)va_arg(ap, int);

            sp.zero = false;
            put_padded(&o, &c, 1, &sp, false);
            break;
        }
        case 's': {
            const char *s = va_arg(ap, const char *);
            size_t n = 0;

            if (!s)
                s = "(null)";
            if (sp.precision < 0)
                n = strlen(s);
            while (sp.precision >= 0 && n < (size_t)sp.precision && s[n])
                n++;
            sp.zero = false;
            put_padded(&o, s, n, &sp, false);
            break;
        }
        case '%':
            put(&o, '%');
            break;
        default: /* an unknown conversion is shown as it stands */
            put(&o, '%');
            if (!*f)
                goto done;
            put(&o, *f);
        }
    }
done:
    if (size > 0)
        buf[o.len < size ? o.len : size - 1] = 0;
    return o.len;
}

size_t fmt(char *buf, size_t size, const char *format, ...)
{
    va_list ap;
    size_t n;

    va_start(ap, format);
    n = fmt_v(buf, size, format, ap);
    va_end(ap);
    return n;
}

char *fmt_digits(char *at, uint64_t v, unsigned width, char fill)
{
    char digits[20];
    unsigned n = 0;

    do {
        digits[n++] = (char)('0' + v % 10);
        v /= 10;
    } while (v);
    for (unsigned i = n; i < width; i++)
        *at++ = fill;
    while (n)
        *at++ = digits[--n];
    return at;
}

#include "test/kernel/trial_file.h"

#define ENCODING_MAX 0xffffu

static const char *find(const char *at, const char *end, char c)
{
    while (at < end && *at != c)
        at++;
    return at;
}

int trial_next(struct trial_file *f, struct trial *t)
{
    while (f->at < f->size) {
        const char *start = f->text + f->at, *all = f->text + f->size;
        const char *end = find(start, all, '\n'), *space;

        f->at = (size_t)(end - f->text) + (end < all);
        f->line++;
        if (start == end || *start == '#')
            continue;
        space = find(start, end, ' ');
        *t = (struct trial){.name = start, .name_length = (size_t)(space - start)};
        t->at = space < end ? space + 1 : end;
        t->end = end;
        return t->name_length && space < end ? 1 : -E_FORMAT;
    }
    return 0;
}

/* Hexadecimal digits up to `end`; false when there are none, too many, or others. */
static bool read_hex(const char *at, const char *end, uint64_t *v)
{
    if (at == end || end - at > 16)
        return false;
    for (*v = 0; at < end; at++) {
        unsigned digit = *at >= '0' && *at <= '9'   ? (unsigned)(*at - '0')
                         : *at >= 'a' && *at <= 'f' ? (unsigned)(*at - 'a' + 10)
                                                    : 16;

        if (digit == 16)
            return false;
        *v = *v << 4 | digit;
    }
    return true;
}

int trial_next_field(struct trial *t, struct trial_field *out)
{
    const char *end = find(t->at, t->end, ' '), *first = find(t->at, end, ':');
    const char *second = first < end ? find(first + 1, end, ':') : end;
    uint64_t encoding;

    if (t->at == t->end)
        return 0;
    if (end - t->at == 1 && *t->at == '|' && !t->breaking) {
        t->breaking = true;
        t->at = end < t->end ? end + 1 : end;
        return trial_next_field(t, out);
    }
    if (second == end || !read_hex(t->at, first, &encoding) || encoding > ENCODING_MAX ||
        !read_hex(first + 1, second, &out->clear) || !read_hex(second + 1, end, &out->set))
        return -E_FORMAT;
    out->encoding = (uint32_t)encoding;
    out->breaking = t->breaking;
    t->at = end < t->end ? end + 1 : end;
    return 1;
}

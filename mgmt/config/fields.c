#include "mgmt/config/parse.h"

#include "hv/fmt.h"
#include "hv/lib.h"

/* "guests[1]." and "memory" become "/guests/1/memory"; RFC 6901 escapes '~' and '/'. */
static void make_pointer(const char *path, const char *field, char *out, size_t size)
{
    size_t n = 0;

    if (path[0])
        out[n++] = '/';
    for (; *path && n + 1 < size; path++) {
        if (*path == '.' && !path[1])
            break;
        if (*path != ']')
            out[n++] = *path == '[' || *path == '.' ? '/' : *path;
    }
    if (*field && n + 1 < size)
        out[n++] = '/';
    for (; *field && n + 2 < size; field++) {
        if (*field == '~' || *field == '/') {
            out[n++] = '~';
            out[n++] = *field == '~' ? '0' : '1';
        } else {
            out[n++] = *field;
        }
    }
    out[n] = 0;
}

void config_error_at(struct parser *p, int t, const char *field, const char *text)
{
    struct config_error e = {0};

    json_place(&p->json, t >= 0 ? p->json.tokens[t].start : 0, &e.line, &e.column);
    (void)fmt(e.field, sizeof(e.field), "%s%s", p->path, field);
    make_pointer(p->path, field, e.pointer, sizeof(e.pointer));
    (void)str_copy(e.text, sizeof(e.text), text);
    p->errors++;
    p->report(p->ctx, &e);
}

void config_parse_text(struct parser *p, const struct field *f, int t, void *object)
{
    char text[64];

    int rc = json_string(&p->json, t, (char *)object + f->offset, f->size);

    if (rc == 0)
        return;
    if (rc == -E_INVAL)
        (void)str_copy(text, sizeof(text), "must not have a NUL (\\u0000)");
    else
        (void)fmt(text, sizeof(text), "must be a string of at most %zu bytes", f->size - 1);
    config_error_at(p, t, f->name, text);
}

void config_parse_file(struct parser *p, const struct field *f, int t, void *object)
{
    int before = p->errors;

    config_parse_text(p, f, t, object);
    if (p->errors == before && !config_file_is_good((const char *)object + f->offset))
        config_error_at(p, t, f->name,
                        "a file's name has no control characters and does not begin with "
                        "\"" CONFIG_OWN_FILES "\"");
}

void config_parse_number(struct parser *p, const struct field *f, int t, void *object)
{
    char text[80];
    int64_t v;

    if (json_integer(&p->json, t, f->min, f->max, &v)) {
        (void)fmt(text, sizeof(text), "must be a whole number from %ld to %ld", (long)f->min,
                  (long)f->max);
        config_error_at(p, t, f->name, text);
        return;
    }
    memcpy((char *)object + f->offset, &v, f->size); /* the lowest bytes */
}

void config_parse_core(struct parser *p, const struct field *f, int t, void *object)
{
    config_parse_number(p, f, t, object);
}

void config_parse_cores(struct parser *p, const struct field *f, int t, void *object)
{
    struct guest_config *g = object;
    const jsmntok_t *k = &p->json.tokens[t];
    char text[80];
    int64_t core;

    g->core_count = 0;
    if (k->type != JSMN_ARRAY || k->size > (int)CONFIG_VCPUS_MAX) {
        (void)fmt(text, sizeof(text), "must be a list of at most %u cores", CONFIG_VCPUS_MAX);
        config_error_at(p, t, f->name, text);
        return;
    }
    for (int i = 0, at = t + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        if (json_integer(&p->json, at, f->min, f->max, &core)) {
            (void)fmt(text, sizeof(text), "a core is a whole number from %ld to %ld", (long)f->min,
                      (long)f->max);
            config_error_at(p, at, f->name, text);
            return;
        }
        g->cores[g->core_count++] = (uint8_t)core;
    }
}

bool config_read_bytes(struct parser *p, int t, uint64_t most, uint64_t *bytes)
{
    uint64_t v = 0, unit = 1;
    char text[24];
    int64_t plain;

    if (json_integer(&p->json, t, 0, INT64_MAX, &plain) == 0) {
        v = (uint64_t)plain;
    } else if (json_string(&p->json, t, text, sizeof(text)) == 0) {
        size_t i = 0;

        while (text[i] >= '0' && text[i] <= '9' && i < 10)
            v = v * 10 + (uint64_t)(text[i++] - '0');
        if (i > 0 && text[i] && !text[i + 1])
            unit = text[i] == 'K' ? 1024 : text[i] == 'M' ? MB : text[i] == 'G' ? 1024 * MB : 0;
        else
            unit = 0;
    } else {
        unit = 0;
    }
    if (unit == 0 || v > most / unit)
        return false;
    *bytes = v * unit;
    return true;
}

void config_parse_memory(struct parser *p, const struct field *f, int t, void *object)
{
    uint64_t v, most = (uint64_t)f->max;
    char allowed[96];

    if (!config_read_bytes(p, t, most, &v) || v < (uint64_t)f->min || v % (2 * MB)) {
        (void)fmt(allowed, sizeof(allowed),
                  "must be 2M to %luG, a multiple of 2 MiB: a number of bytes, or a string such as "
                  "\"16M\"",
                  most >> 30);
        config_error_at(p, t, f->name, allowed);
        return;
    }
    memcpy((char *)object + f->offset, &v, sizeof(v));
}

void config_parse_choice(struct parser *p, const struct field *f, int t, void *object)
{
    char text[96] = "must be ";
    int64_t last = f->max;

    for (int64_t i = f->min; i <= last; i++) {
        uint32_t index = (uint32_t)i;
        size_t n = strlen(text);

        if (json_is(&p->json, t, f->words[i])) {
            memcpy((char *)object + f->offset, &index, sizeof(index));
            return;
        }
        (void)fmt(text + n, sizeof(text) - n, "%s\"%s\"",
                  i == f->min ? ""
                  : i == last ? " or "
                              : ", ",
                  f->words[i]);
    }
    config_error_at(p, t, f->name, text);
}

/* "a, b and c" */
static void list_words(char *out, size_t size, const char *const *words)
{
    for (size_t n = 0; *words; words++)
        n += (size_t)fmt(out + n, size - n, "%s%s", *words,
                         !words[1]  ? ""
                         : words[2] ? ", "
                                    : " and ");
}

void config_parse_flags(struct parser *p, const struct field *f, int t, void *object)
{
    const jsmntok_t *k = &p->json.tokens[t];
    char allowed[96], text[sizeof(allowed) + 40];
    uint32_t chosen = 0;

    list_words(allowed, sizeof(allowed), f->words);
    (void)fmt(text, sizeof(text), "must be a list; there are %s", allowed);
    if (k->type != JSMN_ARRAY) {
        config_error_at(p, t, f->name, text);
        return;
    }
    for (int i = 0, at = t + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        size_t n = 0;

        while (f->words[n] && !json_is(&p->json, at, f->words[n]))
            n++;
        if (!f->words[n]) {
            config_error_at(p, at, f->name, text);
            return;
        }
        chosen |= 1u << n;
    }
    memcpy((char *)object + f->offset, &chosen, sizeof(chosen));
}

void config_parse_switch(struct parser *p, const struct field *f, int t, void *object)
{
    const jsmntok_t *k = &p->json.tokens[t];
    char first = p->json.text[k->start];
    uint16_t on = first == 't';

    if (k->type != JSMN_PRIMITIVE || (first != 't' && first != 'f')) {
        config_error_at(p, t, f->name, "must be true or false");
        return;
    }
    memcpy((char *)object + f->offset, &on, sizeof(on));
}

/* Is a word the beginning of another, or as it but for one letter more, less or wrong, or for two
 * exchanged? */
static bool is_close(const char *given, const char *name)
{
    size_t a = strlen(given), b = strlen(name), same = 0;

    while (given[same] && given[same] == name[same])
        same++;
    if (same >= 3 && same == a)
        return true;
    given += same;
    name += same;
    for (a -= same, b -= same; a && b && given[a - 1] == name[b - 1]; a--)
        b--;
    return (a <= 1 && b <= 1) || (a == 2 && b == 2 && given[0] == name[1] && given[1] == name[0]);
}

static void say_unknown(struct parser *p, int key, const struct field *fields, size_t count)
{
    char text[96] = "there is no such field", name[32];
    /* Of a name that is too long, its beginning tells which. */
    bool known = json_string(&p->json, key, name, sizeof(name)) != -E_FORMAT;

    for (size_t i = 0; known && i < count; i++)
        if (is_close(name, fields[i].name)) {
            (void)fmt(text, sizeof(text), "there is no such field; did you mean \"%s\"?",
                      fields[i].name);
            break;
        }
    config_error_at(p, key, known ? name : "?", text);
}

void config_parse_object(struct parser *p, int t, const struct field *fields, size_t count,
                         void *object)
{
    for (int i = 0, key = t + 1; i < p->json.tokens[t].size;
         i++, key = json_skip(&p->json, key + 1)) {
        size_t n = 0;

        while (n < count && !json_is(&p->json, key, fields[n].name))
            n++;
        if (n < count)
            fields[n].parse(p, &fields[n], key + 1, object);
        else
            say_unknown(p, key, fields, count);
    }
}

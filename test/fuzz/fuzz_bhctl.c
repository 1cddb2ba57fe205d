/* SOURCES: mgmt/bhctl/options.c mgmt/bhctl/url.c mgmt/bhctl/format.c mgmt/bhctl/sse.c
 * mgmt/bhctl/top_rows.c mgmt/bhctl/words.c mgmt/bhctl/place.c hv/plain.c
 * mgmt/bhctl/plain_utf8.c mgmt/config/words.c */
/* bhctl with any command lines and any answers from the other end: the first byte selects the
 * part. */
#include "mgmt/bhctl/format.h"
#include "mgmt/bhctl/options.h"
#include "mgmt/bhctl/place.h"
#include "mgmt/bhctl/sse.h"
#include "mgmt/bhctl/top_rows.h"
#include "mgmt/bhctl/url.h"
#include "mgmt/bhctl/words.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check_clean(const char *text, const char *kept)
{
    for (const unsigned char *p = (const unsigned char *)text; *p; p++)
        if ((*p < ' ' || *p == 0x7f) && !strchr(kept, *p))
            abort();
    /* Well-formed to its end, without C1 controls. */
    for (const unsigned char *p = (const unsigned char *)text; *p;) {
        unsigned more = *p < 0x80 ? 0 : *p < 0xc2 ? 9 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;

        if (more == 9 || (*p == 0xc2 && p[1] < 0xa0))
            abort();
        for (p++; more; more--, p++)
            if ((*p & 0xc0) != 0x80)
                abort();
    }
}

static void try_clean(char *text)
{
    format_clean(text, "\n\t");
    check_clean(text, "\n\t");
    format_clean(text, "");
    check_clean(text, "");
}

/* Arguments are separated by newlines. */
static void try_options(char *text)
{
    static const struct command_spec commands[] = {{"deploy", "[FILE]", 0, 1, ~0ull, "", NULL},
                                                   {"console", "NAME", 1, 1, 0, "", NULL}};
    char *argv[32] = {"bhctl"}, why[OPTIONS_WHY_MAX];
    struct options o;
    uint64_t number;
    int argc = 1;

    for (char *next; text && argc < 31; text = next) {
        next = strchr(text, '\n');
        if (next)
            *next++ = 0;
        argv[argc++] = text;
    }
    if (!options_parse(&o, commands, ARRAY_LEN(commands), argc, argv, why)) {
        if (!why[0] || !memchr(why, 0, sizeof(why)))
            abort();
    } else if (o.arg_count > OPTIONS_ARGS_MAX || o.module_count > OPTIONS_MODULES_MAX ||
               o.disk_count > OPTIONS_DISKS_MAX) {
        abort();
    }
    for (int i = 1; i < argc; i++)
        if (options_number(argv[i], 5, 500, &number) && (number < 5 || number > 500))
            abort();
}

static void try_urls(char *text)
{
    char base[URL_MAX], path[200], name[IMAGE_NAME_SIZE], print[FINGERPRINT_TEXT];
    uint8_t sha256[SHA256_SIZE], again[SHA256_SIZE];

    if (!url_base(text, base) && (!memchr(base, 0, sizeof(base)) || !base[0]))
        abort();
    if (url_path(path, sizeof(path), "/v1/guests/%s/console?x=%s", text, text))
        for (const char *p = path; *p; p++)
            if (*p <= ' ' || *p >= 0x7f)
                abort();
    url_image_name("guest", text, 3, name);
    if (!memchr(name, 0, sizeof(name)) || strlen(name) < sizeof("guest"))
        abort();
    if (url_fingerprint(text, sha256)) {
        url_fingerprint_text(sha256, print);
        if (!url_fingerprint(print, again) || memcmp(sha256, again, sizeof(again)) != 0)
            abort();
    }
}

static void take_event(void *ctx, const char *data)
{
    unsigned *count = ctx;

    if (strlen(data) >= SSE_DATA_MAX || strchr(data, '\n'))
        abort();
    (*count)++;
}

/* The events are the same, however the bytes are split. */
static void try_events(const char *text, size_t n)
{
    static struct sse whole, parts;
    unsigned of_whole = 0, of_parts = 0;

    memset(&whole, 0, sizeof(whole));
    memset(&parts, 0, sizeof(parts));
    whole.take = parts.take = take_event;
    whole.ctx = &of_whole;
    parts.ctx = &of_parts;
    sse_feed(&whole, text, n);
    for (size_t i = 0; i < n; i++)
        sse_feed(&parts, text + i, 1);
    if (of_whole != of_parts)
        abort();
    sse_reset(&whole);
}

static void try_words(char *text)
{
    char buf[300], *pointer = strchr(text, '\n');

    if (pointer)
        *pointer++ = 0;
    words_refusal(buf, sizeof(buf), text, pointer ? pointer : "");
    if (!memchr(buf, 0, sizeof(buf)))
        abort();
    check_clean(buf, "");
}

/* Answers of an appliance that reports arbitrary end positions. */
static void try_place(const char *text, size_t n)
{
    struct place p = {0};

    while (n >= 3) {
        size_t length = (uint8_t)text[0], known = SIZE_MAX;
        uint64_t missing, end = (uint64_t)(uint8_t)text[1] * (text[2] & 1 ? 1 : 1ull << 56);
        bool anew;

        text += 3;
        n -= 3;
        if (length > n)
            length = n;
        if (end < length)
            end = length;
        anew = place_find(&p, text, length, end, &known, &missing) == PLACE_ANEW;
        if (!anew && known > length)
            abort();
        if (anew)
            p = (struct place){0};
        else
            place_take(&p, text + known, length - known);
        if (place_from(&p) > p.next || p.length > PLACE_TAIL)
            abort();
        text += length;
        n -= length;
    }
}

/* One appliance on its own, and as one of three. */
static void tell(const struct top_sample *before, const struct top_sample *now,
                 struct top_row *rows, unsigned count, enum top_key key, unsigned width)
{
    struct top_host hosts[] = {{.before = before, .now = now},
                               {.name = "rack-2", .lost = true},
                               {.name = "rack-3", .now = before}};
    char buf[2000];

    for (unsigned several = 0; several < 2; several++) {
        hosts[0].name = several ? "rack-1" : NULL;
        for (unsigned i = 0; i < count; i++)
            rows[i].host = hosts[0].name;
        top_tell(buf, sizeof(buf), hosts, several ? 3 : 1, rows, count, key, width, 20);
        if (!memchr(buf, 0, sizeof(buf)))
            abort();
        check_clean(buf, "\n");
    }
}

/* Two looks of any content. */
static void try_top(const char *text, size_t n)
{
    static struct top_sample looks[2];
    struct top_row rows[TOP_GUESTS_MAX];
    unsigned count;

    memset(looks, 0, sizeof(looks));
    memcpy(looks, text, n < sizeof(looks) ? n : sizeof(looks));
    for (unsigned i = 0; i < 2; i++) {
        looks[i].core_count %= TOP_CORES_MAX + 1;
        looks[i].guest_count %= TOP_GUESTS_MAX + 1;
        for (unsigned k = 0; k < TOP_GUESTS_MAX; k++)
            looks[i].guests[k].name[32] = looks[i].guests[k].state[23] = 0;
    }
    count = top_compare(&looks[0], &looks[1], rows);
    if (count > TOP_GUESTS_MAX)
        abort();
    for (unsigned key = 0; key < TOP_KEYS; key++) {
        top_sort(rows, count, key);
        tell(&looks[0], &looks[1], rows, count, key, (uint8_t)text[0]);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char *text;
    uint8_t what;

    if (size < 2)
        return 0;
    what = *data++ % 7;
    size--;
    text = malloc(size + 1);
    memcpy(text, data, size);
    text[size] = 0;
    switch (what) {
    case 0:
        try_clean(text);
        break;
    case 1:
        try_options(text);
        break;
    case 2:
        try_urls(text);
        break;
    case 3:
        try_events(text, size);
        break;
    case 4:
        try_words(text);
        break;
    case 5:
        try_place(text, size);
        break;
    default:
        try_top(text, size);
    }
    free(text);
    return 0;
}

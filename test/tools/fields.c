/* Prints the tables hv/config_fields.def, hv/words.def and hv/actions.def as JSON, for
 * test/tools/documents.py. */
#include "mgmt/config/config.h"
#include "mgmt/config/presets.h"
#include "mgmt/words.h"

#include <inttypes.h>
#include <stdio.h>

struct field {
    const char *object, *name, *kind, *words, *option, *value, *help, *more;
    size_t size;
    int64_t least, most;
    int64_t preset;   /* for numbers */
    const char *text; /* for text, else NULL */
};

#define FIELD(object, type, name, member, kind, least, most, preset, words, option, value, help,   \
              more)                                                                                \
    {object, #name,  #kind,                                                                        \
     #words, option, value,                                                                        \
     help,   more,   sizeof(((struct type *)0)->member),                                           \
     least,  most,   PRESET_##kind(preset)},

static const struct field fields[] = {
#define GUEST(name, kind, least, most, preset, words, option, value, help, more)                   \
    FIELD("guest", guest_config, name, name, kind, least, most, preset, words, option, value,      \
          help, more)
#define NET(name, kind, least, most, preset, words, option, value, help, more)                     \
    FIELD("net", net_config, name, name, kind, least, most, preset, words, option, value, help,    \
          more)
#define MODULE(name, kind, least, most, preset, words, option, value, help, more)                  \
    FIELD("module", config_module, name, name, kind, least, most, preset, words, option, value,    \
          help, more)
#define DISK(name, kind, least, most, preset, words, option, value, help, more)                    \
    FIELD("disk", config_disk, name, name, kind, least, most, preset, words, option, value, help,  \
          more)
#define SHARED(name, kind, least, most, preset, words, help, more)                                 \
    FIELD("shared", config_shared, name, name, kind, least, most, preset, words, NULL, NULL, help, \
          more)
#define MANAGEMENT(name, member, kind, least, most, preset, words, help, more)                     \
    FIELD("management", management_config, name, member, kind, least, most, preset, words, NULL,   \
          NULL, help, more)
#define SYSLOG(name, member, kind, least, most, preset, words, help, more)                         \
    FIELD("syslog", management_config, name, member, kind, least, most, preset, words, NULL, NULL, \
          help, more)
#define TOKEN(name, kind, least, most, preset, words, help, more)                                  \
    FIELD("token", service_token, name, name, kind, least, most, preset, words, NULL, NULL, help,  \
          more)
#define UPLINK(name, member, kind, least, most, preset, words, help, more)                         \
    FIELD("uplinks", config, name, member, kind, least, most, preset, words, NULL, NULL, help, more)
#define TOP(name, member, kind, least, most, preset, words, help, more)                            \
    FIELD("top", config, name, member, kind, least, most, preset, words, NULL, NULL, help, more)
#include "hv/config_fields.def"
/* For fields with parts of their own. */
#define MANAGEMENT_PART(name, member, kind, least, most, preset, words, help, more)                \
    {"management", #name, #kind, #words, NULL, NULL, help, more, 0, least, most, 0, NULL},
#define TOP_PART(name, member, kind, least, most, preset, words, help, more)                       \
    {"top", #name, #kind, #words, NULL, NULL, help, more, 0, least, most, 0, NULL},
#include "hv/config_fields.def"
};

static const struct {
    const char *name;
    const char *const *words;
} lists[] = {
#define WORDS(name, ...) {"words_" #name, words_##name},
#include "hv/words.def"
#undef WORDS
};

static const struct {
    const char *word;
    uint32_t states;
} actions[] = {
#define ACTION(name, word, request, states, ...) {word, states},
#include "hv/actions.def"
};

static void put(const char *name, const char *text)
{
    printf(",\n  \"%s\": ", name);
    if (!text) {
        (void)fputs("null", stdout);
        return;
    }
    (void)putchar('"');
    for (; *text; text++)
        printf("%s%c", *text == '"' || *text == '\\' ? "\\" : "", *text);
    (void)putchar('"');
}

static void put_field(const struct field *f, bool last)
{
    printf(" {\"size\": %zu, \"least\": %" PRId64 ", \"most\": %" PRId64 ", \"preset\": %" PRId64,
           f->size, f->least, f->most, f->preset);
    put("object", f->object);
    put("name", f->name);
    put("kind", f->kind);
    put("words", f->words);
    put("option", f->option);
    put("value", f->value);
    put("help", f->help);
    put("more", f->more);
    put("text", f->text);
    puts(last ? "}" : "},");
}

int main(void)
{
    puts("{\"fields\": [");
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        put_field(&fields[i], i + 1 == ARRAY_LEN(fields));
    puts("], \"words\": {");
    for (size_t i = 0; i < ARRAY_LEN(lists); i++) {
        printf(" \"%s\": [", lists[i].name);
        for (const char *const *w = lists[i].words; *w; w++)
            printf("%s\"%s\"", w == lists[i].words ? "" : ", ", *w);
        puts(i + 1 == ARRAY_LEN(lists) ? "]" : "],");
    }
    puts("}, \"actions\": [");
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        printf(" {\"word\": \"%s\", \"states\": %" PRIu32 "}%s\n", actions[i].word,
               actions[i].states, i + 1 == ARRAY_LEN(actions) ? "" : ",");
    puts("]}");
    return 0;
}

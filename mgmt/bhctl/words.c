#include "mgmt/bhctl/words.h"

#include "mgmt/bhctl/format.h"
#include "mgmt/bhctl/options.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *api, *ours;
} commands[] = {
    {"GET /v1/guests lists", "\"bhctl guests\" lists"},
    {"GET /v1/images lists", "\"bhctl images\" lists"},
    {"GET .../vmcs/snapshots lists", "--snapshots lists"},
};

const char *words_option(const char *pointer)
{
    static const char *const tails[] = {"", "_us", "_ms", "d_us", "s"};

    if (pointer[0] != '/')
        return NULL;
    pointer++;
    for (unsigned i = OPTIONS_GLOBAL; i < OPTIONS; i++) {
        const char *name = option_spec(i)->name;
        size_t n = 0;

        if (i == OPTION_IMAGE)
            continue; /* the image may also be of a file */

        while (name[n] && (pointer[n] == name[n] || (pointer[n] == '_' && name[n] == '-')))
            n++;
        for (size_t t = 0; !name[n] && t < ARRAY_LEN(tails); t++) {
            size_t length = strlen(tails[t]);

            if (strncmp(pointer + n, tails[t], length) == 0 &&
                (pointer[n + length] == 0 || pointer[n + length] == '/'))
                return name;
        }
    }
    return NULL;
}

/* Behind "1:54: memory: ". */
static const char *skip_place(const char *s)
{
    static const char digits[] = "0123456789";
    const char *p = s + strspn(s, digits);

    if (p == s || *p != ':')
        return s;
    p += 1 + strspn(p + 1, digits);
    if (strncmp(p, ": ", 2) != 0)
        return s;
    p += 2;
    s = p;
    p += strcspn(p, ": ");
    return strncmp(p, ": ", 2) == 0 ? p + 2 : s;
}

void words_refusal(char *buf, size_t size, const char *message, const char *pointer)
{
    const char *option = words_option(pointer), *found = NULL;
    size_t i = 0;

    if (*pointer)
        message = skip_place(message);
    for (; i < ARRAY_LEN(commands) && !found; i++)
        found = strstr(message, commands[i].api);
    (void)snprintf(buf, size, "%s%s%s",
                   option     ? "--"
                   : *pointer ? pointer + 1
                              : "",
                   option ? option : "", *pointer ? ": " : "");
    if (found)
        (void)snprintf(buf + strlen(buf), size - strlen(buf), "%.*s%s%s", (int)(found - message),
                       message, commands[i - 1].ours, found + strlen(commands[i - 1].api));
    else
        (void)snprintf(buf + strlen(buf), size - strlen(buf), "%s", message);
    format_clean(buf, "");
}

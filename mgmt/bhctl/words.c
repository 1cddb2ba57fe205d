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
    {"GET .../vmcb/snapshots lists", "--snapshots lists"},
    {"use .../vmcb", "use \"bhctl vmcb\""},
    {"use .../vmcs", "use \"bhctl vmcs\""},
    {"say \"kind\": \"flat\"", "say --kind flat"},
    {"of \"kind\": ", "of --kind "},
};

/* Is the pointer this one, or inside it? */
static bool is_in(const char *pointer, const char *outer)
{
    size_t n = strlen(outer);

    return strncmp(pointer, outer, n) == 0 && (pointer[n] == 0 || pointer[n] == '/');
}

const char *words_option(const char *pointer)
{
    for (unsigned i = OPTION_FIELDS_OF_GUESTS + 1; i < OPTIONS; i++)
        if (option_spec(i)->name && is_in(pointer, option_spec(i)->pointer))
            return option_spec(i)->name;
    if (is_in(pointer, "/modules"))
        return option_spec(OPTION_MODULE)->name;
    if (is_in(pointer, "/disks"))
        return option_spec(OPTION_DISK)->name;
    /* The image may also come from a file. */
    return is_in(pointer, "/name") ? option_spec(OPTION_NAME)->name : NULL;
}

/* What follows "1:54: memory: ". */
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

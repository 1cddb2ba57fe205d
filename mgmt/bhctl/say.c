/* How bhctl prints, and how it reads the appliance's answers. */
#include "mgmt/bhctl/bhctl.h"
#include "mgmt/bhctl/format.h"

#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int complain(int status, const char *format, ...)
{
    char text[2048];
    va_list ap;

    term_restore();
    (void)fflush(stdout);
    va_start(ap, format);
    (void)vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    format_clean(text, "\n");
    (void)fprintf(stderr, "bhctl: %s\n", text);
    return status;
}

void say_note(const char *format, ...)
{
    va_list ap;

    (void)fflush(stdout);
    (void)fputs(term_is_raw() ? "\r\n[" : "bhctl: ", stderr);
    va_start(ap, format);
    (void)vfprintf(stderr, format, ap);
    va_end(ap);
    (void)fputs(term_is_raw() ? "]\r\n" : "\n", stderr);
}

const char *text_of(const json_t *object, const char *name)
{
    const char *s = json_string_value(json_object_get(object, name));

    return s ? s : "";
}

uint64_t number_of(const json_t *object, const char *name)
{
    return (uint64_t)json_integer_value(json_object_get(object, name));
}

bool say_nobody_reads(void)
{
    struct pollfd out = {.fd = STDOUT_FILENO};

    return poll(&out, 1, 0) == 1 && (out.revents & (POLLERR | POLLHUP));
}

int say_end(void)
{
    bool now = fflush(stdout) != 0;
    int why = errno; /* otherwise most likely an earlier write's */

    if (!now && !ferror(stdout))
        return EXIT_OK;
    if ((now && why == EPIPE) || say_nobody_reads())
        return EXIT_ENOUGH;
    return complain(EXIT_USAGE, "standard output: %s",
                    why ? strerror(why) : "not all could be written");
}

void say_text(const char *text, int width)
{
    char *clean = strdup(text);

    if (!clean)
        return;
    format_clean(clean, "");
    (void)printf("%-*s", width, clean);
    free(clean);
}

void say_field(const char *name, const char *format, ...)
{
    char text[1024];
    va_list ap;

    va_start(ap, format);
    (void)vsnprintf(text, sizeof(text), format, ap);
    va_end(ap);
    (void)printf("%s%s%*s", name, *name ? ":" : " ",
                 (int)(strlen(name) < 14 ? 15 - strlen(name) : 1), "");
    say_text(text, 0);
    (void)putchar('\n');
}

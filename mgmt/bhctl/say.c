/* What bhctl says, and how it reads what the appliance said. */
#include "mgmt/bhctl/bhctl.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int complain(int status, const char *format, ...)
{
    va_list ap;

    term_restore();
    (void)fflush(stdout);
    (void)fputs("bhctl: ", stderr);
    va_start(ap, format);
    (void)vfprintf(stderr, format, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    return status;
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

int say_end(void)
{
    if (fflush(stdout) || ferror(stdout))
        return complain(EXIT_USAGE, "standard output: %s", strerror(errno));
    return EXIT_OK;
}

void say_text(const char *text)
{
    for (; *text; text++)
        (void)putchar((unsigned char)*text < ' ' || *text == 0x7f ? '?' : *text);
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
    say_text(text);
    (void)putchar('\n');
}

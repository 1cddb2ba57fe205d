#include "mgmt/bhctl/sse.h"

#include <stdio.h>
#include <string.h>

void sse_reset(struct sse *s)
{
    s->length = 0;
    s->too_long = s->has_data = false;
}

static void end_line(struct sse *s)
{
    const char *value;

    if (s->length && s->line[s->length - 1] == '\r')
        s->length--;
    s->line[s->length] = 0;
    if (s->length == 0 && !s->too_long) {
        if (s->has_data)
            s->take(s->ctx, s->data);
        s->has_data = false;
    } else if (!s->too_long && strncmp(s->line, "data:", 5) == 0) {
        value = s->line + 5 + (s->line[5] == ' ');
        s->has_data = strlen(value) < sizeof(s->data);
        (void)snprintf(s->data, sizeof(s->data), "%s", value);
    }
    s->length = 0;
    s->too_long = false;
}

void sse_feed(struct sse *s, const char *bytes, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes[i] == '\n')
            end_line(s);
        else if (s->length + 1 < sizeof(s->line))
            s->line[s->length++] = bytes[i];
        else
            s->too_long = true;
    }
}

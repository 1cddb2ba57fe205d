#include "mgmt/audit.h"

#include "hv/fmt.h"

#define PATH_MAX 96u
#define WHAT_MAX 48u

static void close_window(struct audit_window *w, const char *what, audit_note *note)
{
    char line[AUDIT_LINE];

    if (w->left_out) {
        (void)fmt(line, sizeof(line), "audit: %u more %s in %u s, not listed", w->left_out, what,
                  AUDIT_WINDOW_MS / 1000);
        note(line);
    }
    *w = (struct audit_window){0};
}

void audit_poll(struct audit *a, uint64_t now_ms, audit_note *note)
{
    if (a->refusals.open && now_ms - a->refusals.since_ms >= AUDIT_WINDOW_MS)
        close_window(&a->refusals, "requests refused", note);
    if (a->changes.open && now_ms - a->changes.since_ms >= AUDIT_WINDOW_MS)
        close_window(&a->changes, "changes", note);
}

/* Sources without an entry share the last one. */
static struct audit_source *source_of(struct audit_window *w, uint64_t key)
{
    for (uint32_t i = 0; i < w->source_count; i++)
        if (w->sources[i].key == key)
            return &w->sources[i];
    if (w->source_count == AUDIT_SOURCES)
        return &w->sources[AUDIT_SOURCES - 1];
    w->sources[w->source_count] = (struct audit_source){.key = key};
    return &w->sources[w->source_count++];
}

static bool may_say(struct audit_window *w, uint64_t key, uint32_t each, uint32_t all,
                    uint64_t now_ms)
{
    struct audit_source *s;

    if (!w->open)
        w->since_ms = now_ms;
    w->open = true;
    s = source_of(w, key);
    if (s->lines >= each || w->lines >= all) {
        w->left_out++;
        return false;
    }
    s->lines++;
    w->lines++;
    return true;
}

/* Copies up to `end` or to the end of the text. */
static void put_clean(char *out, size_t size, const char *text, char end)
{
    size_t n = 0;

    for (; n < size - 1 && text[n] && text[n] != end; n++)
        out[n] = (char)(text[n] > ' ' && text[n] < 0x7f ? text[n] : '?');
    out[n] = 0;
}

/* `outcome`: behind the request, such as ": 200". */
static void say(const struct audit_event *e, const char *who, const char *outcome, audit_note *note)
{
    char line[AUDIT_LINE], path[PATH_MAX], what[WHAT_MAX];

    put_clean(path, sizeof(path), e->target, '?');
    put_clean(what, sizeof(what), e->what, 0);
    (void)fmt(line, sizeof(line), "%s from %s: %s %s%s%s: %s", who, e->from, e->method, path,
              what[0] ? " " : "", what, outcome);
    note(line);
}

static void say_status(const struct audit_event *e, const char *who, audit_note *note)
{
    char status[16];

    (void)fmt(status, sizeof(status), "%u", e->status);
    say(e, who, status, note);
}

static const char *who_is(const struct audit_event *e)
{
    return e->name[0] ? e->name : "(anybody)";
}

void audit_refusal(struct audit *a, const struct audit_event *e, uint64_t now_ms, audit_note *note)
{
    char who[64];

    audit_poll(a, now_ms, note);
    if (!may_say(&a->refusals, e->source, AUDIT_EACH, AUDIT_ALL, now_ms))
        return;
    if (e->name[0] && e->role)
        (void)fmt(who, sizeof(who), "refused: %s (%s)", e->name, e->role);
    else
        (void)fmt(who, sizeof(who), "refused: unknown client");
    say_status(e, who, note);
}

void audit_change(struct audit *a, const struct audit_event *e, uint64_t now_ms, audit_note *note)
{
    audit_poll(a, now_ms, note);
    if (may_say(&a->changes, e->source, AUDIT_CHANGES, UINT32_MAX, now_ms))
        say_status(e, who_is(e), note);
}

uint32_t audit_wait(struct audit *a, const struct audit_event *e, uint64_t now_ms, audit_note *note)
{
    char outcome[48];

    audit_poll(a, now_ms, note);
    if (!may_say(&a->changes, e->source, AUDIT_CHANGES, UINT32_MAX, now_ms))
        return 0;
    a->waited += a->waited == UINT32_MAX ? 2 : 1; /* 0 is no number */
    (void)fmt(outcome, sizeof(outcome), "202, request %u waits", a->waited);
    say(e, who_is(e), outcome, note);
    return a->waited;
}

void audit_end(const struct audit_event *e, uint32_t number, audit_note *note)
{
    char outcome[64];

    if (e->status)
        (void)fmt(outcome, sizeof(outcome), "%u, request %u waited", e->status, number);
    else
        (void)fmt(outcome, sizeof(outcome), "its client left while request %u waited", number);
    say(e, who_is(e), outcome, note);
}

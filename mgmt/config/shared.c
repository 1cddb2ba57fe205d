/* "shared": memory between guests. Read last, because its peers are guests. */
#include "mgmt/config/parse.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/words.h"

void config_parse_regions(struct parser *p, const struct field *f, int t, void *object)
{
    (void)f;
    (void)object;
    p->shared = t;
}

void config_parse_size(struct parser *p, const struct field *f, int t, void *object)
{
    struct config_shared *s = object;

    (void)f;
    if (!config_read_bytes(p, t, CONFIG_SHARED_MOST, &s->size))
        s->size = 0; /* which is refused */
}

void config_parse_peers(struct parser *p, const struct field *f, int t, void *object)
{
    struct config_shared *s = object;
    const jsmntok_t *k = &p->json.tokens[t];

    (void)f;
    s->peer_count = 0;
    if (k->type != JSMN_ARRAY || k->size > (int)CONFIG_PEERS_MAX)
        return; /* too few are refused */
    for (int i = 0, at = t + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        char *name = s->peers[s->peer_count++];

        if (json_string(&p->json, at, name, sizeof(s->peers[0])))
            name[0] = 0; /* likewise */
    }
}

static const struct field shared_fields[] = {
#define SHARED(name, kind, least, most, preset, words, ...)                                        \
    FIELD(config_shared, #name, name, kind, least, most, words)
#include "hv/config_fields.def"
};

static struct guest_config *find_guest(struct config *c, const char *name)
{
    for (unsigned i = 0; i < c->guest_count; i++)
        if (strcmp(c->guests[i].name, name) == 0)
            return &c->guests[i];
    return NULL;
}

/* The guests whose regions are too many with this one, or too large. */
static bool is_too_much(struct parser *p, int t, const struct config_shared *s)
{
    char text[128];

    for (unsigned i = 0; i < s->peer_count; i++) {
        const struct guest_config *g = find_guest(p->config, s->peers[i]);
        const char *fault = config_shared_fault_of(g);

        if (!fault)
            continue;
        (void)fmt(text, sizeof(text), "\"%s\": %s", g->name, fault);
        config_error_at(p, t, "peers", text);
        return true;
    }
    return false;
}

static bool has_unknown_peer(struct parser *p, int t, const struct config_shared *s)
{
    char text[128];

    for (unsigned i = 0; i < s->peer_count; i++) {
        if (find_guest(p->config, s->peers[i]))
            continue;
        (void)fmt(text, sizeof(text), "no guest \"%s\" is in \"guests\", or it has an error",
                  s->peers[i]);
        config_error_at(p, t, "peers", text);
        return true;
    }
    return false;
}

void config_join(const struct config *c, struct guest_config *g)
{
    g->shared_count = 0;
    for (unsigned i = 0; i < c->shared_count; i++) {
        if (config_shared_id(&c->shared[i], g->name) < 0)
            continue;
        if (g->shared_count < CONFIG_GUEST_SHARED_MAX)
            g->shared[g->shared_count] = c->shared[i];
        g->shared_count++;
        g->devices |= DEV_PCI;
    }
}

static void join_all(struct config *c)
{
    for (unsigned i = 0; i < c->guest_count; i++)
        config_join(c, &c->guests[i]);
}

/* The region that was read last; false: it is left out. */
static bool check(struct parser *p, int t, const struct config_shared *s)
{
    const char *field, *fault = config_shared_fault(s, &field);

    for (unsigned i = 0; !fault && i < p->config->shared_count; i++)
        if (strcmp(p->config->shared[i].name, s->name) == 0) {
            field = "name";
            fault = "another region has this name";
        }
    if (fault)
        config_error_at(p, t, field, fault);
    if (fault || has_unknown_peer(p, t, s))
        return false;
    p->config->shared_count++;
    join_all(p->config);
    if (!is_too_much(p, t, s))
        return true;
    p->config->shared_count--;
    join_all(p->config);
    return false;
}

static void read_region(struct parser *p, int t)
{
    struct config_shared *s = &p->config->shared[p->config->shared_count];
    int before = p->errors;

    memset(s, 0, sizeof(*s));
    if (p->json.tokens[t].type != JSMN_OBJECT) {
        config_error_at(p, t, "", "a region is {\"name\": ..., \"size\": ..., \"peers\": [...]}");
        return;
    }
    config_parse_object(p, t, shared_fields, ARRAY_LEN(shared_fields), s);
    if (p->errors == before)
        (void)check(p, t, s);
}

void config_parse_shared(struct parser *p)
{
    const jsmntok_t *k = &p->json.tokens[p->shared];

    if (!p->shared)
        return;
    if (k->type != JSMN_ARRAY || k->size > CONFIG_SHARED_MAX) {
        config_error_at(p, p->shared, "shared", "must be a list of at most 8 regions");
        return;
    }
    for (int i = 0, at = p->shared + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        (void)fmt(p->path, sizeof(p->path), "shared[%d].", i);
        read_region(p, at);
    }
    p->path[0] = 0;
}

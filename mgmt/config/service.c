#include "mgmt/config/parse.h"

#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/words.h"

/* Exactly f->size bytes in hexadecimal. */
void config_parse_bytes(struct parser *p, const struct field *f, int t, void *object)
{
    char hex[2 * TOKEN_SHA256_SIZE + 1], text[64];
    uint8_t *out = (uint8_t *)object + f->offset;
    bool good = json_string(&p->json, t, hex, sizeof(hex)) == 0 && strlen(hex) == 2 * f->size;

    for (size_t i = 0; good && i < f->size; i++) {
        int high = config_hex_digit(hex[2 * i]), low = config_hex_digit(hex[2 * i + 1]);

        good = high >= 0 && low >= 0;
        if (good)
            out[i] = (uint8_t)(high << 4 | low);
    }
    if (good)
        return;
    (void)fmt(text, sizeof(text), "must be %zu bytes in lower-case hexadecimal", f->size);
    config_error_at(p, t, f->name, text);
}

static const struct field token_fields[] = {
#define TOKEN(name, kind, least, most, preset, words, ...)                                         \
    FIELD(service_token, #name, name, kind, least, most, words)
#include "hv/config_fields.def"
};

static void check_token(struct parser *p, int t, const struct service_config *m)
{
    const struct service_token *k = &m->tokens[m->token_count];

    if (!config_name_is_good(k->name))
        config_error_at(p, t, "name", "must be there, of a-z, 0-9 and '-'");
    for (unsigned i = 0; i < m->token_count; i++)
        if (strcmp(m->tokens[i].name, k->name) == 0)
            config_error_at(p, t, "name", "another token has this name");
    if (k->role == ROLE_NONE)
        config_error_at(p, t, "role", "is missing");
    if (bytes_are_zero(k->salt, sizeof(k->salt)))
        config_error_at(p, t, "salt", "is missing");
    if (bytes_are_zero(k->sha256, sizeof(k->sha256)))
        config_error_at(p, t, "sha256", "is missing");
}

static void parse_tokens(struct parser *p, const struct field *f, int t, void *object)
{
    struct service_config *m = object;
    const jsmntok_t *k = &p->json.tokens[t];
    size_t len = strlen(p->path);

    if (k->type != JSMN_ARRAY || k->size == 0 || k->size > (int)SERVICE_TOKENS_MAX) {
        config_error_at(p, t, f->name, "must be a list of 1 to 16 tokens");
        return;
    }
    for (int i = 0, at = t + 1; i < k->size; i++, at = json_skip(&p->json, at)) {
        if (p->json.tokens[at].type != JSMN_OBJECT) {
            config_error_at(p, at, f->name,
                            "a token is {\"name\": ..., \"role\": ..., \"salt\": ..., "
                            "\"sha256\": ...}");
            return;
        }
        (void)fmt(p->path + len, sizeof(p->path) - len, "tokens[%d].", i);
        config_parse_object(p, at, token_fields, ARRAY_LEN(token_fields), &m->tokens[i]);
        check_token(p, at, m);
        m->token_count++;
        p->path[len] = 0;
    }
    m->auth = AUTH_TOKENS;
}

static const struct field auth_fields[] = {
    {"tokens", parse_tokens, 0, 0, 0, 0, NULL},
};

void config_parse_auth(struct parser *p, const struct field *f, int t, void *object)
{
    struct management_config *m = object;
    size_t len = strlen(p->path);

    if (json_is(&p->json, t, "none")) {
        m->service.auth = AUTH_NONE;
        return;
    }
    if (p->json.tokens[t].type != JSMN_OBJECT) {
        config_error_at(p, t, f->name, "must be {\"tokens\": [...]}, or \"none\"");
        return;
    }
    (void)str_copy(p->path + len, sizeof(p->path) - len, "auth.");
    config_parse_object(p, t, auth_fields, ARRAY_LEN(auth_fields), &m->service);
    p->path[len] = 0;
}

void config_parse_server(struct parser *p, const struct field *f, int t, void *object)
{
    char text[32];

    if (json_string(&p->json, t, text, sizeof(text)) ||
        !config_parse_ip(text, (uint8_t *)object + f->offset, NULL))
        config_error_at(p, t, f->name, "must be an address such as \"10.0.2.2\"");
}

static const struct field syslog_fields[] = {
#define SYSLOG(name, member, kind, least, most, preset, words, ...)                                \
    FIELD(management_config, #name, member, kind, least, most, words)
#include "hv/config_fields.def"
};

void config_parse_syslog(struct parser *p, const struct field *f, int t, void *object)
{
    struct management_config *m = object;
    size_t len = strlen(p->path);

    if (p->json.tokens[t].type != JSMN_OBJECT) {
        config_error_at(p, t, f->name,
                        "must be {\"server\": ADDRESS, \"port\": 514, \"consoles\": false}");
        return;
    }
    (void)str_copy(p->path + len, sizeof(p->path) - len, "syslog.");
    config_parse_object(p, t, syslog_fields, ARRAY_LEN(syslog_fields), m);
    if (bytes_are_zero(m->service.syslog_server, sizeof(m->service.syslog_server)))
        config_error_at(p, t, "server", "is missing");
    p->path[len] = 0;
}

static bool is_port(const char *s, uint16_t *port)
{
    uint32_t v = 0;

    if (!*s)
        return false;
    for (; *s; s++) {
        if (*s < '0' || *s > '9' || v > UINT16_MAX)
            return false;
        v = v * 10 + (uint32_t)(*s - '0');
    }
    *port = (uint16_t)v;
    return v > 0 && v <= UINT16_MAX;
}

/* RFC 1123 2.1: letters, digits and hyphens between dots, no hyphen at either end; an IPv4 address
 * is also such a name. */
static bool is_host(const char *s, size_t n)
{
    char before = '.';

    for (size_t i = 0; i < n; before = s[i++]) {
        bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= 'A' && s[i] <= 'Z');
        bool edge = before == '.';

        if (!letter && !(s[i] >= '0' && s[i] <= '9') && (edge || (s[i] != '-' && s[i] != '.')))
            return false;
        if (s[i] == '.' && before == '-')
            return false;
    }
    return n > 0 && before != '-';
}

static bool is_ip6(const char *s, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (s[i] != ':' && s[i] != '.' && !(s[i] >= '0' && s[i] <= '9') &&
            !(s[i] >= 'a' && s[i] <= 'f') && !(s[i] >= 'A' && s[i] <= 'F'))
            return false;
    return true;
}

bool config_split_server(const char *s, char *host, size_t size, uint16_t *port)
{
    size_t n = 0, colons = 0, length;

    for (length = 0; s[length]; length++) {
        n = s[length] == ':' && colons == 0 ? length : n;
        colons += s[length] == ':';
    }
    if (colons == 0)
        n = length;
    if (colons > 1)
        n = is_ip6(s, length) ? length : 0;
    else if (!is_host(s, n) || (colons && !is_port(s + n + 1, port)))
        return false;
    if (n == 0 || n >= size)
        return false;
    memcpy(host, s, n);
    host[n] = 0;
    return true;
}

/* Accepts "" too, which counts as absent. */
void config_parse_host(struct parser *p, const struct field *f, int t, void *object)
{
    const char *text = (const char *)object + f->offset;
    char host[sizeof(((struct service_config *)0)->ntp)];
    int before = p->errors;
    uint16_t port;

    config_parse_text(p, f, t, object);
    if (p->errors == before && text[0] && !config_split_server(text, host, sizeof(host), &port))
        config_error_at(p, t, f->name,
                        "must be a name or an address, or HOST:PORT with a port from 1 to 65535");
}

void config_check_service(struct parser *p, int t, const struct service_config *m)
{
    size_t n = strlen(m->hostname);

    if (!config_name_is_good(m->hostname) || m->hostname[n - 1] == '-')
        config_error_at(p, t, "hostname",
                        "must consist of a-z, 0-9 and '-', and not begin or end with '-'");
    if (!m->certificate[0] != !m->key[0])
        config_error_at(p, t, m->key[0] ? "certificate" : "key",
                        "is missing: certificate and key come together");
}

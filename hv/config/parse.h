/* What the parts of the configuration's parser share. */
#pragma once

#include "hv/config.h"
#include "hv/json.h"

#define MB       (1ull << 20)
#define CORE_MAX 63

struct parser {
    struct json json;
    struct config *config;
    config_report *report;
    void *ctx;
    int errors;
    char path[48]; /* "guests[1].", what comes before a field's name */
};

struct field;
typedef void field_parse(struct parser *p, const struct field *f, int t, void *object);

/* One member of an object: parse(p, token, destination). */
struct field {
    const char *name;
    field_parse *parse;
    size_t offset, size;
    int64_t min, max;
    const char *const *names; /* of parse_choice */
};

#define AT(type, member) offsetof(struct type, member), sizeof(((struct type *)0)->member)

void config_error_at(struct parser *p, int t, const char *field, const char *text);

/* A string that fits. */
field_parse config_parse_text;
/* The same for the name of a file. */
field_parse config_parse_file;
/* A whole number from min to max, into 32 or 64 bits. */
field_parse config_parse_number;
/* A multiple of 2 MB. */
field_parse config_parse_memory;
/* One of names[min..max], stored as its index in 32 bits. */
field_parse config_parse_choice;
/* true or false, stored as a 16-bit number. */
field_parse config_parse_switch;

/* Members of an object; unknown ones are errors. */
void config_parse_object(struct parser *p, int t, const struct field *fields, size_t count,
                         void *object);
bool config_memory_is_good(uint64_t bytes);
/* [a-z0-9][a-z0-9-]* */
bool config_name_is_good(const char *s);
/* No control characters, and not one of the appliance's own. */
bool config_file_is_good(const char *s);

/* Of struct abi_management. */
void config_default_service(struct abi_management *m);
field_parse config_parse_auth, config_parse_https_port, config_parse_syslog;
/* After all of "management" was read: what does not go together. */
void config_check_service(struct parser *p, int t, const struct abi_management *m);
extern const char *const config_http_names[];
/* "10.0.2.15", and with `prefix` also "/24". */
bool config_parse_ip(const char *s, uint8_t ip[4], unsigned *prefix);

field_parse config_parse_guests, config_parse_management;
field_parse config_parse_net, config_parse_mac_prefix;
bool config_net_address_is_ipv4(const struct net_address *a, const uint8_t ip[4]);
bool config_net_is_good(const struct net_config *c);
/* One entry of "guests", where p->path is set. True: without errors. */
bool config_parse_guest_object(struct parser *p, int t, struct guest_config *g);

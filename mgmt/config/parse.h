/* Shared by the parts of the configuration's parser. */
#pragma once

#include "mgmt/config/config.h"
#include "mgmt/config/json.h"

#define MB (1ull << 20)

struct parser {
    struct json json;
    struct config *config;
    config_report *report;
    void *ctx;
    int errors;
    char path[48]; /* "guests[1].", the prefix of a field's name */
    int shared;    /* the token of "shared"; 0: it has not come */
};

struct field;
typedef void field_parse(struct parser *p, const struct field *f, int t, void *object);

/* One member of an object: parse(p, token, destination). */
struct field {
    const char *name; /* a row of hv/config_fields.def */
    field_parse *parse;
    size_t offset, size;
    int64_t min, max;
    const char *const *words; /* for a choice or flags, see mgmt/words.h */
};

/* `member` of struct `type`. */
#define FIELD(type, name, member, kind, least, most, words)                                        \
    {name,                                                                                         \
     config_parse_##kind,                                                                          \
     offsetof(struct type, member),                                                                \
     sizeof(((struct type *)0)->member),                                                           \
     least,                                                                                        \
     most,                                                                                         \
     words},

/* The value of a digit in lower-case hexadecimal, or -1. */
static inline int config_hex_digit(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

void config_error_at(struct parser *p, int t, const char *field, const char *text);

/* A string that fits. */
field_parse config_parse_text;
/* The same for the name of a file. */
field_parse config_parse_file;
/* A whole number from min to max, into 16 or 32 bits. */
field_parse config_parse_number, config_parse_core;
/* A list of them, into `cores` and `core_count` of a guest. */
field_parse config_parse_cores;
/* A multiple of 2 MiB. */
field_parse config_parse_memory;
/* One of words[min..max], stored as its index in 32 bits. */
field_parse config_parse_choice;
/* A list of `words`, stored as one bit each in 32 bits. */
field_parse config_parse_flags;
/* true or false, stored as a 16-bit number. */
field_parse config_parse_switch;

/* Members of an object; unknown ones are errors. */
void config_parse_object(struct parser *p, int t, const struct field *fields, size_t count,
                         void *object);

/* Checks, after all of "management" was read, that its members go together. */
void config_check_service(struct parser *p, int t, const struct service_config *m);
/* "10.0.2.15", and with `prefix` also "/24". */
bool config_parse_ip(const char *s, uint8_t ip[4], unsigned *prefix);

/* Each parses one particular field and does more than store its value. */
field_parse config_parse_guests, config_parse_management, config_parse_mac_prefix;
field_parse config_parse_net, config_parse_addresses, config_parse_modules, config_parse_disks;
field_parse config_parse_address, config_parse_gateway, config_parse_auth, config_parse_bytes;
field_parse config_parse_syslog, config_parse_server, config_parse_host;
bool config_net_address_is_ipv4(const struct net_address *a, const uint8_t ip[4]);
field_parse config_parse_uplinks, config_parse_card;
field_parse config_parse_regions, config_parse_size, config_parse_peers;
/* Reads "shared", once all else was read. */
void config_parse_shared(struct parser *p);
/* A number of bytes, or a string such as "16M"; at most `most`. */
bool config_read_bytes(struct parser *p, int t, uint64_t most, uint64_t *bytes);
/* One entry of "guests"; p->path is set. True: no errors. */
bool config_parse_guest_object(struct parser *p, int t, struct guest_config *g);

/*
 * guests.json: which guests exist and how the management service is reached. Pure; reads with jsmn.
 * One entry of its "guests" is also the body of POST /v1/guests.
 * Every error names line, column and field; a guest with an error is left out, the others remain.
 */
#pragma once

#include "hv/config.h"
#include "mgmt/service.h"

/* "management": {"address": "dhcp" | "10.0.2.15/24", "gateway": "10.0.2.2", "core": 0, "memory":
 * "12M", "budget_us": ..., "period_us": ..., and the fields of struct service_config} */
struct management_config {
    bool static_ip;
    uint8_t ip[4], netmask[4], gateway[4];
    int core; /* -1: the last core */
    uint64_t memory;
    uint32_t weight, slice_us, budget_us, period_us;
    /* At most this much of each millisecond of a core goes to management's requests: dumps, control
     * changes, typed bytes, actions. 5..50, default 30: together with the 95 % that can be
     * guaranteed, never more than the whole core. */
    uint32_t requests_us;
    struct service_config service;
};

/* Whether guests' large pages are non-executable, see arch/x86/vmx/ept.h. */
enum config_nx_large { NX_LARGE_AUTO, NX_LARGE_OFF };

struct config {
    enum smt smt;
    enum config_nx_large nx_large; /* JSON: "auto" (default): if the CPU needs it; or "off" */
    uint32_t panic_reboot_s;       /* seconds from a panic to the reset; 0: never; default 30 */
    /* "02:42:48:00:00": prefix of all guests' MAC addresses. All 0: derived from the card's address
     */
    uint8_t mac_prefix[5];
    struct net_card_name uplinks[ABI_NIC_ROLES]; /* management's, the guests' */
    struct guest_config guests[CONFIG_GUESTS_MAX];
    unsigned guest_count;
    /* Memory between guests. Each guest has copies of those that name it. */
    struct config_shared shared[CONFIG_SHARED_MAX];
    unsigned shared_count;
    unsigned file_count; /* files that the guests name, each counted once; the appliance's own three
                            are extra */
    struct management_config management;
};

struct config_error {
    uint32_t line, column; /* from 1; 0: the whole file */
    char field[64];        /* "guests[1].memory", or empty */
    char pointer[96];      /* the same as a JSON pointer (RFC 6901): "/guests/1/memory" */
    char text[160];        /* what was wrong, what is allowed */
};

typedef void config_report(void *ctx, const struct config_error *e);

/* Defaults, as if parsed from `{"guests": []}`. */
void config_default(struct config *c);
void config_default_guest(struct guest_config *g);

/* Parses text[0..len). Calls report(ctx, error) for each error, in file order. `tokens` is scratch
 * for jsmn, 65536 entries of jsmntok_t's size are enough for the largest file. Returns the number
 * of errors (0: all well); *c has whatever could be understood. `scratch` is 8-byte aligned and has
 * `scratch_size` bytes. */
int config_parse(const char *text, size_t len, void *scratch, size_t scratch_size, struct config *c,
                 config_report *report, void *ctx);

/* The same for one guest's object alone. */
int config_parse_guest(const char *text, size_t len, void *scratch, size_t scratch_size,
                       struct guest_config *g, config_report *report, void *ctx);

/* Gives a guest the regions that name it, and `pci` with them. */
void config_join(const struct config *c, struct guest_config *g);

/* Extracts what goes on the kernel's command line. */
struct boot_options;
void config_options(const struct config *c, struct boot_options *o);
/* What the kernel's command line overrides. Not the service: management reads guests.json alone. */
void config_obey(struct config *c, const struct boot_options *o);
/* Writes a command line that options_read() reads back to the same values. */
#define OPTIONS_TEXT 640u /* the longest, with the NUL */
void options_write(const struct boot_options *o, char out[OPTIONS_TEXT]);

/* Splits "HOST", "HOST:PORT" or an IPv6 address: `host` has `size` bytes, *port keeps its value if
 * the text names none. False: it is none of these. */
bool config_split_server(const char *s, char *host, size_t size, uint16_t *port) MUST_CHECK;

#define CONFIG_ADDRESS_TEXT 40u /* with the NUL */
/* "10.0.2.20", "fd00::20". */
bool config_parse_net_address(const char *s, struct net_address *a) MUST_CHECK;
void config_net_address_text(const struct net_address *a, char out[CONFIG_ADDRESS_TEXT]);
/* A card by its place or its address, with the NUL: "0000:00:03.0", "52:54:00:12:34:56". */
#define CONFIG_CARD_TEXT 18u

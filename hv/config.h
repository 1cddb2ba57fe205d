/*
 * guests.json: which guests exist and how the management service is reached. Pure; reads with jsmn.
 * One entry of its "guests" is also the body of POST /v1/guests, which the management guest parses.
 * Every error names line, column and field; a guest with an error is left out, the others remain.
 */
#pragma once

#include "hv/abi/control.h"

#define CONFIG_GUESTS_MAX        14 /* the control ABI has 16 numbers, one is the management guest's */
/* Files that the guests can name: the boot loader's list has 64, and the appliance may need four of
 * them: itself twice, certificate and key. */
#define CONFIG_FILES_MAX         60
/* A core's time in parts per million, and how much of it can be guaranteed. The rest is for the
 * root's own work and for guests without a guarantee: without it the management guest could starve.
 */
#define CONFIG_CORE_WHOLE        1000000u
#define CONFIG_GUARANTEED_MOST   (CONFIG_CORE_WHOLE / 100 * 95)
/* The names of the appliance's own boot modules begin with this. No other file's name may. */
#define CONFIG_OWN_FILES         "bulkhead:"
#define CONFIG_MANAGEMENT_NAME   "mgmt"
#define CONFIG_MODULE            CONFIG_OWN_FILES "configuration"
#define CONFIG_MANAGEMENT_MODULE CONFIG_OWN_FILES "management"
#define CONFIG_CORE_MOST         63           /* the highest number of a core */
#define CONFIG_TEXT_MAX          (256u << 10) /* bytes of JSON; more is refused */

/* "management": {"address": "dhcp" | "10.0.2.15/24", "gateway": "10.0.2.2", "core": 0, "memory":
 * "12M", "budget_us": ..., "period_us": ..., and the fields of struct abi_management} */
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
    struct abi_management service;
};

/* Whether guests' large pages are non-executable, see arch/x86/vmx/ept.h. */
enum config_nx_large { NX_LARGE_AUTO, NX_LARGE_OFF };

struct config {
    enum config_nx_large nx_large; /* JSON: "auto" (default): if the CPU needs it; or "off" */
    uint32_t panic_reboot_s;       /* seconds from a panic to the reset; 0: never; default 30 */
    /* "02:42:48:00:00": prefix of all guests' MAC addresses. All 0: derived from the card's address
     */
    uint8_t mac_prefix[5];
    struct guest_config guests[CONFIG_GUESTS_MAX];
    unsigned guest_count;
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

/* Extracts what goes on the kernel's command line. */
struct boot_options;
void config_options(const struct config *c, struct boot_options *o);

/* The share of the core that the guest's guarantee takes, in parts per million, rounded up. */
static inline uint32_t config_share(const struct guest_config *g)
{
    return g->period_us
               ? (uint32_t)(((uint64_t)g->guaranteed_us * CONFIG_CORE_WHOLE + g->period_us - 1) /
                            g->period_us)
               : 0;
}

/* ---- hv/guest_config.c: used by the root and by the parser ---- */

/* The most that can be guaranteed to the guest in each period_us. */
static inline uint32_t config_guarantee_most(const struct guest_config *g)
{
    return g->budget_us ? g->budget_us : g->period_us;
}

/* Checks that every value in *g is one that the parser could have produced: for bytes that another
 * guest wrote. 0, or -E_INVAL with the field's name in *field. */
int config_check_guest(const struct guest_config *g, const char **field) MUST_CHECK;
/* [a-z0-9][a-z0-9-]* */
bool config_name_is_good(const char *s);
/* No control characters, and not one of the appliance's own files. */
bool config_file_is_good(const char *s);
/* 2 MB to 3 GB, a multiple of 2 MB. */
bool config_memory_is_good(uint64_t bytes);
/* An IPv4 address mapped to IPv6. */
bool config_net_address_is_mapped(const struct net_address *a);
/* An address that a host can have. */
bool config_net_address_is_good(const struct net_address *a);
bool config_net_lists(const struct net_config *c, const struct net_address *a);
/* True: two guests that see the same machines list the same address, `which`. */
bool config_net_clashes(const struct net_config *a, const struct net_config *b,
                        struct net_address *which);

/* ---- the rest: the parser's side, which the root does not have ---- */

/* Splits "HOST", "HOST:PORT" or an IPv6 address: `host` has `size` bytes, *port keeps its value if
 * the text names none. False: it is none of these. */
bool config_split_server(const char *s, char *host, size_t size, uint16_t *port) MUST_CHECK;

#define CONFIG_ADDRESS_TEXT 40u /* with the NUL */
/* "10.0.2.20", "fd00::20". */
bool config_parse_net_address(const char *s, struct net_address *a) MUST_CHECK;
void config_net_address_text(const struct net_address *a, char out[CONFIG_ADDRESS_TEXT]);

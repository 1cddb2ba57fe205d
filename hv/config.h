/*
 * guests.json: which guests exist and how the management service is reached. Pure; reads with jsmn.
 * One entry of its "guests" is also the body of POST /v1/guests, which the management guest parses.
 * Every error names line, column and field; a guest with an error is left out, the others remain.
 */
#pragma once

#include "hv/abi/control.h"

#define CONFIG_GUESTS_MAX        14 /* the control ABI has 16 numbers, one is the management guest's */
/* Files that the guests can name: the boot loader's list has 64, of which the appliance may need
 * four: itself twice, certificate and key. */
#define CONFIG_FILES_MAX         60
/* A core's time, in parts per million, and so much of it can be promised. The rest is the root's
 * own work, and what guests without a guarantee live on: the management guest, who could not be
 * asked for anything any more. */
#define CONFIG_CORE_WHOLE        1000000u
#define CONFIG_GUARANTEED_MOST   (CONFIG_CORE_WHOLE / 100 * 95)
/* So begin the names of the boot modules that are the appliance's own. No file may be called so. */
#define CONFIG_OWN_FILES         "bulkhead:"
#define CONFIG_MANAGEMENT_NAME   "mgmt"
#define CONFIG_MODULE            CONFIG_OWN_FILES "configuration"
#define CONFIG_MANAGEMENT_MODULE CONFIG_OWN_FILES "management"
#define CONFIG_CORE_MOST         63           /* the highest number of a core */
#define CONFIG_TEXT_MAX          (256u << 10) /* bytes of JSON; more is refused */

/* "management": {"address": "dhcp" | "10.0.2.15/24", "gateway": "10.0.2.2", "core": 0, "memory":
 * "12M", "budget_us": ..., "period_us": ..., and what struct abi_management says} */
struct management_config {
    bool static_ip;
    uint8_t ip[4], netmask[4], gateway[4];
    int core; /* -1: the last core */
    uint64_t memory;
    uint32_t weight, slice_us, budget_us, period_us;
    /* Of each millisecond of a core, so much at most goes to what management asks of it: dumps,
     * control changes, typed bytes, actions. 5..50, default 30: with the 95 % that can be
     * guaranteed it is never more than there is. */
    uint32_t requests_us;
    struct abi_management service;
};

/* Are guests' large pages kept from being executed, see arch/x86/vmx/ept.h? */
enum config_nx_large { NX_LARGE_AUTO, NX_LARGE_OFF };

struct config {
    enum config_nx_large nx_large; /* JSON: "auto" (default): where the CPU needs it; or "off" */
    uint32_t
        panic_reboot_s; /* a panic is followed by a reset after so long; 0: never; default 30 */
    /* "02:42:48:00:00": of all guests' Ethernet addresses. All 0: they derive from the card's */
    uint8_t mac_prefix[5];
    struct guest_config guests[CONFIG_GUESTS_MAX];
    unsigned guest_count;
    unsigned
        file_count; /* that the guests name, each once; the appliance's own three beside them */
    struct management_config management;
};

struct config_error {
    uint32_t line, column; /* from 1; 0 where the whole file is meant */
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
 * of errors (0: all well); whatever could be understood is in *c. `scratch` must be aligned to 8
 * and `scratch_size` says its bytes. */
int config_parse(const char *text, size_t len, void *scratch, size_t scratch_size, struct config *c,
                 config_report *report, void *ctx);

/* The same for one guest's object alone. */
int config_parse_guest(const char *text, size_t len, void *scratch, size_t scratch_size,
                       struct guest_config *g, config_report *report, void *ctx);

/* What of it stands on the kernel's command line. */
struct boot_options;
void config_options(const struct config *c, struct boot_options *o);

/* What its guarantee takes from its core, in parts per million, rounded up. */
static inline uint32_t config_share(const struct guest_config *g)
{
    return g->period_us
               ? (uint32_t)(((uint64_t)g->guaranteed_us * CONFIG_CORE_WHOLE + g->period_us - 1) /
                            g->period_us)
               : 0;
}

/* ---- hv/guest_config.c: what the root goes by, and the parser too ---- */

/* So much can be guaranteed to it in each period_us. */
static inline uint32_t config_guarantee_most(const struct guest_config *g)
{
    return g->budget_us ? g->budget_us : g->period_us;
}

/* Whether everything in *g is what a parser could have put there: for bytes that another guest
 * wrote. 0, or -E_INVAL with the field's name in *field. */
int config_check_guest(const struct guest_config *g, const char **field) MUST_CHECK;
/* [a-z0-9][a-z0-9-]* */
bool config_name_is_good(const char *s);
/* No control characters, and not one of the appliance's own. */
bool config_file_is_good(const char *s);
/* 2 MB to 3 GB, a multiple of 2 MB. */
bool config_memory_is_good(uint64_t bytes);
/* An IPv4 address, mapped. */
bool config_net_address_is_mapped(const struct net_address *a);
/* One that a host can have. */
bool config_net_address_is_good(const struct net_address *a);
/* Do two guests that see the same machines list the same address? Then `which` is it. */
bool config_net_clashes(const struct net_config *a, const struct net_config *b,
                        struct net_address *which);

/* ---- the rest: the parser's side, which the root does not have ---- */

/* "HOST", "HOST:PORT" or an IPv6 address, taken apart: `host` has `size` bytes, *port stays as it
 * is where none is said. False: it is none of these. */
bool config_split_server(const char *s, char *host, size_t size, uint16_t *port) MUST_CHECK;

#define CONFIG_ADDRESS_TEXT 40u /* with the NUL */
/* "10.0.2.20", "fd00::20". */
bool config_parse_net_address(const char *s, struct net_address *a) MUST_CHECK;
void config_net_address_text(const struct net_address *a, char out[CONFIG_ADDRESS_TEXT]);

/*
 * The kernel's command line: what the root must know before the management guest runs and reads the
 * configuration. test/tools/mkiso.py writes it from the same configuration. Pure.
 *
 * "name=value" words with blanks between them: the numbers of hv/options.def and those of
 * hv/config_fields.def that are named _RUN, and
 *   mac_prefix=02:42:48:00:00            as in the configuration
 *   guarded=10.0.2.15,10.0.2.2           addresses that no guest with the uplink may have
 *   uplinks.management=00:00:03:00       management's network card: its segment, bus, device and
 *   uplinks.guests=52:54:00:12:34:57     function, its address, or its index; the guests' likewise
 */
#pragma once

#include "hv/abi/net.h"
#include "hv/types.h"

#define OPTIONS_GUARDED 3u

/* On which threads of a physical core guests run: on one; on all; on all, but beside each other
 * only guests of one network. */
enum smt { SMT_OFF, SMT_ON, SMT_ONE_NETWORK };

struct boot_options {
    int32_t core;      /* management's; -1: the last one */
    int32_t memory_mb; /* an even number */
    int32_t weight, slice_us, budget_us, period_us;
    int32_t requests_us;           /* see struct management_config */
    int32_t reachable_from_guests; /* 1: the switch lets guests reach management */
    int32_t token;                 /* 1: a random admin token is made and shown */
    int32_t nx_large;              /* 1: large pages are split if the CPU needs it */
    int32_t smt;                   /* enum smt */
    int32_t panic_reboot_s;
    uint8_t mac_prefix[5];               /* all 0: none */
    uint8_t guarded[OPTIONS_GUARDED][4]; /* 0.0.0.0: none */
    struct net_card_name uplinks[ABI_NIC_ROLES];
};

/* Management needs at least a twentieth of its period, or it seems dead (ABI_HEARTBEAT_MS). */
static inline bool options_budget_is_enough(uint32_t budget_us, uint32_t period_us)
{
    return (uint64_t)budget_us * 20 >= period_us;
}

void options_default(struct boot_options *o);
/* Reads a command line. Reports each wrong word as a sentence, and uses its default. */
void options_read(const char *line, struct boot_options *o, void (*report)(const char *text));

/* The words of the line, for those who write one: its numbers, and the names of uplinks. */
struct option_number {
    const char *name;
    size_t offset; /* of an int32_t in struct boot_options */
    int32_t min, max, preset;
};
extern const struct option_number options_numbers[];
extern const size_t options_number_count;
extern const char *const options_uplinks[ABI_NIC_ROLES];

/*
 * A guest's configuration: what the root and management both know of it. The root's check is in
 * hv/guest_config.c, the parser in mgmt/config/. Pure.
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
#define CONFIG_CORE_MOST         127          /* the highest number of a core */
#define CONFIG_MEMORY_LEAST      (2ull << 20) /* a memory is a multiple of this */
#define CONFIG_MEMORY_MOST       (256ull << 30)
#define CONFIG_SHARED_MAX        8
#define CONFIG_TEXT_MAX          (256u << 10) /* bytes of JSON; more is refused */

/* The core of a vCPU, as configured. */
static inline unsigned config_core(const struct guest_config *g, unsigned vcpu)
{
    return g->core_count ? g->cores[vcpu] : (unsigned)g->core;
}

/* The share of a core that the guarantee of one of the guest's vCPUs takes, in parts per million,
 * rounded up. */
static inline uint32_t config_share(const struct guest_config *g)
{
    return g->period_us
               ? (uint32_t)(((uint64_t)g->guaranteed_us * CONFIG_CORE_WHOLE + g->period_us - 1) /
                            g->period_us)
               : 0;
}

/* The most that can be guaranteed to the guest in each period_us. */
static inline uint32_t config_guarantee_most(const struct guest_config *g)
{
    return g->budget_us ? g->budget_us : g->period_us;
}

/* Checks that every value in *g is one that the parser could have produced: for bytes that another
 * guest wrote. 0, or -E_INVAL with the field's name in *field. */
int config_check_guest(const struct guest_config *g, const char **field) MUST_CHECK;
/* The guest's ID among the peers; -1: it is none. */
int config_shared_id(const struct config_shared *s, const char *guest);
/* Whether a region can be as it is, and whether a guest can have all of its regions. A peer need
 * not exist. NULL, or what is wrong, with the name of the field. */
const char *config_shared_fault(const struct config_shared *s, const char **field);
const char *config_shared_fault_of(const struct guest_config *g);
/* [a-z0-9][a-z0-9-]* */
bool config_name_is_good(const char *s);
/* No control characters, and not one of the appliance's own files. */
bool config_file_is_good(const char *s);
/* An IPv4 address mapped to IPv6. */
bool config_net_address_is_mapped(const struct net_address *a);
/* An address that a host can have. */
bool config_net_address_is_good(const struct net_address *a);
bool config_net_lists(const struct net_config *c, const struct net_address *a);
/* Two guests that are members of one network. Management is of none. */
bool config_of_one_network(const struct guest_config *a, const struct guest_config *b);
/* True: two guests that see the same machines list the same address, `which`. */
bool config_net_clashes(const struct net_config *a, const struct net_config *b,
                        struct net_address *which);

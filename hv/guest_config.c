/* Checks a guest's configuration from the management guest. Its parser (mgmt/config/) has already
 * checked it and explains errors in words; this check is the one the root relies on. */
#include "hv/config.h"

#include "hv/job.h"
#include "hv/lib.h"

#define MAPPED 10u /* bytes of zero before a mapped IPv4 address's two of ones */

bool config_name_is_good(const char *s)
{
    for (size_t i = 0; s[i]; i++) {
        bool letter = (s[i] >= 'a' && s[i] <= 'z') || (s[i] >= '0' && s[i] <= '9');

        if (!letter && (s[i] != '-' || i == 0))
            return false;
    }
    return s[0] != 0;
}

bool config_file_is_good(const char *s)
{
    if (strncmp(s, CONFIG_OWN_FILES, sizeof(CONFIG_OWN_FILES) - 1) == 0)
        return false;
    for (; *s; s++)
        if ((uint8_t)*s < ' ' || *s == 0x7f)
            return false;
    return true;
}

/* ---- network ---- */

bool config_net_address_is_mapped(const struct net_address *a)
{
    return bytes_are_zero(a->bytes, MAPPED) && a->bytes[MAPPED] == 0xff &&
           a->bytes[MAPPED + 1] == 0xff;
}

bool config_net_address_is_good(const struct net_address *a)
{
    uint8_t first = a->bytes[MAPPED + 2];

    if (config_net_address_is_mapped(a))
        return first != 0 && first != 127 && first < 224;
    return !bytes_are_zero(a->bytes, 8) && a->bytes[0] != 0xff;
}

bool config_net_lists(const struct net_config *c, const struct net_address *a)
{
    for (unsigned i = 0; i < c->address_count; i++)
        if (memcmp(&c->addresses[i], a, sizeof(*a)) == 0)
            return true;
    return false;
}

bool config_of_one_network(const struct guest_config *a, const struct guest_config *b)
{
    return a->devices & b->devices & DEV_NET && strcmp(a->net.network, b->net.network) == 0;
}

bool config_net_clashes(const struct net_config *a, const struct net_config *b,
                        struct net_address *which)
{
    if (strcmp(a->network, b->network) != 0 && !(a->uplink && b->uplink))
        return false;
    for (unsigned i = 0; i < a->address_count; i++) {
        *which = a->addresses[i];
        if (config_net_lists(b, which))
            return true;
    }
    return false;
}

/* ---- all of it ---- */

/* A row of hv/config_fields.def: checks that member of the object. */
struct rule {
    const char *name;
    bool (*is_good)(const struct rule *r, const void *object);
    size_t offset, size;
    int64_t least, most;
};

#define RULE(type, name, kind, least, most)                                                        \
    {#name, kind##_is_good, offsetof(struct type, name), sizeof(((struct type *)0)->name), least,  \
     most},

/* The first broken rule, or NULL. */
static const struct rule *find_broken(const struct rule *rules, size_t count, const void *object)
{
    for (size_t i = 0; i < count; i++) {
        job_rest();
        if (!rules[i].is_good(&rules[i], object))
            return &rules[i];
    }
    return NULL;
}

static bool number_is_good(const struct rule *r, const void *object)
{
    uint64_t v = 0;

    memcpy(&v, (const char *)object + r->offset, r->size);
    return v >= (uint64_t)r->least && v <= (uint64_t)r->most;
}

/* These are numbers too. */
#define choice_is_good number_is_good
#define switch_is_good number_is_good
#define flags_is_good  number_is_good /* `most` is all defined bits, without a gap */

static bool core_is_good(const struct rule *r, const void *object)
{
    const struct guest_config *g = object;

    return g->core == -1 || number_is_good(r, object);
}

/* All or none of its vCPUs' are named; `core` names one. */
static bool cores_is_good(const struct rule *r, const void *object)
{
    const struct guest_config *g = object;

    if (g->core_count == 0)
        return g->core == -1 || g->vcpus == 1;
    if (g->core_count > CONFIG_VCPUS_MAX || g->core_count < g->vcpus || g->cores[0] != g->core)
        return false;
    for (unsigned i = 0; i < g->core_count; i++)
        if (g->cores[i] > r->most)
            return false;
    return true;
}

static bool memory_is_good(const struct rule *r, const void *object)
{
    const struct guest_config *g = object;

    return number_is_good(r, object) && g->memory % PAGE_SIZE_2M == 0;
}

static bool ends(const char *s, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (!s[i])
            return true;
    return false;
}

static bool text_is_good(const struct rule *r, const void *object)
{
    return ends((const char *)object + r->offset, r->size);
}

static bool file_is_good(const struct rule *r, const void *object)
{
    const char *s = (const char *)object + r->offset;

    return text_is_good(r, object) && s[0] && config_file_is_good(s);
}

static bool addresses_is_good(const struct rule *r, const void *object)
{
    const struct net_config *c = object;

    if (c->address_count > r->most)
        return false;
    for (unsigned i = 0; i < c->address_count; i++)
        if (!config_net_address_is_good(&c->addresses[i]))
            return false;
    return true;
}

static const struct rule net_rules[] = {
#define NET(name, kind, least, most, ...) RULE(net_config, name, kind, least, most)
#include "hv/config_fields.def"
};

static bool net_is_good(const struct rule *r, const void *object)
{
    const struct guest_config *g = object;

    (void)r;
    return !(g->devices & DEV_NET) || (!find_broken(net_rules, ARRAY_LEN(net_rules), &g->net) &&
                                       config_name_is_good(g->net.network));
}

static const struct rule module_rules[] = {
#define MODULE(name, kind, least, most, ...) RULE(config_module, name, kind, least, most)
#include "hv/config_fields.def"
};

static bool modules_is_good(const struct rule *r, const void *object)
{
    const struct guest_config *g = object;

    if (g->module_count > r->most)
        return false;
    for (unsigned i = 0; i < g->module_count; i++)
        if (find_broken(module_rules, ARRAY_LEN(module_rules), &g->modules[i]))
            return false;
    return true;
}

static const struct rule disk_rules[] = {
#define DISK(name, kind, least, most, ...) RULE(config_disk, name, kind, least, most)
#include "hv/config_fields.def"
};

static bool disks_is_good(const struct rule *r, const void *object)
{
    const struct guest_config *g = object;

    if (g->disk_count > r->most || (g->disk_count && !(g->devices & DEV_PCI)))
        return false;
    for (unsigned i = 0; i < g->disk_count; i++)
        if (find_broken(disk_rules, ARRAY_LEN(disk_rules), &g->disks[i]))
            return false;
    return true;
}

/* ---- shared memory ---- */

int config_shared_id(const struct config_shared *s, const char *guest)
{
    for (unsigned i = 0; i < s->peer_count; i++)
        if (strcmp(s->peers[i], guest) == 0)
            return (int)i;
    return -1;
}

static const char *peers_fault(const struct config_shared *s)
{
    if (s->peer_count < 2 || s->peer_count > CONFIG_PEERS_MAX)
        return "must be a list of 2 to 14 guests' names";
    for (unsigned i = 0; i < s->peer_count; i++) {
        job_rest();
        if (!ends(s->peers[i], sizeof(s->peers[i])) || !config_name_is_good(s->peers[i]))
            return "a peer is the name of a guest";
        if (strcmp(s->peers[i], CONFIG_MANAGEMENT_NAME) == 0)
            return "\"mgmt\" is the management guest, which shares no memory";
        if (config_shared_id(s, s->peers[i]) != (int)i)
            return "names a guest twice";
    }
    return NULL;
}

const char *config_shared_fault(const struct config_shared *s, const char **field)
{
    *field = "name";
    if (!ends(s->name, sizeof(s->name)) || !config_name_is_good(s->name))
        return s->name[0] ? "must consist of a-z, 0-9 and '-', and not begin with '-'"
                          : "is missing";
    *field = "size";
    if (s->size < CONFIG_SHARED_LEAST || s->size > CONFIG_SHARED_MOST || (s->size & (s->size - 1)))
        return "must be a power of two from 2M to 256M";
    *field = "peers";
    return peers_fault(s);
}

const char *config_shared_fault_of(const struct guest_config *g)
{
    uint64_t all = 0;

    if (g->shared_count > CONFIG_GUEST_SHARED_MAX)
        return "a guest is a peer of at most 4 regions";
    for (unsigned i = 0; i < g->shared_count; i++)
        all += g->shared[i].size;
    return all > CONFIG_SHARED_ALL ? "a guest's regions have at most 512 MiB together" : NULL;
}

static bool shared_is_good(const struct guest_config *g)
{
    const char *field;

    if (config_shared_fault_of(g) || (g->shared_count && !(g->devices & DEV_PCI)))
        return false;
    for (unsigned i = 0; i < g->shared_count; i++) {
        if (config_shared_fault(&g->shared[i], &field) ||
            config_shared_id(&g->shared[i], g->name) < 0)
            return false;
        for (unsigned k = 0; k < i; k++)
            if (strcmp(g->shared[k].name, g->shared[i].name) == 0)
                return false;
        job_rest();
    }
    return true;
}

/* ---- a guest ---- */

static const struct rule guest_rules[] = {
#define GUEST(name, kind, least, most, ...) RULE(guest_config, name, kind, least, most)
#include "hv/config_fields.def"
};

int config_check_guest(const struct guest_config *g, const char **field)
{
    const struct rule *broken = find_broken(guest_rules, ARRAY_LEN(guest_rules), g);

    if (broken)
        *field = broken->name;
    else if (!config_name_is_good(g->name) || strcmp(g->name, CONFIG_MANAGEMENT_NAME) == 0)
        *field = "name";
    else if ((g->devices & DEV_ON_PCI) && !(g->devices & DEV_PCI))
        *field = "devices";
    else if (g->budget_us > g->period_us)
        *field = "budget_us";
    else if (g->guaranteed_us > config_guarantee_most(g))
        *field = "guaranteed_us";
    else if (!shared_is_good(g))
        *field = "shared";
    else
        return 0;
    return -E_INVAL;
}

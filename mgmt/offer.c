#include "mgmt/offer.h"

#include "hv/lib.h"

static bool is_image(const struct config *c, const char *name)
{
    for (unsigned i = 0; i < c->guest_count; i++)
        if (strcmp(c->guests[i].image, name) == 0)
            return true;
    return false;
}

static bool is_module(const struct config *c, const char *name)
{
    for (unsigned i = 0; i < c->guest_count; i++)
        for (unsigned k = 0; k < c->guests[i].module_count; k++)
            if (strcmp(c->guests[i].modules[k].file, name) == 0)
                return true;
    return false;
}

static bool is_disk(const struct config *c, const char *name)
{
    for (unsigned i = 0; i < c->guest_count; i++)
        for (unsigned k = 0; k < c->guests[i].disk_count; k++)
            if (strcmp(c->guests[i].disks[k].file, name) == 0)
                return true;
    return false;
}

static bool is_own(const struct config *c, const char *name)
{
    const char *const own[] = {c->management.service.certificate, c->management.service.key};

    if (strncmp(name, CONFIG_OWN_FILES, sizeof(CONFIG_OWN_FILES) - 1) == 0)
        return true;
    for (size_t i = 0; i < ARRAY_LEN(own); i++)
        if (own[i][0] && strcmp(own[i], name) == 0)
            return true;
    return false;
}

enum offer offer_of(const struct config *c, bool whole, const char *name)
{
    if (is_own(c, name))
        return OFFER_NONE;
    if (is_image(c, name))
        return OFFER_ALL;
    return is_module(c, name) || is_disk(c, name) || !whole ? OFFER_KEPT : OFFER_ALL;
}

static bool same(const struct guest_config *a, const struct guest_config *b)
{
    if (strcmp(a->name, b->name) != 0 || strcmp(a->image, b->image) != 0 ||
        strcmp(a->cmdline, b->cmdline) != 0 || a->kind != b->kind ||
        a->module_count != b->module_count || a->disk_count != b->disk_count)
        return false;
    for (unsigned i = 0; i < a->disk_count; i++)
        if (strcmp(a->disks[i].file, b->disks[i].file) != 0)
            return false;
    for (unsigned i = 0; i < a->module_count; i++)
        if (strcmp(a->modules[i].file, b->modules[i].file) != 0 ||
            strcmp(a->modules[i].args, b->modules[i].args) != 0)
            return false;
    return true;
}

bool offer_is_same_guest(const struct config *c, const struct guest_config *g)
{
    for (unsigned i = 0; i < c->guest_count; i++)
        if (same(&c->guests[i], g))
            return true;
    return false;
}

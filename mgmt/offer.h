/*
 * Which boot modules a guest created over the network may use. Pure.
 *
 * The appliance's own files (its configuration, the management guest, certificate and key) are
 * never offered. A module that the configuration gives a guest (an initrd may hold secrets) is for
 * that guest alone, unless some guest has the same file as its image. Images, and files that the
 * configuration does not name, are for all guests.
 */
#pragma once

#include "mgmt/config/config.h"
#include "hv/types.h"

enum offer {
    OFFER_ALL,  /* to every new guest */
    OFFER_KEPT, /* to a guest that is made again as configured */
    OFFER_NONE, /* to none: the appliance's own */
};

/* `whole`: the configuration was parsed to its end. Otherwise a file that it seems not to name may
 * be named in the missing part, so it is kept. */
enum offer offer_of(const struct config *c, bool whole, const char *name);

/* The configuration has this guest: the same name, image, disks and modules with the same
 * arguments, so its files do what they did before. */
bool offer_is_same_guest(const struct config *c, const struct guest_config *g);

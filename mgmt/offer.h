/*
 * Which boot modules a guest that comes over the network may be made of. Pure.
 *
 * The appliance's own files are nobody's: its configuration, the management guest, certificate and
 * key. The modules that the configuration gives a guest (an initrd may hold secrets)
 * are that guest's alone, unless some guest has the same file as its image. Images, and files that
 * the configuration does not name, are for everybody.
 */
#pragma once

#include "hv/config.h"
#include "hv/types.h"

enum offer {
    OFFER_ALL,  /* to every new guest */
    OFFER_KEPT, /* to a guest that is made again as the configuration has it */
    OFFER_NONE, /* to none: the appliance's own */
};

/* `whole`: the configuration was understood to its end. Where it was not, what it seems not to name
 * may be named in what is missing, and is kept. */
enum offer offer_of(const struct config *c, bool whole, const char *name);

/* The configuration has this guest: the same name, image and modules, and the same words for all of
 * them, so that it does with its files what it did before. */
bool offer_is_same_guest(const struct config *c, const struct guest_config *g);

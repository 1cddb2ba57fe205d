/*
 * Images: the boot modules that came with the ISO, and those that were uploaded. The root never
 * looks into an uploaded one: it copies from it what a checked plan says. Called by the management
 * guest's core alone, but for image_source().
 */
#pragma once

#include "hv/abi/deploy.h"
#include "hv/guest.h"
#include "hv/load/load.h"

/* The calls of hv/abi/control.h. */
int64_t image_begin(struct guest *m, const struct abi_image_request *r);
int64_t image_commit(struct guest *m, uint64_t slot, const uint8_t sha256[32]);
int64_t image_drop(struct guest *m, uint64_t slot);
/* The management guest starts anew: what it was filling is dropped. */
void image_drop_unfinished(struct guest *m);

/* A boot module that is nobody's image: it is not listed, and no guest that comes over the network
 * can be made of it. Boot core. */
void image_hide(const char *name);

/* Makes the guest a user of its image and modules. -E_NOENT: the name of the one that is not there
 * is in *name; -E_STATE: it was uploaded, and without `planned` only boot modules serve. */
int image_take(const struct guest *g, bool planned, const char **name) MUST_CHECK;
void image_release(const struct guest *g);
/* The bytes of a name; false: there is no such image. Any core, for a guest that is a user. */
bool image_source(const char *name, const uint8_t **data, uint64_t *size);

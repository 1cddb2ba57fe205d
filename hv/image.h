/*
 * Images: the boot modules that came with the ISO, and those that were uploaded. The root never
 * looks into an uploaded one: it copies from it what a checked plan says. Called by the management
 * guest's core alone, but for image_release().
 */
#pragma once

#include "hv/abi/deploy.h"
#include "hv/guest.h"
#include "hv/load/load.h"

/* The calls of hv/abi/control.h. */
int64_t image_begin(const struct abi_image_request *r);
int64_t image_extend(struct guest *m, uint64_t slot);
int64_t image_commit(struct guest *m, uint64_t slot, const uint8_t sha256[32]);
int64_t image_drop(struct guest *m, uint64_t slot);
/* The management guest starts anew: one image that it was filling is dropped. False: there is none.
 */
bool image_drop_unfinished(struct guest *m);

/* From now on guests get what hv/offer.h says, and only that is listed. `c` stays the caller's, and
 * as it is. Boot core, before the first guest takes an image. */
void image_offer(const struct config *c, bool whole);
/* One of the appliance's own files. */
bool image_is_own(const char *name);

/* Makes the guest a user of its image and modules: g->sources. On failure g->missing names the one,
 * and nothing was taken. -E_NOENT: it is not there; -E_STATE: the image was uploaded, and without
 * `planned` only a boot module serves; -E_PERM: it is another guest's. */
int image_take(struct guest *g, bool planned) MUST_CHECK;
/* The guest uses none of them any more. Its owning core. */
void image_release(struct guest *g);

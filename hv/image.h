/*
 * Images: the boot modules that came with the ISO, and those that were uploaded. The root looks
 * into none of them, but into the management guest's: it copies what a checked plan says. Called by
 * the management guest's core alone, but for image_release().
 */
#pragma once

#include "hv/abi/deploy.h"
#include "hv/guest.h"

/* The calls of hv/abi/control.h. */
int64_t image_begin(const struct abi_image_request *r);
int64_t image_extend(struct guest *m, uint64_t slot);
int64_t image_commit(struct guest *m, uint64_t slot, const uint8_t sha256[32]);
int64_t image_drop(struct guest *m, uint64_t slot);
/* The management guest starts anew: one image that it was filling is dropped. False: there is none.
 */
bool image_drop_unfinished(struct guest *m);

/* The management guest's own; NULL: there is none. */
struct image_source image_of_management(void);

/* Makes the guest a user of its image and modules: g->sources. -E_NOENT: one is not there, and
 * nothing was taken. */
int image_take(struct guest *g) MUST_CHECK;
/* The guest uses none of them any more. Its owning core. */
void image_release(struct guest *g);

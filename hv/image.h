/*
 * Images: the boot modules that came with the ISO, and those that were uploaded. The root parses
 * only the management guest's; of the others it copies what a checked plan says. Only the
 * management guest's core calls these, except for image_release().
 */
#pragma once

#include "hv/abi/deploy.h"
#include "hv/guest.h"

/* The calls of hv/abi/control.h. */
int64_t image_begin(const struct abi_image_request *r);
int64_t image_extend(struct guest *m, uint64_t slot);
int64_t image_commit(struct guest *m, uint64_t slot, const uint8_t sha256[32]);
int64_t image_drop(struct guest *m, uint64_t slot);
/* When the management guest restarts: drops one image that it was filling. False: there is none. */
bool image_drop_unfinished(struct guest *m);

/* The management guest's own image; NULL: there is none. */
struct image_source image_of_management(void);

/* Makes the guest a user of its image, modules and disks: g->sources, g->disk_images. -E_NOENT: one
 * does not exist, and nothing was taken. */
int image_take(struct guest *g) MUST_CHECK;
/* Ends the guest's use of them. Its owning core. */
void image_release(struct guest *g);

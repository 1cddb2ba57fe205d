/*
 * What the management guest proves itself with: the boot modules that the configuration names, and
 * bytes that it had kept. In pages of their own, which nobody else sees.
 */
#pragma once

#include "hv/guest.h"
#include "hv/virt.h"

/* Allocates what is there always. Boot core; -E_NOMEM. */
int guest_files_setup(void) MUST_CHECK;
/* Copies a boot module into pages that the management guest, mapped afterwards, sees at `at`: a
 * struct abi_file of `size` bytes. Boot core; 0 or -E_NOMEM. That there is no such module or that
 * it is too long stands in the pages. */
int guest_files_share(uint64_t at, uint64_t size, const char *module) MUST_CHECK;
/* The same, and nothing of the boot module is left where it was. */
int guest_files_share_secret(uint64_t at, uint64_t size, const char *module) MUST_CHECK;
/* Maps all of them into the management guest, read-only. */
int guest_files_map(struct guest *m, const struct virt_ops *ops) MUST_CHECK;
/* What the management guest had kept. */
struct abi_keep *guest_keep_page(void);

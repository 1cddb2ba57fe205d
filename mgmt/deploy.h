/*
 * From a guest's configuration to a guest, both at boot and over the network. Finds its files,
 * plans which bytes go where, chooses its core, asks the root, and reports what is wrong or
 * missing. Pure but for what struct api_view does.
 */
#pragma once

#include "mgmt/load/load.h"
#include "mgmt/api.h"

struct deploy_refusal {
    unsigned status;  /* HTTP status */
    char pointer[48]; /* to the field of the configuration, or empty */
    char text[ABI_TEXT_MAX];
};

/* A READY uploaded image of this name, or -1. */
int deploy_find_upload(const struct abi_images *images, const char *name);
/* A boot module, or NULL. */
const struct abi_boot_module *deploy_find_module(const struct abi_images *images, const char *name);

/* Finds the guest's image and modules for *r. False: one does not exist, or is not for this guest.
 */
bool deploy_find_files(const struct api_view *v, const struct guest_config *g,
                       struct load_request *r, struct deploy_refusal *f);
/* Makes the guest that r->config describes, with the files of `l`. Returns its number, or -1. */
int deploy_guest(const struct api_view *v, struct abi_create *r, const struct load_request *l,
                 struct deploy_refusal *f);
/* Shows the guest as one that cannot be made, because of `why`. Returns 0, or -1. */
int deploy_husk(const struct api_view *v, struct abi_create *r, const char *why);
/* Says that there is not as much memory as asked. */
void deploy_say_no_memory(const struct abi_memory *m, uint64_t asked, char *text, size_t size);

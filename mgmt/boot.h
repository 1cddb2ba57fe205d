/*
 * Reads the ISO's configuration and carries it out: which guests exist, and how the service is
 * reached. Runs at each start of the management guest. Existing guests stay as they are, so a
 * management guest that died halfway continues where it stopped. Pure but for what struct api_view
 * does.
 */
#pragma once

#include "mgmt/api.h"

/* What v->config points to: guests.json, constant once read. */
extern struct config boot_config;

/* Reads guests.json into boot_config. Notes every mistake in it, and where the kernel's command
 * line overrides it. `scratch` is for jsmn, see config_parse(). False: there were mistakes. */
bool boot_read(const struct api_view *v, void *scratch, size_t scratch_size);
/* Makes the guests of boot_config, unless that has been done since the machine was started. A guest
 * that cannot be made is shown with the reason. */
void boot_guests(const struct api_view *v, struct abi_create *request);

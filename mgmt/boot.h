/*
 * The configuration of the ISO, read and carried out: which guests there are, and how the service
 * is reached. At each start of the management guest; guests that are there already stay as they
 * are, so one that died half way goes on where it stopped. Pure but for what struct api_view does.
 */
#pragma once

#include "mgmt/api.h"

/* What v->config points to: as guests.json has it, constant once it was read. */
extern struct config boot_config;

/* Reads guests.json into boot_config and notes every mistake in it, and where the kernel's command
 * line says otherwise. `scratch`: for jsmn, see config_parse(). False: there were mistakes. */
bool boot_read(const struct api_view *v, void *scratch, size_t scratch_size);
/* Makes the guests of boot_config, unless that has been done since the machine was started. A guest
 * that cannot be made is shown with the reason. */
void boot_guests(const struct api_view *v, struct abi_create *request);

/*
 * What a PC's firmware leaves in memory: real mode's interrupt vectors and services, BIOS data
 * area, extended BIOS data area, SMBIOS and, with DEV_ACPI, ACPI's tables. Pure.
 */
#pragma once

#include "mgmt/load/loader.h"

/* The BIOS's segment. SMBIOS and RSDP begin here, where software looks for them. */
#define FIRMWARE_ROM           0xf0000u
#define FIRMWARE_ROM_SIZE      0x10000u
/* At most so many bytes of it are written. */
#define FIRMWARE_MAX           4096u
/* The root pointer, with DEV_ACPI. */
#define FIRMWARE_RSDP          FIRMWARE_ROM
#define FIRMWARE_RSDP_SIZE     36u
#define FIRMWARE_RSDP_OLD_SIZE 20u /* of ACPI 1.0 */

/* Puts all of it before anything else of the plan: an image that is loaded to the first page
 * replaces the data area. */
int firmware_put(struct loader *l) MUST_CHECK;
/* A copy of the root pointer, after firmware_put(). False: the guest has none. */
bool firmware_rsdp(const struct loader *l, uint32_t rsdp[FIRMWARE_RSDP_SIZE / 4]);

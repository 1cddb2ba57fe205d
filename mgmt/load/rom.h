/* The BIOS's segment while firmware.c makes it: for it and the makers of its parts. Pure. */
#pragma once

#include "hv/lib.h"
#include "mgmt/load/firmware.h"

/* The bytes from FIRMWARE_ROM on, while they are being made. */
struct rom {
    uint8_t *bytes;
    size_t len; /* <= FIRMWARE_MAX */
    bool full;  /* something did not fit: a mistake of ours */
};

/* The interrupt vectors of real mode, at guest-physical 0. */
#define BIOS_VECTORS_SIZE 0x400u

/* Makes the zeroed ROM's contents for this guest, and the zeroed vectors that point there. False:
 * they do not fit. */
bool firmware_make_rom(struct rom *r, const struct load_request *q,
                       uint8_t vectors[BIOS_VECTORS_SIZE]);

/* Appends n zero bytes at a multiple of `align`; NULL: no room. They stay valid. */
uint8_t *rom_add(struct rom *r, size_t n, size_t align);
/* The guest-physical address of a byte that rom_add() gave. */
static inline uint32_t rom_address(const struct rom *r, const uint8_t *at)
{
    return FIRMWARE_ROM + (uint32_t)(at - r->bytes);
}
/* Makes the sum of n bytes zero by changing *sum, which is one of them. */
void rom_sum(const uint8_t *bytes, size_t n, uint8_t *sum);

static inline unsigned load_vcpus(const struct load_request *q)
{
    return q->vcpus ? q->vcpus : 1;
}

/* Makes the tables of ACPI; `rsdp` are the FIRMWARE_RSDP_SIZE bytes of the root pointer. */
void acpi_make(struct rom *r, const struct load_request *q, uint8_t *rsdp);
/* With DEV_APIC. */
void mp_make(struct rom *r, const struct load_request *q);
void smbios_make(struct rom *r, const struct load_request *q);
/* Makes the services of real mode, and the vectors that point to them. */
void bios_make(struct rom *r, const struct load_request *q, uint8_t vectors[BIOS_VECTORS_SIZE]);

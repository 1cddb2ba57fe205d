#include "mgmt/load/firmware.h"

#include "hv/abi/pc.h"
#include "mgmt/load/rom.h"

#define ALIGN         16u
/* BIOS data area, behind the interrupt vectors: IBM PC/AT Technical Reference, "ROM BIOS Data
 * Areas". */
#define BDA           BIOS_VECTORS_SIZE
#define BDA_SIZE      0x100u
#define BDA_COM1      0x00u
#define BDA_EBDA      0x0eu /* segment */
#define BDA_EQUIPMENT 0x10u
#define BDA_MEMORY    0x13u /* KB */
#define HAS_FPU       0x0002u
#define HAS_ONE_COM   0x0200u
#define UART          0x3f8u
/* Its first byte is its size in KiB. */
#define EBDA          0x9fc00u
#define EBDA_KB       1u

uint32_t load_mmio_slots(const struct guest_config *g)
{
    uint32_t slots = ((1u << g->disk_count) - 1) << PC_SLOT_DISK;

    if (g->virtio != VIRTIO_MMIO)
        return 0;
    return slots | (g->devices & DEV_NET ? 1u << PC_SLOT_NET : 0) |
           (g->devices & DEV_RNG ? 1u << PC_SLOT_RNG : 0) |
           (g->devices & DEV_CONSOLE ? 1u << PC_SLOT_CONSOLE : 0);
}

uint8_t *rom_add(struct rom *r, size_t n, size_t align)
{
    size_t at = align_up(r->len, align);

    if (at > FIRMWARE_MAX || n > FIRMWARE_MAX - at) {
        r->full = true;
        return NULL;
    }
    r->len = at + n;
    return r->bytes + at;
}

void rom_sum(const uint8_t *bytes, size_t n, uint8_t *sum)
{
    uint8_t all = 0;

    *sum = 0;
    for (size_t i = 0; i < n; i++)
        all = (uint8_t)(all + bytes[i]);
    *sum = (uint8_t)-all;
}

bool firmware_make_rom(struct rom *r, const struct load_request *q,
                       uint8_t vectors[BIOS_VECTORS_SIZE])
{
    uint8_t *rsdp = q->devices & DEV_ACPI ? rom_add(r, FIRMWARE_RSDP_SIZE, ALIGN) : NULL;

    smbios_make(r, q);
    if (q->devices & DEV_APIC)
        mp_make(r, q);
    if (rsdp)
        acpi_make(r, q, rsdp);
    bios_make(r, q, vectors);
    return !r->full;
}

bool firmware_rsdp(const struct loader *l, uint32_t rsdp[FIRMWARE_RSDP_SIZE / 4])
{
    if (!(l->request->devices & DEV_ACPI))
        return false;
    memcpy(rsdp, l->plan->bytes + l->plan->pieces[0].offset, FIRMWARE_RSDP_SIZE);
    return true;
}

static void make_data_area(uint8_t *bda, uint32_t devices)
{
    bool uart = devices & DEV_UART;

    put_le16(bda + BDA_COM1, uart ? UART : 0);
    put_le16(bda + BDA_EBDA, EBDA >> 4);
    put_le16(bda + BDA_EQUIPMENT, HAS_FPU | (uart ? HAS_ONE_COM : 0));
    put_le16(bda + BDA_MEMORY, LOAD_LOW_END >> 10);
}

int firmware_put(struct loader *l)
{
    uint8_t low[BDA + BDA_SIZE] = {0}, ebda = EBDA_KB;
    struct rom r = {.bytes = loader_bytes(l)};
    int rc;

    memset(r.bytes, 0, FIRMWARE_MAX);
    if (!firmware_make_rom(&r, l->request, low))
        return -E_NOSPC;
    make_data_area(low + BDA, l->request->devices);
    rc = loader_put_bytes(l, FIRMWARE_ROM, r.len);
    if (rc == 0)
        rc = loader_write(l, 0, low, sizeof(low));
    return rc ? rc : loader_write(l, EBDA, &ebda, sizeof(ebda));
}

/* Interrupt vectors for real mode, and the services behind them, which bios.asm has. */
#include "hv/abi/memory.h"
#include "mgmt/load/map.h"
#include "mgmt/load/rom.h"

#include "bios.h" /* bios_code[], of mgmt/load/bios.asm */

#define MB1        0x100000ull
#define MB16       0x1000000ull
#define AREA_SIZE  20u
#define IRQ_MASTER 0x08u
#define IRQ_SLAVE  0x70u

/* At the beginning of the code: where everything is in it. */
struct header {
    uint16_t none, master, slave, equipment, base_memory, system, keyboard;
    uint16_t sizes, areas;
};

/* These vectors point to tables, none of which exists here: of the screen, its fonts, floppy and
 * hard disks. */
static bool is_table(unsigned vector)
{
    return (vector >= 0x1d && vector <= 0x1f) || vector == 0x41 || vector == 0x43 || vector == 0x46;
}

static uint16_t handler(const struct header *h, unsigned vector)
{
    switch (vector) {
    case IRQ_MASTER ... IRQ_MASTER + 7:
        return h->master;
    case IRQ_SLAVE ... IRQ_SLAVE + 7:
        return h->slave;
    case 0x11:
        return h->equipment;
    case 0x12:
        return h->base_memory;
    case 0x15:
        return h->system;
    case 0x16:
        return h->keyboard;
    default:
        return h->none;
    }
}

static void put_map(uint8_t *at, uint64_t memory)
{
    struct load_area areas[LOAD_AREAS_MAX];
    unsigned n = load_map(memory, areas);

    put_le32(at, n);
    at += 4;
    for (unsigned i = 0; i < n; i++, at += AREA_SIZE) {
        put_le64(at, areas[i].base);
        put_le64(at + 8, areas[i].size);
        put_le32(at + 16, areas[i].type);
    }
}

void bios_make(struct rom *r, const struct load_request *q, uint8_t vectors[BIOS_VECTORS_SIZE])
{
    uint64_t below = memory_below(q->memory);
    uint8_t *code = rom_add(r, sizeof(bios_code), 16);
    struct header h;

    if (!code)
        return;
    memcpy(code, bios_code, sizeof(bios_code));
    memcpy(&h, code, sizeof(h));
    put_le16(code + h.sizes, (uint16_t)((min_u64(below, MB16) - MB1) >> 10));
    put_le16(code + h.sizes + 2, (uint16_t)(below > MB16 ? (below - MB16) >> 16 : 0));
    put_map(code + h.areas, q->memory);
    for (unsigned i = 0; i < BIOS_VECTORS_SIZE / 4; i++) {
        if (is_table(i))
            continue;
        put_le16(vectors + (size_t)i * 4, handler(&h, i));
        put_le16(vectors + (size_t)i * 4 + 2, (uint16_t)(rom_address(r, code) >> 4));
    }
}

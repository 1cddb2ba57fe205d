/* SMBIOS Reference Specification 2.8 (DMTF DSP0134): an entry point of version 2 and the structures
 * that say what machine this is. Its serial number is the guest's name. */
#include "mgmt/load/rom.h"

#define ENTRY_SIZE   0x1fu
#define MIDDLE       0x10u /* "_DMI_" and what follows */
#define FIRST_HANDLE 0x100u

enum { TYPE_BIOS = 0, TYPE_SYSTEM = 1, TYPE_CHASSIS = 3, TYPE_BOOT = 32, TYPE_END = 127 };

struct table {
    struct rom *rom;
    uint8_t *first;
    unsigned count, longest;
};

/* A structure of `size` bytes, then its strings (NULL at the end), whose numbers begin at 1. */
static uint8_t *add(struct table *t, uint8_t type, uint8_t size, const char *const *strings)
{
    size_t text = 0;
    uint8_t *at, *to;

    for (unsigned i = 0; strings[i]; i++)
        text += strlen(strings[i]) + 1;
    text = text ? text + 1 : 2;
    at = rom_add(t->rom, size + text, 1);
    if (!at)
        return NULL;
    at[0] = type;
    at[1] = size;
    put_le16(at + 2, (uint16_t)(FIRST_HANDLE + t->count));
    to = at + size;
    for (unsigned i = 0; strings[i]; i++) {
        memcpy(to, strings[i], strlen(strings[i]) + 1);
        to += strlen(strings[i]) + 1;
    }
    t->first = t->first ? t->first : at;
    t->count++;
    t->longest = size + text > t->longest ? (unsigned)(size + text) : t->longest;
    return at;
}

static const char *const no_strings[] = {NULL};

static void add_bios(struct table *t)
{
    static const char *const strings[] = {"Bulkhead", "1", NULL};
    uint8_t *s = add(t, TYPE_BIOS, 0x18, strings);

    if (!s)
        return;
    s[0x04] = 1; /* vendor */
    s[0x05] = 2; /* version */
    put_le16(s + 0x06, FIRMWARE_ROM >> 4);
    s[0x09] = FIRMWARE_ROM_SIZE / 0x10000 - 1;
    put_le64(s + 0x0a, 1u << 3);                  /* characteristics are not supported */
    s[0x13] = 1u << 3 | 1u << 4;                  /* UEFI is not; this is a virtual machine */
    s[0x14] = s[0x15] = s[0x16] = s[0x17] = 0xff; /* no releases */
}

static void add_system(struct table *t, const char *name)
{
    const char *const strings[] = {"Bulkhead", "Guest", name, NULL};
    uint8_t *s = add(t, TYPE_SYSTEM, 0x1b, strings);

    if (!s)
        return;
    s[0x04] = 1;               /* manufacturer */
    s[0x05] = 2;               /* product */
    s[0x07] = name[0] ? 3 : 0; /* serial number */
    s[0x18] = 6;               /* woken by the power switch; no UUID */
}

static void add_chassis(struct table *t)
{
    static const char *const strings[] = {"Bulkhead", NULL};
    uint8_t *s = add(t, TYPE_CHASSIS, 0x15, strings);

    if (!s)
        return;
    s[0x04] = 1;                     /* manufacturer */
    s[0x05] = 1;                     /* "other" */
    s[0x09] = s[0x0a] = s[0x0b] = 3; /* boot-up, power supply, thermal state: safe */
    s[0x0c] = 2;                     /* security: unknown */
}

void smbios_make(struct rom *r, const struct load_request *q)
{
    struct table t = {.rom = r};
    const char *name = q->name ? q->name : "";
    uint8_t *e = rom_add(r, ENTRY_SIZE, 16);
    size_t from = r->len;

    add_bios(&t);
    add_system(&t, name);
    add_chassis(&t);
    (void)add(&t, TYPE_BOOT, 0x0b, no_strings); /* no errors */
    (void)add(&t, TYPE_END, 4, no_strings);
    if (!e || r->full)
        return;
    memcpy(e, "_SM_", 4);
    e[0x05] = ENTRY_SIZE;
    e[0x06] = 2;
    e[0x07] = 8;
    put_le16(e + 0x08, (uint16_t)t.longest);
    memcpy(e + MIDDLE, "_DMI_", 5);
    put_le16(e + 0x16, (uint16_t)(r->len - from));
    put_le32(e + 0x18, rom_address(r, t.first));
    put_le16(e + 0x1c, (uint16_t)t.count);
    e[0x1e] = 0x28;
    rom_sum(e + MIDDLE, ENTRY_SIZE - MIDDLE, e + 0x15);
    rom_sum(e, ENTRY_SIZE, e + 0x04);
}

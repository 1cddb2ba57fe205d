/* The Linux/x86 boot protocol, 2.12 or later, entered at the 32-bit entry point. Linux
 * documentation "The Linux/x86 Boot Protocol", "32-bit Boot Protocol". Every bzImage has this entry
 * point, and needs no page tables of ours. The 64-bit one does the same for kernels that are loaded
 * above 4 GiB, and all that is loaded here lies below 3 GiB. */
#include "hv/fmt.h"
#include "hv/lib.h"
#include "mgmt/load/firmware.h"
#include "mgmt/load/map.h"

/* Offsets in the zero page, and in the image (the setup header has the same place in both). */
#define ACPI_RSDP_ADDR   0x070u
#define SETUP_SECTS      0x1f1u
#define BOOT_FLAG        0x1feu
#define JUMP             0x200u
#define HEADER           0x202u
#define VERSION          0x206u
#define TYPE_OF_LOADER   0x210u
#define LOADFLAGS        0x211u
#define CODE32_START     0x214u
#define RAMDISK_IMAGE    0x218u
#define RAMDISK_SIZE     0x21cu
#define HEAP_END_PTR     0x224u
#define CMD_LINE_PTR     0x228u
#define INITRD_ADDR_MAX  0x22cu
#define CMDLINE_SIZE     0x238u
#define PREF_ADDRESS     0x258u
#define INIT_SIZE        0x260u
#define HEADER_END       0x268u
#define E820_ENTRIES     0x1e8u
#define E820_TABLE       0x2d0u
#define ZERO_PAGE_SIZE   4096u
#define SECTOR           512u

#define MAGIC_FLAG       0xaa55u
#define MAGIC_HDRS       0x53726448u
#define PROTOCOL_MIN     0x020cu
#define LOADED_HIGH      0x01u
#define CAN_USE_HEAP     0x80u
#define LOADER_UNDEFINED 0xffu
#define HEAP_END         0xe000u
#define DEFAULT_SETUP    4u

struct e820 {
    uint64_t base, size;
    uint32_t type;
} __attribute__((packed));

static uint32_t get(const uint8_t *p, size_t at, size_t size)
{
    uint32_t v = 0;

    memcpy(&v, p + at, size);
    return v;
}

static void set32(uint8_t *p, size_t at, uint32_t v)
{
    memcpy(p + at, &v, sizeof(v));
}

static bool is_linux(const struct load_blob *b)
{
    return b->size >= HEADER + 4 && get(b->data, BOOT_FLAG, 2) == MAGIC_FLAG &&
           get(b->data, HEADER, 4) == MAGIC_HDRS;
}

static int check(struct loader *l, const uint8_t *image, uint64_t *setup_size)
{
    const struct load_blob *b = &l->request->image;
    uint32_t sectors = image[SETUP_SECTS], header_end, version;
    char *text = l->error->text;
    size_t size = sizeof(l->error->text);

    if (b->size < HEADER_END) {
        (void)fmt(text, size, "Linux: the setup header (0x%x bytes) ends after the image (0x%zx)",
                  HEADER_END, b->size);
        return -E_FORMAT;
    }
    *setup_size = SECTOR * ((sectors ? sectors : DEFAULT_SETUP) + 1ull);
    version = get(image, VERSION, 2);
    /* The header's own length is the second byte of the jump over it. */
    header_end = HEADER + image[JUMP + 1];
    if (version < PROTOCOL_MIN)
        (void)fmt(text, size, "Linux: boot protocol %u.%02u is older than 2.12", version >> 8,
                  version & 0xff);
    else if (!(image[LOADFLAGS] & LOADED_HIGH))
        (void)fmt(text, size, "Linux: a zImage; only bzImage loads");
    else if (*setup_size >= b->size)
        (void)fmt(text, size, "Linux: the setup part (0x%lx bytes) ends after the image (0x%zx)",
                  *setup_size, b->size);
    else if (header_end < HEADER_END)
        (void)fmt(text, size, "Linux: the setup header ends at 0x%x, before 0x%x", header_end,
                  HEADER_END);
    else if (l->request->module_count > 1)
        (void)fmt(text, size, "Linux: %u modules; one (the initrd) at most",
                  l->request->module_count);
    else if (strlen(b->args ? b->args : "") > get(image, CMDLINE_SIZE, 4))
        (void)fmt(text, size, "Linux: the command line is longer than the kernel's limit of %u",
                  get(image, CMDLINE_SIZE, 4));
    else
        return 0;
    return -E_FORMAT;
}

/* A kernel loaded below its preferred address moves itself there (relocatable or not). So that
 * range must be free, and the kernel may as well be loaded there. "The Linux/x86 Boot Protocol",
 * init_size. */
static int put_kernel(struct loader *l, const uint8_t *image, uint64_t setup_size, uint64_t *at)
{
    uint64_t size = l->request->image.size - setup_size;

    memcpy(at, image + PREF_ADDRESS, sizeof(*at));
    return loader_put(l, *at, setup_size, size, max_u64(size, get(image, INIT_SIZE, 4)),
                      "Linux kernel");
}

static int put_initrd(struct loader *l, uint8_t *zero)
{
    uint64_t limit = (uint64_t)get(zero, INITRD_ADDR_MAX, 4) + 1, start = 0;
    int rc;

    /* Overrides the image's values. */
    set32(zero, RAMDISK_IMAGE, 0);
    set32(zero, RAMDISK_SIZE, 0);
    if (l->request->module_count == 0)
        return 0;
    rc = loader_put_module(l, 0, limit, true, &start);
    set32(zero, RAMDISK_IMAGE, (uint32_t)start);
    set32(zero, RAMDISK_SIZE, (uint32_t)l->request->modules[0].size);
    return rc;
}

static void put_e820(const struct loader *l, uint8_t *zero)
{
    struct load_area areas[LOAD_AREAS_MAX];
    unsigned n = load_map(l->request->memory, areas);

    zero[E820_ENTRIES] = (uint8_t)n;
    for (unsigned i = 0; i < n; i++) {
        const struct e820 e = {areas[i].base, areas[i].size, areas[i].type};

        memcpy(zero + E820_TABLE + i * sizeof(e), &e, sizeof(e));
    }
}

static int put_cmdline(struct loader *l, uint8_t *zero)
{
    const char *s = l->request->image.args ? l->request->image.args : "";
    uint64_t at;
    int rc = place_any(&l->place, strlen(s) + 1, 16, 0, true, "command line", &at, l->error);

    if (rc)
        return rc;
    set32(zero, CMD_LINE_PTR, (uint32_t)at);
    return loader_write(l, at, s, strlen(s) + 1);
}

int load_linux(struct loader *l)
{
    const uint8_t *image = l->request->image.data;
    uint8_t zero[ZERO_PAGE_SIZE] = {0};
    uint64_t setup_size, kernel, zero_at, stack;
    int rc;

    if (!is_linux(&l->request->image))
        return 0;
    rc = check(l, image, &setup_size);
    if (rc == 0)
        rc = put_kernel(l, image, setup_size, &kernel);
    if (rc)
        return rc;
    memcpy(zero + SETUP_SECTS, image + SETUP_SECTS, HEADER_END - SETUP_SECTS);
    zero[TYPE_OF_LOADER] = LOADER_UNDEFINED;
    zero[LOADFLAGS] |= CAN_USE_HEAP;
    set32(zero, HEAP_END_PTR, (get(zero, HEAP_END_PTR, 4) & 0xffff0000u) | HEAP_END);
    set32(zero, CODE32_START, (uint32_t)kernel);
    put_e820(l, zero);
    if (l->request->devices & DEV_ACPI)
        set32(zero, ACPI_RSDP_ADDR, FIRMWARE_RSDP);
    rc = put_initrd(l, zero);
    if (rc == 0)
        rc = put_cmdline(l, zero);
    if (rc == 0)
        rc = place_any(&l->place, sizeof(zero), PAGE_SIZE, 0, true, "boot parameters", &zero_at,
                       l->error);
    if (rc == 0)
        rc = place_any(&l->place, PAGE_SIZE, PAGE_SIZE, 0, true, "stack", &stack, l->error);
    if (rc == 0)
        rc = loader_write(l, zero_at, zero, sizeof(zero));
    if (rc)
        return rc;
    loader_name_kind(l, "linux");
    l->out->rip = kernel;
    l->out->rsi = zero_at;
    l->out->rsp = stack + PAGE_SIZE;
    rc = loader_protected_mode(l, 0x10, 0x18);
    return rc ? rc : 1;
}

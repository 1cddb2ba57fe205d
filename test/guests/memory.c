/* Started by PVH: says what it was given, and uses the last page of each area of RAM in its map. */
#include "test/guests/lib/guest.h"

#define RAM  1u
#define PAGE 4096u

/* The pattern depends on the address, so that two pages cannot be one. Below 8 GB: see start.asm.
 */
static bool page_works(uint64_t page, const uint8_t *module)
{
    volatile uint64_t *p = (volatile uint64_t *)(uintptr_t)page;

    for (unsigned i = 0; i < PAGE / 8; i++) {
        if (p[i] != 0 && page != (uintptr_t)module) /* a module goes to the highest page */
            return false;
        p[i] = page * 0x9e3779b97f4a7c15ull + i;
    }
    for (unsigned i = 0; i < PAGE / 8; i++)
        if (p[i] != page * 0x9e3779b97f4a7c15ull + i)
            return false;
    return true;
}

void guest_main(const char *cmdline)
{
    const struct pvh_info *info = guest_pvh_info();
    const struct pvh_area *map;
    const uint8_t *module;
    uint32_t size = 0;

    if (!info) {
        say("memory: not started by PVH\n");
        guest_exit(1);
    }
    module = guest_module(&size);
    say("memory: \"%s\", module of %u bytes: %.*s\n", cmdline, size, (int)(module ? size : 0),
        module ? (const char *)module : "");
    map = (const struct pvh_area *)(uintptr_t)info->map;
    for (unsigned i = 0; i < info->map_count; i++) {
        uint64_t last = map[i].base + map[i].size - PAGE;

        say("memory: 0x%lx+0x%lx type %u%s\n", map[i].base, map[i].size, map[i].type,
            map[i].type != RAM         ? ""
            : page_works(last, module) ? ", its last page works"
                                       : ", its last page is broken");
    }
    say("memory: done\n");
}

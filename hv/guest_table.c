/* The table of guests. */
#include "hv/guest.h"
#include "hv/guest_life.h"

static struct guest *guests[ABI_GUESTS_MAX]; /* those in use */
static struct guest *management;

struct guest *guest_get(uint64_t number)
{
    return number < ABI_GUESTS_MAX ? __atomic_load_n(&guests[number], __ATOMIC_ACQUIRE) : NULL;
}

struct guest *guest_management(void)
{
    return management;
}

void guest_enlist(unsigned number, struct guest *g)
{
    if (g && g->management)
        management = g;
    __atomic_store_n(&guests[number], g, __ATOMIC_RELEASE);
}

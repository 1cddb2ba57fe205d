#include "arch/x86/guest/paging.h"

#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"

#define ENTRY_P         (1ull << 0)
#define ENTRY_W         (1ull << 1)
#define ENTRY_U         (1ull << 2)
#define ENTRY_A         (1ull << 5)
#define ENTRY_D         (1ull << 6)
#define ENTRY_LARGE     (1ull << 7)
#define ENTRY_NX        (1ull << 63)
#define ENTRY_LARGE_PAT (1ull << 12)
#define PSE36_FIELD     0x003fe000ull /* bits 21:13 */
#define ADDRESS_32      0xfffff000ull
#define WALKS_MAX       16u /* other vCPUs of a guest must not keep the root here */
#define ADDRESS_64      0x000ffffffffff000ull

/* The format of one paging mode. */
struct walk {
    unsigned levels, bits; /* bits of the linear address per level */
    unsigned size;         /* bytes per entry */
    uint64_t table;        /* of the highest level */
};

static struct walk choose(const struct paging *p, uint64_t linear)
{
    if (p->efer & EFER_LMA)
        return (struct walk){4, 9, 8, p->cr3 & ADDRESS_64};
    if (p->cr4 & CR4_PAE)
        return (struct walk){2, 9, 8, p->pdpte[linear >> 30 & 3] & ADDRESS_64};
    return (struct walk){2, 10, 4, p->cr3 & ADDRESS_32};
}

/* Entries are aligned, and so is the guest's memory. Other vCPUs may change them at any time. */
static int read_entry(const struct gmem *m, uint64_t at, unsigned size, uint64_t *entry)
{
    const void *p = gmem_ptr(m, gpa(at), size);

    if (!p)
        return -E_RANGE;
    *entry = size == 8 ? __atomic_load_n((const uint64_t *)p, __ATOMIC_RELAXED)
                       : __atomic_load_n((const uint32_t *)p, __ATOMIC_RELAXED);
    return 0;
}

/* Sets accessed and dirty flags as the CPU does, by a locked access (SDM 3A "Bus Locking"). False:
 * the entry is not what was read any more. */
static bool mark(const struct gmem *m, uint64_t at, unsigned size, uint64_t entry, uint64_t used)
{
    void *p = gmem_ptr(m, gpa(at), size);
    uint32_t entry32 = (uint32_t)entry;

    if (used == entry || !p)
        return true;
    if (size == 4)
        return __atomic_compare_exchange_n((uint32_t *)p, &entry32, (uint32_t)used, false,
                                           __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    return __atomic_compare_exchange_n((uint64_t *)p, &entry, used, false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

/* PSE-36: bits 20:13 are address bits 39:32 as far as the CPU supports them; bit 21 is reserved. */
static uint64_t pse36_reserved(unsigned physical_width)
{
    uint64_t width = min_u64(max_u64(physical_width, 32), 40);

    return PSE36_FIELD & ~((1ull << (width - 19)) - 1);
}

/* Bits that no entry with 8 bytes may have set. */
static uint64_t always_reserved(const struct paging *p)
{
    uint64_t reserved = ADDRESS_64 & ~((1ull << p->physical_width) - 1);

    if (!(p->efer & EFER_NXE))
        reserved |= ENTRY_NX;
    if (!(p->efer & EFER_LMA))
        reserved |= 0x7ff0000000000000ull;
    return reserved;
}

/* Address bits that are within a large page. */
static uint64_t large_reserved(unsigned shift)
{
    return ((1ull << shift) - 1) & ADDRESS_64 & ~ENTRY_LARGE_PAT;
}

/* True if a present entry has reserved bits set. */
static bool reserved_set(const struct paging *p, const struct walk *w, uint64_t entry,
                         unsigned level, bool large)
{
    uint64_t reserved = 0;

    if (w->size == 4)
        return large && (entry & pse36_reserved(p->physical_width));
    reserved = always_reserved(p);
    if (large)
        reserved |= large_reserved(12 + w->bits * (level - 1));
    if (level == 4)
        reserved |= ENTRY_LARGE;
    return entry & reserved;
}

static bool is_large(const struct paging *p, const struct walk *w, uint64_t entry, unsigned level)
{
    if (level == 1 || !(entry & ENTRY_LARGE))
        return false;
    if (w->size == 4)
        return p->cr4 & CR4_PSE;
    return level < 4;
}

/* `rights`: ENTRY_W and ENTRY_U if all levels have them, ENTRY_NX if one has it. SDM 3A
 * "Determination of Access Rights". Without NXE, NX is a reserved bit. */
static bool allowed(const struct paging *p, uint64_t rights, uint32_t access)
{
    bool user = rights & ENTRY_U, write = access & PF_WRITE;

    if (access & PF_FETCH) {
        if (rights & ENTRY_NX)
            return false;
        return p->cpl == 3 ? user : !user || !(p->cr4 & CR4_SMEP);
    }
    if (p->cpl == 3)
        return user && (!write || (rights & ENTRY_W));
    if (user && (p->cr4 & CR4_SMAP) && !p->ac)
        return false;
    return !write || (rights & ENTRY_W) || !(p->cr0 & CR0_WP);
}

/* SDM 3A "Page-Fault Exceptions": a fetch is reported only if it may fault for being one. */
static uint32_t first_error(const struct paging *p, uint32_t access)
{
    bool fetch = (p->cr4 & CR4_SMEP) || ((p->cr4 & CR4_PAE) && (p->efer & EFER_NXE));

    if (!fetch)
        access &= ~PF_FETCH;
    return access | (p->cpl == 3 ? PF_USER : 0);
}

static uint64_t page_address(const struct walk *w, uint64_t entry, uint64_t linear, unsigned level)
{
    uint64_t offset = (1ull << (12 + w->bits * (level - 1))) - 1;
    uint64_t base = entry & ADDRESS_64 & ~offset;

    if (w->size == 4 && level == 2)
        base = (entry & 0xffc00000ull) | (entry >> 13 & 0xff) << 32;
    return base | (linear & offset);
}

bool paging_trace(const struct paging *p, const struct gmem *m, uint64_t linear,
                  struct paging_trail *t)
{
    const uint64_t used = ENTRY_P | ENTRY_A, wanted = used | always_reserved(p);
    uint64_t entry = p->cr3, all = ENTRY_W | ENTRY_U, any = 0;
    unsigned shift = 39;

    t->p = *p;
    t->levels = 0;
    if (!(p->cr0 & CR0_PG))
        return true;
    if (!(p->efer & EFER_LMA))
        return false;
    for (;; shift -= 9) {
        const uint64_t *table = gmem_ptr(m, gpa(entry & ADDRESS_64), PAGE_SIZE);

        if (!table)
            return false;
        table += linear >> shift & 511;
        entry = __atomic_load_n(table, __ATOMIC_RELAXED);
        if ((entry & wanted) != used)
            return false;
        t->at[t->levels] = table;
        t->entry[t->levels++] = entry;
        all &= entry;
        any |= entry;
        if (shift == 12 || (entry & ENTRY_LARGE))
            break;
    }
    return shift < 39 && (shift == 12 || !(entry & large_reserved(shift))) &&
           allowed(p, all | (any & ENTRY_NX), PF_FETCH);
}

/* One walk. -E_AGAIN, unless it is the `last`: another vCPU has changed an entry that was about to
 * be marked. */
static int translate(const struct paging *p, const struct gmem *m, uint64_t linear, uint32_t access,
                     bool last, uint64_t *gpa_out, uint32_t *error)
{
    uint64_t rights = ENTRY_W | ENTRY_U, entry, at;
    struct walk w;

    *error = first_error(p, access);
    if (!(p->cr0 & CR0_PG)) {
        *gpa_out = linear & UINT32_MAX;
        return 0;
    }
    w = choose(p, linear);
    if (w.levels == 2 && w.size == 8 && !(p->pdpte[linear >> 30 & 3] & ENTRY_P))
        return -E_PERM;
    for (unsigned level = w.levels;; level--) {
        uint64_t index = linear >> (12 + w.bits * (level - 1)) & ((1u << w.bits) - 1);
        bool large;

        at = w.table + index * w.size;
        if (read_entry(m, at, w.size, &entry)) {
            *gpa_out = at;
            return -E_RANGE;
        }
        if (!(entry & ENTRY_P))
            return -E_PERM;
        large = is_large(p, &w, entry, level);
        if (reserved_set(p, &w, entry, level, large)) {
            *error |= PF_PRESENT | PF_RESERVED;
            return -E_PERM;
        }
        rights = (rights & (entry | ENTRY_NX)) | (entry & ENTRY_NX);
        if (level == 1 || large) {
            uint64_t used = entry | ENTRY_A | (access & PF_WRITE ? ENTRY_D : 0);

            if (!allowed(p, rights, access)) {
                *error |= PF_PRESENT;
                return -E_PERM;
            }
            *gpa_out = page_address(&w, entry, linear, level);
            return mark(m, at, w.size, entry, used) || last ? 0 : -E_AGAIN;
        }
        if (!mark(m, at, w.size, entry, entry | ENTRY_A) && !last)
            return -E_AGAIN;
        w.table = entry & (w.size == 4 ? ADDRESS_32 : ADDRESS_64);
    }
}

int paging_translate(const struct paging *p, const struct gmem *m, uint64_t linear, uint32_t access,
                     uint64_t *gpa_out, uint32_t *error)
{
    int rc;

    for (unsigned i = 1; i < WALKS_MAX; i++) {
        rc = translate(p, m, linear, access, false, gpa_out, error);
        if (__builtin_expect(rc != -E_AGAIN, 1))
            return rc;
    }
    /* A guest that keeps changing its tables: what is read now is valid now. */
    return translate(p, m, linear, access, true, gpa_out, error);
}

#include "hv/image.h"

#include "hv/arch.h"
#include "hv/guest_pages.h"
#include "hv/hostmem.h"
#include "hv/job.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/panic.h"

/* Next to the page that the management guest sees. That page is trusted: only the root writes it.
 */
static struct {
    uint8_t *data;
    uint64_t capacity; /* bytes of memory, whole large pages */
    uint64_t cleared;  /* of it; whole large pages of that are mapped */
} memory[ABI_IMAGES];

static uint64_t mapped(uint64_t slot)
{
    return align_down(memory[slot].cleared, PAGE_SIZE_2M);
}

static struct abi_image *slot_of(uint64_t slot)
{
    return slot < ABI_IMAGES ? &guest_pages()->images->images[slot] : NULL;
}

static struct abi_image *find_ready(const char *name)
{
    for (unsigned i = 0; i < ABI_IMAGES; i++) {
        struct abi_image *k = slot_of(i);

        if (k->state == ABI_IMAGE_READY && strcmp(k->name, name) == 0)
            return k;
    }
    return NULL;
}

static struct abi_boot_module *find_module(const char *name)
{
    struct abi_images *p = guest_pages()->images;

    for (unsigned i = 0; i < p->module_count; i++)
        if (strcmp(p->modules[i].name, name) == 0)
            return &p->modules[i];
    return NULL;
}

static struct image_source module_source(const struct abi_boot_module *m)
{
    return (struct image_source){arch_ptr(hpa(m->address - ABI_MODULES_GPA)), m->size};
}

static void free_slot(struct guest *m, uint64_t slot)
{
    struct abi_image *k = slot_of(slot);

    if (mapped(slot) && guest_unmap(m, gpa(ABI_IMAGE_GPA(slot)), mapped(slot)))
        panic("image %lu is not mapped where it was", slot);
    __atomic_store_n(&k->state, ABI_IMAGE_FREE, __ATOMIC_RELEASE);
    job_rest();
    hostmem_free(memory[slot].data, memory[slot].capacity);
    memory[slot].data = NULL;
    job_rest();
    guest_account_memory();
    job_rest();
}

int64_t image_begin(const struct abi_image_request *r)
{
    uint64_t capacity = align_up(r->size, PAGE_SIZE_2M), slot = 0;
    struct abi_image *k;
    uint8_t *data;

    if (!str_is_word(r->name, sizeof(r->name)) || r->size == 0 || r->size > ABI_IMAGE_SIZE_MAX)
        return -E_INVAL;
    if (find_module(r->name))
        return -E_EXIST;
    while (slot < ABI_IMAGES && slot_of(slot)->state != ABI_IMAGE_FREE)
        slot++;
    if (slot == ABI_IMAGES)
        return -E_NOSPC;
    k = slot_of(slot);
    *k = (struct abi_image){.size = r->size, .packed = r->packed};
    memcpy(k->name, r->name, sizeof(k->name));
    job_rest();
    data = hostmem_alloc(capacity, PAGE_SIZE_2M, MEM_IMAGE, 0);
    if (!data)
        return -E_NOMEM;
    /* Before the next rest: if the caller goes, the slot says what to free. */
    memory[slot].data = data;
    memory[slot].capacity = capacity;
    memory[slot].cleared = 0;
    __atomic_store_n(&k->state, ABI_IMAGE_FILLING, __ATOMIC_RELEASE);
    job_rest();
    guest_account_memory();
    job_rest();
    return (int64_t)slot;
}

/* The memory may hold others' data, even from before this boot: the management guest sees none of
 * it before it is cleared. */
int64_t image_extend(struct guest *m, uint64_t slot)
{
    const struct abi_image *k = slot_of(slot);
    uint64_t at;

    if (!k || k->state != ABI_IMAGE_FILLING)
        return -E_NOENT;
    at = mapped(slot);
    if (memory[slot].cleared < memory[slot].capacity) {
        memset(memory[slot].data + memory[slot].cleared, 0, GUEST_STEP);
        memory[slot].cleared += GUEST_STEP;
    }
    if (mapped(slot) > at &&
        virt_backend()->map(m, gpa(ABI_IMAGE_GPA(slot) + at), arch_hpa(memory[slot].data + at),
                            PAGE_SIZE_2M, MAP_RW))
        panic("no tables for an image, although they were prepared");
    return (int64_t)min_u64(mapped(slot), k->size);
}

int64_t image_commit(struct guest *m, uint64_t slot, const uint8_t sha256[32])
{
    struct abi_image *k = slot_of(slot), *old;

    if (!k || k->state != ABI_IMAGE_FILLING)
        return -E_NOENT;
    if (memory[slot].cleared != memory[slot].capacity)
        return -E_STATE;
    old = find_ready(k->name);
    if (old && old->users)
        return -E_BUSY;
    if (old)
        free_slot(m, (uint64_t)(old - slot_of(0)));
    /* From now on it does not change. */
    if (guest_unmap(m, gpa(ABI_IMAGE_GPA(slot)), memory[slot].capacity) ||
        virt_backend()->map(m, gpa(ABI_IMAGE_GPA(slot)), arch_hpa(memory[slot].data),
                            memory[slot].capacity, MAP_R))
        panic("image %lu cannot be mapped where it was", slot);
    job_rest();
    memcpy(k->sha256, sha256, sizeof(k->sha256));
    __atomic_store_n(&k->state, ABI_IMAGE_READY, __ATOMIC_RELEASE);
    log_on_behalf("image %s: %lu bytes", k->name, k->size);
    return 0;
}

int64_t image_drop(struct guest *m, uint64_t slot)
{
    struct abi_image *k = slot_of(slot);

    if (!k || k->state == ABI_IMAGE_FREE)
        return -E_NOENT;
    if (k->users)
        return -E_BUSY;
    free_slot(m, slot);
    return 0;
}

bool image_drop_unfinished(struct guest *m)
{
    for (uint64_t i = 0; i < ABI_IMAGES; i++) {
        if (slot_of(i)->state != ABI_IMAGE_FILLING)
            continue;
        free_slot(m, i);
        return true;
    }
    return false;
}

/* A guest's files: its image, then its modules, then its disks. */
static unsigned files_of(const struct guest_config *c)
{
    return 1 + c->module_count + c->disk_count;
}

static const char *name_of(const struct guest_config *c, unsigned n)
{
    if (n > c->module_count)
        return c->disks[n - 1 - c->module_count].file;
    return n == 0 ? c->image : c->modules[n - 1].file;
}

static struct image_source *place_of(struct guest *g, unsigned n)
{
    if (n > g->config.module_count)
        return &g->disk_images[n - 1 - g->config.module_count];
    return &g->sources[n];
}

struct image_source image_of_management(void)
{
    const struct abi_boot_module *m = find_module(CONFIG_MANAGEMENT_MODULE);

    return m ? module_source(m) : (struct image_source){NULL, 0};
}

static int look_up(const char *name, struct image_source *source)
{
    const struct abi_boot_module *m = find_module(name);
    const struct abi_image *k;

    if (m) {
        *source = module_source(m);
        return 0;
    }
    k = find_ready(name);
    if (!k)
        return -E_NOENT;
    *source = (struct image_source){memory[k - slot_of(0)].data, k->size};
    return 0;
}

static void add_user(const char *name, unsigned guest)
{
    struct abi_boot_module *k = find_module(name);

    if (k)
        __atomic_fetch_or(&k->users, 1u << guest, __ATOMIC_RELEASE);
    else
        __atomic_fetch_or(&find_ready(name)->users, 1u << guest, __ATOMIC_RELEASE);
}

int image_take(struct guest *g)
{
    for (unsigned i = 0; i < files_of(&g->config); i++) {
        int rc;

        job_rest();
        rc = look_up(name_of(&g->config, i), place_of(g, i));
        if (rc)
            return rc;
    }
    for (unsigned i = 0; i < files_of(&g->config); i++)
        add_user(name_of(&g->config, i), g->number);
    job_rest();
    return 0;
}

void image_release(struct guest *g)
{
    struct abi_images *p = guest_pages()->images;

    memset(g->sources, 0, sizeof(g->sources));
    memset(g->disk_images, 0, sizeof(g->disk_images));
    for (unsigned i = 0; i < ABI_IMAGES; i++)
        __atomic_fetch_and(&p->images[i].users, ~(1u << g->number), __ATOMIC_RELEASE);
    job_rest();
    for (unsigned i = 0; i < p->module_count; i++)
        __atomic_fetch_and(&p->modules[i].users, ~(1u << g->number), __ATOMIC_RELEASE);
    job_rest();
}

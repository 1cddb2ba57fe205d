#include "hv/guest_files.h"

#include "hv/abi/control.h"
#include "hv/arch.h"
#include "hv/hostmem.h"
#include "hv/lib.h"

#define FILES_MAX 2u

static struct abi_keep *keep;
static struct shared_file {
    struct abi_file *pages;
    uint64_t at, size;
} files[FILES_MAX];
static unsigned file_count;

struct abi_keep *guest_keep_page(void)
{
    return keep;
}

int guest_files_setup(void)
{
    keep = hostmem_alloc_zeroed(ABI_KEEP_SIZE, MEM_SHARED);
    return keep ? 0 : -E_NOMEM;
}

static int share(uint64_t at, uint64_t size, const char *module, bool secret)
{
    struct abi_file *f = hostmem_alloc_zeroed(size, MEM_SHARED);

    if (!f || file_count == FILES_MAX)
        return -E_NOMEM;
    f->result = -E_NOENT;
    for (unsigned i = 0; i < arch_module_count(); i++) {
        const struct arch_module *m = arch_module(i);

        if (strcmp(m->name, module) != 0)
            continue;
        f->result = -E_NOSPC;
        if (m->size >= size - sizeof(*f))
            break;
        f->result = 0;
        f->length = (uint32_t)m->size;
        memcpy(f->bytes, m->data, m->size);
        if (secret)
            memzero_explicit((uint8_t *)(uintptr_t)m->data, m->size);
        break;
    }
    files[file_count++] = (struct shared_file){f, at, size};
    return 0;
}

int guest_files_share(uint64_t at, uint64_t size, const char *module)
{
    return share(at, size, module, false);
}

int guest_files_share_secret(uint64_t at, uint64_t size, const char *module)
{
    return share(at, size, module, true);
}

int guest_files_map(struct guest *m, const struct virt_ops *ops)
{
    int rc = ops->map(m, gpa(ABI_KEEP_GPA), arch_hpa(keep), ABI_KEEP_SIZE, MAP_R);

    for (unsigned i = 0; rc == 0 && i < file_count; i++)
        rc = ops->map(m, gpa(files[i].at), arch_hpa(files[i].pages), files[i].size, MAP_R);
    return rc;
}

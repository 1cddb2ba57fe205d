/* SOURCES: hv/gmem.c @load hv/lib.c hv/fmt.c */
/* Hostile images. Input: how many of the last bytes are modules and the command line (two bytes),
 * then the image. Every part is in a block of exactly its size, for the sanitizer. */
#include "hv/abi/memory.h"
#include "mgmt/load/load.h"

#include <stdlib.h>
#include <string.h>

#define MEMORY  (2ull << 20)
#define LARGE   (6ull << 30) /* some above the hole */
#define SETTING 2u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint8_t *string_of(const uint8_t *bytes, size_t n)
{
    uint8_t *p = malloc(n + 1);

    if (!p)
        abort();
    memcpy(p, bytes, n);
    p[n] = 0;
    return p;
}

static uint8_t *exact_copy(const uint8_t *bytes, size_t n)
{
    uint8_t *p = malloc(n);

    if (n && !p)
        abort();
    if (n)
        memcpy(p, bytes, n);
    return p;
}

static void check_loaded(const struct load_result *r, uint64_t memory)
{
    if (!r->kind[0] || r->rip >= memory || r->rsp > memory)
        abort();
    if (r->mode == LOAD_REAL16)
        return;
    if (r->mode != LOAD_PROT32 || r->gdt_base > memory ||
        r->gdt_limit + 1ull > memory - r->gdt_base)
        abort();
    /* The pointers handed to the guest. */
    if (r->rbx >= memory || r->rsi >= memory || r->cs > r->gdt_limit || r->ds > r->gdt_limit)
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct load_request r = {0};
    static struct load_plan plan;
    struct load_sizes sizes = {{0}};
    const char *what;
    struct load_error e;
    uint8_t *image, *args, *modules[LOAD_MODULES_MAX] = {NULL};
    size_t tail, each;
    int rc;

    if (size < SETTING)
        return 0;
    r.module_count = data[0] % (LOAD_MODULES_MAX + 1);
    r.kind = data[0] >> 4 <= KIND_PVH ? data[0] >> 4 : KIND_AUTO;
    r.devices = data[1] & 1 ? DEV_ALL : 0;
    tail = min_u64(data[1], size - SETTING);
    data += SETTING;
    size -= SETTING + tail;
    args = string_of(data + size, tail);
    image = exact_copy(data, size);
    r.image = (struct load_blob){image, size, (const char *)args, data[-1] & 1 ? "name" : NULL};
    each = r.module_count ? tail / r.module_count : 0;
    for (unsigned i = 0; i < r.module_count; i++) {
        modules[i] = exact_copy(data + size + i * each, each);
        r.modules[i] =
            (struct load_blob){modules[i], each, i & 1 ? (const char *)args : NULL, NULL};
    }
    r.memory = size & 1 ? MEMORY : LARGE;
    sizes.size[LOAD_FROM_IMAGE] = size;
    for (unsigned i = 0; i < r.module_count; i++)
        sizes.size[LOAD_FROM_MODULE + i] = each;
    rc = load_guest(&r, &plan, &e);
    if (rc == 0)
        check_loaded(&plan.start, memory_below(r.memory));
    if (rc == 0 && load_plan_check(&plan, &sizes, r.memory, &what))
        abort();
    /* A refusal has a reason, a success has none; the reason is a terminated text. */
    if (rc > 0 || (rc == 0) != (e.text[0] == 0) || !memchr(e.text, 0, sizeof(e.text)))
        abort();
    for (unsigned i = 0; i < r.module_count; i++)
        free(modules[i]);
    free(image);
    free(args);
    return 0;
}

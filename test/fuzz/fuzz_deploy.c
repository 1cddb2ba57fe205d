/* SOURCES: hv/load_plan.c @mgmt @llhttp */
/* The bytes of a connection that uploads and deploys. Whatever they are, nothing unfinished may be
 * left when it ends. */
#include "test/unit/deploy_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static uint64_t size_of(const char *name)
{
    int slot = deploy_find_upload(&images, name);
    const struct abi_boot_module *m = deploy_find_module(&images, name);

    if (slot < 0 && !m)
        abort();
    return slot >= 0 ? images.images[slot].size : m->size;
}

static void check_plan(void)
{
    struct load_sizes sizes = {{0}};
    const char *what;

    if (!was_created || created.why[0])
        return;
    sizes.size[LOAD_FROM_IMAGE] = size_of(created.config.image);
    for (unsigned i = 0; i < created.config.module_count; i++)
        sizes.size[LOAD_FROM_MODULE + i] = size_of(created.config.modules[i].file);
    if (load_plan_check(&created.plan, &sizes, created.config.memory, &what))
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t at = 0;

    fixture_clean();
    fixture_connect();
    while (at < size) {
        size_t used = http_feed(&request, (const char *)data + at, size - at);

        if (request.state == HTTP_MORE || request.state == HTTP_BAD)
            break;
        if (used == 0 || used > size - at)
            abort();
        at += used;
        memset(&response, 0, sizeof(response));
        was_created = false;
        api_handle(&view, &request, answer, sizeof(answer), &response, false, false);
        if (response.status < 200 || response.body.len > sizeof(answer))
            abort();
        check_plan();
        http_next(&request);
    }
    fixture_disconnect();
    for (unsigned i = 0; i < ABI_IMAGES; i++)
        if (images.images[i].state == ABI_IMAGE_FILLING)
            abort();
    return 0;
}

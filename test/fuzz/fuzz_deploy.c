/* SOURCES: @mgmt @llhttp */
/* The bytes of a connection that uploads and deploys. Whatever they are, nothing unfinished is left
 * when it ends. */
#include "test/unit/deploy_fixture.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_plan(void)
{
    struct load_sizes sizes = {{0}};
    const char *what;
    int slot = deploy_find_upload(&images, created.config.image);

    if (!created.planned)
        return;
    if (slot < 0)
        abort();
    sizes.size[LOAD_FROM_IMAGE] = images.images[slot].size;
    for (unsigned i = 0; i < created.config.module_count; i++) {
        slot = deploy_find_upload(&images, created.config.modules[i].file);
        if (slot < 0)
            abort();
        sizes.size[LOAD_FROM_MODULE + i] = images.images[slot].size;
    }
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
        created.planned = 0;
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

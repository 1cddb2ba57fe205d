/* Makes the guests of the configuration as the management guest does. */
#include "mgmt/boot.h"
#include "mgmt/deploy.h"
#include "test/guests/lib/guest.h"
#include "test/guests/lib/management.h"

#define HALF_WAY 7u /* exit code */

static unsigned left;

static const struct abi_guest *guest_of(unsigned number)
{
    return guest(number);
}

static const struct abi_vcpu *vcpu_of(struct api_vcpu id)
{
    return vcpu(id.guest, id.vcpu);
}

static const uint8_t *module_bytes(const struct abi_boot_module *m)
{
    return (const uint8_t *)(uintptr_t)m->address;
}

static uint8_t *image_bytes(unsigned slot)
{
    return (uint8_t *)(uintptr_t)ABI_IMAGE_GPA((uint64_t)slot);
}

static int64_t create(struct abi_create *r)
{
    int64_t rc;

    if (!left)
        guest_exit(HALF_WAY);
    rc = call(ABI_CALL_CREATE, (uintptr_t)r, 0, 0);
    left -= rc >= 0;
    return rc;
}

static int64_t configured(void)
{
    return call(ABI_CALL_CONFIGURED, 0, 0, 0);
}

static void note(const char *text)
{
    say("%s\n", text);
}

static struct api_view view = {
    .guest = guest_of,
    .vcpu = vcpu_of,
    .config = &boot_config,
    .image_bytes = image_bytes,
    .module_bytes = module_bytes,
    .create = create,
    .configured = configured,
    .note = note,
};

void make_guests(unsigned most)
{
    static uint64_t scratch[1u << 14];
    static struct abi_create request;

    left = most;
    view.host = host();
    view.images = (const struct abi_images *)(uintptr_t)ABI_IMAGES_PAGE_GPA;
    view.config_whole = boot_read(&view, scratch, sizeof(scratch));
    boot_guests(&view, &request);
}

bool plan_guest(struct abi_create *r)
{
    struct deploy_refusal f;
    struct load_request l;
    struct load_error e;

    return deploy_find_files(&view, &r->config, &l, &f) && load_guest(&l, &r->plan, &e) == 0;
}

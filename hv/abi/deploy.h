/*
 * The control ABI's part for what comes over the network: images in host memory, and guests made
 * from them. See hv/abi/control.h for the calls.
 */
#pragma once

#include "hv/config.h"
#include "hv/load_plan.h"

/* Uploaded images. Each has memory of its own, which appears in the management guest at its slot's
 * address: writable while it is being filled, read-only once it is complete. */
#define ABI_IMAGES           16u
#define ABI_IMAGE_SIZE_MAX   (128ull << 20)
#define ABI_IMAGES_GPA       0x40000000ull
#define ABI_IMAGE_GPA(slot)  (ABI_IMAGES_GPA + (slot)*ABI_IMAGE_SIZE_MAX)
#define ABI_BOOT_MODULES_MAX 64u
#define ABI_IMAGE_NAME_MAX   96u /* with the NUL; as in struct guest_config */

enum abi_image_state {
    ABI_IMAGE_FREE,
    ABI_IMAGE_FILLING, /* dropped when the management guest restarts */
    ABI_IMAGE_READY
};

struct abi_image {
    char name[ABI_IMAGE_NAME_MAX];
    uint32_t state;     /* enum abi_image_state; written last */
    uint32_t users;     /* bits: numbers of the guests made from it */
    uint64_t size;      /* bytes */
    uint64_t packed;    /* size of the upload, if it was compressed and has been unpacked; else 0 */
    uint8_t sha256[32]; /* of the upload */
};

/* Boot modules, whole, read-only, in separate pages: each at its host address plus this. */
#define ABI_MODULES_GPA (4ull << 30)

/* A file from the ISO. Management decides which guest may use which file; the root gives a guest
 * none whose name begins with CONFIG_OWN_FILES. */
struct abi_boot_module {
    char name[ABI_IMAGE_NAME_MAX];
    uint64_t address; /* guest-physical */
    uint64_t size;
    uint32_t users; /* as in struct abi_image */
    uint32_t reserved;
};

struct abi_images {
    struct abi_image images[ABI_IMAGES];
    uint64_t module_count;
    struct abi_boot_module modules[ABI_BOOT_MODULES_MAX];
};
_Static_assert(sizeof(struct abi_images) <= ABI_IMAGES_SIZE, "abi_images must fit its pages");

/* ABI_CALL_IMAGE_BEGIN's argument. */
struct abi_image_request {
    char name[ABI_IMAGE_NAME_MAX];
    uint64_t size;
    uint64_t packed; /* as in struct abi_image */
};

/* ABI_CALL_CREATE's argument. The plan says how the guest's memory is filled from its image and its
 * modules, each of which is a boot module or an uploaded one. */
struct abi_create {
    struct guest_config config; /* `core` and `cores`: of the machine's, one for each vCPU */
    /* Not empty: why the guest cannot be made. It gets its number, no memory and no share of a
     * core, and is shown in state ABI_GUEST_FAILED until it is deleted; there is no plan. */
    char why[ABI_TEXT_MAX];
    uint32_t address; /* written by the root with -E_PERM: the index in config.net.addresses */
    uint32_t reserved;
    struct load_plan plan;
};

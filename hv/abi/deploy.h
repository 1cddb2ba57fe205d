/*
 * The control ABI's part for what comes over the network: images in host memory, and guests made
 * from them. See hv/abi/control.h for the calls.
 */
#pragma once

#include "hv/config.h"
#include "hv/load/plan.h"

/* Uploaded images. Each has memory of its own, which appears in the management guest at its slot's
 * address: to be written while it is being filled, read-only once it is complete. */
#define ABI_IMAGES           16u
#define ABI_IMAGE_SIZE_MAX   (128ull << 20)
#define ABI_IMAGES_GPA       0x40000000ull
#define ABI_IMAGE_GPA(slot)  (ABI_IMAGES_GPA + (slot)*ABI_IMAGE_SIZE_MAX)
#define ABI_BOOT_MODULES_MAX 64u
#define ABI_IMAGE_NAME_MAX   96u /* with the NUL; as in struct guest_config */

enum abi_image_state {
    ABI_IMAGE_FREE,
    ABI_IMAGE_FILLING, /* dropped when the management guest is started anew */
    ABI_IMAGE_READY
};

struct abi_image {
    char name[ABI_IMAGE_NAME_MAX];
    uint32_t state; /* enum abi_image_state; written last */
    uint32_t users; /* bits of the numbers of guests that are made of it */
    uint64_t size;  /* bytes */
    uint64_t
        packed; /* of what was uploaded, where that was compressed and is not any more; else 0 */
    uint8_t sha256[32]; /* of what was uploaded */
};

enum abi_boot_module_flags {
    /* It is a guest's of the configuration: only that guest, made again, can have it. */
    ABI_BOOT_MODULE_KEPT = 1u << 0,
};

/* What came with the ISO, but for the appliance's own files. */
struct abi_boot_module {
    char name[ABI_IMAGE_NAME_MAX];
    uint64_t size;
    uint32_t users; /* as in struct abi_image */
    uint32_t flags; /* enum abi_boot_module_flags */
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

/* ABI_CALL_CREATE's argument. With `planned` the plan says how the guest's memory is filled from
 * the images; without it the image must be a boot module, which the root reads itself. Modules may
 * be either: nobody looks into them. */
struct abi_create {
    struct guest_config config;
    uint32_t planned;
    uint32_t reserved;
    struct load_plan plan;
    char why[ABI_TEXT_MAX]; /* written by the root when it refuses */
};

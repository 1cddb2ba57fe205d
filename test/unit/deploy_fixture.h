/*
 * A root for uploads and deployments, with the API in front of it. Images are in heap blocks of
 * exactly their size, so that the sanitizer sees an access beyond either end.
 */
#pragma once

#include "hv/lib.h"
#include "mgmt/api.h"
#include "mgmt/deploy.h"
#include "mgmt/upload.h"

#include <sanitizer/asan_interface.h>
#include <stdlib.h>

static struct abi_images images = {
    .module_count = 2,
    .modules = {{.name = "iso.elf", .size = 4096}, {.name = "initrd", .size = 7}}};
static uint8_t *image_memory[ABI_IMAGES];
static uint64_t image_extended[ABI_IMAGES];
static struct config config = {
    .management.service = {.auth = AUTH_NONE},
    .guests = {{.name = "linux", .image = "iso.elf", .module_count = 1}},
    .guest_count = 1,
};
static struct abi_host host = {.tsc_hz = 1000000, .core_count = 2, .configured = 1};
static struct abi_guest guests[ABI_GUESTS_MAX];
static struct abi_create created;
static bool was_created;
static int64_t create_result;
static int removed = -1;

static const struct abi_guest *fixture_guest(unsigned n)
{
    return n < ABI_GUESTS_MAX ? &guests[n] : NULL;
}

static int64_t fixture_begin(const struct abi_image_request *r)
{
    if (strcmp(r->name, "iso.elf") == 0)
        return -E_EXIST;
    if (r->size > 1u << 20)
        return -E_NOMEM;
    for (unsigned i = 0; i < ABI_IMAGES; i++) {
        if (images.images[i].state != ABI_IMAGE_FREE)
            continue;
        image_memory[i] = malloc(r->size);
        image_extended[i] = 0;
        ASAN_POISON_MEMORY_REGION(image_memory[i], r->size);
        images.images[i] =
            (struct abi_image){.size = r->size, .packed = r->packed, .state = ABI_IMAGE_FILLING};
        memcpy(images.images[i].name, r->name, sizeof(r->name));
        return i;
    }
    return -E_NOSPC;
}

/* As the root does it: a part at a time. Memory that does not exist yet must not be touched. */
static int64_t fixture_extend(unsigned slot)
{
    uint64_t size = images.images[slot].size;

    if (slot >= ABI_IMAGES || images.images[slot].state != ABI_IMAGE_FILLING)
        abort();
    image_extended[slot] = min_u64(size, image_extended[slot] + 64);
    ASAN_UNPOISON_MEMORY_REGION(image_memory[slot], image_extended[slot]);
    return (int64_t)image_extended[slot];
}

static int64_t fixture_drop(unsigned slot)
{
    if (slot >= ABI_IMAGES || images.images[slot].state == ABI_IMAGE_FREE)
        abort();
    if (images.images[slot].users)
        return -E_BUSY;
    free(image_memory[slot]);
    image_memory[slot] = NULL;
    images.images[slot].state = ABI_IMAGE_FREE;
    return 0;
}

static int64_t fixture_commit(unsigned slot, const uint8_t sha256[32])
{
    int old = deploy_find_upload(&images, images.images[slot].name);

    if (images.images[slot].state != ABI_IMAGE_FILLING ||
        image_extended[slot] != images.images[slot].size)
        abort();
    if (old >= 0 && fixture_drop((unsigned)old))
        return -E_BUSY;
    memcpy(images.images[slot].sha256, sha256, 32);
    images.images[slot].state = ABI_IMAGE_READY;
    return 0;
}

static uint8_t *fixture_bytes(unsigned slot)
{
    return image_memory[slot];
}

/* Its header: load all of it at 1 MB, and the entry point. */
static const uint32_t multiboot1[] = {0x1badb002, 0x10000,  0u - 0x1badb002 - 0x10000,
                                      0x100000,   0x100000, 0x101000,
                                      0x101000,   0x100020};

/* In a heap block of exactly its size. */
static const uint8_t *fixture_module(const struct abi_boot_module *m)
{
    static uint8_t *blocks[2];
    size_t i = (size_t)(m - images.modules);

    if (!blocks[i]) {
        blocks[i] = malloc(m->size);
        memset(blocks[i], 0xf4, m->size);
        if (i == 0)
            memcpy(blocks[i], multiboot1, sizeof(multiboot1));
    }
    return blocks[i];
}

static struct abi_vcpu vcpu_pages[ABI_GUESTS_MAX];
static const struct abi_vcpu *fixture_vcpu(struct api_vcpu id)
{
    return &vcpu_pages[id.guest];
}

static int64_t fixture_create(struct abi_create *r)
{
    created = *r;
    was_created = true;
    if (create_result < 0)
        return create_result;
    guests[create_result].state = ABI_GUEST_STARTING;
    (void)str_copy(guests[create_result].config.name, ABI_NAME_MAX, r->config.name);
    host.guests |= 1u << create_result;
    return create_result;
}

static int64_t fixture_remove(unsigned n)
{
    removed = (int)n;
    return n == 0 ? -E_PERM : 0;
}

static const struct abi_exit *fixture_exits(struct api_vcpu id)
{
    static struct abi_exit ring[ABI_EXITS];

    (void)id;
    return ring;
}
static uint64_t fixture_tsc(void)
{
    return 5000000;
}

static void fixture_note(const char *text)
{
    (void)text;
}

static struct auth_table fixture_auth;
static struct audit fixture_audit;
static struct clock fixture_clock;
static struct unpack fixture_unpack;
static struct abi_thread threads[ABI_THREADS_MAX];
static const struct api_view view = {
    .host = &host,
    .threads = threads,
    .config = &config,
    .config_whole = true,
    .module_bytes = fixture_module,
    .vcpu = fixture_vcpu,
    .clock = &fixture_clock,
    .images = &images,
    .guest = fixture_guest,
    .exits = fixture_exits,
    .image_begin = fixture_begin,
    .image_extend = fixture_extend,
    .image_commit = fixture_commit,
    .image_drop = fixture_drop,
    .image_bytes = fixture_bytes,
    .create = fixture_create,
    .remove = fixture_remove,
    .unpack = &fixture_unpack,
    .tsc = fixture_tsc,
    .auth = &fixture_auth,
    .audit = &fixture_audit,
    .note = fixture_note,
    .random_token = "secret",
};

static struct http_request request;
static struct upload upload;
static struct api_response response;
static char answer[65536];

static inline void fixture_connect(void)
{
    upload = (struct upload){.view = &view};
    http_init(&request, &upload_sink, &upload);
}

static inline void fixture_disconnect(void)
{
    upload_abort(&upload);
}

/* Removes uploaded images and guests that a test left behind. */
static inline void fixture_clean(void)
{
    (void)str_copy(config.guests[0].modules[0].file, sizeof(config.guests[0].modules[0].file),
                   "initrd");
    was_created = false;
    fixture_disconnect();
    for (unsigned i = 0; i < ABI_IMAGES; i++) {
        images.images[i].users = 0;
        if (images.images[i].state != ABI_IMAGE_FREE)
            (void)fixture_drop(i);
    }
    memset(guests, 0, sizeof(guests));
    host.guests = 0;
    config.management.service.auth = AUTH_NONE;
    create_result = 1;
    removed = -1;
}

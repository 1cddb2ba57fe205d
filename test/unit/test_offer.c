/* SOURCES: hv/offer.c hv/image.c hv/lib.c */
/* Whom the boot modules are given to. */
#include "hv/offer.h"

#include "hv/arch.h"
#include "hv/guest_pages.h"
#include "hv/hostmem.h"
#include "hv/image.h"
#include "hv/lib.h"
#include "hv/log.h"
#include "hv/panic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static struct config config;
static struct abi_images images;
static const struct arch_module modules[] = {
    {(const uint8_t *)"m", 1, "bulkhead:management"},
    {(const uint8_t *)"j", 1, "bulkhead:configuration"},
    {(const uint8_t *)"c", 1, "cert.pem"},
    {(const uint8_t *)"k", 1, "key.pem"},
    {(const uint8_t *)"a", 1, "a.elf"},
    {(const uint8_t *)"v", 1, "vmlinuz"},
    {(const uint8_t *)"i", 1, "initrd"},
    {(const uint8_t *)"e", 1, "extra"},
};

/* ---- stand-ins for the rest of the root ---- */

unsigned arch_module_count(void)
{
    return ARRAY_LEN(modules);
}

const struct arch_module *arch_module(unsigned i)
{
    return &modules[i];
}

struct abi_images *guest_images_page(void)
{
    return &images;
}

void guest_account_memory(void)
{
}

void *hostmem_alloc(uint64_t size, uint64_t align, enum mem_owner_kind kind, unsigned guest)
{
    (void)size, (void)align, (void)kind, (void)guest;
    return NULL;
}

void hostmem_free(void *p, uint64_t size)
{
    (void)p, (void)size;
}

const struct virt_ops *virt_backend(void)
{
    return NULL;
}

int guest_unmap(struct guest *g, gpa_t gpa, uint64_t size)
{
    (void)g, (void)gpa, (void)size;
    return 0;
}

void log_on_behalf(const char *format, ...)
{
    (void)format;
}

_Noreturn void panic(const char *format, ...)
{
    (void)format;
    abort();
}

/* ---- */

static struct guest_config linux_guest(const char *name)
{
    struct guest_config g = {.module_count = 1};

    (void)str_copy(g.name, sizeof(g.name), name);
    strcpy(g.image, "vmlinuz");
    strcpy(g.cmdline, "quiet");
    strcpy(g.modules[0].file, "initrd");
    return g;
}

static int setup(void **state)
{
    (void)state;
    memset(&config, 0, sizeof(config));
    memset(&images, 0, sizeof(images));
    strcpy(config.management.service.certificate, "cert.pem");
    strcpy(config.management.service.key, "key.pem");
    strcpy(config.guests[0].name, "a");
    strcpy(config.guests[0].image, "a.elf");
    config.guests[1] = linux_guest("linux");
    config.guest_count = 2;
    for (unsigned i = 0; i < ARRAY_LEN(modules); i++)
        strcpy(images.modules[images.module_count++].name, modules[i].name);
    image_offer(&config, true);
    return 0;
}

static void whose(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(offer_of(&config, true, modules[i].name), OFFER_NONE);
    assert_int_equal(offer_of(&config, true, "a.elf"), OFFER_ALL);
    assert_int_equal(offer_of(&config, true, "vmlinuz"), OFFER_ALL);
    assert_int_equal(offer_of(&config, true, "initrd"), OFFER_KEPT);
    assert_int_equal(offer_of(&config, true, "extra"), OFFER_ALL);
    /* A guest with a mistake in it is not in the configuration that was read. */
    assert_int_equal(offer_of(&config, false, "extra"), OFFER_KEPT);
    assert_int_equal(offer_of(&config, false, "a.elf"), OFFER_ALL);
    assert_int_equal(offer_of(&config, false, "bulkhead:configuration"), OFFER_NONE);
    /* Its own module, and another's image. */
    strcpy(config.guests[0].image, "initrd");
    assert_int_equal(offer_of(&config, true, "initrd"), OFFER_ALL);
    /* None of these is named: an empty name is not one of them. */
    memset(&config, 0, sizeof(config));
    assert_int_equal(offer_of(&config, true, ""), OFFER_ALL);
    assert_int_equal(offer_of(&config, true, "bulkhead:management"), OFFER_NONE);
}

static void the_same_guest(void **state)
{
    struct guest_config g = linux_guest("linux");

    (void)state;
    assert_true(offer_is_same_guest(&config, &g));
    g.memory = 1 << 30; /* no matter */
    assert_true(offer_is_same_guest(&config, &g));
    strcpy(g.cmdline, "init=/bin/sh");
    assert_false(offer_is_same_guest(&config, &g));
    g = linux_guest("other");
    assert_false(offer_is_same_guest(&config, &g));
    g = linux_guest("linux");
    strcpy(g.image, "a.elf");
    assert_false(offer_is_same_guest(&config, &g));
    g = linux_guest("linux");
    strcpy(g.modules[0].args, "x");
    assert_false(offer_is_same_guest(&config, &g));
    g = linux_guest("linux");
    g.module_count = 2;
    assert_false(offer_is_same_guest(&config, &g));
}

static struct guest guest;

static int take(const struct guest_config *c)
{
    memset(&guest, 0, sizeof(guest));
    guest.number = 5;
    guest.config = *c;
    return image_take(&guest, false);
}

static void listed(void **state)
{
    (void)state;
    assert_int_equal(images.module_count, 4);
    assert_string_equal(images.modules[0].name, "a.elf");
    assert_string_equal(images.modules[2].name, "initrd");
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(images.modules[i].flags, i == 2 ? ABI_BOOT_MODULE_KEPT : 0);
}

static void taken(void **state)
{
    struct guest_config g = linux_guest("linux");

    (void)state;
    assert_int_equal(take(&g), 0);
    assert_int_equal(guest.sources[1].data[0], 'i');
    assert_int_equal(images.modules[2].users, 1u << 5);
    image_release(&guest);
    assert_int_equal(images.modules[2].users, 0);
    g = linux_guest("thief");
    assert_int_equal(take(&g), -E_PERM);
    assert_string_equal(guest.missing, "initrd");
    assert_int_equal(images.modules[1].users, 0);
    g.module_count = 0;
    assert_int_equal(take(&g), 0);
    image_release(&guest);
    for (unsigned i = 0; i < 4; i++) {
        strcpy(g.image, modules[i].name);
        assert_int_equal(take(&g), -E_NOENT);
        assert_true(image_is_own(modules[i].name));
        g = linux_guest("linux");
        strcpy(g.modules[0].file, modules[i].name);
        assert_int_equal(take(&g), -E_NOENT);
        g.module_count = 0;
    }
    assert_false(image_is_own("a.elf"));
}

/* The management guest is made of its own file. */
static void management(void **state)
{
    (void)state;
    memset(&guest, 0, sizeof(guest));
    guest.management = true;
    strcpy(guest.config.image, "bulkhead:management");
    assert_int_equal(image_take(&guest, false), 0);
    assert_int_equal(guest.sources[0].data[0], 'm');
    strcpy(guest.config.image, "nothing");
    assert_int_equal(image_take(&guest, false), -E_NOENT);
    assert_string_equal(guest.missing, "nothing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(whose, setup),      cmocka_unit_test_setup(the_same_guest, setup),
        cmocka_unit_test_setup(listed, setup),     cmocka_unit_test_setup(taken, setup),
        cmocka_unit_test_setup(management, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

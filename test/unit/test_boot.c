/* SOURCES: @mgmt @llhttp */
/* The management guest carries out the ISO's configuration over a fake root. */
#include "hv/lib.h"
#include "mgmt/boot.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

static struct abi_host host;
static struct abi_guest guests[ABI_GUESTS_MAX];
static struct abi_vcpu vcpus[ABI_GUESTS_MAX];
static struct abi_images images;
static const char *configuration;
static const uint32_t kernel[] = {0x1badb002, 0x10000,  0u - 0x1badb002 - 0x10000,
                                  0x100000,   0x100000, 0x100024,
                                  0x100024,   0x100020, 0xf4};
static char noted[8][512];
static unsigned notes, made, again, dies_after, configured_calls;
static jmp_buf death;

static const struct abi_guest *guest(unsigned n)
{
    return n < ABI_GUESTS_MAX ? &guests[n] : NULL;
}

static const struct abi_vcpu *vcpu(struct api_vcpu id)
{
    return &vcpus[id.guest];
}

static const uint8_t *module_bytes(const struct abi_boot_module *m)
{
    return m->address ? (const uint8_t *)kernel : (const uint8_t *)configuration;
}

static int64_t create(struct abi_create *r)
{
    const char *field;
    unsigned n = 1;

    if (again) {
        again--;
        return -E_AGAIN;
    }
    if (made == dies_after)
        longjmp(death, 1);
    if (!r->why[0] && r->config.memory > 1u << 30)
        return -E_NOMEM;
    while (guests[n].state != ABI_GUEST_EMPTY)
        n++;
    assert_int_equal(config_check_guest(&r->config, &field), 0);
    guests[n].config = r->config;
    guests[n].state = r->why[0] ? ABI_GUEST_FAILED : ABI_GUEST_STARTING;
    guests[n].flags = r->why[0] ? (uint32_t)ABI_GUEST_HUSK : 0;
    (void)str_copy(guests[n].why, sizeof(guests[n].why), r->why);
    guests[n].vcpu_count = 1;
    vcpus[n].core = (uint32_t)r->config.core;
    made++;
    return n;
}

static int64_t configured(void)
{
    configured_calls++;
    host.configured = 1;
    return 0;
}

static void note(const char *text)
{
    assert_true(notes < ARRAY_LEN(noted));
    strcpy(noted[notes++], text);
}

static const struct api_view view = {.host = &host,
                                     .guest = guest,
                                     .vcpu = vcpu,
                                     .images = &images,
                                     .config = &boot_config,
                                     .config_whole = true,
                                     .module_bytes = module_bytes,
                                     .create = create,
                                     .configured = configured,
                                     .note = note};

static void add_module(const char *name, uint64_t address, uint64_t size)
{
    struct abi_boot_module *m = &images.modules[images.module_count++];

    *m = (struct abi_boot_module){.address = address, .size = size};
    strcpy(m->name, name);
}

/* One start of the management guest. */
static bool start(const char *json)
{
    static uint64_t scratch[1 << 14];
    static struct abi_create request;
    bool whole;

    memset(&images, 0, sizeof(images));
    configuration = json;
    if (json)
        add_module(CONFIG_MODULE, 0, strlen(json));
    add_module("a.elf", 1, sizeof(kernel));
    add_module("secret", 1, 5);
    notes = 0;
    whole = boot_read(&view, scratch, sizeof(scratch));
    boot_guests(&view, &request);
    return whole;
}

static int setup(void **state)
{
    (void)state;
    memset(guests, 0, sizeof(guests));
    memset(&host, 0, sizeof(host));
    host.tsc_hz = 1000000;
    host.core_count = 2;
    options_default(&host.options);
    host.memory.largest_free = 64 << 20;
    host.memory.free = 80 << 20;
    guests[0].state = ABI_GUEST_RUNNING;
    guests[0].flags = ABI_GUEST_MANAGEMENT;
    strcpy(guests[0].config.name, "mgmt");
    guests[0].vcpu_count = 1;
    vcpus[0].core = 1;
    made = again = configured_calls = 0;
    dies_after = 99;
    return 0;
}

/* Numbers are places in the list. Management does not count among its core's guests, because they
 * come first. */
static void guests_of_the_configuration(void **state)
{
    (void)state;
    again = 3; /* cores that do not exist yet */
    assert_true(start("{\"guests\": [{\"name\": \"one\", \"image\": \"a.elf\"},"
                      "{\"name\": \"two\", \"image\": \"a.elf\"},"
                      "{\"name\": \"three\", \"image\": \"a.elf\", \"core\": 5}]}"));
    assert_int_equal(made, 3);
    assert_string_equal(guests[1].config.name, "one");
    assert_int_equal(guests[1].config.core, 0);
    assert_string_equal(guests[2].config.name, "two");
    assert_int_equal(guests[2].config.core, 1);
    assert_int_equal(guests[3].config.core, 1);
    assert_int_equal(notes, 1);
    assert_string_equal(noted[0], "guest three: no core 5 exists: it runs on core 1");
    assert_int_equal(host.configured, 1);
    /* Later lives of management find them; guests that were deleted stay deleted. */
    guests[2].state = ABI_GUEST_EMPTY;
    assert_true(start(configuration));
    assert_int_equal(made, 3);
    assert_int_equal(configured_calls, 1);
}

#define FOUR                                                                                       \
    "{\"guests\": [{\"name\": \"g1\", \"image\": \"a.elf\"},"                                      \
    "{\"name\": \"g2\", \"image\": \"a.elf\"}, {\"name\": \"g3\", \"image\": \"b.elf\"},"          \
    "{\"name\": \"g4\", \"image\": \"a.elf\"}]}"

/* Wherever management dies, its next life continues there. */
static void dies_half_way(void **state)
{
    for (unsigned first = 0; first <= 4; first++) {
        setup(state);
        dies_after = first;
        if (!setjmp(death))
            (void)start(FOUR);
        dies_after = 99;
        (void)start(FOUR);
        assert_int_equal(made, 4);
        for (unsigned i = 1; i <= 4; i++) {
            assert_int_equal(guests[i].config.name[1], (char)('0' + i));
            assert_int_equal(guests[i].state, i == 3 ? ABI_GUEST_FAILED : ABI_GUEST_STARTING);
        }
        assert_int_equal(host.configured, 1);
    }
}

/* A guest that cannot be made is shown with the reason, and does not affect others. */
static void what_is_wrong_is_shown(void **state)
{
    static const struct {
        const char *json, *why;
    } cases[] = {
        {"\"image\": \"b.elf\"", "\"b.elf\" is not among the boot modules"},
        {"\"image\": \"cert\"", "\"cert\" is one of the appliance's own files"},
        {"\"image\": \"a.elf\", \"modules\": [{\"file\": \"c\"}]",
         "\"c\" is not among the boot modules"},
        {"\"image\": \"secret\"", "neither a Linux kernel nor a multiboot or PVH image"},
        {"\"image\": \"a.elf\", \"memory\": \"2G\"",
         "not enough memory: 2048 MiB asked, largest free piece 64 MiB of 80 MiB free"},
        {"\"image\": \"a.elf\", \"guaranteed_us\": 9000, \"core\": 0",
         "not enough core time: 9000 us of 10000 us (90.0 %) asked, core 0 has 45.0 % left"},
    };

    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char json[512];

        setup(state);
        (void)snprintf(json, sizeof(json),
                       "{\"guests\": [{\"name\": \"first\", \"image\": \"a.elf\", \"core\": 4,"
                       "\"guaranteed_us\": 5000}, {\"name\": \"bad\", %s},"
                       "{\"name\": \"last\", \"image\": \"a.elf\"}],"
                       "\"management\": {\"certificate\": \"cert\", \"key\": \"key\"}}",
                       cases[i].json);
        assert_true(start(json));
        assert_int_equal(guests[2].state, ABI_GUEST_FAILED);
        if (!strstr(guests[2].why, cases[i].why))
            fail_msg("%s", guests[2].why);
        assert_int_equal(guests[3].state, ABI_GUEST_STARTING);
        assert_string_equal(guests[3].config.name, "last");
    }
}

static void mistakes_are_named(void **state)
{
    (void)state;
    assert_false(start("{\"guests\": [\n {\"name\": \"one\", \"image\": \"a.elf\", \"wait\": 1},\n"
                       " {\"name\": \"two\", \"image\": \"a.elf\"}]}"));
    assert_int_equal(notes, 1);
    assert_string_equal(noted[0], "guests.json:2:37: guests[0].wait: there is no such field");
    assert_int_equal(made, 1);
    assert_string_equal(guests[1].config.name, "two");
    setup(state);
    assert_false(start("{"));
    assert_memory_equal(noted[0], "guests.json:1:", 14);
    assert_int_equal(host.configured, 1);
    assert_int_equal(made, 0);
    setup(state);
    assert_true(start(NULL));
    assert_non_null(strstr(noted[0], "no boot module"));
    assert_int_equal(host.configured, 1);
}

/* The command line overrides it, and that is logged. */
static void another_command_line(void **state)
{
    (void)state;
    host.options.core = 1;
    assert_true(start("{\"guests\": [], \"management\": {\"core\": 1}}"));
    assert_int_equal(notes, 0);
    assert_true(start("{\"guests\": [], \"management\": {\"core\": 2}}"));
    assert_int_equal(notes, 1);
    assert_non_null(strstr(noted[0], "\"management.core=1\", which is in force; guests.json says "
                                     "\"management.core=2\""));
    assert_int_equal(boot_config.management.core, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(guests_of_the_configuration), TEST(dies_half_way),        TEST(what_is_wrong_is_shown),
        TEST(mistakes_are_named),          TEST(another_command_line),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

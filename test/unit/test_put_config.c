/* SOURCES: mgmt/put_config.c mgmt/json.c mgmt/config/config.c mgmt/config/fields.c
 * mgmt/config/guest.c mgmt/config/net.c mgmt/config/shared.c mgmt/config/address.c
 * mgmt/config/management.c mgmt/config/service.c mgmt/config/words.c hv/guest_config.c
 * mgmt/config/json.c hv/lib.c hv/fmt.c
 */
#include "mgmt/put_config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static uint64_t scratch[4096];
static struct config first, second;
static char text[16384];

static void report(void *ctx, const struct config_error *e)
{
    (void)ctx;
    print_message("%u:%u: %s: %s\n", e->line, e->column, e->field, e->text);
}

static void parse(const char *json, struct config *c)
{
    assert_int_equal(config_parse(json, strlen(json), scratch, sizeof(scratch), c, report, NULL),
                     0);
}

/* What was read, as JSON. */
static void write_again(void)
{
    struct json_out j;

    json_begin(&j, text, sizeof(text), false);
    json_object(&j, NULL);
    json_array(&j, "guests");
    for (unsigned i = 0; i < first.guest_count; i++) {
        json_object(&j, NULL);
        put_guest_fields(&j, &first.guests[i], NULL);
        json_end(&j);
    }
    json_end(&j);
    json_array(&j, "shared");
    for (unsigned i = 0; i < first.shared_count; i++) {
        json_object(&j, NULL);
        put_shared_fields(&j, &first.shared[i]);
        json_end(&j);
    }
    json_end(&j);
    json_object(&j, "management");
    put_management_fields(&j, &first.management);
    json_end(&j);
    put_uplinks(&j, &first);
    json_end(&j);
    assert_false(j.overflow);
    text[j.len] = 0;
}

/* No two fields have the same value, so that none can stand in for another. */
#define ALL                                                                                        \
    "{\"guests\": [{\"name\": \"a\", \"image\": \"i\", \"kind\": \"flat\", \"cmdline\": \"c d\", " \
    "\"argv0\": true,"                                                                             \
    "\"memory\": \"32M\", \"core\": 3, \"vcpus\": 2, \"cores\": [3, 9], \"weight\": 101, "         \
    "\"slice_us\": 102, \"budget_us\": 9003,"                                                      \
    "\"period_us\": 10004, \"guaranteed_us\": 5005, \"restart\": \"on-failure\","                  \
    "\"restart_limit\": 6, \"watchdog_ms\": 107, \"timer_ticks\": \"merge\", \"virtio\": "         \
    "\"mmio\", \"paused_clock\": "                                                                 \
    "\"runs\","                                                                                    \
    "\"strict_memory\": true, \"memory_dump\": true,"                                              \
    "\"exit_profile\": \"most\", \"devices\": [\"uart\", \"rtc\"], \"net\": {\"network\": \"n\","  \
    "\"uplink\": false, \"addresses\": [\"10.0.2.20\", \"fd00::20\"], \"allow\": [\"vlan-tags\","  \
    "\"any-address\"], \"broadcasts_per_second\": 8}, \"disks\": [{\"file\": \"d\", "              \
    "\"readonly\": true, \"size_mb\": 7}], \"modules\": [{\"file\": \"f\","                        \
    "\"args\": \"g h\"}, {\"file\": \"k\"}]}, {\"name\": \"b\", \"image\": \"i\"}],"               \
    "\"shared\": [{\"name\": \"r\", \"size\": \"8M\", \"peers\": [\"b\", \"a\"]}],"                \
    "\"management\": {\"address\": \"10.0.2.15/24\", \"gateway\": \"10.0.2.2\", \"core\": 1,"      \
    "\"memory\": \"14M\", \"weight\": 201, \"slice_us\": 202, \"budget_us\": 2003,"                \
    "\"period_us\": 20004, \"requests_us\": 25, \"auth\": {\"tokens\": [{\"name\": \"t\","         \
    "\"role\": \"operate\", \"salt\": \"000102030405060708090a0b0c0d0e0f\", \"sha256\":"           \
    "\"1f1e1d1c1b1a191817161514131211100f0e0d0c0b0a09080706050403020100\"}]}, \"http\": "          \
    "\"plain\","                                                                                   \
    "\"https_port\": 8443, \"certificate\": \"x\", \"key\": \"y\", \"hostname\": \"z\","           \
    "\"ntp\": \"w:1\", \"syslog\": {\"server\": \"10.0.2.3\", \"port\": 515, \"consoles\": true}," \
    "\"reachable_from_guests\": true},"                                                            \
    "\"uplinks\": {\"management\": \"0003:00:1f.6\", \"guests\": \"52:54:00:12:34:56\"}}"

static void nothing_is_lost(void **state)
{
    static const char *const configurations[] = {
        ALL, "{\"guests\": [{\"name\": \"b\", \"image\": \"i\"}]}",
        "{\"management\": {\"auth\": \"none\"}}", "{\"uplinks\": {\"guests\": 7}}"};

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(configurations); i++) {
        parse(configurations[i], &first);
        write_again();
        parse(text, &second);
        for (unsigned k = 0; k < first.guest_count; k++)
            second.guests[k].line = first.guests[k].line;
        assert_int_equal(second.guest_count, first.guest_count);
        assert_int_equal(second.shared_count, first.shared_count);
        assert_memory_equal(second.shared, first.shared, sizeof(first.shared));
        assert_memory_equal(second.guests, first.guests, sizeof(first.guests));
        assert_memory_equal(&second.management, &first.management, sizeof(first.management));
        assert_memory_equal(second.uplinks, first.uplinks, sizeof(first.uplinks));
    }
}

/* ALL has every field that there is, so that nothing_is_lost() is about each. */
static void all_is_all(void **state)
{
    static const char *const names[] = {
#define GUEST(name, ...)           #name,
#define NET(name, ...)             #name,
#define MODULE(name, ...)          #name,
#define DISK(name, ...)            #name,
#define SHARED(name, ...)          #name,
#define MANAGEMENT(name, ...)      #name,
#define MANAGEMENT_PART(name, ...) #name,
#define SYSLOG(name, ...)          #name,
#define TOKEN(name, ...)           #name,
#define UPLINK(name, ...)          #name,
#include "hv/config_fields.def"
    };
    char quoted[40];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        (void)snprintf(quoted, sizeof(quoted), "\"%s\":", names[i]);
        if (!strstr(ALL, quoted))
            fail_msg("%s is missing", quoted);
    }
}

static void image_kind(void **state)
{
    struct json_out j;

    (void)state;
    parse(ALL, &first);
    json_begin(&j, text, sizeof(text), false);
    json_object(&j, NULL);
    put_guest_fields(&j, &first.guests[0], "multiboot1");
    json_end(&j);
    text[j.len] = 0;
    assert_non_null(strstr(text, "\"kind\":\"multiboot1\""));
    assert_null(strstr(text, "flat"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_lost),
        cmocka_unit_test(all_is_all),
        cmocka_unit_test(image_kind),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

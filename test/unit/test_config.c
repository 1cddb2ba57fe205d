/* SOURCES: mgmt/config/config.c mgmt/config/fields.c mgmt/config/guest.c mgmt/config/net.c
 * mgmt/config/shared.c mgmt/config/address.c mgmt/config/management.c mgmt/config/service.c
 * mgmt/config/words.c mgmt/config/options.c hv/options.c hv/guest_config.c mgmt/config/json.c
 * hv/lib.c hv/fmt.c */
#include "mgmt/config/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct config config;
static struct config_error errors[32];
static int error_count;
static uint64_t scratch[65536];

static void report(void *ctx, const struct config_error *e)
{
    (void)ctx;
    if (error_count < 32)
        errors[error_count] = *e;
    error_count++;
}

/* The text is copied to a block of exactly its size, so that the sanitizer sees a read past its
 * end. */
static int parse(const char *text)
{
    size_t n = strlen(text);
    char *copy = malloc(n ? n : 1);
    int rc;

    memcpy(copy, text, n);
    error_count = 0;
    rc = config_parse(copy, n, scratch, sizeof(scratch), &config, report, NULL);
    free(copy);
    assert_int_equal(rc, error_count);
    return rc;
}

static void one_error(const char *text, const char *field, uint32_t line, uint32_t column)
{
    assert_int_equal(parse(text), 1);
    assert_string_equal(errors[0].field, field);
    assert_int_equal(errors[0].line, line);
    assert_int_equal(errors[0].column, column);
    assert_true(strlen(errors[0].text) > 0);
}

static void the_least(void **state)
{
    const struct guest_config *g = &config.guests[0];

    (void)state;
    assert_int_equal(parse("{\"guests\": [{\"name\": \"a\", \"image\": \"a.elf\"}]}"), 0);
    assert_int_equal(config.guest_count, 1);
    assert_string_equal(g->name, "a");
    assert_string_equal(g->image, "a.elf");
    assert_int_equal(g->memory, 16 << 20);
    assert_int_equal(g->core, -1);
    assert_int_equal(g->weight, 100);
    assert_int_equal(g->devices, DEV_DEFAULT);
    assert_int_equal(g->restart, RESTART_NEVER);
    assert_int_equal(g->line, 1);
    assert_false(config.management.static_ip);
    assert_int_equal(config.management.core, -1);
    assert_int_equal(config.nx_large, NX_LARGE_AUTO);
    assert_int_equal(config.smt, SMT_OFF);
    assert_int_equal(config.panic_reboot_s, 30);
}

static void everything(void **state)
{
    const struct guest_config *g = &config.guests[0];
    const struct management_config *m = &config.management;

    (void)state;
    assert_int_equal(
        parse("{\"guests\": [\n"
              " {\"name\": \"linux-1\", \"image\": \"l/vmlinuz\", \"cmdline\": \"a=\\\"b\\\" "
              "\\u00e9\",\n"
              "  \"memory\": \"256M\", \"core\": 3, \"weight\": 200, \"slice_us\": 500,\n"
              "  \"budget_us\": 1000, \"period_us\": 5000, \"restart\": \"on-failure\", "
              "\"restart_limit\": 3, \"watchdog_ms\": 250, \"timer_ticks\": \"merge\", \"virtio\": "
              "\"transitional\", "
              "\"paused_clock\": \"runs\", "
              "\"exit_profile\": \"most\",\n"
              "  \"devices\": [\"uart\", \"net\"],\n"
              "  \"modules\": [{\"file\": \"l/initrd\", \"args\": \"x y\"}, {\"file\": \"z\"}],\n"
              "  \"disks\": [{\"file\": \"d\"}, {\"file\": \"e\", \"readonly\": true, \"size_mb\": "
              "9}]}],\n"
              " \"management\": {\"address\": \"192.168.1.9/20\", \"gateway\": \"192.168.0.1\",\n"
              "  \"core\": 1, \"memory\": 12582912, \"budget_us\": 700, \"period_us\": 2000,\n"
              "  \"requests_us\": 50},\n"
              " \"nx_large\": \"off\", \"smt\": \"on\", \"panic_reboot_s\": 0}"),
        0);
    assert_string_equal(g->cmdline, "a=\"b\" \xc3\xa9");
    assert_int_equal(g->memory, 256 << 20);
    assert_int_equal(g->core, 3);
    assert_int_equal(g->budget_us, 1000);
    assert_int_equal(g->restart, RESTART_ON_FAILURE);
    assert_int_equal(g->exit_profile, ABI_EXITS_MOST);
    assert_int_equal(g->restart_limit, 3);
    assert_int_equal(g->watchdog_ms, 250);
    assert_int_equal(g->timer_ticks, TICKS_MERGE);
    assert_int_equal(g->virtio, VIRTIO_TRANSITIONAL);
    assert_int_equal(g->paused_clock, PAUSED_CLOCK_RUNS);
    assert_int_equal(config.nx_large, NX_LARGE_OFF);
    assert_int_equal(config.smt, SMT_ON);
    assert_int_equal(config.panic_reboot_s, 0);
    assert_int_equal(g->devices, DEV_UART | DEV_NET | DEV_PCI);
    assert_int_equal(g->module_count, 2);
    assert_string_equal(g->modules[0].args, "x y");
    assert_string_equal(g->modules[1].file, "z");
    assert_int_equal(g->disk_count, 2);
    assert_string_equal(g->disks[0].file, "d");
    assert_int_equal(g->disks[0].readonly | g->disks[0].size_mb, 0);
    assert_string_equal(g->disks[1].file, "e");
    assert_int_equal(g->disks[1].readonly, 1);
    assert_int_equal(g->disks[1].size_mb, 9);
    assert_int_equal(g->line, 2);
    assert_true(m->static_ip);
    assert_memory_equal(m->ip, ((uint8_t[]){192, 168, 1, 9}), 4);
    assert_memory_equal(m->netmask, ((uint8_t[]){255, 255, 240, 0}), 4);
    assert_memory_equal(m->gateway, ((uint8_t[]){192, 168, 0, 1}), 4);
    assert_int_equal(m->memory, 12 << 20);
    assert_int_equal(m->requests_us, 50);
}

static void of_the_machine(void **state)
{
    static const struct {
        const char *text, *field;
    } bad[] = {
        {"{\"guests\": [], \"nx_large\": \"on\"}", "nx_large"},
        {"{\"guests\": [], \"nx_large\": true}", "nx_large"},
        {"{\"guests\": [], \"smt\": true}", "smt"},
        {"{\"guests\": [], \"smt\": \"guests\"}", "smt"},
        {"{\"guests\": [], \"panic_reboot_s\": -1}", "panic_reboot_s"},
        {"{\"guests\": [], \"panic_reboot_s\": 86401}", "panic_reboot_s"},
        {"{\"guests\": [], \"panic_reboot_s\": \"never\"}", "panic_reboot_s"},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(bad); i++) {
        assert_int_equal(parse(bad[i].text), 1);
        assert_string_equal(errors[0].field, bad[i].field);
        assert_int_equal(config.nx_large, NX_LARGE_AUTO);
        assert_int_equal(config.panic_reboot_s, 30);
    }
    assert_int_equal(parse("{\"guests\": [], \"panic_reboot_s\": 86400}"), 0);
    assert_int_equal(config.panic_reboot_s, 86400);
}

static void the_others_remain(void **state)
{
    (void)state;
    assert_int_equal(parse("{\"guests\": [{\"name\": \"a\", \"image\": \"a\"},\n"
                           "{\"name\": \"b\", \"image\": \"b\", \"memory\": \"17K\"},\n"
                           "{\"name\": \"c\", \"image\": \"c\"}]}"),
                     1);
    assert_string_equal(errors[0].field, "guests[1].memory");
    assert_int_equal(errors[0].line, 2);
    assert_int_equal(errors[0].column, 40);
    assert_int_equal(config.guest_count, 2);
    assert_string_equal(config.guests[1].name, "c");
}

static void guest(const char *members, const char *field)
{
    char text[512];

    snprintf(text, sizeof(text), "{\"guests\": [{%s}]}", members);
    assert_int_equal(parse(text), 1);
    assert_string_equal(errors[0].field, field);
    assert_int_equal(config.guest_count, 0);
}

static void bad_fields(void **state)
{
    (void)state;
    guest("\"image\": \"a\"", "guests[0].name");
    guest("\"name\": \"a\"", "guests[0].image");
    guest("\"name\": \"A\", \"image\": \"a\"", "guests[0].name");
    guest("\"name\": \"-a\", \"image\": \"a\"", "guests[0].name");
    guest("\"name\": \"mgmt\", \"image\": \"a\"", "guests[0].name");
    guest("\"name\": \"a\", \"image\": \"a\", \"colour\": 1", "guests[0].colour");
    guest("\"name\": \"a\", \"image\": \"a\", \"core\": 128", "guests[0].core");
    guest("\"name\": \"a\", \"image\": \"a\", \"core\": -1", "guests[0].core");
    guest("\"name\": \"a\", \"image\": \"a\", \"core\": 1.5", "guests[0].core");
    guest("\"name\": \"a\", \"image\": \"a\", \"core\": \"1\"", "guests[0].core");
    guest("\"name\": \"a\", \"image\": \"a\", \"weight\": 0", "guests[0].weight");
    guest("\"name\": \"a\", \"image\": \"a\", \"memory\": \"257G\"", "guests[0].memory");
    guest("\"name\": \"a\", \"image\": \"a\", \"memory\": \"99999999999999999999M\"",
          "guests[0].memory");
    guest("\"name\": \"a\", \"image\": \"a\", \"memory\": \"3M\"", "guests[0].memory");
    guest("\"name\": \"a\", \"image\": \"a\", \"restart\": \"maybe\"", "guests[0].restart");
    guest("\"name\": \"a\", \"image\": \"a\", \"exit_profile\": \"all\"", "guests[0].exit_profile");
    guest("\"name\": \"a\", \"image\": \"a\", \"kind\": \"elf\"", "guests[0].kind");
    guest("\"name\": \"a\", \"image\": \"a\", \"devices\": \"uart\"", "guests[0].devices");
    guest("\"name\": \"a\", \"image\": \"a\", \"devices\": [\"gpu\"]", "guests[0].devices");
    guest("\"name\": \"a\", \"image\": \"a\", \"modules\": [{}]", "guests[0].modules[0].file");
    guest("\"name\": \"a\", \"image\": \"a\", \"modules\": [1]", "guests[0].modules");
    guest("\"name\": \"a\", \"image\": \"a\", \"disks\": {}", "guests[0].disks");
    guest("\"name\": \"a\", \"image\": \"a\", \"disks\": [1]", "guests[0].disks");
    guest("\"name\": \"a\", \"image\": \"a\", \"disks\": [{}]", "guests[0].disks[0].file");
    guest("\"name\": \"a\", \"image\": \"a\", \"disks\": [{\"file\": \"f\", \"size_mb\": 65537}]",
          "guests[0].disks[0].size_mb");
    guest("\"name\": \"a\", \"image\": \"a\", \"disks\": [{\"file\": \"f\"}, {\"file\": \"f\"}, "
          "{\"file\": \"f\"}, {\"file\": \"f\"}, {\"file\": \"f\"}]",
          "guests[0].disks");
    guest("\"name\": \"a\", \"image\": \"a\", \"budget_us\": 20000", "guests[0].budget_us");
    guest("\"name\": \"a\\u0000b\", \"image\": \"a\"", "guests[0].name");
    assert_string_equal(errors[0].text, "must not have a NUL (\\u0000)");
}

static void not_json(void **state)
{
    (void)state;
    one_error("", "", 1, 1);
    one_error("{", "", 1, 2);
    one_error("{\"guests\": [}", "", 1, 13);
    one_error("{\"guests\": []} x", "", 1, 16);
    one_error("{\"guests\": [],}", "", 1, 15);
    one_error("{\"guests\": [1,]}", "", 1, 15);
    one_error("{\"guests\" []}", "", 1, 11);
    one_error("{\"guests\": [1 2]}", "", 1, 15);
    one_error("{\"guests\":\n [tru]}", "", 2, 3);
    one_error("{\"guests\": [01]}", "", 1, 13);
    one_error("{\"guests\": [], \"guests\": []}", "", 1, 17);
    assert_int_equal(parse("[]"), 1);
    assert_int_equal(parse("\"x\""), 1);
    assert_int_equal(parse("{\"guests\": {}}"), 1);
    assert_int_equal(parse("{\"nobody\": 1}"), 1);
}

static void management(void **state)
{
    (void)state;
    one_error("{\"management\": {\"address\": \"10.0.2\"}}", "management.address", 1, 29);
    assert_false(config.management.static_ip);
    one_error("{\"management\": {\"address\": \"10.0.2.256/8\"}}", "management.address", 1, 29);
    one_error("{\"management\": {\"address\": \"10.0.2.2/33\"}}", "management.address", 1, 29);
    one_error("{\"management\": {\"address\": \"0.0.0.0/24\"}}", "management.address", 1, 29);
    one_error("{\"management\": {\"address\": \"127.0.0.1/8\"}}", "management.address", 1, 29);
    one_error("{\"management\": {\"address\": \"224.0.0.1/4\"}}", "management.address", 1, 29);
    one_error("{\"management\": {\"address\": \"10.0.2.0/24\"}}", "management.address", 1, 29);
    one_error("{\"management\": {\"address\": \"10.0.2.255/24\"}}", "management.address", 1, 29);
    one_error("{\"management\": {\"address\": \"10.0.2.2/24\", \"gateway\": \"10.0.3.1\"}}",
              "management.gateway", 1, 16);
    one_error("{\"management\": {\"gateway\": \"10.0.2.2x\"}}", "management.gateway", 1, 29);
    one_error("{\"management\": {\"budget_us\": 20000}}", "management.budget_us", 1, 16);
    assert_int_equal(config.management.budget_us, 5000);
}

/* Values that look valid but cannot work. */
static void cannot_work(void **state)
{
    static const char *const servers[] = {
        "ntp:99999", "10.0.2.2:123x", "[fe80::1]:123", "ntp:0",   "ntp:", ":123", "a b", "-a",
        "a-",        "a..b",          "a-.b",          "fe80::g", "a_b",
    };
    static const char *const good_servers[] = {
        "ntp", "10.0.2.2:123", "fe80::1", "::ffff:10.0.2.2", "0.debian.pool.ntp.org:1", "a-b.c",
    };
    char text[256];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(servers); i++) {
        snprintf(text, sizeof(text), "{\"management\": {\"ntp\": \"%s\"}}", servers[i]);
        one_error(text, "management.ntp", 1, 25);
    }
    for (size_t i = 0; i < ARRAY_LEN(good_servers); i++) {
        snprintf(text, sizeof(text), "{\"management\": {\"ntp\": \"%s\"}}", good_servers[i]);
        assert_int_equal(parse(text), 0);
    }
    one_error("{\"management\": {\"hostname\": \"kettle-\"}}", "management.hostname", 1, 16);
    one_error("{\"management\": {\"hostname\": \"\"}}", "management.hostname", 1, 16);
    one_error("{\"management\": {\"address\": \"10.0.2.15/24\", \"gateway\": \"10.0.2.15\"}}",
              "management.gateway", 1, 16);
    one_error("{\"management\": {\"budget_us\": 500, \"period_us\": 1000000}}",
              "management.budget_us", 1, 16);
    one_error("{\"management\": {\"period_us\": 1000001}}", "management.period_us", 1, 30);
    assert_int_equal(parse("{\"management\": {\"budget_us\": 500, \"period_us\": 10000}}"), 0);
    one_error("{\"guests\": [{\"name\": \"a\", \"image\": \"a\\nb\"}]}", "guests[0].image", 1, 37);
    one_error("{\"guests\": [{\"name\": \"a\", \"image\": \"bulkhead:management\"}]}",
              "guests[0].image", 1, 37);
    one_error("{\"management\": {\"certificate\": \"bulkhead:x\", \"key\": \"k\"}}",
              "management.certificate", 1, 33);
    assert_int_equal(parse("{\"guests\": [{\"name\": \"a\", \"image\": \"mgmt.elf\"}]}"), 0);
}

/* Guarantees on a core that the configuration names. mgmt/admission.h decides for the others. */
static void guarantees_add_up(void **state)
{
    static const char two[] =
        "{\"guests\": [{\"name\": \"a\", \"image\": \"a\", \"core\": 1, \"period_us\": 1000, "
        "\"guaranteed_us\": 600},\n{\"name\": \"b\", \"image\": \"a\", \"core\": %d, "
        "\"period_us\": "
        "1000, \"guaranteed_us\": %d}]}";
    char text[512];

    (void)state;
    snprintf(text, sizeof(text), two, 1, 600);
    one_error(text, "guests[1].guaranteed_us", 2, 1);
    assert_non_null(strstr(errors[0].text, "120.0 % of core 1 are guaranteed; 95 % can be"));
    assert_int_equal(config.guest_count, 1);
    snprintf(text, sizeof(text), two, 1, 350);
    assert_int_equal(parse(text), 0);
    snprintf(text, sizeof(text), two, 1, 351);
    assert_int_equal(parse(text), 1);
    snprintf(text, sizeof(text), two, 2, 600);
    assert_int_equal(parse(text), 0);
}

/* A boot loader's list of modules ends at 64. A file named twice is packed once. */
static void too_many_files(void **state)
{
    static char text[16384];
    unsigned names = 0;

    (void)state;
    strcpy(text, "{\"guests\": [");
    for (unsigned g = 0; g < 8; g++) {
        size_t n = strlen(text);

        n += (size_t)snprintf(text + n, sizeof(text) - n,
                              "%s{\"name\": \"g%u\", \"image\": \"same\", \"modules\": [",
                              g ? ",\n" : "", g);
        for (unsigned k = 0; k < 8; k++)
            n += (size_t)snprintf(text + n, sizeof(text) - n, "%s{\"file\": \"f%u\"}", k ? "," : "",
                                  names++);
        snprintf(text + n, sizeof(text) - n, "]}");
    }
    strcat(text, "]}");
    assert_int_equal(parse(text), 1);
    assert_string_equal(errors[0].field, "guests[7].modules");
    assert_non_null(
        strstr(errors[0].text, "its files make 65 in all; a boot loader passes on at most 60"));
    assert_int_equal(config.guest_count, 7);
    assert_int_equal(config.file_count, 57);
}

static void too_many(void **state)
{
    char text[4096] = "{\"guests\": [";

    (void)state;
    for (int i = 0; i < CONFIG_GUESTS_MAX + 1; i++)
        snprintf(text + strlen(text), sizeof(text) - strlen(text),
                 "%s{\"name\": \"g%d\", \"image\": \"a\"}", i ? "," : "", i);
    strcat(text, "]}");
    assert_int_equal(parse(text), 1);
    assert_int_equal(config.guest_count, CONFIG_GUESTS_MAX);
}

static const char hex16[] = "000102030405060708090a0b0c0d0e0f";
static const char hex32[] = "000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0eff";

static void the_service(void **state)
{
    const struct service_config *m = &config.management.service;
    char text[1024];

    (void)state;
    assert_int_equal(parse("{}"), 0);
    assert_int_equal(m->auth, AUTH_RANDOM);
    assert_int_equal(m->http, PORT80_REDIRECT);
    assert_string_equal(m->hostname, "bulkhead");
    assert_int_equal(m->syslog_port, 514);
    assert_int_equal(m->https_port, 443);
    snprintf(text, sizeof(text),
             "{\"management\": {\"auth\": {\"tokens\": [{\"name\": \"ops\", \"role\": \"operate\", "
             "\"salt\": \"%s\", \"sha256\": \"%s\"}]}, \"http\": \"plain\", \"https_port\": 65535, "
             "\"certificate\": \"c\", "
             "\"key\": \"k\", \"hostname\": \"lab-1\", \"ntp\": \"10.0.2.2\", \"syslog\": "
             "{\"server\": \"10.0.2.3\", \"port\": 1514, \"consoles\": true}}}",
             hex16, hex32);
    assert_int_equal(parse(text), 0);
    assert_int_equal(m->auth, AUTH_TOKENS);
    assert_int_equal(m->token_count, 1);
    assert_string_equal(m->tokens[0].name, "ops");
    assert_int_equal(m->tokens[0].role, ROLE_OPERATE);
    assert_int_equal(m->tokens[0].salt[15], 15);
    assert_int_equal(m->tokens[0].sha256[31], 255);
    assert_int_equal(m->http, PORT80_PLAIN);
    assert_int_equal(m->https_port, 65535);
    assert_string_equal(m->certificate, "c");
    assert_string_equal(m->key, "k");
    assert_string_equal(m->hostname, "lab-1");
    assert_string_equal(m->ntp, "10.0.2.2");
    assert_int_equal(m->syslog_server[3], 3);
    assert_int_equal(m->syslog_port, 1514);
    assert_int_equal(m->syslog_consoles, 1);
    assert_int_equal(parse("{\"management\": {\"auth\": \"none\"}}"), 0);
    assert_int_equal(m->auth, AUTH_NONE);
}

/* Whatever is wrong with it, no client gets in without a token. */
static void bad_service(void **state)
{
    static const struct {
        const char *text, *field;
    } cases[] = {
        {"\"auth\": \"nobody\"", "management.auth"},
        {"\"auth\": {\"tokens\": []}", "management.auth.tokens"},
        {"\"auth\": {\"tokens\": [1]}", "management.auth.tokens"},
        {"\"auth\": {\"tokens\": [{\"name\": \"a\", \"role\": \"root\", \"salt\": "
         "\"000102030405060708090a0b0c0d0e0f\", \"sha256\": "
         "\"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f\"}]}",
         "management.auth.tokens[0].role"},
        {"\"auth\": {\"tokens\": [{\"name\": \"a\", \"role\": \"read\", \"salt\": \"00\", "
         "\"sha256\": "
         "\"000102030405060708090a0b0c0d0e0f000102030405060708090a0b0c0d0e0f\"}]}",
         "management.auth.tokens[0].salt"},
        {"\"http\": \"on\"", "management.http"},
        {"\"https_port\": 0", "management.https_port"},
        {"\"https_port\": 65536", "management.https_port"},
        {"\"https_port\": \"8443\"", "management.https_port"},
        {"\"key\": \"k\"", "management.certificate"},
        {"\"certificate\": \"k\"", "management.key"},
        {"\"hostname\": \"Lab\"", "management.hostname"},
        {"\"syslog\": {}", "management.syslog.server"},
        {"\"syslog\": {\"server\": \"10.0.2.2\", \"port\": 0}", "management.syslog.port"},
        {"\"syslog\": {\"server\": \"10.0.2.2\", \"consoles\": 1}", "management.syslog.consoles"},
    };
    char text[1024];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        snprintf(text, sizeof(text), "{\"management\": {%s}}", cases[i].text);
        assert_int_not_equal(parse(text), 0);
        assert_string_equal(errors[0].field, cases[i].field);
        assert_int_equal(config.management.service.auth, AUTH_RANDOM);
    }
}

static int parse_guest(const char *text, struct guest_config *g)
{
    error_count = 0;
    return config_parse_guest(text, strlen(text), scratch, sizeof(scratch), g, report, NULL);
}

static void one_guest(void **state)
{
    struct guest_config g;

    (void)state;
    assert_int_equal(parse_guest("{\"name\": \"a\", \"image\": \"i\", \"core\": 2}", &g), 0);
    assert_string_equal(g.name, "a");
    assert_int_equal(g.core, 2);
    assert_int_equal(parse_guest("{\"name\": \"a\", \"image\": \"i\", \"memory\": 1}", &g), 1);
    assert_string_equal(errors[0].pointer, "/memory");
    assert_int_equal(parse_guest("{\"name\": \"a\", \"image\": \"i\", \"x/y~\": 1}", &g), 1);
    assert_string_equal(errors[0].pointer, "/x~1y~0");
    assert_int_equal(
        parse_guest("{\"name\": \"a\", \"image\": \"i\", \"modules\": [{\"file\": 1}]}", &g), 2);
    assert_string_equal(errors[0].pointer, "/modules/0/file");
    assert_int_equal(parse_guest("[]", &g), 1);
    assert_string_equal(errors[0].pointer, "");
    assert_int_equal(parse("{\"guests\": [1]}"), 1);
    assert_string_equal(errors[0].pointer, "/guests/0");
    assert_int_equal(parse_guest("{", &g), 1);
}

static void vcpus_and_cores(void **state)
{
    struct guest_config g;

    (void)state;
#define PARSE(members) parse_guest("{\"name\": \"a\", \"image\": \"i\"" members "}", &g)
    assert_int_equal(PARSE(""), 0);
    assert_int_equal(g.vcpus, 1);
    assert_int_equal(g.core_count, 0);
    assert_int_equal(PARSE(", \"vcpus\": 4"), 0);
    assert_int_equal(g.vcpus, 4);
    assert_int_equal(g.core, -1);
    assert_int_equal(PARSE(", \"vcpus\": 3, \"cores\": [2, 0, 2]"), 0);
    assert_int_equal(g.core, 2);
    assert_int_equal(g.core_count, 3);
    assert_memory_equal(g.cores, ((uint8_t[]){2, 0, 2}), 3);
    assert_int_equal(PARSE(", \"cores\": []"), 0);
    assert_int_equal(g.core, -1);
    /* As the API shows them. */
    assert_int_equal(PARSE(", \"core\": 1, \"vcpus\": 1, \"cores\": [1]"), 0);
    assert_int_equal(PARSE(", \"core\": 2, \"cores\": [1]"), 1);
    assert_string_equal(errors[0].field, "core");
    assert_int_equal(PARSE(",\n\"vcpus\": 3, \"cores\": [0, 1]"), 1);
    assert_string_equal(errors[0].field, "vcpus");
    assert_string_equal(errors[0].text,
                        "3, but cores names 2 cores: name one for each vCPU; they may repeat");
    assert_int_equal(PARSE(", \"vcpus\": 2, \"core\": 1"), 1);
    assert_string_equal(errors[0].text,
                        "2, but core names 1 core: name one for each vCPU; they may repeat");
    assert_int_equal(PARSE(", \"vcpus\": 9"), 1);
    assert_string_equal(errors[0].text, "must be a whole number from 1 to 8");
    assert_int_equal(PARSE(", \"cores\": [0,1,2,3,4,5,6,7,8]"), 1);
    assert_string_equal(errors[0].text, "must be a list of at most 8 cores");
    assert_int_equal(PARSE(", \"cores\": [128]"), 1);
    assert_string_equal(errors[0].text, "a core is a whole number from 0 to 127");
    assert_int_equal(PARSE(", \"cores\": 1"), 1);
#undef PARSE
}

/* A configuration from another guest is not trusted. */
static void foreign_guest(void **state)
{
    struct guest_config good, g;
    const char *field;

    (void)state;
    assert_int_equal(parse_guest("{\"name\": \"a\", \"image\": \"i\"}", &good), 0);
    assert_int_equal(config_check_guest(&good, &field), 0);
#define REFUSED(what, statement)                                                                   \
    do {                                                                                           \
        g = good;                                                                                  \
        statement;                                                                                 \
        assert_int_equal(config_check_guest(&g, &field), -E_INVAL);                                \
        assert_string_equal(field, what);                                                          \
    } while (0)
    REFUSED("name", memset(g.name, 'a', sizeof(g.name)));
    REFUSED("name", g.name[0] = 0);
    REFUSED("name", strcpy(g.name, "mgmt"));
    REFUSED("image", g.image[0] = 0);
    REFUSED("cmdline", memset(g.cmdline, 'a', sizeof(g.cmdline)));
    REFUSED("memory", g.memory = 4096);
    REFUSED("memory", g.memory = 1ull << 40);
    REFUSED("core", g.core = -2);
    REFUSED("core", g.core = 128);
    REFUSED("vcpus", g.vcpus = 0);
    REFUSED("vcpus", g.vcpus = CONFIG_VCPUS_MAX + 1);
    REFUSED("cores", (g.vcpus = 2, g.core = 0));
    REFUSED("cores", g.core_count = CONFIG_VCPUS_MAX + 1);
    REFUSED("cores", (g.vcpus = 2, g.core = 0, g.core_count = 1));
    REFUSED("cores", (g.core = 0, g.core_count = 2, g.cores[1] = 128));
    REFUSED("cores", g.core_count = 1); /* not what `core` says */
    REFUSED("weight", g.weight = 0);
    REFUSED("weight", g.weight = UINT32_MAX);
    REFUSED("slice_us", g.slice_us = 99);
    REFUSED("budget_us", (g.budget_us = 5000, g.period_us = 1000));
    REFUSED("restart", memset(&g.restart, 0xff, sizeof(g.restart)));
    REFUSED("virtio", memset(&g.virtio, 0x7f, sizeof(g.virtio)));
    REFUSED("timer_ticks", memset(&g.timer_ticks, 0x7f, sizeof(g.timer_ticks)));
    REFUSED("paused_clock", memset(&g.paused_clock, 0x7f, sizeof(g.paused_clock)));
    REFUSED("strict_memory", g.strict_memory = 2);
    REFUSED("memory_dump", g.memory_dump = 2);
    REFUSED("kind", memset(&g.kind, 1, sizeof(g.kind)));
    REFUSED("image", strcpy(g.image, "bulkhead:configuration"));
    REFUSED("image", strcpy(g.image, "a\nb"));
    REFUSED("exit_profile", memset(&g.exit_profile, 1, sizeof(g.exit_profile)));
    REFUSED("devices", g.devices = DEV_ALL + 1);
    REFUSED("devices", g.devices = DEV_NET); /* it needs the bus */
    REFUSED("devices", g.devices = DEV_RNG);
    good.devices |= DEV_NET;
    REFUSED("net", memset(g.net.network, 'a', sizeof(g.net.network)));
    REFUSED("net", g.net.network[0] = 0);
    REFUSED("net", g.net.allow = 0x10);
    REFUSED("net", g.net.uplink = 2);
    REFUSED("net", g.net.broadcasts_per_second = 0);
    REFUSED("net", g.net.broadcasts_per_second = NET_BROADCASTS_MAX + 1);
    REFUSED("net", g.net.address_count = NET_ADDRESSES_MAX + 1);
    REFUSED("net", g.net.address_count = 1); /* of zeros */
    REFUSED("disks", g.disk_count = 5);
    REFUSED("disks", g.disk_count = 1); /* without a name */
    REFUSED("disks", (g.disk_count = 1, g.disks[0].file[0] = 'f', g.disks[0].readonly = 2));
    REFUSED("disks", (g.disk_count = 1, g.disks[0].file[0] = 'f', g.disks[0].size_mb = 65537));
    REFUSED("modules", g.module_count = 9);
    REFUSED("modules", g.module_count = 1);
    REFUSED("modules", (g.module_count = 1, memset(g.modules[0].file, 'x', 96)));
#undef REFUSED
}

static void addresses(void **state)
{
    static const struct {
        const char *text, *again; /* NULL: unchanged */
    } good[] = {
        {"10.0.2.20", NULL},
        {"fe80::1", NULL},
        {"2001:db8::1:0:0:1", NULL}, /* RFC 5952, section 4.2.3: the first of two runs */
        {"2001:0DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"},
        {"2001:db8:0:1:1:1:1:1", NULL}, /* section 4.2.2: not a single group */
        {"2001:db8::", NULL},
        {"1:2:3:4:5:6:7:8", NULL},
        {"1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"},
        {"1::3:4:5:6:7:8", "1:0:3:4:5:6:7:8"},
    };
    static const char *const bad[] = {
        "",      "10.0.2",  "10.0.2.256",  "10.0.2.1/24",       "fe80",     "fe80:", ":1::2",
        "1:::2", "1::2::3", "1:2:3:4:5:6", "1:2:3:4:5:6:7:8:9", "12345::1", "g::1",  "fe80::1%eth0",
        "::1 "};
    struct net_address a;
    char text[CONFIG_ADDRESS_TEXT];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_true(config_parse_net_address(good[i].text, &a));
        assert_true(config_net_address_is_good(&a));
        config_net_address_text(&a, text);
        assert_string_equal(text, good[i].again ? good[i].again : good[i].text);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(config_parse_net_address(bad[i], &a));
    memset(a.bytes, 0xff, sizeof(a.bytes)); /* the longest */
    config_net_address_text(&a, text);
    assert_string_equal(text, "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");
}

static void networks(void **state)
{
    const struct guest_config *g = config.guests;

    (void)state;
    assert_int_equal(
        parse("{\"guests\": [{\"name\": \"a\", \"image\": \"i\", \"net\": {\"network\": \"plant\", "
              "\"uplink\": false, \"addresses\": [\"10.0.2.20\", \"fd00::20\", \"10.0.2.20\"], "
              "\"allow\": [\"any-address\", \"vlan-tags\"], \"broadcasts_per_second\": 7}},"
              "{\"name\": \"b\", \"image\": \"i\", \"devices\": [\"net\"]},"
              "{\"name\": \"c\", \"image\": \"i\", \"net\": {}}],"
              "\"mac_prefix\": \"02:42:48:0a:ff\","
              "\"management\": {\"reachable_from_guests\": true}}"),
        0);
    assert_int_equal(g[0].devices, DEV_DEFAULT | DEV_NET);
    assert_string_equal(g[0].net.network, "plant");
    assert_int_equal(g[0].net.uplink, 0);
    assert_int_equal(g[0].net.address_count, 2);
    assert_memory_equal(g[0].net.addresses[0].bytes, "\0\0\0\0\0\0\0\0\0\0\xff\xff\12\0\2\24", 16);
    assert_int_equal(g[0].net.allow, NET_ALLOW_ANY_ADDRESS | NET_ALLOW_VLAN_TAGS);
    assert_int_equal(g[0].net.broadcasts_per_second, 7);
    for (unsigned i = 1; i < 3; i++) {
        assert_true(g[i].devices & DEV_NET);
        assert_string_equal(g[i].net.network, "default");
        assert_int_equal(g[i].net.uplink, 1);
        assert_int_equal(g[i].net.allow | g[i].net.address_count, 0);
        assert_int_equal(g[i].net.broadcasts_per_second, 500);
    }
    assert_int_equal(g[1].devices, DEV_NET | DEV_PCI); /* the bus comes with it */
    assert_memory_equal(config.mac_prefix, "\x02\x42\x48\x0a\xff", 5);
    assert_int_equal(config.management.service.reachable_from_guests, 1);
}

/* In each, the second guest is wrong. */
static void bad_networks(void **state)
{
    static const struct {
        const char *net, *field;
    } bad[] = {
        {"7", "guests[1].net"},
        {"{\"network\": \"\"}", "guests[1].net.network"},
        {"{\"network\": \"Plant\"}", "guests[1].net.network"},
        {"{\"uplink\": 1}", "guests[1].net.uplink"},
        {"{\"addresses\": \"10.0.2.20\"}", "guests[1].net.addresses"},
        {"{\"addresses\": [\"10.0.2.20/24\"]}", "guests[1].net.addresses"},
        {"{\"addresses\": [\"224.0.0.1\"]}", "guests[1].net.addresses"},
        {"{\"addresses\": [\"0.0.0.0\"]}", "guests[1].net.addresses"},
        {"{\"addresses\": [\"127.0.0.1\"]}", "guests[1].net.addresses"},
        {"{\"addresses\": [\"ff02::1\"]}", "guests[1].net.addresses"},
        {"{\"addresses\": [\"::1\"]}", "guests[1].net.addresses"},
        {"{\"addresses\": [[],[],[],[],[],[],[],[],[]]}", "guests[1].net.addresses"},
        {"{\"allow\": [\"everything\"]}", "guests[1].net.allow"},
        {"{\"allow\": \"any-address\"}", "guests[1].net.allow"},
        {"{\"broadcasts_per_second\": 0}", "guests[1].net.broadcasts_per_second"},
        {"{\"colour\": 1}", "guests[1].net.colour"},
        /* another guest's, in the same network or on the same wire */
        {"{\"addresses\": [\"10.0.2.20\"]}", "guests[1].net.addresses"},
        {"{\"network\": \"x\", \"addresses\": [\"10.0.2.20\"]}", "guests[1].net.addresses"},
        {"{\"uplink\": false, \"addresses\": [\"10.0.2.20\"]}", "guests[1].net.addresses"},
        /* management's, its gateway's, the syslog server's */
        {"{\"addresses\": [\"10.0.2.15\"]}", "guests[1].net.addresses"},
        {"{\"addresses\": [\"10.0.2.2\"]}", "guests[1].net.addresses"},
        {"{\"addresses\": [\"10.0.2.9\"]}", "guests[1].net.addresses"},
    };
    char text[1024];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        (void)snprintf(text, sizeof(text),
                       "{\"guests\": [{\"name\": \"a\", \"image\": \"i\", \"net\": {\"addresses\": "
                       "[\"10.0.2.20\"]}}, {\"name\": \"b\", \"image\": \"i\", \"net\": %s}],"
                       "\"management\": {\"address\": \"10.0.2.15/24\", \"gateway\": \"10.0.2.2\","
                       "\"syslog\": {\"server\": \"10.0.2.9\"}}}",
                       bad[i].net);
        assert_true(parse(text) > 0);
        assert_string_equal(errors[0].field, bad[i].field);
        assert_int_equal(config.guest_count, 1); /* the other remains */
    }
    /* Errors use its index in the file, even if a guest before it was left out. */
    assert_int_equal(parse("{\"guests\": [{\"name\": \"a\"}, {\"name\": \"b\", \"image\": \"i\", "
                           "\"net\": {\"addresses\": [\"10.0.2.2\"]}}],"
                           "\"management\": {\"gateway\": \"10.0.2.2\"}}"),
                     2);
    assert_string_equal(errors[1].field, "guests[1].net.addresses");
    assert_string_equal(errors[1].pointer, "/guests/1/net/addresses");
    assert_non_null(strstr(errors[1].text, "10.0.2.2 of guest \"b\" is management's"));
    /* In a network of its own the address is allowed. */
    assert_int_equal(
        parse("{\"guests\": [{\"name\": \"a\", \"image\": \"i\", \"net\": {\"addresses\": "
              "[\"10.0.2.20\"]}}, {\"name\": \"b\", \"image\": \"i\", \"net\": {\"network\": "
              "\"x\", \"uplink\": false, \"addresses\": [\"10.0.2.20\", \"10.0.2.2\"]}}],"
              "\"management\": {\"gateway\": \"10.0.2.2\"}}"),
        0);
    assert_int_equal(config.guest_count, 2);
}

/* The parser and the check of another guest's configuration enforce the same limits: the
 * table's. */
static void limits(void **state)
{
#define LIMIT_text(...)
#define LIMIT_file(...)
#define LIMIT_choice(...)
#define LIMIT_memory(...)
#define LIMIT_core(...)
#define LIMIT_cores(...)
#define LIMIT_flags(...)
#define LIMIT_switch(...)
#define LIMIT_net(...)
#define LIMIT_modules(...)
#define LIMIT_disks(...)
#define LIMIT_number(name, least, most) {#name, offsetof(struct guest_config, name), least, most},
    static const struct {
        const char *name;
        size_t offset;
        int64_t least, most;
    } rows[] = {
#define GUEST(name, kind, least, most, ...) LIMIT_##kind(name, least, most)
#include "hv/config_fields.def"
    };
    char text[160];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        const struct {
            int64_t value;
            bool good;
        } cases[] = {{rows[i].least - 1, false},
                     {rows[i].least, true},
                     {rows[i].most, true},
                     {rows[i].most + 1, false}};

        for (size_t k = 0; k < ARRAY_LEN(cases); k++) {
            struct guest_config g, foreign;
            uint32_t bits = (uint32_t)cases[k].value;
            const char *field;

            (void)snprintf(text, sizeof(text),
                           "{\"name\": \"a\", \"image\": \"i\", %s\"%s\": %lld}",
                           strcmp(rows[i].name, "period_us") ? "\"period_us\": 10000000, " : "",
                           rows[i].name, (long long)cases[k].value);
            assert_int_equal(parse_guest(text, &g) == 0, cases[k].good);
            if (!cases[k].good)
                assert_string_equal(errors[0].field, rows[i].name);
            assert_int_equal(
                parse_guest("{\"name\": \"a\", \"image\": \"i\", \"period_us\": 10000000}",
                            &foreign),
                0);
            memcpy((char *)&foreign + rows[i].offset, &bits, sizeof(bits));
            assert_int_equal(config_check_guest(&foreign, &field) == 0, cases[k].good);
            if (!cases[k].good)
                assert_string_equal(field, rows[i].name);
        }
    }
}

static void bad_mac_prefixes(void **state)
{
    static const char *const bad[] = {"02:42:48:00",    "02:42:48:00:00:00", "02-42-48-00-00",
                                      "00:42:48:00:00", "03:42:48:00:00",    "02:42:48:0:000",
                                      "02:42:48:00:0g", "02:42:48:00:0A"};
    char text[64];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        (void)snprintf(text, sizeof(text), "{\"mac_prefix\": \"%s\"}", bad[i]);
        assert_int_equal(parse(text), 1);
        assert_string_equal(errors[0].field, "mac_prefix");
        assert_memory_equal(config.mac_prefix, "\0\0\0\0\0", 5);
    }
}

static void uplinks(void **state)
{
    static const struct {
        const char *json;
        struct net_card_name name;
    } good[] = {
        {"0", {1, {0}}},
        {"7", {1, {7}}},
        {"\"0000:00:03.0\"", {4, {0, 0, 3, 0}}},
        {"\"00ff:fe:1f.7\"", {4, {0xff, 0xfe, 31, 7}}},
        {"\"02:1a.1\"", {4, {0, 2, 26, 1}}},
        {"\"52:54:00:12:34:5f\"", {6, {0x52, 0x54, 0, 0x12, 0x34, 0x5f}}},
    };
    static const char *const bad[] = {"8",
                                      "-1",
                                      "true",
                                      "\"\"",
                                      "\"0\"",
                                      "\"0100:00:03.0\"",
                                      "\"00:20.0\"",
                                      "\"00:03.8\"",
                                      "\"00:03\"",
                                      "\"0:3.0\"",
                                      "\"00:03.0 \"",
                                      "\"52:54:00:12:34\"",
                                      "\"52:54:00:12:34:5F\"",
                                      "\"52:54:00:12:34:56:78\""};
    static const struct net_card_name none[ABI_NIC_ROLES];
    char text[96];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        (void)snprintf(text, sizeof(text), "{\"uplinks\": {\"guests\": %s}}", good[i].json);
        assert_int_equal(parse(text), 0);
        assert_memory_equal(&config.uplinks[1], &good[i].name, sizeof(good[i].name));
        assert_memory_equal(&config.uplinks[0], none, sizeof(none[0]));
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        (void)snprintf(text, sizeof(text), "{\"uplinks\": {\"management\": %s}}", bad[i]);
        assert_int_equal(parse(text), 1);
        assert_string_equal(errors[0].field, "uplinks.management");
        assert_non_null(strstr(errors[0].text, "must be a network card's place"));
        assert_memory_equal(config.uplinks, none, sizeof(none));
    }
    assert_int_equal(parse("{\"uplinks\": \"00:03.0\"}"), 1);
    assert_string_equal(errors[0].field, "uplinks");
    assert_int_equal(parse("{\"uplinks\": {\"guest\": 1}}"), 1);
    assert_string_equal(errors[0].field, "uplinks.guest");
}

/* ---- memory between guests ---- */

#define ABC                                                                                        \
    "\"guests\": [{\"name\": \"a\", \"image\": \"i\"},"                                            \
    "{\"name\": \"b\", \"image\": \"i\", \"devices\": [\"uart\"]},"                                \
    "{\"name\": \"c\", \"image\": \"i\"}]"
#define SHARE(name, size, peers)                                                                   \
    "{\"name\": \"" name "\", \"size\": " size ", \"peers\": [" peers "]}"

static void shared(void **state)
{
    const struct guest_config *a = &config.guests[0], *b = &config.guests[1],
                              *c = &config.guests[2];
    struct guest_config later = {.name = "b"};

    (void)state;
    /* Before the guests, too. */
    assert_int_equal(parse("{\"shared\": [" SHARE("one", "\"4M\"", "\"b\", \"a\"") ", " SHARE(
                         "two", "2097152", "\"b\", \"c\", \"a\"") "]," ABC "}"),
                     0);
    assert_int_equal(config.shared_count, 2);
    assert_int_equal(a->shared_count, 2);
    assert_int_equal(b->shared_count, 2);
    assert_int_equal(c->shared_count, 1);
    assert_string_equal(c->shared[0].name, "two");
    assert_int_equal(a->shared[0].size, 4 << 20);
    assert_int_equal(a->shared[1].size, 2 << 20);
    assert_int_equal(config_shared_id(&a->shared[0], "a"), 1);
    assert_int_equal(config_shared_id(&b->shared[0], "b"), 0);
    assert_int_equal(config_shared_id(&a->shared[1], "c"), 1);
    assert_int_equal(config_shared_id(&a->shared[0], "c"), -1);
    assert_int_equal(b->devices, DEV_UART | DEV_PCI);
    config_join(&config, &later);
    assert_memory_equal(later.shared, b->shared, sizeof(later.shared));
    assert_int_equal(later.devices, DEV_PCI);
    (void)strcpy(later.name, "d");
    config_join(&config, &later);
    assert_int_equal(later.shared_count, 0);
}

/* Each is left out, and the guests remain. */
static void bad_shared(void **state)
{
    static const struct {
        const char *shared, *field, *text;
    } cases[] = {
        {SHARE("", "\"2M\"", "\"a\", \"b\""), "shared[0].name", "is missing"},
        {SHARE("-x", "\"2M\"", "\"a\", \"b\""), "shared[0].name",
         "must consist of a-z, 0-9 and '-', and not begin with '-'"},
        {SHARE("x", "\"3M\"", "\"a\", \"b\""), "shared[0].size",
         "must be a power of two from 2M to 256M"},
        {SHARE("x", "\"1M\"", "\"a\", \"b\""), "shared[0].size",
         "must be a power of two from 2M to 256M"},
        {SHARE("x", "\"512M\"", "\"a\", \"b\""), "shared[0].size",
         "must be a power of two from 2M to 256M"},
        {SHARE("x", "-1", "\"a\", \"b\""), "shared[0].size",
         "must be a power of two from 2M to 256M"},
        {SHARE("x", "\"M\"", "\"a\", \"b\""), "shared[0].size",
         "must be a power of two from 2M to 256M"},
        {SHARE("x", "null", "\"a\", \"b\""), "shared[0].size",
         "must be a power of two from 2M to 256M"},
        {"{\"name\": \"x\", \"peers\": [\"a\", \"b\"]}", "shared[0].size",
         "must be a power of two from 2M to 256M"},
        {SHARE("x", "\"2M\"", "\"a\""), "shared[0].peers",
         "must be a list of 2 to 14 guests' names"},
        {"{\"name\": \"x\", \"size\": \"2M\"}", "shared[0].peers",
         "must be a list of 2 to 14 guests' names"},
        {"{\"name\": \"x\", \"size\": \"2M\", \"peers\": \"a\"}", "shared[0].peers",
         "must be a list of 2 to 14 guests' names"},
        {SHARE("x", "\"2M\"", "\"a\", 7"), "shared[0].peers", "a peer is the name of a guest"},
        {SHARE("x", "\"2M\"", "\"a\", \"B\""), "shared[0].peers", "a peer is the name of a guest"},
        {SHARE("x", "\"2M\"", "\"a\", \"mgmt\""), "shared[0].peers",
         "\"mgmt\" is the management guest, which shares no memory"},
        {SHARE("x", "\"2M\"", "\"a\", \"b\", \"a\""), "shared[0].peers", "names a guest twice"},
        {SHARE("x", "\"2M\"", "\"a\", \"plc\""), "shared[0].peers",
         "no guest \"plc\" is in \"guests\", or it has an error"},
        {SHARE("x", "\"2M\"", "\"a\", \"b\"") ", " SHARE("x", "\"2M\"", "\"b\", \"c\""),
         "shared[1].name", "another region has this name"},
        {SHARE("x", "\"256M\"", "\"a\", \"b\"") ", " SHARE(
             "y", "\"256M\"", "\"a\", \"c\"") ", " SHARE("z", "\"2M\"", "\"c\", \"a\""),
         "shared[2].peers", "\"a\": a guest's regions have at most 512 MiB together"},
        {SHARE("p", "\"2M\"", "\"a\", \"b\"") ", " SHARE("q", "\"2M\"", "\"a\", \"b\"") ", " SHARE(
             "r", "\"2M\"", "\"a\", \"b\"") ", " SHARE("s", "\"2M\"",
                                                       "\"a\", \"b\"") ", " SHARE("t", "\"2M\"",
                                                                                  "\"c\", \"b\""),
         "shared[4].peers", "\"b\": a guest is a peer of at most 4 regions"},
        {"7", "shared[0].", "a region is {\"name\": ..., \"size\": ..., \"peers\": [...]}"},
        {"7,7,7,7,7,7,7,7,7", "shared", "must be a list of at most 8 regions"},
        {"{\"name\": \"x\", \"size\": \"2M\", \"peers\": [\"a\", \"b\"], \"id\": 1}",
         "shared[0].id", "there is no such field"},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[1024];
        unsigned good = 0;

        (void)snprintf(text, sizeof(text), "{" ABC ", \"shared\": [%s]}", cases[i].shared);
        assert_int_equal(parse(text), 1);
        assert_string_equal(errors[0].field, cases[i].field);
        assert_true(errors[0].line == 1 && errors[0].column > 1);
        assert_string_equal(errors[0].text, cases[i].text);
        assert_int_equal(config.guest_count, 3);
        for (unsigned g = 0; g < 3; g++)
            good += config.guests[g].shared_count;
        /* The regions before it are there for each of their peers. */
        assert_int_equal(good, 2 * config.shared_count);
    }
    assert_int_equal(parse("{" ABC ", \"shared\": 7}"), 1);
}

/* What the root checks. */
static void foreign_shared(void **state)
{
    static struct guest_config g, bad;
    const char *field = "";

    (void)state;
    assert_int_equal(
        parse("{" ABC ", \"shared\": [" SHARE("x", "\"2M\"", "\"a\", \"b\"") ", " SHARE(
            "y", "\"4M\"", "\"c\", \"a\"") "]}"),
        0);
    g = config.guests[0];
    g.core = 0;
    assert_int_equal(config_check_guest(&g, &field), 0);
#define BAD(change)                                                                                \
    bad = g;                                                                                       \
    change;                                                                                        \
    assert_int_equal(config_check_guest(&bad, &field), -E_INVAL);                                  \
    assert_string_equal(field, "shared")
    BAD(bad.shared_count = UINT32_MAX);
    BAD(bad.shared_count = 3);
    BAD(bad.devices &= ~(uint32_t)DEV_PCI);
    BAD((void)strcpy(bad.name, "d"));
    BAD(bad.shared[1] = bad.shared[0]);
    BAD(bad.shared[1].size = 0);
    BAD(bad.shared[1].size = 1ull << 63);
    BAD(bad.shared[0].size = 0x300000);
    BAD(bad.shared[0].peer_count = UINT32_MAX);
    BAD(bad.shared[0].peer_count = 1);
    BAD(memset(bad.shared[0].name, 'n', sizeof(bad.shared[0].name)));
    BAD(memset(bad.shared[0].peers[1], 'n', sizeof(bad.shared[0].peers[1])));
    BAD((void)strcpy(bad.shared[0].peers[1], "a"));
    BAD((void)strcpy(bad.shared[0].peers[1], CONFIG_MANAGEMENT_NAME));
    BAD(bad.shared[0].peers[1][0] = 0);
}

static void near_misses(void **state)
{
    static const struct {
        const char *given, *meant; /* NULL: nothing is near */
    } cases[] = {
        {"memroy", "memory"}, {"mem", "memory"},
        {"me", NULL},         {"memories", NULL},
        {"vcpu", "vcpus"},    {"wieght", "weight"},
        {"Name", "name"},     {"", NULL},
        {"cmd", "cmdline"},   {"guaranteed", "guaranteed_us"},
        {"dikss", "disks"},   {"netw", "net"},
        {"x", NULL},          {"01234567890123456789012345678901234567890", NULL},
    };

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[160], expected[96] = "there is no such field";

        if (cases[i].meant)
            (void)snprintf(expected, sizeof(expected),
                           "there is no such field; did you mean \"%s\"?", cases[i].meant);
        (void)snprintf(text, sizeof(text),
                       "{\"guests\": [{\"name\": \"a\", \"image\": \"i\", \"%s\": 1}]}",
                       cases[i].given);
        assert_int_equal(parse(text), 1);
        assert_string_equal(errors[0].text, expected);
    }
    assert_int_equal(parse("{'guests': []}"), 1);
    assert_string_equal(errors[0].text, "not JSON: strings and names are in double quotes");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(near_misses),
        cmocka_unit_test(the_least),
        cmocka_unit_test(everything),
        cmocka_unit_test(of_the_machine),
        cmocka_unit_test(the_others_remain),
        cmocka_unit_test(bad_fields),
        cmocka_unit_test(not_json),
        cmocka_unit_test(management),
        cmocka_unit_test(too_many),
        cmocka_unit_test(cannot_work),
        cmocka_unit_test(guarantees_add_up),
        cmocka_unit_test(too_many_files),
        cmocka_unit_test(the_service),
        cmocka_unit_test(bad_service),
        cmocka_unit_test(one_guest),
        cmocka_unit_test(vcpus_and_cores),
        cmocka_unit_test(foreign_guest),
        cmocka_unit_test(addresses),
        cmocka_unit_test(networks),
        cmocka_unit_test(bad_networks),
        cmocka_unit_test(bad_mac_prefixes),
        cmocka_unit_test(uplinks),
        cmocka_unit_test(shared),
        cmocka_unit_test(bad_shared),
        cmocka_unit_test(foreign_shared),
        cmocka_unit_test(limits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

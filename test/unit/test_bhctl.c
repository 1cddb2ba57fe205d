/* SOURCES: mgmt/bhctl/options.c mgmt/bhctl/url.c mgmt/bhctl/format.c mgmt/bhctl/sse.c
 * mgmt/bhctl/top_rows.c mgmt/bhctl/words.c mgmt/bhctl/place.c hv/plain.c
 * mgmt/bhctl/plain_utf8.c mgmt/config/words.c */
#include "mgmt/bhctl/format.h"
#include "mgmt/bhctl/options.h"
#include "mgmt/bhctl/place.h"
#include "mgmt/bhctl/sse.h"
#include "mgmt/bhctl/top_rows.h"
#include "mgmt/bhctl/url.h"
#include "mgmt/bhctl/words.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- command lines ---- */

static const struct command_spec commands[] = {
    {"guests", "", 0, 0, 0, "", NULL},
    {"status", "NAME", 1, 1, 0, "", NULL},
    {"deploy", "FILE", 1, 1,
     OPTION_BIT(OPTION_NAME) | OPTIONS_ATTACHED | OPTION_BIT(OPTION_FIELDS_OF_GUESTS), "", NULL},
    {"top", "", 0, 0, OPTION_BIT(OPTION_COUNT), "", NULL},
    {"run", "", 0, 1, OPTION_BIT(OPTION_LINE) | OPTION_BIT(OPTION_NAME), "", NULL},
};

static struct options o;
static char why[OPTIONS_WHY_MAX];

static bool parse(const char *line)
{
    static char text[512];
    static char *argv[40] = {"bhctl"}; /* o.line points into it */
    int argc = 1;

    (void)snprintf(text, sizeof(text), "%s", line);
    for (char *p = strtok(text, " "); p; p = strtok(NULL, " "))
        argv[argc++] = strcmp(p, "''") == 0 ? "" : p;
    why[0] = 0;
    return options_parse(&o, commands, ARRAY_LEN(commands), argc, argv, why);
}

static void assert_wrong(const char *line, const char *what)
{
    assert_false(parse(line));
    if (!strstr(why, what))
        fail_msg("\"%s\" is said of \"%s\"", why, line);
}

static void test_options(void **state)
{
    (void)state;
    assert_true(parse("--url http://a guests --json"));
    assert_string_equal(o.command->name, "guests");
    assert_string_equal(o.value[OPTION_URL], "http://a");
    assert_true(options_have(&o, OPTION_JSON) && !options_have(&o, OPTION_INSECURE));
    assert_true(parse("--url=http://a=b -k status echo --url http://last"));
    assert_string_equal(o.value[OPTION_URL], "http://last");
    assert_string_equal(o.arg[0], "echo");
    assert_true(parse("status -- -k"));
    assert_string_equal(o.arg[0], "-k");
    assert_false(options_have(&o, OPTION_INSECURE));
    assert_true(parse("status -"));
    assert_true(parse("status ''"));
    for (const char *const *s =
             (const char *const[]){"-n 3", "-n3", "--count=3", "--count 3", NULL};
         *s; s++) {
        char line[32];

        (void)snprintf(line, sizeof(line), "top %s", *s);
        assert_true(parse(line));
        assert_string_equal(o.value[OPTION_COUNT], "3");
    }
    assert_true(parse("--token= guests"));
    assert_string_equal(o.value[OPTION_TOKEN], "");
}

static void test_command_lines(void **state)
{
    (void)state;
    assert_true(parse("run --name a image -- -x --json y"));
    assert_string_equal(o.arg[0], "image");
    assert_int_equal(o.line_count, 3);
    assert_string_equal(o.line[0], "-x");
    assert_string_equal(o.line[2], "y");
    assert_false(options_have(&o, OPTION_JSON));
    assert_true(parse("run -- --") && o.line_count == 1 && o.arg_count == 0);
    assert_true(parse("run image --") && o.line && o.line_count == 0);
    assert_true(parse("run image") && !o.line);
    /* For other commands and before a command it only ends the options. */
    assert_true(parse("status -- a") && !o.line && o.arg_count == 1);
    assert_true(parse("-- run a") && !o.line && o.arg_count == 1);
}

static void test_modules(void **state)
{
    (void)state;
    assert_true(parse("deploy k --module a --module-args x --module=b --name n"));
    assert_int_equal(o.module_count, 2);
    assert_string_equal(o.modules[0].file, "a");
    assert_string_equal(o.modules[0].args, "x");
    assert_string_equal(o.modules[1].file, "b");
    assert_null(o.modules[1].args);
    assert_true(parse("deploy k --module-image i --module-args x --module f"));
    assert_int_equal(o.module_count, 2);
    assert_null(o.modules[0].file);
    assert_string_equal(o.modules[0].image, "i");
    assert_string_equal(o.modules[0].args, "x");
    assert_string_equal(o.modules[1].file, "f");
    assert_null(o.modules[1].image);
    assert_true(parse("deploy f --disk a --disk-readonly --disk-image=b --disk-mb 3 --module c"));
    assert_int_equal(o.disk_count, 2);
    assert_string_equal(o.disks[0].file, "a");
    assert_true(o.disks[0].readonly && !o.disks[0].mb && !o.disks[0].image);
    assert_string_equal(o.disks[1].image, "b");
    assert_string_equal(o.disks[1].mb, "3");
    assert_true(!o.disks[1].readonly && !o.disks[1].file);
    assert_int_equal(o.module_count, 1);
    assert_false(parse("deploy f --disk-readonly"));
    assert_non_null(strstr(why, "after its --disk"));
    assert_false(parse("deploy f --disk 1 --disk 2 --disk 3 --disk 4 --disk 5"));
    assert_non_null(strstr(why, "at most 4 disks"));
    assert_wrong("deploy k --module-args x --module a", "comes after");
    assert_true(parse("deploy k --module 1 --module 2 --module 3 --module 4 --module 5 --module 6 "
                      "--module 7 --module 8"));
    assert_wrong("deploy k --module 1 --module 2 --module 3 --module 4 --module 5 --module 6 "
                 "--module 7 --module 8 --module 9",
                 "at most 8");
}

static void test_wrong_usage(void **state)
{
    (void)state;
    assert_wrong("", "a command is missing");
    assert_wrong("--json", "a command is missing");
    assert_wrong("frob", "no command \"frob\"");
    assert_null(strstr(why, "did you mean"));
    assert_wrong("ps", "no command \"ps\"; did you mean \"bhctl guests\"?");
    assert_wrong("rmi x", "did you mean \"bhctl images --delete\"?");
    assert_wrong("guest", "did you mean \"bhctl guests\"?");
    assert_wrong("statuses", "did you mean \"bhctl status\"?");
    assert_wrong("st", "no command \"st\"");
    assert_null(strstr(why, "did you mean"));
    assert_wrong("''", "no command \"\"");
    assert_wrong("--frob guests", "no option --frob before a command");
    assert_wrong("-n 1 top", "no option -n before a command");
    assert_wrong("guests -n 1", "guests has no option -n");
    assert_wrong("status", "status needs NAME");
    assert_wrong("status a b", "\"b\" is one argument too many");
    assert_wrong("guests a", "one argument too many");
    assert_wrong("guests --json=1", "--json takes no value");
    assert_wrong("guests -k1", "takes no value");
    assert_wrong("guests --url", "--url needs a value");
    assert_wrong("top -n", "--count needs a value");
    assert_wrong("guests --ur http://a", "no option --ur");
    assert_wrong("guests --urls http://a", "no option --urls");
    assert_wrong("guests ---url x", "no option");
    /* With --help, nothing else is required. */
    assert_true(parse("--help"));
    assert_true(parse("status -h"));
    assert_string_equal(o.command->name, "status");
    assert_true(parse("--version"));
}

static void test_every_option(void **state)
{
    (void)state;
    for (unsigned i = 0; i < OPTIONS; i++) {
        const struct option_spec *s = option_spec(i);

        assert_int_equal(option_is_allowed(~0ull, i), s->name != NULL);
        if (!s->name)
            continue;
        assert_true(s->help && strlen(s->name) > 1);
        /* "--keep" of vmcs is another than that of run. */
        for (unsigned k = 0; k < i && i != OPTION_KEEP_GUEST; k++)
            assert_true(!option_spec(k)->name || strcmp(s->name, option_spec(k)->name) != 0);
    }
}

static void test_fields(void **state)
{
    (void)state;
    assert_true(parse("deploy f --kind=flat --weight 7 --no-uplink --allow a,b --strict-memory"));
    assert_true(options_have(&o, OPTION_GUEST_strict_memory));
    assert_string_equal(o.value[OPTION_GUEST_kind], "flat");
    assert_string_equal(o.value[OPTION_GUEST_weight], "7");
    assert_string_equal(o.value[OPTION_NET_allow], "a,b");
    assert_true(options_have(&o, OPTION_NET_uplink) && !options_have(&o, OPTION_GUEST_core));
    assert_false(parse("deploy f --no-uplink=1"));
    assert_false(parse("top --weight 7"));
    assert_string_equal(why, "top has no option --weight");
    assert_false(parse("deploy f --modules 7"));
}

static void test_numbers(void **state)
{
    uint64_t v;

    (void)state;
    assert_true(options_number("0", 0, 1, &v) && v == 0);
    assert_true(options_number("18446744073709551615", 0, UINT64_MAX, &v) && v == UINT64_MAX);
    assert_false(options_number("18446744073709551616", 0, UINT64_MAX, &v));
    assert_false(options_number("99999999999999999999", 0, UINT64_MAX, &v));
    assert_false(options_number("2", 0, 1, &v));
    assert_false(options_number("0", 1, 1, &v));
    for (const char *const *s =
             (const char *const[]){"", "-1", "+1", " 1", "1 ", "0x1", "1.0", NULL};
         *s; s++)
        assert_false(options_number(*s, 0, 100, &v));
}

/* ---- URLs and names ---- */

static void assert_base(const char *text, const char *expected)
{
    char base[URL_MAX];

    assert_null(url_base(text, base));
    assert_string_equal(base, expected);
}

static void test_base(void **state)
{
    char base[URL_MAX], longest[URL_MAX + 10];

    (void)state;
    assert_base("http://127.0.0.1:8080", "http://127.0.0.1:8080");
    assert_base("https://kettle.local///", "https://kettle.local");
    assert_base("http://[fe80::1]:80/", "http://[fe80::1]:80");
    assert_base("http://proxy/rack/4/", "http://proxy/rack/4");
    for (const char *const *s =
             (const char *const[]){"", "127.0.0.1:8080", "ftp://a", "http://", "http:///",
                                   "https://:80", "http:///path", "http://a b", "http://a\n",
                                   "http://user@a", "http://a?x", "http://a#x", "HTTP", "http:/a",
                                   NULL};
         *s; s++)
        if (!url_base(*s, base))
            fail_msg("\"%s\" was taken", *s);
    memset(longest, 'a', sizeof(longest));
    memcpy(longest, "http://", 7);
    longest[URL_MAX - 1] = 0;
    assert_null(url_base(longest, base));
    longest[URL_MAX - 1] = 'a';
    longest[URL_MAX] = 0;
    assert_non_null(url_base(longest, base));
}

static void test_paths(void **state)
{
    char path[40], tight[9];

    (void)state;
    assert_true(url_path(path, sizeof(path), "/v1/guests/%s/console", "echo-2"));
    assert_string_equal(path, "/v1/guests/echo-2/console");
    assert_true(url_path(path, sizeof(path), "/g/%s?x=%s", "a/b?c#d%", "A,0x1 ~\xc3\xa4"));
    assert_string_equal(path, "/g/a%2Fb%3Fc%23d%25?x=A,0x1%20~%C3%A4");
    assert_true(url_path(tight, sizeof(tight), "/abc/%s", "%"));
    assert_string_equal(tight, "/abc/%25");
    assert_false(url_path(tight, sizeof(tight), "/abcd/%s", "%"));
    assert_false(url_path(tight, sizeof(tight), "/abc/%s", "1234"));
    assert_false(url_path(tight, sizeof(tight), "/12345678"));
    /* libcurl would remove these from the path, which would change the request. */
    assert_false(url_path(path, sizeof(path), "/v1/guests/%s", ".."));
    assert_false(url_path(path, sizeof(path), "/v1/guests/%s", "."));
    assert_false(url_path(path, sizeof(path), "/v1/guests/%s/console", ".."));
    assert_false(url_path(path, sizeof(path), "/v1/guests/%s?x=1", ".."));
    assert_false(url_path(path, sizeof(path), "/v1/guests/%s", ""));
    assert_false(url_path(path, sizeof(path), "/v1/guests/%s/console", ""));
    assert_true(url_path(path, sizeof(path), "/v1/guests/%s", "..a"));
    assert_true(url_path(path, sizeof(path), "x=%s&", "1"));
}

static void assert_guest_name(const char *file, const char *expected)
{
    static const uint8_t random[5] = {0xff, 0, 0x44, 0x32, 0x14};
    char name[GUEST_NAME_SIZE];

    url_guest_name(file, random, name);
    assert_string_equal(name, expected);
}

static void test_guest_names(void **state)
{
    (void)state;
    assert_guest_name("build/My Kernel.elf", "my-kernel-74aeimqu");
    assert_guest_name("bzImage", "bzimage-74aeimqu");
    assert_guest_name("", "74aeimqu");
    assert_guest_name("dir/", "74aeimqu");
    assert_guest_name("--_\xc3\xa4", "74aeimqu");
    assert_guest_name("a..b", "a-74aeimqu");
    assert_guest_name("a__", "a-74aeimqu");
    assert_guest_name("a-kernel-with-a-very-long-name-of-its-own", "a-kernel-with-a-74aeimqu");
}

static void assert_stem(const char *file, const char *expected)
{
    char name[GUEST_NAME_SIZE];

    url_stem(file, GUEST_NAME_SIZE - 1, name);
    assert_string_equal(name, expected);
}

static void test_stems(void **state)
{
    (void)state;
    assert_stem("build/rtos.elf", "rtos");
    assert_stem("guests/My Kernel_2.bin.gz", "my-kernel-2");
    assert_stem("../-a-.x", "a");
    assert_stem(".hidden", "");
    assert_stem("_.elf", "");
    assert_stem("dir/", "");
    assert_stem("0123456789012345678901234567890123", "0123456789012345678901234567890");
    assert_stem("012345678901234567890123456789-x", "012345678901234567890123456789");
}

static void test_image_names(void **state)
{
    char name[IMAGE_NAME_SIZE];

    (void)state;
    url_image_name("rtos", "build/rtos.elf", 0, name);
    assert_string_equal(name, "rtos-rtos.elf");
    url_image_name("rtos", "../a b\xc3\xa4.gz", 0, name);
    assert_string_equal(name, "rtos-a_b__.gz");
    url_image_name("rtos", "initrd", 2, name);
    assert_string_equal(name, "rtos-initrd-3");
    url_image_name("../x", "dir/", 0, name);
    assert_string_equal(name, "_._x-");
    url_image_name("a-guest-with-the-longest-name-01",
                   "and-a-file-of-a-name-that-is-longer-than-everything.elf", 0, name);
    assert_string_equal(name, "a-guest-with-the-longest-name-01-and-a-file-of-a-name-that-is-l");
    url_image_name("a-guest-with-the-longest-name-01",
                   "and-a-file-of-a-name-that-is-longer-than-everything.elf", 9, name);
    assert_string_equal(name, "a-guest-with-the-longest-name-01-and-a-file-of-a-name-that-i-10");
}

static void test_fingerprints(void **state)
{
    char text[FINGERPRINT_TEXT], plain[2 * SHA256_SIZE + 1];
    uint8_t bytes[SHA256_SIZE], again[SHA256_SIZE];

    (void)state;
    for (unsigned i = 0; i < SHA256_SIZE; i++)
        bytes[i] = (uint8_t)(i * 37 + 11);
    url_fingerprint_text(bytes, text);
    assert_int_equal(strlen(text), 95);
    assert_true(strncmp(text, "0B:30:55:", 9) == 0);
    assert_true(url_fingerprint(text, again));
    assert_memory_equal(bytes, again, sizeof(bytes));
    url_hex(bytes, sizeof(bytes), plain);
    assert_true(strncmp(plain, "0b3055", 6) == 0);
    memset(again, 0, sizeof(again));
    assert_true(url_fingerprint(plain, again));
    assert_memory_equal(bytes, again, sizeof(bytes));
    for (const char *const *s = (const char *const[]){"sha256 ", "sha256:", "sha256=", NULL}; *s;
         s++) {
        char with[128];

        (void)snprintf(with, sizeof(with), "%s%s", *s, text);
        assert_true(url_fingerprint(with, again));
    }
    assert_false(url_fingerprint("", again));
    assert_false(url_fingerprint("sha256", again));
    assert_false(url_fingerprint("sha1 0b", again));
    plain[63] = 0;
    assert_false(url_fingerprint(plain, again));
    plain[63] = 'g';
    assert_false(url_fingerprint(plain, again));
    text[94] = 0;
    assert_false(url_fingerprint(text, again));
    url_fingerprint_text(bytes, text);
    text[2] = '-';
    assert_false(url_fingerprint(text, again));
}

/* ---- numbers and words ---- */

static void test_format(void **state)
{
    static const struct {
        uint64_t bytes;
        const char *text;
    } bytes[] = {{0, "0 B"},
                 {1023, "1023 B"},
                 {1024, "1 KiB"},
                 {1536, "1.5 KiB"},
                 {(1 << 20) - 1, "1023 KiB"},
                 {4 << 20, "4 MiB"},
                 {UINT64_MAX, "15.9 EiB"}};
    static const struct {
        uint64_t seconds;
        const char *text;
    } times[] = {
        {0, "0 s"}, {59, "59 s"}, {125, "2 min 5 s"}, {7260, "2 h 1 min"}, {93600, "1 d 2 h"}};
    char buf[FORMAT_MAX];

    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(bytes); i++) {
        format_bytes(buf, bytes[i].bytes);
        assert_string_equal(buf, bytes[i].text);
    }
    for (size_t i = 0; i < ARRAY_LEN(times); i++) {
        format_seconds(buf, times[i].seconds);
        assert_string_equal(buf, times[i].text);
    }
    (void)snprintf(buf, sizeof(buf), "a\033[2J\xc2\x9b\xc3\xa4\n\x7f\t\xc2");
    format_clean(buf, "\n");
    assert_string_equal(buf, "a?[2J??\xc3\xa4\n???");
    (void)snprintf(buf, sizeof(buf),
                   "\x9b"
                   "1m\xe2\x80\xae\xc3x\xff");
    format_clean(buf, "");
    assert_string_equal(buf, "?1m????x?");
    format_seconds(buf, UINT64_MAX);
    format_ticks(buf, 316, 20000000);
    assert_string_equal(buf, "15.8 us");
    format_ticks(buf, 25000, 20000000);
    assert_string_equal(buf, "1.2 ms");
    format_ticks(buf, 235975665, 20000000);
    assert_string_equal(buf, "11.8 s");
    format_ticks(buf, 20000000ull * 3700, 20000000);
    assert_string_equal(buf, "1 h 1 min");
    format_ticks(buf, UINT64_MAX, 1);
    format_ticks(buf, 316, 0);
    assert_string_equal(buf, "316 ticks");
    format_percent(buf, 1, 8);
    assert_string_equal(buf, "12.5 %");
    format_percent(buf, 1, 0);
    assert_string_equal(buf, "0.0 %");
}

static void test_progress(void **state)
{
    char buf[128];

    (void)state;
    format_progress(buf, sizeof(buf), "rtos", 1 << 20, 4 << 20, 40);
    assert_string_equal(buf, "rtos [###            ]  25 %  1 MiB     ");
    assert_int_equal(strlen(buf), 40);
    format_progress(buf, sizeof(buf), "rtos", 0, 0, 40);
    assert_non_null(strstr(buf, "100 %"));
    for (unsigned width = 1; width < 120; width++)
        for (unsigned percent = 0; percent <= 110; percent += 10) {
            format_progress(buf, sizeof(buf), "a-name-of-some-length", percent, 100, width);
            assert_true(strlen(buf) <= width);
        }
    format_progress(buf, 10, "a-name-of-some-length", 1, 100, 80);
    assert_int_equal(strlen(buf), 9);
}

static void assert_words(const char *message, const char *pointer, const char *expected)
{
    char buf[200];

    words_refusal(buf, sizeof(buf), message, pointer);
    assert_string_equal(buf, expected);
}

static void test_words(void **state)
{
    char small[8];

    (void)state;
    assert_words("1:54: memory: must be less", "/memory", "--memory: must be less");
    assert_words("not enough core time", "/guaranteed_us", "--guarantee: not enough core time");
    assert_words("1:2: budget_us: exceeds period_us", "/budget_us", "--budget: exceeds period_us");
    assert_words("1:2: x", "/restart_limit", "--restart-limit: x");
    assert_words("1:2: x", "/watchdog_ms", "--watchdog: x");
    assert_words("1:2: modules[0].file: x", "/modules/0/file", "--module: x");
    assert_words("1:2: disks[0].file: x", "/disks/0/file", "--disk: x");
    assert_words("no ELF", "/image", "image: no ELF");
    assert_words("1:2: x", "/net/allow", "--allow: x");
    assert_words("1:2: x", "/net/uplink", "--no-uplink: x");
    assert_words("1:2: weights: unknown", "/weights", "weights: unknown");
    assert_words("1:2: weighty: unknown", "/weighty", "weighty: unknown");
    assert_words("1:2: the body is not JSON", "", "1:2: the body is not JSON");
    assert_words("there is none; GET /v1/guests lists them", "",
                 "there is none; \"bhctl guests\" lists them");
    assert_words("none; GET .../vmcs/snapshots lists them", "", "none; --snapshots lists them");
    assert_words("none; GET .../vmcb/snapshots lists them", "", "none; --snapshots lists them");
    assert_words("this machine has AMD-V: there is no such resource; use .../vmcb", "",
                 "this machine has AMD-V: there is no such resource; use \"bhctl vmcb\"");
    assert_words("a\033[2Jb\x7f\n", "", "a?[2Jb??");
    assert_words("", "", "");
    words_refusal(small, sizeof(small), "GET /v1/images lists them", "/memory");
    assert_string_equal(small, "--memor");
    assert_null(words_option("memory"));
    assert_null(words_option(""));
    assert_null(words_option("/"));
    assert_null(words_option("/mem"));
}

/* ---- server-sent events ---- */

static char heard[4000];

static void hear(void *ctx, const char *data)
{
    (void)ctx;
    strcat(heard, data);
    strcat(heard, "|");
}

static void test_sse(void **state)
{
    static const char text[] = "id: 1\nevent: state\ndata: {\"a\":1}\n\n: comment\n\n"
                               "data:two\r\n\r\nid: 3\n\ndata: lost";
    struct sse s;

    (void)state;
    for (size_t piece = 1; piece < sizeof(text); piece++) {
        s = (struct sse){.take = hear};
        heard[0] = 0;
        for (size_t at = 0; at < sizeof(text) - 1; at += piece)
            sse_feed(&s, text + at, sizeof(text) - 1 - at < piece ? sizeof(text) - 1 - at : piece);
        assert_string_equal(heard, "{\"a\":1}|two|");
        sse_reset(&s);
        sse_feed(&s, "\n\ndata: x\n\n", 11);
        assert_string_equal(heard, "{\"a\":1}|two|x|");
    }
}

/* A line that is too long is left out; those after it are not. */
static void test_long_events(void **state)
{
    struct sse s = {.take = hear};
    char *text = malloc(4000);

    (void)state;
    for (size_t n = SSE_DATA_MAX - 2; n < SSE_DATA_MAX + 60; n++) {
        heard[0] = 0;
        memset(text, 'x', n);
        sse_feed(&s, "data: ", 6);
        sse_feed(&s, text, n);
        sse_feed(&s, "\n\ndata: y\n\n", 11);
        assert_int_equal(strlen(heard), n < SSE_DATA_MAX ? n + 3 : 2);
    }
    free(text);
}

/* ---- places in rings ---- */

/* The appliance's answer from a byte on, for a ring to which `text` was written and whose first
 * `gone` bytes are overwritten. */
static enum place_found ask_ring(struct place *p, const char *text, size_t gone, const char **more,
                                 uint64_t *missing)
{
    size_t end = strlen(text), from = place_from(p) > end ? 0 : (size_t)place_from(p), known;
    enum place_found found;

    if (from < gone)
        from = gone;
    found = place_find(p, text + from, end - from, end, &known, missing);
    *more = text + from + known;
    return found;
}

static const char *lines(char *buf, unsigned first, unsigned last)
{
    size_t n = 0;

    buf[0] = 0;
    for (unsigned i = first; i <= last; i++)
        n += (size_t)sprintf(buf + n, "line number %u of this ring\n", i);
    return buf;
}

static void test_place(void **state)
{
    char text[8000], half[4000];
    struct place p = {.next = 0};
    uint64_t missing;
    const char *more;

    (void)state;
    for (size_t piece = 1; piece < 700; piece += piece < 20 ? 1 : 97) {
        size_t length = strlen(lines(half, 1, 40));

        p = (struct place){.next = 0};
        for (size_t at = 0; at < length; at += piece)
            place_take(&p, half + at, length - at < piece ? length - at : piece);
        assert_int_equal(p.next, length);
        assert_int_equal(place_from(&p), length - PLACE_TAIL);
        assert_memory_equal(p.tail, half + length - PLACE_TAIL, PLACE_TAIL);
    }
    (void)lines(text, 1, 60);
    assert_int_equal(ask_ring(&p, text, 0, &more, &missing), PLACE_GOES_ON);
    assert_ptr_equal(more, text + strlen(half));
    /* None of it, all of it, and more than all of it is overwritten. */
    assert_int_equal(ask_ring(&p, text, strlen(half) - 5, &more, &missing), PLACE_GOES_ON);
    assert_ptr_equal(more, text + strlen(half));
    assert_int_equal(ask_ring(&p, text, strlen(half), &more, &missing), PLACE_GOES_ON);
    assert_ptr_equal(more, text + strlen(half));
    assert_int_equal(ask_ring(&p, text, strlen(half) + 7, &more, &missing), PLACE_GAP);
    assert_int_equal(missing, 7);
    assert_int_equal(p.next, strlen(half) + 7);
    assert_int_equal(p.length, 0);
    assert_ptr_equal(more, text + strlen(half) + 7);
}

static void test_place_that_lags(void **state)
{
    char text[8000], half[4000];
    struct place p = {.next = 0};
    uint64_t missing;
    const char *more;

    (void)state;
    /* A stream left out the first lines without saying so. */
    (void)lines(half, 11, 40);
    place_take(&p, half, strlen(half));
    (void)lines(text, 1, 60);
    more = strstr(text, "line number 41 ");
    assert_int_equal(ask_ring(&p, text, 0, &more, &missing), PLACE_GAP);
    assert_int_equal(missing, 0);
    assert_ptr_equal(more, strstr(text, "line number 41 "));
    assert_int_equal(p.next, more - text);
    assert_int_equal(ask_ring(&p, text, 0, &more, &missing), PLACE_GOES_ON);
}

static void test_place_in_another_ring(void **state)
{
    char text[8000], half[4000];
    struct place p = {.next = 0};
    uint64_t missing;
    const char *more;

    (void)state;
    (void)lines(half, 1, 40);
    place_take(&p, half, strlen(half));
    /* Shorter, as long, longer; and one that is longer and overwritten. */
    for (unsigned last = 100; last < 160; last += 10) {
        (void)lines(text, 100, last);
        assert_int_equal(ask_ring(&p, text, 0, &more, &missing), PLACE_ANEW);
        assert_int_equal(p.next, strlen(half));
    }
    p = (struct place){.next = 0};
    assert_int_equal(ask_ring(&p, text, 0, &more, &missing), PLACE_GOES_ON);
    assert_ptr_equal(more, text);
    assert_int_equal(ask_ring(&p, text, 10, &more, &missing), PLACE_GAP);
    assert_int_equal(missing, 10);
    /* A short text proves nothing. */
    p = (struct place){.next = 0};
    place_take(&p, "> ", 2);
    assert_int_equal(ask_ring(&p, "ready> ", 0, &more, &missing), PLACE_ANEW);
    assert_int_equal(ask_ring(&p, "> help\n", 0, &more, &missing), PLACE_GOES_ON);
    assert_string_equal(more, "help\n");
    assert_int_equal(ask_ring(&p, "", 0, &more, &missing), PLACE_ANEW);
}

/* ---- top ---- */

static void add(struct top_sample *s, const char *name, uint64_t ticks, uint64_t exits,
                uint64_t memory)
{
    struct top_guest *g = &s->guests[s->guest_count++];

    *g = (struct top_guest){
        .run_ticks = ticks, .exits = exits, .memory = memory, .core = 1, .vcpus = 1};
    (void)snprintf(g->name, sizeof(g->name), "%s", name);
    (void)snprintf(g->state, sizeof(g->state), "running");
}

static void test_top(void **state)
{
    struct top_sample a = {.uptime_ms = 1000, .tsc_hz = 1000000, .core_count = 2},
                      b = {.uptime_ms = 3000,
                           .tsc_hz = 1000000,
                           .core_count = 2,
                           .memory_total = 64 << 20,
                           .memory_free = 32 << 20};
    const struct top_host h = {.before = &a, .now = &b};
    struct top_row rows[TOP_GUESTS_MAX];
    char page[4000];
    unsigned n;

    (void)state;
    add(&a, "hog", 100000, 50, 4 << 20);
    add(&a, "gone", 1, 1, 1);
    add(&a, "again", 900000, 5000, 4 << 20);
    add(&b, "again", 200000, 100, 4 << 20);
    add(&b, "hog", 1100000, 60, 4 << 20);
    add(&b, "new", 500000, 4000, 8 << 20);
    b.cores[0] = (struct top_core){.busy = 300, .idle = 100};
    b.cores[1] = (struct top_core){.busy = 0, .idle = 100};
    n = top_compare(&a, &b, rows);
    assert_int_equal(n, 3);
    top_sort(rows, n, TOP_CPU);
    assert_string_equal(rows[0].guest->name, "hog");
    assert_true(rows[0].cpu == 50 && rows[0].exits == 5);
    assert_string_equal(rows[1].guest->name, "new");
    assert_true(rows[1].cpu == 25 && rows[1].exits == 2000);
    assert_true(rows[2].cpu == 10 && rows[2].exits == 50); /* it started again */
    top_sort(rows, n, TOP_EXITS);
    assert_string_equal(rows[0].guest->name, "new");
    top_sort(rows, n, TOP_NAME);
    assert_string_equal(rows[0].guest->name, "again");
    assert_string_equal(rows[2].guest->name, "new");
    top_sort(rows, n, TOP_MEMORY);
    assert_string_equal(rows[0].guest->name, "new");
    assert_string_equal(rows[1].guest->name, "again");
    top_tell(page, sizeof(page), &h, 1, rows, n, TOP_MEMORY, 0, 0);
    assert_string_equal(
        page, "up 3 s, 32 MiB of 64 MiB free, by memory\n"
              "cores  0  75.0 %   1   0.0 %\n"
              "\n"
              "GUEST            STATE       CORE    CPU %     EXITS/S     MEMORY  RESTARTS\n"
              "new              running        1     25.0        2000      8 MiB         0\n"
              "again            running        1     10.0          50      4 MiB         0\n"
              "hog              running        1     50.0           5      4 MiB         0\n");
    (void)snprintf(b.guests[0].state, sizeof(b.guests[0].state), "\033[2Jstate of tomorrow");
    top_tell(page, sizeof(page), &h, 1, rows, n, TOP_MEMORY, 0, 0);
    assert_non_null(strstr(page, "again            ?[2Jstate of tomorrow "));
    top_tell(page, sizeof(page), &h, 1, rows, n, TOP_MEMORY, 10, 2);
    assert_string_equal(page, "up 3 s, 32\ncores  0\n");
    b.core_count = TOP_CORES_MAX;
    top_tell(page, sizeof(page), &h, 1, rows, n, TOP_MEMORY, 80, 24);
    assert_non_null(strstr(page, "cores  50   0.0 %   51   0.0 %   52   0.0 %   53   0.0 %   54   "
                                 "0.0 %\n       and 73 more\n\nGUEST"));
    assert_non_null(strstr(page, "\nhog  "));
    top_tell(page, sizeof(page), &h, 1, rows, n, TOP_MEMORY, 0, 0);
    assert_non_null(strstr(page, "cores  125   0.0 %   126   0.0 %   127   0.0 %\n"));
    b.core_count = 2;
    for (size_t size = 1; size < 400; size++) {
        char *tight = malloc(size);

        top_tell(tight, size, &h, 1, rows, n, TOP_CPU, 0, 0);
        assert_true(strlen(tight) < size);
        free(tight);
    }
    b.guests[1].run_ticks += 2000000; /* three seconds of run time in two */
    (void)top_compare(&a, &b, rows);
    assert_true(rows[1].cpu == 100);
    b.guests[1].vcpus = 2;
    (void)top_compare(&a, &b, rows);
    assert_true(rows[1].cpu == 150);
}

static void test_top_without_time(void **state)
{
    struct top_sample a = {.uptime_ms = 5000, .tsc_hz = 1000}, b = {.uptime_ms = 0};
    struct top_row rows[TOP_GUESTS_MAX];
    enum top_key key;

    (void)state;
    add(&b, "g", 1, 1, 1);
    assert_int_equal(top_compare(&a, &b, rows), 1); /* another boot */
    assert_true(rows[0].cpu == 0 && rows[0].exits == 0);
    assert_int_equal(top_compare(NULL, &b, rows), 1);
    assert_int_equal(top_compare(&b, &b, rows), 1);
    assert_true(rows[0].cpu == 0);
    assert_true(top_key_named("memory", &key) && key == TOP_MEMORY);
    assert_false(top_key_named("frob", &key));
}

static void test_several_tops(void **state)
{
    static struct top_sample a = {.uptime_ms = 1000, .tsc_hz = 1000000, .core_count = 1},
                             b = {.uptime_ms = 3000, .tsc_hz = 1000000, .core_count = 1};
    const struct top_host hosts[] = {
        {"lab", &a, &b, false}, {"plant", &b, &a, false}, {"far", &a, &b, true}, {.name = "new"}};
    struct top_row rows[2 * TOP_GUESTS_MAX];
    char page[4000];

    (void)state;
    a.cores[0] = (struct top_core){.busy = 100, .idle = 900};
    b.cores[0] = (struct top_core){.busy = 200, .idle = 1200};
    add(&a, "same", 0, 0, 1 << 20);
    add(&b, "same", 1000000, 10, 1 << 20);
    assert_int_equal(top_compare(&a, &b, rows), 1);
    assert_int_equal(top_compare(&b, &a, rows + 1), 1);
    rows[0].host = "lab";
    rows[1].host = "plant";
    top_sort(rows, 2, TOP_NAME);
    assert_string_equal(rows[0].host, "lab");
    top_sort(rows, 2, TOP_CPU);
    top_tell(page, sizeof(page), hosts, ARRAY_LEN(hosts), rows, 2, TOP_CPU, 0, 0);
    assert_string_equal(page, "lab              up 3 s, 0 B of 0 B free, 1 cores 25.0 % busy\n"
                              "plant            up 1 s, 0 B of 0 B free, 1 cores 10.0 % busy\n"
                              "far              no answer\n"
                              "new              no answer\n"
                              "by cpu\n"
                              "HOST             GUEST            STATE       CORE    CPU %     "
                              "EXITS/S     MEMORY  RESTARTS\n"
                              "lab              same             running        1     50.0         "
                              "  5      1 MiB         0\n"
                              "plant            same             running        1      0.0         "
                              "  0      1 MiB         0\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options),
        cmocka_unit_test(test_command_lines),
        cmocka_unit_test(test_modules),
        cmocka_unit_test(test_guest_names),
        cmocka_unit_test(test_stems),
        cmocka_unit_test(test_wrong_usage),
        cmocka_unit_test(test_every_option),
        cmocka_unit_test(test_fields),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_base),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_image_names),
        cmocka_unit_test(test_fingerprints),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_progress),
        cmocka_unit_test(test_words),
        cmocka_unit_test(test_sse),
        cmocka_unit_test(test_long_events),
        cmocka_unit_test(test_place),
        cmocka_unit_test(test_place_that_lags),
        cmocka_unit_test(test_place_in_another_ring),
        cmocka_unit_test(test_top),
        cmocka_unit_test(test_top_without_time),
        cmocka_unit_test(test_several_tops),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

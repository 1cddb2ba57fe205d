/* SOURCES: mgmt/target.c mgmt/accept.c hv/lib.c */
/* What a request names, and which form of the answer its client prefers. */
#include "mgmt/accept.h"
#include "mgmt/target.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct target t;

static void segments(void **state)
{
    (void)state;
    assert_null(target_parse(&t, "/"));
    assert_int_equal(t.segment_count, 0);
    assert_null(target_parse(&t, "//v1///guests/"));
    assert_int_equal(t.segment_count, 2);
    assert_string_equal(t.segments[0], "v1");
    assert_string_equal(t.segments[1], "guests");
    /* Taken apart first, then decoded: once. */
    assert_null(target_parse(&t, "/a%2Fb/%68o%67/%2568/%C3%A9?x"));
    assert_int_equal(t.segment_count, 4);
    assert_string_equal(t.segments[0], "a/b");
    assert_string_equal(t.segments[1], "hog");
    assert_string_equal(t.segments[2], "%68");
    assert_string_equal(t.segments[3], "\xc3\xa9");
    assert_null(target_parse(&t, "/1/2/3/4/5/6/7/8"));
    assert_int_equal(t.segment_count, TARGET_SEGMENTS);
    assert_null(target_parse(&t, "/1/2/3/4/5/6/7/8/9/10"));
    assert_int_equal(t.segment_count, TARGET_SEGMENTS + 1);
}

static void parameters(void **state)
{
    char text[TARGET_MAX + 1] = "/?";

    (void)state;
    assert_null(target_parse(&t, "/v1?fields=A%2CB&&%66rom=1&empty=&none&a=b=c+d"));
    assert_int_equal(t.parameter_count, 5);
    assert_string_equal(target_value(&t, "fields"), "A,B");
    assert_string_equal(target_value(&t, "from"), "1");
    assert_string_equal(target_value(&t, "empty"), "");
    assert_string_equal(target_value(&t, "none"), "");
    assert_string_equal(target_value(&t, "a"), "b=c+d"); /* a plus is a plus */
    assert_null(target_value(&t, "fiel"));
    /* An ampersand that is encoded ends nothing. */
    assert_null(target_parse(&t, "/v1?a=1%26b=2%3d"));
    assert_int_equal(t.parameter_count, 1);
    assert_string_equal(target_value(&t, "a"), "1&b=2=");
    assert_non_null(strstr(target_parse(&t, "/v1?a=1&%61=2"), "twice"));
    for (int i = 0; i < (int)TARGET_PARAMETERS; i++)
        (void)snprintf(text + strlen(text), 3, "%c&", 'a' + i);
    assert_null(target_parse(&t, text));
    strcat(text, "z");
    assert_non_null(strstr(target_parse(&t, text), "too many"));
}

static void malformed(void **state)
{
    static const char *const wrong[] = {
        "/%",     "/%1",      "/%1g",   "/%g1", "/a%00b", "/?a=%", "/?%4",
        "/?a=%0", "/?a=%00b", "/?%zz=", "v1",   "*",      ""};

    (void)state;
    for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
        assert_non_null(target_parse(&t, wrong[i]));
}

static void strangers(void **state)
{
    (void)state;
    assert_null(target_parse(&t, "/?from=1&follow=0"));
    assert_null(target_stranger(&t, "follow from format"));
    assert_string_equal(target_stranger(&t, "follow format"), "from");
    assert_string_equal(target_stranger(&t, "from follows"), "follow");
    assert_string_equal(target_stranger(&t, ""), "from");
    assert_null(target_parse(&t, "/?=1"));
    assert_string_equal(target_stranger(&t, "from"), "");
    assert_null(target_parse(&t, "/?"));
    assert_null(target_stranger(&t, ""));
}

static const char *resolve(const char *text, char *host)
{
    static char target[TARGET_MAX + 1];

    strcpy(target, text);
    strcpy(host, "host");
    return target_resolve(target, host, 10) ? NULL : target;
}

/* RFC 9112, section 3.2.2. */
static void absolute_form(void **state)
{
    char host[10];

    (void)state;
    assert_string_equal(resolve("/http://x/", host), "/http://x/");
    assert_string_equal(host, "host");
    assert_string_equal(resolve("*", host), "*");
    assert_string_equal(host, "host");
    assert_string_equal(resolve("http://a.b:80/c?d", host), "/c?d");
    assert_string_equal(host, "a.b:80");
    assert_string_equal(resolve("HTTPS://[::1]", host), "/");
    assert_string_equal(host, "[::1]");
    assert_string_equal(resolve("http://a?b=http://c/", host), "/?b=http://c/");
    assert_string_equal(host, "a");
    for (unsigned i = 0; i < 8; i++) {
        static const char *const wrong[] = {"http:///a", "http://?a",    "http://u@h/",
                                            "ftp://a/b", "a.example:80", "http:/a",
                                            "",          "http://"};

        assert_null(resolve(wrong[i], host));
        assert_string_equal(host, "host");
    }
    assert_null(resolve("http://1234567890/", host)); /* does not fit */
    assert_non_null(resolve("http://123456789/", host));
}

static bool text(const char *value, const char *more)
{
    struct accept a = {0};

    accept_take(&a, value);
    if (more)
        accept_take(&a, more);
    return accept_is_text(&a);
}

/* RFC 9110, section 12.5.1. */
static void preferences(void **state)
{
    static const char *const json[] = {
        "",
        "*/*",
        "application/json",
        "application/json, text/plain, */*", /* axios */
        "text/plain, application/json",
        "text/plain;q=0, application/json",
        "text/plain;q=0",
        "text/plain;q=0.0, */*",
        "text/*, application/*",
        "text/plain;q=0.5, */*",
        "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
        "image/png",
        "text/html",
        "text/plainer",
        "xtext/plain",
        "text",
        "text/plain;q=2",
        "text/plain;q=-1",
        "text/plain;q=",
        "text/plain;q=0.1234",
        "text/plain;q=1.001",
        "text/plain;q=.5",
        ",,;,/",
        "a=\"text/plain, text/plain\"",
        "text/plain;q=0.1,application/*;q=0.2",
        "*/plain"};
    static const char *const plain[] = {"text/plain",
                                        "TEXT/Plain",
                                        "text/*",
                                        "text/plain; charset=utf-8",
                                        "application/json;q=0.9, text/plain",
                                        "application/json ; Q=0.1 , text/plain ;\tq=0.2",
                                        "application/json;q=0, */*",
                                        "*/*, application/json;q=0.999",
                                        "text/plain;q=1.000",
                                        "text/plain;a=\"x;q=0,\\\"\";q=1",
                                        "text/plain;q=0.001",
                                        "*/*;q=0.1, text/*;q=0.2",
                                        "application/*;q=0.3, text/plain;q=0.4, text/*;q=0"};

    (void)state;
    for (size_t i = 0; i < sizeof(json) / sizeof(json[0]); i++)
        if (text(json[i], NULL))
            fail_msg("text for %s", json[i]);
    for (size_t i = 0; i < sizeof(plain) / sizeof(plain[0]); i++)
        if (!text(plain[i], NULL))
            fail_msg("JSON for %s", plain[i]);
    assert_true(text("application/json;q=0.5", "text/plain"));
    assert_false(text("text/plain", "application/json"));
    assert_false(text("text/plain", "*/*"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(segments),  cmocka_unit_test(parameters),    cmocka_unit_test(malformed),
        cmocka_unit_test(strangers), cmocka_unit_test(absolute_form), cmocka_unit_test(preferences),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

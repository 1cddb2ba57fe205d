/* SOURCES: mgmt/audit.c mgmt/address.c hv/fmt.c hv/lib.c */
/* Audit lines for refusals and changes, and their limits. */
#include "mgmt/address.h"
#include "mgmt/audit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct audit audit;
static unsigned lines;
static char last[AUDIT_LINE + 1];

static void note(const char *line)
{
    assert_true(strlen(line) < AUDIT_LINE);
    for (const char *s = line; *s; s++)
        assert_true(*s >= ' ' && *s < 0x7f);
    strcpy(last, line);
    lines++;
}

static int setup(void **state)
{
    (void)state;
    memset(&audit, 0, sizeof(audit));
    lines = 0;
    last[0] = 0;
    return 0;
}

static struct audit_event refusal(uint64_t source)
{
    return (struct audit_event){.source = source,
                                .from = "10.0.2.2",
                                .name = "",
                                .method = "GET",
                                .target = "/v1/host?format=text",
                                .what = "",
                                .status = 401};
}

static void texts(void **state)
{
    struct audit_event e = refusal(1);

    (void)state;
    audit_refusal(&audit, &e, 0, note);
    assert_string_equal(last, "refused: unknown client from 10.0.2.2: GET /v1/host: 401");
    e.name = "viewer";
    e.role = "read";
    e.method = "POST";
    e.target = "/v1/guests/hog/actions";
    e.status = 403;
    audit_refusal(&audit, &e, 0, note);
    assert_string_equal(last,
                        "refused: viewer (read) from 10.0.2.2: POST /v1/guests/hog/actions: 403");
    e.what = "stop";
    e.status = 202;
    audit_change(&audit, &e, 0, note);
    assert_string_equal(last, "viewer from 10.0.2.2: POST /v1/guests/hog/actions stop: 202");
    e.name = "";
    audit_change(&audit, &e, 0, note);
    assert_string_equal(last, "(anybody) from 10.0.2.2: POST /v1/guests/hog/actions stop: 202");
}

/* A client's text can neither forge a line nor break one. */
static void what_clients_say(void **state)
{
    char target[300], what[300];
    struct audit_event e = refusal(1);

    (void)state;
    e.target = "/a\r\nmgmt: root from 10.0.0.1\x1b[2J\x9b\xff ?secret";
    e.what = "{\"a\":\n\t1}";
    audit_refusal(&audit, &e, 0, note);
    assert_string_equal(last, "refused: unknown client from 10.0.2.2: GET "
                              "/a??mgmt:?root?from?10.0.0.1?[2J??? {\"a\":??1}: 401");
    memset(target, '/', sizeof(target) - 1);
    memset(what, 'w', sizeof(what) - 1);
    target[sizeof(target) - 1] = what[sizeof(what) - 1] = 0;
    e.target = target;
    e.what = what;
    e.from = "2001:db8:1111:2222:3333:4444:5555:6666";
    e.name = "a-name-of-31-bytes-is-the-longest";
    audit_change(&audit, &e, 0, note);
    assert_non_null(strstr(last, "www: 401"));
}

static void one_address_is_bounded(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 1000; i++) {
        struct audit_event e = refusal(1);

        audit_refusal(&audit, &e, i, note);
    }
    assert_int_equal(lines, AUDIT_EACH);
    for (unsigned i = 0; i < 1000; i++) {
        struct audit_event e = refusal(2 + i);

        audit_refusal(&audit, &e, 2000, note);
    }
    assert_int_equal(lines, AUDIT_ALL);
    audit_poll(&audit, AUDIT_WINDOW_MS - 1, note);
    assert_int_equal(lines, AUDIT_ALL);
    audit_poll(&audit, AUDIT_WINDOW_MS, note);
    assert_int_equal(lines, AUDIT_ALL + 1);
    assert_string_equal(last, "audit: 1984 more requests refused in 10 s, not listed");
    audit_poll(&audit, 10 * AUDIT_WINDOW_MS, note); /* once */
    assert_int_equal(lines, AUDIT_ALL + 1);
}

/* A busy token hides only its own changes. */
static void one_token_is_bounded(void **state)
{
    struct audit_event e = refusal(1);

    (void)state;
    e.name = "ops";
    for (unsigned i = 0; i < 100; i++)
        audit_change(&audit, &e, i, note);
    assert_int_equal(lines, AUDIT_CHANGES);
    for (unsigned i = 0; i < AUDIT_SOURCES - 1; i++) {
        e.source = 2 + i;
        audit_change(&audit, &e, 100, note);
        audit_refusal(&audit, &e, 100, note);
    }
    assert_int_equal(lines, AUDIT_CHANGES + 2 * (AUDIT_SOURCES - 1));
    e.source = 1;
    audit_change(&audit, &e, AUDIT_WINDOW_MS, note); /* first says how many there were */
    assert_int_equal(lines, AUDIT_CHANGES + 2 * (AUDIT_SOURCES - 1) + 2);
}

/* RFC 5952, sections 4.1 to 4.3; the last ones from its sections 1 and 2. */
static void addresses(void **state)
{
    static const struct {
        uint8_t ip[16];
        const char *text;
    } cases[] = {
        {{0}, "::"},
        {{[15] = 1}, "::1"},
        {{0x20, 0x01, 0x0d, 0xb8, [15] = 1}, "2001:db8::1"},
        {{0x20, 0x01, 0x0d, 0xb8, [9] = 1, [15] = 1}, "2001:db8::1:0:0:1"},
        {{0x20, 0x01, 0x0d, 0xb8, 0, 0, 0, 1, 0, 1, 0, 1, 0, 1, 0, 1}, "2001:db8:0:1:1:1:1:1"},
        {{0xfe, 0x80, [14] = 0xab, 0}, "fe80::ab00"},
        {{1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0}, "101:101:101:101:101:101::"},
    };
    char text[ADDRESS_TEXT];

    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        address_ipv6(text, cases[i].ip);
        assert_string_equal(text, cases[i].text);
    }
    address_ipv4(text, (const uint8_t[]){255, 0, 10, 255});
    assert_string_equal(text, "255.0.10.255");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(texts, setup),
        cmocka_unit_test_setup(what_clients_say, setup),
        cmocka_unit_test_setup(one_address_is_bounded, setup),
        cmocka_unit_test_setup(one_token_is_bounded, setup),
        cmocka_unit_test_setup(addresses, setup),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

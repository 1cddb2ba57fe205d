/* SOURCES: @vmcsdump */
#include "mgmt/tools/reader.h"

#include "arch/x86/inspect/decode_bitmap.h"
#include "arch/x86/inspect/decode_fields.h"
#include "mgmt/report.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static struct vmcs_file file;
static struct vmcs_layout layout;
static struct abi_caps caps;
static struct reader_error error;
static jsmntok_t tokens[READER_TOKENS];
static char out[1 << 20], again[1 << 20];

enum kind { VMCS, LAYOUT, CAPS };

/* The text is copied to a block of exactly its size, so that the sanitizer sees a read past its
 * end. */
static int read_as(enum kind kind, unsigned core, const char *text)
{
    size_t n = strlen(text);
    char *copy = malloc(n ? n : 1);
    struct json j;
    int rc;

    memcpy(copy, text, n);
    memset(&error, 0xa5, sizeof(error));
    rc = reader_json(&j, copy, n, tokens, READER_TOKENS, &error);
    if (rc == 0)
        rc = kind == VMCS     ? reader_vmcs(&j, &file, &error)
             : kind == LAYOUT ? reader_layout(&j, &layout, &error)
                              : reader_caps(&j, core, &caps, &error);
    free(copy);
    return rc;
}

static void assert_error(enum kind kind, const char *text, unsigned line, unsigned column,
                         const char *what)
{
    assert_int_equal(read_as(kind, 0, text), -E_FORMAT);
    assert_int_equal(error.line, line);
    assert_int_equal(error.column, column);
    assert_non_null(strstr(error.text, what));
}

static void test_values(void **state)
{
    (void)state;
    assert_int_equal(read_as(VMCS, 0,
                             "{\"fields\": [{\"encoding\": \"0x681E\", \"value\": \"0xfF\"},"
                             "{\"encoding\": \"0x2032\", \"value\": null}]}"),
                     0);
    assert_true(vmcs_has(&file.vmcs, VMCS_ROW_GUEST_RIP));
    assert_int_equal(file.vmcs.value[VMCS_ROW_GUEST_RIP], 0xff);
    assert_false(vmcs_has(&file.vmcs, VMCS_ROW_TSC_MULTIPLIER));
    for (unsigned row = 0; row < VMCS_ROWS; row++)
        assert_int_equal(row_in(file.listed, row),
                         row == VMCS_ROW_GUEST_RIP || row == VMCS_ROW_TSC_MULTIPLIER);
    assert_int_equal(file.caps.present, 0);
    assert_false(file.has_bitmaps);
}

/* The largest value of each width, and one more. */
static void test_widths(void **state)
{
    char text[200];

    (void)state;
    for (unsigned row = 0; row < VMCS_ROWS; row++) {
        const struct vmcs_field *f = vmcs_field(row);
        unsigned digits = dump_digits(f);

        (void)snprintf(text, sizeof(text),
                       "{\"fields\": [{\"encoding\": \"0x%x\", \"value\": \"0x%.*s\"}]}",
                       f->encoding, (int)digits, "ffffffffffffffff");
        assert_int_equal(read_as(VMCS, 0, text), 0);
        assert_int_equal(file.vmcs.value[row],
                         digits == 16 ? UINT64_MAX : (1ull << 4 * digits) - 1);
        (void)snprintf(text, sizeof(text),
                       "{\"fields\": [{\"encoding\": \"0x%x\", \"value\": \"0x1%.*s\"}]}",
                       f->encoding, (int)digits, "0000000000000000");
        assert_int_equal(read_as(VMCS, 0, text), -E_FORMAT);
        assert_non_null(strstr(error.text, f->name));
    }
}

static void test_provenance(void **state)
{
    (void)state;
    assert_int_equal(
        read_as(VMCS, 0,
                "{\"fields\": [{\"encoding\": \"0x4002\", \"value\": \"0x0\", \"bits\": ["
                "{\"name\": \"HLT_EXITING\", \"wanted\": true, \"forced\": null},"
                "{\"name\": \"PAUSE_EXITING\", \"wanted\": true, \"forced\": 0},"
                "{\"name\": \"MOV_DR_EXITING\", \"wanted\": false, \"forced\": 1},"
                "{\"name\": \"RESERVED\", \"value\": \"0x1\"}, {\"name\": \"USE_IO_BITMAPS\"}]}]}"),
        0);
    assert_int_equal(file.caps.present, 1);
    assert_int_equal(file.settled[ABI_CONTROL_CPU1], 1u << 7 | 1u << 30 | 1u << 23);
    assert_int_equal(file.wanted[ABI_CONTROL_CPU1], 1u << 7 | 1u << 30);
    assert_int_equal(file.caps.cpu1, ~(uint64_t)(1u << 30) << 32 | 1u << 23);
    assert_int_equal(file.settled[ABI_CONTROL_PIN], 0);
}

/* A VMCB's answer is known by its offsets. */
static void test_vmcb(void **state)
{
    (void)state;
    assert_int_equal(
        read_as(
            VMCS, 0,
            "{\"fields\": [{\"offset\": \"0x00c\", \"name\": \"INTERCEPT_MISC1\", \"value\": "
            "\"0x01000000\", \"bits\": [{\"name\": \"HLT\", \"wanted\": true, \"forced\": null},"
            "{\"name\": \"RDTSC\", \"wanted\": false, \"forced\": null}]}, "
            "{\"offset\": \"0x0d1\", \"value\": \"0x11223344556677\"}, "
            "{\"offset\": \"0x0c8\", \"value\": null}]}"),
        0);
    assert_ptr_equal(file.table, &state_vmcb);
    assert_int_equal(file.vmcs.value[VMCB_ROW_INTERCEPT_MISC1], 1u << 24);
    assert_int_equal(file.vmcs.value[VMCB_ROW_GUEST_INSTRUCTION_LOW], 0x11223344556677);
    assert_false(vmcs_has(&file.vmcs, VMCB_ROW_NRIP));
    assert_true(row_in(file.listed, VMCB_ROW_NRIP));
    assert_int_equal(file.wanted[ABI_SVM_INTERCEPT_MISC1], 1u << 24);
    assert_int_equal(file.settled[ABI_SVM_INTERCEPT_MISC1], 1u << 24 | 1u << 14);
    assert_int_equal(
        read_as(VMCS, 0,
                "{\"fields\": [{\"offset\": \"0x0d1\", \"value\": \"0x1122334455667788\"}]}"),
        -E_FORMAT);
    assert_non_null(strstr(error.text, "more than 56 bits"));
    assert_int_equal(read_as(VMCS, 0, "{\"fields\": [{\"offset\": \"0x1\", \"value\": \"0x1\"}]}"),
                     -E_FORMAT);
    assert_non_null(strstr(error.text, "offset: no field of the VMCB is 0x1"));
    /* Not both in one file. */
    assert_int_equal(read_as(VMCS, 0,
                             "{\"fields\": [{\"offset\": \"0x578\", \"value\": \"0x1\"}, "
                             "{\"encoding\": \"0x681e\", \"value\": \"0x1\"}]}"),
                     -E_FORMAT);
}

static void test_bitmaps(void **state)
{
    const uint8_t *ports = file.bitmaps + 0x1000;

    (void)state;
    assert_int_equal(
        read_as(VMCS, 0,
                "{\"fields\": [], \"bitmaps\": {\"ports_that_exit\": ["
                "{\"first\": \"0x7ffe\", \"last\": \"0x8001\"}, {\"first\": \"0xffff\", \"last\": "
                "\"0xffff\"}], \"msr_reads_without_exit\": [{\"first\": \"0xc0000100\", \"last\": "
                "\"0xc0000101\"}], \"msr_writes_without_exit\": [{\"first\": \"0x1fff\", \"last\": "
                "\"0x1fff\"}]}}"),
        0);
    assert_true(file.has_bitmaps);
    for (unsigned port = 0; port < 0x10000; port++)
        assert_int_equal(ports[port / 8] >> port % 8 & 1,
                         (port >= 0x7ffe && port <= 0x8001) || port == 0xffff);
    assert_int_equal(file.bitmaps[0x400 + 0x100 / 8], 0xfc);
    assert_int_equal(file.bitmaps[0x800 + 0x1fff / 8], 0x7f);
    assert_int_equal(
        exit_map_ranges(&exit_maps_vmx, file.bitmaps, EXIT_MAP_MSR_READS, false, NULL, NULL), 1);
    assert_int_equal(
        exit_map_ranges(&exit_maps_vmx, file.bitmaps, EXIT_MAP_MSR_WRITES, false, NULL, NULL), 1);
    /* The maps of a VMCB, where the file has one. */
    assert_int_equal(
        read_as(VMCS, 0,
                "{\"fields\": [{\"offset\": \"0x578\", \"value\": \"0x1\"}], \"bitmaps\": "
                "{\"ports_that_exit\": [{\"first\": \"0x1\", \"last\": \"0x1\"}], "
                "\"msr_reads_without_exit\": [{\"first\": \"0xc0010000\", \"last\": "
                "\"0xc0010000\"}], \"msr_writes_without_exit\": []}}"),
        0);
    assert_int_equal(file.bitmaps[0x2000], 2);
    assert_int_equal(file.bitmaps[0x1000], 0xfe);
    assert_int_equal(file.bitmaps[0x800], 0xff);
}

/* Ranges that would be written outside the bitmaps. */
static void test_ranges_outside(void **state)
{
    static const char *const texts[] = {
        "{\"first\": \"0x0\", \"last\": \"0x10000\"}",
        "{\"first\": \"0x2\", \"last\": \"0x1\"}",
        "{\"first\": \"0x0\", \"last\": \"0xffffffff\"}",
        "{\"first\": \"0x0\", \"last\": \"0x100000000\"}",
    };
    static const char *const msrs[] = {
        "{\"first\": \"0x0\", \"last\": \"0x2000\"}",
        "{\"first\": \"0x1fff\", \"last\": \"0xc0000000\"}",
        "{\"first\": \"0xbfffffff\", \"last\": \"0xc0000000\"}",
        "{\"first\": \"0xc0000000\", \"last\": \"0xc0002000\"}",
        "{\"first\": \"0xffffffff\", \"last\": \"0xffffffff\"}",
    };
    char text[300];

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(texts); i++) {
        (void)snprintf(text, sizeof(text),
                       "{\"fields\": [], \"bitmaps\": {\"ports_that_exit\": [%s]}}", texts[i]);
        assert_int_equal(read_as(VMCS, 0, text), -E_FORMAT);
        assert_non_null(strstr(error.text, "ports_that_exit[0]"));
    }
    for (unsigned i = 0; i < ARRAY_LEN(msrs); i++) {
        (void)snprintf(text, sizeof(text),
                       "{\"fields\": [], \"bitmaps\": {\"ports_that_exit\": [], "
                       "\"msr_reads_without_exit\": [%s]}}",
                       msrs[i]);
        assert_int_equal(read_as(VMCS, 0, text), -E_FORMAT);
        assert_non_null(strstr(error.text, "msr_reads_without_exit[0]"));
    }
}

static void test_errors(void **state)
{
    (void)state;
    assert_error(VMCS, "", 1, 1, "");
    assert_error(VMCS, "[]", 1, 1, "must be an object");
    assert_error(VMCS, "{\n}", 1, 1, "\"fields\" is missing");
    assert_error(VMCS, "{\"fields\": 1}", 1, 12, "must be an array");
    assert_error(VMCS, "{\"fields\":\n [7]}", 2, 3, "fields[0]: must be an object");
    assert_error(VMCS, "{\"fields\": [{\"encoding\": \"0x1\", \"value\": null}]}", 1, 13,
                 "no field of the VMCS is 0x1");
    assert_error(VMCS, "{\"fields\": [{\"encoding\": \"681e\"}]}", 1, 27, "like \"0x1f\"");
    assert_error(VMCS, "{\"fields\": [{\"encoding\": \"0x\"}]}", 1, 27, "like \"0x1f\"");
    assert_error(VMCS, "{\"error\": {\"status\": 404, \"message\": \"there is no guest\"}}", 1, 1,
                 "there is no guest");
    assert_error(LAYOUT, "{\"fields\": []}", 1, 1, "\"revision\" is missing");
    assert_error(LAYOUT, "{\"revision\": \"0x80000000\", \"fields\": []}", 1, 15, "more than 31");
    assert_error(CAPS, "{\"cores\": []}", 1, 11, "no core 0");
    assert_error(CAPS, "{\"cores\": [{\"msrs\": [{\"msr\": \"0x481\", \"value\": 1}]}]}", 1, 48,
                 "like \"0x1f\"");
}

/* Names may be as long as the file: messages are cut, never overrun. */
static void test_long_names(void **state)
{
    static char text[100000];
    size_t n =
        (size_t)snprintf(text, sizeof(text), "{\"fields\": [{\"encoding\": \"0x0\", \"name\": \"");

    (void)state;
    memset(text + n, 'A', sizeof(text) - n - 20);
    (void)snprintf(text + sizeof(text) - 20, 20, "\", \"value\": null}]}");
    assert_int_equal(read_as(VMCS, 0, text), -E_FORMAT);
    assert_non_null(memchr(error.text, 0, sizeof(error.text)));
    assert_non_null(strstr(error.text, "is VPID, not AAAA"));
}

static void test_layout(void **state)
{
    (void)state;
    assert_int_equal(
        read_as(
            LAYOUT, 0,
            "{\"revision\": \"0x7fffffff\", \"fields\": ["
            "{\"encoding\": \"0x681e\", \"offset\": 4088, \"size\": 8, \"stored\": \"verbatim\"},"
            "{\"encoding\": \"0x6820\", \"offset\": null, \"size\": 0, \"stored\": \"not found\"},"
            "{\"encoding\": \"0x4816\", \"offset\": 8, \"size\": 2, \"stored\": "
            "\"transformed\"}]}"),
        0);
    assert_int_equal(layout.revision, 0x7fffffff);
    assert_int_equal(layout.field[VMCS_ROW_GUEST_RIP].offset, 4088);
    assert_int_equal(layout.field[VMCS_ROW_GUEST_RIP].stored, ABI_STORED_VERBATIM);
    assert_true(layout.field[VMCS_ROW_GUEST_RFLAGS].tried);
    assert_int_equal(layout.field[VMCS_ROW_GUEST_RFLAGS].size, 0);
    assert_int_equal(layout.field[VMCS_ROW_GUEST_CS_ACCESS_RIGHTS].stored, ABI_STORED_TRANSFORMED);
    assert_false(layout.field[VMCS_ROW_VPID].tried);
}

static void test_caps(void **state)
{
    static const char text[] =
        "{\"cores\": [{\"msrs\": []}, {\"physical_address_bits\": 39, \"linear_address_bits\": 48,"
        "\"msrs\": [{\"msr\": \"0x480\", \"value\": \"0xda040000000004\"},"
        "{\"msr\": \"0x48d\", \"value\": \"0x7f00000016\"}]}]}";

    (void)state;
    assert_int_equal(read_as(CAPS, 1, text), 0);
    assert_int_equal(caps.basic, 0xda040000000004);
    assert_int_equal(caps.pin, 0x7f00000016);
    assert_int_equal(caps.address_widths, 48 << 8 | 39);
    assert_int_equal(read_as(CAPS, 0, text), 0);
    assert_int_equal(caps.basic, 0);
    assert_int_equal(read_as(CAPS, 2, text), -E_FORMAT);
}

/* A dump in JSON, read back, makes the same dump again: every field, every control bit, every
 * bitmap. */
static size_t put(char *buf, const struct dump *d)
{
    struct json_out j;

    json_begin(&j, buf, sizeof(out), false);
    json_object(&j, NULL);
    dump_fields(&j, d);
    json_end(&j);
    assert_false(j.overflow);
    return j.len;
}

static void test_round_trip(void **state)
{
    static struct vmcs_file made;
    const struct dump_options o = {.decode = true, .group = -1};
    struct dump d = {.options = &o,
                     .vmcs = &made.vmcs,
                     .wanted = made.wanted,
                     .caps = &made.caps,
                     .bitmaps = made.bitmaps};
    uint32_t random = 1;
    struct json j;
    size_t n;

    (void)state;
    for (unsigned row = 0; row < VMCS_ROWS; row++) {
        random = random * 1664525 + 1013904223;
        if (random >> 28)
            vmcs_set(&made.vmcs, row,
                     (random * 0x9e3779b97f4a7c15ull) >> (64 - 4 * dump_digits(vmcs_field(row))));
    }
    for (unsigned i = 0; i < sizeof(made.bitmaps); i++) {
        random = random * 1664525 + 1013904223;
        made.bitmaps[i] = random >> 25 ? 0xff : (uint8_t)(random >> 16);
    }
    made.caps = (struct abi_caps){.present = 1,
                                  .pin = 0xff00000016,
                                  .cpu1 = 0xfff9fffe04006172,
                                  .cpu2 = 0x0123456700000000,
                                  .exit = 0x01ffffff00036dfb,
                                  .entry = 0x0003ffff000011fb};
    for (unsigned i = 0; i < ABI_CONTROLS; i++)
        made.wanted[i] = 0x5a5a5a5a >> i;
    n = put(out, &d);
    assert_int_equal(reader_json(&j, out, n, tokens, READER_TOKENS, &error), 0);
    assert_int_equal(reader_vmcs(&j, &file, &error), 0);
    d = (struct dump){.options = &o,
                      .vmcs = &file.vmcs,
                      .wanted = file.wanted,
                      .caps = &file.caps,
                      .settled = file.settled,
                      .rows = file.listed,
                      .bitmaps = file.has_bitmaps ? file.bitmaps : NULL};
    assert_int_equal(put(again, &d), n);
    assert_memory_equal(out, again, n);
}

static void test_report_absent(void **state)
{
    static struct abi_vmcs a, b;
    struct json_out j;

    (void)state;
    vmcs_set(&b, VMCS_ROW_VPID, 0);
    json_begin(&j, out, sizeof(out), true);
    assert_int_equal(report_diff(&j, &state_vmcs, &a, &b, NULL, true), 1);
    out[j.len] = 0;
    assert_non_null(strstr(out, "absent -> 0x0000"));
    json_begin(&j, out, sizeof(out), true);
    assert_int_equal(report_diff(&j, &state_vmcs, &a, &b, (const uint64_t[ROW_WORDS]){0}, true), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),     cmocka_unit_test(test_widths),
        cmocka_unit_test(test_provenance), cmocka_unit_test(test_vmcb),
        cmocka_unit_test(test_bitmaps),    cmocka_unit_test(test_ranges_outside),
        cmocka_unit_test(test_errors),     cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_layout),     cmocka_unit_test(test_caps),
        cmocka_unit_test(test_round_trip), cmocka_unit_test(test_report_absent),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

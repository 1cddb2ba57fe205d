/* SOURCES: hv/flat.c hv/load_plan.c hv/lib.c */
/* The management guest's image. */
#include "hv/flat.h"

#include "hv/lib.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MEMORY 0x400000u
#define BYTES  (3 * FLAT_GROUP)

static struct flat_header header;
static uint8_t bytes[BYTES];
static struct load_plan plan;

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < BYTES; i++)
        bytes[i] = (uint8_t)(7 * i + 1);
    header = (struct flat_header){.load = 0x100000,
                                  .entry = 0x100000 + BYTES - 1,
                                  .file_size = BYTES,
                                  .memory_size = 0x300000,
                                  .checksum = flat_checksum(bytes, BYTES)};
    memcpy(header.magic, FLAT_MAGIC, sizeof(header.magic));
    return 0;
}

/* In a heap block of exactly its size. */
static const char *plan_of(size_t size)
{
    uint8_t *image = malloc(size ? size : 1);
    const char *why = NULL;
    size_t head = size < sizeof(header) ? size : sizeof(header);

    memcpy(image, &header, head);
    memcpy(image + head, bytes, size - head);
    memset(&plan, 0x55, sizeof(plan));
    if (flat_plan(image, size, MEMORY, &plan, &why) == 0)
        why = NULL;
    else
        assert_non_null(why);
    free(image);
    return why;
}

static void good(void **state)
{
    struct load_sizes sizes = {{sizeof(header) + BYTES}};
    const char *what;

    (void)state;
    assert_null(plan_of(sizeof(header) + BYTES));
    assert_int_equal(load_plan_check(&plan, &sizes, MEMORY, &what), 0);
    assert_int_equal(plan.piece_count, 2);
    assert_int_equal(plan.pieces[0].address, 0x100000);
    assert_int_equal(plan.pieces[0].size, BYTES);
    assert_int_equal(plan.pieces[0].offset, sizeof(header));
    assert_int_equal(plan.start.rip, header.entry);
    assert_int_equal(plan.start.mode, LOAD_PROT32);
    assert_string_equal(plan.start.kind, "flat");
    /* To the last byte of memory. */
    header.memory_size = MEMORY - 0x100000;
    assert_null(plan_of(sizeof(header) + BYTES));
}

/* Every number is checked. */
static void bad(void **state)
{
    (void)state;
    for (size_t size = 0; size < sizeof(header) + BYTES; size++)
        assert_string_equal(plan_of(size), "it is cut off");
#define REFUSED(text, statement)                                                                   \
    do {                                                                                           \
        setup(NULL);                                                                               \
        statement;                                                                                 \
        assert_non_null(strstr(plan_of(sizeof(header) + BYTES), text));                            \
    } while (0)
    REFUSED("does not begin", header.magic[7] = 0);
    REFUSED("cut off", header.file_size = 0);
    REFUSED("cut off", header.file_size = BYTES - 1);
    REFUSED("cut off", header.file_size = UINT64_MAX - FLAT_GROUP + 1);
    REFUSED("no sense", header.load = 0xff000);
    REFUSED("no sense", header.load = 0x100001);
    REFUSED("no sense", header.memory_size = BYTES - 1);
    REFUSED("more memory", header.memory_size = MEMORY - 0x100000 + 1);
    REFUSED("more memory", header.memory_size = UINT64_MAX);
    REFUSED("more memory", header.load = UINT64_MAX - 0xfff);
    REFUSED("entry point", header.entry = header.load - 1);
    REFUSED("entry point", header.entry = header.load + BYTES);
    REFUSED("checksum", header.checksum++);
    for (size_t i = 0; i < BYTES; i++)
        REFUSED("checksum", bytes[i] ^= 0x10);
    /* Two groups swapped. */
    REFUSED("checksum", (bytes[0] = bytes[FLAT_GROUP], bytes[FLAT_GROUP] = 1));
#undef REFUSED
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test_setup(good, setup),
                                       cmocka_unit_test_setup(bad, setup)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SOURCES: hv/load_plan.c hv/lib.c */
/* Plans that no loader would make. */
#include "hv/lib.h"
#include "hv/load_plan.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>

#include <cmocka.h>

#define MEMORY (4ull << 20)

static struct load_plan plan;
static struct load_sizes sizes;

static void good(void)
{
    memset(&plan, 0, sizeof(plan));
    memset(&sizes, 0, sizeof(sizes));
    sizes.size[LOAD_FROM_IMAGE] = 0x1000;
    sizes.size[LOAD_FROM_MODULE + 1] = 0x100;
    plan.piece_count = 3;
    plan.byte_count = 32;
    plan.pieces[0] = (struct load_piece){0x100000, 0x800, 0x800, LOAD_FROM_IMAGE, 0};
    plan.pieces[1] = (struct load_piece){MEMORY - 0x100, 0x100, 0, LOAD_FROM_MODULE + 1, 0};
    plan.pieces[2] = (struct load_piece){0x9f000, 32, 0, LOAD_FROM_BYTES, 0};
    plan.start = (struct load_result){.mode = LOAD_PROT32,
                                      .cs = 8,
                                      .ds = 0x18,
                                      .rip = 0x100000,
                                      .gdt_base = 0x9f000,
                                      .gdt_limit = 31,
                                      .kind = "multiboot1"};
}

static void refused(const char *why)
{
    const char *what = "";

    assert_int_equal(load_plan_check(&plan, &sizes, MEMORY, &what), -E_INVAL);
    assert_string_equal(what, why);
    good();
}

static void a_good_one(void **state)
{
    const char *what;

    (void)state;
    good();
    assert_int_equal(load_plan_check(&plan, &sizes, MEMORY, &what), 0);
    plan.start = (struct load_result){.mode = LOAD_REAL16, .rip = 0x7c00, .kind = "flat"};
    assert_int_equal(load_plan_check(&plan, &sizes, MEMORY, &what), 0);
}

static void pieces(void **state)
{
    (void)state;
    good();
    plan.piece_count = LOAD_PIECES_MAX + 1;
    refused("the number of pieces");
    plan.piece_count = UINT32_MAX;
    refused("the number of pieces");
    plan.byte_count = LOAD_BYTES_MAX + 1;
    refused("the number of bytes");
    plan.pieces[0].size = 0;
    refused("a piece");
    plan.pieces[0].size = 0x801; /* ends after the image */
    refused("a piece");
    plan.pieces[0].offset = UINT64_MAX;
    refused("a piece");
    plan.pieces[0].size = UINT64_MAX;
    refused("a piece");
    plan.pieces[0].address = MEMORY;
    refused("a piece");
    plan.pieces[0].address = UINT64_MAX - 0x100;
    refused("a piece");
    plan.pieces[1].address++; /* ends after the memory */
    refused("a piece");
    plan.pieces[1].source = LOAD_FROM_MODULE; /* there is none */
    refused("a piece");
    plan.pieces[1].source = LOAD_FROM_BYTES + 1;
    refused("a piece");
    plan.pieces[1].source = UINT32_MAX;
    refused("a piece");
    plan.pieces[2].size = 33; /* more than there are bytes */
    refused("a piece");
}

static void states(void **state)
{
    (void)state;
    good();
    plan.start.mode = 2;
    refused("the state: the mode");
    plan.start.mode = LOAD_REAL16;
    refused("the state: real mode ends at 64 KiB");
    plan.start.rip = 1ull << 32;
    refused("the state: RIP and RSP have 32 bits");
    plan.start.rsp = UINT64_MAX;
    refused("the state: RIP and RSP have 32 bits");
    plan.start.gdt_limit = 0xffff;
    refused("the state: the GDT");
    plan.start.gdt_base = MEMORY - 31;
    refused("the state: the GDT");
    plan.start.cs = 0;
    refused("the state: the selectors");
    plan.start.cs = 0x0b;
    refused("the state: the selectors");
    plan.start.ds = 0x20;
    refused("the state: the selectors");
    plan.start.kind[0] = 0;
    refused("the state: the kind");
    memcpy(plan.start.kind, "a\nb", 4);
    refused("the state: the kind");
    memset(plan.start.kind, 'x', sizeof(plan.start.kind));
    refused("the state: the kind");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_one),
        cmocka_unit_test(pieces),
        cmocka_unit_test(states),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

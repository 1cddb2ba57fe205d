/* SOURCES: hv/log.c hv/serial_line.c hv/plain.c hv/fmt.c hv/lib.c */
/* Lines that others can cause in a loop. */
#include "hv/log.h"

#include "hv/arch.h"
#include "hv/core.h"
#include "hv/guest.h"
#include "hv/hostmem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MANY 2000u

/* ---- the machine: core 0 of one ---- */

static uint64_t hz;

uint64_t arch_tsc_hz(void)
{
    return hz;
}
unsigned arch_core_count(void)
{
    return 1;
}
unsigned arch_core_self(void)
{
    return 0;
}
void core_wake(unsigned id)
{
    (void)id;
}
void arch_console_write(const char *s, size_t n)
{
    (void)s;
    (void)n;
}
void arch_screen_write(const char *s, size_t n)
{
    (void)s;
    (void)n;
}
bool arch_screen_poll(void)
{
    return false;
}
size_t arch_serial_send(const char *s, size_t n)
{
    (void)s;
    return n;
}
void *hostmem_alloc_zeroed(uint64_t size, enum mem_owner_kind kind)
{
    (void)kind;
    return calloc(1, size);
}

/* ---- */

static struct guest guests[2];
static uint64_t seen; /* of the ring */

static int setup(void **state)
{
    (void)state;
    hz = 1000000000000; /* nothing of a budget comes back while a test runs */
    for (unsigned i = 0; i < 2; i++) {
        guests[i].number = i + 1;
        guests[i].console = calloc(1, sizeof(struct abi_ring));
        (void)snprintf(guests[i].config.name, sizeof(guests[i].config.name), "g%u", i + 1);
    }
    seen = log_ring()->written;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    free(guests[0].console);
    free(guests[1].console);
    return 0;
}

/* Bytes logged since the last call. */
static uint64_t grown(void)
{
    uint64_t before = seen;

    seen = log_ring()->written;
    return seen - before;
}

static bool ends_with(const char *text)
{
    const struct abi_ring *r = log_ring();
    uint64_t n = strlen(text);

    for (uint64_t i = 0; i < n; i++)
        if (r->data[(r->written - n + i) % r->size] != (uint8_t)text[i])
            return false;
    return true;
}

static void pause_and_resume(unsigned guest)
{
    log_guest(&guests[guest], "paused");
    log_guest_warn(&guests[guest], "resumed");
}

/* One guest's noise costs neither other guests nor the root their lines. */
static void about_a_guest(void **state)
{
    uint64_t n;

    (void)state;
    for (unsigned i = 0; i < MANY; i++)
        pause_and_resume(0);
    n = grown();
    assert_true(n > 0 && n <= LOG_ABOUT_BURST + SERIAL_LINE_MAX);
    pause_and_resume(0);
    assert_int_equal(grown(), 0);
    pause_and_resume(1);
    assert_true(ends_with("core 0: warning: guest g2: resumed\n"));
    log_info("of the root's own");
    assert_true(ends_with("core 0: of the root's own\n"));
}

/* Lines caused by its calls count like those it logs itself. */
static void of_management(void **state)
{
    uint64_t n;
    int rc = 0;

    (void)state;
    do /* until the budget has recovered from the previous test */
        log_on_behalf("management address");
    while (!grown());
    for (unsigned i = 0; i < MANY; i++)
        log_on_behalf("management address: %u", i);
    n = grown();
    assert_true(n <= LOG_MANAGEMENT_BURST + SERIAL_LINE_MAX);
    for (unsigned i = 0; i < MANY; i++)
        rc |= log_management("x", 1);
    assert_int_equal(rc, -E_AGAIN);
    assert_int_equal(grown(), 0);
}

static void say_about(void)
{
    log_guest(&guests[0], "paused");
}

static void say_on_behalf(void)
{
    log_on_behalf("address");
}

/* The first line after the budget recovers says how many were lost. */
static void lost_lines_are_told(void **state)
{
    static const struct {
        void (*say)(void);
        const char *line;
    } rows[] = {{say_about, "core 0: guest g1: (%u lines before this one were too many) paused\n"},
                {say_on_behalf, "core 0: (%u lines before this one were too many) address\n"}};
    char expected[128];

    (void)state;
    hz = LOG_ABOUT_RATE * 100000; /* a line's worth of budget takes milliseconds */
    guests[0].number = 3;         /* not used so far */
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        unsigned lost;

        do
            rows[i].say();
        while (grown());
        for (lost = 1; rows[i].say(), !grown();)
            lost++;
        (void)snprintf(expected, sizeof(expected), rows[i].line, lost);
        assert_true(ends_with(expected));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(lost_lines_are_told, setup, teardown),
        cmocka_unit_test_setup_teardown(about_a_guest, setup, teardown),
        cmocka_unit_test_setup_teardown(of_management, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

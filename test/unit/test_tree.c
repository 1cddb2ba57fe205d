/* SOURCES: arch/x86/guest/tree.c arch/x86/guest/nested.c arch/x86/svm/npt.c hv/lib.c hv/fmt.c */
/* A guest's translations, and the isolation audit: what each kind of host memory may be to it. */
#include "arch/x86/guest/tree.h"
#include "arch/x86/svm/npt.h"
#include "hv/exit.h"
#include "hv/hostmem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HERE  3u /* the guest's number */
#define RW    (NESTED_READ | NESTED_WRITE)
#define RWX   (RW | NESTED_EXECUTE)
#define AT    0x200000ull
#define PAGES 16u

static struct guest guest;
static struct mem_range ranges[2];
static bool is_its;

/* The owner map has two neighbours. */
bool hostmem_find(hpa_t a, struct mem_range *out)
{
    for (unsigned i = 0; i < 2; i++)
        if (a.v >= ranges[i].base && a.v - ranges[i].base < ranges[i].size) {
            *out = ranges[i];
            return true;
        }
    return false;
}

static bool is_backends(const struct nested *t, const struct nested_mapping *m)
{
    assert_ptr_equal(t, guest.backend);
    assert_int_equal(m->gpa, AT);
    return is_its;
}

static void *pages[PAGES];
static unsigned used;

void *guest_alloc_page(struct guest *g)
{
    assert_ptr_equal(g, &guest);
    assert_true(used < PAGES);
    pages[used] = aligned_alloc(PAGE_SIZE, PAGE_SIZE);
    assert_non_null(pages[used]);
    memset(pages[used], 0, PAGE_SIZE);
    return pages[used++];
}

/* Two pages, the second in the second range. */
static int audited(unsigned perm, enum mem_owner_kind first, unsigned owner,
                   enum mem_owner_kind second, bool backend)
{
    struct nested t;
    char text[96] = "";
    int rc;

    used = 0;
    guest.number = HERE;
    ranges[0] = (struct mem_range){.base = AT, .size = PAGE_SIZE, .kind = first, .guest = owner};
    ranges[1] = (struct mem_range){
        .base = AT + PAGE_SIZE, .size = PAGE_SIZE_2M - PAGE_SIZE, .kind = second, .guest = HERE};
    assert_int_equal(npt_init(&t, false, x86_alloc_table, &guest), 0);
    t.is_backends = backend ? is_backends : NULL;
    guest.backend = &t;
    assert_int_equal(x86_map(&guest, gpa(AT), hpa(AT), PAGE_SIZE_2M, (enum map_perm)perm), 0);
    rc = x86_audit(&guest, text, sizeof(text));
    assert_int_equal(rc != 0, text[0] != 0);
    while (used)
        free(pages[--used]);
    return rc;
}

static int alone(unsigned perm, enum mem_owner_kind kind, unsigned owner, bool management)
{
    guest.management = management;
    return audited(perm, kind, owner, MEM_GUEST, false);
}

static void by_kind(void **state)
{
    (void)state;
    for (int management = 0; management < 2; management++) {
        int for_management = management ? 0 : -E_PERM;

        assert_int_equal(alone(RWX, MEM_GUEST, HERE, management), 0);
        assert_int_equal(alone(RWX, MEM_GUEST, HERE + 1, management), -E_PERM);
        assert_int_equal(alone(NESTED_READ, MEM_SHARED, 0, management), for_management);
        assert_int_equal(alone(RW, MEM_SHARED, 0, management), -E_PERM);
        assert_int_equal(alone(NESTED_READ, MEM_MODULE, 0, management), for_management);
        assert_int_equal(alone(RW, MEM_MODULE, 0, management), -E_PERM);
        assert_int_equal(alone(RW, MEM_REGION, 1u << HERE, management), 0);
        assert_int_equal(alone(RW, MEM_REGION, 1u << (HERE + 1), management), -E_PERM);
        assert_int_equal(alone(RWX, MEM_REGION, 1u << HERE, management), -E_PERM);
        assert_int_equal(alone(RW, MEM_IMAGE, 0, management), for_management);
        assert_int_equal(alone(RWX, MEM_IMAGE, 0, management), -E_PERM);
        assert_int_equal(alone(NESTED_READ, MEM_HOST, 0, management), -E_PERM);
        assert_int_equal(alone(NESTED_READ, MEM_FREE, 0, management), -E_PERM);
    }
}

/* What the backend made for the guest counts only if it says so, and is the guest's own. */
static void of_the_backend(void **state)
{
    (void)state;
    guest.management = false;
    is_its = true;
    assert_int_equal(audited(RW, MEM_FOR_GUEST, HERE, MEM_GUEST, false), -E_PERM);
    assert_int_equal(audited(RW, MEM_FOR_GUEST, HERE, MEM_GUEST, true), 0);
    assert_int_equal(audited(RW, MEM_FOR_GUEST, HERE + 1, MEM_GUEST, true), -E_PERM);
    is_its = false;
    assert_int_equal(audited(RW, MEM_FOR_GUEST, HERE, MEM_GUEST, true), -E_PERM);
}

/* One mapping over two ranges: the second counts too. */
static void all_of_a_page(void **state)
{
    (void)state;
    guest.management = false;
    assert_int_equal(audited(RWX, MEM_GUEST, HERE, MEM_GUEST, false), 0);
    assert_int_equal(audited(RWX, MEM_GUEST, HERE, MEM_HOST, false), -E_PERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(by_kind),
        cmocka_unit_test(of_the_backend),
        cmocka_unit_test(all_of_a_page),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SOURCES: @engine */
/* Management's core is not in VMX root operation: core 0 runs it instead. */
#define ENGINE_HOME 1u
#include "test/unit/engine.h"

static void moved(void **state)
{
    const struct abi_core *cores;
    struct guest *m;

    (void)state;
    no_vmx[ENGINE_HOME] = true;
    engine_begin();
    m = guest_get(SELF);
    cores = guest_pages()->host->cores;
    assert_int_equal(m->vcpus[0].entity.core, 0);
    assert_int_equal(m->status->core, 0);
    assert_int_equal(m->vcpus[0].stats->core, 0);
    for (unsigned i = 0; i < ENGINE_CORES; i++) {
        assert_int_equal(cores[i].vcpus, i == 0);
        assert_int_equal(cores[i].flags, i == ENGINE_HOME ? 0 : ABI_CORE_VMX_ROOT);
    }
    assert_int_equal(core_ready_count(), ENGINE_CORES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(moved)};

    return cmocka_run_group_tests(tests, NULL, NULL);
}

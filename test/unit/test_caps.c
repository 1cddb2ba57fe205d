/* SOURCES: arch/x86/vmx/caps.c hv/lib.c */
#include "arch/x86/vmx/caps.h"
#include "hv/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "test/unit/warnings.h"

#define MAY(bit) (1ull << (32 + (bit)))
#define CORE     5u

static unsigned lines_with(const char *text)
{
    unsigned n = 0;

    for (unsigned i = 0; i < told.count; i++)
        n += strstr(told.line[i], text) != NULL;
    return n;
}

/* A CPU with exactly what is needed. */
static struct abi_caps good(void)
{
    return (struct abi_caps){
        .basic = 0x00d8040000000012ull,
        .pin = MAY(0) | MAY(3) | MAY(5) | MAY(6) | 0x16,
        .cpu1 = MAY(2) | MAY(3) | MAY(7) | MAY(25) | MAY(28) | MAY(31),
        .cpu2 = MAY(1) | MAY(5) | MAY(7),
        .exit = MAY(9) | MAY(18) | MAY(19) | MAY(20) | MAY(21),
        .entry = MAY(9) | MAY(14) | MAY(15),
        .ept_vpid = 1ull << 6 | 1ull << 14 | 1ull << 16 | 1ull << 20 | 1ull << 32,
        .feature_control = 5,
        .present = true,
    };
}

static int setup(void **state)
{
    (void)state;
    memset(&told, 0, sizeof(told));
    return 0;
}

static void adjust(void **state)
{
    static const struct {
        uint32_t wanted, required, must, may, result;
        int rc;
    } rows[] = {
        {0, 0, 0, 0, 0, 0},
        /* wanted bits are set if allowed, dropped if not */
        {0xf0, 0, 0, 0x30, 0x30, 0},
        {0xf0, 0x10, 0, 0x30, 0x30, 0},
        /* must be 1, though not requested */
        {0, 0, 0x16, 0x16, 0x16, 0},
        {0x100, 0x200, 0x16, 0x316, 0x316, 0},
        {UINT32_MAX, 0, 0x16, 0x7f, 0x7f, 0},
        {UINT32_MAX, UINT32_MAX, 0, UINT32_MAX, UINT32_MAX, 0},
        /* required but impossible: one such bit is enough, also bit 31 */
        {0, 0x300, 0, 0x100, 0, -E_NOTSUP},
        {0x300, 0x300, 0, 0x200, 0, -E_NOTSUP},
        {0, 1u << 31, 0, 0x7fffffff, 0, -E_NOTSUP},
        {1u << 31, 1u << 31, 0, 1u << 31, 1u << 31, 0},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(rows); i++) {
        uint32_t out = 0xdeadbeef;

        assert_int_equal(vmx_adjust(rows[i].wanted, rows[i].required,
                                    (uint64_t)rows[i].may << 32 | rows[i].must, &out),
                         rows[i].rc);
        assert_int_equal(out, rows[i].rc ? 0xdeadbeef : rows[i].result);
    }
}

static void can_set_and_clear(void **state)
{
    (void)state;
    assert_true(vmx_can_set(MAY(3) | MAY(4), 0x18));
    assert_false(vmx_can_set(MAY(3), 0x18));
    assert_false(vmx_can_set(0x18, 0x18));
    assert_true(vmx_can_clear(MAY(3), 8));
    assert_false(vmx_can_clear(8, 8));
    assert_false(vmx_can_clear(8, 0x18));
}

static void misc_parts(void **state)
{
    struct abi_caps c = {.misc = ~0ull};

    (void)state;
    assert_int_equal(vmx_timer_shift(&c), 31);
    assert_int_equal(vmx_cr3_targets(&c), 511);
    c.misc = 5 | 4ull << 16;
    assert_int_equal(vmx_timer_shift(&c), 5);
    assert_int_equal(vmx_cr3_targets(&c), 4);
    c.misc = ~(0x1full | 0x1ffull << 16);
    assert_int_equal(vmx_timer_shift(&c), 0);
    assert_int_equal(vmx_cr3_targets(&c), 0);
}

/* Lock (bit 0), VMX inside SMX (bit 1), VMX outside SMX (bit 2), and unrelated bits. */
static void feature_control(void **state)
{
    static const uint64_t others[] = {0, 1ull << 20, 0xff00, 1ull << 18 | 1ull << 17};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(others); i++)
        for (uint64_t low = 0; low < 8; low++) {
            struct abi_caps c = {.feature_control = others[i] | low};
            uint64_t value = 0x1234;
            int rc = vmx_feature_control(&c, &value);

            if (!(low & 1)) {
                assert_int_equal(rc, 1);
                assert_int_equal(value, others[i] | low | 5);
            } else {
                assert_int_equal(rc, low & 4 ? 0 : -E_PERM);
                assert_int_equal(value, 0x1234);
            }
        }
}

static void all_is_there(void **state)
{
    struct abi_caps c = good();

    (void)state;
    assert_int_equal(vmx_caps_check(&c, CORE), 0);
    /* Not locked: the root enables VMX itself. */
    c.feature_control = 0;
    assert_int_equal(vmx_caps_check(&c, CORE), 0);
    /* More than is needed, in a virtual machine: that is fine too. */
    memset(&c, 0xff, sizeof(c));
    c.hypervisor = true;
    assert_int_equal(vmx_caps_check(&c, CORE), 0);
    assert_int_equal(told.count, 0);
}

/* The SDM's numbers, typed again. */
static const struct need {
    size_t word;
    unsigned bit;
    bool control;
    const char *name, *where;
} needs[] = {
#define CONTROL(word, bit, name, where)                                                            \
    {                                                                                              \
        offsetof(struct abi_caps, word), bit, true, name, where " bit " #bit ")"                   \
    }
#define EPT_VPID(bit, name)                                                                        \
    {                                                                                              \
        offsetof(struct abi_caps, ept_vpid), bit, false, name,                                     \
            "IA32_VMX_EPT_VPID_CAP bit " #bit ")"                                                  \
    }
    CONTROL(pin, 0, "external-interrupt exiting", "(pin-based controls"),
    CONTROL(pin, 3, "NMI exiting", "(pin-based controls"),
    CONTROL(pin, 5, "virtual NMIs", "(pin-based controls"),
    CONTROL(pin, 6, "VMX-preemption timer", "(pin-based controls"),
    CONTROL(cpu1, 2, "interrupt-window exiting", "(primary controls"),
    CONTROL(cpu1, 3, "TSC offsetting", "(primary controls"),
    CONTROL(cpu1, 7, "HLT exiting", "(primary controls"),
    CONTROL(cpu1, 25, "I/O bitmaps", "(primary controls"),
    CONTROL(cpu1, 28, "MSR bitmaps", "(primary controls"),
    CONTROL(cpu1, 31, "secondary controls", "(primary controls"),
    CONTROL(cpu2, 1, "EPT", "(secondary controls"),
    CONTROL(cpu2, 5, "VPID", "(secondary controls"),
    CONTROL(cpu2, 7, "unrestricted guest", "(secondary controls"),
    CONTROL(exit, 9, "64-bit host", "(VM-exit controls"),
    CONTROL(exit, 18, "IA32_PAT", "(VM-exit controls"),
    CONTROL(exit, 19, "IA32_PAT", "(VM-exit controls"),
    CONTROL(exit, 20, "IA32_EFER", "(VM-exit controls"),
    CONTROL(exit, 21, "IA32_EFER", "(VM-exit controls"),
    CONTROL(entry, 9, "IA-32e mode guest", "(VM-entry controls"),
    CONTROL(entry, 14, "IA32_PAT", "(VM-entry controls"),
    CONTROL(entry, 15, "IA32_EFER", "(VM-entry controls"),
    EPT_VPID(6, "4-level EPT"),
    EPT_VPID(14, "write-back EPT structures"),
    EPT_VPID(16, "2 MiB EPT pages"),
    EPT_VPID(20, "INVEPT"),
    EPT_VPID(32, "INVVPID"),
};

static void each_is_named(void **state)
{
    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(needs); i++) {
        const struct need *n = &needs[i];
        struct abi_caps c = good();
        uint64_t *word = (uint64_t *)(void *)((char *)&c + n->word);

        memset(&told, 0, sizeof(told));
        *word &= ~(n->control ? MAY(n->bit) : 1ull << n->bit);
        /* "Must be 1" is not "may be 1". */
        if (n->control)
            *word |= 1ull << n->bit;
        assert_int_equal(vmx_caps_check(&c, CORE), -E_NOTSUP);
        /* Missing features, then the advice. */
        assert_int_equal(told.count, 2);
        assert_ptr_equal(strstr(told.line[0], "CPU 5: no "), told.line[0]);
        assert_non_null(strstr(told.line[0], n->name));
        assert_non_null(strstr(told.line[0], n->where));
        assert_non_null(strstr(told.line[1], "Westmere"));
    }
}

/* Only bits that the table above names are requested. */
static void nothing_else_is_needed(void **state)
{
    struct abi_caps c = {.present = true, .feature_control = 5};

    (void)state;
    assert_int_equal(vmx_caps_check(&c, CORE), -E_NOTSUP);
    assert_int_equal(told.count, ARRAY_LEN(needs) + 1);
    for (unsigned i = 0; i < ARRAY_LEN(needs); i++)
        assert_int_equal(lines_with(needs[i].where), 1);
}

static void no_vmx(void **state)
{
    struct abi_caps c = {.present = false};

    (void)state;
    assert_int_equal(vmx_caps_check(&c, CORE), -E_NOTSUP);
    assert_int_equal(told.count, 2);
    assert_string_equal(told.line[0], "CPU 5: no VMX (CPUID.1:ECX bit 5), and no SVM");
    assert_int_equal(lines_with("Westmere"), 1);
}

static void no_vmx_in_a_virtual_machine(void **state)
{
    struct abi_caps c = {.hypervisor = true};

    (void)state;
    assert_int_equal(vmx_caps_check(&c, CORE), -E_NOTSUP);
    assert_int_equal(told.count, 2);
    assert_int_equal(lines_with("-cpu host"), 1);
    assert_int_equal(lines_with("nested=1"), 1);
    assert_int_equal(lines_with("Westmere"), 0);
}

static void locked_off(void **state)
{
    static const uint64_t locked[] = {1, 3, 0xff01};

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(locked); i++) {
        struct abi_caps c = good();

        memset(&told, 0, sizeof(told));
        c.feature_control = locked[i];
        assert_int_equal(vmx_caps_check(&c, CORE), -E_NOTSUP);
        assert_int_equal(told.count, 2);
        assert_int_equal(lines_with("IA32_FEATURE_CONTROL bit 2"), 1);
        assert_int_equal(lines_with("Intel Virtualization Technology"), 1);
        assert_int_equal(lines_with("Westmere"), 0);
        /* In a virtual machine, both pieces of advice. */
        memset(&told, 0, sizeof(told));
        c.hypervisor = true;
        assert_int_equal(vmx_caps_check(&c, CORE), -E_NOTSUP);
        assert_int_equal(told.count, 3);
        assert_int_equal(lines_with("nested=1"), 1);
    }
}

/* The firmware's lock does not hide other missing features. */
static void locked_and_missing(void **state)
{
    struct abi_caps c = good();

    (void)state;
    c.feature_control = 1;
    c.cpu2 &= ~MAY(7);
    assert_int_equal(vmx_caps_check(&c, CORE), -E_NOTSUP);
    assert_int_equal(told.count, 3);
    assert_int_equal(lines_with("locked off"), 1);
    assert_int_equal(lines_with("no unrestricted guest (secondary controls bit 7)"), 1);
}

static void same(void **state)
{
    struct abi_caps a = good(), b = good();

    (void)state;
    assert_true(vmx_caps_same(&a, &b, CORE));
    /* Cores may differ in bits that the root changes itself or does not depend on. */
    b.feature_control = 0;
    b.vmcs_enum = 0x2e;
    assert_true(vmx_caps_same(&a, &b, CORE));
    assert_int_equal(told.count, 0);
}

static void differences(void **state)
{
    static const struct {
        size_t word;
        const char *name;
    } words[] = {
        {offsetof(struct abi_caps, basic), "IA32_VMX_BASIC"},
        {offsetof(struct abi_caps, misc), "IA32_VMX_MISC"},
        {offsetof(struct abi_caps, ept_vpid), "IA32_VMX_EPT_VPID_CAP"},
        {offsetof(struct abi_caps, vmfunc), "IA32_VMX_VMFUNC"},
        {offsetof(struct abi_caps, pin), "pin-based controls"},
        {offsetof(struct abi_caps, cpu1), "primary controls"},
        {offsetof(struct abi_caps, cpu2), "secondary controls"},
        {offsetof(struct abi_caps, cpu3), "tertiary controls"},
        {offsetof(struct abi_caps, exit), "VM-exit controls"},
        {offsetof(struct abi_caps, exit2), "secondary VM-exit controls"},
        {offsetof(struct abi_caps, entry), "VM-entry controls"},
        {offsetof(struct abi_caps, cr0_fixed0), "IA32_VMX_CR0_FIXED0"},
        {offsetof(struct abi_caps, cr0_fixed1), "IA32_VMX_CR0_FIXED1"},
        {offsetof(struct abi_caps, cr4_fixed0), "IA32_VMX_CR4_FIXED0"},
        {offsetof(struct abi_caps, cr4_fixed1), "IA32_VMX_CR4_FIXED1"},
    };

    (void)state;
    for (unsigned i = 0; i < ARRAY_LEN(words); i++)
        for (unsigned bit = 0; bit < 64; bit += 21) {
            struct abi_caps a = good(), b = good();
            char text[160];
            uint64_t was = *(uint64_t *)(void *)((char *)&b + words[i].word);
            uint64_t is = was ^ 1ull << bit;

            memset(&told, 0, sizeof(told));
            *(uint64_t *)(void *)((char *)&b + words[i].word) = is;
            assert_false(vmx_caps_same(&a, &b, CORE));
            assert_int_equal(told.count, 1);
            (void)snprintf(text, sizeof(text),
                           "CPU 5: %s differ from the boot core's: 0x%llx, not 0x%llx",
                           words[i].name, (unsigned long long)is, (unsigned long long)was);
            assert_string_equal(told.line[0], text);
        }
}

static void first_difference_only(void **state)
{
    struct abi_caps a = good(), b = {.present = true};

    (void)state;
    assert_false(vmx_caps_same(&a, &b, CORE));
    assert_int_equal(told.count, 1);
}

/* SDM 4 "IA32_ARCH_CAPABILITIES": bit 6; SDM 2A CPUID.(7,0):EDX bit 29 says that the MSR exists. */
static void page_size_changes(void **state)
{
    (void)state;
    assert_true(vmx_page_size_changes_are_safe(1u << 29, 1u << 6));
    assert_true(vmx_page_size_changes_are_safe(UINT32_MAX, UINT64_MAX));
    assert_false(vmx_page_size_changes_are_safe(1u << 29, 0));
    assert_false(vmx_page_size_changes_are_safe(1u << 29, ~(1ull << 6)));
    assert_false(vmx_page_size_changes_are_safe(~(1u << 29), 1u << 6)); /* means nothing */
    assert_false(vmx_page_size_changes_are_safe(0, 0));
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup(f, setup)
    const struct CMUnitTest tests[] = {
        TEST(adjust),
        TEST(can_set_and_clear),
        TEST(misc_parts),
        TEST(feature_control),
        TEST(all_is_there),
        TEST(each_is_named),
        TEST(nothing_else_is_needed),
        TEST(no_vmx),
        TEST(no_vmx_in_a_virtual_machine),
        TEST(locked_off),
        TEST(locked_and_missing),
        TEST(same),
        TEST(differences),
        TEST(first_difference_only),
        TEST(page_size_changes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* SOURCES: net/e1000e.c net/intel.c hv/lib.c */
#include "test/unit/intel_tests.h"

#define INT_RXQ0  (1u << 20)
#define INT_OTHER (1u << 24)
#define EIAC      0xdcu
#define IVAR      0xe4u

static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

/* With MSI-X this card clears no cause when it is read, only what is written back. */
static void on_read(unsigned bar, uint32_t at, unsigned size)
{
    if (model_nic.irq != ARCH_IRQ_MSIX)
        intel_on_read(bar, at, size);
}

static uint32_t icr;

static void on_write(unsigned bar, uint32_t at, unsigned size, uint32_t v)
{
    intel_on_write(bar, at, size, v);
    if (at == INTEL_ICR)
        model_set(0, at, icr & ~v);
    icr = model_get(0, INTEL_ICR);
}

static int setup(void **state)
{
    (void)state;
    icr = 0;
    intel_setup(&e1000e_driver);
    model.on_read = on_read;
    model.on_write = on_write;
    model_nic.irq = ARCH_IRQ_MSIX;
    return 0;
}

static int setup_chipset(void **state)
{
    setup(state);
    model_nic.id = 0x15b88086;
    model_nic.irq = ARCH_IRQ_MSI;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    model_teardown();
    return 0;
}

static void intel_test_start(void)
{
    assert_int_equal(e1000e_driver.probe(&model_nic), 0);
    assert_int_equal(e1000e_driver.start(&model_nic, model_memory), 0);
    intel_counts();
}

static void test_start(void **state)
{
    (void)state;
    model_set(0, 0x5008, 0x8000); /* extended descriptors */
    intel.keeps = true;           /* and a reset that resets little */
    model_set(0, 0x5818, 1);
    intel_test_start();
    assert_memory_equal(model_nic.mac, mac, 6);
    assert_int_equal(model_get(0, 0x5008), 0);
    assert_int_equal(model_get(0, 0x5818), 0);
    assert_int_equal(model_get(0, INTEL_VET), 0x8100);
    assert_int_equal(model_get(0, INTEL_RDLEN), 16 * INTEL_RX_COUNT);
    assert_int_equal(model_get(0, INTEL_RDT), INTEL_RX_COUNT - 1);
    assert_true(model_get(0, INTEL_RCTL) & INTEL_RCTL_SECRC);
    assert_true(model_get(0, INTEL_CTRL) & INTEL_CTRL_SLU);
    assert_int_equal(model_get(0, INTEL_IMS), 0);
}

static void test_address_in_eeprom(void **state)
{
    (void)state;
    intel.ral = intel.rah = 0;
    intel.eerd = (struct intel_eerd){.done = 1u << 1, .address = 2};
    memcpy(intel.eeprom, mac, 6);
    intel_test_start();
    assert_memory_equal(model_nic.mac, mac, 6);
}

static void test_msix(void **state)
{
    (void)state;
    intel_test_start();
    assert_int_equal(model_get(0, EIAC), 0);
    assert_int_equal(model_get(0, IVAR) & 0xf000f, 0x80008); /* frames and all else: vector 0 */
    assert_int_equal(e1000e_driver.interrupt(&model_nic), 0);
    e1000e_driver.listen(&model_nic);
    assert_int_equal(model_get(0, INTEL_IMS), INT_RXQ0 | INT_OTHER | INTEL_INT_LSC);
    assert_int_equal(e1000e_driver.interrupt(&model_nic), NIC_EVENT_LINK);
    assert_int_equal(model_get(0, INTEL_ICR), 0);
    icr = INT_RXQ0 | INTEL_INT_RXT0;
    model_set(0, INTEL_ICR, icr);
    assert_int_equal(e1000e_driver.interrupt(&model_nic), NIC_EVENT_FRAMES);
    assert_int_equal(model_get(0, INTEL_ICR), 0);
    model_set(0, INTEL_ICR, 1); /* a frame that was sent */
    assert_int_equal(e1000e_driver.interrupt(&model_nic), 0);
    model_set(0, INTEL_ICR, UINT32_MAX);
    assert_int_equal(e1000e_driver.interrupt(&model_nic), 0);
}

static void test_line(void **state)
{
    (void)state;
    model_nic.irq = ARCH_IRQ_LINE;
    intel_test_start();
    e1000e_driver.listen(&model_nic);
    assert_true(model_get(0, INTEL_IMS) & INTEL_INT_RXT0);
    assert_false(model_get(0, INTEL_IMS) & (INT_RXQ0 | INT_OTHER));
    assert_int_equal(e1000e_driver.interrupt(&model_nic), NIC_EVENT_LINK);
    assert_true(intel_arrive('x', 60, INTEL_RX_EOP, 0));
    assert_int_equal(e1000e_driver.interrupt(&model_nic), NIC_EVENT_FRAMES);
    assert_int_equal(e1000e_driver.interrupt(&model_nic), 0);
}

/* It is never reset, and has fewer filters. */
static void test_chipset(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 8; i++)
        memcpy(model_nic.hears[i], (uint8_t[]){2, 0x42, 0, 0, 0, (uint8_t)i}, 6);
    model_nic.hear_count = 8;
    intel_test_start();
    assert_int_equal(intel.resets, 0);
    assert_memory_equal(model_nic.mac, mac, 6);
    assert_true(model_get(0, INTEL_RCTL) & INTEL_RCTL_UPE);
    assert_int_equal(model_get(0, INTEL_RAH0 + 8 * 7), 0);
}

static void test_start_fails(void **state)
{
    (void)state;
    intel.stuck = true;
    assert_int_equal(e1000e_driver.probe(&model_nic), -E_IO);
    intel.stuck = false;
    intel.ral = intel.rah = 0;
    assert_int_equal(e1000e_driver.probe(&model_nic), -E_IO);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_start),
        TEST(test_address_in_eeprom),
        TEST(test_msix),
        TEST(test_line),
        TEST(test_start_fails),
        INTEL_TESTS(TEST),
        cmocka_unit_test_setup_teardown(test_chipset, setup_chipset, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

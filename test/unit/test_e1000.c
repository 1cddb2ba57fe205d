/* SOURCES: net/e1000.c net/intel.c hv/lib.c */
#include "test/unit/intel_tests.h"

static const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, 0x56};

/* As Bochs has it: the address is only in the EEPROM. */
static int setup(void **state)
{
    (void)state;
    intel_setup(&e1000_driver);
    intel.eerd = (struct intel_eerd){.done = 1u << 4, .address = 8};
    intel.eeprom[0] = 0x5452;
    intel.eeprom[1] = 0x1200;
    intel.eeprom[2] = 0x5634;
    intel.ral = intel.rah = 0;
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    model_teardown();
    return 0;
}

static int probe(void)
{
    return e1000_driver.probe(&model_nic);
}

static void intel_test_start(void)
{
    assert_int_equal(probe(), 0);
    assert_int_equal(e1000_driver.start(&model_nic, model_memory), 0);
    intel_counts();
}

static void test_start(void **state)
{
    const struct intel_rx_desc *rx;
    const struct intel_tx_desc *tx;

    (void)state;
    intel_test_start();
    rx = intel_ring(INTEL_RDBAL);
    tx = intel_ring(INTEL_TDBAL);
    assert_memory_equal(model_nic.mac, mac, 6);
    assert_int_equal(model_get(0, INTEL_RDLEN), 16 * INTEL_RX_COUNT);
    assert_int_equal(model_get(0, INTEL_RDT), INTEL_RX_COUNT - 1);
    assert_int_equal(model_get(0, INTEL_TDLEN), 16 * INTEL_TX_COUNT);
    assert_true(model_get(0, INTEL_RCTL) & INTEL_RCTL_EN);
    assert_true(model_get(0, INTEL_TCTL) & INTEL_TCTL_EN);
    assert_int_equal(model_get(0, INTEL_IMS), 0); /* whose interrupts no core takes yet */
    for (unsigned i = 0; i < INTEL_RX_COUNT; i++)
        assert_in_range(model_dma(rx[i].address, NIC_BUFFER),
                        16 * (INTEL_RX_COUNT + INTEL_TX_COUNT), INTEL_MEMORY - NIC_BUFFER);
    assert_int_equal(model_dma(tx[INTEL_TX_COUNT - 1].address, NIC_BUFFER),
                     INTEL_MEMORY - NIC_BUFFER);
}

static void test_address_in_registers(void **state)
{
    (void)state;
    intel.eerd.done = 0;
    intel.ral = 0x12005452;
    intel.rah = INTEL_RAH_VALID | 0x5634;
    intel_test_start();
    assert_memory_equal(model_nic.mac, mac, 6);
}

/* QEMU's card: a reset changes nothing. */
static void test_reset_does_nothing(void **state)
{
    (void)state;
    intel.keeps = true;
    model_set(0, INTEL_IMS, 0x9d);
    model_set(0, INTEL_RCTL, INTEL_RCTL_EN);
    assert_int_equal(probe(), 0);
    assert_int_equal(model_get(0, INTEL_IMS), 0);
    assert_int_equal(model_get(0, INTEL_RCTL), 0);
    intel.rctl_writes = 0;
    intel_test_start();
    assert_int_equal(intel.rctl_writes, 1);
    assert_memory_equal(model_nic.mac, mac, 6);
}

static void test_start_fails(void **state)
{
    (void)state;
    model.no_bar = 1;
    assert_int_equal(probe(), -E_IO);
    model.no_bar = 0;
    intel.stuck = true;
    assert_int_equal(probe(), -E_IO);
    intel.stuck = false;
    memset(intel.eeprom, 0, sizeof(intel.eeprom));
    assert_int_equal(probe(), -E_IO);
    intel.eeprom[0] = 0x0001; /* a group address */
    assert_int_equal(probe(), -E_IO);
    intel.eeprom[0] = 0x5452;
    assert_int_equal(probe(), 0);
    intel.stuck = true;
    assert_int_equal(e1000_driver.start(&model_nic, model_memory), -E_IO);
    assert_int_equal(model_get(0, INTEL_IMS), 0);
    assert_int_equal(model_get(0, INTEL_RCTL), 0);
}

static void test_interrupt(void **state)
{
    (void)state;
    intel_test_start();
    assert_int_equal(e1000_driver.interrupt(&model_nic), 0); /* another device's on a shared line */
    e1000_driver.listen(&model_nic);
    assert_true(model_get(0, INTEL_IMS) & INTEL_INT_RXT0);
    assert_int_equal(e1000_driver.interrupt(&model_nic), NIC_EVENT_LINK); /* it raised one */
    assert_true(intel_arrive('x', 60, INTEL_RX_EOP, 0));
    assert_int_equal(e1000_driver.interrupt(&model_nic), NIC_EVENT_FRAMES);
    assert_int_equal(e1000_driver.interrupt(&model_nic), 0);
    assert_int_equal(intel_poll(64), 1);
    assert_int_equal(model.frames, 1);
}

int main(void)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(test_start),
        TEST(test_address_in_registers),
        TEST(test_reset_does_nothing),
        TEST(test_start_fails),
        TEST(test_interrupt),
        INTEL_TESTS(TEST),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}

/* An Intel card in nic_model.h's: reset, EEPROM, a ring of legacy descriptors to send from and one
 * to receive into. A test of another card adds to it with its own hooks, which call these first. */
#pragma once

#include "net/intel.h"
#include "test/unit/nic_model.h"

static struct {
    uint16_t eeprom[3];
    struct intel_eerd eerd; /* .done 0: no such register */
    uint32_t ral, rah;      /* after a reset */
    bool stuck, keeps;      /* reset: without end; changes nothing but its bit */
    bool sends;             /* at once */
    unsigned tdt_writes, rdt_writes, rctl_writes, resets;
    uint32_t rx_at; /* the card's next descriptor to fill */
    unsigned sent;
    uint8_t last[NIC_BUFFER];
    size_t last_len;
} intel;

static inline void *intel_ring(uint32_t low)
{
    return (void *)(uintptr_t)(model_get(0, low) |
                               (uint64_t)model_get(0, low + INTEL_RDBAH - INTEL_RDBAL) << 32);
}

static inline void intel_send_all(void)
{
    struct intel_tx_desc *d = intel_ring(INTEL_TDBAL);
    uint32_t head = model_get(0, INTEL_TDH);

    for (; head != model_get(0, INTEL_TDT); head = (head + 1) % INTEL_TX_COUNT) {
        assert_false(d[head].status & INTEL_TX_DONE);
        assert_int_equal(d[head].command & 0xb, 0xb); /* EOP, IFCS, RS */
        model_dma(d[head].address, d[head].length);
        intel.sent++;
        intel.last_len = d[head].length;
        memcpy(intel.last, (void *)(uintptr_t)d[head].address, intel.last_len);
        d[head].status |= INTEL_TX_DONE;
    }
    model_set(0, INTEL_TDH, head);
}

static inline void intel_on_read(unsigned bar, uint32_t at, unsigned size)
{
    assert_true(bar == 0 && size == 4);
    if (at == INTEL_ICR)
        model_set(0, at, 0);
}

static inline void intel_do_reset(uint32_t v)
{
    intel.resets++;
    if (!intel.keeps) {
        memset(model.bars[0], 0, sizeof(model.bars[0]));
        model_set(0, INTEL_RAL0, intel.ral);
        model_set(0, INTEL_RAH0, intel.rah);
    }
    model_set(0, INTEL_CTRL, intel.stuck ? v : v & ~INTEL_CTRL_RST);
}

static inline void intel_on_write(unsigned bar, uint32_t at, unsigned size, uint32_t v)
{
    assert_true(bar == 0 && size == 4);
    if (at == INTEL_CTRL && (v & INTEL_CTRL_RST))
        intel_do_reset(v);
    if (at == INTEL_EERD && (v & 1) && intel.eerd.done) {
        assert_in_range(v >> intel.eerd.address, 0, 2);
        model_set(0, at, intel.eerd.done | (uint32_t)intel.eeprom[v >> intel.eerd.address] << 16);
    }
    if (at == INTEL_IMC)
        model_set(0, INTEL_IMS, model_get(0, INTEL_IMS) & ~v);
    if (at == INTEL_ICS)
        model_set(0, INTEL_ICR, model_get(0, INTEL_ICR) | v);
    if (at == INTEL_RCTL && v & INTEL_RCTL_EN)
        intel.rctl_writes++;
    if (at == INTEL_RDT)
        intel.rdt_writes++;
    if (at == INTEL_TDT) {
        intel.tdt_writes++;
        if (intel.sends && v != model_get(0, INTEL_TDH))
            intel_send_all();
    }
}

/* A card at 52:54:00:12:34:56. */
static inline void intel_setup(const struct nic_driver *driver)
{
    model_setup(driver);
    memset(&intel, 0, sizeof(intel));
    intel.ral = 0x12005452;
    intel.rah = INTEL_RAH_VALID | 0x5634;
    intel.sends = true;
    model.on_read = intel_on_read;
    model.on_write = intel_on_write;
    model_set(0, INTEL_RAL0, intel.ral);
    model_set(0, INTEL_RAH0, intel.rah);
}

static inline void intel_counts(void)
{
    intel.rdt_writes = intel.tdt_writes = 0;
}

/* The card fills one buffer, `tag` first. False: it owns no descriptor. */
static inline bool intel_arrive(unsigned tag, unsigned len, unsigned status, unsigned errors)
{
    struct intel_rx_desc *d = (struct intel_rx_desc *)intel_ring(INTEL_RDBAL) + intel.rx_at;

    if (intel.rx_at == model_get(0, INTEL_RDT))
        return false;
    model_dma(d->address, NIC_BUFFER);
    memset((void *)(uintptr_t)d->address, 0, NIC_BUFFER);
    memcpy((void *)(uintptr_t)d->address, &tag, sizeof(tag));
    d->length = (uint16_t)len;
    d->errors = (uint8_t)errors;
    d->status = (uint8_t)(status | INTEL_RX_DONE);
    intel.rx_at = (intel.rx_at + 1) % INTEL_RX_COUNT;
    model_set(0, INTEL_ICR, model_get(0, INTEL_ICR) | INTEL_INT_RXT0);
    return true;
}

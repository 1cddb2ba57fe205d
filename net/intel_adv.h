/*
 * What Intel's gigabit cards share from the 82575 on (igb.c, igc.c): advanced descriptors, the
 * rings of queue 0 at their own place, extended interrupts. Data sheets of the 82576 and the I210,
 * "Programming Interface". Pure.
 */
#pragma once

#include "net/intel.h"

enum intel_adv_reg {
    ADV_EECD = 0x0010,
    ADV_GPIE = 0x1514,
    ADV_EICS = 0x1520,
    ADV_EIMS = 0x1524,
    ADV_EIMC = 0x1528,
    ADV_EIAC = 0x152c,
    ADV_EITR0 = 0x1680,
    ADV_IVAR0 = 0x1700,
    ADV_IVAR_MISC = 0x1740,
    ADV_RXCSUM = 0x5000,
    ADV_MRQC = 0x5818,
    ADV_RDBAL = 0xc000,
    ADV_SRRCTL = 0xc00c,
    ADV_RDT = 0xc018,
    ADV_RXDCTL = 0xc028,
    ADV_TDBAL = 0xe000,
    ADV_TDH = 0xe010,
    ADV_TDT = 0xe018,
    ADV_TXDCTL = 0xe028,
};

#define ADV_EECD_AUTO_RD    (1u << 9)
#define ADV_CTRL_EXT_LOADED (1u << 28) /* a driver has the card, says firmware's interface */
#define ADV_QUEUE_ENABLE    (1u << 25) /* in RXDCTL and TXDCTL */
#define ADV_GPIE_NSICR      (1u << 0)  /* reading ICR always clears it */
#define ADV_GPIE_MSIX       (1u << 4)
#define ADV_GPIE_PBA        (1u << 31)
#define ADV_IVAR_VALID      0x80u /* with the number of an MSI-X entry, here 0 */
#define ADV_SRRCTL_ADVANCED (1u << 25)
#define ADV_RX_DONE         (1u << 0) /* status */
#define ADV_RX_EOP          (1u << 1)
#define ADV_RX_ERROR        (1u << 31) /* of the frame: its checksums are others' business */
#define ADV_TX_DATA         (3u << 20) /* command: a data descriptor */
#define ADV_TX_EOP          (1u << 24)
#define ADV_TX_IFCS         (1u << 25)
#define ADV_TX_RS           (1u << 27)
#define ADV_TX_DEXT         (1u << 29)
#define ADV_TX_DONE         (1u << 0)
#define ADV_TX_LENGTH       14u /* shift, in status */

/* The card writes its answer over the addresses. */
struct intel_adv_rx_desc {
    union {
        uint64_t address;
        uint64_t what;
    };
    uint32_t status; /* with the address of a header's buffer: 0 */
    uint16_t length, vlan;
};
struct intel_adv_tx_desc {
    uint64_t address;
    uint32_t command, status;
};
_Static_assert(sizeof(struct intel_adv_rx_desc) == sizeof(struct intel_rx_desc) &&
                   sizeof(struct intel_adv_tx_desc) == sizeof(struct intel_tx_desc),
               "they take each other's place");

/* Where the causes' registers are. */
struct intel_adv_causes {
    uint16_t icr, ics, ims, imc;
};

/* Parts of struct nic_driver. */
int intel_adv_probe(struct nic *n, const struct intel_adv_causes *causes);
int intel_adv_start(struct nic *n, void *memory);
void intel_adv_listen(struct nic *n);
uint32_t intel_adv_interrupt(struct nic *n);
unsigned intel_adv_receive(struct nic *n, unsigned budget);
bool intel_adv_send(struct nic *n, const uint8_t *frame, size_t len);

/*
 * Network cards: the contract between nic.c, which finds cards and connects them to the switch, and
 * the drivers, one file each. A driver is pure: it reaches its card only through struct nic_bus,
 * and memory through what start() was given (identity-mapped: pointers are DMA addresses). So the
 * unit tests drive it with a card made of C (test/unit/nic_model.h).
 *
 * nic.c calls probe(), then start(), then listen(), all on the boot core; from then on interrupt(),
 * receive() and link() on one core, and send() on any, one call at a time. No call waits, except
 * the first three for their card, bounded. The card, its registers and the descriptors that it
 * writes are not trusted: every loop is bounded, every length checked.
 */
#pragma once

#include "hv/arch.h"
#include "hv/lib.h"
#include "hv/offload.h"
#include "hv/types.h"

#define NIC_STATE_SIZE 512u
#define NIC_HEARS_MAX  16u   /* management's address and the guests' */
#define NIC_BUFFER     2048u /* holds any frame, for one descriptor */

/* Registers and configuration space of a card. `size` is 1, 2 or 4; addresses are aligned. */
struct nic_bus {
    /* Makes the first `length` bytes of a memory BAR reachable. 0, or -E_IO: firmware gave it no
     * address, -E_NOTSUP: it is in I/O space, -E_NOMEM. Boot core. */
    int (*map)(void *ctx, unsigned bar, size_t length);
    uint32_t (*read)(void *ctx, unsigned bar, uint32_t at, unsigned size);
    /* Earlier writes to memory are visible to the card before this one. */
    void (*write)(void *ctx, unsigned bar, uint32_t at, unsigned size, uint32_t value);
    uint32_t (*config)(void *ctx, uint16_t at); /* a doubleword of the configuration space */
    void *ctx;
};

struct nic_link {
    bool up, full_duplex;
    uint32_t mbits; /* 0: unknown */
};

struct nic {
    const struct nic_driver *driver;
    const char *name; /* of the card: "82540EM" */
    uint32_t id;      /* device << 16 | vendor */
    struct nic_bus bus;
    enum arch_irq irq; /* how it interrupts, known before start() */
    uint8_t mac[6];    /* by probe() */
    /* Unicast addresses whose frames must come in, beside broadcasts and all multicasts. Known
     * before start(). A card with fewer filters becomes promiscuous. */
    uint8_t hears[NIC_HEARS_MAX][6];
    unsigned hear_count;
    void (*input)(void *ctx, const uint8_t *frame, size_t len);
    void *input_ctx;
    uint64_t rx_frames, rx_dropped; /* the receiving core */
    uint64_t tx_frames, tx_dropped; /* under nic.c's lock */
    /* The driver's own, zeroed before probe(). */
    _Alignas(16) uint8_t state[NIC_STATE_SIZE];
};

/* What an interrupt was about. */
enum nic_event { NIC_EVENT_FRAMES = 1, NIC_EVENT_LINK = 2 };

struct nic_id {
    uint32_t id; /* device << 16 | vendor */
    const char *name;
};

struct nic_driver {
    const char *name;         /* "e1000" */
    const struct nic_id *ids; /* ends with an id of 0 */
    size_t memory;            /* for start(), bytes */
    /* Maps registers, makes the card quiet and reads its address into n->mac. It does not master
     * the bus yet. 0, -E_IO if it does not answer or has no address, -E_NOENT if it is of a
     * revision that the driver does not know, or nic_bus.map()'s error. n->name may become a
     * better one. */
    int (*probe)(struct nic *n);
    /* Starts sending and receiving, without interrupts. The card masters the bus, and its MSI or
     * MSI-X is enabled if n->irq says so, with one vector: entry 0 of the table. `memory` is
     * zeroed, page-aligned, below 4 GB. 0, or -E_IO: it is quiet then. */
    int (*start)(struct nic *n, void *memory);
    /* Interrupts on, also for frames that have arrived already. Raises one at once, if the card can
     * be told to, so that nic.c sees that they arrive; it polls the card until then. */
    void (*listen)(struct nic *n);
    /* In the interrupt handler: acknowledges. A set of enum nic_event, 0: it was another device's.
     */
    uint32_t (*interrupt)(struct nic *n);
    /* Handles at most `budget` descriptors (nic_take()), and gives them back with one access: each
     * is an exit if we are a guest ourselves. Returns how many. */
    unsigned (*receive)(struct nic *n, unsigned budget);
    /* Copies a frame of 1 to NET_FRAME_MAX bytes to the card. False, if its ring is full. */
    bool (*send)(struct nic *n, const uint8_t *frame, size_t len);
    struct nic_link (*link)(struct nic *n);
};

/* The nth buffer. */
static inline uint8_t *nic_buffer(uint8_t *buffers, uint32_t n)
{
    return buffers + (size_t)n * NIC_BUFFER;
}

/* A buffer that the card has filled: the frame is its bytes from `at` to `end`, where the latter
 * comes from the card. It is dropped if it is not good, or does not lie there. */
static inline void nic_take(struct nic *n, bool good, const uint8_t *buffer, size_t at, size_t end)
{
    if (!good || end <= at || end > NIC_BUFFER) {
        n->rx_dropped++;
        return;
    }
    n->rx_frames++;
    n->input(n->input_ctx, buffer + at, end - at);
}

static inline uint32_t nic_read(const struct nic *n, unsigned bar, uint32_t at, unsigned size)
{
    return n->bus.read(n->bus.ctx, bar, at, size);
}

/* Earlier memory writes become visible to the card before the register write: x86 keeps the order,
 * and the compiler must too. */
static inline void nic_write(const struct nic *n, unsigned bar, uint32_t at, unsigned size,
                             uint32_t value)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
    n->bus.write(n->bus.ctx, bar, at, size, value);
}

/* True for an address that a card can have: not 0, and not a group's. */
static inline bool nic_mac_is_good(const uint8_t mac[6])
{
    return !bytes_are_zero(mac, 6) && !(mac[0] & 1);
}

extern const struct nic_driver e1000_driver, e1000e_driver, igb_driver, igc_driver, r8169_driver,
    virtio_nic_driver, vmxnet3_driver;

#include "mgmt/netif.h"

#include "hv/pc/virtio_net.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "mgmt/boot.h"
#include "mgmt/frames.h"
#include "mgmt/port.h"
#include "netif/ethernet.h"

#include <string.h>

#define QUEUE              128u
/* Frames per round: handling one may take long, such as hashing an image. */
#define ROUND              16u
#define BUFFER             2048u
#define RX                 0u
#define TX                 1u
#define FEATURES           (VIRTIO_NET_F_MAC | VIRTIO_NET_F_STATUS | VIRTIO_F_VERSION_1)
#define DESC_WRITE         2u
#define AVAIL_NO_INTERRUPT 1u
#define USED_NO_NOTIFY     1u
#define REG(offset)        ((uint16_t)(ports + (offset)))

static uint16_t ports; /* the device's; 0: not found yet */

struct desc {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};
struct avail {
    uint16_t flags, index, ring[QUEUE];
};
struct used {
    uint16_t flags, index;
    struct {
        uint32_t id, length;
    } ring[QUEUE];
};

static struct queue {
    struct desc desc[QUEUE] __attribute__((aligned(16)));
    struct avail avail;
    struct used used __attribute__((aligned(4)));
    uint16_t seen; /* of used.index */
    uint8_t buffers[QUEUE][BUFFER];
} queues[2];

static void publish(struct queue *q, uint16_t descriptor)
{
    q->avail.ring[q->avail.index % QUEUE] = descriptor;
    __atomic_store_n(&q->avail.index, (uint16_t)(q->avail.index + 1), __ATOMIC_RELEASE);
}

static void set_address(uint16_t reg, const void *p)
{
    outl(REG(reg), (uint32_t)(uintptr_t)p);
    outl(REG(reg + 4), (uint32_t)((uintptr_t)p >> 32));
}

static void start_queue(unsigned n)
{
    struct queue *q = &queues[n];

    memset(q, 0, sizeof(*q));
    for (unsigned i = 0; i < QUEUE; i++) {
        q->desc[i] = (struct desc){(uintptr_t)q->buffers[i], BUFFER, n == RX ? DESC_WRITE : 0, 0};
        if (n == RX)
            publish(q, (uint16_t)i);
    }
    if (n == TX)
        q->avail.flags = AVAIL_NO_INTERRUPT; /* sent buffers are reclaimed at the next send */
    outw(REG(VIRTIO_QUEUE_SELECT), (uint16_t)n);
    outw(REG(VIRTIO_QUEUE_SIZE), QUEUE);
    set_address(VIRTIO_QUEUE_DESC, q->desc);
    set_address(VIRTIO_QUEUE_DRIVER, &q->avail);
    set_address(VIRTIO_QUEUE_DEVICE, &q->used);
    outw(REG(VIRTIO_QUEUE_ENABLE), 1);
}

static err_t start_device(struct netif *n)
{
    ports = pc_pci_ports(VIRTIO_PCI_VENDOR, VIRTIO_NET_DEVICE, 0);
    if (!ports)
        return ERR_IF;
    outb(REG(VIRTIO_STATUS), 0);
    outb(REG(VIRTIO_STATUS), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER);
    outl(REG(VIRTIO_DRIVER_FEATURE_SELECT), 0);
    outl(REG(VIRTIO_DRIVER_FEATURE), (uint32_t)FEATURES);
    outl(REG(VIRTIO_DRIVER_FEATURE_SELECT), 1);
    outl(REG(VIRTIO_DRIVER_FEATURE), (uint32_t)(FEATURES >> 32));
    outb(REG(VIRTIO_STATUS), VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK);
    if (!(inb(REG(VIRTIO_STATUS)) & VIRTIO_FEATURES_OK))
        return ERR_IF;
    start_queue(RX);
    start_queue(TX);
    outb(REG(VIRTIO_STATUS),
         VIRTIO_ACKNOWLEDGE | VIRTIO_DRIVER | VIRTIO_FEATURES_OK | VIRTIO_DRIVER_OK);
    outw(REG(VIRTIO_NOTIFY), RX);
    for (unsigned i = 0; i < sizeof(n->hwaddr); i++)
        n->hwaddr[i] = inb(REG(VIRTIO_CONFIG + i));
    return ERR_OK;
}

static err_t send(struct netif *n, struct pbuf *p)
{
    struct queue *q = &queues[TX];
    uint16_t in_flight =
        (uint16_t)(q->avail.index - __atomic_load_n(&q->used.index, __ATOMIC_ACQUIRE));
    uint16_t i = q->avail.index % QUEUE;

    (void)n;
    if (in_flight >= QUEUE || p->tot_len > BUFFER - VIRTIO_NET_HEADER)
        return ERR_MEM; /* lwIP retransmits */
    memset(q->buffers[i], 0, VIRTIO_NET_HEADER);
    pbuf_copy_partial(p, q->buffers[i] + VIRTIO_NET_HEADER, p->tot_len, 0);
    q->desc[i].length = VIRTIO_NET_HEADER + p->tot_len;
    publish(q, i);
    outw(REG(VIRTIO_NOTIFY), TX);
    return ERR_OK;
}

static bool starved;

static void receive(struct netif *n, const uint8_t *frame, size_t len)
{
    struct pbuf *p = frames_take(frame, len);

    port_beat(); /* a frame may complete a handshake, which takes long */
    if (!p) {
        starved = true;
        return;
    }
    if (n->input(p, n) != ERR_OK)
        pbuf_free(p);
}

void vnet_quiet(void)
{
    if (ports)
        (void)inb(REG(VIRTIO_ISR));
}

bool vnet_poll(struct netif *n)
{
    struct queue *q = &queues[RX];
    unsigned done = 0;

    while (done < ROUND && q->seen != __atomic_load_n(&q->used.index, __ATOMIC_ACQUIRE)) {
        uint32_t id = q->used.ring[q->seen % QUEUE].id;
        uint32_t length = q->used.ring[q->seen % QUEUE].length;

        q->seen++;
        if (id < QUEUE && length > VIRTIO_NET_HEADER && length <= BUFFER)
            receive(n, q->buffers[id] + VIRTIO_NET_HEADER, length - VIRTIO_NET_HEADER);
        publish(q, (uint16_t)id);
        done++;
    }
    /* Published before: the device looks at its index after it has asked for notifications. */
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    if (done && !(__atomic_load_n(&q->used.flags, __ATOMIC_RELAXED) & USED_NO_NOTIFY))
        outw(REG(VIRTIO_NOTIFY), RX);
    return done > 0;
}

bool vnet_starved(void)
{
    bool was = starved;

    starved = false;
    return was;
}

err_t vnet_init(struct netif *n)
{
    n->name[0] = 'v';
    n->name[1] = 'n';
    n->hostname = boot_config.management.service.hostname;
    n->mtu = 1500;
    n->hwaddr_len = sizeof(n->hwaddr);
    n->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_LINK_UP | NETIF_FLAG_ETHERNET |
               NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    n->output = etharp_output;
    n->output_ip6 = ethip6_output;
    n->linkoutput = send;
    return start_device(n);
}

#include "mgmt/netif.h"

#include "hv/pc/virtio_net.h"
#include "lwip/etharp.h"
#include "lwip/ethip6.h"
#include "mgmt/frames.h"
#include "mgmt/port.h"
#include "netif/ethernet.h"

#include <string.h>

#define QUEUE              128u
/* So many frames at a time: what is done with them may take long, such as hashing an image. */
#define ROUND              16u
#define BUFFER             2048u
#define HEADER             12u
#define RX                 0u
#define TX                 1u
#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER      2u
#define STATUS_DRIVER_OK   4u
#define STATUS_FEATURES_OK 8u
#define FEATURES_LOW       (1u << 5 | 1u << 16)
#define FEATURES_HIGH      1u /* VERSION_1 */
#define DESC_WRITE         2u
#define AVAIL_NO_INTERRUPT 1u
#define REG(offset)        ((uint16_t)(VIRTIO_NET_PORT + (offset)))

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
        q->avail.flags = AVAIL_NO_INTERRUPT; /* sent buffers are looked at when the next is sent */
    outw(REG(0x16), (uint16_t)n);
    outw(REG(0x18), QUEUE);
    set_address(0x20, q->desc);
    set_address(0x28, &q->avail);
    set_address(0x30, &q->used);
    outw(REG(0x1c), 1);
}

static err_t start_device(struct netif *n)
{
    outb(REG(0x14), 0);
    outb(REG(0x14), STATUS_ACKNOWLEDGE | STATUS_DRIVER);
    outl(REG(0x08), 0);
    outl(REG(0x0c), FEATURES_LOW);
    outl(REG(0x08), 1);
    outl(REG(0x0c), FEATURES_HIGH);
    outb(REG(0x14), STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK);
    if (!(inb(REG(0x14)) & STATUS_FEATURES_OK))
        return ERR_IF;
    start_queue(RX);
    start_queue(TX);
    outb(REG(0x14), STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK | STATUS_DRIVER_OK);
    outw(REG(0x3c), RX);
    for (unsigned i = 0; i < sizeof(n->hwaddr); i++)
        n->hwaddr[i] = inb(REG(0x40 + i));
    return ERR_OK;
}

static err_t send(struct netif *n, struct pbuf *p)
{
    struct queue *q = &queues[TX];
    uint16_t in_flight =
        (uint16_t)(q->avail.index - __atomic_load_n(&q->used.index, __ATOMIC_ACQUIRE));
    uint16_t i = q->avail.index % QUEUE;

    (void)n;
    if (in_flight >= QUEUE || p->tot_len > BUFFER - HEADER)
        return ERR_MEM; /* lwIP sends again */
    memset(q->buffers[i], 0, HEADER);
    pbuf_copy_partial(p, q->buffers[i] + HEADER, p->tot_len, 0);
    q->desc[i].length = HEADER + p->tot_len;
    publish(q, i);
    outw(REG(0x3c), TX);
    return ERR_OK;
}

static bool starved;

static void receive(struct netif *n, const uint8_t *frame, size_t len)
{
    struct pbuf *p = frames_take(frame, len);

    port_beat(); /* a frame may be the last of a handshake, which takes long */
    if (!p) {
        starved = true;
        return;
    }
    if (n->input(p, n) != ERR_OK)
        pbuf_free(p);
}

bool vnet_poll(struct netif *n)
{
    struct queue *q = &queues[RX];
    unsigned done = 0;

    (void)inb(REG(0x38)); /* lowers the interrupt: before the ring is looked at */
    while (done < ROUND && q->seen != __atomic_load_n(&q->used.index, __ATOMIC_ACQUIRE)) {
        uint32_t id = q->used.ring[q->seen % QUEUE].id;
        uint32_t length = q->used.ring[q->seen % QUEUE].length;

        q->seen++;
        if (id < QUEUE && length > HEADER && length <= BUFFER)
            receive(n, q->buffers[id] + HEADER, length - HEADER);
        publish(q, (uint16_t)id);
        done++;
    }
    if (done)
        outw(REG(0x3c), RX);
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
    n->hostname = abi_host()->management.hostname;
    n->mtu = 1500;
    n->hwaddr_len = sizeof(n->hwaddr);
    n->flags = NETIF_FLAG_BROADCAST | NETIF_FLAG_ETHARP | NETIF_FLAG_LINK_UP | NETIF_FLAG_ETHERNET |
               NETIF_FLAG_IGMP | NETIF_FLAG_MLD6;
    n->output = etharp_output;
    n->output_ip6 = ethip6_output;
    n->linkoutput = send;
    return start_device(n);
}

#include "mgmt/syslog_udp.h"

#include "hv/lib.h"
#include "lwip/netif.h"
#include "lwip/udp.h"
#include "mgmt/port.h"
#include "mgmt/syslog.h"

/* Of one turn of the main loop, of which there are a hundred a second: HTTP shall not wait. */
#define BUDGET 8u

static const struct api_view *view;
static struct udp_pcb *pcb;
static ip_addr_t server;
static struct syslog_follower log_at, console_at[ABI_GUESTS_MAX];
static char guest_name[ABI_GUESTS_MAX][sizeof(((struct abi_guest *)NULL)->name)];

static bool send(void *ctx, const char *message, size_t len)
{
    struct pbuf *p = pbuf_alloc(PBUF_TRANSPORT, (u16_t)len, PBUF_RAM);
    err_t err;

    (void)ctx;
    if (!p)
        return false;
    pbuf_take(p, message, (u16_t)len);
    err = udp_sendto(pcb, p, &server, view->host->management.syslog_port);
    pbuf_free(p);
    return err == ERR_OK;
}

void syslog_start(const struct api_view *v)
{
    const uint8_t *a = v->host->management.syslog_server;

    view = v;
    IP_ADDR4(&server, a[0], a[1], a[2], a[3]);
    if (ip_addr_isany(&server))
        return;
    pcb = udp_new();
    if (!pcb)
        mgmt_die("no UDP port for syslog");
}

/* A number's next guest has another console. */
static void follow_console(unsigned number, const struct syslog_sink *sink)
{
    const struct abi_guest *g = view->guest(number);

    if (!g || number == view->host->self)
        return;
    if (strcmp(guest_name[number], g->name) != 0) {
        (void)str_copy(guest_name[number], sizeof(guest_name[number]), g->name);
        console_at[number] = (struct syslog_follower){0};
    }
    (void)syslog_follow(&console_at[number], view->console(number), guest_name[number], sink,
                        BUDGET);
}

void syslog_poll(void)
{
    const struct abi_host *h = view->host;
    struct syslog_sink sink = {.hostname = h->management.hostname, .send = send};

    /* Before there is an address each attempt would fail. */
    if (!pcb || !netif_default || ip4_addr_isany(netif_ip4_addr(netif_default)))
        return;
    sink.now_us = clock_us(view->clock, h, view->tsc());
    sink.zero_us = clock_us(view->clock, h, 0);
    (void)syslog_follow(&log_at, view->log, NULL, &sink, BUDGET);
    for (unsigned i = 0; h->management.syslog_consoles && i < ABI_GUESTS_MAX; i++)
        follow_console(i, &sink);
}

/*
 * lwIP's SNTP client, which checks who answers and what was asked, but not whether the server knows
 * the time. So each answer passes a check of ours first.
 */
#include "lwip/udp.h"
#include "mgmt/ntp.h"
#include "mgmt/port.h"

static void check(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from,
                  u16_t port);

/* Its only receiver is registered in its only call of this. */
#define udp_recv(pcb, receiver, arg) udp_recv(pcb, check, arg)
#include "apps/sntp/sntp.c"
#undef udp_recv

/* Stratum 0 is a refusal, which lwIP understands: it asks less often. */
static bool is_refusal(const uint8_t *answer)
{
    return answer[SNTP_OFFSET_STRATUM] == SNTP_STRATUM_KOD;
}

static void check(void *arg, struct udp_pcb *pcb, struct pbuf *p, const ip_addr_t *from, u16_t port)
{
    static bool told;
    uint8_t answer[NTP_ANSWER];

    if (pbuf_copy_partial(p, answer, sizeof(answer), 0) == sizeof(answer) && !is_refusal(answer) &&
        !ntp_is_sound(answer)) {
        if (!told)
            port_log("warning: the time server says that it does not know the time: not used");
        told = true;
        pbuf_free(p);
        return;
    }
    sntp_recv(arg, pcb, p, from, port);
}

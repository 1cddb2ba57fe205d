/* Intel I225 and I226, 2.5 Gbit/s: "Intel Ethernet Controller I225/I226 Datasheet". The PHY
 * negotiates by itself. */
#include "net/intel_adv.h"

#define STATUS_2500 (1u << 22) /* beside the speed's 1000 */

static int probe(struct nic *n)
{
    static const struct intel_adv_causes causes = {0x1500, 0x1504, 0x1508, 0x150c};

    return intel_adv_probe(n, &causes);
}

static struct nic_link link(struct nic *n)
{
    struct nic_link l = intel_link(n);

    if (l.mbits == 1000 && (intel_get(n, INTEL_STATUS) & STATUS_2500))
        l.mbits = 2500;
    return l;
}

static const struct nic_id ids[] = {
    {0x15f28086, "I225-LM"},
    {0x15f38086, "I225-V"},
    {0x15f88086, "I225-I"},
    {0x0d9f8086, "I225-IT"},
    {0x31008086, "I225-K"},
    {0x31018086, "I225-K"},
    {0x55028086, "I225-LMvP"},
    {0x125b8086, "I226-LM"},
    {0x125c8086, "I226-V"},
    {0x125d8086, "I226-IT"},
    {0x31028086, "I226-K"},
    {0x55038086, "I226-LMvP"},
    {0, NULL},
};

const struct nic_driver igc_driver = {
    .name = "igc",
    .ids = ids,
    .memory = INTEL_MEMORY,
    .probe = probe,
    .start = intel_adv_start,
    .listen = intel_adv_listen,
    .interrupt = intel_adv_interrupt,
    .receive = intel_adv_receive,
    .send = intel_adv_send,
    .link = link,
};

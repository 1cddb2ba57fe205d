/* A guest's network card: its configuration, and what happened to its frames. */
#include "mgmt/put_config.h"
#include "mgmt/words.h"
#include "mgmt/api_call.h"

void put_refused(struct json_out *j, const char *name, const uint64_t frames[NET_DROPS])
{
    json_object(j, name);
    for (unsigned i = NET_PASSED + 1; i < NET_DROPS; i++)
        if (frames[i])
            json_u64(j, words_net_drop[i], frames[i]);
    json_end(j);
}

void put_card(struct json_out *j, const struct abi_guest *g)
{
    if (!(g->config.devices & DEV_NET)) {
        json_null(j, "network");
        return;
    }
    json_object(j, "network");
    put_mac(j, "mac", g->mac, sizeof(g->mac));
    json_u64(j, "sent", g->frames_sent);
    json_u64(j, "received", g->frames_received);
    json_u64(j, "dropped", g->frames_dropped);
    json_u64(j, "queue_pairs", g->queue_pairs);
    json_u64(j, "queue_pairs_used", g->queue_pairs_used);
    put_refused(j, "refused", g->frames_refused);
    json_end(j);
}

/*
 * Who caused a change of a guest's state: the client that asked for it, the guest itself, or the
 * appliance (its configuration, and restart policies). The root does not know clients. So what they
 * ask for is remembered here, and events that such a request leads to are its client's. Pure.
 */
#pragma once

#include "mgmt/address.h"
#include "mgmt/api.h"

/* What a client can ask for: an action of hv/actions.def, or one of these. */
enum actor_request { ACTOR_CREATE = ABI_ACTION_END, ACTOR_DELETE, ACTOR_REQUESTS };

enum actor_kind {
    ACTOR_UNKNOWN, /* of an earlier life of the management guest, which has forgotten it */
    ACTOR_APPLIANCE,
    ACTOR_GUEST,
    ACTOR_CLIENT
};

struct actor {
    enum actor_kind kind;
    struct auth_identity who; /* of a client, as is `from`, its address */
    char from[ADDRESS_TEXT];
};

/* All zero: nothing has happened yet. */
struct actors {
    bool begun;
    uint64_t seen; /* events up to this one have an actor */
    /* The newest request for each guest that has not led to its last state yet. */
    struct {
        unsigned request; /* 0: none */
        struct actor actor;
    } asked[ABI_GUESTS_MAX];
    struct {
        uint64_t sequence;
        struct actor actor;
    } ring[ABI_EVENTS];
};

/* Gives each new event its actor. Before every request, and before events are shown. */
void actors_poll(const struct api_view *v);
/* A client's request for a guest was accepted: a value of enum abi_action or enum actor_request. */
void actors_asked(const struct api_view *v, unsigned guest, unsigned request,
                  const struct auth_identity *who, const char *from);
/* "by", "role" and "from" of an event. */
void actors_put(struct json_out *j, const struct api_view *v, const struct abi_event *e);

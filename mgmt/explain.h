/*
 * Names the check behind a VM entry that the CPU refused. The root knows what the CPU said; which
 * check of the SDM the guest did not pass is found out here, from the snapshot of its death, and
 * added to `why` wherever that is shown. Pure.
 */
#pragma once

#include "mgmt/api.h"

struct explain {
    uint64_t seen; /* events up to this one have been looked at */
    struct {
        uint64_t sequence; /* of the event; 0: none */
        char check[ABI_TEXT_MAX];
    } ring[ABI_EVENTS];
};

/* Looks at new events; notes each refused entry that can be explained in the log. From the main
 * loop, and before events are shown. */
void explain_poll(const struct api_view *v);
/* The newest event that can be shown: those behind it wait for a snapshot. */
uint64_t explain_newest(const struct api_view *v);
/* Adds what is known to a copy of an event, or of a guest's status. */
void explain_event(const struct api_view *v, struct abi_event *e);
void explain_guest(const struct api_view *v, unsigned number, struct abi_guest *g);

/*
 * Names the failed check behind a VM entry that the CPU refused. The root knows only what the CPU
 * reported. The check of the SDM that the guest failed is found here, from the snapshot of its
 * death, and added to `why` wherever that is shown. Pure.
 */
#pragma once

#include "mgmt/api.h"

struct explain {
    uint64_t seen; /* events up to this one have been examined */
    struct {
        uint64_t sequence; /* the event's; 0: none */
        char check[ABI_TEXT_MAX];
    } ring[ABI_EVENTS];
};

/* Examines new events and logs each refused entry that can be explained. Called from the main loop,
 * and before events are shown. */
void explain_poll(const struct api_view *v);
/* The newest event that can be shown: later ones wait for a snapshot. */
uint64_t explain_newest(const struct api_view *v);
/* Adds the explanation to a copy of an event, or of a guest's status. */
void explain_event(const struct api_view *v, struct abi_event *e);
void explain_guest(const struct api_view *v, unsigned number, struct abi_guest *g);

/*
 * What the management guest sees of the machine: the shared pages of hv/abi/control.h. A guest's
 * pages belong to its number, so that guests can come and go while the management guest runs: once
 * mapped there, they stay.
 */
#pragma once

#include "hv/abi/deploy.h"
#include "hv/guest.h"
#include "hv/virt.h"

#define VCPU_EXITS_SIZE     (ABI_EXITS * sizeof(struct abi_exit))
#define VCPU_SNAPSHOTS_SIZE (ABI_SNAPSHOTS * sizeof(struct abi_snapshot))
#define GUEST_CONSOLE_SIZE  (sizeof(struct abi_ring) + ABI_CONSOLE_RING_SIZE)

/* Allocates those of the host and the status page of each number. Boot core; -E_NOMEM. */
int guest_pages_setup(void) MUST_CHECK;
/* Maps these, its own, and the boot modules into the management guest, read-only. */
int guest_pages_map(struct guest *m, const struct virt_ops *ops) MUST_CHECK;
/* Makes the other pages of the number exist, with those of its first `vcpus` vCPUs, and the
 * management guest see them. They are not freed again. Management's core, in a job, or start-up;
 * -E_NOMEM. */
int guest_pages_make(unsigned number, unsigned vcpus) MUST_CHECK;
/* Gives the guest its number's pages and fills in what it is (state ABI_GUEST_STARTING). The pages
 * are clean: new, or scrubbed. */
void guest_pages_take(struct guest *g);
/* The guest could not be made after all: its number is unused again. */
void guest_pages_leave(struct guest *g);
/* Shows whether the number is in use. Any core. */
void guest_pages_show(const struct guest *g, bool in_use);

/* Publishes a new state with its reason, and an event; from the request for its deletion on, only
 * the last. Owning core. */
void guest_set_state(struct guest *g, enum abi_guest_state state, const char *why);
/* For a guest that lives on: the times of its start and end stay. */
void guest_set_paused(struct guest *g, bool paused);
/* Reports with an event that the guest is stuck, and how; "": it moves again. Its state does not
 * change. Of several vCPUs the last one that got stuck is shown. The vCPU's core. */
void guest_set_stuck(struct vcpu *v, const char *how);
void guest_set_image_kind(struct guest *g, const char *kind);
/* Tells the management guest that something changed; not of itself, `g`. */
void guest_tell_management(const struct guest *g);

/* The pages of the machine, root's view. */
struct guest_pages {
    struct abi_host *host;
    char *token;           /* ABI_TOKEN_SIZE bytes */
    struct abi_keep *keep; /* what the management guest asked the root to keep */
    struct abi_caps *caps; /* by core number */
    struct abi_thread *threads;
    struct abi_images *images;
    struct abi_events *events;
};
const struct guest_pages *guest_pages(void);
/* Recounts abi_host.memory. */
void guest_account_memory(void);

/*
 * A guest's life: created from its configuration, cleared, loaded, run, ended, started again,
 * deleted. guest_deploy.c makes guests, guest.c builds and scrubs what they have, guest_start.c
 * brings them to their first entry, and guest_life.c does the rest. guest_phase.c has what all of
 * them need.
 */
#pragma once

#include "hv/abi/deploy.h"
#include "hv/arch.h"
#include "hv/guest.h"
#include "hv/guest_pages.h"
#include "hv/virt.h"

/* The wall clock at TSC `boot_tsc`, for the guests' CMOS clocks. */
void guest_life_init(uint64_t boot_epoch, uint64_t boot_tsc);

/* Makes the management guest, number 0, with one vCPU on c->core: memory, tables, a port of the
 * switch. NULL, with a line in the log, if memory is short. Boot core, before core_run(); the
 * caller binds it. */
struct guest *guest_create_management(const struct guest_config *c) MUST_CHECK;
/* Clears its memory and copies its image in one go, as far as possible. Boot core, before
 * core_run(). */
void guest_make_ready(struct guest *g);
/* ABI_CALL_CREATE: checks everything, takes memory, and leaves the rest to the owning core. Returns
 * the guest's number, or an error with nothing changed; with -E_PERM r->address is the index of the
 * address that belongs to another machine. The management guest's core. */
int guest_deploy(struct abi_create *r) MUST_CHECK;
/* Everything below: on the owning core. */

/* GUEST_BUILDING, a job of the guest's; also on the boot core, from
 * guest_create_management(). */
void guest_build(void *guest);
/* Takes all the memory that the guest will ever have, so that it cannot run out later; -E_NOMEM
 * with nothing taken. Gives it back. Both rest, see hv/job.h. Management guest's core, or the boot
 * core; giving back: a job of the guest's. */
int guest_take_memory(struct guest *g) MUST_CHECK;
void guest_give_back(struct guest *g);

/* The same for the memory that its disks need, once g->disk_images is set. All of these rest. */
int guest_take_disks(struct guest *g) MUST_CHECK;
void guest_give_back_disks(struct guest *g);
/* Makes the disks of its PC, which keep what is written to them until the guest is deleted. A job
 * of the guest's. */
void guest_make_disks(struct guest *g);
void guest_scrub_disks(struct guest *g);
/* Joins the regions that it shares, or makes them: -E_NOMEM; -E_INVAL, if one exists and is not
 * what this guest says; with nothing taken. Leaves them: the last guest scrubs them. Both rest;
 * cores as above. Then makes their devices, and maps them; NULL, or why not. A job of the guest's.
 */
int guest_take_shared(struct guest *g) MUST_CHECK;
void guest_leave_shared(struct guest *g);
const char *guest_make_shared(struct guest *g);
/* Tells a guest's core of frames or doorbells (GUEST_REQ_NET, GUEST_REQ_RING). It is kicked only
 * once in a while; meanwhile it looks by itself. Any core. */
void guest_tell(struct guest *g, enum guest_request request);
/* Marks a guest that cannot be started. */
void guest_fail(struct guest *g, const char *why);

/* Ends what is left of a guest that is not live, and begins a job that zeroes and frees what it
 * had. */
void guest_begin_scrub(struct guest *g);
/* GUEST_GONE, and unbound from its core: frees its number. */
void guest_destroy(struct guest *g);

/* Continues building, clearing memory, copying the image and starting, or ending, or scrubbing, in
 * small steps, until `until`. Then the guest is live, idle, held back, gone, or not ready yet. */
void guest_advance(struct guest *g, uint64_t until);
/* Begins a start. Not while live. */
void guest_begin_start(struct guest *g);
/* One step of a phase between being built and being live (GUEST_CLEARING to GUEST_LAUNCHING). */
void guest_start_step(struct guest *g);
void guest_enter_phase(struct guest *g, enum guest_phase phase);
/* Orders what its vCPUs must become, each on its own core; whether all have obeyed. */
void guest_order(struct guest *g, enum vcpu_phase phase);
bool guest_all_obey(const struct guest *g);
/* It starts again at TSC `at`. The reason for its end stays; only the state changes. */
void guest_hold_back(struct guest *g, uint64_t at);
/* GUEST_REQ_END: its vCPUs end, each on its own core; what follows (log, restart policy) is done in
 * steps by guest_advance(). Then it is idle, about to start again, or held back until
 * status->next_start_tsc. Does nothing if it has no vCPUs. */
void guest_begin_ending(struct guest *g);
/* GUEST_REQ_VCPU: goes on if all its vCPUs have obeyed. */
void guest_on_vcpus(struct guest *g);
/* It has vCPUs, and not all of them are ending. */
bool guest_has_vcpus(const struct guest *g);
/* Its vCPUs get its time: the life has nothing to do but wait for them. */
bool guest_waits_for_vcpus(const struct guest *g);
/* GUEST_GONE: makes the cores of its vCPUs forget them. True: all have. */
bool guest_let_go(struct guest *g);
/* Pauses a live guest (done when all its vCPUs have left their runs), and resumes a paused one. */
void guest_pause(struct guest *g);
void guest_resume(struct guest *g);
/* Ends a guest by request, even one that is about to start. Each call is one short step; true: the
 * guest is idle. It must not be advanced meanwhile. */
bool guest_end_by_request(struct guest *g, const char *why);

/* Moves typed bytes into the UART as far as it has room. Cheap when there are none. Core of its
 * life. */
void guest_feed_uart(struct guest *g);
static inline bool guest_has_input(const struct guest *g)
{
    return g->input_tail != __atomic_load_n(&g->input_head, __ATOMIC_ACQUIRE);
}
static inline void guest_feed_input(struct guest *g)
{
    if (__builtin_expect(guest_has_input(g), 0))
        guest_feed_uart(g);
}

/* Called with what virtio-net sends, and with what the switch delivers (any core). */
bool guest_on_transmit(void *ctx, uint8_t *frame, size_t len, const struct net_offload *o);
void guest_on_frame(void *ctx, const uint8_t *frame, size_t len, const struct net_offload *o);

/* The management guest, or NULL. */
struct guest *guest_management(void);
/* From now on the number belongs to this guest; NULL: to none. One call at a time, from the code
 * that makes and destroys guests. */
void guest_enlist(unsigned number, struct guest *g);

/*
 * A guest's life: created at start-up from its configuration, cleared, loaded, run, ended, started
 * anew. But for guest_create() everything runs on the owning core.
 */
#pragma once

#include "hv/arch.h"
#include "hv/guest.h"
#include "hv/mem.h"
#include "hv/virt.h"

/* One-time: what guests are made from. Boot core. `shared` are ABI_GUESTS_MAX zeroed groups of
 * pages, see guest_life.c. */
int guest_setup(struct mem_map *map, const struct virt_ops *ops, uint64_t boot_epoch,
                uint64_t boot_tsc) MUST_CHECK;

/* Takes number `number`, memory, translation tables and a switch port. On failure the guest exists
 * in state FAILED with the reason in its status, and is returned all the same (NULL only when the
 * number is out of range). Boot core. */
struct guest *guest_create(unsigned number, const struct guest_config *c, bool management);

/* Goes on with clearing memory, copying the image and starting, in small steps, until `until`; then
 * the guest is live, or has failed and is idle again, or is not ready yet. Owning core. */
void guest_advance_start(struct guest *g, uint64_t until);
/* Begins that. Not while live. */
void guest_begin_start(struct guest *g);
/* The vCPU has stopped (v->stop): last snapshot, state, restart policy. Returns when to start it
 * again (absolute ticks), or NEVER. */
uint64_t guest_ended(struct guest *g);
/* Of a live guest, and of a paused one. */
void guest_pause(struct guest *g);
void guest_resume(struct guest *g);
/* Ends a live or paused guest by request. */
void guest_end(struct guest *g, const char *why);

/* Moves typed bytes into the UART as far as it has room. */
void guest_feed_input(struct guest *g);
/* Writes out the part of a console line that is still held back: at once, or if nothing has been
 * added to it for a while (it is a prompt). */
void guest_flush_line(struct guest *g);
void guest_flush_old_line(struct guest *g);

/* Checks every live mapping of every guest against the owner map. 0 or -E_PERM (logged). Boot core,
 * before any guest runs. */
int guest_audit_all(void) MUST_CHECK;

/* The shared pages of the control ABI, root's view. */
struct abi_host *guest_host_page(void);
/* The shared pages with what each core can do, by core number. */
struct abi_caps *guest_caps_page(void);
/* The management guest, or NULL. */
struct guest *guest_management(void);
/* Recounts abi_host.memory. */
void guest_account_memory(void);
/* The boot module of this name, or NULL. */
const struct arch_module *guest_module(const char *name);

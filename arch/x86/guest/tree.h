/* A guest's translations, whatever the vendor's tables look like: these rows of struct virt_ops,
 * for a backend whose part of a guest (guest.backend) begins with a struct nested. */
#pragma once

#include "arch/x86/guest/nested.h"
#include "hv/guest.h"
#include "hv/virt.h"

/* For struct nested: a page for the guest `ctx`. */
void *x86_alloc_table(void *ctx);
void x86_guest_free(struct guest *g);
int x86_map(struct guest *g, gpa_t gpa, hpa_t hpa, uint64_t size, enum map_perm perm);
int x86_unmap(struct guest *g, gpa_t gpa, uint64_t size);
int x86_prepare(struct guest *g, gpa_t gpa, uint64_t size);
int x86_place(struct guest *g, gpa_t gpa, hpa_t hpa, uint64_t size, bool mapped);
/* What a guest may have mapped: the isolation audit. */
int x86_audit(const struct guest *g, char *text, size_t text_size);

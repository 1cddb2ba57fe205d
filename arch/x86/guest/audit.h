/* What a guest may have mapped: the isolation audit, whatever the vendor's tables look like. */
#pragma once

#include "arch/x86/guest/nested.h"
#include "hv/guest.h"

/* virt_ops.audit over the tree `t`. `is_backends` says of a mapping of memory that was allocated
 * for the guest (MEM_FOR_GUEST) that the backend made it; NULL: it makes none. */
int audit_nested(const struct guest *g, const struct nested *t,
                 bool (*is_backends)(const struct guest *g, const struct nested_mapping *m),
                 char *text, size_t text_size) MUST_CHECK;

/*
 * What is to be said about two VMCSs, and about one that shall be entered: in JSON or in readable
 * text, for the API and for host commands. Pure.
 */
#pragma once

#include "arch/x86/inspect/fields.h"
#include "mgmt/json.h"

/* The member "fields" of the object that is open: those of `rows` (NULL: all) that differ; not
 * `all`: only those that nothing but a set-up changes. Returns how many. */
unsigned report_diff(struct json_out *j, const struct abi_vmcs *from, const struct abi_vmcs *to,
                     const uint64_t *rows, bool all);
/* The members "rules", "enters" and "failures" of the object that is open; returns how many fail.
 * Rules about what `v` does not have are left out. */
unsigned report_check(struct json_out *j, const struct abi_vmcs *v, const struct abi_caps *caps);
/* The first check of a VM entry that fails, "guest.rflags.reserved 0x0 (bit 1 must be 1)", into
 * `text`. False: none does, and the text is empty. */
bool report_first_failure(const struct abi_vmcs *v, const struct abi_caps *abi, char *text,
                          size_t size);

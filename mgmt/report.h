/*
 * Reports on two VMCSs or VMCBs compared, or on one checked for its entry: as JSON or readable
 * text, for the API and for host commands. Pure.
 */
#pragma once

#include "mgmt/json.h"
#include "mgmt/state.h"

/* Writes the member "fields" of the open object: the fields of `rows` (NULL: all) that differ.
 * Without `all`: only fields that nothing but setup changes. Returns how many. */
unsigned report_diff(struct json_out *j, const struct state_table *t, const struct abi_vmcs *from,
                     const struct abi_vmcs *to, const uint64_t *rows, bool all);
/* Writes the members "rules", "enters" and "failures" of the open object; returns how many rules
 * fail. Rules about fields that `v` lacks are left out. */
unsigned report_check(struct json_out *j, const struct state_table *t, const struct abi_vmcs *v,
                      const struct abi_caps *caps);
/* Writes the first failing check of a VM entry, "guest.rflags.reserved 0x0 (bit 1 must be 1)", to
 * `text`. False: none fails, and the text is empty. */
bool report_first_failure(const struct state_table *t, const struct abi_vmcs *v,
                          const struct abi_caps *abi, char *text, size_t size);

/*
 * Checks a change of control words before it is requested: whether the root would refuse it, why,
 * and whether the CPU would still enter the guest. Pure.
 */
#pragma once

#include "mgmt/state.h"

/* Judges a change to a vCPU with this VMCS or VMCB on a core with these capabilities. 0: the root
 * will make it, and every check of a VM entry holds afterwards. Otherwise -E_PERM or -E_INVAL, the
 * words and bits in *r (bits 0: no particular bits), and the reason in `why`. */
int controls_judge(const struct state_table *t, const struct abi_vmcs *v,
                   const struct abi_caps *caps, const struct abi_controls *c,
                   struct abi_controls_result *r, char *why, size_t size) MUST_CHECK;
/* The exit profile that the control words amount to: an enum abi_exit_profile, or -1 if none. Bits
 * that the CPU does not leave open do not count. */
int controls_profile(const struct state_table *t, const struct abi_vmcs *v,
                     const struct abi_caps *caps);
/* A profile as a change. */
struct abi_controls controls_of_profile(const struct state_table *t, enum abi_exit_profile p);
/* Only the reason, from the root's answer. */
const char *controls_why(const struct state_table *t, const struct abi_controls_result *r);

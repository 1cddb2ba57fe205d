/*
 * Why VMRUN would refuse a VMCB (VMEXIT_INVALID): the checks of APM 2 "Canonicalization and
 * Consistency Checks" over its values. Pure, and linked into the management guest too. The rules
 * are in vmrun_rules.def; what is not checked, and what emulators do not enforce, in
 * entry_check.md.
 */
#pragma once

#include "arch/x86/inspect/entry_check.h"

/* VMRUN_RULE_<ID>: the index of each rule, and its `id`. */
enum vmrun_rule_id {
#define VMRUN_RULE(id, name, section, allowed) VMRUN_RULE_##id,
#include "arch/x86/inspect/vmrun_rules.def"
#undef VMRUN_RULE
    VMRUN_RULES
};

/* The rule with this index; NULL beyond VMRUN_RULES. */
const struct entry_rule *vmrun_rule(unsigned id);

/*
 * Calls failed() once for each rule that fails, with the field's offset as `encoding`; returns the
 * number of failures. Skips rules about fields that `v` does not have, or facts that `caps` does
 * not say (0). `failed` may be NULL.
 */
unsigned vmrun_check(const struct abi_vmcs *v, const struct abi_caps *caps,
                     void (*failed)(void *arg, const struct entry_rule_failure *f), void *arg);

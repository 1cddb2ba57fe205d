/*
 * Why a VM entry would fail: all checks of SDM 3C "VM Entries" over the values of a VMCS. Pure, and
 * linked into the management guest too. The rules are in entry_rules.def; what is not checked, and
 * what Bochs does not enforce, in entry_check.md.
 */
#pragma once

#include "arch/x86/vmx/caps.h"
#include "hv/abi/control.h"
#include "hv/types.h"

/* How the CPU refuses. */
enum entry_stage {
    ENTRY_STAGE_CONTROLS, /* VMfailValid, VM-instruction error 7 */
    ENTRY_STAGE_HOST,     /* VMfailValid, VM-instruction error 8 */
    ENTRY_STAGE_GUEST,    /* VM exit, basic exit reason 33, bit 31 set */
    ENTRY_STAGE_VMRUN,    /* SVM: exit code -1, VMEXIT_INVALID */
};

/* ENTRY_RULE_<ID>: the index of each rule, and its `id`. */
enum entry_rule_id {
#define ENTRY_RULE(id, name, section, allowed) ENTRY_RULE_##id,
#include "arch/x86/inspect/entry_rules.def"
#undef ENTRY_RULE
    ENTRY_RULES
};

struct entry_rule {
    uint16_t id;
    uint8_t stage;       /* enum entry_stage */
    const char *name;    /* "guest.rflags.reserved": stable */
    const char *section; /* the manual's title: "Checks on Guest RIP, RFLAGS, and SSP" */
    const char *allowed; /* what is allowed, without the particulars of one failure */
};

struct entry_rule_failure {
    const struct entry_rule *rule;
    uint32_t encoding;   /* of the field; SVM: its offset */
    uint64_t value;      /* of the field */
    uint64_t bits;       /* the wrong bits; 0: the value as a whole is wrong */
    const char *allowed; /* "bit 1 must be 1: reserved in RFLAGS". Valid during the call only. */
};

/* Facts that the VMCS and the capability MSRs do not contain. */
struct entry_cpu {
    uint8_t physical_bits; /* CPUID.80000008H:EAX[7:0] */
    uint8_t linear_bits;   /* CPUID.80000008H:EAX[15:8]: 48 or 57 */
    bool ia32e;            /* IA32_EFER.LMA at the entry */
    bool smm;              /* in system-management mode at the entry */
    bool tracing;          /* IA32_RTIT_CTL.TraceEn at the entry */
    bool sgx;              /* CPUID.7.0:EBX[2] */
    bool rtm;              /* CPUID.7.0:EBX[11] */
    bool bus_lock;         /* CPUID.7.0:ECX[24]: bus-lock debug exceptions */
    bool lam;              /* CPUID.7.1:EAX[26]: linear-address masking */
    bool vtpr_known;       /* the virtual-APIC page was read */
    bool link_known;       /* the VMCS that the link pointer names was read */
    uint8_t vtpr;          /* the virtual TPR */
    uint32_t link_word;    /* the first 4 bytes of that VMCS */
    uint64_t current_vmcs; /* physical address of the VMCS; 0: not known */
    uint64_t perf_global;  /* bits that IA32_PERF_GLOBAL_CTRL has; 0: not known */
};

/* The rule with this index; NULL beyond ENTRY_RULES. */
const struct entry_rule *entry_rule(unsigned id);
/* NULL: none. */
const struct entry_rule *entry_rule_by_name(const char *name);

/*
 * Calls failed() once for each rule and field that fails, controls first, then host, then guest
 * state; returns the number of failures. Skips rules about fields that `v` does not have, or facts
 * that `cpu` does not know. `failed` may be NULL.
 */
unsigned vmcs_entry_check(const struct abi_vmcs *v, const struct abi_caps *caps,
                          const struct entry_cpu *cpu,
                          void (*failed)(void *arg, const struct entry_rule_failure *f), void *arg);

/* The same in ENTRY_PARTS parts, 0 to ENTRY_PARTS - 1, for callers without time for all at once. */
#define ENTRY_PARTS 5u
unsigned vmcs_entry_check_part(unsigned part, const struct abi_vmcs *v, const struct abi_caps *caps,
                               const struct entry_cpu *cpu,
                               void (*failed)(void *arg, const struct entry_rule_failure *f),
                               void *arg);

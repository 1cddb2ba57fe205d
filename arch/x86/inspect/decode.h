/*
 * What the bits of a VMCS field mean, in the words of SDM 3C "Virtual Machine Control Structures"
 * and appendices A to C. Pure; linked into the management guest and host tools, not into the root.
 */
#pragma once

#include "hv/types.h"

struct abi_vmcs;

/* A piece of a decoded value. No string is NULL; each may be valid only during the call of emit().
 */
struct decode_part {
    uint8_t high, low;   /* bits high..low of the field, inclusive */
    uint64_t value;      /* of these bits, shifted down to bit 0 */
    const char *name;    /* "HLT_EXITING", "DPL" */
    const char *title;   /* the SDM's words: "HLT exiting" */
    const char *meaning; /* of this value: "HLT exits"; "" when it is just a number */
    bool either;         /* a single bit that selects one of two things, not on or off */
    bool reserved;       /* bits that the SDM does not define, given only when they are not 0 */
    bool valid;          /* false: another bit of the field makes these bits meaningless */
};

/* The values of other fields that the meaning of some fields depends on. Zero: unknown. */
struct decode_context {
    uint32_t exit_reason;             /* for exit qualification and instruction information */
    uint32_t exit_interruption_info;  /* for exit qualification and error code of reason 0 */
    uint32_t entry_interruption_info; /* for the VM-entry exception error code */
    uint32_t idt_vectoring_info;      /* for the IDT-vectoring error code */
    uint64_t guest_cr4, host_cr4;     /* CR3 has a PCID when CR4.PCIDE is set */
};

/* From a snapshot; missing fields count as 0. */
struct decode_context decode_context_of(const struct abi_vmcs *v);

typedef void (*decode_emit)(void *arg, const struct decode_part *p);

/* Calls emit() for each piece, low bits first; single-bit controls always, set or not. `c` and
 * `emit` may be NULL. Returns the number of pieces; 0: the field is unknown, or just a number or an
 * address. */
unsigned vmcs_decode(uint32_t encoding, uint64_t value, const struct decode_context *c,
                     decode_emit emit, void *arg);

/* One line: "HLT_EXITING | USE_IO_BITMAPS | ...", or "type 0xb (...), DPL 0, present". Terminates
 * when size > 0; returns the length of the whole line. 0: see vmcs_decode(). */
size_t vmcs_decode_line(uint32_t encoding, uint64_t value, const struct decode_context *c,
                        char *text, size_t size);

/* The IA32_VMX_* capability MSRs and IA32_FEATURE_CONTROL. For a control in IA32_VMX_*_CTLS a part
 * has its bit number in the control word; its value is 1 if it must be 1, plus 2 if it may be 1.
 * Returns 0 for other MSRs. */
unsigned vmx_msr_decode(uint32_t msr, uint64_t value, decode_emit emit, void *arg);
size_t vmx_msr_decode_line(uint32_t msr, uint64_t value, char *text, size_t size);

/* Asks for the meaning of a piece; the answer may lie in buf[0..size-1]. */
struct decode_say {
    uint64_t word, value; /* the whole field, and the piece */
    const struct decode_context *c;
    char *buf;
    size_t size;
};

/* One piece of a field's format. A control bit has high == low, and both senses are not empty. */
struct decode_bit {
    uint8_t high, low;
    int8_t
        gate; /* n + 1: means something only if bit n is 1; -(n + 1): only if bit n is 0; 0: always
               */
    const char *name;          /* "HLT_EXITING" */
    const char *title;         /* "HLT exiting" */
    const char *clear, *set;   /* what 0 and 1 mean; NULL when it is not a single bit */
    bool either;               /* see struct decode_part */
    const char *const *values; /* what the values mean; a NULL among them is reserved */
    unsigned value_count;      /* of `values`; larger values are reserved */
    const char *(*say)(const struct decode_say *s); /* computes the meaning if it depends on more */
};

/* The defined bits of a control word (pin-based, primary, secondary and tertiary processor-based,
 * VM-exit, secondary VM-exit, VM-entry, VM-function controls), low bits first. NULL: not a control
 * word. */
const struct decode_bit *vmcs_control_bits(uint32_t encoding, unsigned *count);
/* "HLT_EXITING", "hlt_exiting" or the SDM's "HLT exiting". NULL: none. */
const struct decode_bit *vmcs_control_bit_by_name(uint32_t encoding, const char *name);
/* Bits that are 1 unless the TRUE capability MSR allows 0 (the default1 class). */
uint64_t vmcs_control_default1(uint32_t encoding);
/* The MSR that says which bits of the control word may be 0 or 1; `true_controls`: IA32_VMX_BASIC
 * bit 55. 0: not a control word. */
uint32_t vmcs_control_msr(uint32_t encoding, bool true_controls);
/* True if the control word has 64 bits: then no half of its MSR says what must be 1. */
bool vmcs_control_is_wide(uint32_t encoding);
/* "IA32_VMX_TRUE_PINBASED_CTLS"; NULL for MSRs that vmx_msr_decode() does not know. */
const char *vmx_msr_name(uint32_t msr);

/* Why a control bit is what it is. `effective` not explained by wanted, forced0 and forced1 was
 * changed later (an interrupt window, a PATCH). */
struct control_provenance {
    const struct decode_bit *bit;
    bool wanted, forced0, forced1, effective;
};

/* `capability` is the raw MSR: for 32-bit control words bits 31:0 must be 1 and bits 63:32 may be
 * 1; for the 64-bit ones (tertiary, secondary VM-exit, VM functions) all bits may be 1. */
struct control_provenance vmcs_control_provenance(uint32_t encoding, const struct decode_bit *bit,
                                                  uint64_t wanted, uint64_t capability,
                                                  uint64_t effective);

/* The VMX-abort indicator, bytes 7:4 of the VMCS region. */
const char *vmx_abort_name(uint32_t indicator);
/* "#PF page fault"; "" for vectors above 31, "reserved" for the undefined ones below. */
const char *exception_name(unsigned vector);
/* "#PF": only the mnemonic; "" if it has none. */
const char *exception_mnemonic(unsigned vector);

/*
 * What the bits of a VMCB field mean, in the words of APM 2 "Secure Virtual Machine" and its
 * appendices B and C. Pure; linked into the management guest and host tools, not into the root.
 */
#pragma once

#include "arch/x86/inspect/decode.h"
#include "hv/abi/control.h"

/* Like vmcs_decode() and vmcs_decode_line(): the field is the row's (enum vmcb_row), and the fields
 * that its meaning depends on come from `all`, which may be NULL. */
unsigned vmcb_decode(unsigned row, uint64_t value, const struct abi_vmcs *all, decode_emit emit,
                     void *arg);
size_t vmcb_decode_line(unsigned row, uint64_t value, const struct abi_vmcs *all, char *text,
                        size_t size);

/* The defined bits of an intercept vector, low bits first. NULL: not an intercept vector. */
const struct decode_bit *vmcb_intercept_bits(unsigned row, unsigned *count);
/* "HLT" or "hlt". NULL: none. */
const struct decode_bit *vmcb_intercept_by_name(unsigned row, const char *name);
/* The vector's index in abi_vcpu.wanted (enum abi_svm_control); -1: not an intercept vector. */
int vmcb_intercept_control(unsigned row);

/* CPUID.8000000AH:EDX, bit by bit. */
unsigned svm_features_decode(uint64_t edx, decode_emit emit, void *arg);

/* How a vCPU begins. Owning core. */
#pragma once

#include "hv/guest.h"

/* CPUID, MSRs and the rest of struct x86_vcpu. `invpcid`, `rdtscp`: guests can execute these. */
void x86_reset_policies(struct vcpu *v, bool invpcid, bool rdtscp);
/* What a new vCPU has in its registers: vCPU 0 begins as `s` says, any other is in the state after
 * INIT. Loaded. */
void x86_begin(struct vcpu *v, const struct load_result *s);
/* struct virt_ops' vcpu_reset() and vcpu_start(). */
void x86_vcpu_reset(struct vcpu *v);
void x86_vcpu_start(struct vcpu *v, uint8_t vector);

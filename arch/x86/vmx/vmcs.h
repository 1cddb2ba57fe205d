/*
 * VMREAD, VMWRITE and the other VMX instructions, each with its result checked (SDM 3C "VMX
 * Instruction Reference"). They access only the calling core's current VMCS.
 */
#pragma once

#include "arch/x86/inspect/fields.h"
#include "hv/panic.h"
#include "hv/types.h"

/* For fields that the CPU is known to have: a failure is a broken invariant. */
static inline uint64_t vmread(uint32_t field)
{
    uint64_t v;
    bool failed;

    __asm__ volatile("vmread %2, %0" : "=r"(v), "=@ccna"(failed) : "r"((uint64_t)field) : "memory");
    /* "above" is CF = 0 and ZF = 0: success. */
    if (__builtin_expect(failed, 0))
        panic("VMREAD of field 0x%x failed", field);
    return v;
}

static inline void vmwrite(uint32_t field, uint64_t v)
{
    bool failed;

    __asm__ volatile("vmwrite %1, %2" : "=@ccna"(failed) : "r"(v), "r"((uint64_t)field) : "memory");
    if (__builtin_expect(failed, 0))
        panic("VMWRITE of 0x%lx to field 0x%x failed", v, field);
}

/* For fields that may not exist. */
static inline bool vmread_try(uint32_t field, uint64_t *v)
{
    bool failed;

    __asm__ volatile("vmread %2, %0"
                     : "=r"(*v), "=@ccna"(failed)
                     : "r"((uint64_t)field)
                     : "memory");
    return !failed;
}

static inline int MUST_CHECK vmx_on(uint64_t region)
{
    bool failed;

    __asm__ volatile("vmxon %1" : "=@ccna"(failed) : "m"(region) : "memory");
    return failed ? -E_STATE : 0;
}

static inline int MUST_CHECK vmclear(uint64_t vmcs)
{
    bool failed;

    __asm__ volatile("vmclear %1" : "=@ccna"(failed) : "m"(vmcs) : "memory");
    return failed ? -E_STATE : 0;
}

static inline int MUST_CHECK vmptrld(uint64_t vmcs)
{
    bool failed;

    __asm__ volatile("vmptrld %1" : "=@ccna"(failed) : "m"(vmcs) : "memory");
    return failed ? -E_STATE : 0;
}

static inline void invept(uint64_t type, uint64_t eptp)
{
    const struct {
        uint64_t eptp, reserved;
    } d = {eptp, 0};
    bool failed;

    __asm__ volatile("invept %1, %2" : "=@ccna"(failed) : "m"(d), "r"(type) : "memory");
    ASSERT(!failed);
}

static inline void invvpid(uint64_t type, uint16_t vpid)
{
    const struct {
        uint64_t vpid, address;
    } d = {vpid, 0};
    bool failed;

    __asm__ volatile("invvpid %1, %2" : "=@ccna"(failed) : "m"(d), "r"(type) : "memory");
    ASSERT(!failed);
}

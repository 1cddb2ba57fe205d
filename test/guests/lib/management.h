/* For guests that stand in for the management guest: its calls, and the pages it can read. */
#pragma once

#include "hv/abi/call.h"
#include "hv/abi/deploy.h"

static inline const struct abi_host *host(void)
{
    return (const struct abi_host *)(uintptr_t)ABI_HOST_GPA;
}

static inline int64_t call(uint64_t function, uint64_t b, uint64_t c, uint64_t d)
{
    return abi_call_on(host(), function, b, c, d);
}

static inline void heartbeat(void)
{
    (void)call(ABI_CALL_HEARTBEAT, 0, 0, 0);
}

static inline const struct abi_guest *guest(uint64_t number)
{
    return (const struct abi_guest *)(uintptr_t)ABI_GUEST_GPA(number);
}

static inline const struct abi_vcpu *vcpu(uint64_t number, uint64_t vcpu)
{
    return (const struct abi_vcpu *)(uintptr_t)ABI_VCPU_GPA(number, vcpu);
}

static inline bool exists(uint64_t number)
{
    return number < ABI_GUESTS_MAX && guest(number)->state != ABI_GUEST_EMPTY;
}

/* boot.c: makes those guests of the configuration that do not exist yet. After `most` of them it
 * ends with exit code 7 instead of making another. */
void make_guests(unsigned most);
/* Makes an honest plan for the guest of r->config. False: there is none. */
bool plan_guest(struct abi_create *r);

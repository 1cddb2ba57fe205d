/*
 * Offsets and constants that both enter.asm read, computed by the compiler. The Makefile turns each
 * "->NAME value" of an offsets.c, which is compiled to assembly only, into %define.
 */
#pragma once

#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/cpuid.h"
#include "hv/exit.h"
#include "hv/guest.h"

#define VALUE(name, value)              __asm__ volatile("\n->" #name " %0" : : "i"(value))
#define OFFSET(name, structure, member) VALUE(name, offsetof(struct structure, member))

_Static_assert(offsetof(struct vcpu, regs) == 0, "enter.asm takes the vCPU for its registers");

static ALWAYS_INLINE void common_offsets(void)
{
    OFFSET(GPR_RAX, vcpu_gprs, rax);
    OFFSET(GPR_RCX, vcpu_gprs, rcx);
    OFFSET(GPR_RDX, vcpu_gprs, rdx);
    OFFSET(GPR_RBX, vcpu_gprs, rbx);
    OFFSET(GPR_RBP, vcpu_gprs, rbp);
    OFFSET(GPR_RSI, vcpu_gprs, rsi);
    OFFSET(GPR_RDI, vcpu_gprs, rdi);
    OFFSET(GPR_R8, vcpu_gprs, r8);
    OFFSET(GPR_R9, vcpu_gprs, r9);
    OFFSET(GPR_R10, vcpu_gprs, r10);
    OFFSET(GPR_R11, vcpu_gprs, r11);
    OFFSET(GPR_R12, vcpu_gprs, r12);
    OFFSET(GPR_R13, vcpu_gprs, r13);
    OFFSET(GPR_R14, vcpu_gprs, r14);
    OFFSET(GPR_R15, vcpu_gprs, r15);
    OFFSET(VCPU_BACKEND, vcpu, backend);
    OFFSET(VCPU_REQUESTS, vcpu, entity.requests);
    OFFSET(VCPU_STATS, vcpu, stats);
    OFFSET(VCPU_END_FLAGS, vcpu, end_flags);
    OFFSET(VCPU_PLATFORM, vcpu, platform);
    OFFSET(PLATFORM_PORTS, platform, bus.index);
    VALUE(IO_DIRECT, IO_DIRECT);
    OFFSET(STATS_ENTRIES, abi_vcpu, entries);
    OFFSET(STATS_EXITS, abi_vcpu, exits);
    OFFSET(VCPU_EXIT, vcpu, exit);
    VALUE(EXIT_SIZE, sizeof(struct abi_exit));
    VALUE(EXITS_WRAP_BIT, __builtin_ctzll(ABI_EXITS * sizeof(struct abi_exit)));
    OFFSET(EXIT_TSC, abi_exit, tsc);
    OFFSET(EXIT_ENTRY_TSC, abi_exit, entry_tsc);
    OFFSET(EXIT_RIP, abi_exit, rip);
    OFFSET(EXIT_REASON, abi_exit, reason);
    OFFSET(EXIT_OUTCOME, abi_exit, outcome);
    OFFSET(EXIT_QUALIFICATION, abi_exit, qualification);
    OFFSET(EXIT_DETAIL, abi_exit, detail);
    OFFSET(EXIT_LENGTH, abi_exit, instruction_length);
    VALUE(OUTCOME_SKIP, ABI_OUTCOME_SKIP);
    VALUE(OUTCOME_HALT, ABI_OUTCOME_HALT);
    VALUE(DECODED, EXIT_DECODED);
    VALUE(CPUID_BASIC_MAX, CPUID_BASIC_MAX);
}

/* The management guest's machine: control ABI, ports, time, log. */
#pragma once

#include "arch/cc.h"
#include "hv/abi/call.h"
#include "hv/types.h"
#include "mgmt/pc/pc.h"

static inline uint64_t port_tsc(void)
{
    return __builtin_ia32_rdtsc();
}

/* The page that abi_host() reads; a test on the host has it elsewhere. */
#ifndef PORT_HOST_PAGE
#define PORT_HOST_PAGE ABI_HOST_GPA
#endif

static inline const struct abi_host *abi_host(void)
{
    return (const struct abi_host *)PORT_HOST_PAGE;
}

/* See hv/abi/control.h. */
static inline int64_t abi_call(uint64_t function, uint64_t a, uint64_t b, uint64_t c)
{
    return abi_call_on(abi_host(), function, a, b, c);
}

/* Milliseconds since the machine started. */
uint32_t port_ms(void);
/* Writes a line to the hypervisor's log. */
void port_log(const char *format, ...) PRINTF(1, 2);
/* Interrupt vectors, PIC, the 100 Hz tick. */
void port_start(void);
/* Tells the root that this guest is alive, at most every 250 ms. Called from the main loop, and
 * between the steps of long loops. */
void port_beat(void);
/* A computation begins that takes long on a slow machine. For the next ten seconds, or until the
 * main loop continues, the timer's interrupt calls port_beat(). Interrupts are enabled for that;
 * they do not touch what is computed. */
void port_work_long(void);
void port_work_done(void);
/* Sleeps until the next interrupt. */
void port_sleep(void);

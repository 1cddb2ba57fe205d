/* A readable report of why the host stopped. Also implements panic() of hv/panic.h, and
 * arch_reboot() and arch_panic_reboot() of hv/arch.h. */
#pragma once

#include "arch/x86/cpu/trap.h"
#include "hv/types.h"

/* Stops all cores, prints the reason and the state in `f`, halts or resets the machine. */
_Noreturn void dump_frame(const struct trap_frame *f, const char *format, ...) PRINTF(2, 3);

/* True: a core is printing or resetting the machine, and the others must stop. */
bool dump_in_progress(void);
/* Leaves this core's state for the printing core and halts. */
_Noreturn void dump_stop_self(const struct trap_frame *f);

/* The SDM's name of an exception, with its mnemonic. */
const char *dump_trap_name(uint64_t vector);

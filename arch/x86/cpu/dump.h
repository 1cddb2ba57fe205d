/* The end: a readable account of why the host stopped. panic() of hv/panic.h is implemented here
 * too. */
#pragma once

#include "arch/x86/cpu/trap.h"
#include "hv/types.h"

/* Stops all cores, prints the reason and the state in `f`, halts. */
_Noreturn void dump_frame(const struct trap_frame *f, const char *format, ...) PRINTF(2, 3);

/* A core is printing; the others are to stop. */
bool dump_in_progress(void);
/* Leaves this core's state for the printing core and halts. */
_Noreturn void dump_stop_self(const struct trap_frame *f);

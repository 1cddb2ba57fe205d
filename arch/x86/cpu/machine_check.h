/* Machine checks. SDM 3B "Machine-Check Architecture". */
#pragma once

#include "hv/types.h"

/* Lets every error of the calling core's banks be reported; CR4.MCE decides whether it stops the
 * machine. What firmware has logged stays. */
void machine_check_enable(void);

/* For a machine check during a guest: true if the guest caused it by its page tables alone, and its
 * state is lost, but not the machine's. Then it is acknowledged. */
bool machine_check_is_guests(void);

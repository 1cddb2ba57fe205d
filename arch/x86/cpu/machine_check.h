/* Machine checks. SDM 3B "Machine-Check Architecture". */
#pragma once

/* Lets every error of the calling core's banks be reported; CR4.MCE decides whether it stops the
 * machine. What firmware has logged stays. */
void machine_check_enable(void);

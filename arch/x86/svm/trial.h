/* Whether a physical interrupt ends a guest that has interrupts off. */
#pragma once

#include "hv/types.h"

/* Tries it with a guest of a few instructions, which ends by itself. Boot core, with SVM on and the
 * local APIC's timer calibrated. */
bool svm_interrupts_end_guests(void);

/* arch/x86/svm/vcpu_state.h on the build machine: what only the root may execute goes to a model of
 * the core. The source variant svm/ is compiled with this. */
#pragma once

#include "arch/x86/cpu/machine_check.h"
#include "arch/x86/cpu/trap.h"

struct svm_core_model {
    uint64_t dr[4], cr2, xcr0, tsc_aux;
    unsigned irq_windows, machine_checks;
    bool machine_check_is_guests;
};
extern struct svm_core_model svm_core_model;

#define read_breakpoint(n)        svm_core_model.dr[n]
#define write_breakpoint(n, v)    (svm_core_model.dr[n] = (v))
#define write_cr2(v)              (svm_core_model.cr2 = (v))
#define read_xcr0()               svm_core_model.xcr0
#define write_xcr0(v)             (svm_core_model.xcr0 = (v))
#define rdmsr(number)             svm_core_model.tsc_aux
#define trap_host_machine_check() (svm_core_model.machine_checks++)
#define machine_check_is_guests() svm_core_model.machine_check_is_guests
#include "arch/x86/svm/vcpu_state.h"

/* Exit codes as rows of a table: of handlers, of counters, of names. Pure. */
#pragma once

#include "arch/x86/svm/svm.h"
#include "hv/abi/control.h"

#define SVM_ROWS_DIRECT 0xa8u /* below this an exit code is its row */
#define SVM_ROW_NPF     0xa8u
#define SVM_ROW_OTHER   (ABI_EXIT_REASONS - 1)
_Static_assert(SVM_ROW_NPF < SVM_ROW_OTHER, "each has a row");

static inline unsigned svm_exit_row(uint32_t exitcode)
{
    if (exitcode < SVM_ROWS_DIRECT)
        return exitcode;
    return exitcode == SVM_EXIT_NPF ? SVM_ROW_NPF : SVM_ROW_OTHER;
}

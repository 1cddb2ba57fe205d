/* The vendors' backends: the kernel holds both, and the boot core chooses one. */
#pragma once

#include "hv/virt.h"

extern const struct virt_ops vmx_ops, svm_ops;

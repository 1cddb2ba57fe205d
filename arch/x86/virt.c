#include "arch/x86/virt.h"

#include "hv/lib.h"

const struct virt_ops *virt_select(void)
{
    static const struct virt_ops *const backends[] = {&vmx_ops, &svm_ops};

    for (unsigned i = 0; i < ARRAY_LEN(backends); i++)
        if (backends[i]->present())
            return backends[i];
    (void)vmx_ops.core_probe(0); /* says what is missing */
    return NULL;
}

#include "arch/x86/inspect/decode_vmexit.h"

#include "hv/abi/control.h"
#include "hv/lib.h"

struct row {
    uint32_t code;
    const char *name, *when;
};

#define ONE(first, before, n, behind, when)                                                        \
    {                                                                                              \
        (first) + (n), before #n behind, when                                                      \
    }
#define VMEXIT(code, name, when) {code, #name, when},
#define VMEXIT_16(first, before, behind, when)                                                     \
    ONE(first, before, 0, behind, when), ONE(first, before, 1, behind, when),                      \
        ONE(first, before, 2, behind, when), ONE(first, before, 3, behind, when),                  \
        ONE(first, before, 4, behind, when), ONE(first, before, 5, behind, when),                  \
        ONE(first, before, 6, behind, when), ONE(first, before, 7, behind, when),                  \
        ONE(first, before, 8, behind, when), ONE(first, before, 9, behind, when),                  \
        ONE(first, before, 10, behind, when), ONE(first, before, 11, behind, when),                \
        ONE(first, before, 12, behind, when), ONE(first, before, 13, behind, when),                \
        ONE(first, before, 14, behind, when), ONE(first, before, 15, behind, when),
#define VMEXIT_32(first, before, behind, when)                                                     \
    VMEXIT_16(first, before, behind, when)                                                         \
    ONE(first, before, 16, behind, when), ONE(first, before, 17, behind, when),                    \
        ONE(first, before, 18, behind, when), ONE(first, before, 19, behind, when),                \
        ONE(first, before, 20, behind, when), ONE(first, before, 21, behind, when),                \
        ONE(first, before, 22, behind, when), ONE(first, before, 23, behind, when),                \
        ONE(first, before, 24, behind, when), ONE(first, before, 25, behind, when),                \
        ONE(first, before, 26, behind, when), ONE(first, before, 27, behind, when),                \
        ONE(first, before, 28, behind, when), ONE(first, before, 29, behind, when),                \
        ONE(first, before, 30, behind, when), ONE(first, before, 31, behind, when),

static const struct row table[] = {
#include "arch/x86/inspect/vmexit_codes.def"
};

static const struct row *find(uint64_t code)
{
    for (unsigned i = 0; i < ARRAY_LEN(table); i++)
        if (table[i].code == (uint32_t)code)
            return &table[i];
    return NULL;
}

const char *vmexit_name(uint64_t code)
{
    const struct row *r = find(code);

    return r ? r->name : "UNDEFINED";
}

const char *vmexit_when(uint64_t code)
{
    const struct row *r = find(code);

    return r ? r->when : "";
}

bool vmexit_of_counter(uint32_t counter, uint32_t *code)
{
    if (counter > ABI_SVM_EXIT_NPF)
        return false;
    *code = counter < ABI_SVM_LOW_END ? counter : ABI_SVM_NPF;
    return true;
}

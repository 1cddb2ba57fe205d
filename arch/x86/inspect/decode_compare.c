#include "arch/x86/inspect/decode_compare.h"

#include "arch/x86/inspect/vmcb_fields.h"
#include "hv/lib.h"

#define COMPARE_TOPIC(text)       {.topic = text},
#define COMPARE(vmcs, vmcb, note) {NULL, VMCS_ROW_##vmcs, VMCB_ROW_##vmcb, "", "", note},
#define COMPARE_VMCS(vmcs, note)  {NULL, VMCS_ROW_##vmcs, COMPARE_NONE, "", "", note},
#define COMPARE_VMCB(vmcb, note)  {NULL, COMPARE_NONE, VMCB_ROW_##vmcb, "", "", note},
#define COMPARE_BIT(vmcs, vmcs_bit, vmcb, vmcb_bit, note)                                          \
    {NULL, VMCS_ROW_##vmcs, VMCB_ROW_##vmcb, #vmcs_bit, #vmcb_bit, note},

static const struct compare table[] = {
#include "arch/x86/inspect/compare.def"
};

unsigned compare_count(void)
{
    return ARRAY_LEN(table);
}

const struct compare *compare_row(unsigned n)
{
    return n < ARRAY_LEN(table) ? &table[n] : NULL;
}

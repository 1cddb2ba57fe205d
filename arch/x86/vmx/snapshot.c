/* Reads every VMCS field that this CPU has. */
#include "arch/x86/cpu/regs.h"
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/arch.h"
#include "hv/lib.h"

/* The rows that this machine has (all cores are alike), determined once. */
static struct {
    bool known;
    uint16_t row[VMCS_ROWS], encoding[VMCS_ROWS];
    unsigned count;
    uint64_t present[ARRAY_LEN(((struct abi_vmcs *)0)->present)];
} fields;

/* The table says what should exist, but the CPU decides. Two cores at once write the same. */
static void find_fields(void)
{
    unsigned n = 0;

    for (unsigned row = 0; row < VMCS_ROWS; row++) {
        const struct vmcs_field *f = vmcs_field(row);
        uint64_t value;

        if (!vmcs_field_exists(f, vmx_caps_common()) || !vmread_try(f->encoding, &value))
            continue;
        fields.row[n] = (uint16_t)row;
        fields.encoding[n++] = f->encoding;
        fields.present[row / 64] |= 1ull << (row % 64);
    }
    fields.count = n;
    __atomic_store_n(&fields.known, true, __ATOMIC_RELEASE);
}

void vmx_prepare_snapshots(void)
{
    static uint8_t region[PAGE_SIZE] __attribute__((aligned(4096)));
    uint32_t revision = (uint32_t)(vmx_caps_common()->basic & VMX_BASIC_REVISION_MASK);

    memcpy(region, &revision, sizeof(revision));
    if (vmclear((uintptr_t)region) || vmptrld((uintptr_t)region))
        return;
    find_fields();
    (void)!vmclear((uintptr_t)region);
}

/* Reads directly into place: see vmx_read_fields(). */
static inline void read_field(struct abi_vmcs *out, unsigned i)
{
    bool failed;

    __asm__ volatile("vmread %2, %0"
                     : "=m"(out->value[fields.row[i]]), "=@ccna"(failed)
                     : "r"((uint64_t)fields.encoding[i]));
    if (__builtin_expect(failed, 0))
        panic("VMREAD of an existing field failed");
}

/* In one go, since the vCPU may be live, while others wait: unrolled by eight, which takes half the
 * time. */
void vmx_read_fields(struct abi_vmcs *out)
{
    unsigned i = 0, count;

    if (!__atomic_load_n(&fields.known, __ATOMIC_ACQUIRE))
        find_fields();
    count = fields.count;
    memcpy(out->present, fields.present, sizeof(out->present));
    for (; i + 8 <= count; i += 8) {
        read_field(out, i);
        read_field(out, i + 1);
        read_field(out, i + 2);
        read_field(out, i + 3);
        read_field(out, i + 4);
        read_field(out, i + 5);
        read_field(out, i + 6);
        read_field(out, i + 7);
    }
    for (; i < count; i++)
        read_field(out, i);
}

void vmx_read_state(struct vcpu *v, struct abi_snapshot *s)
{
    vmx_load(v->backend);
    s->kind = ABI_STATE_VMX;
    s->count = VMCS_ROWS;
    s->cr2 = read_cr2(); /* loaded: the guest's */
    vmx_read_fields(&s->vmcs);
}

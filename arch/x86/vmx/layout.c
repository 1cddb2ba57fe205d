/*
 * Finds where this CPU keeps a field in the VMCS region. The SDM leaves that to the implementation,
 * but VMCLEAR writes everything to memory. So write the field with a marker, then with its
 * complement: the bytes that differ are the field's.
 */
#include "arch/x86/vmx/vcpu.h"
#include "arch/x86/vmx/vmcs.h"
#include "hv/exit.h"
#include "hv/job.h"
#include "hv/lib.h"

#define MARKER       0x5ac3e19674b80fd2ull /* no two bytes alike, none a complement of another */
#define MISC_WRITE   (1ull << 29)          /* VMWRITE can write read-only fields */
#define REST         512u                  /* bytes compared between two rests */
#define FIRST_OFFSET 8u                    /* revision and VMX-abort indicator */

static bool writable(const struct vmcs_field *f)
{
    return vmcs_encoded_group(f->encoding) != VMCS_GROUP_READ_ONLY ||
           (vmx_caps_common()->misc & MISC_WRITE);
}

static unsigned field_bytes(const struct vmcs_field *f)
{
    switch (vmcs_encoded_width(f->encoding)) {
    case VMCS_WIDTH_16:
        return 2;
    case VMCS_WIDTH_32:
        return 4;
    default:
        return 8;
    }
}

/* Makes a region as VMCLEAR leaves it after a write of this field only. */
static bool write_region(uint8_t *region, uint32_t encoding, uint64_t value)
{
    uint32_t revision = (uint32_t)(vmx_caps_common()->basic & VMX_BASIC_REVISION_MASK);
    bool failed;

    memset(region, 0, PAGE_SIZE);
    memcpy(region, &revision, sizeof(revision));
    if (vmclear((uintptr_t)region) || vmptrld((uintptr_t)region))
        return false;
    __asm__ volatile("vmwrite %1, %2"
                     : "=@ccna"(failed)
                     : "r"(value), "r"((uint64_t)encoding)
                     : "memory");
    return vmclear((uintptr_t)region) == 0 && !failed;
}

/* Compares two regions: the bytes from the first to the last that differ. */
static void find_difference(const uint8_t *a, const uint8_t *b, unsigned *offset, unsigned *size)
{
    const uint64_t *qa = (const uint64_t *)(const void *)a, *qb = (const uint64_t *)(const void *)b;
    unsigned first = FIRST_OFFSET, last = PAGE_SIZE;

    for (; first < PAGE_SIZE && qa[first / 8] == qb[first / 8]; first += 8)
        if (first % REST == 0)
            job_rest();
    for (; last > first && qa[last / 8 - 1] == qb[last / 8 - 1]; last -= 8)
        if (last % REST == 0)
            job_rest();
    while (first < PAGE_SIZE && a[first] == b[first])
        first++;
    while (last > first && a[last - 1] == b[last - 1])
        last--;
    *offset = first < PAGE_SIZE ? first : 0;
    *size = last - first;
}

/* Rests with the core's own VMCS current. It was never cleared, so its vCPU continues where it was.
 */
static void rest(unsigned core)
{
    vmx_reload(core);
    job_rest();
}

static int64_t probe(unsigned core, uint8_t *region, uint8_t *copy, const struct vmcs_field *f)
{
    unsigned bytes = field_bytes(f), offset, size;
    const uint64_t marker = MARKER, complement = ~marker;
    enum abi_stored stored = ABI_STORED_TRANSFORMED;

    if (!write_region(region, f->encoding, marker))
        return -E_NOENT;
    rest(core);
    job_copy(copy, region, PAGE_SIZE);
    if (!write_region(region, f->encoding, complement))
        return -E_NOENT;
    rest(core);
    find_difference(copy, region, &offset, &size);
    if (size == 0)
        stored = ABI_STORED_NOT_FOUND;
    else if (size == bytes && memcmp(copy + offset, &marker, bytes) == 0 &&
             memcmp(region + offset, &complement, bytes) == 0)
        stored = ABI_STORED_VERBATIM;
    return (int64_t)(offset | size << 16 | (uint64_t)stored << 32);
}

int64_t vmx_probe_field(struct vcpu *v, uint64_t row)
{
    struct vmx_vcpu *x = v->backend;
    const struct vmcs_field *f = row < VMCS_ROWS ? vmcs_field((unsigned)row) : NULL;
    int64_t result;

    if (!f || !vmcs_field_exists(f, vmx_caps_common()) || !writable(f))
        return -E_NOENT;
    if (!x->scratch)
        x->scratch = guest_alloc_page(v->guest);
    if (!x->scratch_copy)
        x->scratch_copy = guest_alloc_page(v->guest);
    if (!x->scratch || !x->scratch_copy)
        return -E_NOMEM;
    result = probe(v->entity.core, x->scratch, x->scratch_copy, f);
    vmx_reload(v->entity.core);
    return result;
}

/* SOURCES: hv/gmem.c arch/x86/guest/exits.c arch/x86/guest/apic.c arch/x86/guest/cr.c
 * arch/x86/guest/events.c arch/x86/guest/mmio.c arch/x86/guest/access.c arch/x86/guest/fetch.c
 * arch/x86/guest/decode.c arch/x86/guest/emulate.c arch/x86/guest/alu.c arch/x86/guest/operand.c
 * arch/x86/guest/linear.c arch/x86/guest/breakpoints.c arch/x86/guest/cpuid.c arch/x86/guest/msr.c
 * arch/x86/guest/kvm_clock.c arch/x86/guest/segment.c arch/x86/guest/paging.c hv/exit.c @pc
 * hv/fmt.c hv/lib.c */
/*
 * Accesses outside a guest's RAM, by arbitrary instructions in arbitrary states: registers,
 * segments and page tables. Input: struct input, then instruction bytes. Each is done twice, the
 * second time with the instruction known from the first: nothing may differ.
 */
#include "test/unit/vcpu_fixture.h"

#define REGISTERS 0x20000ull
#define TABLES    0x4000u

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct input {
    uint8_t how, rights, cpl, flags;
    uint16_t rip, limit, base;
    uint8_t entries[8];
    uint32_t gprs[8];
};

static unsigned accesses;
static uint64_t digest;

static uint64_t device_read(void *dev, uint64_t offset, unsigned size)
{
    (void)dev;
    accesses++;
    digest = digest * 31 + offset * 8 + size;
    return digest;
}

static void device_write(void *dev, uint64_t offset, unsigned size, uint64_t value)
{
    (void)dev;
    accesses++;
    digest = digest * 31 + offset * 8 + size + value;
}

static void must(bool good)
{
    if (!good)
        abort();
}

/* The first eight pages, by entries of the input, then the registers. */
static void page_tables(const struct input *in, bool wide)
{
    for (unsigned i = 0; i < 3 && wide; i++) {
        uint64_t entry = (TABLES + 0x1000 * (i + 1)) | 7;

        memcpy(guest.mem.base + TABLES + 0x1000 * i, &entry, 8);
    }
    for (unsigned i = 0; i < 9; i++) {
        uint64_t entry = i < 8 ? (i * PAGE_SIZE) | (in->entries[i] & 0x67) : REGISTERS | 7;

        if (i < 8 && (in->entries[i] & 0x98) == 0x98)
            entry |= wide ? 1ull << 63 : 0x80;
        memcpy(guest.mem.base + TABLES + (wide ? 0x3000 : 0x1000) + (wide ? 8 : 4) * i, &entry,
               wide ? 8 : 4);
    }
    if (!wide) {
        const uint32_t first = TABLES + 0x1007;

        memcpy(guest.mem.base + TABLES, &first, 4);
    }
    state.cr3 = TABLES;
    state.cr0 |= CR0_PG | (in->how & 0x40 ? CR0_WP : 0);
}

static void set_state(const struct input *in)
{
    bool wide = (in->how & 3) == 3, paging = wide || (in->how & 0x20);
    uint64_t *gprs = &v->regs.rax;

    /* Numbers, and addresses of the registers. */
    for (unsigned i = 0; i < 8; i++)
        gprs[i] = in->gprs[i] & 1
                      ? in->gprs[i] >> 1
                      : (paging ? 8 * PAGE_SIZE : REGISTERS) + (in->gprs[i] >> 1 & 0xfff);
    record.rip = in->rip % 0x3000;
    state.cpl = in->cpl & 3;
    state.rflags = RFLAGS_FIXED | ((uint64_t)in->flags << 4 & (RFLAGS_DF | RFLAGS_TF | RFLAGS_IF)) |
                   (in->cpl & 4 ? RFLAGS_AC : 0);
    state.cr0 |= in->cpl & 8 ? CR0_AM : 0;
    state.segment[SEGMENT_DS].limit = in->how & 0x10 ? in->limit : UINT32_MAX;
    state.segment[SEGMENT_ES].rights = 0x80u | in->rights | SEGMENT_RIGHTS_DB;
    state.segment[SEGMENT_FS].base = in->base;
    if ((in->how & 3) == 1)
        state.segment[SEGMENT_CS].rights &= ~SEGMENT_RIGHTS_DB;
    if ((in->how & 3) == 2)
        state.cr0 &= ~CR0_PE;
    if (wide) {
        state.efer = EFER_LME | EFER_LMA | EFER_NXE;
        state.cr4 |= CR4_PAE | (in->how & 0x80 ? CR4_SMEP | CR4_SMAP : 0);
        state.segment[SEGMENT_CS].rights = 0x9b | SEGMENT_RIGHTS_L;
    }
    if (paging)
        page_tables(in, wide);
}

struct result {
    enum exit_action action;
    unsigned accesses;
    uint64_t digest, rflags, cr2;
    uint32_t event, error;
    struct vcpu_gprs regs;
    uint8_t memory[MEMORY];
};

static void run(struct result *r)
{
    struct memory_access m = {REGISTERS, 8 * PAGE_SIZE, state.cr0 & CR0_PG, false};

    accesses = 0;
    digest = 0;
    *r = (struct result){.action = x86_mmio(v, &m, NEVER)};
    r->accesses = accesses;
    r->digest = digest;
    r->rflags = state.rflags;
    r->cr2 = state.cr2;
    r->event = state.event;
    r->error = state.error;
    r->regs = v->regs;
    memcpy(r->memory, guest.mem.base, MEMORY);
}

static void check(const struct result *r, const struct vcpu_gprs *before, uint64_t rflags)
{
    bool done = r->action == EXIT_SKIP_DECODED || r->action == EXIT_DONE_DECODED;
    uint8_t length = state.x86.decoded.in.length;

    must(done || r->action == EXIT_RESUME || r->action == EXIT_STOP);
    must(!done || (length && length <= 15 && !(r->rflags & RFLAGS_RF)));
    if (r->event && !state.x86.decoded.in.rep && !state.x86.decoded.in.repne) {
        must(r->accesses == 0 && memcmp(&r->regs, before, sizeof(*before)) == 0);
        must((r->rflags | RFLAGS_RF) == (rflags | RFLAGS_RF));
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct mmio_ops ops = {device_read, device_write, 8};
    static struct result first, second;
    static uint8_t memory[MEMORY];
    struct fake_state was;
    struct vcpu_gprs before;
    struct input in;

    if (size < sizeof(in))
        return 0;
    memcpy(&in, data, sizeof(in));
    (void)fixture_vcpu(NULL);
    must(mmio_claim(&guest.platform.bus, REGISTERS, PAGE_SIZE, &ops, &digest) == 0);
    memset(guest.mem.base, 0x5a, 0x3000);
    set_state(&in);
    memcpy(guest.mem.base + record.rip, data + sizeof(in), min_u64(size - sizeof(in), 16));
    before = v->regs;
    was = state;
    memcpy(memory, guest.mem.base, MEMORY);
    run(&first);
    check(&first, &before, was.rflags);
    was.x86.decoded = state.x86.decoded;
    state = was;
    v->regs = before;
    v->stop = false;
    memcpy(guest.mem.base, memory, MEMORY);
    run(&second);
    must(memcmp(&first, &second, sizeof(first)) == 0);
    (void)fixture_end(NULL);
    return 0;
}

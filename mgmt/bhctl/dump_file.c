#include "mgmt/bhctl/dump_file.h"

#include <elf.h>
#include <string.h>

#define CR0_PG       (1ull << 31)
#define CR4_PSE      (1ull << 4)
#define CR4_PAE      (1ull << 5)
#define CR4_LA57     (1ull << 12)
#define EFER_LMA     (1ull << 10)
#define PRESENT      1u
#define LARGE        (1u << 7)
#define ADDRESS      0x000ffffffffff000ull
#define TABLES_MAX   65536u /* of a guest whose tables point at each other */

/* Linux's struct elf_prstatus, of which gdb takes the thread's number and the registers. */
#define LONG_STATUS  336u
#define LONG_PID     32u
#define LONG_REGS    112u
#define SHORT_STATUS 144u
#define SHORT_PID    24u
#define SHORT_REGS   72u

struct walk {
    struct dump_file *f;
    dump_read *read;
    void *ctx;
    unsigned tables;
};

/* ---- which memory is where ---- */

static bool is_ram(const struct dump_file *f, uint64_t gpa)
{
    if (gpa < DUMP_HOLE)
        return gpa < f->memory;
    return gpa >= DUMP_HIGH && dump_offset(gpa) < f->memory;
}

/* A part of an entry's page, which may reach beyond RAM. */
static void add(struct dump_file *f, uint64_t at, uint64_t gpa, uint64_t size)
{
    struct dump_range *last = f->range_count ? &f->ranges[f->range_count - 1] : NULL;
    uint64_t end = gpa < DUMP_HOLE && f->memory > DUMP_HOLE ? DUMP_HOLE : f->memory;

    if (!is_ram(f, gpa))
        return;
    if (gpa >= DUMP_HIGH)
        end += DUMP_HIGH - DUMP_HOLE;
    if (size > end - gpa)
        size = end - gpa;
    if (last && last->at + last->size == at && last->gpa + last->size == gpa)
        last->size += size;
    else if (f->range_count == DUMP_RANGES_MAX)
        f->cut = true;
    else
        f->ranges[f->range_count++] = (struct dump_range){at, gpa, size};
}

/* Bits 47 and 63:48 of an address are alike; with five levels 56 and 63:57. */
static uint64_t canonical(uint64_t at, unsigned bits)
{
    return bits < 48 || !(at >> (bits - 1) & 1) ? at : at | ~0ull << bits;
}

/* A table of `entries`, whose entries stand for 2^shift bytes each. */
struct level {
    unsigned shift, bits; /* bits: of the index */
    bool large;           /* an entry may be a page */
};

static uint64_t entry_of(struct walk *w, uint64_t table, unsigned i, bool wide)
{
    uint64_t word = 0;

    if (!w->read(w->ctx, table + (wide ? i * 8 : i / 2 * 8), &word))
        return 0;
    return wide ? word : i % 2 ? word >> 32 : (uint32_t)word;
}

static uint64_t page_of(uint64_t entry, unsigned shift, bool wide)
{
    uint64_t page = entry & ADDRESS & (~0ull << shift);

    if (!wide && shift == 22) /* SDM 3A "32-Bit Paging": bits 20:13 are bits 39:32 */
        page |= (entry >> 13 & 0xff) << 32;
    return page;
}

/* Levels from the outermost one on. Recursion: five at most. */
static void walk(struct walk *w, const struct level *l, unsigned left, uint64_t table, uint64_t at,
                 unsigned width, bool wide)
{
    if (w->tables++ == TABLES_MAX)
        w->f->cut = true;
    for (unsigned i = 0; i < 1u << l->bits && !w->f->cut; i++) {
        uint64_t entry = entry_of(w, table, i, wide);
        uint64_t here = at + ((uint64_t)i << l->shift);

        if (!(entry & PRESENT))
            continue;
        if (left == 1 || (l->large && (entry & LARGE)))
            add(w->f, canonical(here, width), page_of(entry, l->shift, wide), 1ull << l->shift);
        else
            walk(w, l + 1, left - 1, entry & ADDRESS, here, width, wide);
    }
}

static void by_tables(struct walk *w, const struct dump_vcpu *v)
{
    static const struct level four[] = {
        {48, 9, false}, {39, 9, false}, {30, 9, true}, {21, 9, true}, {12, 9, false}};
    static const struct level pae[] = {{30, 2, false}, {21, 9, true}, {12, 9, false}};
    const struct level two[] = {{22, 10, v->cr4 & CR4_PSE}, {12, 10, false}};
    bool five = v->cr4 & CR4_LA57;

    if (v->efer & EFER_LMA)
        walk(w, five ? four : four + 1, five ? 5 : 4, v->cr3 & ADDRESS, 0, five ? 57 : 48, true);
    else if (v->cr4 & CR4_PAE)
        walk(w, pae, 3, v->cr3 & 0xffffffe0u, 0, 32, true);
    else
        walk(w, two, 2, v->cr3 & 0xfffff000u, 0, 32, false);
}

void dump_find_ranges(struct dump_file *f, dump_read *read, void *ctx)
{
    struct walk w = {.f = f, .read = read, .ctx = ctx};
    const struct dump_vcpu *v = &f->vcpus[0];

    f->range_count = 0;
    f->cut = false;
    f->is_long = (f->vcpu_count && (v->efer & EFER_LMA)) || f->memory > DUMP_HOLE;
    if (f->vcpu_count && (v->cr0 & CR0_PG)) {
        by_tables(&w, v);
        return;
    }
    add(f, 0, 0, DUMP_HOLE);
    add(f, DUMP_HIGH, DUMP_HIGH, f->memory);
}

/* ---- the file ---- */

static void put(uint8_t *to, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> 8 * i);
}

static void put_status(const struct dump_file *f, unsigned n, uint8_t *desc)
{
    const struct dump_vcpu *v = &f->vcpus[n];
    const uint64_t all = ~0ull; /* orig_rax: no system call */
    const uint64_t long_regs[] = {
        v->r[7],   v->r[6], v->r[5], v->r[4],    v->rbp,     v->rbx, v->r[3], v->r[2], v->r[1],
        v->r[0],   v->rax,  v->rcx,  v->rdx,     v->rsi,     v->rdi, all,     v->rip,  v->cs,
        v->rflags, v->rsp,  v->ss,   v->fs_base, v->gs_base, v->ds,  v->es,   v->fs,   v->gs};
    const uint64_t short_regs[] = {v->rbx, v->rcx, v->rdx,    v->rsi, v->rdi, v->rbp,
                                   v->rax, v->ds,  v->es,     v->fs,  v->gs,  all,
                                   v->rip, v->cs,  v->rflags, v->rsp, v->ss};
    const uint64_t *regs = f->is_long ? long_regs : short_regs;
    unsigned count = f->is_long ? sizeof(long_regs) / 8 : sizeof(short_regs) / 8;
    unsigned word = f->is_long ? 8 : 4;

    put(desc + (f->is_long ? LONG_PID : SHORT_PID), n + 1, 4);
    desc += f->is_long ? LONG_REGS : SHORT_REGS;
    for (unsigned i = 0; i < count; i++)
        put(desc + i * word, regs[i], word);
}

/* Returns the number of bytes. */
static size_t put_notes(const struct dump_file *f, uint8_t *out)
{
    unsigned size = f->is_long ? LONG_STATUS : SHORT_STATUS;
    size_t at = 0;

    for (unsigned i = 0; i < f->vcpu_count; i++) {
        put(out + at, 5, 4); /* "CORE" */
        put(out + at + 4, size, 4);
        put(out + at + 8, NT_PRSTATUS, 4);
        memcpy(out + at + 12, "CORE\0\0\0", 8);
        put_status(f, i, out + at + 20);
        at += 20 + size;
    }
    return at;
}

static void put_segment(const struct dump_file *f, uint8_t *out, uint32_t type, uint64_t offset,
                        const struct dump_range *r)
{
    if (f->is_long) {
        const Elf64_Phdr p = {.p_type = type,
                              .p_flags = PF_R | PF_W | PF_X,
                              .p_offset = offset,
                              .p_vaddr = r->at,
                              .p_paddr = r->gpa,
                              .p_filesz = r->size,
                              .p_memsz = type == PT_NOTE ? 0 : r->size};

        memcpy(out, &p, sizeof(p));
    } else {
        const Elf32_Phdr p = {.p_type = type,
                              .p_flags = PF_R | PF_W | PF_X,
                              .p_offset = (Elf32_Off)offset,
                              .p_vaddr = (Elf32_Addr)r->at,
                              .p_paddr = (Elf32_Addr)r->gpa,
                              .p_filesz = (Elf32_Word)r->size,
                              .p_memsz = type == PT_NOTE ? 0 : (Elf32_Word)r->size};

        memcpy(out, &p, sizeof(p));
    }
}

static void put_ident(const struct dump_file *f, uint8_t *out)
{
    memcpy(out, ELFMAG, SELFMAG);
    out[EI_CLASS] = f->is_long ? ELFCLASS64 : ELFCLASS32;
    out[EI_DATA] = ELFDATA2LSB;
    out[EI_VERSION] = EV_CURRENT;
}

static void put_header(const struct dump_file *f, uint8_t *out)
{
    Elf64_Ehdr e = {.e_type = ET_CORE,
                    .e_machine = EM_X86_64,
                    .e_version = EV_CURRENT,
                    .e_phoff = sizeof(Elf64_Ehdr),
                    .e_ehsize = sizeof(Elf64_Ehdr),
                    .e_phentsize = sizeof(Elf64_Phdr),
                    .e_phnum = (Elf64_Half)(1 + f->range_count)};
    Elf32_Ehdr s = {.e_type = ET_CORE,
                    .e_machine = EM_386,
                    .e_version = EV_CURRENT,
                    .e_phoff = sizeof(Elf32_Ehdr),
                    .e_ehsize = sizeof(Elf32_Ehdr),
                    .e_phentsize = sizeof(Elf32_Phdr),
                    .e_phnum = (Elf32_Half)(1 + f->range_count)};

    put_ident(f, f->is_long ? e.e_ident : s.e_ident);
    memcpy(out, f->is_long ? (const void *)&e : &s, f->is_long ? sizeof(e) : sizeof(s));
}

void dump_put_head(const struct dump_file *f, uint8_t *out)
{
    size_t head = f->is_long ? sizeof(Elf64_Ehdr) : sizeof(Elf32_Ehdr);
    size_t each = f->is_long ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
    size_t notes = head + (1 + f->range_count) * each;
    struct dump_range r = {0};

    _Static_assert(sizeof(Elf64_Ehdr) + (1 + DUMP_RANGES_MAX) * sizeof(Elf64_Phdr) +
                           DUMP_VCPUS_MAX * (20 + LONG_STATUS) <
                       DUMP_MEMORY_AT,
                   "everything has room before the memory");
    memset(out, 0, DUMP_MEMORY_AT);
    put_header(f, out);
    r.size = put_notes(f, out + notes);
    put_segment(f, out + head, PT_NOTE, notes, &r);
    for (unsigned i = 0; i < f->range_count; i++)
        put_segment(f, out + head + (1 + i) * each, PT_LOAD,
                    DUMP_MEMORY_AT + dump_offset(f->ranges[i].gpa), &f->ranges[i]);
}

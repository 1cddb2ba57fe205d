/* SOURCES: hv/gmem.c arch/x86/guest/string_io.c arch/x86/guest/segment.c arch/x86/guest/paging.c
 * hv/pc/bus.c hv/lib.c */
/* Arbitrary page tables and segments of a guest, as the root uses them for INS and OUTS: memory is
 * exactly as large as the guest's, and only accessed and dirty bits and the elements themselves may
 * change. */
#include "arch/x86/guest/string_io.h"

#include "arch/x86/cpu/msr.h"
#include "arch/x86/cpu/regs.h"
#include "test/fuzz/sequence.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY   0x8000u
#define PORT     0x300u
#define ELEMENTS 64u
#define GOES_ON  300u

static uint64_t walks, elements;
static uint8_t *memory, before[MEMORY];

static void must(bool is, const char *what)
{
    if (is)
        return;
    fprintf(stderr, "page_walk: %s\n", what);
    abort();
}

static uint32_t port_in(void *dev, uint16_t port, unsigned size)
{
    (void)dev;
    must(port == PORT && (size == 1 || size == 2 || size == 4), "another port");
    return 0xa5a5a5a5;
}
static void port_out(void *dev, uint16_t port, unsigned size, uint32_t value)
{
    (void)dev;
    (void)value;
    must(port == PORT && (size == 1 || size == 2 || size == 4), "another port");
}

/* Entries that point to other entries, with some bits from the input. */
static void fill(void)
{
    uint64_t spread = byte();

    for (unsigned at = 0; at < MEMORY; at += 8) {
        uint64_t e = ((at * 0x9e37u + spread * 0x1000u) & 0x7000u) | 0x7;

        memcpy(memory + at, &e, 8);
    }
    for (unsigned i = byte() & 31; i > 0; i--) {
        uint64_t e = number(2) << 48 | (uint64_t)byte() << 12 | number(2),
                 at = (number(2) & (MEMORY - 1)) & ~7ull;

        memcpy(memory + at, &e, 8);
    }
}

static struct paging registers(uint8_t how)
{
    struct paging p = {
        .cr0 = CR0_PE | (how & 1 ? CR0_PG : 0) | (how & 2 ? CR0_WP : 0) | (how & 64 ? CR0_AM : 0),
        .cr3 = number(2) << 12 | byte(),
        .cr4 = (how & 4 ? CR4_PAE : 0) | (how & 8 ? CR4_PSE : 0) | (how & 16 ? CR4_SMAP : 0),
        .efer = how & 32 ? EFER_NXE : 0,
        .cpl = how & 128 ? 3 : 0,
        .ac = how & 2,
        .physical_width = 32 + byte() % 21,
    };

    p.cr3 &= how & 128 ? 0x7fff : UINT64_MAX;
    if (how & 4 && byte() & 1)
        p.efer |= EFER_LMA;
    for (unsigned i = 0; i < 4; i++)
        p.pdpte[i] = number(2);
    return p;
}

/* A walk may only set accessed and dirty bits, and change nothing without paging. */
static void check_walk(const struct paging *p, int rc, uint64_t linear, uint64_t gpa,
                       uint32_t error, bool write)
{
    must(rc == 0 || rc == -E_PERM || rc == -E_RANGE, "another result");
    must(rc != -E_RANGE || gpa + 4 > MEMORY, "an entry in the guest's memory is not");
    must(rc != 0 || gpa % 4096 == linear % 4096, "another place in the page");
    must(rc != 0 || gpa < 1ull << 52, "an address that no CPU has");
    must(rc == 0 || (p->cr0 & CR0_PG), "a fault without paging");
    must(!(error & PF_WRITE) == !write && !(error & PF_USER) == (p->cpl != 3),
         "another error code");
    for (unsigned at = 0; at < MEMORY; at += 4) {
        uint32_t now, then, d;

        memcpy(&now, memory + at, 4);
        memcpy(&then, before + at, 4);
        d = now ^ then;
        if (d == 0)
            continue;
        must(!(d & ~0x60u) && !(then & d), "more than accessed and dirty bits");
        must(!(d & 0x40) || write, "dirty by reading");
        must(then & 1, "an entry that is not present");
    }
}

static void walk(const struct gmem *mem)
{
    struct paging p = registers(byte());
    uint64_t linear = number(6), gpa = 0;
    uint32_t error = 0;
    bool write = byte() & 1;
    int rc;

    if (!(p.efer & EFER_LMA))
        linear = (uint32_t)linear;
    memcpy(before, memory, MEMORY);
    rc = paging_translate(&p, mem, linear, write ? PF_WRITE : 0, &gpa, &error);
    walks++;
    check_walk(&p, rc, linear, gpa, error, write);
}

static void move(const struct gmem *mem, const struct io_bus *bus)
{
    static const unsigned sizes[] = {1, 2, 4, 4}, addresses[] = {2, 4, 8, 8};
    uint8_t how = byte();
    struct string_io s = {
        .port = PORT,
        .size = sizes[how & 3],
        .in = how & 4,
        .rep = how & 8,
        .down = how & 16,
        .address_bytes = addresses[how >> 5 & 3],
        .segment_id = (enum segment_id)(byte() % 6),
        .mode = (enum segment_mode)(byte() % 3),
        .segment = {number(how & 128 ? 4 : 1), (uint32_t)number(4), (uint32_t)number(3)},
        .paging = registers(byte()),
        .mem = mem,
        .bus = bus,
    };
    uint64_t index = number(how & 128 ? 6 : 2), count = number(1);
    struct guest_fault f = {0};

    for (unsigned i = 0; i < ELEMENTS; i++) {
        uint64_t old = index, was = count;
        enum string_io_result r = string_io_element(&s, &index, &count, &f);

        elements++;
        must(r <= STRING_IO_OUTSIDE, "another result");
        must(r == STRING_IO_MORE || r == STRING_IO_DONE || (index == old && count == was),
             "a fault that moved on");
        must(r != STRING_IO_FAULT || f.vector == 12 || f.vector == 13 || f.vector == 14 ||
                 f.vector == 17,
             "another vector");
        must(r != STRING_IO_MORE || s.rep, "more of one");
        if (r != STRING_IO_MORE)
            break;
    }
}

static void report(void)
{
    fprintf(stderr, "page_walk: %lu walks, %lu elements\n", (unsigned long)walks,
            (unsigned long)elements);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct io_ops ops = {port_in, port_out, 4};
    static struct io_bus bus;
    struct gmem mem;

    if (!memory) {
        memory = aligned_alloc(4096, MEMORY);
        must(memory && io_claim(&bus, PORT, PORT + 3, &ops, NULL) == 0, "no memory");
        (void)atexit(report);
    }
    mem = (struct gmem){.base = memory, .size = MEMORY};
    sequence_begin(data, size, GOES_ON);
    fill();
    do {
        walk(&mem);
        move(&mem, &bus);
    } while (left + more);
    return 0;
}

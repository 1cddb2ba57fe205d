/*
 * For the tests of the guest loaders: an image that is built byte by byte, and guest memory. The
 * loader gets both in heap blocks of exactly their size, so that the sanitizer sees an access
 * beyond either end.
 */
#pragma once

#include "hv/gmem.h"
#include "mgmt/load/loader.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define MEMORY    (4u << 20)
#define IMAGE_MAX (1u << 20)

static struct {
    uint8_t bytes[IMAGE_MAX];
    size_t size;
} image;
static struct load_request request;
static struct gmem mem;
static struct load_plan plan;
static struct load_result out;
static struct load_error error;

/* An image of `size` zeros, and a cleared guest memory of MEMORY bytes. */
static inline void fixture_begin(size_t size)
{
    memset(&image, 0, sizeof(image));
    image.size = size;
    memset(&request, 0, sizeof(request));
    free(mem.base);
    mem = (struct gmem){.base = calloc(1, MEMORY), .size = MEMORY};
    assert_non_null(mem.base);
}

static inline int fixture_end(void **state)
{
    (void)state;
    free(mem.base);
    mem.base = NULL;
    return 0;
}

static inline void put(size_t at, uint64_t value, size_t n)
{
    assert_true(at + n <= IMAGE_MAX);
    memcpy(image.bytes + at, &value, n);
}

static inline void put32(size_t at, uint64_t value)
{
    put(at, value, 4);
}

static inline uint64_t guest_get_value(uint64_t at, size_t n)
{
    uint64_t v = 0;

    assert_true(at <= mem.size && n <= mem.size - at);
    memcpy(&v, mem.base + at, n);
    return v;
}

static inline uint32_t guest32(uint64_t at)
{
    return (uint32_t)guest_get_value(at, 4);
}

static inline uint64_t guest64(uint64_t at)
{
    return guest_get_value(at, 8);
}

static inline void assert_guest_string(uint64_t at, const char *s)
{
    assert_true(at + strlen(s) < mem.size);
    assert_string_equal((const char *)mem.base + at, s);
}

static inline void assert_guest_filled(uint64_t at, uint64_t n, uint8_t with)
{
    assert_true(at <= mem.size && n <= mem.size - at);
    for (uint64_t i = 0; i < n; i++)
        if (mem.base[at + i] != with)
            fail_msg("0x%lx: 0x%x instead of 0x%x", at + i, mem.base[at + i], with);
}

/* Carries out the plan. Every piece must lie within its source and the guest's memory. */
static inline void carry_out(void)
{
    struct load_sizes sizes = {{image.size}};
    const char *what;

    for (unsigned i = 0; i < request.module_count; i++)
        sizes.size[LOAD_FROM_MODULE + i] = request.modules[i].size;
    if (load_plan_check(&plan, &sizes, mem.size, &what))
        fail_msg("the loader's own plan is refused: %s", what);
    for (unsigned i = 0; i < plan.piece_count; i++) {
        const struct load_piece *p = &plan.pieces[i];
        const uint8_t *from = p->source == LOAD_FROM_BYTES   ? plan.bytes
                              : p->source == LOAD_FROM_IMAGE ? image.bytes
                                                             : request.modules[p->source - 1].data;

        assert_int_equal(gmem_write(&mem, gpa(p->address), from + p->offset, p->size), 0);
    }
}

static inline int load(void)
{
    uint8_t *copy = malloc(image.size ? image.size : 1);
    int rc;

    assert_non_null(copy);
    memcpy(copy, image.bytes, image.size);
    request.image.data = copy;
    request.image.size = image.size;
    request.memory = mem.size;
    memset(&plan, 0x5a, sizeof(plan));
    rc = load_guest(&request, &plan, &error);
    out = plan.start;
    free(copy);
    if (rc == 0)
        carry_out();
    return rc;
}

static inline void assert_loads(const char *kind)
{
    int rc = load();

    assert_string_equal(error.text, "");
    assert_int_equal(rc, 0);
    assert_string_equal(out.kind, kind);
}

static inline void assert_refused(int rc, const char *why)
{
    int got = load();

    assert_string_equal(error.text, why);
    assert_int_equal(got, rc);
}

/* The bytes of the plan that are left behind what firmware has, which is the same for the same
 * request. Other loaders' bytes come later. */
static inline size_t room_for_loaders(void)
{
    const struct load_piece *last = &plan.pieces[2];

    (void)load();
    return LOAD_BYTES_MAX - (last->offset + last->size);
}

/* All other general registers must be zero. */
static inline void assert_protected_mode(uint64_t rip, uint16_t cs)
{
    assert_int_equal(out.mode, LOAD_PROT32);
    assert_int_equal(out.rip, rip);
    assert_int_equal(out.cs, cs);
    assert_int_equal(out.ds, 0x18);
    assert_int_equal(out.rcx | out.rdx | out.rdi | out.rbp, 0);
    assert_int_equal(out.gdt_base, LOAD_LOW_END);
    assert_int_equal(out.gdt_limit, 31);
    /* SDM 3A "Segment Descriptors": base 0, limit 4 GB, 32-bit, present, accessed. */
    assert_int_equal(guest64(out.gdt_base), 0);
    assert_int_equal(guest64(out.gdt_base + 8), 0x00cf9b000000ffff);
    assert_int_equal(guest64(out.gdt_base + 0x10), 0x00cf9b000000ffff);
    assert_int_equal(guest64(out.gdt_base + 0x18), 0x00cf93000000ffff);
}

/* An ELF file's header at 0, followed by its program headers. */
static inline void put_elf(bool is64, uint64_t entry, unsigned segments)
{
    memcpy(image.bytes, "\177ELF", 4);
    put(4, is64 ? 2 : 1, 1);
    put(5, 1, 1);
    put(6, 1, 1);
    put(16, 2, 2);             /* ET_EXEC */
    put(18, is64 ? 62 : 3, 2); /* EM_X86_64, EM_386 */
    put(20, 1, 4);
    put(24, entry, is64 ? 8 : 4);
    put(is64 ? 32 : 28, is64 ? 64 : 52, is64 ? 8 : 4); /* e_phoff */
    put(is64 ? 54 : 42, is64 ? 56 : 32, 2);            /* e_phentsize */
    put(is64 ? 56 : 44, segments, 2);                  /* e_phnum */
}

static inline void put_segment64(unsigned i, uint64_t offset, uint64_t paddr, uint64_t filesz,
                                 uint64_t memsz)
{
    size_t at = 64 + 56 * (size_t)i;

    put(at, 1, 4); /* PT_LOAD */
    put(at + 8, offset, 8);
    put(at + 16, paddr, 8);
    put(at + 24, paddr, 8);
    put(at + 32, filesz, 8);
    put(at + 40, memsz, 8);
}

static inline void put_segment32(unsigned i, uint32_t offset, uint32_t paddr, uint32_t filesz,
                                 uint32_t memsz)
{
    size_t at = 52 + 32 * (size_t)i;

    put(at, 1, 4);
    put(at + 4, offset, 4);
    put(at + 8, paddr, 4);
    put(at + 12, paddr, 4);
    put(at + 16, filesz, 4);
    put(at + 20, memsz, 4);
}

/* A multiboot1 header without address fields. */
static inline void put_multiboot1(size_t at, uint32_t flags)
{
    put32(at, 0x1badb002);
    put32(at + 4, flags);
    put32(at + 8, 0u - 0x1badb002u - flags);
}

/* A multiboot2 header whose tags (with the end tag) are `length` - 16 bytes. */
static inline void put_multiboot2(size_t at, uint32_t length)
{
    put32(at, 0xe85250d6);
    put32(at + 4, 0);
    put32(at + 8, length);
    put32(at + 12, 0u - 0xe85250d6u - length);
}

static inline void put_tag(size_t at, uint16_t type, uint16_t flags, uint32_t size)
{
    put(at, type, 2);
    put(at + 2, flags, 2);
    put32(at + 4, size);
}

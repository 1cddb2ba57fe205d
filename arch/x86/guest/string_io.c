#include "arch/x86/guest/string_io.h"

#include "arch/x86/cpu/regs.h"
#include "arch/x86/guest/alu.h"

/* The bytes of an element, which may cross a page boundary. */
struct place {
    uint8_t *at, *rest;
    unsigned length; /* bytes at `at`; the others are at `rest` */
};

/* A 32-bit write clears the upper half, a 16-bit write leaves it. */
static void set_register(uint64_t *r, unsigned bytes, uint64_t v)
{
    uint64_t mask = alu_mask(bytes);

    *r = (bytes == 2 ? *r & ~mask : 0) | (v & mask);
}

/* Finds a linear address in the host's memory. */
static enum string_io_result find(struct string_io *s, uint64_t linear, uint8_t **at,
                                  struct guest_fault *f)
{
    uint64_t page = linear / PAGE_SIZE, offset = linear % PAGE_SIZE, address;
    uint32_t error;
    int rc = 0;

    if (!s->at || s->page != page) {
        rc = paging_translate(&s->paging, s->mem, linear, s->in ? PF_WRITE : 0, &address, &error);
        if (rc == -E_PERM) {
            *f = (struct guest_fault){.vector = VECTOR_PF, .error = error, .address = linear};
            return STRING_IO_FAULT;
        }
        s->at = rc ? NULL : gmem_ptr(s->mem, gpa(address - offset), PAGE_SIZE);
        s->page = page;
    }
    if (!s->at) {
        *f = (struct guest_fault){.address = address};
        return STRING_IO_OUTSIDE;
    }
    *at = s->at + offset;
    return STRING_IO_MORE;
}

/* SDM 3A "Alignment Check Exception". */
static bool misaligned(const struct string_io *s, uint64_t linear)
{
    return s->paging.cpl == 3 && (s->paging.cr0 & CR0_AM) && s->paging.ac && linear % s->size;
}

/* Finds a whole element, before touching any of it. */
static enum string_io_result reach(struct string_io *s, uint64_t offset, struct place *p,
                                   struct guest_fault *f)
{
    enum string_io_result r;
    uint64_t linear, left;

    if (!segment_reach(&s->segment, s->segment_id, s->mode, offset, s->size, s->in, &linear, f))
        return STRING_IO_FAULT;
    s->linear = linear;
    left = PAGE_SIZE - linear % PAGE_SIZE;
    p->length = (unsigned)min_u64(s->size, left);
    r = find(s, linear, &p->at, f);
    if (r != STRING_IO_MORE)
        return r;
    p->rest = p->at + p->length;
    if (p->length < s->size) {
        uint64_t next = linear + p->length;

        r = find(s, s->mode == SEGMENT_LONG ? next : (uint32_t)next, &p->rest, f);
    }
    if (r == STRING_IO_MORE && misaligned(s, linear)) {
        *f = (struct guest_fault){.vector = VECTOR_AC};
        r = STRING_IO_FAULT;
    }
    return r;
}

static void transfer(const struct string_io *s, const struct place *p)
{
    uint32_t value = s->in ? io_in(s->bus, s->port, s->size) : 0;
    uint8_t *bytes = (uint8_t *)&value;

    for (unsigned i = 0; i < s->size; i++) {
        uint8_t *at = i < p->length ? p->at + i : p->rest + (i - p->length);

        if (s->in)
            *at = bytes[i];
        else
            bytes[i] = *at;
    }
    if (!s->in)
        io_out(s->bus, s->port, s->size, value);
}

enum string_io_result string_io_element(struct string_io *s, uint64_t *index, uint64_t *count,
                                        struct guest_fault *f)
{
    uint64_t mask = alu_mask(s->address_bytes), left = *count & mask;
    enum string_io_result r;
    struct place p;

    if (s->rep && left == 0)
        return STRING_IO_DONE;
    r = reach(s, *index & mask, &p, f);
    if (r != STRING_IO_MORE)
        return r;
    transfer(s, &p);
    return string_io_advance(s, index, count);
}

enum string_io_result string_io_advance(const struct string_io *s, uint64_t *index, uint64_t *count)
{
    uint64_t left = *count & alu_mask(s->address_bytes);

    set_register(index, s->address_bytes, s->down ? *index - s->size : *index + s->size);
    if (!s->rep)
        return STRING_IO_DONE;
    set_register(count, s->address_bytes, left - 1);
    return left == 1 ? STRING_IO_DONE : STRING_IO_MORE;
}

enum segment_id string_io_segment(const struct segment segments[6], uint64_t index_offset,
                                  uint64_t linear)
{
    static const enum segment_id order[] = {SEGMENT_DS, SEGMENT_ES, SEGMENT_SS,
                                            SEGMENT_CS, SEGMENT_FS, SEGMENT_GS};

    for (unsigned i = 0; i < 6; i++)
        if ((uint32_t)(segments[order[i]].base + index_offset) == (uint32_t)linear)
            return order[i];
    return SEGMENT_DS;
}

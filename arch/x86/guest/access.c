/* Reads and writes a memory operand that has been reached: RAM, registers of a device, or both. */
#include "arch/x86/guest/alu.h"
#include "arch/x86/guest/vcpu.h"
#include "hv/lib.h"

/* Bytes of RAM at once if they are a power of two, as the CPU accesses them. */
static uint64_t load_ram(const uint8_t *at, unsigned bytes)
{
    uint64_t v = 0;

    switch (bytes) {
    case 1:
        return *at;
    case 2:
        memcpy(&v, at, 2);
        return v;
    case 4:
        memcpy(&v, at, 4);
        return v;
    case 8:
        memcpy(&v, at, 8);
        return v;
    default:
        for (unsigned i = 0; i < bytes; i++)
            v |= (uint64_t)at[i] << (8 * i);
        return v;
    }
}

static void store_ram(uint8_t *at, unsigned bytes, uint64_t v)
{
    switch (bytes) {
    case 1:
        *at = (uint8_t)v;
        break;
    case 2:
        memcpy(at, &v, 2);
        break;
    case 4:
        memcpy(at, &v, 4);
        break;
    case 8:
        memcpy(at, &v, 8);
        break;
    default:
        for (unsigned i = 0; i < bytes; i++)
            at[i] = (uint8_t)(v >> (8 * i));
    }
}

/* Registers take powers of two: what a page boundary cuts off goes byte by byte. */
static unsigned cycle(unsigned bytes)
{
    return bytes & (bytes - 1) ? 1 : bytes;
}

static enum exit_action load_part(struct vcpu *v, const struct operand_part *p, uint64_t *value)
{
    unsigned step = cycle(p->bytes);

    if (p->at) {
        *value = load_ram(p->at, p->bytes);
        return EXIT_SKIP;
    }
    *value = 0;
    for (unsigned i = 0; i < p->bytes; i += step) {
        uint64_t part;

        if (!exit_mmio_read(v, p->gpa + i, step, &part))
            return EXIT_STOP;
        *value |= part << (8 * i);
    }
    return EXIT_SKIP;
}

static enum exit_action store_part(struct vcpu *v, const struct operand_part *p, uint64_t value)
{
    unsigned step = cycle(p->bytes);

    if (p->at) {
        store_ram(p->at, p->bytes, value);
        return EXIT_SKIP;
    }
    for (unsigned i = 0; i < p->bytes; i += step)
        if (!exit_mmio_write(v, p->gpa + i, step, value >> (8 * i) & alu_mask(step)))
            return EXIT_STOP;
    return EXIT_SKIP;
}

/* The bits of the first part; 64: there is no other. */
static unsigned first_bits(const struct operand *o)
{
    return o->part[1].bytes ? 8 * o->part[0].bytes : 64;
}

enum exit_action x86_load(struct vcpu *v, const struct operand *o, uint64_t *value)
{
    enum exit_action a = load_part(v, &o->part[0], value);
    unsigned bits = first_bits(o);

    if (a == EXIT_SKIP && bits < 64) {
        uint64_t rest = 0;

        a = load_part(v, &o->part[1], &rest);
        *value |= rest << bits;
    }
    return a;
}

enum exit_action x86_store(struct vcpu *v, const struct operand *o, uint64_t value)
{
    enum exit_action a = store_part(v, &o->part[0], value);
    unsigned bits = first_bits(o);

    return a == EXIT_SKIP && bits < 64 ? store_part(v, &o->part[1], value >> bits) : a;
}

/* A network card made of C for tests of drivers: registers, the callbacks of struct nic_bus, the
 * driver's memory, and what became of frames. Hooks make the registers those of a certain card. */
#pragma once

#include "net/nic.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODEL_BARS 6u
#define MODEL_BAR  0x20000u

static struct {
    uint8_t bars[MODEL_BARS][MODEL_BAR];
    size_t mapped[MODEL_BARS]; /* by the driver, bytes */
    uint8_t config[4096];
    uint32_t no_bar; /* bits: firmware gave these no address */
    /* NULL, or called after the register was read or written. */
    void (*on_read)(unsigned bar, uint32_t at, unsigned size);
    void (*on_write)(unsigned bar, uint32_t at, unsigned size, uint32_t value);
    unsigned accesses;
    /* The frames that the driver delivered. */
    unsigned frames;
    uint8_t last[NIC_BUFFER];
    size_t last_len;
} model;
static struct nic model_nic;
static uint8_t *model_memory;

static inline void model_check(void *ctx, unsigned bar, uint32_t at, unsigned size)
{
    assert_ptr_equal(ctx, &model);
    assert_true(bar < MODEL_BARS && (size == 1 || size == 2 || size == 4) && at % size == 0);
    assert_true(at + size <= model.mapped[bar]);
    model.accesses++;
}

/* A register as the card has it. */
static inline uint32_t model_get(unsigned bar, uint32_t at)
{
    uint32_t v;

    memcpy(&v, &model.bars[bar][at], sizeof(v));
    return v;
}

static inline void model_set(unsigned bar, uint32_t at, uint32_t v)
{
    memcpy(&model.bars[bar][at], &v, sizeof(v));
}

static inline int model_map(void *ctx, unsigned bar, size_t length)
{
    assert_ptr_equal(ctx, &model);
    assert_true(bar < MODEL_BARS && length <= MODEL_BAR);
    if (model.no_bar >> bar & 1)
        return -E_IO;
    if (length > model.mapped[bar])
        model.mapped[bar] = length;
    return 0;
}

static inline uint32_t model_read(void *ctx, unsigned bar, uint32_t at, unsigned size)
{
    uint32_t v = 0;

    model_check(ctx, bar, at, size);
    memcpy(&v, &model.bars[bar][at], size);
    if (model.on_read)
        model.on_read(bar, at, size);
    return v;
}

static inline void model_write(void *ctx, unsigned bar, uint32_t at, unsigned size, uint32_t value)
{
    model_check(ctx, bar, at, size);
    memcpy(&model.bars[bar][at], &value, size);
    if (model.on_write)
        model.on_write(bar, at, size, value);
}

static inline uint32_t model_config(void *ctx, uint16_t at)
{
    uint32_t v;

    assert_ptr_equal(ctx, &model);
    assert_true(at % 4 == 0 && at < sizeof(model.config));
    memcpy(&v, &model.config[at], sizeof(v));
    return v;
}

static inline void model_input(void *ctx, const uint8_t *frame, size_t len)
{
    assert_ptr_equal(ctx, &model);
    assert_true(len > 0 && len <= NIC_BUFFER);
    memcpy(model.last, frame, len);
    model.last_len = len;
    model.frames++;
}

/* A new card for `driver`, whose memory is aligned as it will be. */
static inline void model_setup(const struct nic_driver *driver)
{
    memset(&model, 0, sizeof(model));
    model_nic = (struct nic){.driver = driver,
                             .name = driver->ids[0].name,
                             .id = driver->ids[0].id,
                             .bus = {model_map, model_read, model_write, model_config, &model},
                             .irq = ARCH_IRQ_LINE,
                             .input = model_input,
                             .input_ctx = &model};
    model_memory = aligned_alloc(PAGE_SIZE, (driver->memory + PAGE_SIZE - 1) & ~(PAGE_SIZE - 1));
    assert_non_null(model_memory);
    memset(model_memory, 0, driver->memory);
}

static inline void model_teardown(void)
{
    free(model_memory);
}

/* Offset of a DMA address in the driver's memory, where `len` bytes must lie too. */
static inline size_t model_dma(uint64_t address, size_t len)
{
    size_t at = (size_t)(address - (uintptr_t)model_memory);

    assert_true(address >= (uintptr_t)model_memory && at <= model_nic.driver->memory &&
                len <= model_nic.driver->memory - at);
    return at;
}

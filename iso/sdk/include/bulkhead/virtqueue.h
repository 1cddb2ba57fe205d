/* A split virtqueue, as its driver lays it out (OASIS virtio v1.2, "Split Virtqueues"). */
#pragma once

#include <stdint.h>

#define DESC_NEXT          1u
#define DESC_WRITE         2u
#define AVAIL_NO_INTERRUPT 1u
#define USED_NO_NOTIFY     1u

struct desc {
    uint64_t address;
    uint32_t length;
    uint16_t flags, next;
};

/* The parts of a queue of `size` descriptors, as members of a structure. */
#define VIRTQUEUE(size)                                                                            \
    struct desc desc[size] __attribute__((aligned(16)));                                           \
    struct {                                                                                       \
        uint16_t flags, index, ring[size];                                                         \
    } avail;                                                                                       \
    struct {                                                                                       \
        uint16_t flags, index;                                                                     \
        struct {                                                                                   \
            uint32_t id, length;                                                                   \
        } ring[size];                                                                              \
    } used __attribute__((aligned(4)))

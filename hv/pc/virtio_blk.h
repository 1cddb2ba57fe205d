/*
 * virtio-blk (OASIS virtio v1.2 "Block Device"): a disk whose contents are an image in memory.
 * Pure. A guest's writes go to blocks of its own and never to the image; a disk without such blocks
 * is read-only.
 *
 * Ownership: the platform's core. The caller's memory is used until the guest is gone. What a
 * request asks for is copied in pieces of at most VIRTIO_BLK_WORK bytes a call, however long it is.
 */
#pragma once

#include "hv/pc/virtio.h"

#define VIRTIO_BLK_MAX            4u                       /* of a guest */
#define VIRTIO_BLK_SLOT           ((unsigned)PC_SLOT_DISK) /* of the first */
#define VIRTIO_BLK_DEVICE         (VIRTIO_PCI_DEVICE + 2)
#define VIRTIO_BLK_SECTOR         512u
#define VIRTIO_BLK_BLOCK          4096u
#define VIRTIO_BLK_WORK           VIRTIO_BLK_BLOCK
#define VIRTIO_BLK_ID             20u /* bytes of its name */

/* Features offered. */
#define VIRTIO_BLK_F_SEG_MAX      (1ull << 2)
#define VIRTIO_BLK_F_RO           (1ull << 5)
#define VIRTIO_BLK_F_BLK_SIZE     (1ull << 6)
#define VIRTIO_BLK_F_FLUSH        (1ull << 9)
#define VIRTIO_BLK_F_DISCARD      (1ull << 13) /* discarded sectors read zeros */
#define VIRTIO_BLK_F_WRITE_ZEROES (1ull << 14)

enum virtio_blk_type {
    VIRTIO_BLK_IN = 0,
    VIRTIO_BLK_OUT = 1,
    VIRTIO_BLK_FLUSH = 4, /* nothing to do: writes do not outlive the guest */
    VIRTIO_BLK_GET_ID = 8,
    VIRTIO_BLK_DISCARD = 11,
    VIRTIO_BLK_WRITE_ZEROES = 13,
};
enum virtio_blk_status { VIRTIO_BLK_OK, VIRTIO_BLK_IOERR, VIRTIO_BLK_UNSUPP };

/* What a request begins with. */
struct virtio_blk_header {
    uint32_t type, reserved;
    uint64_t sector;
};

/* The argument of VIRTIO_BLK_DISCARD and VIRTIO_BLK_WRITE_ZEROES. */
struct virtio_blk_range {
    uint64_t sector;
    uint32_t sectors, flags;
};

struct virtio_blk_config {
    uint64_t capacity; /* sectors */
    uint32_t size_max, seg_max, geometry, blk_size;
    uint64_t topology;
    uint8_t writeback, unused;
    uint16_t queues;
    uint32_t max_discard_sectors, max_discard_seg, discard_sector_alignment;
    uint32_t max_write_zeroes_sectors, max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap, unused1[3];
} __attribute__((packed));

struct virtio_blk_backing {
    const uint8_t *image;
    uint64_t image_size; /* bytes; behind them the disk has zeros */
    uint64_t size;       /* of the disk: a multiple of VIRTIO_BLK_SECTOR */
    uint8_t *blocks;     /* as many whole blocks; NULL: read-only */
    uint8_t *written;    /* a bit for each block: it counts, not the image. All zero at first */
};

/* Bytes of `blocks` and `written` for a disk of `size` bytes. */
static inline uint64_t virtio_blk_blocks_size(uint64_t size)
{
    return (size + VIRTIO_BLK_BLOCK - 1) / VIRTIO_BLK_BLOCK * VIRTIO_BLK_BLOCK;
}

static inline uint64_t virtio_blk_written_size(uint64_t size)
{
    return (size + VIRTIO_BLK_BLOCK * 8 - 1) / (VIRTIO_BLK_BLOCK * 8);
}

struct virtio_blk {
    struct virtio virtio;
    struct virtio_blk_config config;
    struct virtio_blk_backing disk; /* `size` 0: there is none */
    unsigned number;
    char id[VIRTIO_BLK_ID];
    uint64_t reads, writes, errors; /* requests */
    /* The request in progress. */
    bool open, piece_open;
    struct virtqueue_chain chain;
    struct virtqueue_piece piece;
    uint64_t piece_at; /* bytes of the piece that are done */
    union {
        struct virtio_blk_header header;
        uint8_t header_bytes[sizeof(struct virtio_blk_header)];
    };
    union {
        struct virtio_blk_range range;
        uint8_t range_bytes[sizeof(struct virtio_blk_range)];
    };
    unsigned header_size, range_size; /* bytes that have been read */
    uint64_t at;                      /* the next byte of the disk */
    uint64_t zeros;                   /* bytes still to be zeroed from there on */
    uint32_t written;                 /* bytes given to the driver */
    uint8_t status;                   /* enum virtio_blk_status */
};

/* One for all disks. */
extern const struct device virtio_blk_device;

/* Makes disk `number`, below VIRTIO_BLK_MAX, whose name the driver can ask for. Once. */
void virtio_blk_init(struct virtio_blk *d, const struct gmem *mem, unsigned number,
                     const struct virtio_blk_backing *disk);

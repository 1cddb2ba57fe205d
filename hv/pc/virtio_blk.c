#include "hv/pc/virtio_blk.h"

#include "hv/config.h"
#include "hv/lib.h"
#include "hv/pc/virtio_plug.h"

#define CLASS_STORAGE 0x018000u
#define TYPE_BLK      2u
#define LEGACY_DEVICE 0x1001u
#define SEG_MAX       126u
#define RANGE_MAX     0x3fffffu /* sectors at once */
#define RANGE_UNMAP   1u        /* a flag: the blocks may be given back */
#define PIECES        8u        /* descriptors in a call */
#define FEATURES      (VIRTIO_BLK_F_SEG_MAX | VIRTIO_BLK_F_BLK_SIZE | VIRTIO_BLK_F_FLUSH)
#define WRITABLE      (VIRTIO_BLK_F_DISCARD | VIRTIO_BLK_F_WRITE_ZEROES)

static struct virtio_blk *blk_of(struct virtio *v)
{
    return (struct virtio_blk *)v; /* its first member */
}
_Static_assert(offsetof(struct virtio_blk, virtio) == 0, "blk_of() and the rows of platform.c");
_Static_assert(sizeof(struct virtio_blk_config) <= VIRTIO_CONFIG_MAX, "it fits the window");

static void refuse(struct virtio_blk *d, enum virtio_blk_status why)
{
    if (d->status == VIRTIO_BLK_OK)
        d->status = (uint8_t)why;
}

/* ---- the disk ---- */

static uint64_t block_of(const struct virtio_blk *d)
{
    return d->at / VIRTIO_BLK_BLOCK;
}

static bool is_written(const struct virtio_blk_backing *k, uint64_t block)
{
    return k->written && (k->written[block / 8] >> block % 8 & 1);
}

/* The bytes of the image from `at` on, at most `most`. */
static uint64_t in_image(const struct virtio_blk_backing *k, uint64_t at, uint64_t most)
{
    return at < k->image_size ? min_u64(most, k->image_size - at) : 0;
}

/* Fills `n` bytes, all of one block, from the disk. */
static void read_disk(const struct virtio_blk *d, uint8_t *to, uint64_t n)
{
    const struct virtio_blk_backing *k = &d->disk;
    uint64_t there;

    if (is_written(k, block_of(d))) {
        memcpy(to, k->blocks + d->at, n);
        return;
    }
    there = in_image(k, d->at, n);
    memcpy(to, k->image + d->at, there);
    memset(to + there, 0, n - there);
}

/* The block's own bytes, which hold what the image has unless all of it will be written. */
static uint8_t *own_block(struct virtio_blk *d, bool whole)
{
    const struct virtio_blk_backing *k = &d->disk;
    uint64_t block = block_of(d), at = block * VIRTIO_BLK_BLOCK;

    if (!is_written(k, block)) {
        uint64_t there = whole ? 0 : in_image(k, at, VIRTIO_BLK_BLOCK);

        memcpy(k->blocks + at, k->image + at, there);
        if (!whole)
            memset(k->blocks + at + there, 0, VIRTIO_BLK_BLOCK - there);
        k->written[block / 8] |= (uint8_t)(1u << block % 8);
    }
    return k->blocks + d->at;
}

static bool fits(const struct virtio_blk *d, uint64_t sector, uint64_t bytes)
{
    uint64_t sectors = d->disk.size / VIRTIO_BLK_SECTOR;

    return sector <= sectors && bytes <= (sectors - sector) * VIRTIO_BLK_SECTOR;
}

/* ---- requests ---- */

static bool has_range(uint32_t type)
{
    return type == VIRTIO_BLK_DISCARD || type == VIRTIO_BLK_WRITE_ZEROES;
}

static bool changes(uint32_t type)
{
    return type == VIRTIO_BLK_OUT || has_range(type);
}

/* The header is complete. */
static void begin(struct virtio_blk *d)
{
    switch (d->header.type) {
    case VIRTIO_BLK_IN:
    case VIRTIO_BLK_OUT:
        if (!fits(d, d->header.sector, 0))
            refuse(d, VIRTIO_BLK_IOERR);
        d->at = d->header.sector * VIRTIO_BLK_SECTOR;
        break;
    case VIRTIO_BLK_FLUSH:
    case VIRTIO_BLK_GET_ID:
    case VIRTIO_BLK_DISCARD:
    case VIRTIO_BLK_WRITE_ZEROES:
        d->at = 0;
        break;
    default:
        refuse(d, VIRTIO_BLK_UNSUPP);
        break;
    }
    if (changes(d->header.type) && !d->disk.blocks)
        refuse(d, VIRTIO_BLK_IOERR);
}

/* The range of a DISCARD or WRITE_ZEROES is complete. */
static void begin_range(struct virtio_blk *d)
{
    const struct virtio_blk_range *r = &d->range;
    uint64_t bytes = (uint64_t)r->sectors * VIRTIO_BLK_SECTOR;

    /* "Block Device", "Device Operation": unknown flags, or to unmap what is unmapped anyway. */
    if (r->flags & ~(d->header.type == VIRTIO_BLK_WRITE_ZEROES ? RANGE_UNMAP : 0))
        refuse(d, VIRTIO_BLK_UNSUPP);
    if (r->sectors > RANGE_MAX || !fits(d, r->sector, bytes))
        refuse(d, VIRTIO_BLK_IOERR);
    d->at = r->sector * VIRTIO_BLK_SECTOR;
    d->zeros = bytes;
}

/* Up to the end of the block. */
static uint64_t step_size(const struct virtio_blk *d, uint64_t most)
{
    return min_u64(most, VIRTIO_BLK_BLOCK - d->at % VIRTIO_BLK_BLOCK);
}

static uint64_t zero_step(struct virtio_blk *d)
{
    uint64_t n = step_size(d, d->zeros);

    memset(own_block(d, n == VIRTIO_BLK_BLOCK), 0, n);
    d->at += n;
    d->zeros -= n;
    return n;
}

/* Takes bytes of a structure of `size`, of which there are *have. Returns how many. */
static uint64_t collect(struct virtio_blk *d, gpa_t from, uint64_t most, uint8_t *bytes,
                        unsigned *have, unsigned size)
{
    uint64_t n = min_u64(most, size - *have);

    if (gmem_read(d->virtio.mem, from, bytes + *have, n))
        refuse(d, VIRTIO_BLK_IOERR);
    *have += (unsigned)n;
    return n;
}

/* Takes bytes of the driver's: of the header, of a range, or for the disk. Returns how many. */
static uint64_t take(struct virtio_blk *d, gpa_t from, uint64_t most)
{
    uint64_t n = most;

    if (d->header_size < sizeof(d->header)) {
        n = collect(d, from, n, d->header_bytes, &d->header_size, sizeof(d->header));
        if (d->header_size == sizeof(d->header))
            begin(d);
    } else if (d->status == VIRTIO_BLK_OK && d->header.type == VIRTIO_BLK_OUT) {
        n = step_size(d, n);
        if (!fits(d, 0, d->at + n) ||
            gmem_read(d->virtio.mem, from, own_block(d, n == VIRTIO_BLK_BLOCK), n))
            refuse(d, VIRTIO_BLK_IOERR);
        d->at += n;
    } else if (d->status == VIRTIO_BLK_OK && has_range(d->header.type) &&
               d->range_size < sizeof(d->range)) {
        n = collect(d, from, n, d->range_bytes, &d->range_size, sizeof(d->range));
        if (d->range_size == sizeof(d->range))
            begin_range(d);
    } else {
        refuse(d, VIRTIO_BLK_IOERR); /* more than such a request has */
    }
    return n;
}

/* Gives bytes to the driver. Returns how many. */
static uint64_t give(struct virtio_blk *d, gpa_t to, uint64_t most)
{
    uint64_t n = most;
    uint8_t *p;

    if (d->status == VIRTIO_BLK_OK && d->header.type == VIRTIO_BLK_GET_ID) {
        uint64_t left = d->at < sizeof(d->id) ? sizeof(d->id) - d->at : 0;

        n = min_u64(n, left);
        if (n && gmem_write(d->virtio.mem, to, d->id + d->at, n))
            refuse(d, VIRTIO_BLK_IOERR);
        d->at += n;
        d->written += (uint32_t)n;
        return n ? n : most;
    }
    if (d->status != VIRTIO_BLK_OK || d->header.type != VIRTIO_BLK_IN)
        return most; /* the rest is only the way to the status */
    /* Not beyond what gmem_ptr() finds in one piece. */
    n = min_u64(step_size(d, n), PAGE_SIZE_2M - to.v % PAGE_SIZE_2M);
    p = gmem_ptr(d->virtio.mem, to, n);
    if (!p || !fits(d, 0, d->at + n)) {
        refuse(d, VIRTIO_BLK_IOERR);
        return n;
    }
    read_disk(d, p, n);
    d->at += n;
    d->written += (uint32_t)n;
    return n;
}

/* Sets *more when there is a next piece; or -E_FORMAT. */
static int open_piece(struct virtio_blk *d)
{
    int rc = virtqueue_piece(&d->virtio.queues[0], d->virtio.mem, &d->chain, &d->piece);

    d->piece_open = rc == 1;
    d->piece_at = 0;
    /* Descriptors that the device reads come first ("Message Framing", "Block Device"). */
    if (rc == 1 && !d->piece.writable && d->written)
        refuse(d, VIRTIO_BLK_IOERR);
    return rc;
}

/* The bytes of the piece that are data: the very last one of the request is its status. */
static uint64_t data_size(const struct virtio_blk *d)
{
    return d->piece.length - (d->piece.writable && !d->chain.more && d->piece.length ? 1 : 0);
}

/* Moves bytes of the piece. Returns how many. */
static uint64_t move(struct virtio_blk *d, uint64_t most)
{
    gpa_t at = gpa(d->piece.address.v + d->piece_at);
    uint64_t n = min_u64(data_size(d) - d->piece_at, most);

    n = d->piece.writable ? give(d, at, n) : take(d, at, n);
    d->piece_at += n;
    return n;
}

/* A request whose last byte is not the device's to write has no place for a status. */
static void finish(struct virtio_blk *d)
{
    bool complete = d->header_size == sizeof(d->header) &&
                    (d->written % VIRTIO_BLK_SECTOR == 0 || d->header.type == VIRTIO_BLK_GET_ID) &&
                    (d->header.type != VIRTIO_BLK_OUT || d->at % VIRTIO_BLK_SECTOR == 0) &&
                    (!has_range(d->header.type) || d->range_size == sizeof(d->range));
    gpa_t last = gpa(d->piece.address.v + d->piece.length - 1);

    if (!complete)
        refuse(d, VIRTIO_BLK_IOERR);
    if (d->piece.writable && d->piece.length &&
        gmem_write(d->virtio.mem, last, &d->status, sizeof(d->status)) == 0)
        d->written++;
    if (d->status != VIRTIO_BLK_OK)
        d->errors++;
    else if (changes(d->header.type))
        d->writes++;
    else
        d->reads++;
    d->open = d->piece_open = false;
    virtqueue_done(&d->virtio.queues[0], d->virtio.mem, d->chain.head, d->written);
    virtio_used(&d->virtio, 0);
}

static int open_request(struct virtio_blk *d)
{
    int rc = virtqueue_next(&d->virtio.queues[0], d->virtio.mem, &d->chain);

    if (rc != 1)
        return rc;
    d->open = true;
    d->piece_open = false;
    d->header_size = d->range_size = 0;
    d->written = 0;
    d->zeros = 0;
    d->status = VIRTIO_BLK_OK;
    return 1;
}

/* Goes on with the open request. 1: it is finished, or the call's share is used up; -E_FORMAT. */
static int go_on(struct virtio_blk *d)
{
    uint64_t left = VIRTIO_BLK_WORK;

    for (unsigned pieces = 0; left;) {
        uint64_t n = d->zeros && d->status == VIRTIO_BLK_OK ? zero_step(d) : 0;
        int rc = 1;

        if (!n && d->piece_open && d->piece_at < data_size(d))
            n = move(d, left);
        left -= min_u64(n, left);
        if (n)
            continue;
        if (d->piece_open && !d->chain.more) {
            finish(d);
            return 1;
        }
        if (pieces++ < PIECES)
            rc = open_piece(d);
        else
            return 1;
        if (rc < 0)
            return rc;
    }
    return 1;
}

static void work(struct virtio *v)
{
    struct virtio_blk *d = blk_of(v);
    int rc = d->open ? 1 : open_request(d);

    if (rc == 1)
        rc = go_on(d);
    if (rc < 0) {
        d->errors++;
        virtio_fail(v);
    }
    v->pci.due =
        virtio_is_running(v) && (d->open || virtqueue_waits(&v->queues[0], v->mem)) ? 0 : NEVER;
}

static void forget(struct virtio *v)
{
    blk_of(v)->open = false;
}

static const struct virtio_model model = {.type = TYPE_BLK,
                                          .legacy_device = LEGACY_DEVICE,
                                          .class = CLASS_STORAGE,
                                          .queues = 1,
                                          .reset = forget,
                                          .work = work};

void virtio_blk_init(struct virtio_blk *d, const struct gmem *mem, unsigned number,
                     const struct virtio_blk_backing *disk)
{
    memset(d, 0, sizeof(*d));
    d->disk = *disk;
    d->number = number;
    memcpy(d->id, "disk0", 5);
    d->id[4] = (char)(d->id[4] + (char)number);
    d->config = (struct virtio_blk_config){
        .capacity = disk->size / VIRTIO_BLK_SECTOR,
        .seg_max = SEG_MAX,
        .blk_size = VIRTIO_BLK_SECTOR,
        .queues = 1,
        .max_discard_sectors = disk->blocks ? RANGE_MAX : 0,
        .max_discard_seg = disk->blocks ? 1 : 0,
        .discard_sector_alignment = disk->blocks ? VIRTIO_BLK_BLOCK / VIRTIO_BLK_SECTOR : 0,
        .max_write_zeroes_sectors = disk->blocks ? RANGE_MAX : 0,
        .max_write_zeroes_seg = disk->blocks ? 1 : 0,
    };
    virtio_init(&d->virtio, &model, mem, FEATURES | (disk->blocks ? WRITABLE : VIRTIO_BLK_F_RO),
                &d->config, sizeof(d->config));
}

static void plug(void *dev, const struct device_env *env)
{
    struct virtio_blk *d = dev;

    if ((env->devices & DEV_PCI) && d->disk.size)
        virtio_plug(&d->virtio, env, VIRTIO_BLK_SLOT + d->number);
}

const struct device virtio_blk_device = {.plug = plug};

/* A guest's disks: their contents are images, and what it writes to them is memory of its own. */
#include "hv/guest_life.h"
#include "hv/hostmem.h"
#include "hv/job.h"
#include "hv/lib.h"

static uint64_t size_of(const struct guest *g, unsigned n)
{
    return max_u64(align_up(g->disk_images[n].size, VIRTIO_BLK_SECTOR),
                   (uint64_t)g->config.disks[n].size_mb << 20);
}

int guest_take_disks(struct guest *g)
{
    for (unsigned i = 0; i < g->config.disk_count; i++) {
        uint64_t size = size_of(g, i);
        struct guest_disk *d = &g->disks[i];

        job_rest();
        if (g->config.disks[i].readonly)
            continue;
        d->blocks_size = virtio_blk_blocks_size(size);
        d->size = d->blocks_size + align_up(virtio_blk_written_size(size), PAGE_SIZE);
        d->memory = hostmem_alloc(d->size, PAGE_SIZE, MEM_FOR_GUEST, g->number);
        if (!d->memory) {
            guest_give_back_disks(g);
            return -E_NOMEM;
        }
    }
    return 0;
}

void guest_give_back_disks(struct guest *g)
{
    for (unsigned i = 0; i < CONFIG_DISKS_MAX; i++) {
        job_rest();
        hostmem_free(g->disks[i].memory, g->disks[i].size);
        g->disks[i].memory = NULL;
    }
}

void guest_make_disks(struct guest *g)
{
    for (unsigned i = 0; i < g->config.disk_count; i++) {
        const struct guest_disk *d = &g->disks[i];
        uint8_t *written = d->memory ? d->memory + d->blocks_size : NULL;
        const struct virtio_blk_backing disk = {.image = g->disk_images[i].data,
                                                .image_size = g->disk_images[i].size,
                                                .size = size_of(g, i),
                                                .blocks = d->memory,
                                                .written = written};

        if (written)
            job_clear(written, d->size - d->blocks_size);
        job_rest();
        virtio_blk_init(&g->platform.disks[i], &g->mem, i, &disk);
        job_rest();
    }
}

void guest_scrub_disks(struct guest *g)
{
    for (unsigned i = 0; i < CONFIG_DISKS_MAX; i++)
        if (g->disks[i].memory)
            job_clear(g->disks[i].memory, g->disks[i].size);
}
